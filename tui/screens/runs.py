"""Runs, the home screen: every run of this box, and where one can go from here."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.journey import Journey
from tui.widgets.ask import Ask
from tui.widgets.run_table import DRAFT, RunTable, about
from tui.widgets.step_frame import StepScreen

if TYPE_CHECKING:
    from core.runs.folder import RunFolder
    from tui.run_rows import RunReader, RunRow

POLL_SECONDS = 1.0
DEMO = "Try the demo: no GPU needed, about four minutes"
WELCOME = Content.assemble(
    ("Fine-tune a language model, from here to talking to it.", "bold"),
    "\n\nEvery step explains itself: press ? on anything. Nothing is started before you say so, and "
    "a run goes on when you close this window.",
)


class RunsScreen(StepScreen):
    step = "runs"
    AUTO_FOCUS = None

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "new run", tooltip="Start the wizard", id="runs.new"),
        Binding("r", "resume", "resume", tooltip="Go on from the last checkpoint", id="runs.resume"),
        Binding("c", "chat", "chat", tooltip="Talk to what the run made", id="runs.chat"),
        Binding("d", "delete", "delete", tooltip="Delete the run and all that it made", id="runs.delete"),
        Binding("q", "leave", "quit", tooltip="Leave; runs go on", id="runs.leave"),
        Binding("D", "demo", "demo", key_display="D", tooltip=DEMO, id="runs.demo"),
    ]

    DEFAULT_CSS = """
    RunsScreen #list, RunsScreen #empty { height: 1fr; }
    RunsScreen #about { height: auto; max-height: 9; margin: 1 1 0 1; }
    RunsScreen #empty { align: center middle; }
    RunsScreen #welcome, RunsScreen #ways { width: 66; max-width: 100%; height: auto; }
    RunsScreen #ways { margin-top: 1; border: none; background: $background; padding: 0; }
    RunsScreen #ways > .option-list--option { padding: 0 1; }
    RunsScreen #list { display: none; }
    RunsScreen #empty { display: none; }
    RunsScreen.-some #list { display: block; }
    RunsScreen.-none #empty { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._reader: RunReader | None = None
        self._reading = False

    def compose_step(self) -> Iterable[Widget]:
        with Vertical(id="list"):
            yield RunTable(id="table")
            yield Static(id="about")
        with Vertical(id="empty"):
            yield Static(WELCOME, id="welcome")
            yield OptionList(
                Option("Start a run, step by step", id="new"),
                Option(DEMO, id="demo"),
                id="ways",
                compact=True,
            )

    def on_mount(self) -> None:
        self.set_interval(POLL_SECONDS, self.read)
        self.call_after_refresh(self.read)

    def on_screen_resume(self) -> None:
        self.read()

    # -- reading

    def read(self) -> None:
        """Look at all runs again, in a thread; one look at a time, and only while this screen is shown."""
        if self.is_mounted and self.is_active and not self._reading:
            self._reading = True
            self.run_worker(self._read, thread=True, exit_on_error=False)

    def _read(self) -> None:
        try:
            from tui.run_rows import RunReader

            self._reader = self._reader or RunReader()
            rows: dict[str, RunRow | Journey] = {}
            draft = Journey(self.journey.draft_file.parent)
            if draft.load_draft():
                rows[DRAFT] = draft
            rows |= {row.name: row for row in self._reader.rows(self.app.runs_dir)}
            self.app.call_from_thread(self.show, rows)
        finally:
            self._reading = False

    def show(self, rows: "dict[str, RunRow | Journey]") -> None:
        """Put rows on the screen, or the welcome where there are none."""
        table = self.query_one(RunTable)
        table.show(rows)
        self.set_class(bool(rows), "-some").set_class(not rows, "-none")
        if rows and self.focused is not table:
            table.focus()
        elif not rows and not isinstance(self.focused, OptionList):
            self.query_one("#ways").focus()
        live = sum(not isinstance(row, Journey) and row.live for row in rows.values())
        self.status = Content.styled(f"● {live} running", "$primary") if live else ""
        self._tell()

    # -- the row under the cursor

    def _chosen(self) -> "RunRow | None":
        row = self.query_one(RunTable).chosen
        return None if isinstance(row, Journey) else row

    @property
    def _at_draft(self) -> bool:
        return isinstance(self.query_one(RunTable).chosen, Journey)

    def _folder(self, row: "RunRow") -> "RunFolder":
        from core.runs.folder import RunFolder

        return RunFolder(row.path)

    def _tell(self) -> None:
        row = self.query_one(RunTable).chosen
        self.query_one("#about", Static).update(about(row) if row else "")
        self.refresh_bindings()

    def on_data_table_row_highlighted(self) -> None:
        self._tell()

    def on_data_table_row_selected(self) -> None:
        if self.check_action("open", ()):
            self.action_open()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_new() if event.option.id == "new" else self.action_demo()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can be done with the row under the cursor is offered."""
        row = self._chosen()
        if action == "open":
            return self._at_draft or (row is not None and row.state != "damaged")
        if action == "resume":
            return row is not None and row.state in ("stopped", "failed", "died")
        if action == "chat":
            return row is not None and row.talks
        if action == "delete":
            return self._at_draft or (row is not None and not row.live)
        return action != "back" or self.help_is_open

    # -- actions

    def action_leave(self) -> None:
        live = [
            row
            for row in self.query_one(RunTable).shown.values()
            if not isinstance(row, Journey) and row.live
        ]
        going = f"{live[0].name} goes on" if len(live) == 1 else f"{len(live)} runs go on"
        self.app.exit(message=f"{going}; come back with: finetui" if live else None)

    def action_new(self) -> None:
        def begin(sure: bool | None = True) -> None:
            if sure:
                self.journey.clear_draft()
                self.journey.fresh()
                self.app.goto("aim")

        draft = self.query_one(RunTable).shown.get(DRAFT)
        if isinstance(draft, Journey):
            text = f"There is a draft: {draft.label}. A new run takes its place."
            self.app.push_screen(Ask("Start over?", text, "Start over", "Keep the draft"), begin)
        else:
            begin()

    def action_open(self) -> None:
        row = self._chosen()
        if row is not None:
            self.app.open_run(self._folder(row))
        elif self._at_draft:
            if not self.journey.choices:
                self.journey.load_draft()
            self.app.goto(self.journey.step)

    def action_resume(self) -> None:
        if row := self._chosen():
            folder = self._folder(row)

            def resume() -> None:
                from core.runs.start import resume

                resume(folder)

            self._do(resume, lambda: self.app.open_run(folder))

    def action_chat(self) -> None:
        if row := self._chosen():
            self.app.open_chat(self._folder(row))

    def action_delete(self) -> None:
        row = self._chosen()

        def remove(sure: bool | None) -> None:
            if sure and row is not None:
                from core.runs.control import remove

                folder = self._folder(row)
                self._do(lambda: remove(folder), self.read)
            elif sure:
                self.journey.clear_draft()
                self.journey.fresh()
                self.read()

        if row is None:
            self.app.push_screen(Ask("Delete the draft?", "Its choices are lost.", "Delete", "Keep"), remove)
        else:
            text = f"{row.path}\n\nIts log, its checkpoints and all that it made. This cannot be undone."
            self.app.push_screen(Ask(f"Delete {row.name}?", text, "Delete", "Keep"), remove)

    def action_demo(self) -> None:
        from tui.widgets.preparing import Preparing

        def opened(folder: "RunFolder | None") -> None:
            if folder is not None:
                self.app.open_run(folder)

        self.app.push_screen(Preparing(), opened)

    @work(thread=True)
    def _do(self, act: Callable[[], object], then: Callable[[], object]) -> None:
        """What touches the disk or starts a process, off the event loop; a refusal is said in one line."""
        from core.errors import UserError

        try:
            act()
        except UserError as error:
            self.app.call_from_thread(self.app.notify, error.line(), severity="error", markup=False)
        else:
            self.app.call_from_thread(then)
