"""The memory that a run takes, by part, in closed form: at once and without torch.

The forms follow from what `core.train.model` puts into memory and from the tensors that autograd keeps for
a decoder layer, read off a trace of saved and passing tensors of Llama layers (transformers 5.23, PEFT 0.21,
TRL 1.16), and were held against peaks measured on a card (tests/plan/test_memory.py has the figures and the
errors). They are for the plain trainer: SDPA attention, whole layers recomputed or none, TRL's fused head.

Preferences (TRL 1.16's DPO and KTO, and ORPO with the same head): a pair is two sequences, so a pass has
twice the tokens. The model as it was is asked with the adapters off while the learned pass is held: that
takes one layer's passing tensors and a tile of logits, never a second model. A full run asks it before the
first step; its weights are fp32, since steps of 1e-6 would round away in bf16.

Letters: n tokens of a pass (batch x length), h hidden, i the MLP's width, q = heads x head width, k the same
of keys, c bytes of the compute dtype.
"""

from dataclasses import dataclass

from core.models.count import Linear
from core.models.shape import ModelShape
from core.plan.objective import SEQUENCES
from core.spec import Method, Objective

CONTEXT = 700 * 2**20
"""CUDA's context, the kernels of its libraries and cuBLAS's workspaces; NVML shows it, torch does not."""
CPU_LIBRARIES = 900 * 2**20
"""What torch and the trainer take in a process without a GPU."""
FRAGMENTS = 0.05
"""Of the activations: what the allocator cannot use again because rows differ in length."""
FOUR_BIT = 0.5 + 1 / 64 + 4 / 64 / 256
"""Bytes a weight of NF4 in blocks of 64, whose scales are 8 bit in blocks of 256 (QLoRA, section 3)."""
EIGHT_BIT = 1 + 4 / 256
"""Bytes of one 8-bit moment: a byte, and an fp32 scale for each block of 256 (bitsandbytes)."""
LOSS_TILE = (4096, 32768)
"""Tokens x vocabulary of the buffer for logits in the trainer's fused head. It has this width whatever the
vocabulary is (trl/kernels/chunked_logprob.py, trl/trainer/utils.py)."""
CPU_TILE_COPIES = 7
"""fp32 copies of that tile's used part while it goes backward in plain torch, where there is no Triton."""

FOUR_NORMS = ("gemma2", "gemma3", "gemma3_text")
FP32_NORMS = ("gemma", *FOUR_NORMS)
"""Families whose norms multiply by their weight before they cast back."""
ACTIVATION_OF_STEPS = ("gpt2", "phi")
NORMS_IN_ATTENTION = ("qwen3", "qwen3_moe", "gemma3", "gemma3_text", "olmo2", "olmo3", "olmoe")
"""Families that also normalise queries and keys."""


