"""Chat: talk to what a run made, tuned beside base. The model's process leaves with the screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Select, Static

from tui.widgets.chat_settings import RESULT, ChatSettings
from tui.widgets.step_frame import StepScreen
from tui.widgets.talk_column import SOFT, Answer, TalkColumn

if TYPE_CHECKING:
    from core.chat.client import ChatProcess
    from core.chat.talk import Loading, Ready, Settings, Side
    from core.runs.folder import RunFolder

FLUSH_SECONDS = 0.1
"""Between drawings of an answer that streams: a token each would be ten times the work for the eye's same."""
STAGES = {
    "libraries": "the libraries",
    "base model": "the base model",
    "model": "the model",
    "adapter": "the adapter",
}
SIDES: tuple[Side, ...] = ("tuned", "base")


class ChatScreen(StepScreen):
    step = "chat"
    AUTO_FOCUS = "#ask"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "f2,ctrl+t",
            "settings",
            "settings",
            key_display="f2",
            tooltip="System prompt, temperature, checkpoint …",
            id="chat.settings",
        ),
        Binding(
            "f3,ctrl+g",
            "beside",
            "base beside",
            key_display="f3",
            tooltip="Show what the base answers too",
            id="chat.beside",
        ),
        Binding("ctrl+s", "save", "save", tooltip="Write what was said to a file", id="chat.save"),
        Binding("ctrl+l", "new", "new", tooltip="Start a new conversation", id="chat.new"),
        Binding("up", "earlier(-1)", show=False),
        Binding("down", "earlier(1)", show=False),
    ]

    DEFAULT_CSS = """
    ChatScreen #page { padding: 0 1; }
    ChatScreen #body { overflow: hidden; padding: 0; }
    ChatScreen #sides { height: 1fr; }
    ChatScreen #base { display: none; }
    ChatScreen.-beside #base { display: block; }
    ChatScreen.-narrow #sides { layout: vertical; }
    ChatScreen #about { height: auto; max-height: 3; padding: 0 2; color: $foreground 60%; }
    """

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self.run = run
        self.chat: ChatProcess | None = None
        self._answers: set[Answer] = set()
        self._asked: list[str] = []
        self._place = 0
        self._suggestion = ""
        self._loading = self._facts = ""

    def compose_step(self) -> Iterable[Widget]:
        with Horizontal(id="sides"):
            yield TalkColumn("tuned", id="tuned")
            yield TalkColumn("base", id="base")
        yield Static(id="about")
        yield Input(placeholder="Ask something", id="ask")

    def crumb(self) -> str:
        return f"{self.run.name} › chat"

    def on_mount(self) -> None:
        self.mount(ChatSettings())
        self.set_class(self.size.width >= 100, "-beside")
        self.set_interval(FLUSH_SECONDS, self._flush)
        self.load()
        self.suggest()

    async def on_unmount(self) -> None:
        self.workers.cancel_node(self)  # nobody is left to be told that the process goes
        if self.chat:
            await self.chat.close()

    # -- loading

    @work(exclusive=True, group="load")
    async def load(self, checkpoint: int | None = None) -> None:
        """The run's result or the checkpoint of a step, in the process that stays until the screen goes."""
        from core.chat.client import ChatProcess
        from core.errors import UserError

        self.chat = self.chat or ChatProcess()
        self._loading, begun = "", time.monotonic()
        clock = self.set_interval(1, lambda: self._show_loading(begun))
        self.status = Content.styled("◌ loading", "$primary")
        try:
            ready = await self.chat.start(run=self.run.path, checkpoint=checkpoint, on_stage=self._on_stage)
        except UserError as error:
            self.status = Content.styled("✗ not loaded", "$error")
            self._about(error.line(), "$error")
        else:
            self._loaded(ready)
        finally:
            clock.stop()

    def _on_stage(self, stage: Loading) -> None:
        self._loading = f"Loading {STAGES.get(stage.stage, stage.stage)}"
        if stage.total:
            self._loading += f": {stage.done / 2**30:.1f} of {stage.total / 2**30:.1f} GiB"
        self._about(f"{self._loading} …")

    def _show_loading(self, begun: float) -> None:
        self._about(f"{self._loading or 'Starting the chat'} … {time.monotonic() - begun:.0f} s")

    def _loaded(self, ready: Ready) -> None:
        self.status = Content.styled("● ready", "$success")
        what = (
            f"step {ready.checkpoint:,}" if ready.checkpoint else "result" if self.run.result() else "newest"
        )
        self.query_one("#tuned").border_title = f"tuned · {what}"
        self.query_one("#base").border_title = "base · without what was learned"
        context = f"{ready.context:,} tokens of context" if ready.context else ""
        facts = [f"template {ready.template}" if ready.template else "no template", context, *ready.notes]
        self._facts = " · ".join(filter(None, facts))
        self._about(self._facts)
        self.query_one(ChatSettings).offer(
            ready.checkpoints, ready.checkpoint, result=bool(self.run.result())
        )

    def _about(self, text: str, style: str = SOFT) -> None:
        self.query_one("#about", Static).update(Content.styled(text, style))

    @work(thread=True, group="suggest", exit_on_error=False)
    def suggest(self) -> None:
        """A question of the held-out rows to start with, as the run itself asked it."""
        from core.runs.history import replay
        from tui.widgets.run_text import question

        samples = replay(self.run).samples
        if samples:
            self.app.call_from_thread(self._suggest, question(samples[-1].prompt))

    def _suggest(self, text: str) -> None:
        self._suggestion = text
        self.query_one("#ask", Input).placeholder = f"Ask something, or Enter for: {text}"

    # -- asking

    @on(Input.Submitted, "#ask")
    def submit(self, event: Input.Submitted) -> None:
        event.stop()
        question = event.value.strip() or (self._suggestion if not self._asked else "")
        if not question:
            return
        if self._answers:
            self.notify("It is still answering; esc stops it.")
        elif self.chat is None or self.chat.ready is None:
            self.notify("It is still loading; your question stays here.")
        else:
            event.input.value = ""
            self._asked.append(question)
            self._place = len(self._asked)
            self.ask(question)

    @work(group="ask")
    async def ask(self, question: str) -> None:
        """Both sides at once, where the base is shown too."""
        from core.errors import UserError

        drawer = self.query_one(ChatSettings)
        try:
            settings = drawer.settings()
        except UserError as error:
            self._about(error.line(), "$error")
            return
        sides = SIDES if self.has_class("-beside") else SIDES[:1]
        self.status = Content.styled("● answering", "$primary")
        await asyncio.gather(*(self._answer(side, question, drawer.system, settings) for side in sides))
        self.status = Content.styled("● ready", "$success")
        self._about(self._facts)  # a base that is a model of its own was loaded meanwhile, and said so here

    async def _answer(self, side: Side, question: str, system: str, settings: Settings) -> None:
        from core.errors import UserError

        assert self.chat
        column = self.query_one(f"#{side}", TalkColumn)
        view = await column.ask(question)
        self._answers.add(view)
        before = [{"role": "system", "content": system}] if system else []
        reply = self.chat.generate([*before, *column.messages], side=side, settings=settings)
        try:
            async for piece in reply:
                view.add(piece)
        except UserError as error:
            column.fail(error.line())
        else:
            assert reply.done
            column.finish(reply.done, reply.notes, settings.max_tokens)
        finally:
            self._answers.discard(view)

    def _flush(self) -> None:
        for column in self.query(TalkColumn):
            column.flush()

    # -- keys

    def action_back(self) -> None:
        """Escape stops the answer, else closes what is open, else goes back."""
        if self._answers:
            self.stop_answers()
        elif self.query_one(ChatSettings).has_class("-open"):
            self.action_settings()
        else:
            super().action_back()

    @work
    async def stop_answers(self) -> None:
        if self.chat:
            await self.chat.stop()

    def action_settings(self) -> None:
        drawer = self.query_one(ChatSettings)
        drawer.toggle_class("-open")
        self.query_one("#system" if drawer.has_class("-open") else "#ask").focus()

    def action_beside(self) -> None:
        self.toggle_class("-beside")

    @work
    async def action_new(self) -> None:
        if self._answers:
            self.notify("It is still answering; esc stops it.")
            return
        for side in SIDES:
            await self.query_one(f"#{side}", TalkColumn).clear()

    def action_save(self) -> None:
        from core.errors import UserError

        if self.chat is None or not self.chat.exchanges:
            self.notify("There is nothing to save yet.")
            return
        path = self.run.path / "chats" / time.strftime("%Y-%m-%d-%H%M%S.md")
        try:
            self.notify(f"Saved: {self.chat.save_transcript(path)}", timeout=10)
        except UserError as error:
            self.notify(error.line(), severity="error", timeout=12)

    def action_earlier(self, by: int) -> None:
        """The questions asked before, as a shell has them."""
        ask = self.query_one("#ask", Input)
        if self.focused is ask and self._asked:
            self._place = min(max(self._place + by, 0), len(self._asked))
            ask.value = self._asked[self._place] if self._place < len(self._asked) else ""
            ask.cursor_position = len(ask.value)

    @on(Select.Changed, "#which")
    def choose(self, event: Select.Changed) -> None:
        event.stop()
        if self.chat and self.chat.ready and isinstance(event.value, int):
            checkpoint = event.value if event.value != RESULT else None
            if checkpoint != self.chat.ready.checkpoint:
                self.load(checkpoint)
