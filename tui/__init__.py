"""The terminal wizard: screens and widgets that only show what `core` does."""
