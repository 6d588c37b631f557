"""The demo on its way: prepared and started as any run is, told line by line, and left by Escape."""

from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from tui.widgets.own_work import EndsItsWork
from tui.widgets.progress_line import ProgressLine

if TYPE_CHECKING:
    from core.runs.folder import RunFolder  # noqa: F401  # in the quoted base class
    from tui.app import FinetuiApp


class Preparing(EndsItsWork["RunFolder | None"], ModalScreen["RunFolder | None"]):
    """Gives back the run's folder once its worker is started, or None when one leaves before."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "leave")]
    DEFAULT_CSS = """
    Preparing { align: center middle; background: $background 70%; }
    Preparing #box {
        width: 70; max-width: 94%; height: auto; padding: 1 2; background: $surface; border: round $primary;
        border-title-color: $primary;
    }
    Preparing ProgressLine { margin-top: 1; height: auto; text-wrap: wrap; }
    """
    if TYPE_CHECKING:
        app: FinetuiApp

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = "The demo"
            yield Static(
                "A small model that only babbles learns to answer questions. All of it is on this box: "
                "no network, no GPU. It takes about four minutes and is a real run in every way."
            )
            yield ProgressLine()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.prepare()

    @work
    async def prepare(self) -> None:
        import asyncio

        from core.demo.demo import demo_spec
        from core.errors import UserError
        from core.prepare import prepare_async
        from core.runs.start import start

        line = self.query_one(ProgressLine)
        try:
            ready = await prepare_async(demo_spec(), line.progress)
            ready.refuse_if_stopped()
            line.progress("starting")
            folder = await asyncio.to_thread(start, ready.spec, self.app.runs_dir)
        except UserError as error:
            line.say(error.line(), "stop")
            return
        line.quiet()
        self.dismiss(folder)

    def action_leave(self) -> None:
        self.workers.cancel_node(self)
        self.dismiss(None)
