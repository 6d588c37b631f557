"""Talking to a model: a child process that holds it (server), and the light half that asks (client)."""
