"""TRL's trainers of preferences as a run uses them: DPO, ORPO and KTO on rows that are already tokens.

What each holds: with adapters the model before training is the same model with its adapters off; a full
run takes that model's log-probabilities once, before the first step; ORPO compares with nothing.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer
from trl.trainer.utils import add_fused_lm_head

from core.runs.folder import RunFolder
from core.spec import Objective, RunSpec
from core.train import pairs, reference
from core.train.device import Device
from core.train.evaluation import Measured, look
from core.train.pairs import Batch, Row
from core.train.routers import as_configured
from core.train.trainer import settings

REFERENCE_FILE = "reference.json"
OUTPUTS = ("log_probs", "mean_logits")
PAIR = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")


def tuner(
    objective: Objective,
    *,
    model: Any,
    spec: RunSpec,
    run: RunFolder,
    device: Device,
    steps: int,
    train: Sequence[Row],
    held_out: Sequence[Row],
    tokenizer: Any,
    on_evaluating: Callable[[int, int], bool],
    on_reference: Callable[[int, int], None],
) -> Any:
    """The trainer of an objective, not yet started.

    `on_evaluating(done, total)`, in rows, says whether to go on; `on_reference` may raise to leave.
    """
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    labels = objective == "kto"
    order = pairs.spread(train, spec.seed) if labels else range(len(train))
    make = (
        partial(pairs.labelled, pad=pad or 0, length=spec.length or 1024)
        if labels
        else partial(pairs.paired, pad=pad or 0)
    )
    common: dict[str, Any] = {
        "model": model,
        "args": arguments(objective, spec, run, device, steps, train),
        "train_dataset": pairs.numbers(0, order),
        "eval_dataset": pairs.numbers(1, range(len(held_out))) if held_out else None,
        "processing_class": tokenizer,
        "data_collator": pairs.collator((train, held_out), make),
    }
    if objective == "orpo":
        return OrpoTuner(common, device, on_evaluating)
    seen = {"model": spec.model, "revision": spec.revision, "precision": device.precision}
    settled = (objective, seen, spec.batch, spec.seed if labels else None, spec.length if labels else None)
    keys = {
        "train": reference.fingerprint(train, *settled) if spec.method == "full" else "",
        "eval": reference.fingerprint(held_out, *settled) if spec.method == "full" else "",
    }
    before = Before(run.path / REFERENCE_FILE, keys, on_reference)
    kind = KtoTuner if labels else DpoTuner
    return kind(common, device, on_evaluating, before)


def arguments(
    objective: Objective, spec: RunSpec, run: RunFolder, device: Device, steps: int, train: Sequence[Row]
) -> Any:
    """The trainer's settings. Dropout is off in all three: two passes over one answer must agree."""
    own: dict[str, Any] = {
        **settings(spec, run, device, steps),
        "beta": spec.beta,
        "disable_dropout": True,
        "remove_unused_columns": False,
        "max_length": spec.length,
    }
    if objective == "orpo":
        return ORPOConfig(**own)
    own["precompute_ref_log_probs"] = spec.method == "full"
    if objective == "dpo":
        return DPOConfig(**own)
    good, bad = label_weights(train)
    return KTOConfig(desirable_weight=good, undesirable_weight=bad, **own)


def label_weights(rows: Sequence[Row]) -> tuple[float, float]:
    """How much a good and a bad row count in KTO, so that both kinds count alike altogether.

    Ethayarajh et al. 2024, equation 8: weight x count of the good over that of the bad from 1 to 4/3.
    """
    good = sum(bool(row["label"]) for row in rows)
    bad = len(rows) - good
    if not good or not bad:
        return 1.0, 1.0
    return (bad / good, 1.0) if good < bad else (1.0, good / bad)


class Before:
    """How a full run comes by the log-probabilities of the model before training, and where it keeps them."""

    def __init__(self, kept: Path, keys: dict[str, str], told: Callable[[int, int], None]):
        self.kept, self.keys, self.told = kept, keys, told

    def added(self, trainer: Any, dataset: Dataset, name: str, batch: int, names: tuple[str, ...]) -> Dataset:
        return reference.added(trainer, dataset, batch, names, self.kept, self.keys[name], self.told)


def forget_copy(model: Any) -> None:
    """TRL copies adapters that it is given, to compare with; ours begin at nothing, so off is the same."""
    if "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")


def last_told(metrics: dict[str, list[float]]) -> dict[str, float]:
    """What the trainer has noted of the latest batch; the notes are wiped."""
    told = {name: values[-1] for name, values in metrics.items() if values}
    metrics.clear()
    return told


