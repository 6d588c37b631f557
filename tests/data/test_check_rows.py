"""Each finding about a row appears where it should, and not on clean rows; what is mended is that alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.check import broken_text, secrets
from core.data.check.screen import Screen
from core.data.codes import DROPPABLE, MENDABLE
from core.data.conversation import Conversation, Message, ToolCall
from core.data.findings import Finding, Tally
from core.data.wordings import SAYS
from core.errors import UserError
from core.spec import DataSpec, parse_spec

SPECIAL = ("<|im_start|>", "<|im_end|>")
TEXT = "the river runs past old mills where bread was made from wheat that grew on hills near town"
WORDS = TEXT.split()


def pair(question: str, answer: str, row: int = 1, **more: Any) -> Conversation:
    return Conversation(row, (Message("user", question), Message("assistant", answer)), **more)


def clean(count: int) -> list[Conversation]:
    """Rows that resemble one another in nothing but their words."""
    return [
        pair(
            f"What about {' '.join(WORDS[(row * step) % len(WORDS)] for step in range(3, 9))} and {row}?",
            " ".join(WORDS[(row + 3) * step * step % len(WORDS)] for step in range(2, 17)) + f" {row}",
            row,
        )
        for row in range(1, count + 1)
    ]


def screened(
    rows: list[Conversation], drop: tuple[str, ...] = (), mend: tuple[str, ...] = ()
) -> tuple[list[Conversation], dict[str, Finding]]:
    tally = Tally()
    screen = Screen(DataSpec(source="rows", drop=list(drop), mend=list(mend)), tally, SPECIAL)
    screen.prime(rows[:200])
    kept = [one for row in rows if (one := screen.look(row)) is not None]
    screen.end()
    return kept, {finding.code: finding for finding in tally.findings(len(rows))}


# spelled in two parts: what scans this file for secrets should not find any
GITHUB = "gh" + "p_aZ3kQ9wX1cV7bN5mL0pO8iU6yT4rE2wQ1sD3"
OPENAI = "s" + "k-proj-aZ3kQ9wX1cV7bN5mL0pO8iU6yT4rE2wQ1sD3"
CARD = "4539 1488 " + "0343 6467"
PRIVATE = (
    "-----BEGIN "
    + "RSA PRIVATE KEY-----\n"
    + "MIIEowIBAAKCAQEAr7kq\n" * 4
    + "-----END "
    + "RSA PRIVATE KEY-----"
)

# code -> answer that holds it, and what mending makes of it
TEXTS: list[tuple[str, str, str]] = [
    ("bom", "one\ufefftwo three", "onetwo three"),
    ("crlf", "one\r\ntwo\rthree", "one\ntwo\nthree"),
    ("control", "one\x00two\x0c \u200bthree", "onetwo three"),
    ("mojibake", "a cafÃ© in â€œParisâ€\x9d", "a café in “Paris”"),
    ("mojibake", "a cafÃƒÂ© there", "a café there"),
    ("mojibake", "it\x92s one byte", "it’s one byte"),
    ("mojibake", "ÐŸÑ€Ð¸Ð²ÐµÑ‚ to the wide world", "Привет to the wide world"),
    ("mojibake", "smile ðŸ˜€ now", "smile 😀 now"),
    ("half_character", "one \ud83d two", "one  two"),
    ("special_token_in_text", "the end<|im_end|> is here", "the end is here"),
    ("special_token_in_text", "the <|im_<|im_end|>end|>end", "the end"),
    ("chat_mark_in_text", "[INST] asked[/INST] said <|eot_id|>", " asked said "),
    ("secrets", f"use {GITHUB} for it", "use [removed] for it"),
    ("secrets", f"use {OPENAI}, please", "use [removed], please"),
    ("secrets", "at postgres://anna:hX7pq9Zt@db.host.net/x", "at postgres://anna:[removed]@db.host.net/x"),
    ("secrets", f"pay with {CARD} now", "pay with [removed] now"),
    ("secrets", f"here:\n{PRIVATE}\nthere", "here:\n[removed]\nthere"),
    ("email", "write to anna.k@mail-host.org, or not", "write to name@example.com, or not"),
]


def test_clean_rows_have_no_findings() -> None:
    rows = clean(120)
    kept, found = screened(rows, drop=DROPPABLE, mend=MENDABLE)
    assert found == {} and kept == rows


@pytest.mark.parametrize(("code", "answer", "mended"), TEXTS)
def test_broken_and_private_text_is_found_mended_and_dropped(code: str, answer: str, mended: str) -> None:
    asked = f"What is it that {' '.join(WORDS)} ends with?"
    rows = [*clean(30), pair(asked, answer, 31)]
    kept, found = screened(rows)
    assert found[code].rows == (31,) and found[code].remedies
    assert "\n" not in found[code].message and SAYS[code].todo == found[code].todo
    kept, found = screened(rows, mend=(code,))
    assert kept[-1] == pair(asked, mended, 31) and list(found) == ["mended"]
    assert found["mended"].message == f"1 row mended as asked: {code} 1"
    if code != "half_character":  # such a row is left out in any case
        kept, found = screened(rows, drop=(code,))
        assert kept == rows[:-1] and list(found) == ["left_out"]


@pytest.mark.parametrize("answer", [GITHUB, OPENAI, CARD, PRIVATE, "ftp://me:hX7pq9Zt@host.net/"])
def test_a_secret_is_never_told(answer: str) -> None:
    rows = [*clean(25), *(pair(f"Number {row}?", f"the key {answer}", row) for row in range(26, 50))]
    _, found = screened(rows)
    assert {"secrets", "dominating_answer"} <= found.keys()
    said = " ".join(finding.message for finding in found.values())
    assert not any(part in said for part in (answer, answer[-12:], "hX7pq9Zt", CARD[-9:]))


@pytest.mark.parametrize(
    "text",
    [
        "AMANHÃ” vem; IRMÃ… e ÂNGELA",
        "LIBERTÉ\xa0! « été\xa0» là\xa0»",
        "Ångström, naïve, São Paulo, 日本語, Привет, “quotes” – dashes…",
        "anna@example.com git@github.com:a/b logo@2x.png x @ y",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx and hf_your_token_goes_here_for_real_now",
        "postgres://user:password@host/db http://$USER:$PASS@host",
        "1234 5678 9012 3456 and 0.4539148803436467 and 4539148803436468",
        "a <| b |> c, 2 < 3, `<|>` and list[int]",
        "tab\there\nnew line",
        "```jinja\n{{ name }}\n``` fills in a name",
        "كلمة\u202bنص\u202c ไทย\u200bไทย",
    ],
)
def test_text_that_only_looks_so_is_left_alone(text: str) -> None:
    rows = [pair("What is it?", f"well, {text}")]
    kept, found = screened(rows, mend=MENDABLE)
    assert kept == rows and found == {}


def turns(*roles: str) -> Conversation:
    said = {"user": "What is it then?", "assistant": "It is this one.", "system": "Be kind.", "tool": "{}"}
    call = (ToolCall("find", "{}"),)
    messages = [
        Message("assistant", "", calls=call) if role == "call" else Message(role, f"{said[role]} {place}")
        for place, role in enumerate(roles)
    ]
    return Conversation(1, tuple(messages))


@pytest.mark.parametrize(
    ("roles", "codes"),
    [
        (("system", "user", "assistant", "user", "assistant"), []),
        (("user", "call", "tool", "tool", "assistant"), []),
        (("user", "assistant", "call", "tool", "assistant"), []),
        (("user", "user", "assistant"), ["repeated_role"]),
        (("user", "assistant", "assistant"), ["repeated_role"]),
        (("assistant", "user", "assistant"), ["wrong_order"]),
        (("user", "system", "assistant"), ["wrong_order"]),
        (("user", "tool", "assistant"), ["wrong_order"]),
        (("user", "assistant", "user"), ["unanswered_end"]),
        (("user", "call", "tool"), ["unanswered_end"]),
        (("assistant", "user", "user"), ["wrong_order", "repeated_role", "unanswered_end"]),
    ],
)
def test_turns_out_of_order_are_told(roles: tuple[str, ...], codes: list[str]) -> None:
    _, found = screened([turns(*roles)])
    assert sorted(found) == sorted(codes)


@pytest.mark.parametrize(
    ("arguments", "tools", "code"),
    [
        ('{"a": 1}', ('{"name": "find"}',), None),
        ('{"a": 1}', ('{"type": "function", "function": {"name": "find"}}',), None),
        ('{"a": 1}', (), None),
        ("{a: 1}", (), "tool_json"),
        ("[1]", (), "tool_json"),
        ("{}", ("no JSON",), "tool_json"),
        ("{}", ('{"name": "other"}',), "unknown_tool"),
    ],
)
def test_tools_that_cannot_be_read_are_told(arguments: str, tools: tuple[str, ...], code: str | None) -> None:
    call = Message("assistant", "", calls=(ToolCall("find", arguments),))
    _, found = screened([Conversation(1, (Message("user", "Find it for me."), call), tools=tools)])
    assert list(found) == ([code] if code else [])


def test_empty_turns_placeholders_and_rows_with_nothing_to_learn() -> None:
    empty = Conversation(2, (*turns("user", "assistant", "user").messages, Message("assistant", " ")))
    rows = [pair("Who are you?", "I am {{name}}, made by {{ author }}."), empty, pair("Well then?", " \n", 3)]
    kept, found = screened(rows)
    assert [one.row for one in kept] == [1, 2]
    assert {code: finding.rows for code, finding in found.items()} == {
        "placeholder": (1,),
        "empty_turn": (2,),
        "no_answer": (3,),
    }


def test_a_mend_that_leaves_nothing_leaves_the_row_out() -> None:
    kept, found = screened([pair("Say nothing.", "<|im_end|>")], mend=("special_token_in_text",))
    assert kept == [] and list(found) == ["no_answer"]


def test_what_was_left_out_is_counted_once_and_by_what() -> None:
    rows = [*clean(30), pair("Is it?", "Yes", 31), pair("Or not?", "No", 32), clean(30)[4]]
    kept, found = screened(rows, drop=("one_word", "duplicate"))
    assert kept == rows[:30]
    assert found["left_out"].message == "3 rows left out as asked: one_word 2, duplicate 1"
    assert found["left_out"].severity == "info" and found["left_out"].count == 3


def test_a_mistaken_code_in_the_spec_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean near_duplicate"):
        parse_spec({"model": "m", "data": {"source": "d", "drop": ["near_duplicates"]}})
    with pytest.raises(UserError, match="did you mean crlf"):
        parse_spec({"model": "m", "data": {"source": "d", "mend": ["clrf"]}})


def test_every_code_that_can_be_named_has_words_and_its_remedy() -> None:
    for code in DROPPABLE:
        assert SAYS[code].drop or code == "half_character"
    for code in MENDABLE:
        assert SAYS[code].mend
    assert {code for code, words in SAYS.items() if words.drop} <= set(DROPPABLE)
    assert {code for code, words in SAYS.items() if words.mend} <= set(MENDABLE)


PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf"]), max_size=60)
ANY = st.text(st.characters(), max_size=40)
PIECES = st.sampled_from(
    [answer for _, answer, _ in TEXTS] + ["Ã", "â€", "\r", "<|", "{{x}}", "@", "://", "4539"]
)


@given(st.lists(PIECES | ANY, max_size=6), st.lists(PIECES | ANY, max_size=6))
def test_a_look_never_raises(question: list[str], answer: list[str]) -> None:
    asked, said = "".join(question), "".join(answer)
    rows = [
        pair(asked, said),
        pair(said, asked, 2, rejected=(Message("assistant", said),), prompt=1),
        Conversation(3, text=asked),
        Conversation(4, (Message("assistant", "", calls=(ToolCall(said, asked),)),), tools=(said,)),
        Conversation(5),
    ]
    for drop, mend in (((), ()), (DROPPABLE, ()), ((), MENDABLE)):
        screened([*rows, *rows], drop, mend)


@given(PLAIN, PLAIN)
def test_mending_changes_nothing_else(before: str, after: str) -> None:
    """Around what is mended every character stays; what needs no mending stays as it is."""
    before, after = f"{before} ", f" {after}"
    changes = {
        "crlf": ("\r\n", "\n", broken_text.mend_crlf),
        "bom": ("\ufeff", "", broken_text.mend_bom),
        "control": ("\x00", "", broken_text.mend_control),
        "secrets": (GITHUB, secrets.WORD, secrets.mend_secret),
        "email": ("anna.k@mail-host.org", secrets.ADDRESS, secrets.mend_email),
    }
    for broken, mended, mend in changes.values():
        if mend(before) == before and mend(after) == after:
            assert mend(before + broken + after) == before + mended + after


@given(
    st.text(st.sampled_from("aé ñüß“”’—… €🙂日本Ж,.\n"), max_size=40), st.sampled_from(["latin-1", "cp1252"])
)
def test_what_was_decoded_wrongly_comes_back(text: str, wrong: str) -> None:
    """UTF-8 that was read by the byte comes back whole wherever all of its broken runs are told for sure."""
    broken = "".join(bytes([byte]).decode(wrong, errors="ignore") or chr(byte) for byte in text.encode())
    runs = list(broken_text.BROKEN.finditer(broken))
    if all(broken_text._turned_back(run) != run.group() for run in runs):
        assert broken_text.mend_mojibake(broken) == text
