"""What attention costs at lengths not seen before, with cuDNN's kernels and without (needs a CUDA card).

    python -m benchmarks.attention

Forward and backward of one layer, 8 rows x 32 heads x 128, bf16, in milliseconds: first at fresh lengths of
about 1,000 tokens, then at the same lengths again. `core.train.device.take_any_length` rests on this.
"""

import time

import torch

FRESH = {False: range(1000, 1040, 5), True: range(1003, 1043, 5)}
"""Lengths without a mask and with one; none is in both."""


def times(lengths: range, masked: bool) -> list[float]:
    """Milliseconds at each length."""
    took = []
    for length in lengths:
        parts = [
            torch.randn(8, 32, length, 128, device="cuda", dtype=torch.bfloat16, requires_grad=True)
            for _ in range(3)
        ]
        mask = torch.ones(8, 1, length, length, device="cuda", dtype=torch.bool).tril() if masked else None
        torch.cuda.synchronize()
        begun = time.perf_counter()
        out = torch.nn.functional.scaled_dot_product_attention(*parts, attn_mask=mask, is_causal=not masked)
        out.sum().backward()
        torch.cuda.synchronize()
        took.append(round((time.perf_counter() - begun) * 1000, 1))
    return took


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("this measures kernels of a CUDA card, and torch sees none")
    print(torch.__version__, torch.cuda.get_device_name())
    for on in (True, False):
        torch.backends.cuda.enable_cudnn_sdp(on)
        for masked, lengths in FRESH.items():
            name = f"cuDNN {'on ' if on else 'off'} {'masked' if masked else 'causal'}"
            print(f"{name}  fresh {times(lengths, masked)}  again {times(lengths, masked)}", flush=True)


if __name__ == "__main__":
    main()
