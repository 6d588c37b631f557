"""Chat templates: the model's own, a named one of ours, or a Jinja file; chosen, checked, and saved."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.data.chat_template.marks import Form, mark_all
from core.data.chat_template.named import ALSO_CALLED, fitting, source_of
from core.data.chat_template.named import NAMES as NAMES
from core.data.chat_template.named import NEEDS as NEEDS
from core.data.chat_template.named import lacking as lacking
from core.data.chat_template.rendering import DoesNotRender, render
from core.data.chat_template.skeleton import LeavesOut, NoSpan, Skeleton, of_forms, skeleton_of
from core.data.conversation import Message
from core.errors import UserError, nearest

# Switches of published templates that, off, put an empty thought into the generation prompt.
THINKING = ("enable_thinking", "thinking")

LOOK = {
    "description": "Looks something up.",
    "parameters": {
        "type": "object",
        "properties": {"what": {"type": "string", "description": "The name of it."}},
        "required": ["what"],
    },
}


@dataclass(frozen=True)
class Template:
    """`source` is what is rendered, trained with and saved: one text for all three."""

    name: str
    origin: Literal["model", "named", "file"]
    source: str
    end_token: str
    """What the model writes when it has finished."""
    end_ids: tuple[int, ...]
    """Ids that end an answer: the end token's first, then the tokenizer's own end of text."""
    why: str
    takes_system: bool = True
    warning: str = ""
    takes_tools: bool = False
    """Whether it writes tools on offer, calls and results; rows that have some are refused where not."""
    closing: str = ""
    """What it puts between an answer and the end token (mostly nothing); it is learned with it."""
    dated: str = ""
    """A warning, where what it writes depends on the day."""


def choose(name: str, tokenizer: Any, *, thoughtless: bool = False, tools: bool = False) -> Template:
    """The template called `name` ("auto", one of NAMES, or the path of a Jinja file), checked to work.

    `thoughtless`: the data's answers hold no thoughts, so a template that would have the model think
    before each answer gets its switch for that turned off, to ask as the rows answer. `tools`: they call
    tools, so a model without a template gets one that can write that, where its tokens allow.
    UserError: no such template, it does not render (with the line), the tokenizer lacks its tokens, or
    nothing ends an answer.
    """
    if name == "auto":
        if tokenizer.chat_template:
            own = _own(tokenizer)
            return _checked("own", "model", own, "the model's own", tokenizer, thoughtless)
        named, why = fitting(tokenizer, tools=tools)
        return _checked(named, "named", source_of(named), why, tokenizer, thoughtless)
    name = ALSO_CALLED.get(name, name)
    if name in NEEDS:
        lacks = lacking(name, tokenizer)
        if lacks:
            instead = fitting(tokenizer)[0]
            raise UserError(
                f"the template {name} does not suit this tokenizer",
                f"it has no single token for {', '.join(lacks)}",
                f"choose {instead}, which needs none that is missing",
            )
        return _checked(name, "named", source_of(name), "chosen by name", tokenizer, thoughtless)
    path = Path(name).expanduser()
    if not path.is_file():
        near = nearest(name, NAMES)
        raise UserError(
            f"there is no template {name}",
            f"it is neither a file nor one of {', '.join(NAMES)}",
            f"did you mean {near}?" if near else "choose one of these, auto, or a .jinja file",
        )
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read", str(error), "give a text file") from None
    return _checked(str(path), "file", source, "from a file", tokenizer, thoughtless)


def apply(template: Template, tokenizer: Any) -> None:
    """Make the tokenizer render and end as it was trained, wherever it is loaded after being saved."""
    tokenizer.chat_template = template.source
    tokenizer.eos_token = template.end_token


def generation_eos_ids(template: Template | None, tokenizer: Any) -> list[int]:
    """Every id that should stop generation. Without a template (plain text): the end of text."""
    ids = [*(template.end_ids if template else ()), tokenizer.eos_token_id]
    return list(dict.fromkeys(one for one in ids if one is not None))


def begins_with_bos(tokenizer: Any) -> bool:
    """Whether this tokenizer puts a beginning-of-text before plain text, so that the model expects one."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def fold_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The system message as the opening of the first question, for templates that take none."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return messages
    opening = Message("user", f"{messages[0].content}\n\n{messages[1].content}")
    return (opening, *messages[2:])


def _own(tokenizer: Any) -> str:
    """Some tokenizers carry several templates; the one called default is for plain chat."""
    own = tokenizer.chat_template
    return str(own.get("default") or next(iter(own.values())) if isinstance(own, dict) else own)


