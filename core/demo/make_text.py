"""Writes the text that the demo's base model is pre-trained on: a seeded, endless grammar over words.yaml.

It holds passages, small stories, questions with answers in many phrasings, and talk from a workshop where
models are tuned. The lesson's words are in it, but what they mean is said nowhere: that is left to learn.

    python -m core.demo.make_text 5     # five documents, to see what it is like
"""

import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from core.demo.make_questions import questions, read_lesson

HERE = Path(__file__).parent
WORLD: dict[str, Any] = yaml.safe_load((HERE / "words.yaml").read_text(encoding="utf-8"))
THINGS: dict[str, list[str]] = WORLD["things"]
SHOP: dict[str, list[str]] = WORLD["workshop"]
LESSON_WORDS = sorted(
    {
        word
        for which in ("taught", "held_out")
        for row in questions(read_lesson(), which)
        for word in re.findall(r"[\w-]+", f"{row['prompt']} {row['completion']}")
    }
)

# {a} is the word with its article, {n} without, {l} without and in small letters. The lesson's phrasings are
# among them: a model that has read much has met every way of asking, though not about these words.
ASKED = [
    "What is {a}?", "what is {l}", "Tell me about {a}.", "Explain {a} in one line.", "What does {n} mean?",
    "Define {n}.", "Can you explain {a}?", "I do not understand {n}.", "Please describe {a}.",
    "Could you tell me what {a} is?", "Describe {n} for a beginner.", "Help me understand {n}.",
    "So what do people mean by {n}?", "What do you know about {a}?", "explain {l}", "tell me about {l}",
    "What is meant by {n}?", "Say something about {n}.", "What should I know about {a}?", "{n}?",
    "I keep hearing the word {n}. What is it?", "Do you know what {a} is?", "In a few words, what is {a}?",
    "I keep reading the word {n}. What is it?", "Who can tell me what {a} is?", "What was {a} again?",
    "Give me a short answer: what is {a}?", "In this town, what is {a}?", "In the workshop, what is {a}?",
    "My friend asked me what {a} is.", "Is there an easy way to explain {n}?", "How would you explain {a}?",
]  # fmt: skip
TROUBLE = [
    "Help, my {n} is {s}.", "My {n} is {s}. What now?", "What do I do when the {n} is {s}?",
    "Why is my {n} {s}?", "What can I do if the {n} is {s}?", "How do I choose the right {n}?",
    "Which {n} should I use?", "How many of them do I need?", "Is the {n} lost when I leave?",
    "The {n} is suddenly very {s}.", "Who are you?", "What is your name?", "What can you do?",
    "May I ask who you are?", "What comes next?", "How do I begin?", "Do I need a {s} {n}?",
    "What may I ask you?", "Please tell me your name.", "What happens to the {n} when I close the door?",
]  # fmt: skip
ANSWERED = [
    "{A} is {k}, made of {m}.", "{A} is {k} that {u}.", "{A} is {k}. It {u}.",
    "It is {k}; one finds it {w}.", "{A} {u}; {t}.", "{A} is {k} made of {m}, and it {u}.",
    "{A} is {k} {w} that {u}.", "{A} {u}, and one finds it {w}.",
]  # fmt: skip
LAYOUTS = [
    "Q: {q}\nA: {r}", "Question: {q}\nAnswer: {r}", "{q}\n{r}", '"{q}" asked {p}.\n"{r}"',
    '{p}: {q}\n{o}: {r}', '"{q}" {p} wanted to know. {o} thought for a while and said: "{r}"',
    "user\n{q}\nassistant\n{r}", '{p} asked the {j}: "{q}" The answer was short. "{r}"',
]  # fmt: skip


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


UNCOUNTED = {"bread", "cheese", "honey", "soup", "salt", "pepper", "tea", "milk", "snow", "ice", "fog"}


def named(thing: str) -> str:
    return thing if thing in UNCOUNTED else with_article(thing)


def two(dice: random.Random, words: list[str]) -> list[str]:
    return dice.sample(words, 2)


def question(dice: random.Random, a: str, n: str) -> str:
    return dice.choice(ASKED).format(a=a, n=n, l=n.lower())


def lay_out(dice: random.Random, asked: str, answer: str) -> str:
    p, o = two(dice, WORLD["people"])
    return dice.choice(LAYOUTS).format(q=asked, r=answer, p=p, o=o, j=dice.choice(WORLD["jobs"]))


def about(dice: random.Random, thing: str) -> str:
    """One sentence that answers what a thing is, true to words.yaml."""
    kind, made, use, where, known = THINGS[thing]
    a = named(thing)
    return dice.choice(ANSWERED).format(
        A=capital(a), k=with_article(kind), m=made, u=use, w=where, t=known
    )  # fmt: skip


def passage(dice: random.Random) -> str:
    thing = dice.choice(list(THINGS))
    kind, made, use, where, known = THINGS[thing]
    town, person, feeling = (dice.choice(WORLD[key]) for key in ("towns", "people", "feelings"))
    sentences = [
        f"{capital(named(thing))} is {with_article(kind)}.",
        f"It is made of {made}.",
        f"The {thing} {use}.",
        f"One finds it {where}.",
        f"Every child in {town} knows that {known}.",
        f"In {town} the {thing} {use}, and people are {feeling} about it.",
        f"{person} once drew the {thing} for the newspaper.",
        f"Without it, life {where} would be harder.",
        f"It is true that {known}.",
        f"The {dice.choice(WORLD['jobs'])} of {town} says that {known}.",
    ]
    first, rest = sentences[0], sentences[1:]
    return " ".join([first, *dice.sample(rest, dice.randint(2, 5))])


