"""The codes of findings that a spec may name: rows to leave out (`data.drop`), text to mend (`data.mend`)."""

MENDABLE = (
    "bom",
    "crlf",
    "control",
    "mojibake",
    "half_character",
    "special_token_in_text",
    "chat_mark_in_text",
    "secrets",
    "email",
)
"""Mended row by row in the text itself; all else in it stays byte for byte."""

DROPPABLE = (
    "other_schema",
    "duplicate",
    "near_duplicate",
    "one_word",
    "empty_turn",
    "placeholder",
    "repeated_role",
    "wrong_order",
    "unanswered_end",
    "tool_json",
    "unknown_tool",
    "lost_characters",
    *MENDABLE,
)
"""Known of a row as it passes, so that it can be left out there and then."""
