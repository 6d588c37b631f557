"""Turns conversations into token ids with a mark on each that is learned. The preview and the trainer
both use this, so what is shown is what is trained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from core.data.chat_template.borders import Offsets, Tokens, apart_at, first_from, piece, tokenise
from core.data.chat_template.learned import Part, Written, pair, write
from core.data.chat_template.rendering import DoesNotRender
from core.data.chat_template.skeleton import LeavesOut, NoSpan
from core.data.chat_template.templates import Template, fold_system
from core.data.conversation import Conversation, Message
from core.spec import Learn


@dataclass(frozen=True)
class Rendered:
    """One row as the model sees it.

    `ids`, `learned` (0 or 1) and `offsets` (start and end in `text`) have one entry a token.
    """

    row: int
    text: str
    ids: list[int]
    learned: list[int]
    offsets: Offsets
    ends: bool
    """Whether the last answer's end token is learned."""
    folded: bool = False
    """Whether the system message was put into the first question."""
    lossy: bool = False
    """Whether the tokenizer cannot spell what is learned."""
    unthought: bool = False
    """Whether the template left out a thought that the row holds."""
    numbered: bool = False
    """Whether its tool calls were given ids, because the template takes none without."""
    prompt_tokens: int = 0
    """Of a preference or a verdict: how many ids are the prompt; the rest is what is judged."""
    other: "Rendered | None" = None
    """Of a preference: the prompt with the rejected answer. Its first `prompt_tokens` ids are the same."""
    label: bool | None = None
    """The verdict, where the row has one."""


@dataclass(frozen=True)
class Refused:
    """A row that cannot be rendered (`template_refused`) or masked (`no_mask`)."""

    row: int
    code: Literal["template_refused", "no_mask"]
    why: str


def render(
    conversation: Conversation, tokenizer: Any, template: Template | None, learn: Learn = "assistant"
) -> Rendered | Refused:
    """One row. `template` may be None for plain text, all of which is learned."""
    return render_all([conversation], tokenizer, template, learn)[0]


def render_all(
    conversations: Sequence[Conversation],
    tokenizer: Any,
    template: Template | None,
    learn: Learn = "assistant",
) -> list[Rendered | Refused]:
    """One result a conversation, in order; tokenised together, which is many times faster.

    Of a preference or a verdict, only what follows the prompt is learned, whatever `learn` says.
    """
    texts = iter(_plain([one for one in conversations if one.text is not None], tokenizer))
    found: list[list[Written] | Refused | None] = [
        None if one.text is not None else _written(one, tokenizer, template, learn) for one in conversations
    ]
    flat = [one for row in found if isinstance(row, list) for one in row]
    tokens = iter(tokenise([one.text for one in flat], tokenizer) if flat else [])
    results: list[Rendered | Refused] = []
    for conversation, row in zip(conversations, found, strict=True):
        if row is None:
            results.append(next(texts))
        elif isinstance(row, Refused):
            results.append(row)
        else:
            masked = [_masked(conversation.row, one, next(tokens), tokenizer) for one in row]
            results.append(_paired(conversation, row, masked, tokenizer))
    return results


def _plain(texts: Sequence[Conversation], tokenizer: Any) -> list[Rendered | Refused]:
    """Texts as the tokenizer itself begins them, each ended by the end of text; all of it is learned."""
    if not texts:
        return []
    eos, bos = tokenizer.eos_token_id, tokenizer.bos_token_id
    rows: list[Rendered | Refused] = []
    batch = tokenise([one.text or "" for one in texts], tokenizer, special=True)
    for one, (ids, offsets) in zip(texts, batch, strict=True):
        text = one.text or ""
        if bos is not None and ids[:1] == [bos] and tuple(offsets[0]) == (0, 0):
            begin = len(tokenizer.bos_token)
            text = tokenizer.bos_token + text
            offsets = [(0, begin), *((start + begin, end + begin) for start, end in offsets[1:])]
        if eos is not None:
            if ids[-1:] == [eos] and tuple(offsets[-1])[1] == 0:
                ids, offsets = ids[:-1], offsets[:-1]
            whole = text + tokenizer.eos_token
            ids, offsets, text = [*ids, eos], [*offsets, (len(text), len(whole))], whole
        rows.append(Rendered(one.row, text, ids, [1] * len(ids), offsets, eos is not None))
    return rows


def _written(
    one: Conversation, tokenizer: Any, template: Template | None, learn: Learn
) -> list[Written] | Refused:
    """The row's text, and of a preference the other text too."""
    assert template is not None, "conversations need a template"
    judged = bool(one.rejected) or one.label is not None
    prompt = (one.prompt or len(one.messages) - 1) if judged else 0
    endings = [one.messages]
    if one.rejected:
        endings.append((*one.messages[:prompt], *one.rejected))
    try:
        return pair([_fitted(ending, one.tools, tokenizer, template, learn, prompt) for ending in endings])
    except DoesNotRender as problem:
        numbered = _numbered(one)
        if numbered != one:  # some templates take only calls that have an id
            again = _written(numbered, tokenizer, template, learn)
            if not isinstance(again, Refused):
                return [replace(each, numbered=True) for each in again]
        return Refused(one.row, "template_refused", problem.why)
    except LeavesOut as problem:
        return Refused(one.row, "template_refused", str(problem))
    except NoSpan as problem:
        return Refused(one.row, "no_mask", str(problem))


