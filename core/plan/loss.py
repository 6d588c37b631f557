"""What the head and the loss take beside the layers: the engine's own, or TRL's where it cannot be used."""

from core.models.shape import ModelShape

PIECE = {True: 2**29, False: 2**27}
"""Bytes of the logits of one piece of tokens, compiled or not, as in `core.train.engine.head`."""
PIECE_TOKENS = (64, 8192)
PIECE_COPIES = {(True, 2): 2.0, (True, 4): 2.0, (False, 2): 9.5, (False, 4): 4.25}
"""Times that piece stands in memory, by (compiled, bytes of the dtype): logits and their gradient; without
compilation the softmax's steps too, which are fp32."""
LOSS_TILE = (4096, 32768)
"""Tokens x vocabulary of the buffer for logits in TRL's fused head, which preferences use, and models
whose logits are scaled or capped. It has this width whatever the vocabulary is
(trl/kernels/chunked_logprob.py, trl/trainer/utils.py)."""
CPU_TILE_COPIES = 7
"""fp32 copies of that tile's used part while it goes backward in plain torch, where there is no Triton."""


def loss(shape: ModelShape, tokens: int, compute: int, trained: int, compiled: bool) -> int:
    """A piece of the tokens' logits with what their softmax takes, the gradient of the hidden states, and
    where the head learns (`trained` bytes a weight) its gradient summed in fp32, and a copy of its weights
    where they are wider than what is computed in. That sum is cast when only the last piece is left."""
    least, most = PIECE_TOKENS
    rows = min(tokens, max(least, min(most, PIECE[compiled] // (shape.vocab * compute))))
    logits = PIECE_COPIES[compiled, compute] * rows * shape.vocab * compute
    hidden = tokens * shape.hidden * max(compute, trained)
    if not trained:
        return int(logits) + hidden
    copy = compute if trained > compute else 0
    left = (tokens % rows or rows) * shape.vocab * compute
    cast = left + (trained if trained < 4 else 0) * shape.embedding
    return int(max(logits, cast)) + hidden + (4 + copy) * shape.embedding


def trl_loss(shape: ModelShape, tokens: int, compute: int, full: bool, on_gpu: bool) -> int:
    """TRL's head: its tile of logits, the gradient of the hidden states in fp32 and cast, and in a full run
    the gradient of the head in fp32 and cast."""
    head = (4 + compute) * shape.embedding if full else 0
    return tile(shape, tokens, compute, on_gpu) + tokens * shape.hidden * (4 + compute) + head


def tile(shape: ModelShape, tokens: int, compute: int, on_gpu: bool) -> int:
    rows = min(tokens, LOSS_TILE[0])
    taken = rows * LOSS_TILE[1] * compute
    if not on_gpu:
        taken += CPU_TILE_COPIES * 4 * rows * min(shape.vocab, LOSS_TILE[1])
    return taken
