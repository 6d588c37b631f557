"""One side of a chat: its conversation so far, and the answer that is being streamed into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

if TYPE_CHECKING:
    from core.chat.talk import Done

ENDS = {"end": "ended by itself", "asked": "stopped"}
SOFT = "$foreground 60%"


class Answer(Static):
    """An answer as plain text: what a tuned model says is shown to the letter, not interpreted.

    Pieces are gathered and drawn together by `flush`, which the screen's timer calls.
    """

    DEFAULT_CSS = "Answer { height: auto; margin: 0 0 1 0; }"

    def __init__(self) -> None:
        super().__init__(Content("…"), markup=False)
        self.text = ""
        self._drawn = ""

    def add(self, piece: str) -> None:
        self.text += piece

    def flush(self) -> bool:
        """Draws what came; True when something did."""
        if self.text == self._drawn:
            return False
        self._drawn = self.text
        self.update(Content(self.text.lstrip()))
        return True

    def finish(self, done: Done, notes: list[str], most: int) -> None:
        """The whole answer with what it took, and whether it ended by itself. `most`: tokens it may have."""
        self.text = self._drawn = done.answer
        speed = f", {done.tokens / done.seconds:,.0f}/s" if done.seconds > 0 else ""
        took = f"{done.tokens:,} tokens, {done.seconds:.1f} s{speed}"
        if done.stopped == "length":
            full = "the most tokens" if done.tokens >= most else "the end of the model's context"
            how = (f"  cut off at {full}, it did not end: {took}", "$warning")
        else:
            how = (f"  {ENDS[done.stopped]}: {took}", SOFT)
        parts: list[str | tuple[str, str]] = [done.answer.strip() or "(nothing)", "\n", how]
        parts += [(f"\n  {note}", "$warning") for note in notes]
        self.update(Content.assemble(*parts))

    def fail(self, line: str) -> None:
        self._drawn = self.text
        said = f"{self.text}\n" if self.text else ""
        self.update(Content.assemble(said, (line, "$error")))


class TalkColumn(VerticalScroll):
    """Keeps the messages as the model is asked them; stays at its end while one does not scroll up."""

    DEFAULT_CSS = """
    TalkColumn {
        width: 1fr; height: 1fr; padding: 0 1; border: round $border-blurred; border-title-color: $text-muted;
        border-subtitle-color: $text-muted;
    }
    TalkColumn:focus { border: round $border; }
    TalkColumn .question { color: $primary; text-style: bold; }
    TalkColumn .failed { color: $error; }
    """

    def __init__(self, title: str, *, id: str) -> None:
        super().__init__(id=id)
        self.border_title = title
        self.messages: list[dict[str, str]] = []
        """user and assistant turns; the system prompt is put before them when asking."""
        self._answer: Answer | None = None
        self._following = True

    async def ask(self, question: str) -> Answer:
        """Shows a question, and where its answer will come."""
        self.messages.append({"role": "user", "content": question})
        self._answer, self._following = Answer(), True
        await self.mount(Static(question, classes="question", markup=False), self._answer)
        self._to_end()
        return self._answer

    def flush(self) -> None:
        """Draws what came of the answer, and stays at the end unless one scrolled up to read."""
        if self._answer is not None and self._answer.flush():
            self._to_end()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value >= self.max_scroll_y - 1:
            self._following = True
        elif new_value < old_value:
            self._following = False

    def _to_end(self) -> None:
        self.call_after_refresh(self._follow)

    def _follow(self) -> None:
        if self._following:
            # at once: what is put off would still be done after one has scrolled up
            self.scroll_end(animate=False, immediate=True)

    def finish(self, done: Done, notes: list[str], most: int) -> None:
        """The answer is whole."""
        if self._answer is not None:
            self.messages.append({"role": "assistant", "content": done.answer})
            self._answer.finish(done, notes, most)
            self._to_end()

    def fail(self, line: str) -> None:
        """The last question got no answer: it is said why, and not asked again with the next one."""
        if self._answer is not None:
            self.messages.pop()
            self._answer.fail(line)
            self._to_end()

    async def clear(self) -> None:
        self.messages.clear()
        self._answer = None
        await self.remove_children()
