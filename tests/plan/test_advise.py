"""What is recommended fits, is the better of what fits, and says so with its numbers."""

import json
import time
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.models.catalogue import catalogue
from core.models.shape import shape_from_config
from core.plan.advise import advise
from core.plan.cards import card_here, card_named, card_of_size, room
from core.plan.memory import Bytes
from core.plan.resolve import resolve
from tests.plan.boxes import GIB, box, gpu, model, report, spec


def plan(name: str, gib: float, *, data=None, **keys):
    return advise(spec(name, **keys), box(gpu(gib)), model(name), data or report())


def test_a_card_between_lora_and_full_takes_lora_and_names_both():
    found = plan("Qwen/Qwen3-8B", 24)
    assert found.recommended == "lora"
    assert found.of("lora").fits and found.of("qlora").fits and not found.of("full").fits
    for method in ("lora", "full"):
        assert f"{found.of(method).bytes.total / GIB:.1f} GiB" in found.reason


def test_a_smaller_card_takes_qlora_and_says_what_lora_wants():
    found = plan("Qwen/Qwen3-8B", 12)
    assert found.recommended == "qlora" and "LoRA would need" in found.reason


def test_where_nothing_fits_the_smallest_change_is_named():
    found = plan("Qwen/Qwen3-32B", 12)
    assert found.recommended is None and not any(one.fits for one in found.methods)
    (stop,) = [one for one in found.findings if one.severity == "stop"]
    assert stop.code == "nothing_fits" and "GiB more: no setting gives that; a card such as" in stop.todo
    tight = plan("Qwen/Qwen3-8B", 8, length=2048, data=report(longest=9000, mean=4000))
    assert tight.recommended is None and "more: length" in tight.reason and tight.of("qlora").out


def test_a_card_that_others_have_filled():
    full = plan_on(gpu(24, held=23.8))
    assert "no_room" in [one.code for one in full.findings if one.severity == "stop"]
    half = plan_on(gpu(24, held=12)).of("lora")
    assert half.out and half.out.ways[0].words == "an end to what holds 12.0 GiB of the card"
    lying = plan_on(replace(gpu(24), memory_free=80 * GIB))
    assert "cannot be" in next(one.message for one in lying.findings if one.code == "memory_doubt")


def plan_on(one):
    return advise(spec(), box(one), model("Qwen/Qwen3-8B"), report())


def test_what_must_be_compiled_to_fit_is_compiled_and_the_worker_is_told():
    """A run too short to pay for compiling, on a card where uncompiled layers do not fit."""
    few = report(rows=12, longest=2048, mean=1500.0)
    found = None
    for tenths in range(60, 120):
        card = replace(gpu(tenths / 10), name="NVIDIA H200")
        found = advise(spec(LLAMA), box(card, ram=8), model(LLAMA), few)
        if "without it nothing fits" in found.of("qlora").compile_why:
            break
    assert found is not None and found.of("qlora").compiled and found.of("qlora").fits
    assert resolve(spec(LLAMA, method="qlora"), found, model(LLAMA), few).compile is True


def test_a_resolved_spec_says_whether_layers_are_compiled():
    """What a run takes depends on it, and a worker that asked itself could come to another answer."""
    card = replace(gpu(80), name="NVIDIA H200")
    for rows, compiled in ((50, False), (50_000, True)):
        data = report(rows=rows, longest=2048, mean=1500.0)
        for ram in (8, 200):
            found = advise(spec(LLAMA), box(card, ram=ram), model(LLAMA), data)
            assert found.of("lora").compiled is compiled
            said = resolve(spec(LLAMA, method="lora"), found, model(LLAMA), data)
            assert said.compile is compiled
            again = advise(said, box(card, ram=ram), model(LLAMA), data)
            assert again.of("lora").compiled is compiled and again.of("lora").bytes == found.of("lora").bytes


