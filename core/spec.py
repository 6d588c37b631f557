"""RunSpec: the one description of a run, read from and written to YAML."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from core.data.codes import DROPPABLE, MENDABLE
from core.errors import UserError, nearest

Method = Literal["full", "lora", "qlora"]
DataFormat = Literal["auto", "alpaca", "sharegpt", "messages", "completion", "text", "preference", "kto"]
Aim = Literal["manner", "knowledge", "chat", "preference", "try"]
Objective = Literal["sft", "dpo", "orpo", "kto"]
Learn = Literal["assistant", "last", "completion", "all"]
Role = Literal[
    "prompt", "completion", "input", "system", "history", "messages", "tools", "text",
    "chosen", "rejected", "label", "weight",
]  # fmt: skip
ROLES: tuple[str, ...] = get_args(Role)


def _share_or_name(value: Any) -> Any:
    """`eval: 0.1` and `eval: "0.1"` are one thing; anything else that is text names a file or a split."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _share(value: float | str) -> float | str:
    if isinstance(value, float) and not 0 <= value <= 0.9:
        raise ValueError("it should be a share of the rows, from 0 to 0.9, or a file or split")
    return value


def _dial(value: Any) -> Any:
    if value == "auto":
        return value
    try:
        place = float(value)
    except (TypeError, ValueError):
        place = -1.0
    if not 0 <= place <= 1:
        raise ValueError("it should be auto, or a number from 0 (keep all) to 1 (least memory)")
    return place


def _switch(value: Any) -> Any:
    known = {"auto": "auto", "true": True, "false": False}
    if str(value).lower() not in known:
        raise ValueError("it should be auto, true or false")
    return known[str(value).lower()]


def _droppable(codes: list[str]) -> list[str]:
    return _known(codes, DROPPABLE, "rows can be left out for")


def _mendable(codes: list[str]) -> list[str]:
    return _known(codes, MENDABLE, "text can be mended for")


def _known(codes: list[str], known: tuple[str, ...], what: str) -> list[str]:
    for code in codes:
        if code not in known:
            meant = nearest(code, known)
            hint = f"did you mean {meant}?" if meant else f"{what} {', '.join(known)}"
            raise ValueError(f"{code} is no such finding ({hint})")
    return list(dict.fromkeys(codes))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class SourceSpec(_Part):
    """One source of rows and how they are read."""

    source: str = Field(min_length=1)
    """A file, a folder, a Hub id or a web address."""
    config: str | None = None
    """Configuration of a Hub data set that has several."""
    split: str = "train"
    """A split, or a slice of one: train, validation, train[:1000], train[10%:20%]."""
    format: DataFormat = "auto"
    columns: dict[Role, str] = {}
    """What a column is: role -> column name. Empty: as recognised."""
    instruction: str | None = None
    """Words put before each prompt; with {column} in it, a template from which the prompt is made."""
    fill: dict[str, str] = {}
    """What stands for a {{placeholder}} in the rows: name -> words."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many rows."""
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """How often an epoch sees each row of this source: 2 twice, 0.5 every second one."""


class DataSpec(SourceSpec):
    """Where the rows come from, which of them are held out, and what is done with the odd ones."""

    more: list[SourceSpec] = []
    """Further sources, mixed with the first."""
    eval: Annotated[float | str, BeforeValidator(_share_or_name), AfterValidator(_share)] = 0.05
    """A share of the rows (0 to 0.9; 0 holds nothing out), or a file or split of its own."""
    long: Literal["cut", "drop", "split"] = "cut"
    """What happens to a row that is longer than `length`."""
    drop: Annotated[list[str], AfterValidator(_droppable)] = []
    """Codes of findings whose rows are left out."""
    mend: Annotated[list[str], AfterValidator(_mendable)] = []
    """Codes of findings that are mended in the text itself."""


