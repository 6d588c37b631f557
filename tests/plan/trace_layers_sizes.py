"""Sizes of the layers that are traced: small, and with fewer heads for keys than for queries."""

from typing import Any

SIZES: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 896,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 64,
    "max_position_embeddings": 512,
    "use_cache": False,
}
