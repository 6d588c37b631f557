"""Training: the worker process and its parts, from the model's files to the saved adapter or model.

Not for light processes: everything here but `asked`, `checkpoints` and `pulse` imports torch when it runs.
"""
