"""From a conversation to token ids: the template, what it writes, and what of it is learned."""
