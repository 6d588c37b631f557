"""What the wizard knows: the choices made, what was found out about them, and the draft of both on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.machine import Machine
    from core.models.shape import ModelShape
    from core.plan.advise import Plan
    from core.plan.estimate import Estimate
    from core.spec import RunSpec
    from tui.find_out import Check
    from tui.remedies import Applied
    from tui.row_view import RowView

# The steps that choose something, in order, and the two that follow a started run.
STEPS = ("aim", "machine", "model", "data", "template", "method", "review")
AFTER = ("train", "chat")
NAMES = {step: step.capitalize() for step in (*STEPS, *AFTER)} | {"runs": "Runs"}

# What was found out rests on these choices; a change in one of them makes it stale.
RESTS_ON = {
    "shape": ("model", "revision"),
    "report": ("data", "model", "revision", "template", "learn", "seed"),
}
OF_LENGTH = ("length", "data.long")
"""Choices whose effect is told from the lengths that a report holds, without reading the data again."""


class Journey:
    """One pass through the wizard: `choices` has exactly RunSpec's keys, nested as in the YAML.

    `set` forgets what a change makes stale (shape, data report, plan) and never another choice.
    """

    def __init__(self, home: Path | None = None) -> None:
        self._home = home
        self.check: Check | None = None  # the data being read, whichever screen is shown
        self.rows: RowView | None = None  # the process that shows any row
        self.fresh()

    def fresh(self) -> None:
        """Start over in memory; the draft on disk stays until something is chosen."""
        self.leave()
        self.choices: dict[str, Any] = {}
        self.machine: Machine | None = None
        self.shape: ModelShape | None = None
        self.preview: dict[str, Any] | None = None  # what the head of the data says
        self.report: dict[str, Any] | None = None  # what all of it says
        self.asked: dict[str, Any] | None = None  # the request that the report answers
        self.applied: list[Applied] = []  # remedies taken, the newest last
        self.row, self.source = 1, 0  # the row that is looked at, from 1, and which source it is of
        self.plan: Plan | None = None
        self.estimates: dict[str, Estimate] = {}  # traced or measured, by exactly what they are of
        self.done: set[str] = set()
        self.step = STEPS[0]
        self.unsaved = ""  # why the draft could not be written, or nothing

    @property
    def draft_file(self) -> Path:
        if self._home is None:
            from core.runs.folder import home

            self._home = home()
        return self._home / "draft.yaml"

    # -- choices

    def get(self, key: str, default: Any = None) -> Any:
        """The choice under a dotted key ("lora.rank"), or the default where nothing was chosen."""
        found: Any = self.choices
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return default
            found = found[part]
        return found

    def set(self, key: str, value: Any) -> None:
        """Choose a value for a dotted key; None takes the choice back, so that the plan decides again."""
        if self.get(key) == value:
            return
        *path, last = key.split(".")
        group = self.choices
        for part in path:
            inner = group.get(part)
            if not isinstance(inner, dict):
                # `data: train.jsonl` is short for `data: {source: train.jsonl}`
                inner = {"source": inner} if part == "data" and isinstance(inner, str) else {}
                group[part] = inner
            group = inner
        if value is None:
            group.pop(last, None)
        else:
            group[last] = value
        self._forget(key)
        self.save()

    def _forget(self, key: str) -> None:
        self.plan = None
        first = key.split(".")[0]
        if first in RESTS_ON["shape"]:
            self.shape = None
        if first in RESTS_ON["report"] and key not in OF_LENGTH:
            self.preview = self.report = self.asked = None

    @property
    def known(self) -> dict[str, Any]:
        """What is known of the data: of all of it, else of its head, else nothing."""
        return self.report or self.preview or {}

    def leave(self) -> None:
        """The wizard is left: what is still being read for it is read no further."""
        if self.check is not None:
            self.check.stop()
            self.check = None
        if self.rows is not None:
            self.rows.stop()

    def passed(self, step: str) -> None:
        """The person went on from this step."""
        self.done.add(step)
        self.save()

    def at(self, step: str) -> None:
        """The person stands at this step; a draft is taken up again there."""
        if step in STEPS and step != self.step:
            self.step = step
            if self.choices:
                self.save()

    def spec(self) -> "RunSpec":
        """The choices as a validated RunSpec. Raises core.errors.UserError naming every mistake."""
        from core.spec import parse_spec

        return parse_spec(self.choices)

    @property
    def label(self) -> str:
        """The run in a few words, for the header: "qwen3-0.6b · train.jsonl"."""
        source = self.get("data.source") or (
            self.choices.get("data") if isinstance(self.choices.get("data"), str) else ""
        )
        parts = [str(part).rstrip("/").rsplit("/", 1)[-1] for part in (self.get("model"), source) if part]
        return " · ".join(parts) or "new run"

    # -- the draft

    def save(self) -> None:
        """Write the draft, whole or not at all. A disk that refuses is told by `unsaved`, never raised."""
        import yaml

        text = yaml.safe_dump(
            {"step": self.step, "done": sorted(self.done), "choices": self.choices}, sort_keys=False
        )
        half_written = self.draft_file.with_suffix(".part")
        try:
            self.draft_file.parent.mkdir(parents=True, exist_ok=True)
            half_written.write_text(text, encoding="utf-8")
            half_written.replace(self.draft_file)
            self.unsaved = ""
        except OSError as problem:
            self.unsaved = f"your choices are not saved: {problem.strerror}"

    def has_draft(self) -> bool:
        return self.draft_file.is_file()

    def load_draft(self) -> bool:
        """Take the draft up. False, and an empty journey, where there is none or it cannot be read."""
        import yaml

        self.fresh()
        try:
            draft = yaml.safe_load(self.draft_file.read_text(encoding="utf-8"))
            choices = draft["choices"]
            if not isinstance(choices, dict):
                raise TypeError("choices is not a mapping")
            done, step = set(draft.get("done", [])) & set(STEPS), draft.get("step")
        except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, AttributeError):
            return False
        self.choices, self.done = choices, done
        self.step = step if step in STEPS else STEPS[0]
        return True

    def clear_draft(self) -> None:
        """The draft became a run, or is no longer wanted."""
        self.draft_file.unlink(missing_ok=True)


def step_after(step: str) -> str | None:
    """The wizard step that follows, or None after the last."""
    place = STEPS.index(step) + 1
    return STEPS[place] if place < len(STEPS) else None


def step_before(step: str) -> str | None:
    """The wizard step before, or None before the first."""
    place = STEPS.index(step)
    return STEPS[place - 1] if place else None
