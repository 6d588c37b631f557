"""The whole way by the commands on the model that ships: plan, train, watch, talk, delete; refusals."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from core.job import environment
from core.plan.memory import Bytes
from core.prepare import anchored, finish, prepare
from core.spec import parse_spec
from tests.cli.conftest import Called
from tests.conftest import REPO

Call = Callable[..., Called]
MODEL = REPO / "core" / "demo" / "model"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    lines = [
        json.dumps({"prompt": f"What is {n} and one?", "completion": f"It is {n + 1}."}) for n in range(40)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_from_a_spec_to_an_answer(call: Call, tmp_path: Path, rows: Path) -> None:
    spec = tmp_path / "run.yaml"
    spec.write_text(f"model: {MODEL}\ndata: {{source: {rows}}}\nmethod: lora\nname: sums\n")
    runs = tmp_path / "runs"

    started = call("train", spec, "--set", "steps=4", "--runs", runs, "--detach", "--json")
    assert started.code == 0, started.err
    assert json.loads(started.out) == {"run": "sums", "folder": str(runs / "sums")}

    watched = call("attach", "sums", "--runs", runs)
    assert watched.code == 0, watched.out
    assert "step 4/4" in watched.out
    assert "held out" in watched.out
    assert "Finished: 4 steps" in watched.out
    assert f"finetui chat sums --runs {runs}" in watched.out

    (listed,) = json.loads(call("runs", "--runs", runs, "--json").out)
    assert (listed["state"], listed["step"], listed["steps"]) == ("finished", 4, 4)
    assert listed["loss"] > 0

    words = ["sums", "--runs", runs, "--prompt", "What is 3 and one?", "--max-tokens", "8"]
    answer = json.loads(call("chat", *words, "--temperature", "0", "--json").out)
    assert answer["stopped"] in ("end", "length")
    assert 0 < answer["tokens"] <= 8

    again = call("resume", "sums", "--runs", runs)
    assert again.code == 2
    assert "run sums is finished" in again.line
    assert json.loads(call("rm", "sums", "--yes", "--runs", runs, "--json").out)["removed"]


def test_a_run_that_would_not_work_is_refused_before_it_starts(call: Call, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "why?", "completion": ""}\n' * 20)
    called = call("train", "--model", MODEL, "--data", tmp_path / "rows.jsonl", "--runs", tmp_path / "runs")
    assert called.code == 1
    assert "this run would not work" in called.line
    assert not (tmp_path / "runs").exists()


def test_a_runs_folder_that_cannot_be_made(call: Call, tmp_path: Path, rows: Path) -> None:
    (tmp_path / "file").write_text("")
    where = tmp_path / "file" / "runs"
    called = call("train", "--model", MODEL, "--data", rows, "--runs", where, "--detach", "--json")
    assert called.code == 2
    assert "no run folder can be made" in json.loads(called.out)["error"]["what"]


def test_no_network_and_a_misspelt_id(rows: Path) -> None:
    call = "import sys; from core.cli import main; sys.exit(main(sys.argv[1:]))"
    nobody = "http://127.0.0.1:9"  # a port at which nothing listens
    for command in ("plan", "train"):
        called = subprocess.run(
            [sys.executable, "-c", call, command, "--model", "Qwen/Qwen3-0.6BB", "--data", str(rows)],
            env={**environment(), "HF_ENDPOINT": nobody},
            capture_output=True,
            text=True,
        )
        (line,) = called.stderr.splitlines()
        assert called.returncode in (1, 2)
        assert "no network" in line
        assert "did you mean Qwen/Qwen3-0.6B?" in line


def test_plan_has_the_keys_that_others_rely_on(call: Call, rows: Path) -> None:
    called = call("plan", "--model", MODEL, "--data", rows, "--card", "4090", "--json")
    assert called.code == 0
    plan = json.loads(called.out)
    assert plan["card"]["name"] == "RTX 4090"
    assert plan["recommended"] in ("full", "lora", "qlora")
    assert plan["reason"]
    assert [one["method"] for one in plan["methods"]] == ["full", "lora", "qlora"]
    parts = {one.name for one in fields(Bytes)} - {"host"} | {"total"}
    for one in plan["methods"]:
        assert {"method", "fits", "bytes", "batch", "accumulate", "length", "reason"} <= set(one)
        assert set(one["bytes"]) == {*parts, "host"}, "host is memory beside the card's, and not in the total"
        assert one["bytes"]["total"] == sum(one["bytes"][part] for part in parts - {"total"})
    told = call("plan", "--model", MODEL, "--data", rows, "--card", "4090").out
    assert "RTX 4090" in told
    assert f"→ {plan['recommended']}" in told
    assert "Layers: " in told and "compiled: " in told
    # what the plan filled in is a spec of its own, and is printed as one
    filled = parse_spec(plan["spec"])
    chosen = next(one for one in plan["methods"] if one["method"] == plan["recommended"])
    assert (filled.method, filled.batch, filled.length) == (
        plan["recommended"],
        chosen["batch"],
        chosen["length"],
    )
    assert filled.template == "chatml" and filled.learning_rate
    printed = told[told.index("# the run") :]
    assert parse_spec(yaml.safe_load(printed)) == filled


def test_a_plan_needs_no_data_and_a_card_that_is_too_small_is_a_no(call: Call) -> None:
    words = ["plan", "--model", "meta-llama/Llama-3.1-8B"]
    assert call(*words, "--vram", "80").code == 0
    small = call(*words, "--vram", "4", "--json")
    assert small.code == 1
    assert json.loads(small.out)["spec"] is None
    assert not any(one["fits"] for one in json.loads(small.out)["methods"])
    both = call(*words, "--vram", "4", "--card", "4090")
    assert both.code == 2
    assert "keep one of them" in both.line.lower()
    wrong = call(*words, "--card", "RTX 4909")
    assert wrong.code == 2
    assert "RTX 4090" in wrong.line


def test_data_has_the_keys_that_others_rely_on(call: Call, rows: Path) -> None:
    called = call("data", rows, "--model", MODEL, "--json")
    assert called.code == 0
    report = json.loads(called.out)
    assert report["format"] == "completion"
    assert report["rows"] == 40
    assert report["columns"] == {"prompt": "prompt", "completion": "completion"}
    assert all({"severity", "code", "message"} <= set(one) for one in report["findings"])
    tokens = report["example"]["tokens"]
    assert "".join(token["text"] for token in tokens) == report["example"]["text"]
    learned = "".join(token["text"] for token in tokens if token["learned"])
    assert learned.startswith("It is 1.")
    shown = call("data", rows, "--model", MODEL, "--row", "3").out
    assert "What is 2 and one?" in shown
    assert "⟦It is 3." in shown


def test_doctor_has_the_keys_that_others_rely_on(call: Call) -> None:
    called = call("doctor", "--json")
    facts = json.loads(called.out)
    assert {"gpus", "driver", "ram_bytes", "disks", "torch", "hub", "findings"} <= set(facts)
    assert called.code == int(any(one["severity"] == "stop" for one in facts["findings"]))
    assert "RAM" in call("doctor").out


def test_what_is_prepared_leaves_nothing_open(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(rows.parent)
    seen: list[str] = []
    prepared = prepare(
        parse_spec({"model": str(MODEL), "data": rows.name}), lambda stage, done, total: seen.append(stage)
    )
    assert {"machine", "model"} <= set(seen)
    spec = prepared.spec
    assert spec.data.source == str(rows)  # the worker runs elsewhere
    assert spec.method != "auto"
    assert spec.optimizer != "auto"
    assert spec.precision != "auto"
    assert spec.recompute != "auto"
    assert None not in (
        spec.length,
        spec.batch,
        spec.accumulate,
        spec.learning_rate,
        spec.name,
        spec.lora.alpha,
    )
    assert spec.epochs or spec.steps
    assert parse_spec(yaml.safe_load(spec.model_dump_json())) == spec

    short = parse_spec({**spec.model_dump(), "length": 8})  # a length that was chosen after the reading
    findings = finish(short, prepared.machine, prepared.shape, prepared.report).findings()
    assert any(one["code"] == "cut" and "8 tokens" in one["message"] for one in findings)
    assert not any(one["code"] == "cut" for one in prepared.findings())


def test_names_that_are_no_paths_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.jinja").write_text("")
    (tmp_path / "chatml").mkdir()
    spec = {"model": "org/name", "data": "org/rows", "template": "chatml"}
    assert anchored(parse_spec(spec)) == parse_spec(spec)
    assert anchored(parse_spec({**spec, "template": "mine.jinja"})).template == str(tmp_path / "mine.jinja")


def test_paths_in_a_spec_may_lie_beside_it(call: Call, tmp_path: Path, rows: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "beside.jsonl").write_text(rows.read_text())
    (tmp_path / "sub" / "run.yaml").write_text(f"model: {MODEL}\ndata: beside.jsonl\n")
    called = call("plan", tmp_path / "sub" / "run.yaml", "--json")
    assert called.code == 0, called.err
    assert json.loads(called.out)["methods"][0]["steps"]
