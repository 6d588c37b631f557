"""A training step on tensors that have shapes and no numbers: what it would take of a card, counted op by op.

A process of its own (`job`), asked by `core.plan.trace`. It needs no card and no weights.
"""
