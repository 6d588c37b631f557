"""The spec: every mistake named at once, the nearest key, and YAML that reads back as it was."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from core.runs.folder import RunFolder
from core.spec import RunSpec, dump_spec, load_spec, parse_spec

SMALLEST = {"model": "Qwen/Qwen3-0.6B", "data": {"source": "train.jsonl"}, "method": "auto"}


def complaint(mapping: object) -> str:
    with pytest.raises(UserError) as caught:
        parse_spec(mapping)
    assert caught.value.code == 2
    line = caught.value.line()
    assert "\n" not in line
    return line


def test_the_smallest_spec_is_three_lines() -> None:
    spec = parse_spec(SMALLEST)
    assert spec.batch is None and spec.lora.rank == 16 and spec.alpha == 32


def test_a_source_alone_is_enough() -> None:
    assert parse_spec({"model": "m", "data": "x.jsonl"}).data.source == "x.jsonl"


def test_every_mistake_is_named_at_once_with_the_nearest_key() -> None:
    line = complaint(
        {
            "modle": "m",
            "data": {"source": "x", "evl": 0.1, "eval": 3},
            "batch": -1,
            "learning_rate": 2,
            "lora": {"rnk": 8},
            "epochs": 1,
            "steps": 5,
        }
    )
    for part in (
        "model is missing",
        "modle (did you mean model?)",
        "data.evl (did you mean data.eval?)",
        "data.eval is 3",
        "batch is -1",
        "learning_rate is 2",
        "lora.rnk (did you mean lora.rank?)",
        "epochs and steps",
    ):
        assert part in line


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("length", 0),
        ("length", "long"),
        ("epochs", 0),
        ("warmup", 1.5),
        ("clip", 0),
        ("seed", -1),
        ("gpus", [-1]),
        ("recompute", 1.5),
        ("recompute", "half"),
        ("compile", "maybe"),
        ("compile", 2),
        ("method", "loar"),
        ("name", "a/b"),
        ("report", ["wanb"]),
        ("price_per_hour", -1),
    ],
)
def test_impossible_values_are_refused_by_key(key: str, value: object) -> None:
    assert key in complaint({**SMALLEST, key: value})


def test_a_wrong_role_of_a_column_names_the_nearest() -> None:
    line = complaint({"model": "m", "data": {"source": "x", "columns": {"promt": "question"}}})
    assert "data.columns.promt" in line and "data.columns.prompt" in line


@pytest.mark.parametrize("mapping", [None, [], "text", 3])
def test_what_is_no_mapping_is_told_the_smallest_spec(mapping: object) -> None:
    assert "three lines" in complaint(mapping)


def test_broken_yaml_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("model: m\ndata: {source: x\nmethod: auto\n")
    with pytest.raises(UserError, match="line 3") as caught:
        load_spec(path)
    assert str(path) in caught.value.line()


def test_a_spec_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_spec(tmp_path / "none.yaml")


def test_the_dial_and_the_compiler_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    for written, dial, compiled in (
        ("recompute: 0.375\ncompile: true", 0.375, True),
        ("recompute: 1.0\ncompile: false", 1.0, False),
        ("recompute: auto\ncompile: auto", "auto", "auto"),
    ):
        path.write_text(f"model: m\ndata: x.jsonl\n{written}\n")
        spec = load_spec(path)
        assert (spec.recompute, spec.compile) == (dial, compiled)
        assert type(spec.compile) is type(compiled)


def test_the_short_form_holds_only_what_was_chosen() -> None:
    assert dump_spec(parse_spec(SMALLEST)) == "model: Qwen/Qwen3-0.6B\ndata: {source: train.jsonl}\n"


words = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1)  # a name, a path
specs = st.builds(
    RunSpec,
    model=words,
    data=st.fixed_dictionaries(
        {
            "source": words,
            "eval": st.one_of(st.floats(0, 0.9), st.sampled_from(["test", "a.jsonl"])),
        },
        optional={"limit": st.integers(1, 10**9), "columns": st.just({"prompt": "q", "completion": "a"})},
    ),
    method=st.sampled_from(["auto", "full", "lora", "qlora"]),
    batch=st.one_of(st.none(), st.integers(1, 512)),
    learning_rate=st.one_of(st.none(), st.floats(1e-9, 0.5)),
    recompute=st.one_of(st.just("auto"), st.sampled_from([0, 1]), st.floats(0, 1)),
    compile=st.sampled_from(["auto", True, False]),
    gpus=st.one_of(st.just("auto"), st.lists(st.integers(0, 7), max_size=8)),
    warmup=st.floats(0, 0.99),
)


@given(spec=specs, full=st.booleans())
def test_what_is_written_reads_back_the_same(
    spec: RunSpec, full: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "spec.yaml"
    path.write_text(dump_spec(spec, full=full), encoding="utf-8")
    assert load_spec(path) == spec


@pytest.mark.parametrize(
    "run", sorted(Path(__file__).with_name("recorded").iterdir()), ids=lambda one: one.name
)
def test_runs_of_before_the_dial_had_places_between_still_load(run: Path) -> None:
    spec = RunFolder(run).spec()
    assert spec.recompute in (0.0, 1.0) and spec.compile == "auto"
