"""`finetui plan --trace`: the parts beside the closed form's, and what it cannot be asked with."""

import json
from collections.abc import Callable

from core.demo.demo import MODEL
from tests.cli.conftest import Called

Call = Callable[..., Called]


def test_a_trace_stands_beside_the_closed_form(call: Call) -> None:
    asked = ("plan", "--model", MODEL, "--method", "lora", "--vram", "24", "--set", "batch=2", "--trace")
    told = call(*asked, "--json")
    assert told.code == 0, told.err
    said = json.loads(told.out)
    assert said["fits"] and said["method"] == "lora" and said["estimate"]["kind"] == "trace"
    traced, closed = said["estimate"]["step"], said["plan"]["bytes"]
    assert traced["adapters"] > 0 and abs(traced["weights"] / closed["weights"] - 1) < 0.02
    assert said["estimate"]["peak"] < said["room"]


def test_a_trace_is_of_one_run_on_a_card(call: Call) -> None:
    both = call("plan", "--model", MODEL, "--trace", "--cards")
    assert both.code == 2 and "--trace is of one run" in both.line
    here = call("plan", "--model", MODEL, "--trace", "--vram", "24", "--set", "objective=dpo")
    assert here.code == 1 and "dpo cannot be traced" in here.err
