"""What one may want of a fine-tuned model: what each aim needs, can and cannot do, and what it sets."""

from dataclasses import dataclass, field
from typing import Any

from tui.journey import Journey


@dataclass(frozen=True)
class Aim:
    key: str
    """The spec's word for it."""
    name: str
    short: str
    needs: str
    """The data that it takes."""
    can: str
    cannot: str
    instead: str
    """When something cheaper than training serves better."""
    sets: dict[str, Any] = field(default_factory=dict)
    """Choices that it makes for the steps after it; whatever is not here, the plan decides."""


AIMS = (
    Aim(
        "manner",
        "A manner of answering",
        "tone, format, length, a task it should always do the same way",
        "100 to a few thousand pairs of a question and the answer as you would have given it. "
        "A few hundred careful ones beat thousands of careless ones.",
        "Answers keep the form, tone and steps of your examples, without a long prompt every time.",
        "Facts that occur in few examples do not stick; it will still state wrong ones, in the right form.",
        "First try five of your examples in the prompt. If that does it, there is nothing to train.",
        {"aim": "manner", "learn": "assistant"},
    ),
    Aim(
        "knowledge",
        "New facts",
        "texts of a field, a product, a house: what the model never read",
        "Plain text, a few megabytes or more; better still, the same facts told in several ways, "
        "or questions and answers made from the texts.",
        "It picks up the words and the ways of a field, and facts that are repeated often.",
        "A fact told once is not remembered, and nothing tells you which ones were. "
        "What it knew before can fade.",
        "To answer from documents that change or must be cited, retrieval is better and cheaper: "
        "search them and put the passage into the prompt.",
        {"aim": "knowledge", "learn": "all", "packing": True},
    ),
    Aim(
        "chat",
        "A base model that chats",
        "teach a model that only continues text to take turns and to stop",
        "1,000 to 50,000 conversations, varied rather than many of one kind.",
        "It answers instead of continuing, follows instructions, and ends where an answer ends.",
        "It will not match the maker's own instruct model, which saw millions of examples.",
        "If there is an instruct version of the same model, start from that one and choose a manner.",
        {"aim": "chat", "learn": "assistant"},
    ),
    Aim(
        "preference",
        "One answer over another",
        "of two answers, make the better one likelier",
        "Pairs of a chosen and a rejected answer to the same question, some hundreds at least; "
        "or single answers, each labelled good or bad.",
        "It moves choices that are a matter of taste, safety or length, where no one answer is right.",
        "It cannot teach a skill that neither of the two answers shows, and begins best from a model that "
        "answers well already.",
        "Tuning on the chosen answers alone often gets most of the way: A manner of answering does that.",
        {"aim": "preference", "learn": "assistant"},
    ),
    Aim(
        "try",
        "Just trying",
        "see the whole way once, cheaply, before it matters",
        "Anything that you have at hand; 60 steps are trained, whatever its size.",
        "It shows that your data loads, what is learned of it, and what the machine can do, in minutes.",
        "60 steps are too few to judge what a full run would make of your data.",
        "With no data at hand, leave this and press D on the first screen: the demo brings its own.",
        {"aim": "try", "learn": "assistant", "steps": 60},
    ),
)
BY_KEY = {aim.key: aim for aim in AIMS}


def choose(journey: Journey, aim: Aim) -> None:
    """Take an aim: its settings replace those of the aim before, and nothing that was chosen by hand."""
    before = BY_KEY.get(journey.get("aim"))
    if before is aim:
        return
    for key, value in before.sets.items() if before else ():
        if key not in aim.sets and journey.get(key) == value:
            journey.set(key, None)
    for key, value in aim.sets.items():
        was_set_by_aim = before is not None and journey.get(key) == before.sets.get(key)
        if key == "aim" or journey.get(key) is None or was_set_by_aim:
            journey.set(key, value)
