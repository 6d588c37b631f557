"""The token view: nothing lost, lines fit, learned tokens are told apart with and without colour."""

from hypothesis import given
from hypothesis import strategies as st
from textual.app import App
from textual.content import Content

from tui.widgets.token_view import END_NOTE, HEAD, TAIL, Token, TokenView, token_lines, tokens_of, visible

CHAT = (
    Token("<|im_start|>", False),
    Token("user\n", False),
    Token("What is it", False),
    Token("?", False),
    Token("<|im_end|>", False),
    Token("\n", False),
    Token("A", True),
    Token(" tool", True),
    Token("<|im_end|>", True),
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


def test_special_tokens_are_bold_and_shown():
    first = token_lines(CHAT, 60, "<|im_end|>")[0]
    assert "<|im_start|>" in first.plain and "bold" in styles_of(first, "<|im_start|>")


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
    assert tokens_of({"tokens": [{"id": 1, "text": "a", "learned": 1}]}) == (Token("a", True),)


async def test_the_widget_scrolls_and_wraps_again_when_resized():
    class Bench(App):
        def compose(self):
            yield TokenView()

    app = Bench()
    async with app.run_test(size=(60, 10)) as pilot:
        view = app.query_one(TokenView)
        view.show([Token("word ", index % 2 == 0) for index in range(300)], "")
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
