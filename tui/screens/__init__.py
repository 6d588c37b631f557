"""One file a step of the journey."""