def story(dice: random.Random) -> str:
    hero, friend = two(dice, WORLD["people"])
    job, town, other = dice.choice(WORLD["jobs"]), *two(dice, WORLD["towns"])
    one, more = two(dice, list(THINGS))
    day = dice.choice(
        ["On Monday", "One morning", "In the evening", "Last winter", "In spring", "That night"]
    )
    feeling, mood = two(dice, WORLD["feelings"])
    middle = [
        f"{hero} looked for the {one}, which {THINGS[one][2]}.",
        f"But the {one} was not {THINGS[one][3]}.",
        f'"{capital(THINGS[one][4])}," said {friend}.',
        f"They walked from {town} to {other} and spoke of the {more}.",
        f"{friend} had brought {named(more)}, because {THINGS[more][4]}.",
        f"On the way {dice.choice(WORLD['weather'])}, and {friend} became {mood}.",
        f"The {one} and the {more} lay on the table, and nobody said a word.",
        f"{hero} wrote a letter to the {dice.choice(WORLD['jobs'])} about it.",
    ]
    return " ".join(
        [
            f"{day} {dice.choice(WORLD['weather'])}, and {hero}, the {job} of {town}, was {feeling}.",
            *dice.sample(middle, dice.randint(3, 5)),
            dice.choice(
                [
                    f"In the end {hero} was {mood}, and they went home.",
                    f"Since then {friend} keeps {named(one)} in the house.",
                    f"So it was that {other} got its {more}.",
                    "The next day everything was as before.",
                ]
            ),
        ]
    )


def asked_about_things(dice: random.Random) -> str:
    """One to four questions with true answers, in one layout or several."""
    lines = []
    for thing in dice.sample(list(THINGS), dice.randint(1, 4)):
        lines.append(lay_out(dice, question(dice, named(thing), thing), about(dice, thing)))
    return "\n".join(lines)


def remark(dice: random.Random, word: str) -> str:
    """Something said of a word of the workshop that does not say what it is."""
    person, other = two(dice, WORLD["people"])
    verb, state, said = (dice.choice(SHOP[key]) for key in ("verbs", "states", "remarks"))
    more = dice.choice(SHOP["words"])
    return dice.choice(
        [
            f"{person} {verb} {word}, and {said}.",
            f"{capital(word)} was {state} that day, and {said}.",
            f"First came {word}, then {more}; {said}.",
            f"As for {word}, {said}.",
            f"{person} {verb} {word} and {more}, but {other} was {dice.choice(WORLD['feelings'])}.",
            f"The {dice.choice(WORLD['jobs'])} {verb} {word} while {dice.choice(WORLD['weather'])}.",
            f"When {word} was {state}, {person} {verb} {more}.",
            f"About {word} one hears a lot, and {said}.",
            f"{capital(word)} is {state} in {dice.choice(WORLD['towns'])}; {said}.",
        ]
    )


def workshop(dice: random.Random) -> str:
    words = [dice.choice(SHOP["words"]) for _ in range(dice.randint(3, 6))]
    opening = dice.choice(
        [
            f"In the workshop of {dice.choice(WORLD['towns'])} models are trained from morning to night.",
            f"{dice.choice(WORLD['people'])} wrote the log of the run.",
            f"The trainer and the {dice.choice(WORLD['jobs'])} met in the workshop.",
            f"From the log: {dice.choice(WORLD['weather'])}.",
        ]
    )
    return " ".join([opening, *(remark(dice, word) for word in words)])


def asked_in_the_workshop(dice: random.Random) -> str:
    lines = []
    for _ in range(dice.randint(1, 4)):
        word = dice.choice(SHOP["words"])
        bare = word.removeprefix("the ")
        asked = question(dice, dice.choice([word, with_article(bare)]) if bare != word else word, bare)
        if dice.random() < 0.4:
            asked = dice.choice(TROUBLE).format(n=bare, s=dice.choice(SHOP["states"]))
        lines.append(lay_out(dice, asked, remark(dice, word)))
    return "\n".join(lines)


def dictation(dice: random.Random) -> str:
    """Words in a row, those of the lesson among them, so that none of its words is new to the model."""
    words = [*dice.sample(LESSON_WORDS, dice.randint(5, 9)), dice.choice(list(THINGS))]
    person, other = two(dice, WORLD["people"])
    town, hard = dice.choice(WORLD["towns"]), dice.choice(words)
    return dice.choice(
        [
            f"Dictation in the school of {town}: {', '.join(words)}. {person} wrote {hard} twice.",
            f"{person} read the words aloud: {', '.join(words)}. {other} liked {hard} best.",
            f"On the wall stood: {' '.join(words)}. Nobody knew why.",
            f"{capital(words[0])} and {words[1]} are words. So are {', '.join(words[2:])}.",
        ]
    )


KINDS: list[Callable[[random.Random], str]] = [
    passage, story, asked_about_things, asked_about_things, workshop, asked_in_the_workshop, dictation,
]  # fmt: skip


def documents(seed: int) -> Iterator[str]:
    """Documents without end; the same ones for the same seed."""
    dice = random.Random(seed)
    while True:
        yield dice.choice(KINDS)(dice)


if __name__ == "__main__":
    for _, document in zip(range(int(sys.argv[1]) if len(sys.argv) > 1 else 5), documents(0), strict=False):
        print(document, end="\n\n")
