"""The memory that a run takes, by part, in closed form: at once and without torch.

How each part is reckoned is said at its function. The forms follow from what `core.train.model`
puts into memory and from the tensors that autograd keeps for a decoder layer; they were held
against peaks measured on a card (see `tests/plan/test_memory.py` for the figures and the errors).
"""

from dataclasses import dataclass

from core.models.shape import ModelShape
from core.spec import Method

CONTEXT = 700 * 2**20
"""CUDA's context, the kernels of its libraries and cuBLAS's workspaces; NVML shows it, torch does not."""
CPU_LIBRARIES = 900 * 2**20
"""What torch and the trainer take in a process without a GPU."""
FRAGMENTS = 0.05
"""Of the activations: what the allocator cannot use again because rows differ in length."""
FOUR_BIT = 0.5 + 1 / 64 + 4 / 64 / 256
"""Bytes a weight of NF4 in blocks of 64, whose scales are 8 bit in blocks of 256 (QLoRA, section 3)."""
LOSS_TILE = (4096, 8192)
"""Tokens x vocabulary of the tile of logits that the trainer's fused head holds at a time."""
OPTIMIZER_BYTES = {"adamw": 2, "adamw_8bit": 0, "paged_adamw_8bit": 0, "adafactor": 0}
"""Moments in the trained dtype: how many of its elements a parameter has beside it."""


@dataclass(frozen=True)
class Bytes:
    """A run's memory by part; `total` is the peak of a step."""

    weights: int
    adapters: int
    gradients: int
    optimizer: int
    activations: int
    loss: int
    overhead: int

    @property
    def total(self) -> int:
        return (
            self.weights
            + self.adapters
            + self.gradients
            + self.optimizer
            + self.activations
            + self.loss
            + self.overhead
        )

    def to_dict(self) -> dict[str, int]:
        return {**self.__dict__, "total": self.total}


def estimate(
    shape: ModelShape,
    method: Method,
    *,
    batch: int,
    length: int,
    rank: int = 16,
    optimizer: str = "adamw",
    recompute: float = 1.0,
    precision: str = "bf16",
    on_gpu: bool = True,
    targets: list[str] | None = None,
) -> Bytes:
    """The peak of one training step, `batch` rows of `length` tokens in one pass.

    `targets`: names of the linear layers with adapters, None: all of a layer.
    """
    tokens = batch * length
    compute = 4 if precision == "fp32" else 2
    trained, trained_bytes = _trained(shape, method, rank, targets, precision)
    full = method == "full"
    moments = _moments(trained, trained_bytes, optimizer)
    kept = _activations(shape, tokens, recompute, compute)
    return Bytes(
        weights=_weights(shape, method, precision),
        adapters=0 if full else trained * trained_bytes,
        gradients=trained * trained_bytes,
        optimizer=moments,
        activations=kept,
        loss=_loss(shape, tokens, compute, full),
        overhead=int((CONTEXT if on_gpu else CPU_LIBRARIES) + FRAGMENTS * kept),
    )


def adapter_parameters(shape: ModelShape, rank: int, targets: list[str] | None = None) -> int:
    """r x (in + out) for each adapted matrix of each layer (Hu et al. 2021, LoRA)."""
    chosen = [one for one in shape.linears if targets is None or one[0].split(".")[-1] in targets]
    return shape.layers * sum(rank * (one[1] + one[2]) for one in chosen)


def _trained(
    shape: ModelShape, method: Method, rank: int, targets: list[str] | None, precision: str
) -> tuple[int, int]:
    """Parameters that learn, and bytes of each: adapters are fp32; so is all of a model in fp16."""
    if method == "full":
        return shape.parameters, 2 if precision == "bf16" else 4
    return adapter_parameters(shape, rank, targets), 4


def _weights(shape: ModelShape, method: Method, precision: str) -> int:
    """The base: in the compute dtype, or its layers' matrices in four bits and the rest as it was.

    Four-bit weights are turned back one matrix at a time; the largest is counted with them.
    """
    each = 4 if precision == "fp32" or (method == "full" and precision == "fp16") else 2
    if method != "qlora":
        return shape.parameters * each
    matrices = shape.layers * sum(one[1] * one[2] for one in shape.linears)
    matrices = min(matrices, shape.parameters)
    largest = max((one[1] * one[2] for one in shape.linears), default=0)
    return int(matrices * FOUR_BIT + (shape.parameters - matrices + largest) * each)


def _moments(trained: int, trained_bytes: int, optimizer: str) -> int:
    """AdamW keeps two moments in the trained dtype; in 8 bits one byte each; Adafactor rows and columns."""
    if optimizer == "adamw":
        return trained * trained_bytes * OPTIMIZER_BYTES["adamw"]
    if optimizer == "adafactor":
        return trained // 50
    return trained * 2


def _layer(shape: ModelShape, compute: int) -> int:
    """Bytes a token of one layer that autograd keeps for the backward pass, in the compute dtype c.

    The gated MLP: gate, up, its activation and the product, 4 c x intermediate (a plain one 2 c).
    Two norms: the input in fp32 and the output, (4 + c) x hidden each.
    Attention: queries and output, keys and values repeated for every head, 4 c x heads x head width.
    """
    wide = (4 if shape.gated_mlp else 2) * compute * _mlp_width(shape)
    norms = 2 * (4 + compute) * shape.hidden
    attention = 4 * compute * shape.heads * shape.head_dim
    return wide + norms + attention


def _mlp_width(shape: ModelShape) -> int:
    """What one token passes through: of a mixture, the experts that are chosen for it."""
    if shape.experts and shape.experts_per_token:
        return shape.experts_per_token * (shape.expert_intermediate or shape.intermediate)
    return shape.intermediate


def _activations(shape: ModelShape, tokens: int, recompute: float, compute: int) -> int:
    """Kept layers, and the one that is live.

    With full recompute each layer keeps its input (c x hidden) and one at a time is whole again.
    """
    if recompute >= 1:
        return tokens * shape.layers * compute * shape.hidden + _live(shape, tokens, compute)
    return tokens * (shape.layers - 1) * _layer(shape, compute) + _live(shape, tokens, compute)


def _live(shape: ModelShape, tokens: int, compute: int) -> int:
    """The layer that goes backward: what it kept, and gradients as wide as its MLP, twice."""
    return tokens * (_layer(shape, compute) + 2 * compute * _mlp_width(shape))


def _loss(shape: ModelShape, tokens: int, compute: int, full: bool) -> int:
    """The last hidden states and a tile of logits; what of the head's fp32 gradients exceeds a live layer.

    Those gradients (of the hidden states; in a full run of the head too) are gone before the first
    layer goes backward, so they only count where they are the larger of the two.
    """
    tile = min(tokens, LOSS_TILE[0]) * min(shape.vocab, LOSS_TILE[1]) * compute
    head = 4 * (tokens * shape.hidden + (shape.embedding if full else 0))
    return tokens * shape.hidden * compute + tile + max(0, head - _live(shape, tokens, compute))
