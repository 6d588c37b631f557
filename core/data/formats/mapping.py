"""What rows become under a mapping of their columns, for the screen on which the mapping is made."""

from collections.abc import Sequence
from typing import Any

from core.data.conversation import Conversation, Message
from core.data.findings import Tally
from core.data.formats.convert import understand
from core.data.formats.recognise import recognise
from core.data.sources.source import Row
from core.spec import SourceSpec

SHOWN_CHARACTERS = 2_000


def preview(rows: Sequence[Row], spec: SourceSpec, most: int = 10) -> list[dict[str, Any]]:
    """The first `most` rows as they would be learned, made by the code that feeds the trainer.

    Each is {"row": number from 1, "problem": why it is left out, or "", "turns": [...]}; a turn is {"role",
    "content", "learn"}, its role "text" for plain text, with "verdict" (chosen, rejected, good, bad) where
    an answer is judged. UserError: a mapping that does not fit these rows.
    """
    found = recognise(rows, spec)
    shown = []
    for number, row in enumerate(rows[:most], 1):
        tally = Tally()
        one = understand(row, number, found, tally, spec)
        # the reason why a row is left out is what was noted last
        problem = "" if one else list(tally.noted.values())[-1].detail
        shown.append({"row": number, "problem": problem, "turns": _turns(one) if one else []})
    return shown


def _turns(one: Conversation) -> list[dict[str, Any]]:
    if one.text is not None:
        return [{"role": "text", "content": _short(one.text), "learn": True}]
    turns = [_turn(turn) for turn in one.messages]
    if one.rejected or one.label is not None:
        verdict = "chosen" if one.rejected else "good" if one.label else "bad"
        for turn in turns[: one.prompt]:
            turn["learn"] = False
        for turn in turns[one.prompt :]:
            turn |= {"learn": turn["learn"] and verdict != "bad", "verdict": verdict}
    return turns + [_turn(turn) | {"learn": False, "verdict": "rejected"} for turn in one.rejected]


def _turn(turn: Message) -> dict[str, Any]:
    calls = [f"{call.name}({call.arguments})" for call in turn.calls]
    words = "\n".join(filter(None, [turn.thought, turn.content, *calls]))
    return {"role": turn.role, "content": _short(words), "learn": turn.role == "assistant" and turn.learn}


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
