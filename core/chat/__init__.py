"""Talking to a model: a heavy child process that generates (server) and the light half that asks it (client)."""
