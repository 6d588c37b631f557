"""What a run came to, on rows that it never saw: held-out loss of base and tuned, and whether answers end.

    python -m benchmarks.learns RUN_FOLDER [RUN_FOLDER …] [--rows 100] [--tokens 256] [--out FILE.md]

The rows are those that the run itself held out. Every question is asked as the chat asks it, the likeliest
token each time; an answer ends by itself when an end token comes before `--tokens` or the model's context
are used up. A base without a chat template is asked through the run's.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from core.chat import weights as loaded
from core.data.rows import build
from core.data.tokenizer import load_tokenizer
from core.runs.folder import RunFolder

BATCH = 32


def batches(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@torch.no_grad()
def loss(weights: loaded.Weights, side: Any, rows: Sequence[Any]) -> float:
    """Mean nats a learned token of `rows` ({"input_ids", "learned"})."""
    model, total, count = weights.voice(side).model, 0.0, 0
    for batch in batches(rows, 8):
        longest = max(len(row["input_ids"]) for row in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask, learned = torch.zeros_like(ids), torch.zeros_like(ids)
        for place, row in enumerate(batch):
            width = len(row["input_ids"])
            ids[place, :width] = torch.tensor(row["input_ids"])
            learned[place, :width] = torch.tensor(row["learned"])
            mask[place, :width] = 1
        ids, mask, learned = (one.to(model.device) for one in (ids, mask, learned))
        with weights.speaking(side):
            scores = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        nats = torch.nn.functional.cross_entropy(scores.transpose(1, 2), ids[:, 1:], reduction="none")
        total += float((nats * learned[:, 1:]).sum())
        count += int(learned[:, 1:].sum())
    return total / max(count, 1)


@torch.no_grad()
def endings(weights: loaded.Weights, side: Any, rows: Sequence[Any], most: int) -> tuple[int, int, int]:
    """Questions asked, answers that ended by themselves, and the tokens of all answers."""
    voice = weights.voice(side)
    ends = torch.tensor(sorted(voice.ends), device=voice.model.device)
    asked = [row["input_ids"][: list(row["learned"]).index(1)] for row in rows if 1 in list(row["learned"])]
    asked = [list(ids) for ids in asked if len(ids) > 1 and len(ids) < (voice.context or 1 << 30) * 3 // 4]
    ended = tokens = 0
    for batch in batches(sorted(asked, key=len), BATCH):
        longest = max(map(len, batch))
        room = min(most, (voice.context or 1 << 30) - longest)
        pad = min(voice.ends)
        ids = torch.tensor([[pad] * (longest - len(one)) + one for one in batch], device=voice.model.device)
        mask = torch.tensor(
            [[0] * (longest - len(one)) + [1] * len(one) for one in batch], device=voice.model.device
        )
        with weights.speaking(side):
            out = voice.model.generate(
                ids,
                attention_mask=mask,
                max_new_tokens=room,
                do_sample=False,
                eos_token_id=sorted(voice.ends),
                pad_token_id=pad,
            )
        said = out[:, longest:]
        over = torch.isin(said, ends)
        ended += int(over.any(dim=1).sum())
        tokens += int((over.cumsum(dim=1) == 0).sum())
    return len(asked), ended, tokens


def measure(run: RunFolder, rows: int, most: int) -> list[str]:
    """A line of the table."""
    spec = run.spec()
    result = run.result()
    if result is None:
        raise SystemExit(f"{run.name} has no result yet")
    built = build(spec, load_tokenizer(spec.model, spec.revision), lambda *_: None)
    held = list(built.eval or [])[:rows]
    weights = loaded.load_run(run, None, lambda *_, **__: None)
    line = [run.name, f"{len(built.train):,}", f"{len(held)}"]
    for side in weights.sides[::-1]:
        line.append(f"{loss(weights, side, held):.2f}")
    for side in weights.sides[::-1]:
        count, ended, tokens = endings(weights, side, held, most)
        line.append(
            f"{ended} of {count} ({ended / max(count, 1):.0%}), {tokens / max(count, 1):.0f} tokens each"
        )
    report = json.loads((run.path / "report.json").read_text())
    line.append(f"{report['steps']} steps, {report['seconds']:.0f} s")
    return line


HEAD = ["run", "rows", "held out", "loss of base", "of tuned", "base ends", "tuned ends", "trained"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lines = [HEAD, ["---"] * len(HEAD)]
    for path in given.runs:
        begun = time.monotonic()
        lines.append(measure(RunFolder(path.absolute()), given.rows, given.tokens))
        print(" | ".join(lines[-1]), f"({time.monotonic() - begun:.0f} s)", flush=True)
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    print(table)
    if given.out:
        given.out.write_text(f"# What runs came to on rows they never saw\n\n{made_on(given)}\n\n{table}")


def made_on(given: argparse.Namespace) -> str:
    """Where and with what the table was made."""
    place = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft"))
    return (
        f"Made by `python -m benchmarks.learns` on {place} with {libraries}; at most {given.rows} "
        f"held-out rows a run, answers of at most {given.tokens} tokens, the likeliest token each time."
    )


if __name__ == "__main__":
    main()
