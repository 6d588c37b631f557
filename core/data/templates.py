"""Chat templates: the model's own, a named one of ours, or a Jinja file; chosen, checked, and saved."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from core.data.conversation import Message
from core.data.rendering import DoesNotRender
from core.data.skeleton import LeavesOut, NoSpan, Skeleton, skeleton_of
from core.errors import UserError, nearest

# name -> the texts that must each be one token of the tokenizer; all but these and eos_token is plain text
NEEDS: dict[str, tuple[str, ...]] = {
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "llama-2": (),
    "llama-3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "mistral": (),
    "vicuna": (),
    "alpaca": (),
    "zephyr": (),
    "phi": ("<|user|>", "<|assistant|>", "<|end|>"),
    "instruct": (),
}
NAMES = tuple(NEEDS)

# Tried in this order for a model without a template: its unused tokens tell what it was made for.
PREFERRED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("chatml", NEEDS["chatml"]),
    ("llama-3", NEEDS["llama-3"]),
    ("phi", NEEDS["phi"]),
    ("mistral", ("[INST]", "[/INST]")),
)

# Switches of published templates that, off, put an empty thought into the generation prompt.
THINKING = ("enable_thinking", "thinking")


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


def choose(name: str, tokenizer: Any, *, thoughtless: bool = False) -> Template:
    """The template called `name` ("auto", one of NAMES, or the path of a Jinja file), checked to work.

    `thoughtless`: the data's answers hold no thoughts, so a template that would have the model think
    before each answer gets its switch for that turned off, to ask as the rows answer.
    UserError: no such template, it does not render (with the line), the tokenizer lacks its tokens, or
    nothing ends an answer.
    """
    if name == "auto":
        if tokenizer.chat_template:
            own = _own(tokenizer)
            return _checked("own", "model", own, "the model's own", tokenizer, thoughtless)
        named, why = _fitting(tokenizer)
        return _checked(named, "named", _named_source(named), why, tokenizer, thoughtless)
    if name in NEEDS:
        lacks = [text for text in NEEDS[name] if not is_one_token(text, tokenizer)]
        if lacks:
            instead = _fitting(tokenizer)[0]
            raise UserError(
                f"the template {name} does not suit this tokenizer",
                f"it has no single token for {', '.join(lacks)}",
                f"choose {instead}, which needs none that is missing",
            )
        return _checked(name, "named", _named_source(name), "chosen by name", tokenizer, thoughtless)
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


def is_one_token(text: str, tokenizer: Any) -> bool:
    """Whether this text, wherever it stands, is one id and no other text's."""
    if text not in (*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens):
        return False
    one = tokenizer.convert_tokens_to_ids(text)
    return one is not None and (one != tokenizer.unk_token_id or text == tokenizer.unk_token)


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


@cache
def _named_source(name: str) -> str:
    return (Path(__file__).parent / "templates" / f"{name}.jinja").read_text(encoding="utf-8")


def _own(tokenizer: Any) -> str:
    """Some tokenizers carry several templates; the one called default is for plain chat."""
    own = tokenizer.chat_template
    return str(own.get("default") or next(iter(own.values())) if isinstance(own, dict) else own)


def _fitting(tokenizer: Any) -> tuple[str, str]:
    for name, tokens in PREFERRED:
        if all(is_one_token(text, tokenizer) for text in tokens):
            return name, f"the model has no template, but already has the tokens of {name}"
    return "instruct", "the model has no template; this one needs no tokens of its own"


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
    bos = tokenizer.bos_token
    if bos and bos != tokenizer.eos_token and skeleton.pieces[0].startswith(bos * 2):
        raise UserError(f"{label} begins a text twice", f"it writes {bos}{bos}", "remove one of them")
    end = skeleton.slots[-1].end_token
    if end is None:
        after = skeleton.pieces[-1].strip()
        why = f"{after!r} is no single token of this tokenizer" if after else "nothing follows the words"
        raise UserError(f"{label} never ends an answer", why, f"choose --template {_fitting(tokenizer)[0]}")
    ids = (tokenizer.convert_tokens_to_ids(end), tokenizer.eos_token_id)
    end_ids = tuple(dict.fromkeys(one for one in ids if one is not None))
    return Template(name, origin, source, end, end_ids, why, _takes_system(source, tokenizer), warning)


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