class LoraSpec(_Part):
    rank: int = Field(default=16, ge=1, le=1024)
    alpha: Annotated[float, Field(gt=0)] | None = None
    """Scale of the adapter, alpha / rank. None: twice the rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | list[str] = "all-linear"
    rslora: bool = False
    dora: bool = False


class SaveSpec(_Part):
    every: Annotated[int, Field(ge=1)] | None = None
    """Steps between checkpoints."""
    keep: int = Field(default=2, ge=1)


class EvaluateSpec(_Part):
    every: Annotated[int, Field(ge=1)] | None = None
    """Steps between looks at the held-out rows."""


class RunSpec(_Part):
    """One run. A field that is None or "auto" is decided by the plan; a resolved spec has none left."""

    model: str = Field(min_length=1)
    revision: str | None = None
    data: DataSpec
    aim: Aim | None = None
    method: Literal["auto", "full", "lora", "qlora"] = "auto"
    template: str = Field(default="auto", min_length=1)
    """auto, a named template, or the path of a Jinja file."""
    objective: Literal["auto", "sft", "dpo", "orpo", "kto"] = "auto"
    """sft learns answers; dpo, orpo and kto learn which answer is preferred. auto: by the data."""
    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """How closely a preference run keeps to the model it began from (for orpo: weight of the preference)."""
    learn: Learn = "assistant"
    """assistant: every answer; last: the last; completion: all from the first answer on; all: everything."""
    length: Annotated[int, Field(ge=8, le=1_048_576)] | None = None
    """Most tokens of a row."""
    packing: bool = False
    lora: LoraSpec = Field(default_factory=LoraSpec)
    batch: Annotated[int, Field(ge=1)] | None = None
    """Rows in one pass through the model."""
    accumulate: Annotated[int, Field(ge=1)] | None = None
    """Passes in one step of the optimiser."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    learning_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    optimizer: Literal["auto", "adamw", "adamw_8bit", "paged_adamw_8bit", "adafactor"] = "auto"
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient; what is longer is scaled down to it."""
    recompute: Annotated[Literal["auto"] | float, BeforeValidator(_dial)] = "auto"
    """From speed to memory: 0 keeps what the backward pass needs; up to 0.5 more and more layers wait in the
    host's memory; up to 1 more and more of them also compute their MLP again (`core.plan.dial`)."""
    compile: Annotated[Literal["auto"] | bool, BeforeValidator(_switch)] = "auto"
    """Whether the layers are compiled, which costs up to a minute and makes every step faster. auto: on a
    card, where the run is long enough to pay for it. A resolved spec says it, for memory depends on it."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    seed: int = Field(default=42, ge=0, lt=2**32)
    shuffle: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    """Seed of the order of the rows. Not set: the first from `seed` on in whose order no pass is fuller than
    planned, which the run writes down (`core.train.order`)."""
    save: SaveSpec = Field(default_factory=SaveSpec)
    evaluate: EvaluateSpec = Field(default_factory=EvaluateSpec)
    report: list[Literal["tensorboard", "wandb", "trackio", "mlflow"]] = []
    gpus: Literal["auto"] | list[Annotated[int, Field(ge=0)]] = "auto"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")] | None = None
    price_per_hour: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _source_alone(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("data"), str):
            return {**value, "data": {"source": value["data"]}}
        return value

    @field_validator("steps")
    @classmethod
    def _one_length_of_run(cls, steps: int | None, info: ValidationInfo) -> int | None:
        if steps is not None and info.data.get("epochs") is not None:
            raise ValueError("epochs and steps both say how long the run is, keep one of them")
        return steps

    @property
    def alpha(self) -> float:
        return self.lora.alpha if self.lora.alpha is not None else 2.0 * self.lora.rank


def parse_spec(mapping: Any, origin: str = "the spec") -> RunSpec:
    """A validated spec from a mapping; UserError names every mistake at once."""
    if not isinstance(mapping, dict):
        raise UserError(f"{origin} is not a mapping", "it must hold keys such as model and data", _SMALLEST)
    try:
        return RunSpec.model_validate(mapping)
    except ValidationError as error:
        why = "; ".join(_mistakes(error.errors()))
        raise UserError(f"{origin} cannot be used", why, "mend it and call again") from None


_SMALLEST = "the smallest spec is three lines: model: …, data: {source: …}, method: auto"
_BRANCH = re.compile(r"literal\[|list\[|constrained|function|float$|int$|str$|\[key\]|\d+$")


def _mistakes(errors: list[Any]) -> list[str]:
    """One phrase a key. A union reports each of its branches; they are joined by "or"."""
    by_key: dict[str, list[str]] = {}
    for item in errors:
        # the name of a union's branch is part of pydantic's path; a user knows only their keys
        path = [str(part) for part in item["loc"] if not _BRANCH.match(str(part))]
        by_key.setdefault(".".join(path), []).append(_mistake(item, path))
    return [" or ".join(dict.fromkeys(phrases)) for phrases in by_key.values()]


def _mistake(item: Any, path: list[str]) -> str:
    key, kind = ".".join(path), item["type"]
    known = _keys_at(path[:-1])
    if kind == "extra_forbidden" or item["loc"][-1] == "[key]":
        meant = nearest(path[-1], known)
        hint = (
            f" (did you mean {'.'.join([*path[:-1], meant])}?)" if meant else f" (known: {', '.join(known)})"
        )
        return f"unknown key {key}{hint}"
    if kind == "missing":
        return f"{key} is missing"
    message = item["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{key} is {item.get('input')!r}: {message.replace('input should', 'it should')}"


def _keys_at(path: list[str]) -> list[str]:
    parts: dict[str, type[BaseModel]] = {
        "data": DataSpec,
        "lora": LoraSpec,
        "save": SaveSpec,
        "evaluate": EvaluateSpec,
    }
    if path[-1:] == ["columns"]:
        return list(ROLES)
    if path[:2] == ["data", "more"]:
        return list(SourceSpec.model_fields)
    model = RunSpec if not path else parts.get(path[0], RunSpec)
    return list(model.model_fields)


def load_spec(path: str | Path) -> RunSpec:
    """The spec in a YAML file. UserError: not there, not YAML (with the line), or not valid."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is not there", "no such file", "check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read", str(error), "give a YAML file") from None
    try:
        mapping = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise UserError(
            f"{path} is not YAML", f"{where}{getattr(error, 'problem', error)}", _SMALLEST
        ) from None
    return parse_spec(mapping, str(path))


def dump_spec(spec: RunSpec, *, full: bool = False) -> str:
    """The spec as YAML that `load_spec` reads back: only what differs from the defaults, or everything."""
    mapping = spec.model_dump(mode="json", exclude_defaults=not full)
    return yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
