"""Whether a mixture's routers learn to use all experts alike: as the model's own config says, and no other.

TRL adds that loss to every mixture whose config has a weight for it, and writes so into the config. Then
transformers watches each router and each attention by a hook, which torch's compiler gives up on, and the
model that is saved gives out its routers' numbers ever after.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

ASKED, WEIGHT = "output_router_logits", "router_aux_loss_coef"


def balanced(model: Any) -> bool:
    """Whether the model's config asks for that loss."""
    return bool(getattr(model.config.get_text_config(), ASKED, False))


@contextlib.contextmanager
def as_configured(model: Any, args: Any) -> Iterator[None]:
    """While a trainer of TRL is made: what it makes of the config is put back, and `args` ask for no such
    loss unless the config does."""
    config = model.config.get_text_config()
    own = {name: getattr(config, name) for name in (ASKED, WEIGHT) if hasattr(config, name)}
    if not balanced(model):
        setattr(args, WEIGHT, 0.0)
    yield
    for name, value in own.items():
        setattr(config, name, value)
