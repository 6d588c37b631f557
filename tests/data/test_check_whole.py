"""Repeats, leaks, and what only the whole of the data shows; how well near repeats are found is measured."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from core.data.chat_template.mask import Rendered
from core.data.check import seen
from core.data.check.leaks import find_leaks, key, say_leaks
from core.data.check.near import KEPT, Near
from core.data.check.screen import Screen
from core.data.check.script import script_of
from core.data.check.seen import Seen
from core.data.check.whole import ANSWERS, Answers
from core.data.conversation import Conversation
from core.data.findings import SHOWN_ROWS, Remedy, Tally, name_rows
from core.data.wordings import SAYS
from core.spec import DataSpec
from tests.data.test_check_rows import TEXT, WORDS, clean, pair, screened


def test_repeats_are_found_once_they_come_again() -> None:
    rows = [
        *clean(40),
        *(pair(*(turn.content for turn in one.messages), 40 + n) for n, one in enumerate(clean(3), 1)),
    ]
    kept, found = screened(rows)
    assert found["duplicate"].rows == (41, 42, 43) and "row 41 is row 1 again" in found["duplicate"].message
    assert found["duplicate"].remedies[0].change == {"data.drop": ["duplicate"]} and len(kept) == 43
    kept, found = screened(rows, drop=("duplicate",))
    assert [one.row for one in kept] == list(range(1, 41)) and list(found) == ["left_out"]


def test_a_verdict_or_other_tools_make_another_row() -> None:
    one = clean(1)[0]
    rows = [one, Conversation(2, one.messages, label=True), Conversation(3, one.messages, label=False)]
    rows.append(Conversation(4, one.messages, tools=('{"name": "find"}',), label=True))
    assert "duplicate" not in screened(rows)[1]


def test_more_rows_than_are_remembered_are_sampled_and_it_is_said() -> None:
    known = Seen(most=500)
    keys = [seen.hashed(str(number)) for number in range(4_000)]
    assert all(known.add(one, place) is None for place, one in enumerate(keys))
    again = [known.add(one, 0) for one in keys]
    assert known.every in (8, 16) and known.count <= 500
    found = [place for place, name in enumerate(again) if name is not None]
    assert [again[place] for place in found] == found and 200 <= len(found) <= 500
    tally = Tally()
    screen = Screen(DataSpec(source="rows"), tally)
    screen.seen = Seen(most=10)
    for one in clean(40):
        screen.look(one)
    screen.end()
    assert any(finding.code == "repeats_sampled" for finding in tally.findings(40))


def sentence(chance: random.Random, words: list[str], count: int) -> list[str]:
    return [words[int(len(words) * chance.random() ** 3)] for _ in range(count)]


def edited(chance: random.Random, words: list[str], said: list[str], edits: int) -> list[str]:
    """So many words replaced, left out or put in."""
    said = list(said)
    for _ in range(edits):
        place = chance.randrange(len(said))
        said[place : place + chance.choice((0, 1, 1))] = chance.choice(
            ([], [chance.choice(words)], [chance.choice(words)])
        )
    return said


@pytest.mark.parametrize(
    ("edits", "least", "most"), [(0, 1, 1), (1, 0.99, 1), (2, 0.98, 1), (3, 0.85, 1), (12, 0, 0.02)]
)
def test_how_many_near_repeats_are_found(edits: int, least: float, most: float) -> None:
    """Of rows of 75 words in which some are edited, case and points apart: the recall that the docs state."""
    chance = random.Random(edits)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(5_000)]
    near, found = Near(), 0
    rows = [sentence(chance, words, 75) for _ in range(600)]
    wrong = sum(
        near.look(row, " ".join(said[:25]), " ".join(said[25:])) is not None for row, said in enumerate(rows)
    )
    assert wrong == 0
    for row, said in enumerate(rows):
        again = edited(chance, words, said, edits)
        twin = near.look(1_000 + row, " ".join(again[:25]).title() + "?", " ".join(again[25:]) + ".")
        found += twin == row
    assert least <= found / len(rows) <= most


def test_likeness_is_seen_in_languages_without_blanks() -> None:
    near = Near()
    said = (
        "今天的天气非常好我们一起去公园散步然后在湖边的咖啡馆喝茶聊天直到太阳下山才慢慢走回家吃晚饭看书睡觉"
    )
    assert near.look(1, "请写一段话", said) is None
    assert near.look(2, "请写一段话", said.replace("喝茶", "喝水")) is not None
    assert near.look(3, "请写一段话", said[::-1]) is None


def test_other_numbers_sums_and_verdicts_are_no_repeats() -> None:
    near, text = Near(), " ".join(WORDS)
    assert near.look(1, f"{text} with 48 clips", "so it is 72", "True") is None
    assert near.look(2, f"{text} with 49 clips", "so it is 72", "True") is None
    assert near.look(3, f"{text} with 48 clips", "so it is 72", "False") is None
    assert near.look(4, f"{text}, with 48 clips", "So it is 72.", "True") is not None


def test_one_text_with_many_questions_is_no_repeat() -> None:
    """What rows share by their making does not make them alike: a long text, or one instruction for all."""
    text = " ".join(f"{word}{number}" for number, word in enumerate(WORDS * 10))
    asked = ["who built the mill", "when did bread rise", "which hills are meant here", "why does wheat grow"]
    rows = [pair(f"{text} {ask}?", f"{ask[::-1]} indeed", row) for row, ask in enumerate(asked, 1)]
    assert "near_duplicate" not in screened(rows)[1]
    pattern = f"Sort into good or bad, {TEXT}: {{}} – and answer with one of the two, {TEXT}"
    rows = [
        pair(pattern.format(" ".join(WORDS[n % 7 : n % 7 + 3]) + str(n)), "good", n) for n in range(1, 60)
    ]
    assert "near_duplicate" not in screened(rows)[1]


def test_near_repeats_depend_on_order_and_content_alone_and_memory_on_neither() -> None:
    code = (
        "from core.data.check.near import Near; n = Near(); t = 'one two three four five six seven eight '\n"
        "twins = [n.look(i, t + s, 'well then ten') for i, s in enumerate(['x', 'y', 'x y', 'X'])]\n"
        "print(twins, n.marks[:3].sum())"
    )
    root = Path(__file__).resolve().parents[2]
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] != ""
    near = Near()
    assert (
        sum(table.nbytes for table in (near.slots, near.marks, near.ends, near.sums, near.names, near.counts))
        < 90e6
    )
    near.kept = KEPT + 5  # the oldest rows make room
    assert near.look(1, "a b c d e f", "g h i j k l") is None and near.names[5] == 1


def test_one_answer_to_everything() -> None:
    rows = [
        *clean(30),
        *(
            pair(one.messages[0].content + " again?", "I do not  know.", 30 + n)
            for n, one in enumerate(clean(12), 1)
        ),
    ]
    finding = screened(rows)[1]["dominating_answer"]
    assert finding.severity == "warn" and finding.count == 12 and finding.rows == tuple(range(31, 43))
    assert "12 of 42 rows (28.6%)" in finding.message and "I do not know." in finding.message
    assert "dominating_answer" not in screened(rows[:36])[1]


def test_an_answer_cannot_hide_among_many() -> None:
    answers = Answers()
    for row in range(20 * ANSWERS):
        answers.add(row, ["the same old tale" if row % 4 == 0 else f"a tale of {row}"])
    assert len(answers.by_key) <= ANSWERS
    top = answers.dominating()
    assert top is not None and top.example == "the same old tale" and 4_900 <= top.count <= 5_000


def test_labels_are_a_kind_of_data_not_a_fault() -> None:
    rows = [pair(one.messages[0].content, "good" if one.row % 2 else "bad", one.row) for one in clean(60)]
    found = screened(rows)[1]
    assert list(found) == ["labels"] and not found["labels"].remedies
    rows = [
        pair(one.messages[0].content, "bad" if one.row % 5 == 0 else "good", one.row) for one in clean(60)
    ]
    found = screened(rows)[1]
    assert found["dominating_label"].severity == "info" and found["dominating_label"].count == 48
    few = [*clean(60), pair("Is it so?", "Yes.", 61), pair("还是不是？", "是", 62)]
    assert screened(few)[1]["one_word"].rows == (61, 62)


def test_lengths_and_scripts_far_off_the_rest() -> None:
    rows = [*clean(60), pair("Tell a tale.", " ".join(f"{word}{n}" for n in range(60) for word in WORDS), 61)]
    rows += [
        pair(
            clean(62)[61].messages[0].content, "Река течёт мимо старых мельниц, где пекли хлеб из пшеницы", 62
        )
    ]
    found = screened(rows)[1]
    assert found["length_outlier"].rows == (61,) and found["language_outlier"].rows == (62,)
    assert "1 in Cyrillic, all else in Latin" in found["language_outlier"].message
    assert not screened(rows[45:])[1], "of fewer than twenty rows none is the rest"


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello there", "Latin"),
        ("Привет, мир", "Cyrillic"),
        ("東京へ行きます", "Chinese or Japanese"),
        ("是", "Chinese or Japanese"),
        ("안녕하세요", "Hangul"),
        ("مرحبا بالعالم", "Arabic"),
        ("नमस्ते दुनिया", "Devanagari"),
        ("Ｆｕｌｌ ｗｉｄｔｈ", "Latin"),
        ("42 = 6 × 7, π r²", None),
        ("", None),
    ],
)
def test_scripts(text: str, script: str | None) -> None:
    assert script_of(text) == script


def rendered(row: int, learned: int, masked: int, ends: bool = True) -> Rendered:
    ids = list(range(learned + masked))
    return Rendered(row, "", ids, [0] * masked + [1] * learned, [(0, 0)] * len(ids), ends)


def test_what_is_learned_of_the_tokens() -> None:
    tally = Tally()
    screen = Screen(DataSpec(source="rows"), tally)
    for row in range(1, 30):
        screen.look_rendered(rendered(row, 3, 97))
    screen.look_rendered(rendered(30, 0, 50))
    screen.look_rendered(rendered(31, 3, 100, ends=False))
    screen.look_rendered(rendered(32, 900, 9_000))
    screen.end()
    found = {finding.code: finding for finding in tally.findings(32)}
    assert found["low_learned_share"].severity == "warn" and "3.1%" in found["low_learned_share"].message
    assert found["no_answer"].rows == (30,) and found["end_absent"].rows == (31,)
    assert found["length_outlier"].rows == (32,) and "100 tokens" in found["length_outlier"].message.replace(
        "99", "100"
    ).replace("101", "100")


def test_leaks_are_found_by_the_whole_and_by_what_is_asked() -> None:
    train = clean(40)
    loud = pair(train[3].messages[0].content.upper(), f"  {train[3].messages[1].content} ", 1)
    held = [loud, pair(train[7].messages[0].content, "Something else then.", 2), *clean(50)[45:]]
    leaks = find_leaks(map(key, train), [key(one) for one in held])
    assert (leaks.whole, leaks.prompt, leaks.kept, leaks.out) == ((0,), (1,), (), (0, 1))
    tally = Tally()
    say_leaks(leaks, [one.row for one in held], tally)
    (finding,) = tally.findings(7)
    assert finding.rows == (1, 2) and "1 word for word, 1 by what is asked" in finding.message


def test_one_instruction_for_all_rows_is_no_leak() -> None:
    rows = [pair("Write a tale.", one.messages[1].content, one.row) for one in clean(40)]
    leaks = find_leaks(map(key, rows[:30]), [key(one) for one in (*rows[30:], rows[0])])
    assert leaks.out == (10,) and leaks.kept == tuple(range(10))
    tally = Tally()
    say_leaks(leaks, list(range(1, 12)), tally)
    assert [finding.code for finding in tally.findings(11)] == ["leak", "same_prompts"]
    texts = [
        Conversation(1, text="Once upon a time"),
        Conversation(2, text="once  upon a Time"),
        Conversation(3, text="x"),
    ]
    assert find_leaks([key(texts[0])], [key(one) for one in texts[1:]]).out == (0,)


def test_a_tally_of_several_sources_names_the_row_s_source() -> None:
    tallies = [Tally("a.jsonl"), Tally("b.jsonl")]
    screen = Screen(DataSpec(source="a.jsonl"), tallies)
    for source in (0, 1):
        for one in clean(25):
            screen.look(Conversation(one.row, one.messages, source=source))
    screen.end()
    assert tallies[0].findings(25) == []
    (finding,) = tallies[1].findings(25)
    assert finding.source == "b.jsonl" and finding.count == 25 and finding.rows == tuple(range(1, 26))
    assert "b.jsonl rows 1 to 25; b.jsonl row 1 is a.jsonl row 1 again" in finding.message


def test_a_tally_stays_small_and_counts_on() -> None:
    tally = Tally()
    for row in range(1, 5 * SHOWN_ROWS):
        tally.note("email", row)
        tally.note("email", row)
        tally.leave_out("duplicate", row)
    tally.offer("email", Remedy("raise the length", {"length": 4096}))
    email, left = tally.findings(10_000)
    assert email.count == left.count == 5 * SHOWN_ROWS - 1 and len(email.rows) == len(left.rows) == SHOWN_ROWS
    assert "and 4,994 more" in email.message
    assert [remedy.change for remedy in email.remedies] == [
        {"length": 4096},
        {"data.mend": ["email"]},
        {"data.drop": ["email"]},
    ]
    assert email.to_dict()["remedies"][0] == {"label": "raise the length", "change": {"length": 4096}}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("code", SAYS)
def test_every_wording_can_be_told_in_one_line(code: str, count: int) -> None:
    tally = Tally()
    tally.note_all(code, range(1, count + 1), count, "such a thing")
    (finding,) = tally.findings(9)
    assert "{" not in finding.message and "\n" not in finding.message and finding.count == count


def test_rows_in_few_words() -> None:
    assert name_rows([3]) == "row 3" and name_rows([7, 8, 9]) == "rows 7 to 9"
    assert name_rows([1, 4, 9], count=12) == "rows 1, 4, 9 and 9 more"
    assert name_rows([1, 4], source="b.jsonl") == "b.jsonl rows 1, 4"


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("gsm8k/test.jsonl", {"control"}),
        ("llamafactory/alpaca_en_demo.json", {"duplicate", "email", "one_word"}),
        ("llamafactory/identity.json", {"placeholder"}),
        ("llamafactory/glaive_toolcall_en_demo.json", {"duplicate", "near_duplicate", "email"}),
        ("llamafactory/glaive_toolcall_zh_demo.json", {"duplicate", "wrong_order", "email"}),
        ("mlx-wwdc25/train.jsonl", {"duplicate", "near_duplicate"}),
        ("tinyshakespeare/input.txt", {"text_pieces"}),
        ("litgpt/longform_train.json", set()),
    ],
)
def test_what_is_said_of_real_data_is_what_was_seen_in_it(name: str, codes: set[str]) -> None:
    if not (SHARED / name).exists():
        pytest.skip(f"needs {name} beside the checkout")
    from core.data.making import screen_of
    from core.data.reading import conversations, findings, open_all
    from core.spec import parse_spec

    spec = parse_spec({"model": "none", "data": str(SHARED / name)})
    sources = open_all(spec.data)
    screen = screen_of(spec, sources)
    assert all(one.row for one in conversations(sources[0], screen))
    screen.end()
    assert {finding.code for finding in findings(sources)} == codes