def _numbered(one: Conversation) -> Conversation:
    """The row with an id for each call that has none, and for the result that answers it.

    Nine letters and digits, which is what templates that ask for one take.
    """
    count, turns = 0, []
    waiting: list[str] = []
    for turn in (*one.messages, *one.rejected):
        calls = []
        for call in turn.calls:
            count += 1
            calls.append(call if call.id else replace(call, id=f"call{count:05}"))
        if calls:
            waiting = [call.id or "" for call in calls]
            turn = replace(turn, calls=tuple(calls))
        elif turn.role == "tool" and not turn.call_id and waiting:
            turn = replace(turn, call_id=waiting.pop(0))
        turns.append(turn)
    length = len(one.messages)
    return replace(one, messages=tuple(turns[:length]), rejected=tuple(turns[length:]))


def _fitted(
    messages: tuple[Message, ...],
    tools: tuple[str, ...],
    tokenizer: Any,
    template: Template,
    learn: Learn,
    prompt: int,
) -> Written:
    """As the template takes it: the system message in the first question, if there is no other place."""
    if template.takes_system or not messages or messages[0].role != "system":
        return write(messages, tools, template.source, tokenizer, learn, prompt)
    folded = fold_system(messages)
    less = len(messages) - len(folded)
    written = write(folded, tools, template.source, tokenizer, learn, prompt - less if prompt else 0)
    return replace(written, folded=less > 0)


def _masked(row: int, one: Written, tokens: Tokens, tokenizer: Any) -> Rendered | Refused:
    ids, offsets = apart_at(one.text, one.borders, tokens, tokenizer)
    if one.parts is None:
        return Rendered(row, one.text, ids, [1] * len(ids), offsets, one.ends, one.folded)
    learned = [0] * len(ids)
    said: list[int] = []
    for part in one.parts:
        first, stop = first_from(offsets, part.start), first_from(offsets, part.end)
        learned[first:stop] = [1] * (stop - first)
        said += ids[first:stop]
    lossy = False
    if not _spells(said, [one.text[part.start : part.end] for part in one.parts], tokenizer):
        # a tokenizer that drops what it cannot write also counts its offsets wrong: go piece by piece
        lossy = True
        ids, offsets, learned = _piece_by_piece(one.text, one.parts, tokenizer)
        said = [token for token, keep in zip(ids, learned, strict=True) if keep]
        if not _spells(said, _respelled(one.text, one.parts, tokenizer), tokenizer):
            return Refused(row, "no_mask", "the tokens to be learned do not spell the answer")
    return Rendered(
        row, one.text, ids, learned, offsets, one.ends, one.folded, lossy, one.unthought, one.numbered
    )


def _paired(
    one: Conversation, written: list[Written], masked: list[Rendered | Refused], tokenizer: Any
) -> Rendered | Refused:
    """The row with where its prompt ends, and with its other answer."""
    rows = [row for row in masked if isinstance(row, Rendered)]
    if len(rows) < len(masked):
        return next(row for row in masked if isinstance(row, Refused))
    border = written[0].prompt_end
    if border is None:
        return rows[0]
    counts = [first_from(row.offsets, border) for row in rows]
    if len(rows) > 1 and rows[0].ids[: counts[0]] != rows[1].ids[: counts[1]]:
        return Refused(one.row, "no_mask", "the tokens of the prompt are not the same before both answers")
    other = replace(rows[1], prompt_tokens=counts[1]) if len(rows) > 1 else None
    return replace(rows[0], prompt_tokens=counts[0], other=other, label=one.label)


def _spells(said: list[int], meant: list[str], tokenizer: Any) -> bool:
    return _bare(tokenizer.decode(said)) == _bare("".join(meant))


def _respelled(text: str, parts: tuple[Part, ...], tokenizer: Any) -> list[str]:
    """What is to be learned, as far as the tokenizer can write it."""
    meant = (text[part.start : part.end] for part in parts)
    return [tokenizer.decode(tokenizer(words, add_special_tokens=False)["input_ids"]) for words in meant]


def _piece_by_piece(
    text: str, parts: tuple[Part, ...], tokenizer: Any
) -> tuple[list[int], Offsets, list[int]]:
    """Cut at both ends of every part, with what is learned known by the piece."""
    ids: list[int] = []
    offsets: Offsets = []
    learned: list[int] = []
    at = 0
    for part in (*parts, Part(len(text), len(text))):
        for start, end, keep in ((at, part.start, 0), (part.start, part.end, 1)):
            more, places = piece(text, start, end, tokenizer)
            ids, offsets, learned = ids + more, offsets + places, learned + [keep] * len(more)
        at = part.end
    return ids, offsets, learned


def _bare(text: str) -> str:
    """Without blanks: tokenizers put and drop them around special tokens and at a text's start."""
    return "".join(text.split())
