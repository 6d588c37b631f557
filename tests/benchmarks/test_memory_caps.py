"""Recommended plans under the cap of smaller cards: what is run, on which rows, and what the table says."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks import memory_caps, memory_caps_card, memory_rows
from benchmarks.memory_caps_cells import CARDS, LARGER, MIXES, TRIED, Try, cells, mix_of, tries
from benchmarks.memory_caps_table import table
from benchmarks.memory_grid import folder_of
from benchmarks.memory_grid_cells import GRID
from core.machine import look
from core.plan.memory import CONTEXT
from core.spec import parse_spec
from core.train.batches import Layout

GIB = 2**30
ROOT = Path(__file__).resolve().parents[2]


def test_every_shape_meets_every_card_and_every_kind_of_data():
    all_of_them = cells()
    assert len({str(one) for one in all_of_them}) == len(GRID) * len(CARDS) == 63
    assert set(Counter(one.mix for one in all_of_them).values()) == {21}
    for shape in GRID:
        assert len({one.mix for one in all_of_them if one.shape == shape}) == len(MIXES)
    some = cells(("mistral-7b",), (16.0,))
    assert some[0] in all_of_them, "what a cell's data are does not hang on what else is run"
    turns = cells(turns=tuple(range(len(MIXES))))
    assert len({str(one) for one in turns}) == 63 * len(MIXES), "with all turns every pair meets all data"


def test_data_are_as_people_have_them():
    answers, chats, texts = (mix_of(name).lengths() for name in ("answers", "chats", "texts"))
    assert 170 < answers.mean() < 190 and 650 < chats.mean() < 750
    assert chats.max() == 4096 and (chats > 2048).mean() > 0.02 and set(texts.tolist()) == {2048}
    assert (mix_of("chats").lengths() == chats).all(), "a seed fixes them"
    for mix in MIXES:
        report = mix.report()
        assert report["lengths"]["count"] == mix.rows and 0 < report["learned_tokens"] <= report["tokens"]


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """What is run, and what need not be, of three shapes on all cards."""
    where, machine = tmp_path_factory.mktemp("shapes"), look()
    shapes = ("qwen2.5-0.5b", "llama-3.1-8b", "qwen2.5-14b")
    return [(cell, *tries(cell, folder_of(cell.shape, where), machine)) for cell in cells(shapes)]


def test_what_fits_is_run_and_so_is_what_nearly_does(planned):
    for cell, run, told in planned:
        roles = {one.role for one in run} | {one["role"] for one in told}
        assert roles == {"recommended", "next"} and len(run) + len(told) == 2, str(cell)
        have = cell.card.memory_total
        recommended = [one for one in run if one.role == "recommended"]
        for one in recommended:
            assert one.planned.peak < have and one.spec.batch == one.setting.batch
            assert one.spec.batch * one.spec.accumulate >= 14 and one.spec.length <= 4096
        for one in [one for one in run if one.role == "next"]:
            assert one.method == LARGER[recommended[0].method if recommended else None]
            assert 0.95 * have - 1 <= one.planned.peak <= TRIED * have
        assert all(one["not_tried"] > TRIED for one in told if "not_tried" in one)
    every = [one for _, run, told in planned for one in (*told, *(each.to_dict() for each in run))]
    assert any(one.get("nothing_fits") for one in every) and any(one.get("limit") for one in every)
    assert any("limit" in one and not one["limit"] for one in every)


def test_a_job_sets_aside_what_its_cap_allows_and_moments_that_may_leave(planned):
    every = [one for _, run, _ in planned for one in run]
    for one in every:
        job, size = memory_caps.job_of(one), one.cell.card.memory_total
        if not one.setting.optimizer.startswith("paged"):
            assert min(size, one.planned.peak - CONTEXT) <= job.card <= size
        assert job.host > one.planned.step.host and parse_spec(job.request["spec"]) == one.spec
        assert str(one) in memory_caps.planned(one)
    plain = next(one for one in every if not one.setting.optimizer.startswith("paged"))
    paged = replace(plain, setting=replace(plain.setting, optimizer="paged_adamw_8bit"))
    more = memory_caps.job_of(paged).card - memory_caps.job_of(plain).card
    assert more == 4 * plain.planned.step.optimizer > 0


def test_the_fullest_passes_of_the_run_are_made():
    mix = mix_of("chats")
    told = {
        "model": "m",
        "data": {"source": "here"},
        "batch": 4,
        "accumulate": 4,
        "epochs": 1,
        "length": 3072,
    }
    spec, lengths = parse_spec(told), np.minimum(mix.lengths(), 3072)
    few, rows, tokens = memory_caps_card.fullest(spec, mix, lengths, Layout("lines", None, 3072), 1000)
    assert (few.steps, few.accumulate, few.batch) == (3, 2, 4) and len(rows.train) == 24
    sizes = [len(row["input_ids"]) for row in rows.train]
    first = sum(sizes[:4])
    assert tokens == first == sum(sizes[12:16]) == sum(sizes[16:20]) > 2 * 4 * lengths.mean()
    assert max(sizes[4:8]) == max(sizes) == lengths.max()
    assert all(0 < sum(row["learned"]) < len(row["learned"]) for row in rows.train)
    assert max(len(row["input_ids"]) for row in rows.held_out) <= 3072


def test_the_box_of_a_smaller_card_is_told_for_a_while():
    from core.train.engine import warm

    def limits():
        return warm.BUSY, warm.QUICKER

    (busy, quicker), row = limits(), {"left": 0}
    with memory_caps_card.as_beside(8 * GIB, 5 * GIB, row), memory_caps_card.planned(True):
        assert psutil.virtual_memory().available == 5 * GIB
        assert limits()[0] == 0 < busy and limits()[1] > quicker
    assert psutil.virtual_memory().available != 5 * GIB and limits() == (busy, quicker)
    with memory_caps_card.planned(False):
        assert limits() == (busy, quicker)


def test_the_pool_is_capped_and_what_is_free_is_told_of_the_smaller_card(monkeypatch):
    import torch

    class Told:
        total_memory = 100 * GIB

    shares = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Told)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (60 * GIB, 100 * GIB))
    row = {"left": GIB}
    with memory_caps_card.as_beside(16 * GIB, 5 * GIB, row):
        free, total = torch.cuda.mem_get_info()
    assert shares[0] * 100 * GIB == pytest.approx(row["cap"]) and row["cap"] == 17 * GIB - CONTEXT
    assert (free, total) == (14 * GIB - CONTEXT, 16 * GIB)
    assert torch.cuda.mem_get_info()[0] == 60 * GIB


def run(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.memory_caps", *words, "--out", str(out), "--shape", "tiny"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_cells_run_side_by_side_and_go_on_where_they_were(tmp_path):
    done = run(tmp_path, "card", "--gib", "1", "1.01", "--at-once", "2")
    assert done.returncode == 0, done.stderr
    rows = memory_rows.rows_in(tmp_path / "caps.jsonl")
    ran = {name: row for name, row in rows.items() if "fits" in row}
    assert set(ran) == {"tiny:1:answers:recommended", "tiny:1.01:answers:recommended"} and len(rows) == 4
    for row in ran.values():
        assert row["fits"] and row["took"] and row["planned"]["peak"] <= row["room"] and not row["otherwise"]
        assert row["core_ms"] > 0
    again = run(tmp_path, "card", "--gib", "1", "1.01")
    assert again.returncode == 0 and "tiny" not in again.stdout
    told = table(list(rows.values()))
    assert "ran out of memory | 0 of 2 | 0 |" in told and "tiny:1.01:answers | lora" in told


def test_the_table_tells_what_ran_out_and_what_was_wrongly_too_big(planned):
    rows = [row for _, _, told in planned for row in told]
    tried: list[Try] = [one for _, run, _ in planned for one in run]
    for one in tried:
        row = one.to_dict() | {"fits": True, "took": 2.0, "otherwise": False}
        row["tokens"] = one.spec.batch * one.spec.length // 4
        row["peak"], row["reserved"] = (int(part * one.cell.gib * GIB) - CONTEXT for part in (0.9, 1))
        rows.append(row)
    first = next(row for row in rows if row["role"] == "recommended" and row.get("fits"))
    first |= {"fits": False, "out_of_memory": "1 GiB more was wanted", "stage": "step"}
    first["not_compiled"] = "compiling failed (no compiler)"
    del first["peak"], first["reserved"]
    wrong = sum(one.role == "next" for one in tried)
    text = table(rows)
    assert f"| 1 of {sum(one.role == 'recommended' for one in tried)} | 0 |" in text
    assert f"ran | {wrong} of {len(planned)} cells" in text and "median 90%, least 90%, 0 of" in text
    assert "| 90%, least 90% | 100%, least 100% |" in text, "tensors, and the pool"
    assert "| 25%, least 25% |" in text
    name = first["cell"].rpartition(":")[0]
    assert f"Ran out of memory: {name}:recommended." in text
    assert f"Not compiled as planned: {name}:recommended." in text
    lines = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    assert len(lines) == 1 and "out of memory" in lines[0]
    head = next(line for line in text.splitlines() if line.startswith("| cell |"))
    for cell, *_ in planned:
        line = next(line for line in text.splitlines() if line.startswith(f"| {cell} |"))
        assert line.count("|") == head.count("|"), line
    assert "nothing fits" in text and "not tried" in text
    assert all(memory_caps.line(row) for row in rows) and "out of memory (step)" in memory_caps.line(first)
