"""Writes a folder with a real architecture and random weights: `python -m benchmarks.random_model SHAPE OUT`.

Speed and memory do not care what the weights say, so a box without network can measure a shape of
eight billion parameters. The tokenizer is the one given (default: the bundled demo model's).
"""

import sys
from pathlib import Path

SHAPES = {
    # hidden, intermediate, layers, heads, key-value heads, vocabulary, tied
    "llama-3.1-8b": (4096, 14336, 32, 32, 8, 128_256, False),
    "llama-3.2-3b": (3072, 8192, 28, 24, 8, 128_256, True),
    "llama-3.2-1b": (2048, 8192, 16, 32, 8, 128_256, True),
    "tiny": (64, 128, 2, 4, 2, 4096, True),
}


def make(shape: str, out: Path, tokenizer: Path) -> None:
    """The folder `out` with config, bf16 weights in shards, and the tokenizer of the folder `tokenizer`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    hidden, intermediate, layers, heads, kv_heads, vocab, tied = SHAPES[shape]
    words = AutoTokenizer.from_pretrained(tokenizer)
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocab,
        tie_word_embeddings=tied,
        max_position_embeddings=131_072,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        dtype="bfloat16",
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(out, max_shard_size="4GB")
    words.save_pretrained(out)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in SHAPES:
        sys.exit(f"usage: python -m benchmarks.random_model {{{','.join(SHAPES)}}} OUT [TOKENIZER_FOLDER]")
    demo = Path(__file__).resolve().parent.parent / "core" / "demo" / "model"
    make(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) == 4 else demo)
