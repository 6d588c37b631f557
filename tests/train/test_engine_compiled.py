"""Layers are compiled once for each kind and all lengths; a compiler that fails costs nothing but speed."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from core.plan.dial import Hold
from core.train.batches import Layout
from core.train.engine import layers, peft_layers
from core.train.engine.graphs import GIVES_UP, Graphs, Stack
from core.train.engine.setup import Engine, compiles
from core.train.engine.warm import warm_up
from tests.plan import boxes

pytestmark = pytest.mark.usefixtures("fresh_compiler")
WIDE, NARROW = 96, 32
HELD = [Hold.ALL, Hold.NARROW, Hold.ALL, Hold.NARROW, Hold.INPUT]


@pytest.fixture
def model() -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        hidden_size=NARROW,
        intermediate_size=WIDE,
        num_hidden_layers=len(HELD),
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=50,
    )
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    lora._register_custom_module(peft_layers.layers_for("lora", "cpu"))
    return get_peft_model(AutoModelForCausalLM.from_config(config), lora).train()


def holder(backend: Any, loose: bool = True, graphs: Graphs | None = None) -> layers.Holder:
    made = layers.Holder(NARROW, compiled=False, random=False, loose=loose, graphs=graphs)
    made.compiled, made._run = True, torch.compile(layers._held, backend=backend, fullgraph=True)
    return made


def passed(model: Any, tokens: int) -> Any:
    ids = torch.arange(tokens)[None] % 50
    return model.base_model.model.model(input_ids=ids, use_cache=False).last_hidden_state


def test_each_kind_of_layer_is_compiled_once_for_all_lengths(model: Any) -> None:
    holder("aot_eager_decomp_partition").take_all(layers.decoder_layers(model), HELD)
    for tokens in (64, 128, 192, 64, 320):
        passed(model, tokens).sum().backward()
    assert counters["stats"]["unique_graphs"] == 3


def test_neither_a_mask_nor_an_epoch_s_last_rows_are_a_reason_to_compile_again() -> None:
    """A pass over rows of one odd length would else be compiled for that alone, and take more memory; and a
    smaller pass at an epoch's end would wait for the compiler."""
    from transformers import AutoModelForCausalLM, Gemma2Config

    config = Gemma2Config(
        hidden_size=NARROW,
        intermediate_size=WIDE,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        vocab_size=50,
    )
    padded = AutoModelForCausalLM.from_config(config, attn_implementation="eager").train()
    holder("aot_eager_decomp_partition").take_all(layers.decoder_layers(padded), [Hold.INPUT] * 2)
    for rows, tokens in ((3, 39), (3, 39), (3, 64), (2, 21)):
        ids = torch.arange(rows * tokens).view(rows, tokens) % 50
        seen = torch.ones_like(ids)
        seen[0, tokens // 2 :] = 0
        padded.model(input_ids=ids, attention_mask=seen, use_cache=False).last_hidden_state.sum().backward()
    assert counters["stats"]["unique_graphs"] == 1


def test_layers_that_are_compiled_keep_what_their_kind_says(model: Any) -> None:
    """Counted as the saved tensors of the MLP's width: gate and up."""
    found: list[list[int]] = []
    for layer, hold in zip(layers.decoder_layers(model), HELD, strict=True):
        holder("aot_eager_decomp_partition").take(layer, hold)
        inner, seen = layer.forward, found

        def counted(*args: Any, inner: Any = inner, seen: Any = seen, **kwargs: Any) -> Any:
            widths: list[int] = []
            seen.append(widths)

            def pack(tensor: Any) -> Any:
                widths.append(tensor.shape[-1] if tensor.dim() == 3 else 0)
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                return inner(*args, **kwargs)

        layer.forward = counted
    passed(model, 64).sum().backward()
    assert [widths.count(WIDE) for widths in found] == [2, 0, 2, 0, 0]


def tuner_of(model: Any) -> Any:
    """What makes a pass of the model."""
    return SimpleNamespace(
        args=SimpleNamespace(per_device_train_batch_size=1, device="cpu"),
        train_dataset=[0],
        data_collator=lambda rows: {"tokens": 64},
        model=model,
        compute_loss=lambda model, batch: passed(model, batch["tokens"]).sum(),
        trained_tokens=1,
    )


def test_a_compiler_that_fails_leaves_layers_that_run_as_they_are(model: Any) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no compiler here")

    made = holder(broken)
    made.take_all(layers.decoder_layers(model), HELD)
    engine = Engine(True, "as asked", Layout("rows"), "", tuple(HELD), None, made)
    why = warm_up(engine, tuner_of(model))
    assert why and "compiling failed" in why and not engine.compiled and not made.compiled
    assert engine.compile_seconds is None
    passed(model, 64).sum().backward()


def breaks(layer: Any) -> None:
    """From here on the compiler cannot follow the layer's MLP."""
    plain = layer.mlp.forward

    def forward(hidden: Any) -> Any:
        torch._dynamo.graph_break()
        return plain(hidden)

    layer.mlp.forward = forward


def test_a_layer_that_the_compiler_gives_up_on_is_told_before_the_run_begins(model: Any) -> None:
    kinds = [Hold.HOST, *HELD[1:]]
    made = holder("eager")
    made.take_all(layers.decoder_layers(model), kinds)
    breaks(layers.decoder_layers(model)[2])
    engine = Engine(True, "as asked", Layout("rows"), "", tuple(kinds), None, made)
    why = warm_up(engine, tuner_of(model))
    assert why and not engine.compiled and not made.compiled
    assert engine.kinds == (Hold.INPUT, *HELD[1:]), "without a compiler nothing waits in the host's memory"


def test_what_the_compiler_gives_up_on_is_not_recorded_as_it_is(model: Any) -> None:
    graphs = Graphs([], torch.float32)
    made = holder("eager", graphs=graphs)
    made.take_all(layers.decoder_layers(model), [Hold.ALL] * len(HELD))
    breaks(layers.decoder_layers(model)[2])
    made.begun = graphs.on = True

    def recorded(hidden: Any, inputs: Any) -> Any:
        return Stack(graphs._calls, [], inputs)(hidden, *inputs.tensors)

    graphs._record = recorded  # type: ignore[method-assign]
    torch.compiler.reset()
    with pytest.raises(GIVES_UP):
        passed(model, 64)
    assert not made.gave_up


def test_a_run_goes_on_where_the_compiler_gives_up_in_the_middle(model: Any) -> None:
    made = holder("eager")
    made.take_all(layers.decoder_layers(model), HELD)
    before = passed(model, 64).detach()
    made.begun = True
    breaks(layers.decoder_layers(model)[2])
    torch.compiler.reset()
    assert not made.gave_up
    again = passed(model, 64)
    again.sum().backward()
    assert torch.allclose(again, before, atol=1e-5) and made.gave_up


def test_a_worker_compiles_as_its_spec_says_and_asks_itself_only_where_that_says_nothing():
    shape = boxes.model("Qwen/Qwen3-8B")

    def asked(steps: int, **keys: Any) -> tuple[bool, str]:
        return compiles(boxes.spec(batch=1, **keys), shape, "sft", "gpu", 500.0, steps)

    for said in (True, False):
        assert asked(1, compile=said) == asked(10**6, compile=said) == (said, "as planned")
    assert asked(1)[0], "how long steps take is asked of a card"
    assert compiles(boxes.spec(compile=True), shape, "dpo", "gpu", 500.0, 9)[0] is False
