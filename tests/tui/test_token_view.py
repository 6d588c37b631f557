"""The token view: nothing lost, lines fit, learned tokens are told apart with and without colour."""

from hypothesis import given
from hypothesis import strategies as st
from textual.app import App
from textual.content import Content

from tui.widgets.token_lines import END_NOTE, HEAD, TAIL, Token, token_lines, tokens_of, visible
from tui.widgets.token_view import TokenView, neighbours, numbers_line

CHAT = (
    Token("<|im_start|>", False, True),
    Token("user\n", False),
    Token("What is it", False),
    Token("?", False),
    Token("<|im_end|>", False, True),
    Token("\n", False),
    Token("A", True),
    Token(" tool", True),
    Token("<|im_end|>", True, True),
)


def styles_of(line: Content, text: str) -> str:
    start = line.plain.index(text)
    return " ".join(str(style) for a, b, style in line.spans if a <= start < b)


def test_the_end_is_named_where_it_is_learned_and_only_there():
    lines = token_lines(CHAT, 60, "<|im_end|>")
    text = [line.plain for line in lines]
    assert sum(END_NOTE.strip() in line for line in text) == 1
    assert END_NOTE.strip() in text[-1]


def test_learned_tokens_are_underlined_and_their_line_has_a_bar():
    lines = token_lines(CHAT, 60, "<|im_end|>")
    learned = next(line for line in lines if "tool" in line.plain)
    assert learned.plain.startswith("▌ ")
    assert "underline" in styles_of(learned, " tool")
    masked = next(line for line in lines if "What" in line.plain)
    assert masked.plain.startswith("  ")
    assert "underline" not in styles_of(masked, "What")


def test_special_tokens_stand_in_a_box_of_their_own():
    first = token_lines(CHAT, 60, "<|im_end|>")[0]
    assert "on $panel" in styles_of(first, "<|im_start|>") and "on $panel" not in styles_of(first, "user")


def test_what_is_cut_stands_below_a_line_and_is_struck_out():
    tokens = [Token("one ", True), Token("two ", True), Token("three", True, cut=True)]
    lines = token_lines(tokens, 60, length=2)
    text = [line.plain for line in lines]
    assert text[0] == "▌ one two " and "cut here at 2" in text[1] and text[2].strip() == "three"
    assert "strike" in styles_of(lines[2], "three") and not text[2].startswith("▌")


def test_a_row_that_is_left_out_whole_says_it_first():
    lines = token_lines([Token("one", True, cut=True)], 60, length=2)
    assert "cut here: the rest is not trained on" in lines[0].plain


def test_pieces_of_a_split_row_are_told_apart():
    tokens = [Token(f"{n} ", False) for n in range(6)]
    text = [line.plain.strip() for line in token_lines(tokens, 60, pieces=[0, 2, 4])]
    assert [line[:13] for line in text if line.startswith("──")] == ["── piece 2 of", "── piece 3 of"]
    assert [line for line in text if not line.startswith("──")] == ["0 1", "2 3", "4 5"]


def test_tokens_apart_have_their_ids_and_blanks_are_seen():
    tokens = [Token(" a b", False, id=7), Token("\n", True, id=8), Token("", False, id=9)]
    assert token_lines(tokens, 60, ids=True)[0].plain == "▌ ·a·b 7  ↵ 8  ∅ 9  "


def test_of_a_preference_the_other_answer_follows_from_where_it_differs():
    def listed(*ids):
        return [{"id": one, "text": f"t{one} ", "learned": one > 2, "special": False} for one in ids]

    tokens = tokens_of({"tokens": listed(1, 2, 3), "rejected": {"tokens": listed(1, 2, 4, 5)}})
    assert [(one.id, one.rejected) for one in tokens] == [
        (1, False), (2, False), (3, False), (4, True), (5, True),
    ]  # fmt: skip
    text = [line.plain for line in token_lines(tokens, 60)]
    assert "the other answer" in text[1] and text[2].startswith("▌ t4 t5")


def test_the_numbers_of_a_row():
    tokens = [{"learned": n > 1, "cut": n > 2} for n in range(5)]
    assert numbers_line({"tokens": tokens, "cut": 2, "fate": "cut"}) == (
        "3 tokens, 1 learned, 2 cut off by the length"
    )
    assert "left out by the length" in numbers_line({"tokens": tokens, "cut": 5, "fate": "dropped"})
    assert "in 3 pieces, weight 0.5" in numbers_line({"tokens": tokens, "pieces": [0, 2, 4], "weight": 0.5})


def test_neighbours_in_a_pack():
    assert neighbours({"row": 3}) == ""
    shared = {"row": 3, "pack": {"rows": [17, 3, 204, 391], "start": 512}}
    assert neighbours(shared) == "shares its pack with rows 17, 204, 391, from token 512 on"
    assert neighbours({"row": 3, "pack": {"rows": [3], "start": 0}}) == "alone in its pack"


def test_line_breaks_and_control_characters_are_seen():
    assert visible("a\tb\n\x1b[31m") == "a→b↵\n␛[31m"


@given(
    st.lists(
        st.tuples(st.text(alphabet="ab \n漢\x1b字", min_size=1, max_size=30), st.booleans()), max_size=40
    ),
    st.integers(10, 60),
)
def test_no_line_is_too_wide_and_no_text_is_lost(raw, width):
    tokens = [Token(text, learned) for text, learned in raw]
    lines = token_lines(tokens, width)
    assert all(line.cell_length <= width for line in lines)
    shown = "".join(line.plain[2:] for line in lines)
    assert shown == "".join(visible(token.text) for token in tokens).replace("\n", "")


def test_a_very_long_row_is_drawn_in_part_and_says_how_much_is_left_out():
    lines = token_lines([Token("x ", True)] * (HEAD + TAIL + 500), 80)
    text = "".join(line.plain for line in lines)
    assert "500 tokens more" in text
    assert len(lines) < 200


def test_tokens_of_a_report():
    assert tokens_of(None) == ()
    assert tokens_of({"tokens": [{"id": 1, "text": "a", "learned": 1}]}) == (Token("a", True, id=1),)


async def test_the_widget_scrolls_and_wraps_again_when_resized():
    class Bench(App):
        def compose(self):
            yield TokenView()

    app = Bench()
    async with app.run_test(size=(60, 10)) as pilot:
        view = app.query_one(TokenView)
        view.show({"tokens": [{"text": "word ", "learned": index % 2 == 0} for index in range(300)]})
        await pilot.pause()
        tall = view.max_scroll_y
        assert tall > 0
        view.focus()
        await pilot.press("end")
        await pilot.pause()
        assert view.scroll_target_y == tall
        await pilot.resize_terminal(120, 10)
        await pilot.pause()
        assert view.max_scroll_y < tall


def test_a_word_of_several_tokens_is_not_broken_at_a_lines_end() -> None:
    tokens = [Token(text, False) for text in ("We", " say", " know", "ing", " de", "tails", "!", " End")]
    lines = [line.plain[2:].rstrip() for line in token_lines(tokens, 15)]
    assert [line.strip() for line in lines] == ["We say", "knowing", "details! End"]
    long = [Token(text, False) for text in (" a", "b" * 9, "c" * 9)]  # a word wider than the line is broken
    assert "".join(line.plain[2:] for line in token_lines(long, 15)).strip() == "a" + "b" * 9 + "c" * 9