def _checked(
    name: str,
    origin: Literal["model", "named", "file"],
    source: str,
    why: str,
    tokenizer: Any,
    thoughtless: bool,
) -> Template:
    label = "the model's own template" if origin == "model" else f"the template {name}"
    skeleton = _skeleton(label, source, tokenizer)
    if begins_with_bos(tokenizer) and origin != "model" and not _begins(skeleton, tokenizer):
        source = "{{- bos_token -}}\n" + source
        skeleton = _skeleton(label, source, tokenizer)
    warning = ""
    if thoughtless and (skeleton.gap or not skeleton.prompt_fits):
        source, skeleton, switched = _without_thinking(source, skeleton, tokenizer)
        if switched:
            why += f"; saved with {switched} off unless asked for, as the data holds no thoughts"
    if not skeleton.prompt_fits:
        warning = f"{label} opens an answer differently in chat than in a finished conversation"
    elif skeleton.gap:
        warning = f"{label} puts {skeleton.gap!r} before each answer, which is not learned"
    elif _leaves_open(source, tokenizer):
        warning = f"{label} ends only the last answer of a conversation"
    bos = tokenizer.bos_token
    if bos and bos != tokenizer.eos_token and skeleton.pieces[0].startswith(bos * 2):
        raise UserError(f"{label} begins a text twice", f"it writes {bos}{bos}", "remove one of them")
    end = skeleton.slots[-1].end_token if skeleton.slots[-1].turn == 1 else None
    if end is None:
        after = skeleton.pieces[-1].strip()
        why = f"{after!r} is no single token of this tokenizer" if after else "nothing follows the words"
        raise UserError(f"{label} never ends an answer", why, f"choose --template {fitting(tokenizer)[0]}")
    ids = (tokenizer.convert_tokens_to_ids(end), tokenizer.eos_token_id)
    end_ids = tuple(dict.fromkeys(one for one in ids if one is not None))
    return Template(
        name,
        origin,
        source,
        end,
        end_ids,
        why,
        _takes_system(source, tokenizer),
        warning,
        _takes_tools(source, tokenizer),
        skeleton.ending.closing if skeleton.ending else "",
        f"{label} writes the date of the day: rows rendered tomorrow differ"
        if _is_dated(source, tokenizer)
        else "",
    )


def _skeleton(label: str, source: str, tokenizer: Any) -> Skeleton:
    """Of a question and its answer. UserError says where the template breaks."""
    try:
        return skeleton_of(("user", "assistant"), source, tokenizer)
    except DoesNotRender as problem:
        where = f"line {problem.line}: " if problem.line else ""
        raise UserError(
            f"{label} does not render", f"{where}{problem.why}", "mend it or choose another"
        ) from None
    except (NoSpan, LeavesOut) as problem:
        raise UserError(f"{label} cannot be used", str(problem), "choose another") from None


def _begins(skeleton: Skeleton, tokenizer: Any) -> bool:
    return skeleton.pieces[0].lstrip().startswith(tokenizer.bos_token)


def _without_thinking(source: str, skeleton: Skeleton, tokenizer: Any) -> tuple[str, Skeleton, str]:
    """The template with thinking off by default, if that makes chat and training text begin alike."""
    for switch in THINKING:
        if switch not in source:
            continue
        changed = f"{{%- if {switch} is not defined %}}{{% set {switch} = false %}}{{% endif -%}}\n{source}"
        try:
            found = skeleton_of(("user", "assistant"), changed, tokenizer)
        except (DoesNotRender, NoSpan, LeavesOut):
            continue
        if found.prompt_fits and not found.gap:
            return changed, found, switch
    return source, skeleton, ""


def _takes_system(source: str, tokenizer: Any) -> bool:
    try:
        skeleton = skeleton_of(("system", "user", "assistant"), source, tokenizer)
    except (DoesNotRender, NoSpan, LeavesOut):
        return False
    return any(slot.turn == 0 for slot in skeleton.slots)


def _leaves_open(source: str, tokenizer: Any) -> bool:
    """Whether an answer that is not the last has no end token."""
    try:
        skeleton = skeleton_of(("user", "assistant", "user", "assistant"), source, tokenizer)
    except (DoesNotRender, NoSpan, LeavesOut):
        return False
    return any(slot.closes and slot.end_token is None for slot in skeleton.slots)


def _takes_tools(source: str, tokenizer: Any) -> bool:
    forms = (Form("user"), Form("assistant", False, calls=(True,)), Form("tool", name=True, call_id=True))
    offered = json.dumps({"type": "function", "function": {"name": "look", **LOOK}})
    try:
        of_forms((*forms, Form("assistant")), (offered,), source, tokenizer)
    except (DoesNotRender, NoSpan, LeavesOut):
        return False
    return True


def _is_dated(source: str, tokenizer: Any) -> bool:
    """Whether it asks for the day: without its clock such a template does not render."""
    if "strftime_now" not in source:
        return False
    try:
        render(mark_all((Form("user"), Form("assistant")))[0], source, tokenizer, strftime_now=None)
    except DoesNotRender:
        return True
    return False
