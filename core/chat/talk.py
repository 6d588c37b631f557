"""What the chat's two halves say to each other: what to load, settings, answers, and a transcript."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.errors import UserError
from core.runs.folder import RunFolder

Side = Literal["tuned", "base"]
Message = dict[str, str]
"""One turn: {"role": "system" | "user" | "assistant", "content": text}."""


@dataclass(frozen=True)
class Settings:
    """How an answer is made."""

    temperature: float = 0.7
    """0 takes the likeliest token each time."""
    top_p: float = 0.95
    """Draw from the likeliest tokens that together hold this share of the probability (0-1]."""
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    seed: int | None = None

    def __post_init__(self) -> None:
        wrong = []
        if not 0 <= self.temperature <= 10:
            wrong.append(f"temperature is {self.temperature:g}, it should be 0 to 10")
        if not 0 < self.top_p <= 1:
            wrong.append(f"top-p is {self.top_p:g}, it should be above 0 and at most 1")
        if self.max_tokens < 1:
            wrong.append(f"most tokens is {self.max_tokens}, it should be 1 or more")
        if wrong:
            raise UserError("these chat settings cannot be used", "; ".join(wrong), "change them")


@dataclass(frozen=True)
class Loading:
    """How far the loading is; `total` is None where nobody knows."""

    stage: str
    done: int = 0
    total: int | None = None


@dataclass(frozen=True)
class Ready:
    """What was loaded."""

    sides: tuple[Side, ...]
    """("tuned", "base") for a run, ("base",) for a plain model."""
    template: str
    """The name of the chat template, "" where turns are only joined."""
    checkpoints: tuple[int, ...] = ()
    """Steps whose checkpoint can be asked for."""
    checkpoint: int | None = None
    """The step that is loaded; None is the run's result."""
    notes: tuple[str, ...] = ()
    context: int | None = None
    """Most tokens of prompt and answer together."""


@dataclass(frozen=True)
class Done:
    """A whole answer."""

    answer: str
    stopped: Literal["end", "length", "asked"]
    """It ended by itself or at a stop text; it reached the most tokens; it was told to stop."""
    tokens: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def result_of(run: RunFolder, checkpoint: int | None) -> Path:
    """The folder to load: the run's result, or a checkpoint's. UserError says which there are."""
    there = dict(run.checkpoint_list())
    if checkpoint is None:
        path = run.result() or (there[max(there)] if there else None)
        if path is None:
            raise UserError(
                f"{run.name} has nothing to talk to yet",
                "it has saved neither a checkpoint nor its result",
                f"save one while it runs: finetui save {run.name}",
                code=1,
            )
        return path
    if checkpoint not in there:
        steps = ", ".join(str(step) for step in there) or "none"
        raise UserError(
            f"{run.name} has no checkpoint {checkpoint}", f"it has: {steps}", "choose one of these"
        )
    return there[checkpoint]


@dataclass
class Exchange:
    """One question with its answer, kept for the transcript."""

    side: Side
    messages: list[Message]
    settings: Settings
    done: Done
    notes: list[str] = field(default_factory=list)


def save_transcript(path: str | Path, about: str, exchanges: list[Exchange]) -> Path:
    """Write what was said: `.json` holds everything, `.jsonl` one conversation a line in the form
    that trains (messages), anything else is Markdown. Returns the path. UserError if it cannot be written."""
    path = Path(path).expanduser()
    if path.suffix == ".json":
        text = json.dumps({"about": about, "exchanges": [asdict(one) for one in exchanges]}, indent=1)
    elif path.suffix == ".jsonl":
        text = "".join(
            json.dumps(
                {"messages": [*one.messages, {"role": "assistant", "content": one.done.answer}]},
                ensure_ascii=False,
            )
            + "\n"
            for one in exchanges
        )
    else:
        text = _markdown(about, exchanges)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path} cannot be written", error.strerror or str(error), "give another path"
        ) from None
    return path


def _markdown(about: str, exchanges: list[Exchange]) -> str:
    lines = [f"# {about}", ""]
    system = None
    for one in exchanges:
        for turn in one.messages:
            if turn["role"] == "system" and turn["content"] != system:
                system = turn["content"]
                lines += ["**system**", "", system, ""]
        lines += ["**user**", "", one.messages[-1]["content"], ""]
        done = one.done
        measure = f"{done.tokens} tokens, {done.seconds:.1f} s, stopped: {done.stopped}"
        lines += [f"**{one.side}** ({measure})", "", done.answer.strip(), ""]
        lines += [f"> {note}\n" for note in one.notes]
    return "\n".join(lines)
