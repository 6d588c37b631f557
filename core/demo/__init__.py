"""The demo that ships with finetui: a small base model, a small lesson, and the whole way through them."""
