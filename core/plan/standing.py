"""What stands on the card all the time: the base's weights, what learns, and the optimiser's state."""

from core.models.count import Linear
from core.models.shape import ModelShape
from core.spec import Method, RunSpec

FOUR_BIT = 0.5 + 1 / 64 + 4 / 64 / 256
"""Bytes a weight of NF4 in blocks of 64, whose scales are 8 bit in blocks of 256 (QLoRA, section 3)."""
EIGHT_BIT = 1 + 4 / 256
"""Bytes of one 8-bit moment: a byte, and an fp32 scale for each block of 256 (bitsandbytes)."""


def adapter_parameters(shape: ModelShape, rank: int, targets: list[str] | None = None) -> int:
    """r x (in + out) for each adapted matrix of each layer (Hu et al. 2021, LoRA)."""
    return sum(
        layers * rank * (one[1] + one[2])
        for layers, linears in shape.every_linear
        for one in among(linears, targets)
    )


def among(linears: tuple[Linear, ...], targets: list[str] | None) -> list[Linear]:
    return [one for one in linears if targets is None or _is_target(one[0], targets)]


def _is_target(name: str, targets: list[str]) -> bool:
    """Whether the matrix called q here is meant by q, q_proj or self_attn.q_proj."""
    return any(target.rsplit(".", 1)[-1].removesuffix("_proj") == name for target in targets)


def trained(
    shape: ModelShape, method: Method, rank: int, targets: list[str] | None, precision: str
) -> tuple[int, int]:
    """Parameters that learn, and bytes of each: adapters are fp32; so is all of a model in fp16."""
    if method == "full":
        return shape.parameters, 2 if precision == "bf16" else 4
    return adapter_parameters(shape, rank, targets), 4


def weights(shape: ModelShape, method: Method, precision: str) -> tuple[int, int]:
    """The base: in the compute dtype, or its layers' matrices in four bits and the rest as it was; and the
    scales of those four bits."""
    each = 4 if precision == "fp32" or (method == "full" and precision == "fp16") else 2
    if method != "qlora":
        return shape.parameters * each, 0
    every = sum(many * one[1] * one[2] for many, linears in shape.every_linear for one in linears)
    matrices = min(every, shape.parameters)
    return int(matrices * 0.5 + (shape.parameters - matrices) * each), int(matrices * (FOUR_BIT - 0.5))


def moments(
    shape: ModelShape,
    trained: int,
    width: int,
    optimizer: str,
    full: bool,
    rank: int,
    targets: list[str] | None,
) -> int:
    """AdamW keeps two moments in the trained dtype, in 8 bits a byte each, Adafactor a row and a column.

    With 8 bits the moments of embeddings stay in fp32 (`Trainer.create_optimizer` in transformers).
    """
    if optimizer == "adamw":
        return 2 * width * trained
    if optimizer == "adafactor":
        return 4 * _sides(shape, rank, targets, full)
    embedded = shape.embedding if full else 0
    return int(2 * EIGHT_BIT * (trained - embedded) + 8 * embedded)


def paged(shape: ModelShape, spec: RunSpec, method: Method, optimizer: str, precision: str) -> int:
    """Bytes of moments that lie in the host's memory when the card is full, and take of it what is free."""
    if not optimizer.startswith("paged"):
        return 0
    rank, full = spec.lora.rank, method == "full"
    targets = None if spec.lora.targets == "all-linear" else list(spec.lora.targets)
    learning, width = trained(shape, method, rank, targets, precision)
    return moments(shape, learning, width, optimizer, full, rank, targets)


def _sides(shape: ModelShape, rank: int, targets: list[str] | None, full: bool) -> int:
    """Rows and columns of all matrices that learn: an adapter's two, or all of a layer's, with its experts'
    gate and up and down, and of the embedding and the head."""
    if not full:
        return sum(
            many * (one[1] + one[2] + 2 * rank)
            for many, linears in shape.every_linear
            for one in among(linears, targets)
        )
    sides = sum(many * (one[1] + one[2]) for many, linears in shape.every_linear for one in linears)
    width = shape.expert_intermediate or 0
    sides += shape.layers * (shape.experts or 0) * (3 * width + 2 * shape.hidden)
    return sides + (1 if shape.tied else 2) * (shape.vocab + shape.hidden)
