"""What turns conversations into rows of tokens: the same for the preview, the report and the worker."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from core.data.chat_template import templates
from core.data.chat_template.endings import end_tokens
from core.data.chat_template.mask import Refused, Rendered, render_all
from core.data.chat_template.templates import Template
from core.data.check.leaks import key
from core.data.check.screen import Screen
from core.data.conversation import Conversation
from core.data.findings import Tally
from core.data.fit import Fitted, Key, fit
from core.data.reading import Opened, conversations, understood
from core.job import Progress
from core.spec import RunSpec

BATCH = 512  # rows tokenised at once: enough for the tokenizer's threads, few enough to show progress


@dataclass
class Fates:
    """How many source rows came to what, under which policy."""

    long: str
    length: int | None
    rows: int = 0
    cut: int = 0
    dropped: int = 0
    split: int = 0
    pieces: int = 0
    """Into which rows were split."""
    nothing: int = 0
    """Rows left out since no learned token was left."""
    refused: int = 0
    """Rows left out since the template or the mask cannot take them."""
    tokens: int = 0
    learned: int = 0

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Made:
    """One source row with all that became of it."""

    one: Conversation
    key: Key
    shown: Rendered
    """Whole, before any cut."""
    fitted: Fitted

    def tokens(self) -> list[int]:
        """Of each piece; of a preference those of the longer answer."""
        return [max(len(one.input_ids), len(one.rejected_ids or ())) for one in self.fitted.pieces]


@dataclass
class Making:
    spec: RunSpec
    tokenizer: Any
    template: Template | None
    progress: Progress
    screen: Screen
    fates: Fates = field(init=False)
    done: int = 0
    """Rows of all sources so far."""

    def __post_init__(self) -> None:
        self.fates = Fates(self.spec.data.long, self.spec.length)

    def rows(self, opened: Opened, enough: Callable[[int], bool] | None = None) -> Iterator[Made]:
        """A pass over one source. What is lost or changed on the way is in its tally."""
        waiting, before = conversations(opened, self.screen, enough), self.done
        made = 0
        while batch := list(islice(waiting, BATCH)):
            if self.spec.objective == "sft":  # of pairs, the chosen answer alone is learned
                batch = [replace(one, rejected=()) if one.rejected else one for one in batch]
            results = render_all(batch, self.tokenizer, self.template, self.spec.learn)
            for one, result in zip(batch, results, strict=True):
                if ready := self._one(one, result, opened.tally):
                    made += len(ready.fitted.pieces)
                    yield ready
            self.done = before + opened.rows
            self.progress("tokenise", self.done, opened.estimate() if opened.number == 0 else None)
        self.done = before + opened.rows
        if opened.kept and not made:
            opened.tally.say("stop", "nothing_learned", f"{opened.name}: in no row is anything learned")

    def _one(self, one: Conversation, result: Rendered | Refused, tally: Tally) -> Made | None:
        self.fates.rows += 1
        if isinstance(result, Refused):
            self.fates.refused += 1
            tally.note(result.code, one.row, result.why)
            return None
        if result.folded:
            tally.note("system_folded", one.row)
        if result.lossy:
            tally.note("unknown_characters", one.row)
        if result.unthought:
            tally.note("thoughts_left_out", one.row)
        if result.numbered:
            tally.note("calls_numbered", one.row)
        self.screen.look_rendered(result, one.source)
        name = key(one)
        fitted = fit(one, result, name, self.spec.length, self.spec.data.long)
        made = Made(one, name, result, fitted)
        self._note(made, tally)
        return made

    def _note(self, made: Made, tally: Tally) -> None:
        fates, fitted, row, limit = self.fates, made.fitted, made.one.row, f"{self.spec.length or 0:,}"
        if fitted.fate == "cut":
            fates.cut += 1
            tally.note("cut", row, limit)
        elif fitted.fate == "dropped":
            fates.dropped += 1
            tally.note("dropped_long", row, limit)
        elif fitted.fate == "split":
            fates.split += 1
            fates.pieces += len(fitted.pieces)
            tally.note("split_text" if made.one.text is not None else "split_long", row, limit)
            if fitted.lost:
                tally.note("pieces_left_out", row)
        elif fitted.fate == "nothing":
            fates.nothing += 1
            if self.spec.length is not None and len(made.shown.ids) > self.spec.length:
                tally.note("cut_to_nothing", row, limit)
        fates.tokens += sum(made.tokens())
        fates.learned += sum(sum(piece.learned) for piece in fitted.pieces)


def screen_of(spec: RunSpec, sources: list[Opened], tokenizer: Any = None) -> Screen:
    """The screen that all rows of these sources pass, shown what stands at the head of each."""
    tallies = [one.tally for one in sources]
    screen = Screen(spec.data, tallies, end_tokens(tokenizer) if tokenizer else ())
    screen.prime([one for source in sources for one in _head(source)])
    return screen


def choose_template(sources: list[Opened], name: str, tokenizer: Any) -> Template | None:
    """None where all is plain text. UserError as `templates.choose`."""
    tally = sources[0].tally
    spoken = [one for one in sources if not one.is_text]
    if len(spoken) < len(sources) and tokenizer.eos_token_id is None:
        tally.say("warn", "no_end", "this tokenizer has no end of text, so where a text ends is not learned")
    if not spoken:
        return None
    rows = [one for source in spoken for one in _head(source)]
    answers = [turn for one in rows for turn in one.messages if turn.role == "assistant"]
    thoughts = any(turn.thought or "<think>" in turn.content for turn in answers)
    tools = any(turn.calls for turn in answers)
    template = templates.choose(name, tokenizer, thoughtless=not thoughts, tools=tools)
    if template.warning:
        tally.say("warn", "template", template.warning, "choose another template if answers look wrong")
    if template.dated:
        tally.say("warn", "dated_template", template.dated, "choose another where the day matters")
    return template


def _head(opened: Opened) -> Iterator[Conversation]:
    """The head's rows, without noting what is wrong with them."""
    quiet = replace(opened, tally=Tally())
    for number, row in enumerate(opened.head, 1):
        if one := understood(row, number, quiet):
            yield one
