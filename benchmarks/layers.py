"""What one decoder layer takes, kind by kind, and what the loss takes: `python -m benchmarks.layers [SHAPE]`.

SHAPE is one of `benchmarks.random_model` (default llama-3.1-8b). A few of its layers with LoRA of rank 16 on
all linears, bf16 on a CUDA card (fp32 on a CPU), rows of one length side by side. Forward and backward, the
median of some passes, by the engine's own `Holder`: all kinds compiled and as they are, copies to the host's
memory, passes started as a whole. Then the loss of as many tokens by the engine's head and by TRL's.

`core.plan.speed` and `core.plan.layers` are fitted to these figures. Prints a Markdown table, `--out FILE`
writes it as JSON.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from benchmarks.random_model import DEMO, SHAPES, describe
from core.models.shape import shape_from_config
from core.plan.dial import Hold, widest_narrow
from core.spec import parse_spec
from core.train import model as models
from core.train.device import Device
from core.train.engine.graphs import Graphs
from core.train.engine.head import Head
from core.train.engine.host import Host
from core.train.engine.layers import Holder, decoder_layers
from core.train.engine.peft_layers import Rounded

MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shape", nargs="?", default="llama-3.1-8b", choices=sorted(SHAPES))
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=6, help="of the shape's, to hold and divide by")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    cuda = torch.cuda.is_available()
    rows = [*of_layers(asked, cuda), *of_head(asked, cuda)]
    if asked.out:
        head = {"shape": asked.shape, "rows": asked.rows, "length": asked.length, "layers": asked.layers}
        card = torch.cuda.get_device_name() if cuda else "CPU"
        asked.out.write_text(json.dumps({**head, "card": card, "torch": torch.__version__, "measured": rows}))


def of_layers(asked: argparse.Namespace, cuda: bool) -> list[dict[str, Any]]:
    """A row for each way to run the layers: milliseconds and MiB of one layer and one pass."""
    device = Device("cuda", "bf16") if cuda else Device("cpu", "fp32")
    spec = parse_spec({"model": asked.shape, "data": "none", "method": "lora", "lora": {"rank": 16}})
    print("| layers | ms | host ms | kept MiB | on top MiB |\n|---|---|---|---|---|")
    found = []
    for name, hold, compiled, extra in (
        ("as they are, autograd's own", None, False, ""),
        ("as they are, narrow kept", Hold.NARROW, False, ""),
        ("as they are, input kept", Hold.INPUT, False, ""),
        ("compiled, all kept", Hold.ALL, True, ""),
        ("compiled, all kept, recorded", Hold.ALL, True, "graphs"),
        ("compiled, narrow kept", Hold.NARROW, True, ""),
        ("compiled, input kept", Hold.INPUT, True, ""),
        ("compiled, narrow in the host", Hold.WIDE, True, "host"),
        ("compiled, narrow in the host, wide again", Hold.HOST, True, "host"),
    ):
        if extra and not cuda:
            continue
        torch.compiler.reset()
        config, _ = describe(asked.shape, DEMO)
        config.num_hidden_layers = asked.layers
        shape = shape_from_config(asked.shape, config.to_dict())
        model = models.with_adapters(fresh(config, device), spec, device).train()
        layers = decoder_layers(model)
        body = model.get_base_model().base_model
        body.register_forward_pre_hook(Rounded(model, device.dtype).refresh)
        learned = [one for one in model.parameters() if one.requires_grad]
        widest = widest_narrow(shape.hidden, shape.heads, shape.head_dim)
        graphs = Graphs(learned, device.dtype) if extra == "graphs" else None
        host = Host(model.parameters(), widest) if extra == "host" else None
        if hold is not None:
            holder = Holder(widest, compiled=compiled, random=False, loose=False, host=host, graphs=graphs)
            holder.take_all(layers, [hold] * len(layers))
        row = {"layers": name, **passes(body, shape.vocab, learned, graphs, asked, device)}
        found.append(row)
        kept, top = (f"{row[one]:,.0f}" if cuda else "" for one in ("kept", "on_top"))
        print(f"| {name} | {row['ms']:.2f} | {row['host_ms']:.2f} | {kept} | {top} |", flush=True)
        del model, body, layers, learned, graphs, host
    return found


def fresh(config: Any, device: Device) -> Any:
    from transformers import AutoModelForCausalLM

    with torch.device(device.kind):
        return AutoModelForCausalLM.from_config(config, dtype=device.dtype)


def passes(
    body: Any,
    vocab: int,
    learned: list[Any],
    graphs: Graphs | None,
    asked: argparse.Namespace,
    device: Device,
) -> dict[str, float]:
    """ms, and of them until the host had started all; MiB kept after the forward pass, and on top of that."""
    ids = torch.randint(0, vocab, (asked.rows, asked.length), device=device.kind)

    def one() -> tuple[float, float, int, int]:
        for weight in learned:
            weight.grad = None
        before = begin(device)
        begun = time.perf_counter()
        with device.autocast():
            hidden = body(input_ids=ids, use_cache=False).last_hidden_state
        kept = allocated(device) - before
        hidden.backward(torch.full_like(hidden, 1e-4))
        started = time.perf_counter() - begun
        end(device)
        seconds = time.perf_counter() - begun
        peak = torch.cuda.max_memory_allocated() if device.kind == "cuda" else 0
        return seconds, started, kept, peak - before - kept

    one()
    if graphs:
        graphs.on = True
        one()
    made = [one() for _ in range(asked.passes)]
    middle = [statistics.median(values) for values in zip(*made, strict=True)]
    seconds, started, kept, on_top = (value / asked.layers for value in middle)
    return {
        "ms": 1000 * seconds,
        "host_ms": 1000 * started,
        "kept": kept / MIB,
        "on_top": on_top * asked.layers / MIB,
    }


def of_head(asked: argparse.Namespace, cuda: bool) -> list[dict[str, Any]]:
    """The loss of a pass's tokens over the shape's vocabulary, with the gradient of the hidden states."""
    config, _ = describe(asked.shape, DEMO)
    kind, dtype = ("cuda", torch.bfloat16) if cuda else ("cpu", torch.float32)
    count = asked.rows * asked.length
    hidden = torch.randn(count, config.hidden_size, device=kind, dtype=dtype, requires_grad=True)
    weight = torch.randn(config.vocab_size, config.hidden_size, device=kind, dtype=dtype) * 0.02
    targets = torch.randint(0, config.vocab_size, (count,), device=kind)
    at = torch.arange(count, device=kind)
    ours = {how: Head(how) for how in (True, False)}

    def trl() -> torch.Tensor:
        from trl.kernels.chunked_logprob import ChunkedLogProbFunction

        made = ChunkedLogProbFunction.apply(hidden, weight, None, targets, 1.0, 32768, None, 1.0, ())
        return -made[0].sum() / count

    def whole() -> torch.Tensor:
        return cross_entropy((hidden @ weight.t()).float(), targets)

    print("\n| loss | ms | on top MiB |\n|---|---|---|")
    found = []
    ways: tuple[tuple[str, Callable[[], torch.Tensor]], ...] = (
        ("the engine's, compiled", lambda: ours[True](hidden, weight, None, at, targets, None, float(count))),
        ("the engine's", lambda: ours[False](hidden, weight, None, at, targets, None, float(count))),
        ("TRL's", trl),
        ("all logits at once", whole),
    )
    for name, way in ways:
        try:
            row = {"loss": name, **loss(way, hidden, asked.passes, cuda)}
        except (RuntimeError, TypeError) as error:  # too large for the card, or another TRL's
            print(f"| {name} | {str(error).splitlines()[0][:60]} | |")
            continue
        found.append(row)
        print(f"| {name} | {row['ms']:.1f} | {row['on_top']:,.0f} |", flush=True)
    return found


def loss(way: Callable[[], torch.Tensor], hidden: torch.Tensor, passes: int, cuda: bool) -> dict[str, float]:
    device = Device("cuda" if cuda else "cpu", "bf16" if cuda else "fp32")
    took, peaks = [], []
    for _ in range(passes + 1):
        hidden.grad = None
        before = begin(device)
        begun = time.perf_counter()
        way().backward()
        end(device)
        took.append(time.perf_counter() - begun)
        peaks.append((torch.cuda.max_memory_allocated() if cuda else 0) - before)
    return {"ms": 1000 * statistics.median(took[1:]), "on_top": statistics.median(peaks[1:]) / MIB}


def begin(device: Device) -> int:
    """Bytes that stand when all that was started is done; from here on the peak is counted."""
    end(device)
    if device.kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
    return allocated(device)


def end(device: Device) -> None:
    if device.kind == "cuda":
        torch.cuda.synchronize()


def allocated(device: Device) -> int:
    return int(torch.cuda.memory_allocated()) if device.kind == "cuda" else 0


if __name__ == "__main__":
    main()
