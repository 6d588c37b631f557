"""What a chat template writes by itself around turns of given forms, found by rendering stand-in words.

Templates differ in what they write around a turn, and few mark what the assistant says. So every text is
replaced by a mark, the template is rendered once for that order of forms, and what stands between the
marks is what the template itself writes: its skeleton.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from core.data.chat_template.endings import Ending, after_calls, after_words, end_tokens, openers
from core.data.chat_template.marks import MARK, Field, Form, form_of, mark_all
from core.data.chat_template.rendering import DoesNotRender, render, schemas
from core.data.conversation import Message


class NoSpan(Exception):
    """What is to be learned cannot be told apart in this row; the message says why."""


class LeavesOut(Exception):
    """The template does not write something that the row holds; the message says what."""


@dataclass(frozen=True)
class Slot:
    """Where a text of the row goes. `field.kind` "argument" stands for a turn's calls as a whole."""

    field: Field
    lead: int = 0
    """Characters before the text that the model writes itself (a space after `ASSISTANT:`)."""
    tail: int = 0
    """Characters after the text that are learned with it: the end token and what stands before that."""
    end_token: str | None = None
    opens: bool = False
    """Whether it is the first of an assistant's turn; `closes`: the last."""
    closes: bool = False

    @property
    def turn(self) -> int:
        return self.field.turn


@dataclass(frozen=True)
class Skeleton:
    """`pieces[i]` stands before `slots[i]`; the last piece ends the text."""

    pieces: tuple[str, ...]
    slots: tuple[Slot, ...]
    gap: str
    """What stands between the generation prompt and the last answer's words, blanks apart."""
    prompt_fits: bool
    """False: the text of a finished conversation does not begin with its generation prompt."""
    unthought: tuple[int, ...]
    """Turns whose thoughts the template leaves out."""
    ending: Ending | None
    """Of the last answer."""


def skeleton_of(roles: tuple[str, ...], source: str, tokenizer: Any) -> Skeleton:
    """What the template writes around turns of words alone. Raises DoesNotRender, NoSpan, LeavesOut."""
    return of_forms(tuple(Form(role) for role in roles), (), source, tokenizer)


def of_forms(forms: tuple[Form, ...], tools: tuple[str, ...], source: str, tokenizer: Any) -> Skeleton:
    """Of turns of these forms; kept, as rows of one form are many. Raises as `skeleton_of`."""
    return _kept(forms, tools, source, tokenizer, tokenizer.bos_token, tokenizer.eos_token)


def of_row(messages: Sequence[Message], tools: tuple[str, ...], source: str, tokenizer: Any) -> Skeleton:
    """Of these very messages, with marks in place of the assistant's turns alone. Raises as `skeleton_of`.

    For templates that ask about what the others say.
    """
    return _build(tuple(map(form_of, messages)), tools, source, tokenizer, messages)


@lru_cache(maxsize=1024)
def _kept(
    forms: tuple[Form, ...],
    tools: tuple[str, ...],
    source: str,
    tokenizer: Any,
    bos: str | None,
    eos: str | None,
) -> Skeleton:
    # bos and eos are part of the key: a tokenizer's may change, and with it what a template writes
    return _build(forms, tools, source, tokenizer, None)


@dataclass(frozen=True)
class _Marked:
    """The marked text, where its marks stand, and how to render its beginnings."""

    forms: tuple[Form, ...]
    messages: list[Message]
    tools: tuple[str, ...]
    source: str
    tokenizer: Any
    text: str
    marks: tuple[tuple[int, int, Field], ...]
    """Start, end and field, in order."""

    def before(self, turn: int, generation: bool) -> str | None:
        """The text of the turns before this one; None: the template does not end there."""
        if turn == 0:
            return None
        try:
            return render(
                self.messages[:turn], self.source, self.tokenizer, tools=self.tools, generation=generation
            )
        except DoesNotRender:
            return None

    def of(self, turn: int) -> list[tuple[int, int, Field]]:
        return [mark for mark in self.marks if mark[2].turn == turn]


