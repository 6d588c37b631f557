"""What a run takes in each of its phases, in closed form: load, step, evaluation, save, merge; RAM and disk.

Each follows from what the code does and from the libraries that it calls (transformers 5.23, PEFT 0.21,
safetensors 0.8, torch 2.13):

- load (`core.train.model`): every weight goes to the card as it is read. A matrix that is to become four
  bits is there in 16 bits while it is quantised, one at a time; the experts of one layer are there once more
  as they are stacked, and their gate and up again as they are joined. Adapters follow.
- step: `core.plan.memory`.
- evaluation (`core.train.evaluation`): after a step, so with the optimiser's state and without gradients, as
  many rows as a pass learns from. Layers run uncompiled and keep nothing; an adapter's product, the base's
  and their sum stand side by side; a four-bit matrix is unpacked as it is used.
- save (`core.train.result`): nothing is copied on the card but a mixture's gate and up, which the files want
  apart. Before it every trained weight is asked whether it is finite: its absolute value and two truth
  values. In the host's memory a whole model stands once more, up to the 50 GB of one file.
- merge, in a process of its own: the base in 16 bits, the adapters in fp32, and of the largest adapted matrix
  the product of its adapter in fp32, that scaled, and a copy of the matrix, should it be checked before it is
  replaced (`lora.Linear.merge`). There is no room for logits in it: nothing is computed with the model.
"""

from __future__ import annotations

from dataclasses import replace

from core.models.shape import ModelShape
from core.plan import layers
from core.plan.corrected import estimated
from core.plan.dial import Hold, holds
from core.plan.estimate import Estimate
from core.plan.loss import PIECE, PIECE_COPIES, PIECE_TOKENS, tile
from core.plan.memory import (
    CONTEXT,
    CPU_LIBRARIES,
    FRAGMENTS,
    GPU_LIBRARIES,
    MLP_TOKENS,
    largest_matrix,
    workspaces,
)
from core.plan.scores import MASKS, asked, writes_scores
from core.plan.standing import adapter_parameters
from core.plan.work import Setting, Work, better_of, looseness, paged_moments
from core.runs.space import written
from core.spec import Method

ERROR = (-0.027, 0.04)
"""Of the closed form's tensors at a step's peak, most under and most over the card's: 144 runs of nine shapes
on one H200 (2.6 % under, docs/measured/grid.md), of which 96 were only checked and 48 are of shapes that
parts of the form were fitted to; 294 settings at random against the trace (as much); and 158 plans' fullest
passes that were not recorded (docs/measured/caps.md: 0.9 % under, and over where half of a short row is
learned). What the tables of `python -m benchmarks.memory_grid`, `memory_random` and `memory_caps` say belongs
here."""
RECORDED = -0.07
"""Most under where passes of many lengths are recorded: each width that is recorded leaves something in the
pool. They are where more than twice that is free."""
LARGEST_FILE = 50_000_000_000
"""Bytes of one file of a saved model (transformers)."""
CHECKED = 3
"""Bytes a number, beside its own width, while it is looked at for being finite."""


def formula(work: Work, setting: Setting) -> Estimate:
    """All phases of the run that the setting makes of the work, as measured where it was measured before.

    Well under 50 ms, no torch.
    """
    better = better_of(work, setting)
    step = better.step
    shape, method, on_gpu = work.shape, work.method, work.card.kind == "gpu"
    computed = 4 if work.precision == "fp32" else 2
    full, wide = method == "full", 4 if work.precision == "fp32" or _fp32_weights(work) else 2
    context = CONTEXT if on_gpu else CPU_LIBRARIES
    base = step.weights + step.quantization
    stands = context + base + step.adapters + step.optimizer
    targets = None if work.spec.lora.targets == "all-linear" else list(work.spec.lora.targets)
    load = context + base + step.adapters + _loading(shape, method, wide)
    looked = _asked(shape, work, setting, computed)
    evaluation = stands + int(looked * (1 + FRAGMENTS))
    save = stands + _saving(shape, work, wide)
    merge = 0 if full else context + merging(shape, work.spec.lora.rank, targets)
    spec = work.spec.model_copy(
        update={"method": method, "precision": work.precision, "optimizer": setting.optimizer}
    )
    need = written(spec, shape)
    saved = min(need.result, LARGEST_FILE)
    if on_gpu:
        ram = GPU_LIBRARIES + step.host + paged_moments(work, setting) + max(saved, _largest(shape) * wide)
    else:
        ram = max(step.total, load, evaluation, save + saved)
    merged = 0 if full else 2 * shape.parameters
    found = Estimate(
        *("formula", step, load, evaluation, save, merge),
        ram=ram,
        disk=need.run + merged,
        error=None if unchecked(work) else ERROR,
        unchecked=unchecked(work),
    )
    return estimated(found, better)