def of_pairs(batch: Batch, loss: float, told: dict[str, float]) -> Measured:
    rows = len(batch["input_ids"]) // 2
    sums = {name: (told[name] * rows, rows) for name in PAIR if name in told}
    return Measured(int(batch["completion_mask"].sum()), {"loss": (loss * rows, rows), **sums})


def of_labels(batch: Batch, loss: float, told: dict[str, float]) -> Measured:
    """There are no pairs, so no share of them that is ranked right; the margin is that of the means."""
    rows, good = len(batch["label"]), int(batch["label"].sum())
    sums = {"loss": (loss * rows, rows)}
    for name, count in (("rewards/chosen", good), ("rewards/rejected", rows - good)):
        if name in told:
            sums[name] = (told[name] * count, count)
    return Measured(int(batch["completion_mask"].sum()), sums)


class DpoTuner(DPOTrainer):
    """Direct preference optimisation (Rafailov et al. 2023) on rows that need no preparation."""

    def __init__(
        self,
        common: dict[str, Any],
        device: Device,
        on_evaluating: Callable[[int, int], bool],
        before: Before,
    ):
        self._before, self._device, self._on_evaluating = before, device, on_evaluating
        with as_configured(common["model"], common["args"]):
            super().__init__(**common)
        forget_copy(self.model)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        names = ("ref_chosen_logps", "ref_rejected_logps")
        return self._before.added(self, dataset, name, batch_size, names)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> Any:
        return look(self, eval_dataset, metric_key_prefix, self._device, self._on_evaluating, self._measured)

    def _measured(self, batch: Batch) -> Measured:
        loss = float(self.compute_loss(self.model, batch))
        return of_pairs(batch, loss, last_told(self._metrics["eval"]))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None for a checkpoint: it is not what leaves this machine."""


class KtoTuner(KTOTrainer):
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024) on rows that need no preparation."""

    def __init__(
        self,
        common: dict[str, Any],
        device: Device,
        on_evaluating: Callable[[int, int], bool],
        before: Before,
    ):
        self._before, self._device, self._on_evaluating = before, device, on_evaluating
        with as_configured(common["model"], common["args"]):
            super().__init__(**common)
        forget_copy(self.model)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        return self._before.added(self, dataset, name, batch_size, ("ref_logps", "ref_KL_logps"))

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> Any:
        return look(self, eval_dataset, metric_key_prefix, self._device, self._on_evaluating, self._measured)

    def _measured(self, batch: Batch) -> Measured:
        loss = float(self.compute_loss(self.model, batch))
        return of_labels(batch, loss, last_told(self._metrics["eval"]))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None for a checkpoint: it is not what leaves this machine."""


class OrpoTuner(ORPOTrainer):
    """Odds ratio preference optimisation (Hong et al. 2024), with the fused head that DPO and KTO have.

    TRL's own pass holds all logits and learns the prompt's tokens too; here the loss of the chosen answer
    is the mean over its learned tokens, as the paper has it and as the preview shows it.
    """

    def __init__(self, common: dict[str, Any], device: Device, on_evaluating: Callable[[int, int], bool]):
        super().__init__(**common)
        self._device, self._on_evaluating = device, on_evaluating
        self._tokens = 0
        base = self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model
        add_fused_lm_head(base, outputs=OUTPUTS)

    def tokenize_row(self, feature: Any, model: Any = None) -> dict[str, Any]:
        return {}

    def concatenated_forward(self, model: Any, batch: Batch) -> Any:
        """Mean log-probabilities of chosen and rejected answers, (rows,), mean logits, the chosen's loss."""
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        out = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=labels,
            use_cache=False,
            fused_lm_head=True,
        )
        if model.training:
            self._tokens += int(batch["attention_mask"].sum())
        sums, counts = out.log_probs.sum(dim=1), batch["completion_mask"].sum(dim=1)
        chosen, rejected = (sums / counts).chunk(2)
        loss = -sums[: len(chosen)].sum() / counts[: len(chosen)].sum()
        logits = out.mean_logits.chunk(2)
        more = (out.aux_loss,) if self.aux_loss_enabled else ()
        return (chosen, rejected, *logits, loss, *more)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs["num_tokens"] = self._tokens
        super().log(logs, start_time)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> Any:
        return look(self, eval_dataset, metric_key_prefix, self._device, self._on_evaluating, self._measured)

    def _measured(self, batch: Batch) -> Measured:
        loss, told = self.get_batch_loss_metrics(self.model, batch, "eval")
        return of_pairs(batch, float(loss), {name.removeprefix("eval_"): one for name, one in told.items()})

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None for a checkpoint: it is not what leaves this machine."""
