"""What is said of each kind of finding about rows, and which remedies a key press offers."""

from typing import Literal, NamedTuple

Severity = Literal["stop", "warn", "info"]


class Wording(NamedTuple):
    """A finding that rows are counted for.

    In `message` stand {n} (how many rows), {where} (which), {share} of {total}, {detail} (of the first such
    row) and the forms {s}, {es} (do, does), {es1} (hold, holds), {are}, ha{ve} and {they}.
    """

    severity: Severity
    message: str
    todo: str = ""
    drop: str = ""
    """Label of the remedy that adds the code to `data.drop`; empty: there is none."""
    mend: str = ""
    """Label of the remedy that adds the code to `data.mend`; empty: there is none."""


OUT = "leave them out"

SAYS: dict[str, Wording] = {
    # whether a row can be read at all
    "other_schema": Wording(
        "stop",
        "{n} row{s} ({where}) {are} of another kind than the rest and cannot be learned with it: {detail}",
        "keep one kind of row in a file, or leave them out",
        OUT,
    ),
    "mixed_formats": Wording(
        "warn",
        "{n} row{s} ({where}) ha{ve} another format than the rest and {are} read by that format: {detail}",
        "look at one of them; set the format to refuse all that are not of it",
    ),
    "no_answer": Wording(
        "warn",
        "{n} row{s} ({where}) teach{es} nothing and {are} left out: {detail}",
        "fill in the answers or drop the rows",
    ),
    "not_text": Wording(
        "warn",
        "{n} row{s} ({where}) hold{es1} something that is not text and {are} left out: {detail}",
        "write it as text or drop the rows",
    ),
    "number_as_text": Wording("info", "{n} row{s} ({where}) hold{es1} a number, which is read as text"),
    "bad_turns": Wording(
        "warn",
        "{n} row{s} ({where}) {are} left out, their turns cannot be read: {detail}",
        "mend or drop the rows",
    ),
    "no_prompt": Wording(
        "warn",
        "{n} row{s} ({where}) {are} left out, nothing says what was asked: {detail}",
        "map the column that holds the prompt",
    ),
    "same_answers": Wording(
        "warn",
        "{n} row{s} ({where}) {are} left out: the chosen answer is the rejected one",
        "drop them or mend their answers",
    ),
    "bad_label": Wording(
        "warn",
        "{n} row{s} ({where}) {are} left out, the label says neither good nor bad: {detail}",
        "write true or false",
    ),
    "bad_weight": Wording(
        "warn",
        "{n} row{s} ({where}) {are} left out, the weight is no number from 0 to 1,000: {detail}",
        "mend the weight",
    ),
    "turn_weight": Wording(
        "info",
        "{n} row{s} ({where}) weigh{es1} a turn other than 0 or 1 ({detail}), which is read as 1",
    ),
    "weight_unused": Wording(
        "warn",
        "{n} row{s} ({where}) bring{es1} a weight ({detail}), which preferences do not use: all count alike",
        "leave out or repeat rows instead",
    ),
    "filled": Wording("info", "{n} row{s} ({where}) had placeholders that are filled as asked"),
    # repeats
    "duplicate": Wording(
        "warn",
        "{n} row{s} ({share}) repeat{es1} an earlier row word for word ({where}; {detail})",
        "leave the repeats out, or they count twice",
        "leave the repeats out",
    ),
    "near_duplicate": Wording(
        "info",
        "{n} row{s} ({share}) say{es1} nearly the same as an earlier row ({where}; {detail})",
        "look at some; where they teach nothing new, leave them out",
        "leave the repeats out",
    ),
    "leak": Wording(
        "warn",
        "{n} held-out row{s} ({where}) {are} also learned and {are} taken out of the held-out set: {detail}",
    ),
    # answers
    "empty_turn": Wording(
        "warn",
        "{n} row{s} ({where}) hold{es1} an empty answer among others: the model learns to say nothing there",
        "fill in the answers or leave the rows out",
        OUT,
    ),
    "one_word": Wording(
        "info",
        "{n} row{s} ({share}) {are} answered with one word ({where}): the model learns to be as curt there",
        "leave them out if that is not meant",
        OUT,
    ),
    "labels": Wording(
        "info",
        "{n} of {total} rows ({share}) are answered with one word: right for sorting into classes, else the "
        "model learns to be as curt with everything",
    ),
    "dominating_label": Wording(
        "info",
        "{n} of {total} rows ({share}) have the same one-word answer, {detail}",
        "compare results with one who always says that",
    ),
    "dominating_answer": Wording(
        "warn",
        "{n} of {total} rows ({share}) have the same answer, {detail}: the model learns to always say it",
        "drop most of them or give them answers of their own",
    ),
    "placeholder": Wording(
        "warn",
        "{n} row{s} ({where}) hold{es1} a placeholder such as {detail}: the model learns to say it",
        "fill it: data.fill says what stands for each, or write it into the rows",
        OUT,
    ),
    # turns
    "repeated_role": Wording(
        "warn",
        "{n} row{s} ({where}) ha{ve} turns of one side in a row: {detail}; many templates refuse that",
        "join the turns or leave the rows out",
        OUT,
    ),
    "wrong_order": Wording(
        "warn",
        "{n} row{s} ({where}) ha{ve} turns out of order: {detail}",
        "mend the order or leave the rows out",
        OUT,
    ),
    "unanswered_end": Wording(
        "info",
        "{n} row{s} ({where}) end{es1} with {detail} that is never answered: nothing is learned from it",
        "add the answers or leave the rows out",
        OUT,
    ),
    "tool_json": Wording(
        "warn",
        "{n} row{s} ({where}) {are} left out, their tools cannot be read: {detail}",
        "write it as JSON or leave the rows out",
        OUT,
    ),
    "unknown_tool": Wording(
        "warn",
        "{n} row{s} ({where}) call{es1} a tool that the row does not offer: {detail}; the model learns to "
        "invent tools",
        "add the tool to the row or leave the rows out",
        OUT,
    ),
    # text
    "special_token_in_text": Wording(
        "warn",
        "{n} row{s} ({where}) hold{es1} the special token {detail} typed as text: it is read as the end or "
        "start of a turn",
        "take it out",
        OUT,
        "take it out of the text",
    ),
    "chat_mark_in_text": Wording(
        "warn",
        "{n} row{s} ({where}) hold{es1} marks of a chat template such as {detail} as text: the model learns "
        "to type them",
        "take them out; the template writes its own",
        OUT,
        "take them out of the text",
    ),
    "secrets": Wording(
        "warn",
        "{n} row{s} ({where}) hold{es1} what looks like {detail}: a model can be made to repeat it",
        "replace it, and change it where it is in use",
        OUT,
        "put a neutral word in its place",
    ),
    "email": Wording(
        "info",
        "{n} row{s} ({where}) hold{es1} an e-mail address: a model can be made to repeat it",
        "replace them where they are of real people",
        OUT,
        "put a neutral word in its place",
    ),
    "mojibake": Wording(
        "warn",
        "{n} row{s} ({where}) hold{es1} letters broken by a wrong decoding, such as {detail}: the model "
        "learns to write them",
        "mend them: each is turned back into what it was",
        OUT,
        "turn them back",
    ),
    "lost_characters": Wording(
        "warn",
        "{n} row{s} ({where}) hold{es1} {detail}: what stood there is lost",
        "read the file in its own encoding again, or leave the rows out",
        OUT,
    ),
    "half_character": Wording(
        "warn",
        "{n} row{s} ({where}) {are} left out: {they} hold{es1} half a character (a lone surrogate), which no "
        "tokenizer takes",
        "take it out of the text",
        "",
        "take it out of the text",
    ),
    "bom": Wording(
        "warn",
        "{n} row{s} ({where}) hold{es1} a byte-order mark inside the text, which is a token like any other",
        "take it out",
        OUT,
        "take it out of the text",
    ),
    "crlf": Wording(
        "info",
        "{n} row{s} ({where}) end{es1} lines with a carriage return (CRLF): the model learns to write it too",
        "turn them into plain line ends",
        OUT,
        "turn them into plain line ends",
    ),
    "control": Wording(
        "info",
        "{n} row{s} ({where}) hold{es1} characters that cannot be seen, such as {detail}",
        "take them out",
        OUT,
        "take them out of the text",
    ),
    "unknown_characters": Wording(
        "warn",
        "{n} row{s} ({where}) hold{es1} characters that this tokenizer does not know",
        "choose a model whose tokenizer covers the language",
    ),
    # far off the rest
    "length_outlier": Wording(
        "info",
        "{n} row{s} ({where}) {are} far off the rest in length: {detail}",
        "look at them: such rows are often broken",
    ),
    "language_outlier": Wording(
        "info",
        "{n} row{s} ({where}) {are} answered in another script than the rest: {detail} (languages of one "
        "script are not told apart)",
        "look whether they are meant",
    ),
    # template and mask
    "system_folded": Wording(
        "info",
        "this template takes no system message: in {n} row{s} it opens the first question instead",
    ),
    "calls_numbered": Wording(
        "info",
        "in {n} row{s} ({where}) the tool calls have no id, which this template asks for: they are numbered",
    ),
    "thoughts_left_out": Wording(
        "info",
        "in {n} row{s} ({where}) the template leaves out a thought: it is neither read nor learned",
        "choose a template that writes thoughts, if they are to be learned",
    ),
    "template_refused": Wording(
        "warn",
        "{n} row{s} ({where}) {are} left out, the template does not take them: {detail}",
        "mend the rows or choose another template",
    ),
    "no_mask": Wording(
        "warn",
        "{n} row{s} ({where}) {are} left out, what is to be learned cannot be told apart: {detail}",
        "choose another template",
    ),
    "end_absent": Wording(
        "warn",
        "in {n} of {total} rows ({share}; {where}) no end token is learned: from them the model does not "
        "learn to stop",
        "choose a template that ends an answer with a token",
    ),
    # length
    "cut": Wording(
        "warn",
        "{n} of {total} rows ({share}) are longer than {detail} tokens and lose their end ({where})",
        "raise the length to keep them whole",
    ),
    "cut_to_nothing": Wording(
        "warn",
        "{n} row{s} ({where}) {are} left out: within {detail} tokens nothing is left to learn",
        "raise the length",
    ),
    "dropped_long": Wording(
        "warn",
        "{n} of {total} rows ({share}) are longer than {detail} tokens and {are} left out ({where})",
        "raise the length to keep them, or choose another way for long rows",
    ),
    "split_long": Wording(
        "info",
        "{n} of {total} rows ({share}) are longer than {detail} tokens and {are} trained in "
        "consecutive pieces",
    ),
    "pieces_left_out": Wording(
        "info",
        "of {n} split row{s} ({where}) some pieces hold nothing to learn and are left out",
    ),
    "split_text": Wording(
        "info",
        "{n} text{s} longer than {detail} tokens {are} trained in consecutive pieces; nothing is lost",
    ),
}
