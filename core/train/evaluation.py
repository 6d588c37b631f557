"""A look at the held-out rows that tells how far it is and can be left: the same for every trainer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.train.device import Device


@dataclass
class Measured:
    """Of one batch, or of many: learned tokens, and of each name a sum and over how many it was taken."""

    tokens: int = 0
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, other: "Measured") -> None:
        self.tokens += other.tokens
        for name, (value, count) in other.sums.items():
            before, counted = self.sums.get(name, (0.0, 0))
            self.sums[name] = before + value, counted + count

    def means(self) -> dict[str, float]:
        """The mean of each name of which there was something."""
        return {name: value / count for name, (value, count) in self.sums.items() if count}


def look(
    trainer: Any,
    rows: Any,
    prefix: str,
    device: Device,
    on_evaluating: Callable[[int, int], bool],
    measure: Callable[[dict[str, Any]], Measured],
) -> dict[str, float]:
    """{"eval_loss", "eval_tokens", …}: means over the held-out rows of what `measure` says of each batch.

    Empty when `on_evaluating(done, total)`, in rows, said to leave. Only what is measured is kept, no logits.
    """
    import torch

    loader = trainer.get_eval_dataloader(rows)
    was_training = trainer.model.training
    trainer.model.eval()
    total, found, whole = trainer.num_examples(loader), Measured(), True
    with torch.no_grad(), device.autocast():
        for place, batch in enumerate(loader):
            whole = on_evaluating(place * trainer.args.per_device_eval_batch_size, total)
            if not whole:
                break
            found.add(measure(trainer._prepare_inputs(batch)))
    means, metrics = found.means(), {}
    if whole and "loss" in means:
        metrics = {f"{prefix}_{name}": mean for name, mean in means.items()}
        metrics[f"{prefix}_tokens"] = found.tokens
        trainer.log(dict(metrics))
    trainer.control = trainer.callback_handler.on_evaluate(
        trainer.args, trainer.state, trainer.control, metrics
    )
    trainer.model.train(was_training)
    return metrics
