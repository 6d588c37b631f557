"""The eyes and ears of a run: tells each step, evaluation and checkpoint, and hears what is asked of it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import TrainerCallback

from core.data.chat_template.templates import Template
from core.errors import UserError
from core.runs.events import Checkpoint, Eval, Log, Sample, Step
from core.runs.folder import RunFolder
from core.spec import RunSpec
from core.train import answers, checkpoints
from core.train.asked import Asked
from core.train.device import Device
from core.train.model import is_finite
from core.train.stages import Stages

SAMPLING_SHARE = 0.1
"""Of the training time, spent at most on answers in between; the first and the last are always given."""


class Watch(TrainerCallback):
    """Decides after each step what comes next: evaluate, save, stop. What it learns becomes an event."""

    def __init__(
        self,
        run: RunFolder,
        spec: RunSpec,
        log: Log,
        stage: Stages,
        asked: Asked,
        device: Device,
        tokenizer: Any,
        template: Template | None,
        held_out: Sequence[dict[str, list[int]]],
        *,
        checkpoint_bytes: int,
        peak: Callable[[], int | None] = lambda: None,
        tokens: int = 0,
        seconds: float = 0.0,
    ):
        """`peak`: bytes of the card at the fullest moment so far. `tokens` and `seconds` are what an earlier
        worker of this run has come to."""
        self._run, self._spec, self._log, self._stage, self._asked = run, spec, log, stage, asked
        self._device, self._tokenizer, self._template, self._peak = device, tokenizer, template, peak
        self._evaluates, self._questions = bool(held_out), answers.questions(held_out)
        self._checkpoint_bytes = checkpoint_bytes
        self._tokens_before, self.tokens, self.seconds = tokens, tokens, seconds
        self._mark = 0.0
        self._reason = "schedule"
        self._sampling = 0.0
        self.step: int | None = None
        """The last whole step; None before the first."""
        self.losses: list[float] = []
        self.held_out: dict[int, float] = {}
        """Step -> held-out loss."""
        self.preferences: dict[int, dict[str, float]] = {}
        """Step -> rewards of the held-out rows; empty but for preferences."""
        self.peak: int | None = None
        self.first_step_seconds: float | None = None

    def evaluating(self, done: int, total: int) -> bool:
        """Rows evaluated so far. False: leave off, the run is to end."""
        self._stage("evaluate", done, total, "rows")
        return not self._asked.stop

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._stage("first step", 0, 1, "steps")
        self._mark = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._asked.may_break_off = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.step = step = state.global_step
        last = step >= state.max_steps
        control.should_log = control.should_log or last
        # after the last step the result itself is saved; a checkpoint of it could only be resumed too far
        stop, save = self._asked.stop and not last, self._asked.save and not last
        if stop:
            control.should_training_stop = True
        due = last or _look_due(step, state.max_steps, self._spec.evaluate.every)
        control.should_evaluate = self._evaluates and due and not stop
        if stop or save or (not last and _due(step, self._spec.save.every)):
            checkpoints.refuse_small_disk(self._run, self._checkpoint_bytes, f"the checkpoint of step {step}")
            self._reason = "stop" if stop else "asked" if save else "schedule"
            control.should_save = True

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return
        now = time.monotonic()
        passed, self._mark = logs.get("seconds", now - self._mark), now
        total = self._tokens_before + int(logs.get("num_tokens", 0))
        fresh, self.tokens, self.seconds = total - self.tokens, total, self.seconds + passed
        loss, norm = float(logs["loss"]), logs.get("grad_norm")
        first = not self.losses
        if first:
            self.first_step_seconds = round(passed, 3)
        self.losses.append(loss)
        self.peak = self._peak()
        # figures may be those of an earlier step than the trainer is at
        step, epoch = int(logs.get("step", state.global_step)), logs.get("epoch", state.epoch)
        self._log.write(
            Step(
                step=step,
                steps=state.max_steps,
                epoch=round(float(epoch or 0.0), 4),
                loss=loss,
                learning_rate=float(logs["learning_rate"]),
                grad_norm=None if norm is None else float(norm),
                tokens=self.tokens,
                tokens_per_second=fresh / passed if passed > 0 else None,
                memory=self.peak,
                seconds=round(self.seconds, 3),
                **rewards(logs),
            )
        )
        self._refuse_nonsense(loss, norm, step)
        if control.should_save and not control.should_evaluate:
            self._stage("save")
        elif first:
            self._training(state)

    def _refuse_nonsense(self, loss: float, norm: Any, step: int) -> None:
        """UserError for a loss that is not a number, or exactly nothing at the first step."""
        # with fp16 a norm of inf is the scaler's everyday business: it skips that step
        bad_norm = norm is not None and self._device.precision != "fp16" and not math.isfinite(float(norm))
        if not math.isfinite(loss) or bad_norm:
            raise diverged(self._run, step, "the loss" if not math.isfinite(loss) else "the gradient")
        if loss == 0.0 and len(self.losses) == 1:
            raise UserError(
                "nothing is learned",
                "the loss of the first step is exactly 0, so no token of its rows counts",
                "look at what is learned with: finetui data",
                code=1,
            )

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **other: Any
    ) -> None:
        step = state.global_step
        if metrics and "eval_loss" in metrics:
            self.held_out[step] = metrics["eval_loss"]
            told = rewards(metrics, "eval_")
            self._log.write(Eval(step, metrics["eval_loss"], int(metrics["eval_tokens"]), **told))
            if told:
                self.preferences[step] = told
            self._answer(other["model"], step, step in (0, state.max_steps))
        if control.should_save:
            self._stage("save")
        elif step == 0:
            self._stage("first step", 0, 1, "steps")
        else:
            self._training(state)
        self._mark = time.monotonic()

    def _answer(self, model: Any, step: int, always: bool) -> None:
        begun = time.monotonic()
        for question in self._questions:
            if self._asked.stop or not (always or self._sampling <= SAMPLING_SHARE * self.seconds):
                return
            said = answers.answer(model, self._tokenizer, self._template, question, self._device)
            asked = answers.in_words(question, self._tokenizer, self._template)
            self._log.write(Sample(step, asked, said))
            self._sampling += time.monotonic() - begun
            begun = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **other: Any) -> None:
        step = state.global_step
        if not is_finite(other["model"]):
            checkpoints.sweep(self._run)
            raise diverged(self._run, step, "a weight")
        path = checkpoints.publish(self._run, step, self._spec.save.keep)
        self._checkpoint_bytes = checkpoints.folder_bytes(path)
        self._log.write(Checkpoint(step, str(path), self._reason))
        if self._reason == "asked":
            self._asked.saved()
        self._training(state)
        self._mark = time.monotonic()

    def _training(self, state: Any) -> None:
        self._stage("train", state.global_step, state.max_steps, "steps")


def rewards(logs: Mapping[str, float], prefix: str = "") -> dict[str, float]:
    """The rewards among what a trainer logged, as events name them; empty where it has none."""
    names = {
        "reward_chosen": "rewards/chosen",
        "reward_rejected": "rewards/rejected",
        "margin": "rewards/margins",
        "accuracy": "rewards/accuracies",
    }
    found = {
        name: float(logs[f"{prefix}{theirs}"])
        for name, theirs in names.items()
        if f"{prefix}{theirs}" in logs
    }
    if "reward_chosen" in found and "reward_rejected" in found:
        found.setdefault("margin", found["reward_chosen"] - found["reward_rejected"])
    if found.get("margin") == 0:  # before the first step all rewards are equal, and nothing is ranked
        found.pop("accuracy", None)
    return found


def diverged(run: RunFolder, step: int, what: str) -> UserError:
    good = run.checkpoint_list()
    kept = f"the checkpoint of step {good[-1][0]} is kept" if good else "no checkpoint was made before"
    return UserError(
        f"{what} is not a number any more at step {step}",
        f"training has diverged; {kept}",
        "start it anew with a lower learning_rate, and look for broken rows with: finetui data",
        code=1,
    )


def _look_due(step: int, steps: int, every: int | None) -> bool:
    """Whether to look at the held-out rows; not where the look after the last step would follow at once."""
    return _due(step, every) and 4 * (steps - step) >= (every or 1)


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