def _build(
    forms: tuple[Form, ...],
    tools: tuple[str, ...],
    source: str,
    tokenizer: Any,
    real: Sequence[Message] | None,
) -> Skeleton:
    messages, fields = mark_all(forms, real)
    text = render(messages, source, tokenizer, tools=tools)
    marks = tuple((one.start(), one.end(), fields[int(one[1])]) for one in MARK.finditer(text))
    marked = _Marked(forms, messages, tools, source, tokenizer, text, marks)
    _refuse_losses(marked, real is not None)
    opening = openers(source, tokenizer, tokenizer.bos_token, tokenizer.eos_token)
    ends = tuple(token for token in end_tokens(tokenizer) if token not in opening)
    usual = _usual(marked)
    turns = {
        place: _answer(marked, place, usual, ends)
        for place, form in enumerate(forms)
        if form.role == "assistant"
    }
    placed: list[tuple[int, int, Slot]] = [slot for one in turns.values() for slot in one.slots]
    taken = [(one.start, one.end) for one in turns.values()]
    for start, end, field in marks:
        if not any(low <= start < high for low, high in taken):
            placed.append((start, end, Slot(field)))
    placed.sort(key=lambda one: one[0])
    pieces, at = [], 0
    for start, end, _ in placed:
        pieces.append(text[at:start])
        at = end
    last = turns[max(turns)] if turns else None
    return Skeleton(
        (*pieces, text[at:]),
        tuple(slot for *_, slot in placed),
        last.gap if last else "",
        last.fits if last else True,
        tuple(place for place, one in turns.items() if one.unthought),
        last.ending if last else None,
    )


def _refuse_losses(marked: _Marked, others_are_real: bool) -> None:
    for tool in schemas(marked.tools):
        name = tool.get("function", tool).get("name")
        if name and name not in marked.text:
            raise LeavesOut("the template does not write the tools on offer")
    there = {field for *_, field in marked.marks}
    for turn, form in enumerate(marked.forms):
        for call in range(len(form.calls)):
            if Field(turn, "argument", call) not in there or Field(turn, "call", call) not in there:
                raise LeavesOut(f"the template does not write the tool calls of message {turn + 1}")
        if form.role == "assistant" and form.words:
            written = sum(field == Field(turn, "words") for *_, field in marked.marks)
            if written == 0 and form.calls:
                raise LeavesOut(f"the template leaves out the words beside the calls of message {turn + 1}")
            if written != 1:
                raise NoSpan(f"the template writes answer {turn + 1} {written} times")
        elif form.words and not others_are_real and Field(turn, "words") not in there:
            raise LeavesOut(f"the template leaves out message {turn + 1}, of the {form.role}")


@dataclass(frozen=True)
class _Answer:
    """An assistant's turn in the marked text: `start` and `end` bound its texts, without the end token."""

    start: int
    end: int
    slots: list[tuple[int, int, Slot]]
    gap: str
    fits: bool
    unthought: bool
    ending: Ending | None


def _answer(marked: _Marked, turn: int, usual: Skeleton | None, ends: tuple[str, ...]) -> _Answer:
    form = marked.forms[turn]
    own = marked.of(turn)
    arguments = [mark for mark in own if mark[2].kind == "argument"]
    said = [mark for mark in own if mark[2].kind in ("words", "thought")]
    if len({field for *_, field in said}) != len(said):
        raise NoSpan(f"the template writes the thought of answer {turn + 1} {len(said) - 1} times")
    first = min(start for start, *_ in own)
    plain = not form.calls and said[0][2].kind == "words"
    begin, gap, fits = _begin(marked, turn, first, plain, usual)
    words: list[tuple[int, int, Slot]] = []
    if form.calls:
        called = min(start for start, _, field in own if field.kind not in ("words", "thought"))
        before = [mark for mark in said if mark[1] <= called]
        closed = max(end for _, end, _ in (*arguments, *said))
        ending = after_calls(_following(marked, turn, closed), usual.ending if usual else None, ends)
        if ending is None:
            raise NoSpan(f"nothing ends the tool calls of message {turn + 1}")
        words = [(low, high, Slot(field)) for low, high, field in before]
        # what stands in the calls is as long as they are: all up to the end token is one slot
        end = closed + len(ending.closing)
        words.append((before[-1][1] if before else begin, end, Slot(Field(turn, "argument"))))
        tail = len(ending.token)
    else:
        words = [(low, high, Slot(field)) for low, high, field in said]
        end = words[-1][1]
        last = turn == len(marked.forms) - 1
        ending = after_words(_following(marked, turn, end), last, usual.ending if usual else None, ends)
        tail = len(ending.closing) + len(ending.token) if ending else 0
    low, high, _ = words[0]
    words[0] = (low, high, Slot(words[0][2].field, lead=low - begin, opens=True))
    low, high, one = words[-1]
    words[-1] = (low, high, Slot(one.field, one.lead, tail, ending and ending.token, one.opens, closes=True))
    for start, _, field in marked.marks:
        if words[0][0] < start < end and field.turn != turn:
            raise NoSpan(f"the template writes other turns into answer {turn + 1}")
    unthought = form.thought and not any(field.kind == "thought" for *_, field in said)
    return _Answer(words[0][0], end, words, gap, fits, unthought, ending)


