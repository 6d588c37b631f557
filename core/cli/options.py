"""Options that several commands share, and the spec that a call describes with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UserError

if TYPE_CHECKING:
    from core.spec import RunSpec

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]
Runs = Annotated[
    Path | None,
    typer.Option("--runs", metavar="DIR", help="Where runs are kept (default: your data folder)."),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The name of a run, or the path of its folder.")]
SpecFile = Annotated[Path | None, typer.Argument(metavar="[SPEC]", help="A YAML file that describes a run.")]
Model = Annotated[str | None, typer.Option("--model", metavar="M", help="Base model: Hub id or folder.")]
Data = Annotated[str | None, typer.Option("--data", metavar="D", help="File, folder, Hub id or URL.")]
Method = Annotated[str | None, typer.Option("--method", help="auto, full, lora or qlora.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key of the spec, such as lora.rank=8. Repeatable."),
]


def spec_of(
    file: Path | None, model: str | None, data: str | None, method: str | None, changes: list[str] | None
) -> RunSpec:
    """The spec in `file`, if any, changed by the options. UserError names every mistake at once."""
    from core.spec import load_spec, parse_spec

    said: list[tuple[str, Any]] = [
        (key, value)
        for key, value in (("model", model), ("data.source", data), ("method", method))
        if value is not None
    ]
    said += [_change(text) for text in changes or []]
    if file is not None and not said:
        return _from_there(load_spec(file), file)
    mapping: dict[str, Any] = {}
    if file is not None:
        mapping = _from_there(load_spec(file), file).model_dump(mode="json", exclude_unset=True)
    elif not said:
        raise UserError("no run is described", "", "give a spec file, or --model and --data")
    for key, value in said:
        _put(mapping, key, value)
    return parse_spec(mapping, str(file) if file else "this call")


def _change(text: str) -> tuple[str, Any]:
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {text} is not understood", "it has no =", "write --set lora.rank=8")
    try:
        return key.strip(), yaml.safe_load(value) if value else None
    except yaml.YAMLError:
        return key.strip(), value


def _put(mapping: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = dotted.split(".")
    for key in path:
        inner = mapping.get(key)
        if key == "data" and isinstance(inner, str):
            inner = {"source": inner}
        mapping[key] = inner if isinstance(inner, dict) else {}
        mapping = mapping[key]
    mapping[last] = value


def _from_there(spec: RunSpec, file: Path) -> RunSpec:
    """Paths in a spec mean files here, or, where there are none, beside the spec itself."""

    def found(path: str) -> str:
        beside = file.parent / path
        return str(beside) if not Path(path).expanduser().exists() and beside.exists() else path

    data = spec.data.model_copy(update={"source": found(spec.data.source)})
    if isinstance(data.eval, str):
        data = data.model_copy(update={"eval": found(data.eval)})
    if data.more:
        more = [one.model_copy(update={"source": found(one.source)}) for one in data.more]
        data = data.model_copy(update={"more": more})
    update = {"data": data, "model": found(spec.model), "template": found(spec.template)}
    return spec.model_copy(
        update={key: value for key, value in update.items() if getattr(spec, key) != value}
    )
