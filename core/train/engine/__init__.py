"""What makes a step fast, and small: adapters as one op, layers held by the dial, rows on one line, the head.

Nothing here changes what is learned. Each part stands alone and is asked for by `core.train.worker`.
"""