def test_full_tuning_for_a_small_model_with_much_to_learn():
    much = report(rows=60_000, learned=20_000_000)
    assert plan("Qwen/Qwen3-0.6B", 80, data=much, aim="knowledge").recommended == "full"
    assert plan("Qwen/Qwen3-0.6B", 80, data=much, aim="manner").recommended == "lora"
    assert plan("Qwen/Qwen3-0.6B", 80, data=report(), aim="knowledge").recommended == "lora"
    assert plan("Qwen/Qwen3-8B", 141, data=much, aim="knowledge").recommended == "lora"


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(catalogue()),
    st.sampled_from([8, 12, 16, 24, 40, 48, 80, 141]),
    st.floats(0, 0.9),
    st.sampled_from([None, 64, 512, 2048, 8192]),
    st.sampled_from([None, 1, 4, 32]),
    st.booleans(),
)
def test_what_fits_fits_in_what_is_free(one, gib, held, length, batch, packing):
    shape = shape_from_config(one.id, one.config, hub=True)
    machine = box(gpu(gib, held=held * gib))
    asked = spec(one.id, length=length, batch=batch, packing=packing)
    found = advise(asked, machine, shape, report(longest=5000, mean=700))
    have = room(card_here(asked, machine))
    assert have < machine.gpus[0].memory_free
    for method in found.methods:
        could = method.method in shape.tunable
        assert method.fits == (could and method.peak <= have) and method.peak >= method.bytes.total
        assert batch is None or method.batch == batch
        assert length is None or method.length == length
        assert method.length <= shape.context or length is not None
        if method.fits and batch is None:
            assert method.batch * method.accumulate >= 1
    assert found.recommended is None or found.of(found.recommended).fits
    assert (found.recommended is None) == (not any(m.fits for m in found.methods if m.method != "full"))


def test_what_is_free_counts_not_what_there_is():
    idle, busy = box(gpu(24)), box(gpu(24, held=14))
    asked, shape = spec("Qwen/Qwen3-8B"), model("Qwen/Qwen3-8B")
    assert advise(asked, idle, shape, report()).of("lora").fits
    assert not advise(asked, busy, shape, report()).of("lora").fits


def test_the_emptiest_gpu_or_the_one_that_is_named():
    two = box(gpu(24, held=20), gpu(24, index=1))
    shape = model("Qwen/Qwen3-8B")
    assert advise(spec(), two, shape).card["index"] == 1  # type: ignore[index]
    assert advise(spec(gpus=[0]), two, shape).card["index"] == 0  # type: ignore[index]
    missing = advise(spec(gpus=[7]), two, shape)
    assert [one.code for one in missing.findings if one.severity == "stop"] == ["no_such_gpu"]
    assert "this box has 0, 1" in next(one.message for one in missing.findings if one.code == "no_such_gpu")


def test_a_dead_gpu_is_not_planned_for():
    dead = replace(gpu(80), error="GPU is lost")
    found = advise(spec(), box(dead, gpu(24, index=1)), model("Qwen/Qwen3-8B"))
    assert found.card["index"] == 1  # type: ignore[index]


def test_an_explicit_method_that_does_not_fit_stops_and_names_one_that_does():
    found = plan("Qwen/Qwen3-8B", 24, method="full")
    (stop,) = [one for one in found.findings if one.severity == "stop"]
    assert stop.code == "does_not_fit" and "more than there are" in stop.message and "lora" in stop.todo


def test_the_users_own_numbers_are_kept_even_where_they_do_not_fit():
    found = plan("Qwen/Qwen3-8B", 24, method="lora", batch=64, accumulate=2, length=4096, recompute=0)
    lora = found.of("lora")
    assert (lora.batch, lora.accumulate, lora.length, lora.recompute) == (64, 2, 4096, 0) and not lora.fits


def test_no_bf16_on_an_old_card():
    old = box(gpu(15, capability=(7, 5)))
    shape = model("Qwen/Qwen3-0.6B")
    assert advise(spec("Qwen/Qwen3-0.6B"), old, shape).card["precision"] == "fp16"  # type: ignore[index]
    stops = advise(spec("Qwen/Qwen3-0.6B", precision="bf16"), old, shape).findings
    assert "no_bf16" in [one.code for one in stops if one.severity == "stop"]


def test_without_a_gpu_the_ram_is_the_card():
    shape = model("HuggingFaceTB/SmolLM2-135M")
    found = advise(spec("HuggingFaceTB/SmolLM2-135M"), box(ram=16), shape, report())
    assert found.card["kind"] == "cpu" and found.card["precision"] == "fp32"  # type: ignore[index]
    assert found.recommended == "lora" and found.of("lora").seconds and found.of("lora").tokens_per_second
    large = advise(spec("Qwen/Qwen3-32B"), box(ram=16), model("Qwen/Qwen3-32B"), report())
    assert not large.of("lora").fits


def test_a_torch_for_the_cpu_on_a_gpu_box_stops():
    from core.machine import doctor
    from core.machine.torch_check import Torch

    wrong = box(gpu(24), torch=Torch("2.13.0+cpu", None, True))
    wrong = replace(wrong, findings=doctor(wrong))
    shape = model("Qwen/Qwen3-0.6B")
    found = advise(spec("Qwen/Qwen3-0.6B"), wrong, shape)
    assert "torch_for_cpu" in [one.code for one in found.findings if one.severity == "stop"]
    elsewhere = advise(spec("Qwen/Qwen3-0.6B"), wrong, shape, card=card_named("4090"))
    assert "torch_for_cpu" not in [one.code for one in elsewhere.findings], "another card is another box"


