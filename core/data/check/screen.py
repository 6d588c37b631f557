"""The screen that every row passes before it is rendered: notes what is wrong or odd, mends, leaves out.

One pass, rows in order; memory is bounded, whatever their number. Only heavy processes import this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from core.data.check import broken_text, secrets, typed_marks
from core.data.check.near import Near
from core.data.check.parts import asked_and_said, changed, joined, learned, says_nothing
from core.data.check.script import script_of
from core.data.check.seen import Seen, key_of
from core.data.check.turns import Found, find_tools, find_turns
from core.data.check.whole import LEAST, Answers, Lengths, Scripts, Some, is_label, middle
from core.data.conversation import Conversation
from core.data.findings import Tally, share
from core.spec import DataSpec

if TYPE_CHECKING:
    from core.data.chat_template.mask import Rendered

LABELS = 0.2
"""Share of rows answered with one word from which that is what the data are for: sorting into classes."""
LOW_SHARE = 0.05
"""Share of learned tokens below which a run spends nearly all of its time on reading prompts."""
ROW_BITS = 40
UNSPACED = frozenset({"Chinese or Japanese", "Thai", "Lao", "Khmer", "Myanmar"})
"""Scripts that write words without blanks between them."""


class Screen:
    """`tally`: one for all rows, or one for each of the spec's sources in their order.

    `special`: the tokenizer's special tokens, where one is known.
    """

    def __init__(self, data: DataSpec, tally: Tally | Sequence[Tally], special: Sequence[str] = ()) -> None:
        self.tallies = [tally] if isinstance(tally, Tally) else list(tally)
        self.drop, self.mend = frozenset(data.drop), frozenset(data.mend)
        # in this order: a mended decoding may show a byte-order mark, which is taken out after it
        self.texts = (
            ("half_character", broken_text.find_half, broken_text.mend_half),
            ("mojibake", broken_text.find_mojibake, broken_text.mend_mojibake),
            ("lost_characters", broken_text.find_lost, None),
            ("bom", broken_text.find_bom, broken_text.mend_bom),
            ("control", broken_text.find_control, broken_text.mend_control),
            ("crlf", broken_text.find_crlf, broken_text.mend_crlf),
            ("special_token_in_text", *typed_marks.special_tokens(special)),
            ("chat_mark_in_text", *typed_marks.chat_marks(special)),
            ("secrets", secrets.find_secret, secrets.mend_secret),
            ("email", secrets.find_email, secrets.mend_email),
        )
        self.seen, self.near = Seen(), Near()
        self.answers, self.scripts = Answers(), Scripts()
        self.characters, self.tokens = Lengths(), Lengths()
        self.one_word, self.kept, self.text = Some(), 0, False
        self.learned_shares: Counter[int] = Counter()

    def prime(self, head: Iterable[Conversation]) -> None:
        """Shows the first rows beforehand, so that what all rows have in common is not taken for likeness."""
        for one in head:
            self.near.prime(*asked_and_said(one))

    def look(self, one: Conversation) -> Conversation | None:
        """The row, mended where the spec asks for it; None where it is left out. Never raises."""
        one, said, mended, found = self._look_at_text(one)
        answers = learned(one)
        if any(code == "half_character" for code, _ in found):
            self._note(one, [("half_character", "")])
            return None
        if one.text is None and all(map(says_nothing, answers)):
            self._note(one, [("no_answer", "the answer is empty")])
            return None
        if one.text is None:
            found += self._look_at_turns(one)
        if not self._asked_out(one, found):
            found += self._look_back(one)
        if self._asked_out(one, found):
            code = next(code for code, _ in found if code in self.drop)
            self._tally(one.source).leave_out(code, one.row)
            return None
        for code in mended:
            self._tally(one.source).mend(code, one.row)
        self._note(one, found)
        self._count(one, said)
        return one

    def look_rendered(self, row: Rendered, source: int = 0) -> None:
        """A row as tokens, before it is cut: what is learned of it, and whether its end is."""
        if not row.ids:
            return
        self.tokens.add(source << ROW_BITS | row.row, len(row.ids))
        if self.text:
            return
        count = sum(row.learned)
        self.learned_shares[1_000 * count // len(row.ids)] += 1
        if 1 not in row.learned[1:]:  # the first token has nothing before it from which it could be told
            self._tally(source).note("no_answer", row.row, "nothing in it is learned")
        elif not row.ends:
            self._tally(source).note("end_absent", row.row)

    def end(self) -> None:
        """Tells what only the whole of the rows shows. Once, after the last of them."""
        self._tell_one_word()
        self._tell_dominating()
        self._tell_lengths()
        self._tell_scripts()
        self._tell_learned()
        if self.seen.every > 1:
            message = (
                f"of more than {self.seen.most:,} rows, one in {self.seen.every} is looked at for exact "
                f"repeats: there may be {self.seen.every} times as many"
            )
            self.tallies[0].say("info", "repeats_sampled", message)

    def _look_at_text(self, one: Conversation) -> tuple[Conversation, str, list[str], list[Found]]:
        """The row, all that it says, the codes that were mended in it, and what is left to say of it."""
        said, mended, found = joined(one), [], []
        for code, find, mend in self.texts:
            detail = find(said)
            if detail and mend and code in self.mend:
                one = changed(one, mend)
                said = joined(one)
                mended.append(code)
                detail = find(said)
            if detail:
                found.append((code, detail))
        return one, said, mended, found

    def _look_at_turns(self, one: Conversation) -> list[Found]:
        found = list(find_turns(one))
        answers = learned(one)
        if any(map(says_nothing, answers)):
            found.append(("empty_turn", ""))
        if one.tools or any(turn.calls for turn in (*one.messages, *one.rejected)):
            found += find_tools(one)
        for turn in answers:
            if detail := typed_marks.find_placeholder(turn.content):
                found.append(("placeholder", detail))
                break
        if "one_word" in self.drop and _is_one_word(one):
            found.append(("one_word", ""))
        return found

    def _look_back(self, one: Conversation) -> list[Found]:
        """Whether an earlier row, one that was kept, says the same."""
        name = one.source << ROW_BITS | one.row
        known = self.seen.add(key_of(one), name)
        if known is not None:
            return [("duplicate", f"{self._named(name)} is {self._named(known)} again")]
        asked, said = asked_and_said(one)
        twin = self.near.look(name, asked, said, str(one.label))
        if twin is None:
            return []
        return [("near_duplicate", f"{self._named(name)} beside {self._named(twin)}")]

    def _asked_out(self, one: Conversation, found: list[Found]) -> bool:
        return any(code in self.drop for code, _ in found)

    def _count(self, one: Conversation, said: str) -> None:
        name = one.source << ROW_BITS | one.row
        self.kept += 1
        self.characters.add(name, len(said))
        if one.text is not None:
            self.text = True
            return
        answers = [turn.content for turn in learned(one) if turn.content.strip()]
        self.answers.add(name, answers)
        if _is_one_word(one):
            self.one_word.add(name)
        self.scripts.add(name, script_of(" ".join(answers)))

    def _note(self, one: Conversation, found: list[Found]) -> None:
        for code, detail in found:
            self._tally(one.source).note(code, one.row, detail)

    def _tally(self, source: int) -> Tally:
        return self.tallies[source if source < len(self.tallies) else 0]

    def _named(self, name: int) -> str:
        label = self._tally(name >> ROW_BITS).source
        return f"{label} row {name & (1 << ROW_BITS) - 1:,}".strip()

    def _tell(self, code: str, some: Some, detail: str = "") -> None:
        """Notes rows of any source; where only some are named, the rest count for the first source."""
        by_source: dict[int, list[int]] = {}
        for name in some.names:
            by_source.setdefault(name >> ROW_BITS, []).append(name & (1 << ROW_BITS) - 1)
        unnamed = some.count - len(some.names)
        for source, rows in by_source.items():
            self._tally(source).note_all(code, rows, len(rows) + unnamed, detail)
            unnamed = 0

    def _tell_one_word(self) -> None:
        often = self.kept >= LEAST and self.one_word.count > LABELS * self.kept
        if self.one_word.count:
            self._tell("labels" if often else "one_word", self.one_word)

    def _tell_dominating(self) -> None:
        some = self.answers.dominating()
        if some is None:
            return
        shown = secrets.mend_email(secrets.mend_secret(some.example))
        shown = shown if len(shown) <= 40 else shown[:39] + "…"
        self._tell("dominating_label" if is_label(some.example) else "dominating_answer", some, f"“{shown}”")

    def _tell_lengths(self) -> None:
        unit = "tokens" if self.tokens.rows else "characters"
        far = (self.tokens if self.tokens.rows else self.characters).far()
        if far is None:
            return
        ends = [f"{far.short.count:,} under {far.shortest:,}"] if far.short.count else []
        ends += [f"{far.long.count:,} over {far.longest:,}"] if far.long.count else []
        both = Some(far.short.count + far.long.count, far.short.names + far.long.names)
        detail = f"the middle row has {far.middle:,} {unit}, {' and '.join(ends)}"
        self._tell("length_outlier", both, detail)

    def _tell_scripts(self) -> None:
        top, others = self.scripts.others()
        counts = ", ".join(f"{some.count:,} in {script}" for script, some in others.items())
        for some in others.values():
            self._tell("language_outlier", some, f"{counts}, all else in {top}")

    def _tell_learned(self) -> None:
        permille = int(middle(self.learned_shares) or 0)
        if self.learned_shares and permille < 1_000 * LOW_SHARE:
            self.tallies[0].say(
                "warn",
                "low_learned_share",
                f"in half of the rows at most {share(permille + 1, 1_000)} of the tokens are learned: nearly "
                "all of the time goes into reading prompts",
                "shorten the prompts, or learn more of each row (learn: all)",
            )


def _is_one_word(one: Conversation) -> bool:
    """Whether every answer is one word, or as short where words are not set apart by blanks."""
    answers = [turn for turn in learned(one) if not says_nothing(turn)]
    return bool(answers) and all(
        not turn.calls
        and is_label(turn.content)
        and (len(turn.content.strip()) <= 2 or script_of(turn.content) not in UNSPACED)
        for turn in answers
    )
