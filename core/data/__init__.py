"""Training data: read any source, recognise it, turn it into conversations, render and mask them."""
