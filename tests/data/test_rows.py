"""The rows of a run and the report on them are made by one code, and nothing is lost in silence."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from core.data.held_out import Count, bin_of
from core.data.inspect import answer
from core.data.lengths import describe
from core.data.rows import Built, build
from core.data.tokenizer import load_tokenizer
from core.errors import UserError
from core.job import run_job
from core.spec import RunSpec, parse_spec
from tests.data.conftest import REPO, write_jsonl

DEMO = str(REPO / "core" / "demo" / "model")
PAIRS = [{"prompt": f"What is {n}?", "completion": f"It is {n}, which follows {n - 1}."} for n in range(40)]


def spec_of(source: Path, **more: Any) -> RunSpec:
    data = {"source": str(source), **more.pop("data", {})}
    return parse_spec({"model": DEMO, "data": data, **more})


def built(spec: RunSpec, tokenizer: Any = None) -> Built:
    return build(spec, tokenizer or load_tokenizer(DEMO), lambda stage, done, total: None)


def report_on(spec: RunSpec, **more: Any) -> dict[str, Any]:
    from core.prepare import inspect_request

    return answer({**inspect_request(spec), **more}, lambda stage, done, total: None)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "train.jsonl", PAIRS)


def test_what_is_shown_is_what_is_trained(pairs: Path) -> None:
    spec = spec_of(pairs, data={"eval": 0}, length=64)
    rows, report = built(spec), run_job("core.data.inspect", report_request(spec, row=7))
    shown = report["example"]
    assert shown["row"] == 8
    assert [token["id"] for token in shown["tokens"]] == rows.train[7]["input_ids"]
    assert [int(token["learned"]) for token in shown["tokens"]] == rows.train[7]["learned"]
    assert "".join(token["text"] for token in shown["tokens"]) == shown["text"]
    said = "".join(token["text"] for token in shown["tokens"] if token["learned"])
    assert said == PAIRS[7]["completion"] + "<|im_end|>"
    assert report["tokens"] == sum(len(row["input_ids"]) for row in rows.train)
    assert report["learned_tokens"] == sum(sum(row["learned"]) for row in rows.train)
    assert report["template"]["end"] == "<|im_end|>" and report["template"]["end_learned"] is True


def report_request(spec: RunSpec, row: int = 0) -> dict[str, Any]:
    from core.prepare import inspect_request

    return inspect_request(spec, row=row)


def test_held_out_is_fixed_by_the_seed_and_shares_nothing(pairs: Path) -> None:
    one, again = built(spec_of(pairs, data={"eval": 0.2})), built(spec_of(pairs, data={"eval": 0.2}))
    other = built(spec_of(pairs, data={"eval": 0.2}, seed=7))
    assert one.eval == again.eval != other.eval and one.eval is not None
    assert (len(one.train), len(one.eval)) == (32, 8)
    assert not [row for row in one.eval if row in one.train]
    report = report_on(spec_of(pairs, data={"eval": 0.2}))
    assert (report["train_rows"], report["eval_rows"]) == (32, 8)


@pytest.mark.parametrize(
    ("count", "share", "held"), [(100, 0.05, 5), (10, 0.05, 1), (2, 0.9, 1), (1, 0.5, 0), (9, 0, 0)]
)
def test_split_always_leaves_something_to_train_on(count: int, share: float, held: int) -> None:
    counted = Count()
    for row in range(count):
        counted.add(bin_of(row, 42), 1, 1, 10)
    out = counted.held_out(share)
    assert len(out) == held and counted.outside(out, "rows") == count - held
    assert counted.outside(out, "tokens") == 10 * (count - held)


def test_held_out_rows_of_a_file_or_a_split(pairs: Path, tmp_path: Path) -> None:
    fresh = [{"prompt": f"Why {n}?", "completion": f"Because of {n}."} for n in range(3)]
    leaked = [{**PAIRS[5], "completion": f" {PAIRS[5]['completion']}"}]
    other = write_jsonl(tmp_path / "valid.jsonl", fresh + leaked)
    by_file = built(spec_of(pairs, data={"eval": str(other)}))
    by_split = built(spec_of(tmp_path, data={"eval": "valid"}))
    assert by_file.eval == by_split.eval and len(by_file.eval or []) == 3 and len(by_file.train) == 40
    report = report_on(spec_of(tmp_path, data={"eval": "valid"}))
    assert report["eval_rows"] == 3 and report["leaks"] == by_file.counts["leaks"] == 1
    assert [one.code for one in by_file.findings] == ["leak"] == [one["code"] for one in report["findings"]]
    with pytest.raises(UserError, match=r"missing\.jsonl is not there"):
        built(spec_of(pairs, data={"eval": str(tmp_path / "missing.jsonl")}))


def test_rows_cut_and_dropped_are_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "short", "completion": "yes"},
        {"prompt": "short", "completion": "word " * 200},
        {"prompt": "word " * 200, "completion": "never reached"},
    ]
    spec = spec_of(write_jsonl(tmp_path / "rows.jsonl", rows), data={"eval": 0}, length=32)
    made = built(spec)
    assert [len(row["input_ids"]) for row in made.train][1] == 32 and len(made.train) == 2
    assert all(1 in row["learned"] for row in made.train)
    found = {finding.code: finding.rows for finding in made.findings}
    assert found["cut"] == (2,) and found["cut_to_nothing"] == (3,)
    report = report_on(spec, row=1)
    assert report["longer_than_length"] == 2 and report["lengths"]["count"] == 3
    tokens = report["example"]["tokens"]
    assert report["example"]["cut"] == len(tokens) - 32 == sum(token["cut"] for token in tokens)
    assert not any(token["cut"] for token in tokens[:32])
    counts = {name: made.counts[name] for name in ("rows", "cut", "nothing", "dropped", "split")}
    assert (
        counts == {"rows": 3, "cut": 1, "nothing": 1, "dropped": 0, "split": 0}
        and report["fates"]["cut"] == 1
    )
    assert "1 of 3 rows (33.3%) are longer than 32 tokens" in str(report["findings"])


def test_long_text_is_split_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("the cat sat on the mat. " * 100)
    spec = spec_of(tmp_path / "book.txt", data={"eval": 0}, length=50)
    made, tokenizer = built(spec), load_tokenizer(DEMO)
    joined = [token for row in made.train for token in row["input_ids"]]
    assert tokenizer.decode(joined) == "the cat sat on the mat. " * 100 + "<|endoftext|>"
    assert max(len(row["input_ids"]) for row in made.train) == 50 and made.template is None
    assert all(set(row["learned"]) == {1} for row in made.train)
    assert [finding.code for finding in made.findings] == ["split_text"]
    report = report_on(spec)
    assert report["train_rows"] == len(made.train) and report["template"] is None


def test_what_cannot_be_trained_stops_with_one_line(tmp_path: Path) -> None:
    cases: dict[str, tuple[list[dict[str, Any]], str]] = {
        "unknown": ([{"height": 3, "width": 4}] * 2, "height, width"),
        "nothing": ([{"prompt": "q", "completion": ""}], "no row has an answer"),
        "mixed": ([*PAIRS[:5], {"text": "x"}], "row 6"),
        "questions": ([{"turns": ["q"]}], "nothing would be learned"),
    }
    for name, (rows, said) in cases.items():
        spec = spec_of(write_jsonl(tmp_path / f"{name}.jsonl", rows))
        with pytest.raises(UserError) as caught:
            built(spec)
        assert said in caught.value.line() and caught.value.code == 1 and caught.value.todo
        stops = [finding for finding in report_on(spec)["findings"] if finding["severity"] == "stop"]
        assert stops and said in stops[0]["message"], name
    report = report_on(spec_of(tmp_path / "unknown.jsonl"))
    assert report["columns"] == {"height": None, "width": None}
    assert report["sample"][0] == {"height": "3", "width": "4"}


def test_the_report_without_a_model(pairs: Path) -> None:
    request = {**report_request(spec_of(pairs)), "model": None}
    report = run_job("core.data.inspect", request)
    assert (report["format"], report["rows"], report["train_rows"], report["eval_rows"]) == (
        "completion",
        40,
        38,
        2,
    )
    assert report["columns"] == {"prompt": "prompt", "completion": "completion"}
    assert (
        len(report["sample"]) == 10 and report["template"] is report["lengths"] is report["example"] is None
    )
    assert len(report["fingerprint"]) == len(hashlib.sha256().hexdigest())


def test_the_job_tells_its_progress_and_its_errors(pairs: Path) -> None:
    stages: list[Any] = []
    run_job("core.data.inspect", report_request(spec_of(pairs)), lambda *told: stages.append(told))
    assert ("tokenise", 40, 40) in stages and stages[0][0] == "read"
    with pytest.raises(UserError, match="Did you mean"):
        run_job("core.data.inspect", report_request(spec_of(pairs.parent / "trian.jsonl")))


def test_a_request_that_cannot_be_answered(pairs: Path) -> None:
    for change, said in (
        ({"template": "llama-3"}, "no single token"),
        ({"model": str(pairs.parent)}, "has no tokenizer"),
        ({"columns": {"prompt": "promt", "completion": "completion"}}, "did you mean prompt"),
    ):
        with pytest.raises(UserError) as caught:
            report_on(spec_of(pairs), **change)
        assert said.lower() in caught.value.line().lower()


def test_special_tokens_typed_as_text_are_found(tmp_path: Path) -> None:
    rows = [*PAIRS, {"prompt": "q", "completion": "hello<|im_end|>"}]
    found = built(spec_of(write_jsonl(tmp_path / "rows.jsonl", rows))).findings
    typed = next(finding for finding in found if finding.code == "special_token_in_text")
    assert typed.rows == (41,) and "<|im_end|>" in typed.message


def test_a_system_message_is_folded_where_there_is_no_place_for_it(tmp_path: Path) -> None:
    source = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    )
    (tmp_path / "mine.jinja").write_text(source)
    rows = [{"system": "Be terse.", **pair} for pair in PAIRS]
    spec = spec_of(write_jsonl(tmp_path / "rows.jsonl", rows), template=str(tmp_path / "mine.jinja"))
    report = report_on(spec)
    assert report["example"]["text"].startswith("user: Be terse.\n\nWhat is 0?")
    assert [finding["code"] for finding in report["findings"]] == ["system_folded"]


def test_lengths() -> None:
    found = describe([*range(1, 101)])
    assert (found["count"], found["min"], found["max"], found["mean"]) == (100, 1, 100, 50.5)
    assert (found["p50"], found["p90"], found["p95"], found["p99"]) == (50, 90, 95, 99)
    shape = found["histogram"]
    assert sum(shape["counts"]) == 100 and len(shape["edges"]) == len(shape["counts"]) + 1
    for low, high, count in zip(shape["edges"], shape["edges"][1:], shape["counts"], strict=False):
        assert count == sum(low <= length < high for length in range(1, 101))
    far = describe([10] * 999 + [500_000])["histogram"]
    assert far["longer"] == 1 and sum(far["counts"]) == 1000 and far["edges"][-1] < 100
    assert describe([5])["p99"] == 5


def test_gsm8k_is_looked_at_in_seconds(shared: Path) -> None:
    import time

    spec = spec_of(shared / "data" / "gsm8k" / "train.jsonl", length=512)
    started = time.monotonic()
    report = run_job(
        "core.data.inspect", {**report_request(spec), "model": str(shared / "tokenizers" / "qwen3")}
    )
    assert report["rows"] == 7473 == report["lengths"]["count"]
    assert time.monotonic() - started < 120  # about 4 s alone on two cores


def test_long_rows_are_dropped_or_split_with_the_marks_that_they_have(tmp_path: Path) -> None:
    rows = [*PAIRS[:20], {"prompt": "ask " * 40, "completion": "say " * 40}]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    whole = list(built(spec_of(source, data={"eval": 0})).train)[20]
    dropped = built(spec_of(source, data={"eval": 0, "long": "drop"}, length=32))
    assert len(dropped.train) == 20 and dropped.counts["dropped"] == 1
    parts = built(spec_of(source, data={"eval": 0, "long": "split"}, length=32))
    pieces = [row for row in parts.train if row["row"] == 21]
    at = len(whole["input_ids"]) // 32 * 32
    assert (
        pieces[-1]["input_ids"] == whole["input_ids"][at:] and pieces[-1]["learned"] == whole["learned"][at:]
    )
    assert all(1 in piece["learned"][1:] for piece in pieces)
    assert {one.code for one in parts.findings} >= {"split_long", "pieces_left_out"}
    assert parts.counts["split"] == 1 and parts.counts["pieces"] == len(pieces)


def test_the_head_alone_tells_that_it_is_not_all(tmp_path: Path) -> None:
    many = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(2_500)]
    spec = spec_of(write_jsonl(tmp_path / "many.jsonl", many))
    report = report_on(spec, preview=True)
    assert report["complete"] is False and report["rows"] is None and report["fingerprint"] is None
    assert report["rows_estimate"] == pytest.approx(2_500, rel=0.05)
    assert report["train_rows"] + report["eval_rows"] == pytest.approx(2_500, rel=0.05)
    assert report["lengths"]["count"] == 1_000 and report["example"]["row"] == 1
    whole = report_on(spec)
    assert whole["complete"] is True and whole["rows"] == 2_500 == sum(
        n for _, n in whole["lengths"]["table"]
    )
