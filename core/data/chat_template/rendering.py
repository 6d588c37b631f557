"""Renders messages through a chat template, by the very call that transformers and vLLM make."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jinja2

from core.data.conversation import Message, as_turns


class DoesNotRender(Exception):
    """The template raised. `line` counts from 1 in the template; None: not known."""

    def __init__(self, why: str, line: int | None):
        super().__init__(why)
        self.why, self.line = why, line


def render(
    messages: Sequence[Message],
    source: str,
    tokenizer: Any,
    *,
    tools: tuple[str, ...] = (),
    generation: bool = False,
    **options: Any,
) -> str:
    """The text that the model sees, up to where an answer begins if `generation`. Raises DoesNotRender.

    `tools`: JSON text of each tool's schema. Special tokens stand in the text as the template writes them;
    nothing is added when it is tokenised.
    """
    try:
        return str(
            tokenizer.apply_chat_template(
                as_turns(tuple(messages)),
                tools=list(schemas(tools)) or None,
                chat_template=source,
                tokenize=False,
                add_generation_prompt=generation,
                **options,
            )
        )
    except jinja2.TemplateSyntaxError as error:
        raise DoesNotRender(error.message or "syntax error", error.lineno) from None
    except Exception as error:  # a template is a program of its own: it may raise anything
        raise DoesNotRender(str(error) or type(error).__name__, _line(error)) from None


@lru_cache(maxsize=256)
def schemas(tools: tuple[str, ...]) -> tuple[dict[str, Any], ...]:
    """The tools as templates take them; not to be changed."""
    return tuple(json.loads(one) for one in tools)


def _line(error: BaseException) -> int | None:
    """Where in the template: jinja gives the frames of rendered code the template's name and lines."""
    frame, line = error.__traceback__, None
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == "<template>":
            line = frame.tb_lineno
        frame = frame.tb_next
    return line
