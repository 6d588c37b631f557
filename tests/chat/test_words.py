"""What libraries raise becomes a line that a person can act on."""

from core.chat.server import _in_words


def test_no_room_is_said_with_what_is_free() -> None:
    told = _in_words(RuntimeError("CUDA out of memory. Tried to allocate 20 GiB\nmore"), "load")
    assert told["what"] == "there is no room for this chat"
    assert "are free" in told["why"]
    assert "unexpected" not in told


def test_missing_libraries_name_the_way_to_get_them() -> None:
    told = _in_words(ModuleNotFoundError("No module named 'torch'"), "load")
    assert "torch" in told["why"]
    assert "finetui doctor" in told["todo"]


def test_anything_else_points_to_the_log() -> None:
    told = _in_words(ZeroDivisionError("first\nsecond"), "generate")
    assert (told["what"], told["why"], told["unexpected"]) == ("the answer broke off", "first", True)
