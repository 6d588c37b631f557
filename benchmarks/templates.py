"""Every chat template in a folder, rendered and masked, and judged by where marked words stand.

    python -m benchmarks.templates ../shared/tokenizers docs/measured/templates.md

The judge knows nothing of how masks are found: each message says a word that stands nowhere else, and in
the tokens it is looked up which of these words are learned, and what is learned beside them.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.chat.prompt import prompt_ids
from core.data.chat_template import templates
from core.data.chat_template.mask import Refused, Rendered, render
from core.data.chat_template.rendering import schemas
from core.data.conversation import Conversation, Message, ToolCall, as_turns
from core.data.tokenizer import load_tokenizer
from core.errors import UserError

DEMO = Path(__file__).resolve().parents[1] / "core" / "demo" / "model"
TOKEN = re.compile(r"<\|[^|<>{}' ]+\|>|<｜[^｜]+｜>|</?[a-z_]+(?::\w+)?>|<\[\w+\]>|\[/?[A-Z_]+\]|<\|?\w+\|?>")

TOOL = json.dumps(
    {
        "type": "function",
        "function": {
            "name": "forecast",
            "description": "Tells the weather.",
            "parameters": {
                "type": "object",
                "properties": {"town": {"type": "string", "description": "Where."}},
                "required": ["town"],
            },
        },
    }
)
ASK, SAY = Message("user", "askone"), Message("assistant", "sayone")
MORE = (Message("user", "asktwo"), Message("assistant", "saytwo"))
CALL = (
    Message("assistant", "", calls=(ToolCall("forecast", '{"town": "callone"}', "callid001"),)),
    Message("tool", "resultone", name="forecast", call_id="callid001"),
)
CASES: dict[str, Conversation] = {
    "single": Conversation(1, (ASK, SAY)),
    "multi-turn": Conversation(1, (ASK, SAY, *MORE)),
    "system": Conversation(1, (Message("system", "sysone"), ASK, SAY, *MORE)),
    "tools": Conversation(1, (ASK, *CALL, SAY, *MORE), tools=(TOOL,)),
    "thoughts": Conversation(1, (ASK, Message("assistant", "sayone", thought="thinkone"))),
}
WORDS = ("sysone", "askone", "sayone", "asktwo", "saytwo", "resultone", "callone", "thinkone")


@dataclass(frozen=True)
class Verdict:
    """`kind`: right, refused or wrong. `notes`: what else is to be said, of what is right."""

    kind: str
    why: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Looked:
    name: str
    tokenizer: str
    refused: str
    """Why the template itself is refused; empty: it is not."""
    verdicts: dict[str, Verdict]
    notes: tuple[str, ...] = ()


def survey(folder: Path) -> Iterator[Looked]:
    """Every tokenizer with a template of its own, and every .jinja file with a stand-in tokenizer."""
    for config in sorted(folder.rglob("tokenizer_config.json")):
        source = json.loads(config.read_text(encoding="utf-8")).get("chat_template")
        if source:
            yield _own(config, source, str(config.parent.relative_to(folder)))
    for path in sorted(folder.rglob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        yield look(str(path.relative_to(folder)), "stand-in", stand_in(source), source)


def _own(config: Path, source: str, name: str) -> Looked:
    try:
        tokenizer = load_tokenizer(str(config.parent))
    except UserError:
        given = json.loads(config.read_text(encoding="utf-8"))
        return look(name, "stand-in", stand_in(source, given), source)
    return look(name, "its own", tokenizer, source)


def stand_in(source: str, config: dict[str, Any] | None = None) -> Any:
    """The demo's tokenizer with the tokens that a template writes, and with those its own would have."""
    tokenizer = load_tokenizer(str(DEMO))
    named = {"bos_token": "<s>", "eos_token": "</s>"}
    for key in named:
        value = (config or {}).get(key)
        text = value.get("content") if isinstance(value, dict) else value
        named[key] = text or named[key]
    tokens = sorted({*TOKEN.findall(source)} - set(named.values()))
    tokenizer.add_special_tokens({**named, "extra_special_tokens": tokens})
    return tokenizer


def look(name: str, kind: str, tokenizer: Any, source: str) -> Looked:
    tokenizer.chat_template = source
    chosen: dict[bool, templates.Template] = {}
    try:
        for thoughtless in (True, False):
            chosen[thoughtless] = templates.choose("auto", tokenizer, thoughtless=thoughtless)
    except UserError as error:
        return Looked(name, kind, f"{error.what}: {error.why}", {})
    verdicts = {
        case: judge(conversation, tokenizer, chosen[case != "thoughts"], source)
        for case, conversation in CASES.items()
    }
    notes = [chosen[True].warning, chosen[True].dated]
    return Looked(name, kind, "", verdicts, tuple(note for note in notes if note))


def judge(conversation: Conversation, tokenizer: Any, template: templates.Template, source: str) -> Verdict:
    row = render(conversation, tokenizer, template)
    if isinstance(row, Refused):
        return Verdict("refused", row.why)
    messages, notes = conversation.messages, []
    if row.folded:
        messages = templates.fold_system(messages)
        notes.append("system message in the first question")
    whole = tokenizer.apply_chat_template(
        as_turns(messages),
        tools=list(schemas(conversation.tools)) or None,
        chat_template=source,
        tokenize=False,
    )
    if row.text != whole:
        return Verdict("wrong", "not the text that apply_chat_template gives")
    if row.ids != tokenizer(whole, add_special_tokens=False)["input_ids"]:
        return Verdict("wrong", "not the ids that apply_chat_template gives")
    wrong = mistaken(row, conversation, tokenizer, template)
    if wrong:
        return Verdict("wrong", wrong)
    if row.unthought:
        notes.append("thought left out")
    if (
        not conversation.tools
        and not row.unthought
        and not opens_as_in_chat(row, conversation, tokenizer, template)
    ):
        notes.append("chat opens the answer differently")
    return Verdict("right", notes=tuple(notes))


