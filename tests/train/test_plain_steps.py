"""Attention that no kernel computes whole is computed in plain steps, by whichever transformers is there."""

from pathlib import Path
from typing import Any

import pytest

from core.chat import weights
from core.plan.scores import in_plain_steps
from core.plan.speed import IN_STEPS, MIXED, NORMED
from core.spec import parse_spec
from core.train import model as models
from core.train.device import Device
from core.train.trace import model as traced
from core.train.trace.live import Live


@pytest.fixture
def capped(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Gemma 2 that transformers would give torch's kernels, as 5.17 does (5.23 then refuses to compute)."""
    import torch
    from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM

    monkeypatch.setattr(
        "transformers.models.gemma2.modeling_gemma2.Gemma2PreTrainedModel._supports_sdpa", True
    )
    words = AutoTokenizer.from_pretrained(tiny)
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "head_dim": 16,
    }
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": len(words)}
    torch.manual_seed(1)
    config = Gemma2Config(**sizes, attn_logit_softcapping=1.0, initializer_range=1.0, query_pre_attn_scalar=1)
    made = Gemma2ForCausalLM(config)
    assert made.config._attn_implementation == "sdpa", "else nothing here can fail"
    made.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    return tmp_path


def spec_of(folder: Path, method: str) -> Any:
    data = {"source": "rows.jsonl", "format": "text"}
    return parse_spec({"model": str(folder), "data": data, "method": method, "length": 32, "batch": 1})


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(4, 24)[None]).logits


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_is_trained_has_its_cap(capped: Path, method: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    device = Device("cpu", "fp32")
    right = logits(
        AutoModelForCausalLM.from_pretrained(capped, dtype=torch.float32, attn_implementation="eager")
    )
    assert torch.allclose(logits(models.load(spec_of(capped, method), capped, device)), right, atol=1e-4)


def test_what_is_chatted_with_and_what_is_traced_have_it_too(capped: Path) -> None:
    assert weights._model(str(capped), None, lambda _: None).config._attn_implementation == "eager"
    built = traced.build(spec_of(capped, "full"), Device("cuda", "bf16"), Live(), False)
    assert built.config._attn_implementation == "eager"


def ops_of_a_layer(family: str, method: str, **more: str) -> int:
    """Ops that a layer starts forward and backward, those left out that only look at a tensor otherwise."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from transformers import AutoConfig, AutoModelForCausalLM

    counted = [0]

    class Counts(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            counted[0] += not (func.is_view or func.__name__.startswith(("detach", "empty", "new_empty")))
            return found

    many = []
    for layers in (1, 2):
        sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": layers, "vocab_size": 50}
        sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
        if "experts_implementation" in more:
            sizes |= {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
        config = AutoConfig.for_model(family, **sizes, pad_token_id=None)
        made = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, **in_plain_steps(family), **more
        )
        if method == "lora":
            spec = parse_spec({"model": "x", "data": "none", "method": "lora"})
            made = models.with_adapters(made, spec, Device("cpu", "bf16"))
        counted[0] = 0
        with Counts(), torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            made.train()(input_ids=torch.arange(32).view(2, 16), use_cache=False).logits.sum().backward()
        many.append(counted[0])
    return many[1] - many[0]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_norms_of_queries_and_mixtures_start_more_too(method: str) -> None:
    llama, qwen3 = (ops_of_a_layer(family, method) for family in ("llama", "qwen3"))
    mixture = ops_of_a_layer("qwen3_moe", method, experts_implementation="grouped_mm")
    assert NORMED < qwen3 / llama < NORMED + 0.3
    assert qwen3 < mixture and mixture / llama == pytest.approx(MIXED, rel=0.1)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_plain_steps_are_as_many_more_as_the_form_of_speed_says(method: str) -> None:
    """At least: an adapter's op is several kernels, and both families have as many of those."""
    llama, gemma = (ops_of_a_layer(family, method) for family in ("llama", "gemma2"))
    assert 100 < llama < 150 and IN_STEPS < gemma / llama < IN_STEPS + 0.4
