"""Renders messages through a chat template, by the very call that transformers and vLLM make."""

from collections.abc import Sequence
from typing import Any

import jinja2

from core.data.conversation import Message


class DoesNotRender(Exception):
    """The template raised. `line` counts from 1 in the template; None: not known."""

    def __init__(self, why: str, line: int | None):
        super().__init__(why)
        self.why, self.line = why, line


def render(
    messages: Sequence[Message], source: str, tokenizer: Any, *, generation: bool = False, **options: Any
) -> str:
    """The text that the model sees, up to where an answer begins if `generation`. Raises DoesNotRender.

    Special tokens stand in the text as the template writes them; nothing is added when it is tokenised.
    """
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    try:
        return str(
            tokenizer.apply_chat_template(
                turns, chat_template=source, tokenize=False, add_generation_prompt=generation, **options
            )
        )
    except jinja2.TemplateSyntaxError as error:
        raise DoesNotRender(error.message or "syntax error", error.lineno) from None
    except Exception as error:  # a template is a program of its own: it may raise anything
        raise DoesNotRender(str(error) or type(error).__name__, _line(error)) from None


def _line(error: BaseException) -> int | None:
    """Where in the template: jinja gives the frames of rendered code the template's name and lines."""
    frame, line = error.__traceback__, None
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == "<template>":
            line = frame.tb_lineno
        frame = frame.tb_next
    return line
