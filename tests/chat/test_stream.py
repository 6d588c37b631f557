"""Text from tokens: whole characters only, and nothing of a stop text."""

from hypothesis import given
from hypothesis import strategies as st

from core.chat.stream import Pieces, Stops


def _bytes_decode(ids: list[int]) -> str:
    """A tokenizer whose tokens are bytes, the hardest one to stream."""
    return bytes(ids).decode("utf-8", errors="replace")


@given(st.text())
def test_pieces_join_to_the_whole_text_and_never_break_a_character(text: str) -> None:
    text = text.replace("\ufffd", "")
    pieces = Pieces(_bytes_decode)
    shown = [pieces.add(token) for token in text.encode("utf-8")]
    assert all("\ufffd" not in piece for piece in shown)
    assert "".join(shown) + pieces.rest() == text


def test_bytes_that_are_no_character_are_shown_at_last() -> None:
    pieces = Pieces(_bytes_decode)
    shown = [pieces.add(token) for token in b"ok\xf0\x9f"]
    assert "".join(shown) == "ok"
    assert pieces.rest() == "\ufffd"


def test_what_a_token_reads_as_may_depend_on_the_one_before() -> None:
    words = ["once", "upon", "a", "time"]  # the first word has no space before it, as with sentencepiece

    def decode(ids: list[int]) -> str:
        return " ".join(words[one] for one in ids)

    pieces = Pieces(decode)
    assert [pieces.add(one) for one in range(4)] == ["once", " upon", " a", " time"]


@given(
    st.text(alphabet="ab|<", max_size=40),
    st.lists(st.text(alphabet="ab|<", min_size=1, max_size=4)),
    st.data(),
)
def test_stop_texts_cut_the_same_wherever_the_pieces_begin(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    flow, shown, rest = Stops(stops), "", text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        shown += flow.add(rest[:size])
        rest = rest[size:]
        assert not any(stop in shown for stop in stops)
    shown += flow.rest()
    # the earliest stop that is complete first ends the text
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert flow.found == bool(ends)
    if not ends:
        assert shown == text
    else:
        assert text.startswith(shown)
        assert not any(stop in shown for stop in stops)
        assert any(text.startswith(stop, len(shown)) for stop in stops)


def test_text_that_cannot_be_a_stop_any_more_is_given_at_once() -> None:
    flow = Stops(["<end>"])
    assert flow.add("hello <e") == "hello "
    assert flow.add("x") == "<ex"
    assert flow.add("<end> more") == ""
    assert flow.found
    assert flow.add("more") == ""