def unchecked(work: Work) -> str:
    """Of what kind the run is, if it is of none that was checked on a card; else empty."""
    if work.card.kind != "gpu":
        return "not checked on a CPU"
    lora = work.spec.lora
    adapted = work.method != "full" and (lora.dora or lora.dropout > 0)
    if work.shape.balanced or writes_scores(work.shape.architecture) == "sinks":
        return "not checked for such a model"
    if adapted or work.objective != "sft" or work.precision != "bf16":
        return "not checked for such a run"
    return ""


def loosened(found: Estimate, work: Work, setting: Setting) -> Estimate:
    """A closed form with the error that it has for these rows: a run's fullest pass is not known before."""
    if found.kind != "formula" or found.error is None:
        return found
    under, over = found.error
    if setting.recorded and work.spread and not work.spread.even:
        under = min(under, RECORDED)
    return replace(found, error=(under, over + looseness(work, setting)))


def merging(shape: ModelShape, rank: int, targets: list[str] | None = None) -> int:
    """Bytes of tensors while an adapter is merged into the base in 16 bits."""
    largest = largest_matrix(shape)
    return 2 * shape.parameters + 4 * adapter_parameters(shape, rank, targets) + (4 + 4 + 2) * largest


def _fp32_weights(work: Work) -> bool:
    """Whether a whole model learns in fp32 under a narrower precision (`core.train.model.base_dtype`)."""
    return work.method == "full" and (work.precision == "fp16" or work.objective != "sft")


def _largest(shape: ModelShape) -> int:
    """Numbers of the largest matrix."""
    return max(shape.embedding, largest_matrix(shape), _stack(shape))


def _stack(shape: ModelShape) -> int:
    """Numbers of all experts' gate and up in one layer."""
    return 2 * (shape.experts or 0) * shape.hidden * (shape.expert_intermediate or 0)


def _loading(shape: ModelShape, method: Method, wide: int) -> int:
    matrix = largest_matrix(shape)
    return max(wide * matrix if method == "qlora" else 0, 2 * wide * _stack(shape))


def _asked(shape: ModelShape, work: Work, setting: Setting, computed: int) -> int:
    """What a pass over held-out rows takes beside what stands."""
    tokens = work.held_out_tokens(setting.batch)
    hidden = tokens * shape.hidden * (4 + 2 * computed)
    layer = tokens * layers.forward(shape, computed)
    adapted = work.method != "full" and not shape.experts
    if adapted:
        layer += tokens * computed * layers.mlp_width(shape)
    waits = setting.host and setting.compiled and work.objective == "sft" and not shape.in_order
    if waits and not shape.experts and set(holds(setting.recompute, shape.layers)) == {Hold.HOST}:
        # MLPs take their tokens in pieces in this pass too, which are put together again
        share = 1 - 1 / -(-tokens // MLP_TOKENS)
        divided = (4 if adapted else 3) * layers.mlp_width(shape) * share
        layer -= tokens * computed * max(0.0, divided - shape.hidden)
    unpacked = 0
    if work.method == "qlora":
        unpacked = computed * largest_matrix(shape)
    on_gpu, writes = work.card.kind == "gpu", writes_scores(shape.architecture)
    if shape.scaled_logits or work.objective != "sft":
        head = tile(shape, tokens, computed, on_gpu)
    else:
        least, most = PIECE_TOKENS
        rows = min(tokens, max(least, min(most, PIECE[setting.compiled] // (shape.vocab * computed))))
        head = int(PIECE_COPIES[setting.compiled, computed] * rows * shape.vocab * computed)
    square = setting.batch * work.length**2
    mask = 0 if work.end_to_end or writes else square * computed
    masks = square * computed * MASKS if writes else 0
    if writes:
        keys = tokens * computed * 3 * shape.heads * shape.head_dim
        layer = max(layer, square * shape.heads * asked(writes, computed) + keys)
    spaces = workspaces(work.card.capability) if on_gpu else 0
    return int(hidden + spaces + masks + max(layer + unpacked + mask, head))


def _saving(shape: ModelShape, work: Work, wide: int) -> int:
    if work.method != "full":
        every = [max(one[1:]) for _, linears in shape.every_linear for one in linears]
        ranked = work.spec.lora.rank * max(every, default=0)
        return (4 + CHECKED) * ranked
    return max((wide + CHECKED) * _largest(shape), wide * shape.layers * _stack(shape))
