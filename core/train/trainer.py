"""TRL's SFTTrainer as a run uses it: settings from the spec, rows that are already tokens, an evaluation
that counts tokens and gives way when the run is asked to end."""

import contextlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from trl import SFTConfig, SFTTrainer

from core.runs.folder import RunFolder
from core.spec import RunSpec
from core.train import checkpoints
from core.train.batches import IGNORED, Layout, collate
from core.train.device import Device
from core.train.engine.head import Head
from core.train.engine.later import Later
from core.train.evaluation import Measured, look
from core.train.pairs import collator, numbers
from core.train.routers import as_configured

MOST_LOGGED = 20_000
"""Steps that are logged one by one; a longer run logs every second, third, … step."""
OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
}


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
        data_seed=spec.seed if spec.shuffle is None else spec.shuffle,
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
        gradient_checkpointing=False,  # the dial has its own, see core.train.engine.layers
        logging_steps=max(1, math.ceil(steps / MOST_LOGGED)),
        logging_nan_inf_filter=False,  # a loss that is not a number must be seen
        save_strategy="no",
        eval_strategy="no",
        prediction_loss_only=True,
        dataloader_pin_memory=device.kind == "cuda",
        accelerator_config={"non_blocking": device.kind == "cuda"},
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
        layout: Layout,
        head: Head | None,
        on_evaluating: Callable[[int, int], bool],
    ):
        """`head`: None where the model's logits are not plain, or its experts have a loss of their own; the
        library's is used then."""
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self._parts, self._pad = (train, held_out or []), pad or 0
        with as_configured(model, args):
            super().__init__(
                model=model,
                args=args,
                train_dataset=numbers(0, range(len(train))),
                eval_dataset=numbers(1, range(len(held_out))) if held_out else None,
                processing_class=tokenizer,
                data_collator=self._collator(layout),
            )
        self._device, self._on_evaluating, self._head = device, on_evaluating, head
        self.trained_tokens = 0
        self._later = Later()
        self._trains = False
        self._learned = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.model.zero_grad = partial(forget, self._learned)
        self.control: Any
        self._globalstep_last_logged: int

    def lay_out(self, layout: Layout) -> None:
        """From here on rows are laid out so."""
        self.data_collator = self._collator(layout)

    def _collator(self, layout: Layout) -> Any:
        return collator(self._parts, partial(collate, pad=self._pad, layout=layout))

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """{"eval_loss", "eval_tokens"}: nats a learned token over the held-out rows.

        Empty when `on_evaluating(done, total)`, in rows, said to leave.
        """
        self._later.pause()
        self._trains = False
        return look(self, eval_dataset, metric_key_prefix, self._device, self._on_evaluating, self._measured)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Nats a learned token; while training each token times its row's weight, still by their number."""
        at, targets, weights = (inputs.pop(name) for name in ("at", "targets", "weights"))
        tokens, training = inputs.pop("tokens"), self.model.training
        if training:
            self._later.begin(self._device.kind == "cuda")
            self.trained_tokens += tokens
        weights = weights if training else None
        if self._head is None:
            called = model if weights is None else _weighted(model, inputs["labels"], weights)
            return super().compute_loss(called, inputs, num_items_in_batch=num_items_in_batch)
        labels = inputs.pop("labels")
        count = num_items_in_batch if num_items_in_batch is not None else max(1, at.shape[0])
        whole = model_of(self.model)
        with self._device.autocast():
            hidden = whole.base_model(**inputs, use_cache=False).last_hidden_state
            head = whole.get_output_embeddings()
            hidden = hidden.reshape(labels.numel(), -1)
            return self._head(hidden, head.weight, head.bias, at, targets, weights, count)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        self._trains = False
        try:
            return super().train(*args, **kwargs)
        except Exception:
            with contextlib.suppress(Exception):  # what went wrong is told, not what came of it
                self._tell(leave=0)
            raise

    def _maybe_log_save_evaluate(
        self, tr_loss: Any, grad_norm: Any, model: Any, trial: Any, epoch: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Puts the step's figures by, and tells those of the step before; then saves and evaluates."""
        step, control, before = self.state.global_step, self.control, self._globalstep_last_logged
        if control.should_log and step > before:
            steps, rate = step - before, kwargs.get("learning_rate")
            self._later.put(
                step, steps, self.state.epoch, float(rate or 0.0), self.trained_tokens, tr_loss, grad_norm
            )
            tr_loss -= tr_loss
            self._globalstep_last_logged = step
        control.should_log = False
        ends = control.should_training_stop or step >= self.state.max_steps
        other = control.should_save or control.should_evaluate
        self._tell(leave=0 if ends or other else 1)
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, model, trial, epoch, *args, **kwargs)
        if other:
            self._later.pause()

    def _tell(self, leave: int) -> None:
        for told in self._later.take(leave):
            self._total_loss_scalar += told["loss"]
            self.state.log_history.append(told)
            self.control = self.callback_handler.on_log(self.args, self.state, self.control, told)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """As the library's, which walks through all modules of a model three times a step: for a small model
        on a quick card that is a third of it."""
        if self._head is None:
            return super().training_step(model, inputs, num_items_in_batch)
        if not self._trains:  # a model may say so of itself while parts that were just loaded do not
            model.train()
            self._trains = True
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        if num_items_in_batch is None:
            loss = loss / self.current_gradient_accumulation_steps
        self.accelerator.backward(loss)
        return loss.detach()

    def _clip_grad_norm(self, model: Any) -> Any:
        return self.accelerator.clip_grad_norm_(self._learned, self.args.max_grad_norm)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """None are counted: that walks through all weights at every pass."""
        return 0

    def _measured(self, batch: dict[str, Any]) -> Measured:
        count = int(batch["at"].shape[0])
        total = float(self.compute_loss(self.model, batch)) * count if count else 0.0
        return Measured(count, {"loss": (total, count)})

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None for a checkpoint: it is not what leaves this machine."""


def forget(weights: Sequence[Any], set_to_none: bool = True) -> None:
    """No gradients any more: what a model's `zero_grad` does, for those weights that have any."""
    for weight in weights:
        weight.grad = None


def model_of(model: Any) -> Any:
    """The transformers model, without adapters around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _weighted(model: Any, labels: Any, weights: Any) -> Callable[..., Any]:
    """The model with each learned token's log-probability times its weight."""

    def call(**inputs: Any) -> Any:
        out = model(**inputs)
        spread = out.log_probs.new_ones(out.log_probs.shape)
        spread[labels[:, 1:] != IGNORED] = weights.to(spread.dtype)
        out.log_probs = out.log_probs * spread
        return out

    return call
