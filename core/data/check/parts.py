"""The texts of a row, to look at together or to change one by one."""

from collections.abc import Callable
from dataclasses import replace

from core.data.conversation import Conversation, Message

JOINT = " \n"
"""Between two texts; none of the things looked for can reach across it."""


def joined(one: Conversation) -> str:
    """All that the row says: words, thoughts and the arguments of tool calls."""
    if one.text is not None:
        return one.text
    turns = (*one.messages, *one.rejected)
    parts = [turn.content for turn in turns]
    for turn in turns:
        if turn.thought:
            parts.append(turn.thought)
        if turn.calls:
            parts += [call.arguments for call in turn.calls]
    return JOINT.join(parts)


def changed(one: Conversation, change: Callable[[str], str]) -> Conversation:
    """The row with `change` made to each of its texts."""

    def turn(old: Message) -> Message:
        return replace(
            old,
            content=change(old.content),
            thought=change(old.thought) if old.thought else old.thought,
            calls=tuple(replace(call, arguments=change(call.arguments)) for call in old.calls),
        )

    return replace(
        one,
        text=None if one.text is None else change(one.text),
        messages=tuple(map(turn, one.messages)),
        rejected=tuple(map(turn, one.rejected)),
    )


def learned(one: Conversation) -> list[Message]:
    """The turns that are learned from; of a preference those after what both answers share."""
    turns = one.messages[one.prompt :] if one.rejected else one.messages
    return [turn for turn in turns if turn.role == "assistant" and turn.learn]


def says_nothing(turn: Message) -> bool:
    return not turn.calls and not turn.content.strip() and not (turn.thought or "").strip()


def asked_and_said(one: Conversation) -> tuple[str, str]:
    """What is asked and the last answer, for comparing rows; without the system's words: many share them."""
    if one.text is not None:
        return "", one.text
    turns = [turn for turn in one.messages if turn.role != "system"]
    last = max((place for place, turn in enumerate(turns) if turn.role == "assistant"), default=len(turns))
    asked = [_words(turn) for place, turn in enumerate(turns) if place != last]
    said = [_words(turn) for turn in (*turns[last : last + 1], *one.rejected)]
    return "\n".join(asked), "\n".join(said)


def _words(turn: Message) -> str:
    if not turn.calls:
        return turn.content
    return "\n".join([turn.content, *(f"{call.name} {call.arguments}" for call in turn.calls)])