@dataclass(frozen=True)
class Bytes:
    """A run's memory by part; `total` is the peak of a step.

    The first four stand all the time (gradients from the end of a backward pass); activations and loss are
    what the fullest moment wants on top of them.
    """

    weights: int
    adapters: int
    gradients: int
    optimizer: int
    activations: int
    loss: int
    overhead: int

    @property
    def total(self) -> int:
        return sum(self.__dict__.values())

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
    accumulate: int = 1,
    padded: bool | None = None,
    dora: bool = False,
    input_copies: bool = False,
    objective: Objective = "sft",
) -> Bytes:
    """The peak of training steps of `accumulate` passes of `batch` rows of `length` tokens, all learned.

    `targets`: names of the linear layers with adapters, None: all of a layer. `padded`: rows differ in
    length, None: as soon as there are two. `input_copies`: PEFT's default of copying what goes into each
    adapter, which `core.train.model` turns off where it is of no use.
    """
    batch *= SEQUENCES[objective]
    padded = batch > 1 if padded is None else padded or objective != "sft"
    tokens, full = batch * length, method == "full"
    if full and objective != "sft" and precision == "bf16":
        precision = "fp16"  # as there: fp32 weights under autocast
    compute = 4 if precision == "fp32" else 2
    trained, width = _trained(shape, method, rank, targets, precision)
    dora = dora and not full
    outs = (
        sum(one[2] for one in _adapted(shape, targets)) if dora else 0
    )  # DoRA: one magnitude for each output
    trained += shape.layers * outs
    if full:
        compute = width
    gradients = trained * width
    layer = tokens * _layer(shape, method, compute, rank, padded, input_copies)
    layer += tokens * 2 * compute * outs  # it keeps the base's and the adapter's result of each matrix
    if padded:  # rows of unequal length come with a mask, which each layer's attention turns into a bias
        layer += batch * length * length * compute
    each = tokens * compute * shape.hidden if recompute else layer
    ends = tokens * shape.hidden * (4 + 2 * compute)  # the embedding's output and the last norm's in and out
    passing = tokens * _passing(shape, method, compute, input_copies, dora) + _rebuilt(
        shape, method, compute, dora
    )
    head = _loss(shape, tokens, compute, full, on_gpu)

    # What the fullest moments hold beside weights, adapters and the optimiser's state: the loss going
    # backward, the last layer, the first one, when nearly all gradients are there, and the step itself.
    before = gradients if accumulate > 1 else 0
    at_loss = before + shape.layers * each + ends + head
    at_last = before + shape.layers * each + (layer if recompute else 0) + passing
    missing = 0 if accumulate > 1 else width * _last_gradients(shape) if full else 0
    at_first = gradients - missing + layer + passing
    at_step = gradients + (8 * shape.embedding if optimizer == "adafactor" and full else 0)
    asked = tokens * _forward(shape, compute) + _tile(shape, tokens, compute, on_gpu)
    compares = objective in ("dpo", "kto") and not full
    at_reference = before + shape.layers * each + ends + asked if compares else 0
    fullest = max(at_loss, at_last, at_first, at_step, at_reference)
    on_top = int(fullest - gradients)
    loss = min(int(head), on_top) if fullest == at_loss else 0
    return Bytes(
        weights=_weights(shape, method, precision),
        adapters=0 if full else trained * width,
        gradients=gradients,
        optimizer=_moments(shape, trained, width, optimizer, full),
        activations=on_top - loss,
        loss=loss,
        overhead=int((CONTEXT if on_gpu else CPU_LIBRARIES) + FRAGMENTS * on_top),
    )


def adapter_parameters(shape: ModelShape, rank: int, targets: list[str] | None = None) -> int:
    """r x (in + out) for each adapted matrix of each layer (Hu et al. 2021, LoRA)."""
    return shape.layers * sum(rank * (one[1] + one[2]) for one in _adapted(shape, targets))


def _adapted(shape: ModelShape, targets: list[str] | None) -> list[Linear]:
    return [one for one in shape.linears if targets is None or _is_target(one[0], targets)]


def _is_target(name: str, targets: list[str]) -> bool:
    """Whether the matrix called q here is meant by q, q_proj or self_attn.q_proj."""
    return any(target.rsplit(".", 1)[-1].removesuffix("_proj") == name for target in targets)


def _trained(
    shape: ModelShape, method: Method, rank: int, targets: list[str] | None, precision: str
) -> tuple[int, int]:
    """Parameters that learn, and bytes of each: adapters are fp32; so is all of a model in fp16."""
    if method == "full":
        return shape.parameters, 2 if precision == "bf16" else 4
    return adapter_parameters(shape, rank, targets), 4


def _weights(shape: ModelShape, method: Method, precision: str) -> int:
    """The base: in the compute dtype, or its layers' matrices in four bits and the rest as it was."""
    each = 4 if precision == "fp32" or (method == "full" and precision == "fp16") else 2
    if method != "qlora":
        return shape.parameters * each
    matrices = min(_matrices(shape) * shape.layers, shape.parameters)
    return int(matrices * FOUR_BIT + (shape.parameters - matrices) * each)


def _matrices(shape: ModelShape) -> int:
    """Parameters of one layer's linear matrices."""
    return sum(one[1] * one[2] for one in shape.linears)


def _rebuilt(shape: ModelShape, method: Method, compute: int, dora: bool) -> int:
    """The largest matrix: turned back from four bits, and for DoRA's norm in fp32 as well."""
    largest = max((one[1] * one[2] for one in shape.linears), default=0)
    return largest * ((compute if method == "qlora" else 0) + (4 if dora else 0))


