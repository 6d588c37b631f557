"""Writes a folder with a real architecture and random weights: `python -m benchmarks.random_model SHAPE OUT`.

Speed and memory do not care what the weights say, so a box without network can measure a shape of
eight billion parameters. The tokenizer is the one given (default: the bundled demo model's).
"""

import sys
from pathlib import Path
from typing import Any

DEMO = Path(__file__).resolve().parent.parent / "core" / "demo" / "model"
SHAPES: dict[str, tuple[str, int, int, int, int, int, int, bool]] = {
    # architecture, hidden, intermediate, layers, heads, key-value heads, vocabulary, tied
    "llama-3.1-8b": ("llama", 4096, 14336, 32, 32, 8, 128_256, False),
    "llama-3.2-3b": ("llama", 3072, 8192, 28, 24, 8, 128_256, True),
    "llama-3.2-1b": ("llama", 2048, 8192, 16, 32, 8, 128_256, True),
    "mistral-7b": ("mistral", 4096, 14336, 32, 32, 8, 32_768, False),
    "qwen2.5-0.5b": ("qwen2", 896, 4864, 24, 14, 2, 151_936, True),
    "qwen2.5-1.5b": ("qwen2", 1536, 8960, 28, 12, 2, 151_936, True),
    "qwen2.5-14b": ("qwen2", 5120, 13824, 48, 40, 8, 152_064, False),
    "gemma-2-9b": ("gemma2", 3584, 14336, 42, 16, 8, 256_000, True),
    "qwen3-moe-4b": ("qwen3_moe", 2048, 6144, 24, 32, 4, 151_936, True),
    "tiny": ("llama", 64, 128, 2, 4, 2, 4096, True),
}
OWN: dict[str, tuple[float, int, float, dict[str, Any]]] = {
    # epsilon of the norms, context, base of the rotation, and what else a family has of its own
    "llama": (1e-5, 131_072, 500_000.0, {}),
    "mistral": (1e-5, 32_768, 1_000_000.0, {"sliding_window": None}),
    "qwen2": (1e-6, 32_768, 1_000_000.0, {}),
    "gemma2": (1e-6, 8192, 10_000.0, {"head_dim": 256}),
    # an eighth of Qwen3-30B-A3B: half its layers, a quarter of its experts
    "qwen3_moe": (
        1e-6,
        40_960,
        1_000_000.0,
        {"head_dim": 128, "num_experts": 32, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
    ),
}


def describe(shape: str, tokenizer: Path) -> tuple[Any, Any]:
    """The shape's config, and the tokenizer of a folder."""
    from transformers import AutoConfig, AutoTokenizer

    architecture, hidden, intermediate, layers, heads, kv_heads, vocab, tied = SHAPES[shape]
    epsilon, context, base, own = OWN[architecture]
    words = AutoTokenizer.from_pretrained(tokenizer)
    config = AutoConfig.for_model(
        architecture,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocab,
        tie_word_embeddings=tied,
        rms_norm_eps=epsilon,
        max_position_embeddings=context,
        rope_parameters={"rope_type": "default", "rope_theta": base},
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        dtype="bfloat16",
        **own,
    )
    return config, words


def make(shape: str, out: Path, tokenizer: Path) -> None:
    """The folder `out` with config, bf16 weights in shards, and the tokenizer of the folder `tokenizer`."""
    import torch
    from transformers import AutoModelForCausalLM

    config, words = describe(shape, tokenizer)
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(out, max_shard_size="4GB")
    words.save_pretrained(out)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in SHAPES:
        sys.exit(f"usage: python -m benchmarks.random_model {{{','.join(SHAPES)}}} OUT [TOKENIZER_FOLDER]")
    make(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) == 4 else DEMO)
