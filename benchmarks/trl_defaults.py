"""What a user of TRL gets who sets nothing: a process of its own that trains and times each step.

The model is given by name, and of SFTConfig only what the comparison needs is set: rows at a time, length,
steps, no checkpoint, and a log of each step, from which its tokens are read. Adapters are PEFT's LoraConfig
as it is. What TRL and PEFT choose then (float32 weights, recompute, the matrices that get an adapter) is
what is measured.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from core.job import Progress, serve


def train(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """{"steps": [[seconds since the first began, tokens so far], …], "peak": bytes or None}.

    `request`: model, data (a JSONL of `text`), method (full or lora), batch, length, steps, skip. The peak
    is torch's, of the steps after the first `skip`.
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    on_gpu = torch.cuda.is_available()
    steps: list[tuple[float, float]] = []

    class Clock(TrainerCallback):
        begun = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.begun = time.monotonic()

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
        ) -> None:
            if not logs or "loss" not in logs:
                return
            if on_gpu:
                torch.cuda.synchronize()
            steps.append((time.monotonic() - self.begun, logs["num_tokens"]))
            if on_gpu and len(steps) == request["skip"]:
                torch.cuda.reset_peak_memory_stats()

    with tempfile.TemporaryDirectory() as out:
        settings = SFTConfig(
            output_dir=out,
            per_device_train_batch_size=request["batch"],
            max_length=request["length"],
            max_steps=request["steps"],
            logging_steps=1,
            save_strategy="no",
            disable_tqdm=True,
            **({} if on_gpu else {"use_cpu": True, "bf16": False}),
        )
        lines = Path(request["data"]).read_text(encoding="utf-8").splitlines()
        trainer = SFTTrainer(
            model=request["model"],
            args=settings,
            train_dataset=Dataset.from_list([json.loads(line) for line in lines]),
            peft_config=LoraConfig(task_type="CAUSAL_LM") if request["method"] == "lora" else None,
            callbacks=[Clock()],
        )
        trainer.train()
    return {"steps": steps, "peak": int(torch.cuda.max_memory_allocated()) if on_gpu else None}


if __name__ == "__main__":
    serve(train)
