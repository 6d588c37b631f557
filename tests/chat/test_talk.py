"""Settings that cannot be used are refused in words; transcripts hold what was said."""

import json
from pathlib import Path

import pytest

from core.chat.talk import Done, Exchange, Settings, save_transcript
from core.errors import UserError


def test_settings_name_every_mistake() -> None:
    with pytest.raises(UserError) as refused:
        Settings(temperature=-1, top_p=0, max_tokens=0)
    line = refused.value.line()
    assert "temperature is -1" in line
    assert "top-p is 0" in line
    assert "most tokens is 0" in line


def _exchange() -> Exchange:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Wie geht’s?"}]
    return Exchange("tuned", turns, Settings(0.0), Done("Gut.", "end", 2, 0.5), ["a note"])


def test_transcript_as_markdown(tmp_path: Path) -> None:
    text = save_transcript(tmp_path / "deep" / "chat.md", "my run", [_exchange()]).read_text()
    for part in ("# my run", "Be brief.", "Wie geht’s?", "**tuned** (2 tokens, 0.5 s", "Gut.", "a note"):
        assert part in text


def test_transcript_as_rows_that_train(tmp_path: Path) -> None:
    path = save_transcript(tmp_path / "chat.jsonl", "my run", [_exchange(), _exchange()])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 2
    assert [turn["role"] for turn in rows[0]["messages"]] == ["system", "user", "assistant"]
    assert rows[0]["messages"][-1]["content"] == "Gut."


def test_transcript_as_json_keeps_the_settings(tmp_path: Path) -> None:
    whole = json.loads(save_transcript(tmp_path / "chat.json", "my run", [_exchange()]).read_text())
    assert whole["exchanges"][0]["settings"]["temperature"] == 0.0
    assert whole["exchanges"][0]["done"]["answer"] == "Gut."


def test_transcript_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as refused:
        save_transcript(tmp_path / "file" / "chat.md", "my run", [])
    assert "cannot be written" in refused.value.line()
