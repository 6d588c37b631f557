"""A child that never answers and leaves when its stdin closes: a model that takes long to load."""

import sys

if __name__ == "__main__":
    sys.stdin.read()