def mistaken(row: Rendered, conversation: Conversation, tokenizer: Any, template: templates.Template) -> str:
    """What is learned that should not be, or the other way round; empty: nothing."""
    bos = tokenizer.bos_token_id
    if bos is not None and bos != tokenizer.eos_token_id and row.ids[:2] == [bos, bos]:
        return "two beginnings"
    answers = [turn for turn in conversation.messages if turn.role == "assistant"]
    runs = _runs(row)
    if len(runs) != len(answers):
        return f"{len(runs)} learned parts for {len(answers)} answers"
    added = set(tokenizer.get_added_vocab().values())
    spelt = ""
    for (first, stop), turn in zip(runs, answers, strict=True):
        said = tokenizer.decode(row.ids[first:stop])
        spelt += said
        due = {turn.content, *(json.loads(call.arguments)["town"] for call in turn.calls)} - {""}
        held = {word for word in WORDS if word in said} - {turn.thought}
        if held != due:
            return f"learned {sorted(held)} where {sorted(due)} are due"
        if turn.thought and not row.unthought and turn.thought not in said:
            return "the thought is not learned"
        if row.ids[stop - 1] not in added and (turn is answers[-1] or not template.warning):
            return f"the last learned token of {said!r} ends nothing"
        for call in turn.calls:
            if call.name not in said:
                return "the name that is called is not learned"
        if not turn.calls and (turn.thought is None or row.unthought):
            rest = said.replace(turn.content, "", 1)
            for token in (*tokenizer.get_added_vocab(), template.closing.strip()):
                rest = rest.replace(token, "") if token else rest
            if rest.strip():
                return f"{rest.strip()!r} is learned beside the words"
            if len([one for one in row.ids[first:stop] if one in added]) > 1:
                return f"more than one token of its own in {said!r}"
    for word in ("sysone", "askone", "asktwo", "resultone"):
        if any(word in turn.content for turn in conversation.messages) and word not in row.text:
            return f"{word} is lost"
    return ""


def opens_as_in_chat(
    row: Rendered, conversation: Conversation, tokenizer: Any, template: templates.Template
) -> bool:
    """Whether the ids before the last answer are those that chat asks with."""
    asked = [{"role": turn.role, "content": turn.content} for turn in conversation.messages[:-1]]
    prompt = prompt_ids(tokenizer, template, asked)
    return row.ids[: _runs(row)[-1][0]] == prompt


def _runs(row: Rendered) -> list[tuple[int, int]]:
    """Learned tokens that stand together."""
    edges = [
        place for place, (a, b) in enumerate(zip([0, *row.learned], [*row.learned, 0], strict=True)) if a != b
    ]
    return list(zip(edges[::2], edges[1::2], strict=True))


def report(looked: list[Looked]) -> str:
    counts = {
        case: Counter(one.verdicts[case].kind if one.verdicts else "refused" for one in looked)
        for case in CASES
    }
    lines = [
        "# Chat templates and their masks",
        "",
        f"{len(looked)} published chat templates, each on five conversations. Measured by",
        "`benchmarks/templates.py`, which looks up, in the tokens, where words stand that each message",
        "alone says. *Right*: text",
        "and ids are those of `apply_chat_template`, and exactly the assistant's words, calls and end",
        "tokens are learned. *Refused*: such rows, or the template as a whole, are not trained on,",
        "and the user is told why. A stand-in is the demo's tokenizer with the tokens that the",
        "template writes.",
        "",
        "| conversation | right | refused | wrong |",
        "|---|---|---|---|",
        *(f"| {case} | {n['right']} | {n['refused']} | {n['wrong']} |" for case, n in counts.items()),
        "",
        "| template | tokenizer | " + " | ".join(CASES) + " | notes |",
        "|---|---|" + "---|" * (len(CASES) + 1),
        *map(_line, looked),
    ]
    return "\n".join(lines) + "\n"


def _line(one: Looked) -> str:
    verdicts = [one.verdicts[case].kind if one.verdicts else "refused" for case in CASES]
    whys: dict[str, list[str]] = {}
    for case, verdict in one.verdicts.items():
        for said in (verdict.why, *verdict.notes):
            if said:
                whys.setdefault(said, []).append(case)
    notes = [f"{', '.join(cases)}: {said}" for said, cases in whys.items()]
    said = "; ".join([*([one.refused] if one.refused else []), *one.notes, *notes])
    cells = (
        one.name.replace("_", "\\_"),
        one.tokenizer,
        *verdicts,
        " ".join(said.split()).replace("|", "\\|"),
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    looked = list(survey(asked.folder))
    asked.out.write_text(report(looked), encoding="utf-8")
    wrong = [
        (one.name, case, v.why) for one in looked for case, v in one.verdicts.items() if v.kind == "wrong"
    ]
    for line in wrong:
        print(*line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
