"""Measures what real decoder layers keep for the backward pass and what comes and goes in it, on the CPU.

Prints {"family/method": {"kept": …, "recomputed": …, "passing": …}} in bytes a token of one layer (passing:
of the pass, while one layer is worked on). A process of its own, because it loads torch.
"""

import gc
import json
import sys
import weakref
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from tests.plan.trace_layers_sizes import SIZES

ROWS, LENGTH = 2, 256
FAMILIES = {
    "llama": transformers.LlamaConfig,
    "qwen3": transformers.Qwen3Config,
    "gemma3_text": transformers.Gemma3TextConfig,
    "gpt_neox": transformers.GPTNeoXConfig,
}


class Live(TorchDispatchMode):
    """Bytes of the tensors that are alive, and the most there were; weights are left out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.sizes = {weight.untyped_storage()._cdata: 0 for weight in model.parameters()}
        self.now = self.most = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_iter(made):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        self.most = max(self.most, self.now)
        return made

    def _add(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.now -= self.sizes.pop(key, 0)


def run(family: str, method: str, layers: int, recompute: bool) -> tuple[int, int]:
    """(bytes alive after the forward pass, most bytes in the backward pass) of rows with padding."""
    torch.manual_seed(0)
    config = FAMILIES[family](**SIZES, num_hidden_layers=layers)
    model = transformers.AutoModelForCausalLM.from_config(
        config, dtype=torch.bfloat16, attn_implementation="sdpa"
    )
    if method == "lora":
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
        for module in model.modules():
            if isinstance(module, BaseTunerLayer):
                module.cast_input_dtype_enabled = False
    if recompute:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        if method == "lora":
            model.enable_input_require_grads()
    model.train()
    ids = torch.randint(0, SIZES["vocab_size"], (ROWS, LENGTH))
    mask = torch.ones_like(ids)
    mask[1, LENGTH // 2 :] = 0
    decoder = (model.get_base_model() if method == "lora" else model).base_model
    with Live(model) as live:
        with torch.autocast("cpu", torch.bfloat16):
            loss = decoder(input_ids=ids, attention_mask=mask).last_hidden_state.sum()
        gc.collect()
        kept, live.most = live.now, live.now
        loss.backward()
    return kept, live.most


def main(families: list[str]) -> None:
    tokens = ROWS * LENGTH
    found = {}
    for family in families:
        for method in ("lora", "full"):
            kept = {layers: run(family, method, layers, False)[0] for layers in (1, 3)}
            less = {layers: run(family, method, layers, True) for layers in (1, 3)}
            found[f"{family}/{method}"] = {
                "kept": (kept[3] - kept[1]) / 2 / tokens,
                "recomputed": (less[3][0] - less[1][0]) / 2 / tokens,
                "passing": (less[3][1] - less[3][0]) / tokens,
            }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:] or list(FAMILIES))
