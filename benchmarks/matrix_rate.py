"""What the card multiplies at: the rate of square matrix products, measured in a process of its own."""

import statistics
import time
from typing import Any

from core.job import Progress, serve

SIZE = {"cuda": 8192, "cpu": 512}
GROUPS, EACH = 7, 20


def measure(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """{"rate": operations a second (median of groups of products), "card", "torch", "cuda"}.

    bf16 on a CUDA card, fp32 on a CPU; a product of n x n matrices is 2 n^3 operations.
    """
    import torch

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    size, dtype = SIZE[kind], torch.bfloat16 if kind == "cuda" else torch.float32
    left, right = (torch.randn(size, size, device=kind, dtype=dtype) for _ in range(2))
    rates = []
    for _ in range(GROUPS + 1):
        begun = time.perf_counter()
        for _ in range(EACH):
            left @ right
        if kind == "cuda":
            torch.cuda.synchronize()
        rates.append(EACH * 2 * size**3 / (time.perf_counter() - begun))
    return {
        "rate": statistics.median(rates[1:]),
        "card": torch.cuda.get_device_name() if kind == "cuda" else "CPU",
        "product": f"{size} x {size} in {'bf16' if kind == 'cuda' else 'fp32'}",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


if __name__ == "__main__":
    serve(measure)
