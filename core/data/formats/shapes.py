"""What one row looks like by itself: which columns of which known shape it has."""

from dataclasses import dataclass, field
from typing import Any

from core.data.formats.columns import (
    ANSWERS,
    NAMES,
    USUAL,
    by_name,
    guess_pair,
    listed,
    named,
    plain,
    verdict,
)
from core.data.formats.preference import is_whole
from core.data.formats.tool_calls import Unreadable, read_schemas
from core.data.formats.turns import dialect, has_answer
from core.data.sources.source import Row

# what a format of the spec is one name for
FAMILIES = {
    "alpaca": "pair",
    "completion": "pair",
    "messages": "turns",
    "sharegpt": "turns",
    "text": "text",
    "preference": "preference",
    "kto": "kto",
}
GUESSED, UNTOLD = 0.5, 0.3  # how sure a guess is: one name tells, none does


@dataclass(frozen=True)
class Shape:
    """`needed` and `beside` map roles to columns: those without which it is another shape, and others."""

    family: str
    """pair, turns, text, preference, kto or unknown."""
    format: str
    sure: float
    why: str
    needed: dict[str, str] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    refusal: str = ""
    answered: bool = True
    guessed: str = ""
    """What was taken for what, where no name says it."""
    ranked: tuple[str, ...] = ()
    """Columns with ranked answers that are not used."""
    rivals: tuple[tuple[str, str], ...] = ()
    """Role and column of what could be the prompt or the answer as well."""

    @property
    def core(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Rows with the same one are of one kind."""
        return self.family, tuple(sorted(self.needed.items()))


def shape_of(row: Row, wanted: str | None = None, asked: tuple[str, ...] = ()) -> Shape:
    """The likeliest shape, or the one of the family `wanted`. `asked`: columns that the prompt is made of."""
    known = named(row)
    for family, look in _LOOKS:
        if wanted in (None, family) and (found := look(row, known, asked, wanted is not None)):
            return found
    if wanted in (None, "pair", "text") and (found := _guess(row, known, asked, wanted)):
        return found
    if by_name("prompt", known) and not by_name("completion", known) and not _ranked(known):
        why = f"column {by_name('prompt', known)} without an answer"
        return Shape("questions", "questions", 0.8, why, answered=False)
    if _ranked(known):
        refusal = "it has chosen and rejected answers, but no column says what was asked"
        return Shape("unknown", "unknown", 0.0, "columns " + listed(_ranked(known)), refusal=refusal)
    return Shape(
        "unknown", "unknown", 0.0, "", refusal=f"the columns {listed(row)} are none of the known ones"
    )


def _preference(row: Row, known: dict[str, str], asked: tuple[str, ...], told: bool) -> Shape | None:
    ranked = _ranked(known)
    if not ranked:
        return None
    turns, prompt = _turns_column(row, known), by_name("prompt", known, ranked)
    if not told and not turns and prompt and by_name("completion", known, ranked):
        return None  # a plain answer beside the ranked ones
    chosen, rejected = ranked
    needed = {"chosen": chosen, "rejected": rejected}
    beside = _beside(row, known, "system", "tools", "weight")
    if is_whole(row[chosen]) and is_whole(row[rejected]):
        why = f"whole conversations in {chosen} and {rejected}"
        return Shape("preference", "preference", 1.0, why, needed, beside)
    why = f"columns {chosen} and {rejected}"
    if turns:
        return Shape(
            "preference", "preference", 1.0, f"{why} after {turns}", {**needed, "messages": turns}, beside
        )
    if asked:
        return Shape("preference", "preference", 1.0, why, needed, beside)
    if prompt:
        beside |= _input(known, prompt)
        why = f"{why} after {prompt}"
        return Shape("preference", "preference", 1.0, why, {**needed, "prompt": prompt}, beside)
    return None


def _kto(row: Row, known: dict[str, str], asked: tuple[str, ...], told: bool) -> Shape | None:
    label = by_name("label", known)
    if label is None or (good := verdict(row[label])) is None:
        return None
    shape = _turns(row, known, asked, told) or _pair(row, known, asked, told)
    if shape is None or not shape.answered:
        return None
    sure = 1.0 if isinstance(row[label], bool) else 0.9
    why = f"a verdict ({str(good).lower()}) in {label} beside {listed(shape.needed.values())}"
    return Shape("kto", "kto", sure * shape.sure, why, {**shape.needed, "label": label}, shape.beside)


def _turns(row: Row, known: dict[str, str], asked: tuple[str, ...], told: bool) -> Shape | None:
    column = _turns_column(row, known)
    if column is None:
        return None
    kind = dialect(row[column])
    beside = _beside(row, known, "system", "tools", "weight")
    beside = {role: name for role, name in beside.items() if name != column}
    needed = {"messages": column}
    if kind == "strings":  # who says what is not told
        return Shape("turns", "sharegpt", 1.0, f"texts in {column}", needed, beside, answered=False)
    names = "role and content" if kind == "messages" else "from and value"
    tools = f", with {beside['tools']}" if "tools" in beside else ""
    why = f"turns with {names} in {column}{tools}"
    return Shape("turns", str(kind), 1.0, why, needed, beside, answered=has_answer(row[column]))


def _pair(row: Row, known: dict[str, str], asked: tuple[str, ...], told: bool) -> Shape | None:
    answer = by_name("completion", known, asked)
    question = asked[0] if asked else by_name("prompt", known, [answer])
    if not answer or not question:
        return None
    beside = {**_beside(row, known, "system", "history", "tools", "weight"), **_input(known, question)}
    if asked:
        why = f"the instruction's columns and {answer}"
        return Shape("pair", "completion", 1.0, why, {"completion": answer}, beside)
    usual = {answer.lower(), question.lower()} & USUAL
    sure = 1.0 if usual or plain(question) == "prompt" else 0.8
    alpaca = plain(question) == "instruction" and ("input" in beside or plain(answer) == "output")
    why = "columns " + ", ".join(
        name for name in (question, beside.get("input"), answer, beside.get("history")) if name
    )
    needed = {"prompt": question, "completion": answer}
    taken = {question, answer, *beside.values()}
    rivals = tuple(
        (role, known[name])
        for role in ("prompt", "completion")
        for name in NAMES[role]
        if name in known and known[name] not in taken and isinstance(row[known[name]], str)
    )
    kind = "alpaca" if alpaca else "completion"
    return Shape("pair", kind, sure, why, needed, beside, ranked=_ranked(known), rivals=rivals)


def _text(row: Row, known: dict[str, str], asked: tuple[str, ...], told: bool) -> Shape | None:
    column = by_name("text", known)
    if column is None or not isinstance(row[column], str):
        return None
    if not told and any(name in ANSWERS for name in known) and guess_pair(row, None, asked):
        return None  # a text and its summary
    beside = _beside(row, known, "weight")
    sure = 1.0 if len(row) == 1 or told else 0.8
    return Shape("text", "text", sure, f"column {column}", {"text": column}, beside)


_LOOKS = (
    ("preference", _preference),
    ("kto", _kto),
    ("turns", _turns),
    ("pair", _pair),
    ("text", _text),
)


def _guess(row: Row, known: dict[str, str], asked: tuple[str, ...], wanted: str | None) -> Shape | None:
    """A table whose names say little: two columns of text are question and answer, one is plain text."""
    if _ranked(known) or "chosen" in known or "rejected" in known:
        return None
    told, question = by_name("completion", known, asked), by_name("prompt", known, asked)
    if wanted != "text":
        if question and not told and not asked:
            pair = _answer_to(row, question)
        else:
            pair = guess_pair(row, told, asked)
        if pair:
            prompt, answer = pair
            sure = GUESSED if told or question or asked or plain(answer) in ANSWERS else UNTOLD
            guessed = f"{prompt} is taken for the prompt and {answer} for the answer"
            needed = {"prompt": prompt, "completion": answer}
            if asked:
                guessed, needed = f"{answer} is taken for the answer", {"completion": answer}
            why = f"two columns of text, {prompt} and {answer} (a guess)"
            return Shape("pair", "completion", sure, why, needed, guessed=guessed)
    if wanted == "pair" or question or told:
        return None
    texts = [key for key, value in row.items() if isinstance(value, str)]
    if len(texts) == 1 and (len(row) == 1 or wanted):
        guessed = f"{texts[0]} is taken for plain text, all of which is learned"
        why = f"the only column of text, {texts[0]} (a guess)"
        return Shape("text", "text", GUESSED, why, {"text": texts[0]}, guessed=guessed)
    return None


def _answer_to(row: Row, question: str) -> tuple[str, str] | None:
    pair = guess_pair(row, question)
    return (question, pair[0]) if pair else None


def _ranked(known: dict[str, str]) -> tuple[str, ...]:
    """The columns of the better and the worse answer, or ()."""
    pairs = zip(NAMES["chosen"], NAMES["rejected"], strict=True)
    return next(((known[one], known[two]) for one, two in pairs if one in known and two in known), ())


def _turns_column(row: Row, known: dict[str, str]) -> str | None:
    columns = (known[name] for name in NAMES["messages"] if name in known)
    return next((column for column in columns if dialect(row[column])), None)


def _input(known: dict[str, str], question: str) -> dict[str, str]:
    column = by_name("input", known, [question])
    return {"input": column} if column else {}


def _beside(row: Row, known: dict[str, str], *roles: str) -> dict[str, str]:
    found = {role: by_name(role, known) for role in roles}
    return {role: name for role, name in found.items() if name and _holds(role, row[name])}


def _holds(role: str, value: Any) -> bool:
    """Whether a column that is named like a role also holds what the role is."""
    if role == "weight":
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100
    if role == "history":
        return isinstance(value, list) or (isinstance(value, str) and value.lstrip()[:1] == "[")
    if role == "tools":
        try:
            read_schemas(value)
        except Unreadable:
            return False
    return True
