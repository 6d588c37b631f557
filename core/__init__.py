"""finetui without a terminal: everything that works from a script, a command or a worker process."""

__version__ = "0.1.0"