def _begin(
    marked: _Marked, turn: int, first: int, plain: bool, usual: Skeleton | None
) -> tuple[int, str, bool]:
    """Where the model begins to write in this turn, what stands before the words that it does not write,
    and whether the generation prompt is how the text begins.

    `first`: where the turn's first mark stands; `plain`: whether that is the words of a turn without calls.
    """
    text, prompt = marked.text, marked.before(turn, True)
    if prompt is None:
        if plain:
            return first, "", True
        raise NoSpan(f"where answer {turn + 1} begins cannot be told")
    fits = text.startswith(prompt) and len(prompt) <= first
    begin = len(prompt) if fits else _begin_elsewhere(marked, turn, first, prompt)
    if begin is None:
        if plain:
            return first, "", False
        raise NoSpan(f"where answer {turn + 1} begins cannot be told")
    between = text[begin:first]
    if plain:
        return (first if between.strip() else begin), between.strip() if fits else "", fits
    thinks = marked.forms[turn].thought and any(field.kind == "thought" for *_, field in marked.of(turn))
    gap = "" if thinks or not usual else _written_gap(usual)
    return begin + (len(gap) if gap and between.startswith(gap) else 0), "", fits


def _begin_elsewhere(marked: _Marked, turn: int, first: int, prompt: str) -> int | None:
    """For a template that writes what stands before this turn differently in a prompt; None: not found."""
    text, bare = marked.text, marked.before(turn, False)
    # after the last text of the turns before comes what comes there in the prompt
    asked = list(MARK.finditer(prompt))
    earlier = [
        (high, text[low:high]) for low, high, field in marked.marks if high <= first and field.turn < turn
    ]
    if asked and earlier and asked[-1][0] == earlier[-1][1]:
        at, opening = earlier[-1][0], prompt[asked[-1].end() :]
        if text.startswith(opening, at):
            return at + len(opening)
    if bare is None or not prompt.startswith(bare):
        return None
    opening = prompt[len(bare) :]
    for one in (opening, opening.strip()):
        found = text.rfind(one, 0, first) if one else -1
        if found >= 0:
            return found + len(one)
    # thoughts may be opened in the prompt, and not before a call: what both have in common is the prompt's
    common = _common(opening, text[len(bare) : first], marked.tokenizer) if text.startswith(bare) else 0
    return len(bare) + common if common else None


def _common(opening: str, text: str, tokenizer: Any) -> int:
    """How much of the opening the text begins with, up to the end of a special token or of a line."""
    same = next(
        (n for n, (a, b) in enumerate(zip(opening, text, strict=False)) if a != b),
        min(len(opening), len(text)),
    )
    whole = [
        opening.rfind(token, 0, same) + len(token)
        for token in end_tokens(tokenizer)
        if token in opening[:same]
    ]
    return max([0, opening.rfind("\n", 0, same) + 1, *whole])


def _written_gap(usual: Skeleton) -> str:
    """What the template puts before the words of an answer that neither thinks nor calls, with its blanks."""
    piece = usual.pieces[-2]
    return piece[piece.rfind(usual.gap) :] if usual.gap else ""


def _following(marked: _Marked, turn: int, at: int) -> str:
    """What the template writes from here to the next turn's words."""
    later = [low for low, _, field in marked.marks if low >= at and field.turn != turn]
    return marked.text[at : min(later, default=len(marked.text))]


def _usual(marked: _Marked) -> Skeleton | None:
    """Of one question and its answer."""
    if [form.role for form in marked.forms] == ["user", "assistant"] and not marked.forms[1].calls:
        return None
    try:
        return skeleton_of(("user", "assistant"), marked.source, marked.tokenizer)
    except (DoesNotRender, NoSpan, LeavesOut):
        return None
