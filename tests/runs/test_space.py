"""What a run writes, held against sizes of real runs, and said where a disk is too small for it."""

from pathlib import Path

import pytest

from core.models.shape import shape_from_config
from core.runs import space as module
from core.runs.space import Space, findings, space
from core.spec import parse_spec

BASE_28M = {
    "model_type": "llama",
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "intermediate_size": 1536,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 8192,
    "tie_word_embeddings": True,
}
GIB = 2**30


def resolved(**changed):
    return parse_spec(
        {"model": "/m", "data": "d", "method": "lora", "optimizer": "adamw", "precision": "fp32", **changed}
    )


def test_a_lora_checkpoint_is_as_large_as_real_ones():
    """Measured with rank 16 on this shape: adapter 4,798,640 bytes, a whole checkpoint 15,073,949."""
    shape = shape_from_config("m", BASE_28M)
    need = space(resolved(), shape)
    assert abs(need.checkpoint / 15_073_949 - 1) < 0.05
    assert need.run > 3 * need.checkpoint and need.download == 0


def test_full_tuning_and_rank_and_keep_weigh():
    shape = shape_from_config("m", BASE_28M)
    lora, double = space(resolved(), shape), space(resolved(lora={"rank": 32}), shape)
    assert 1.8 < double.checkpoint / lora.checkpoint < 2
    full = space(resolved(method="full", precision="bf16"), shape)
    assert full.result >= shape.parameters * 2 and full.checkpoint >= shape.parameters * 10
    assert space(resolved(save={"keep": 5}), shape).run > lora.run


def test_targets_count_alone():
    shape = shape_from_config("m", BASE_28M)
    assert space(resolved(lora={"targets": ["q_proj"]}), shape).result < space(resolved(), shape).result


@pytest.mark.parametrize(("run", "severity"), [(10 * GIB, []), (90 * GIB, ["warn"]), (200 * GIB, ["stop"])])
def test_a_disk_too_small_is_said(monkeypatch, tmp_path, run, severity):
    monkeypatch.setattr(module, "free_at", lambda path: 100 * GIB)
    found = findings(Space(1, 1, run, 0), tmp_path / "runs", tmp_path / "models")
    assert [one.severity for one in found] == severity
    assert all("100 GiB are free" in one.message and one.todo for one in found)


def test_free_space_of_a_folder_that_is_not_made_yet(tmp_path: Path):
    assert module.free_at(tmp_path / "a" / "b") > 0