def test_a_gated_model_without_login_and_a_folder_without_files(monkeypatch):
    from core.machine.host import Hub

    llama = "meta-llama/Llama-3.1-8B"
    found = advise(spec(llama), box(gpu(24), hub=Hub(False, None, None)), model(llama))
    (gated,) = [one for one in found.findings if one.code == "gated"]
    assert f"https://huggingface.co/{llama}" in gated.todo and "hf auth login" in gated.todo
    bare = replace(model(llama), has_tokenizer=False, has_weights=False)
    codes = {one.code for one in advise(spec(llama), box(gpu(24)), bare).findings}
    assert {"no_tokenizer", "no_weights"} <= codes


def test_time_and_cost_follow_from_the_rate():
    found = advise(
        spec(price_per_hour=2.0, epochs=3), box(), model("Qwen/Qwen3-8B"), report(), card=card_named("h100")
    )
    lora = found.of("lora")
    assert lora.steps == -(-1800 // (lora.batch * lora.accumulate)) * 3
    assert lora.seconds and lora.tokens_per_second and 100 < lora.tokens_per_second < 30_000
    assert lora.cost == pytest.approx(lora.seconds / 3600 * 2.0)
    unknown = advise(spec(), box(), model("Qwen/Qwen3-8B"), report(), card=card_of_size(24)).of("lora")
    assert unknown.seconds is None and unknown.tokens_per_second is None, "not known is not guessed"


LONG = {"rows": 20_000, "longest": 2048, "mean": 1500.0}
LLAMA = "meta-llama/Llama-3.1-8B"


def placed(gib: float, *, ram: float = 256, data=None, name: str = LLAMA, **keys):
    card = replace(gpu(gib), name="NVIDIA H200")
    return advise(spec(name, **keys), box(card, ram=ram), model(name), data or report(**LONG)).of("lora")


def test_the_dial_is_turned_to_the_fastest_place_that_fits():
    roomy, tight = placed(140), placed(24)
    assert roomy.recompute == 0 and tight.recompute > 0
    assert roomy.tokens_per_second > tight.tokens_per_second
    places = [placed(gib).tokens_per_second for gib in (18.5, 20, 24, 40, 60, 80, 140)]
    assert places == sorted(places), "more memory is never slower"
    found = {placed(gib, batch=8).recompute for gib in range(20, 80, 4)}
    assert {0.0, 1.0} <= found and len(found) > 8, "places between are used"


def test_a_pass_has_enough_tokens_for_a_fast_card_and_the_step_keeps_its_rows():
    for gib in (22, 48, 60, 80, 140):
        one = placed(gib)
        assert one.batch * one.length >= 8_192
        assert one.batch * one.accumulate == 16


def test_layers_wait_in_the_hosts_memory_where_it_has_room():
    rich, poor = (placed(22, ram=ram, recompute=1.0, batch=8) for ram in (64, 8))
    assert rich.host and rich.bytes.host > 10 * GIB and "wait in the host's memory" in rich.reason
    assert not poor.host and poor.bytes.host == 0 and not poor.fits
    away = advise(
        spec(LLAMA, recompute=1.0), box(ram=512), model(LLAMA), report(**LONG), card=card_named("h200")
    )
    assert not away.of("lora").host, "the memory of a box that is not here is not known"


def test_what_is_compiled_and_why_is_said():
    long, short = placed(80), placed(80, steps=5)
    assert long.compiled and "pay" in long.compile_why and "compiled" in long.reason
    assert not short.compiled and "too short" in short.compile_why
    assert placed(80, compile=True, steps=5).compiled
    off = placed(80, compile=False)
    assert not off.compiled and off.compile_why == "as asked" and not off.host
    assert long.seconds < off.seconds, "though what compiling takes is in it"
    old = replace(gpu(24, capability=(7, 5)), name="Tesla T4")
    asked = spec("Qwen/Qwen3-0.6B", compile=True)
    assert not advise(asked, box(old), model("Qwen/Qwen3-0.6B"), report()).of("lora").compiled
    cpu = advise(asked, box(ram=16), model("Qwen/Qwen3-0.6B"), report()).of("lora")
    assert not cpu.compiled and "no CUDA card" in cpu.compile_why


def test_what_the_worker_will_decide_is_what_was_planned():
    """The rule is asked again of the finished spec, from the same figures."""
    from core.plan.cards import card_here
    from core.plan.compiling import pays, training_seconds

    for rows in (50, 300, 600, 1000, 3000, 20_000):
        data = report(rows=rows, longest=2048, mean=1500.0)
        card = replace(gpu(48), name="NVIDIA H200")
        machine, asked = box(card, ram=256), spec(LLAMA, method="lora")
        planned = advise(asked, machine, model(LLAMA), data)
        made = resolve(asked, planned, model(LLAMA), data)
        where = card_here(made, machine)
        steps = planned.of("lora").steps
        seconds, compiled = training_seconds(made, model(LLAMA), where, tokens=1500.0, steps=steps)
        assert pays(seconds, "cuda", compiled=compiled)[0] >= planned.of("lora").compiled


def test_the_length_follows_the_data_and_the_models_context():
    def length(data, **keys):
        return plan("HuggingFaceTB/SmolLM2-135M", 80, data=data, **keys).of("lora").length

    assert length(report(longest=300)) == 320
    assert length(report(longest=5000, mean=900)) == -(-4900 // 64) * 64
    assert length(report(longest=50_000, mean=900)) == 8192
    assert length(report(longest=300), length=128) == 128


def test_few_rows_take_smaller_steps():
    few, many = plan("Qwen/Qwen3-0.6B", 80, data=report(rows=40)), plan("Qwen/Qwen3-0.6B", 80)
    size = [one.of("lora").batch * one.of("lora").accumulate for one in (few, many)]
    assert size[0] < size[1] == 16 and few.of("lora").steps >= 30  # type: ignore[operator]


def test_it_is_json_and_quick():
    shape, machine, asked, data = model("Qwen/Qwen3-8B"), box(gpu(24)), spec(), report()
    start = time.process_time()
    found = advise(asked, machine, shape, data)
    assert time.process_time() - start < 0.05
    said = json.loads(json.dumps(found.to_dict()))
    assert {"card", "methods", "recommended", "reason"} <= set(said)
    for method in said["methods"]:
        assert {"method", "fits", "bytes", "batch", "accumulate", "length", "reason"} <= set(method)
        parts = method["bytes"]
        host = parts.pop("host")
        assert parts.pop("total") == sum(parts.values()) and host >= 0
        assert set(parts) == {one.name for one in fields(Bytes)} - {"host"}


def test_how_sure_it_is_and_what_the_other_phases_take_is_said():
    one = plan("Qwen/Qwen3-8B", 24).of("lora")
    assert one.estimate and one.estimate.kind == "formula" and one.estimate.step == one.bytes
    assert "by closed form, from" in one.sure
    bettered = replace(one, estimate=replace(one.estimate, correction=1.07, of="a run of it"))
    assert "corrected 1.07 times (a run of it)" in bettered.sure
    said = one.to_dict()
    assert said["estimate"]["load"] > 0 and said["estimate"]["disk"] > 0 and said["peak"] == one.peak


def test_a_host_with_too_little_memory_is_said():
    poor = advise(spec("Qwen/Qwen3-8B"), box(gpu(24), ram=2), model("Qwen/Qwen3-8B"), report())
    assert "ram_short" in [one.code for one in poor.findings]
    assert "ram_short" not in [one.code for one in plan("Qwen/Qwen3-8B", 24).findings]
    assert next(one for one in poor.findings if one.code == "ram_short").severity == "warn"
    name = "Qwen/Qwen3-8B"
    small = advise(spec(name, method="full"), box(gpu(140), ram=8), model(name), report())
    (short,) = [one for one in small.findings if one.code == "ram_short"]
    assert short.severity == "stop" and "to save" in short.message


def test_a_merge_that_the_card_cannot_hold_is_said_with_what_to_do():
    (said,) = [one for one in plan("Qwen/Qwen3-8B", 12).findings if one.code == "merge_elsewhere"]
    assert said.severity == "info" and "merge on the CPU" in (said.todo or "")
    assert "merge_elsewhere" not in [one.code for one in plan("Qwen/Qwen3-8B", 48).findings]


def test_days_are_said_before_they_are_waited_for():
    large = advise(spec("Qwen/Qwen3-8B"), box(ram=64), model("Qwen/Qwen3-8B"), report())
    (slow,) = [one for one in large.findings if one.code == "slow"]
    assert slow.severity == "warn" and "days" in slow.message
    assert "slow" not in [one.code for one in plan("Qwen/Qwen3-0.6B", 24).findings]
