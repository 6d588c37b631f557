"""TRL's SFTTrainer as a run uses it: settings from the spec, rows that are already tokens, an evaluation
that counts tokens and gives way when the run is asked to end."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from trl import SFTConfig, SFTTrainer

from core.runs.folder import RunFolder
from core.spec import RunSpec
from core.train import checkpoints
from core.train.batches import IGNORED, collate
from core.train.device import Device
from core.train.evaluation import Measured, look
from core.train.pairs import collator, numbers

MOST_LOGGED = 20_000
"""Steps that are logged one by one; a longer run logs every second, third, … step."""
OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
}


def steps_of(spec: RunSpec, rows: int) -> int:
    """Optimiser steps of the whole run, counted as the trainer counts them."""
    if spec.steps:
        return spec.steps
    batches = math.ceil(rows / (spec.batch or 1))
    return math.ceil((spec.epochs or 1) * max(1, math.ceil(batches / (spec.accumulate or 1))))


def arguments(spec: RunSpec, run: RunFolder, device: Device, steps: int) -> SFTConfig:
    return SFTConfig(
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        **settings(spec, run, device, steps),
    )


def settings(spec: RunSpec, run: RunFolder, device: Device, steps: int) -> dict[str, Any]:
    """What every trainer is told. Saving and evaluating are asked for by `core.train.watch`, step by step."""
    return dict(
        output_dir=str(checkpoints.writing(run)),
        run_name=run.name,
        report_to=list(spec.report) or "none",
        seed=spec.seed,
        data_seed=spec.seed,
        per_device_train_batch_size=spec.batch or 1,
        per_device_eval_batch_size=spec.batch or 1,
        gradient_accumulation_steps=spec.accumulate or 1,
        max_steps=spec.steps or -1,
        num_train_epochs=spec.epochs or 1.0,
        learning_rate=spec.learning_rate or 2e-5,
        lr_scheduler_type=_schedule(spec),
        warmup_steps=warmup_steps(spec, steps),
        optim=OPTIMIZERS.get(spec.optimizer, "adamw_torch_fused"),
        weight_decay=spec.weight_decay,
        max_grad_norm=spec.clip,
        bf16=device.precision == "bf16",
        fp16=device.precision == "fp16",
        use_cpu=device.kind == "cpu",
        gradient_checkpointing=spec.recompute == 1,
        gradient_checkpointing_kwargs={"use_reentrant": False} if spec.recompute == 1 else None,
        logging_steps=max(1, math.ceil(steps / MOST_LOGGED)),
        logging_nan_inf_filter=False,  # a loss that is not a number must be seen
        save_strategy="no",
        eval_strategy="no",
        prediction_loss_only=True,
        dataloader_pin_memory=device.kind == "cuda",
        disable_tqdm=True,
    )


def warmup_steps(spec: RunSpec, steps: int) -> int:
    """A warm-up of one step would be a first step at rate 0 and nothing else, so that is none."""
    asked = math.ceil(spec.warmup * steps)
    return asked if asked > 1 else 0


def _schedule(spec: RunSpec) -> str:
    return "constant_with_warmup" if spec.schedule == "constant" else spec.schedule


class Tuner(SFTTrainer):
    """An SFTTrainer whose evaluation is the mean over learned tokens, tells its progress, and can be left."""

    def __init__(
        self,
        *,
        model: Any,
        args: SFTConfig,
        train: Sequence[Any],
        held_out: Sequence[Any] | None,
        tokenizer: Any,
        device: Device,
        on_evaluating: Callable[[int, int], bool],
    ):
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        super().__init__(
            model=model,
            args=args,
            train_dataset=numbers(0, range(len(train))),
            eval_dataset=numbers(1, range(len(held_out))) if held_out else None,
            processing_class=tokenizer,
            data_collator=collator((train, held_out or []), partial(collate, pad=pad or 0)),
        )
        self._device, self._on_evaluating = device, on_evaluating

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """{"eval_loss", "eval_tokens"}: nats a learned token over the held-out rows.

        Empty when `on_evaluating(done, total)`, in rows, said to leave.
        """
        return look(self, eval_dataset, metric_key_prefix, self._device, self._on_evaluating, self._measured)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Nats a learned token; while training each token times its row's weight, still by their number."""
        tokens, weights = inputs.pop("tokens"), inputs.pop("loss_weights", None)
        called = model if weights is None or not self.model.training else _weighted(model, weights)
        before = int(self._total_train_tokens)
        loss = super().compute_loss(called, inputs, *args, **kwargs)
        if self.model.training:  # the library counts only one line of a batch without a mask
            self._total_train_tokens: int = before + int(tokens)
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return loss

    def _measured(self, batch: dict[str, Any]) -> Measured:
        count = int((batch["labels"][:, 1:] != IGNORED).sum())
        total = float(self.compute_loss(self.model, batch)) * count if count else 0.0
        return Measured(count, {"loss": (total, count)})

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None for a checkpoint: it is not what leaves this machine."""


def _weighted(model: Any, weights: Any) -> Callable[..., Any]:
    """The model with each token's log-probability times the weight of its row, (lines, tokens)."""

    def call(**inputs: Any) -> Any:
        out = model(**inputs)
        out.log_probs = out.log_probs * weights[:, 1:]  # of each token but the first of a line
        return out

    return call
