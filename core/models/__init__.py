"""Base models: the catalogue, the shape of any folder or Hub id, and what the Hub says when it refuses."""
