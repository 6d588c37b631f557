"""Bad input of every kind: one line that says what, why and what to do, and the exit code; no traceback."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.cli import look
from tests.cli.conftest import Called

Call = Callable[..., Called]
ROW = '{"prompt": "What is two and two?", "completion": "Four."}\n'


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["trian"], ["no command trian", "Did you mean finetui train?"]),
        (["zzz"], ["no command zzz", "finetui --help"]),
        (["runs", "--jsn"], ["finetui runs was called wrongly", "--jsn", "finetui runs --help"]),
        (["attach"], ["finetui attach was called wrongly", "missing argument", "RUN"]),
        (["plan", "--vram", "much"], ["--vram", "valid number"]),
        (["train"], ["no run is described", "--model and --data"]),
        (["chat"], ["nobody to talk to", "finetui runs"]),
        (["chat", "x", "--json"], ["--json needs --prompt"]),
        (["chat", "x", "--temperature", "-1", "--top-p", "7"], ["temperature is -1", "top-p is 7"]),
    ],
)
def test_a_wrong_call_is_one_line_and_code_2(call: Call, words: list[str], parts: list[str]) -> None:
    called = call(*words)
    assert called.code == 2
    assert all(part in called.line for part in parts), called.line
    assert called.out == "" or "--json" in words


def test_with_json_an_error_is_the_one_value_on_stdout(call: Call) -> None:
    called = call("attach", "nobody", "--json")
    assert called.code == 2
    error = json.loads(called.out)["error"]
    assert error["what"] == "no run is called nobody"
    assert set(error) >= {"what", "why", "todo"}


def test_an_error_of_ours_is_one_line_that_names_the_log(
    call: Call, finetui_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("core.machine.look", broken)
    assert look  # the command itself is untouched
    called = call("doctor")
    log = finetui_home / "finetui.log"
    assert called.code == 1
    assert "ZeroDivisionError: a defect" in called.line
    assert str(log) in called.line
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize(
    ("name", "text", "code", "parts"),
    [
        ("none.jsonl", None, 2, ["none.jsonl is not there"]),
        ("empty.jsonl", "", 2, ["empty.jsonl is empty", "0 rows"]),
        ("broken.jsonl", ROW * 3 + '{"prompt": \n', 2, ["broken.jsonl", "line 4", "not JSON"]),
    ],
)
def test_data_that_cannot_be_read(
    call: Call, tmp_path: Path, name: str, text: str | None, code: int, parts: list[str]
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    called = call("data", tmp_path / name)
    assert called.code == code
    assert all(part in called.line for part in parts), called.line


def test_rows_of_two_kinds_are_named_and_stop(call: Call, tmp_path: Path) -> None:
    rows = ROW * 30 + '{"text": "once"}\n' * 8
    (tmp_path / "mixed.jsonl").write_text(rows)
    called = call("data", tmp_path / "mixed.jsonl", "--json")
    assert called.code == 1
    stops = [one for one in json.loads(called.out)["findings"] if one["severity"] == "stop"]
    assert stops[0]["rows"][0] == 31


def test_data_with_nothing_to_learn_stops(call: Call, tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text('{"prompt": "why?", "completion": ""}\n' * 20)
    called = call("data", tmp_path / "questions.jsonl")
    assert called.code == 1
    assert "stop" in called.out


def test_a_folder_that_is_no_model_and_a_model_without_a_tokenizer(
    call: Call, tmp_path: Path, shared: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(ROW * 20)
    (tmp_path / "folder").mkdir()
    called = call("data", tmp_path / "rows.jsonl", "--model", tmp_path / "folder")
    assert called.code == 2
    assert "tokenizer" in called.line
    config = shared / "models" / "stories260k" / "config.json"
    (tmp_path / "folder" / "config.json").write_text(config.read_text())
    called = call("data", tmp_path / "rows.jsonl", "--model", tmp_path / "folder")
    assert called.code == 2
    assert "no tokenizer" in called.line


def test_a_template_that_does_not_render_names_its_line(call: Call, tmp_path: Path, shared: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(ROW * 20)
    template = tmp_path / "mine.jinja"
    template.write_text("{% for message in messages %}\n{{ message.content }\n{% endfor %}\n")
    model = shared / "models" / "stories260k"
    called = call("data", tmp_path / "rows.jsonl", "--model", model, "--template", template)
    assert called.code == 2
    assert "mine.jinja" in called.line
    assert "line 2" in called.line


def test_a_spec_that_breaks_in_two_places_names_both(call: Call, tmp_path: Path) -> None:
    spec = tmp_path / "run.yaml"
    spec.write_text("model: m\ndata: rows.jsonl\nlerning_rate: 1e-4\nbatch: -3\n")
    for command in ("plan", "train"):
        called = call(command, spec)
        assert called.code == 2
        assert "did you mean learning_rate" in called.line
        assert "batch is -3" in called.line


def test_options_are_held_to_the_same_rules_as_the_spec(call: Call) -> None:
    called = call("plan", "--model", "m", "--data", "d", "--set", "lora.rnk=8", "--set", "epochs=-1")
    assert called.code == 2
    assert "did you mean lora.rank" in called.line
    assert "epochs is -1" in called.line
    called = call("plan", "--model", "m", "--set", "rank")
    assert called.code == 2
    assert "--set rank is not understood" in called.line


@pytest.mark.parametrize("text", ["model: [unclosed\n", "just words\n"])
def test_a_spec_that_is_no_mapping(call: Call, tmp_path: Path, text: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    called = call("plan", tmp_path / "run.yaml")
    assert called.code == 2
    assert "run.yaml" in called.line


def test_a_spec_that_is_not_there(call: Call, tmp_path: Path) -> None:
    called = call("train", tmp_path / "none.yaml")
    assert called.code == 2
    assert "none.yaml is not there" in called.line
