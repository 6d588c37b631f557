"""Pre-trains the demo's base model on the text of make_text.py and writes it to core/demo/model/.

    python -m core.demo.make_model                 all of it: two minutes on a GPU, an hour on two cores
    python -m core.demo.make_model --minutes 5     five minutes of it; call again to go on

Same seed and same machine: same model. The result is bfloat16, of Llama's architecture, with its own
byte-level BPE tokenizer and no chat template: it goes on with a text and does no more.
"""

import argparse
import itertools
import math
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from core.demo.make_text import documents

HERE = Path(__file__).parent
SEED = 11
VOCABULARY = 2048
CONTEXT = 256
SPECIAL = ["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
SHAPE = {
    "hidden_size": 256,
    "intermediate_size": 640,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}
BATCH = 32  # rows of CONTEXT tokens
RATE = 3e-3
WARMUP = 100  # steps


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, trained on text that the model will not be trained on."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(itertools.islice(documents(SEED), 20_000), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|endoftext|>",
        pad_token="<|pad|>",
        model_max_length=CONTEXT,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SHAPE,
    )
    model = LlamaForCausalLM(config)
    # Tokens that the text never shows are only ever pushed away, all in one direction: they would end as
    # one vector, and no adapter could tell the end of a turn from its beginning. So they start far apart.
    with torch.no_grad():
        model.get_input_embeddings().weight[: len(SPECIAL)].normal_(std=0.1)
    return model


def rows(tokenizer: PreTrainedTokenizerFast, step: int) -> torch.Tensor:
    """The batch of one step, shape (BATCH, CONTEXT): fresh documents end to end, never seen twice."""
    ids: list[int] = []
    for document in documents(SEED * 1_000_000 + step):
        ids += [*tokenizer(document)["input_ids"], tokenizer.eos_token_id]
        if len(ids) >= BATCH * CONTEXT:
            break
    return torch.tensor(ids[: BATCH * CONTEXT]).view(BATCH, CONTEXT)


def rate(step: int, steps: int) -> float:
    """Linear up, then a cosine down to a tenth."""
    if step < WARMUP:
        return RATE * (step + 1) / WARMUP
    return RATE * (0.55 + 0.45 * math.cos(math.pi * (step - WARMUP) / max(1, steps - WARMUP)))


def pretrain(steps: int, minutes: float, work: Path, folder: Path) -> bool:
    """Goes on from `work`; True when all steps are done and the model is written."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = make_tokenizer()
    model = make_model(tokenizer).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.05)
    state_file, first = work / "state.pt", 0
    if state_file.exists():
        state: dict[str, Any] = torch.load(state_file, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    started = time.monotonic()
    step = first
    while step < steps and time.monotonic() - started < minutes * 60:
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps)
        batch = rows(tokenizer, step).to(device)
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 25 == 0 or step == steps:
            seconds = time.monotonic() - started
            speed = (step - first) * BATCH * CONTEXT / seconds
            print(f"step {step}/{steps}  loss {loss.item():.3f}  {speed:,.0f} tokens/s", flush=True)
    if step < steps:
        work.mkdir(parents=True, exist_ok=True)
        torch.save(
            {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, state_file
        )  # fmt: skip
        return False
    model.to("cpu", dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return True


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--steps", type=int, default=2500)
    asked.add_argument("--minutes", type=float, default=math.inf)
    asked.add_argument("--work", type=Path, default=Path("build/demo"))
    asked.add_argument("--to", type=Path, default=HERE / "model")
    given = asked.parse_args()
    done = pretrain(given.steps, given.minutes, given.work, given.to)
    print(f"written to {given.to}" if done else "not done yet: call again to go on")