def _moments(shape: ModelShape, trained: int, width: int, optimizer: str, full: bool) -> int:
    """AdamW keeps two moments in the trained dtype, in 8 bits a byte each, Adafactor a row and a column.

    With 8 bits the moments of embeddings stay in fp32 (`Trainer.create_optimizer` in transformers).
    """
    if optimizer == "adamw":
        return 2 * width * trained
    if optimizer == "adafactor":
        return 4 * (shape.layers * sum(one[1] + one[2] for one in shape.linears) + shape.vocab + shape.hidden)
    embedded = shape.embedding if full else 0
    return int(2 * EIGHT_BIT * (trained - embedded) + 8 * embedded)


def _layer(
    shape: ModelShape, method: Method, compute: int, rank: int, padded: bool, input_copies: bool
) -> float:
    """Bytes a token that autograd keeps of one layer for its backward pass.

    Each norm its input in fp32, 4 h, and what goes into the matrices that learn, 2 c h. Turned queries and
    keys, values and the attention's output, with keys and values repeated for every head where there is a
    mask: c (2 q + 2 k), or 4 c q. A gated MLP: gate, up, its activation and the product, 4 c i; a plain one
    2 c i, or about 5 where the family builds its activation of small steps. Norms that learn, their result.
    """
    h, queries, keys = shape.hidden, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = 4 if shape.architecture in FOUR_NORMS else 2
    kept = norms * 4 * h + 2 * compute * h + 4 * shape.heads
    kept += compute * (2 * queries + 2 * (queries if padded else keys))
    wide = 4 if shape.gated_mlp else 5 if shape.architecture in ACTIVATION_OF_STEPS else 2
    kept += compute * wide * _mlp_width(shape)
    if shape.architecture in NORMS_IN_ATTENTION:
        kept += (4 + compute) * (queries + keys)
    if method == "full":
        if shape.architecture in FP32_NORMS:
            return kept + norms * 4 * h + compute * (queries + keys)
        return kept + norms * compute * h
    copies = 4 * compute * h if input_copies and compute == 2 and method == "lora" else 0
    return kept + compute * rank * len(shape.linears) + copies


def _mlp_width(shape: ModelShape) -> int:
    """What one token passes through: of a mixture, the experts that are chosen for it."""
    if shape.experts and shape.experts_per_token:
        return shape.experts_per_token * (shape.expert_intermediate or shape.intermediate)
    return shape.intermediate


def _passing(shape: ModelShape, method: Method, compute: int, input_copies: bool, dora: bool) -> float:
    """Bytes a token that come and go while one layer goes backward, as traced: a gradient as wide as the
    MLP and two and a half as wide as the hidden state; with input copies an fp32 one of the widest input;
    with DoRA, whose scales are fp32, ten bytes more for each of the MLP's width."""
    wide = 4 if input_copies and compute == 2 and method == "lora" else 0
    wide += compute + (10 if dora else 0)
    return wide * _mlp_width(shape) + 2.5 * compute * shape.hidden


def _last_gradients(shape: ModelShape) -> int:
    """Parameters whose gradients come after the first layer's activations are gone: its own, and the
    embedding's (not where it is the head too: then they were there from the start)."""
    return _matrices(shape) + (0 if shape.tied else shape.embedding)


def _forward(shape: ModelShape, compute: int) -> float:
    """Bytes a token that come and go in a layer that nothing is kept of: the hidden state, its norm in fp32
    and cast, and the MLP's gate, up and product."""
    return shape.hidden * (4 + 3 * compute) + 3 * compute * _mlp_width(shape)


def _loss(shape: ModelShape, tokens: int, compute: int, full: bool, on_gpu: bool) -> int:
    """The fused head's tile of logits, the gradient of the hidden states in fp32 and cast, and in a full run
    the gradient of the head in fp32 and cast."""
    head = (4 + compute) * shape.embedding if full else 0
    return _tile(shape, tokens, compute, on_gpu) + tokens * shape.hidden * (4 + compute) + head


def _tile(shape: ModelShape, tokens: int, compute: int, on_gpu: bool) -> int:
    rows = min(tokens, LOSS_TILE[0])
    tile = rows * LOSS_TILE[1] * compute
    if not on_gpu:
        tile += CPU_TILE_COPIES * 4 * rows * min(shape.vocab, LOSS_TILE[1])
    return tile
