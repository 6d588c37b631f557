"""Where a run computes and in which number format: decided once, before the model is loaded.

| here | precision | base weights | what is trained | computed in |
|---|---|---|---|---|
| no GPU | fp32 | fp32 | fp32 | fp32 |
| GPU, compute capability >= 8.0 | bf16 | bf16 | full: bf16; adapters: fp32 | bf16 (autocast) |
| older GPU | fp16 | full: fp32; else fp16 | fp32, with a loss scaler | fp16 (autocast) |
| any GPU | fp32 | fp32 | fp32 | fp32 |
"""

import contextlib
import os
from dataclasses import dataclass
from typing import Any

from core.errors import UserError
from core.spec import RunSpec

BF16_CAPABILITY = (8, 0)
ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Variables by which a user tells torch's allocator what to do."""
SOME = 4 * 2**20
"""Bytes that are asked for to see whether the driver can."""


@dataclass(frozen=True)
class Device:
    kind: str
    """cuda or cpu."""
    precision: str
    """bf16, fp16 or fp32: what matrices are multiplied in."""

    @property
    def dtype(self) -> Any:
        """The torch dtype of `precision`."""
        import torch

        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[self.precision]

    def autocast(self) -> Any:
        """A context in which a model of `core.train.model` may be called outside the trainer.

        Its cache is for weights in fp32, which are many in fp16 alone; a recorded pass may not have one.
        """
        import torch

        enabled, cached = self.precision != "fp32", self.precision == "fp16"
        return torch.autocast(self.kind, dtype=self.dtype, enabled=enabled, cache_enabled=cached)


def one_gpu() -> list[str]:
    """Leaves the first of the visible GPUs visible, before torch looks; returns those left out.

    A model is trained on one device in this version.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as NVML counts them
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = "0"
        return []
    first, *others = visible.split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = first
    return others


def choose(spec: RunSpec) -> Device:
    """The device that torch has, with the precision of the spec. UserError where it cannot do that."""
    import torch

    asked = spec.precision
    if not torch.cuda.is_available():
        if asked in ("bf16", "fp16"):
            raise UserError(
                f"the run was planned for a GPU in {asked}, but torch sees none",
                _why_no_gpu(),
                "look at: finetui doctor; or start it anew with precision: fp32 to train on the CPU",
                code=1,
            )
        return Device("cpu", "fp32")
    take_any_length()
    keep_memory_whole()
    capability = torch.cuda.get_device_capability()
    if asked == "bf16" and capability < BF16_CAPABILITY:
        raise UserError(
            f"{torch.cuda.get_device_name()} cannot train in bf16",
            f"that needs compute capability 8.0, it has {capability[0]}.{capability[1]}",
            "start the run anew with precision: fp16",
            code=1,
        )
    if asked == "auto":
        return Device("cuda", "bf16" if capability >= BF16_CAPABILITY else "fp16")
    return Device("cuda", asked)


def take_any_length() -> None:
    """Leaves out the attention kernels that must be planned anew for every length.

    Those are cuDNN's, which torch prefers on recent cards. They plan each shape once a thread: 40 ms for one
    token of an answer, 0.1 to 1.6 s for a training batch of a length not seen before (H200, torch 2.11,
    8 x 32 heads x 1,000 tokens), where the kernel itself then takes 1 ms, and those that stay take 1.5.
    The price: steps of an 8 B model whose rows all have one length are a sixth slower, see
    docs/measured/memory.md; `core.train.engine.setup` takes them again for a run of such rows.
    """
    import torch

    torch.backends.cuda.enable_cudnn_sdp(False)


def keep_memory_whole() -> None:
    """Lets torch's pool grow where it is, so that what is free of it can be used for whatever comes next.

    Else each piece that was asked of the driver stays a piece: where passes hold tensors of many sizes, and a
    layer's scores take a GiB at once, a card was full with a tenth of it free in pieces too small. What a
    user told torch of its allocator stands, and where the driver cannot (some shared cards) all stays as it
    is.
    """
    import torch

    if any(os.environ.get(name) for name in ALLOCATOR):
        return
    try:
        torch._C._accelerator_setAllocatorSettings("expandable_segments:True")
        torch.empty(SOME, dtype=torch.uint8, device="cuda")
    except (AttributeError, RuntimeError):
        with contextlib.suppress(AttributeError, RuntimeError):
            torch._C._accelerator_setAllocatorSettings("expandable_segments:False")


def _why_no_gpu() -> str:
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built for the CPU alone"
    return f"torch {torch.__version__} with CUDA {torch.version.cuda} finds no usable GPU or driver"
