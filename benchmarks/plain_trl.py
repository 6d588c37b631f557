"""One run as plain TRL trains it: `python -m benchmarks.plain_trl RUN_FOLDER KIND`.

For `benchmarks.same_as_trl`. Of finetui it takes the rows alone, as token ids with a mark on each learned
one. The rest is TRL's SFTTrainer, PEFT's own LoRA and the attention of transformers; nothing is compiled or
computed again. What is packed elsewhere is here a batch of documents, each padded to the longest.

KIND is `plain`, or one of two runs of the same mathematics with other roundings: `math`, whose attention is
computed by torch's plain kernel, and `halves`, whose steps are made of two passes with half of the rows each.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from core.data.rows import build
from core.data.tokenizer import load_tokenizer
from core.runs.folder import RunFolder
from core.spec import RunSpec
from core.train import ready
from core.train.batches import Packs, labels
from core.train.device import Device, choose, one_gpu
from core.train.model import keep_unpacked
from core.train.trainer import warmup_steps
from core.train.worker import EVALUATED_TOKENS, within

KINDS = ("plain", "math", "halves")
RESULT = "plain.json"


class Padded:
    """TRL's collator on the documents of a batch, which notes what it was given."""

    def __init__(self, pad: int):
        self._collate = DataCollatorForLanguageModeling(pad_token_id=pad)
        self.seen: list[str] = []
        """Of each batch the digest of its documents' ids, in order. The loader may have looked ahead."""

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        documents = [document for one in examples for document in one["documents"]]
        self.seen.append(digest(document["input_ids"] for document in documents))
        batch: dict[str, Any] = self._collate(documents)
        return batch


def digest(documents: Any) -> str:
    return hashlib.sha1(json.dumps([list(ids) for ids in documents]).encode()).hexdigest()


class Noted(TrainerCallback):
    """Keeps what the trainer logs of each step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.tokens: list[int] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))
            self.norms.append(float(logs["grad_norm"]))
            self.tokens.append(int(logs["num_tokens"]))


def train(run: RunFolder, kind: str) -> dict[str, Any]:
    """The course of the run in that folder, whose adapters are saved as the run's.

    `losses`, `norms` and `tokens` so far, one a step; `held_out`, nats a learned token after the last step;
    `seen`, a digest of each batch; `versions`, `device`.
    """
    ready.calm_libraries(run)
    spec = run.spec()
    device = choose(spec)  # and with it leaves out the kernels that plan each length anew: they cost minutes
    tokenizer = load_tokenizer(spec.model, None)
    built = build(spec, tokenizer, lambda *_: None, run.path)
    train_on = Packs(built.train, spec.length or 0) if spec.packing else [[row] for row in built.train]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    collate, noted = Padded(pad or 0), Noted()
    set_seed(spec.seed)
    trainer = SFTTrainer(
        model=model_of(spec, device),
        args=settings(spec, run, device, kind),
        train_dataset=Dataset.from_list([{"documents": [as_plain(row) for row in one]} for one in train_on]),
        processing_class=tokenizer,
        data_collator=collate,
        callbacks=[noted],
    )
    for weight in trainer.model.parameters():
        if weight.requires_grad and spec.method == "qlora":
            # TRL makes adapters over four bits bf16, in which the smaller half of their steps rounds away
            weight.data = weight.data.float()
    with sdpa_kernel(SDPBackend.MATH) if kind == "math" else contextlib.nullcontext():
        trainer.train()
        held_out = within(built.eval or [], EVALUATED_TOKENS[device.kind])
        loss = held_out_loss(trainer.model, held_out, collate, device, spec.batch or 1)
    if spec.method != "full":
        trainer.model.save_pretrained(run.adapter, save_embedding_layers=False)
    course = {"losses": noted.losses, "norms": noted.norms, "tokens": noted.tokens}
    versions = ready.library_versions()
    return {**course, "held_out": loss, "seen": collate.seen, "versions": versions, "device": name_of(device)}


def as_plain(row: dict[str, Any]) -> dict[str, Any]:
    return {"input_ids": row["input_ids"], "labels": labels(row)}


def model_of(spec: RunSpec, device: Device) -> Any:
    options: dict[str, Any] = {
        "dtype": device.dtype,
        "device_map": {"": 0 if device.kind == "cuda" else "cpu"},
    }
    if spec.method == "qlora":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=device.dtype,
        )
    model = AutoModelForCausalLM.from_pretrained(spec.model, **options)
    if spec.method == "full":
        return model
    if spec.method == "qlora" and device.kind == "cpu":
        keep_unpacked(model)
    lora = spec.lora
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=spec.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
    )
    return get_peft_model(model, config)


def settings(spec: RunSpec, run: RunFolder, device: Device, kind: str) -> SFTConfig:
    parts = 2 if kind == "halves" else 1
    return SFTConfig(
        output_dir=str(run.path / "trl"),
        report_to="none",
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        seed=spec.seed,
        data_seed=spec.seed,
        per_device_train_batch_size=(spec.batch or 1) // parts,
        gradient_accumulation_steps=(spec.accumulate or 1) * parts,
        max_steps=spec.steps or -1,
        learning_rate=spec.learning_rate or 0.0,
        lr_scheduler_type=spec.schedule,
        warmup_steps=warmup_steps(spec, spec.steps or 0),
        optim="adamw_torch_fused",
        weight_decay=spec.weight_decay,
        max_grad_norm=spec.clip,
        bf16=device.precision == "bf16",
        use_cpu=device.kind == "cpu",
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        eval_strategy="no",
        disable_tqdm=True,
    )


@torch.no_grad()
def held_out_loss(model: Any, rows: Sequence[Any], collate: Any, device: Device, batch: int) -> float | None:
    """Mean nats a learned token, by the logits themselves; None where no row is held out."""
    model.eval()
    total, count = 0.0, 0
    for some in batches(rows, batch):
        inputs = collate([{"documents": [as_plain(row)]} for row in some])
        inputs = {name: one.to(model.device) for name, one in inputs.items()}
        answers = inputs.pop("labels")[:, 1:]
        with device.autocast():
            scores = model(**inputs, use_cache=False).logits[:, :-1].float()
        total += float(torch.nn.functional.cross_entropy(scores.transpose(1, 2), answers, reduction="sum"))
        count += int((answers >= 0).sum())
    return total / count if count else None


def batches(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def name_of(device: Device) -> str:
    return torch.cuda.get_device_name() if device.kind == "cuda" else "a CPU"


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[2] not in KINDS:
        sys.exit(f"usage: python -m benchmarks.plain_trl RUN_FOLDER {{{','.join(KINDS)}}}")
    run = RunFolder(Path(sys.argv[1]).absolute())
    one_gpu()
    (run.path / RESULT).write_text(json.dumps(train(run, sys.argv[2])), encoding="utf-8")


if __name__ == "__main__":
    main()
