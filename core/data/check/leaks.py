"""Held-out rows that are also learned: by their whole, or by the prompt alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.data.check.seen import hashed
from core.data.conversation import Conversation
from core.data.findings import Tally

BY_DESIGN = 0.5
"""Where more of the held-out rows than this share only their prompt with a learned row, prompts repeat on
purpose (one instruction for many texts): then it proves nothing, and only whole rows count as leaked."""

Key = tuple[int, int]
"""64 bits of all that the row says, and of what comes before its last answer (0: nothing does)."""


def key(one: Conversation) -> Key:
    """What two rows must have in common to be the same, case and blanks aside; the same on every machine."""
    if one.text is not None:
        return hashed(_bare(one.text)), 0
    last = max((at for at, turn in enumerate(one.messages) if turn.role == "assistant"), default=-1)
    last = one.prompt or last
    turns = [
        "\x1e".join([turn.role, turn.content, *(f"{call.name} {call.arguments}" for call in turn.calls)])
        for turn in (*one.messages, *one.rejected)
    ]
    tools = "\x1d".join(one.tools)
    prompt = hashed(_bare("\x1f".join([tools, *turns[:last]]))) if last > 0 else 0
    return hashed(_bare("\x1f".join([tools, *turns, str(one.label)]))), prompt


def _bare(text: str) -> str:
    return " ".join(text.casefold().split())


@dataclass(frozen=True)
class Leaks:
    """Places in the held-out set, in order. `kept`: their prompts are learned too, but by design."""

    whole: tuple[int, ...]
    prompt: tuple[int, ...]
    kept: tuple[int, ...] = ()

    @property
    def out(self) -> tuple[int, ...]:
        """What should leave the held-out set."""
        return tuple(sorted((*self.whole, *self.prompt)))


def find_leaks(train: Iterable[Key], held_out: Sequence[Key]) -> Leaks:
    """Which held-out rows are learned. `train` is passed over once; memory goes with the held-out set."""
    wholes, prompts = {whole for whole, _ in held_out}, {prompt for _, prompt in held_out if prompt}
    known_wholes: set[int] = set()
    known_prompts: set[int] = set()
    for whole, prompt in train:
        if whole in wholes:
            known_wholes.add(whole)
        if prompt in prompts:
            known_prompts.add(prompt)
    by_whole = tuple(place for place, one in enumerate(held_out) if one[0] in known_wholes)
    by_prompt = tuple(
        place for place, one in enumerate(held_out) if one[0] not in known_wholes and one[1] in known_prompts
    )
    if len(by_prompt) > BY_DESIGN * len(held_out):
        return Leaks(by_whole, (), by_prompt)
    return Leaks(by_whole, by_prompt)


def say_leaks(leaks: Leaks, rows: Sequence[int], tally: Tally) -> None:
    """Tells of the leaks; `rows` are the numbers of the held-out rows, which the caller takes out."""
    if leaks.out:
        parts = [(len(leaks.whole), "word for word"), (len(leaks.prompt), "by what is asked")]
        detail = ", ".join(f"{count:,} {how}" for count, how in parts if count)
        tally.note_all("leak", [rows[place] for place in leaks.out], len(leaks.out), detail)
    if leaks.kept:
        tally.say(
            "info",
            "same_prompts",
            f"{len(leaks.kept):,} of {len(rows):,} held-out rows ask what a learned row asks too, with "
            "another answer: prompts repeat by design here, so they stay",
            rows=[rows[place] for place in leaks.kept],
            count=len(leaks.kept),
        )
