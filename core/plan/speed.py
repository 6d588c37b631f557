"""How fast a run will be, in closed form: an estimate, and shown as one.

Work of a token (Kaplan et al. 2020, 2.1): a forward pass takes 2 operations a parameter that it goes
through, the backward pass 2 for the gradient of the activations and 2 more for the gradient of weights
that learn, and recompute is a second forward pass.
"""

from core.models.shape import ModelShape
from core.plan.cards import Card
from core.plan.objective import more_passes
from core.spec import Method, Objective

SHARE = {"full": 0.41, "lora": 0.38, "qlora": 0.38}
"""Of a card's data-sheet rate. On an H200 (989 TFLOP/s) eight billion parameters came to 0.41 in full tuning
and, without PEFT's input copies, to 0.38 with adapters."""
LAYER_SECONDS = {"gpu": 0.010, "cpu": 0.004}
"""A pass costs at least this for each layer, however few tokens it has: starting its kernels."""
CORE_RATE = 25e9
"""Operations a second of one CPU core; fitted to a 28 M model's 300 tokens/s on two."""


def operations(
    shape: ModelShape, method: Method, recompute: float, objective: Objective = "sft", epochs: float = 1.0
) -> float:
    """Operations a token."""
    through = shape.active_parameters - (0 if shape.tied else shape.embedding)
    passes = 2 + 2 + (2 if method == "full" else 0) + 2 * recompute
    passes += 2 * more_passes(objective, method, epochs)
    return passes * through


def tokens_per_second(
    shape: ModelShape,
    method: Method,
    card: Card,
    *,
    tokens: int,
    recompute: float,
    useful: float = 1.0,
    objective: Objective = "sft",
    epochs: float = 1.0,
) -> float | None:
    """Useful tokens a second. `tokens`: of one pass, padding included, of which the share `useful` is not.

    None where the card's rate is not known.
    """
    work = operations(shape, method, recompute, objective, epochs)
    if card.kind == "cpu":
        seconds = tokens * work / (CORE_RATE * max(1, card.cores))
        return useful * tokens / (seconds + shape.layers * LAYER_SECONDS["cpu"])
    if card.tflops is None:
        return None
    seconds = max(tokens * work / (card.tflops * 1e12 * SHARE[method]), shape.layers * LAYER_SECONDS["gpu"])
    return useful * tokens / seconds
