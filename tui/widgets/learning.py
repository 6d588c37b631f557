"""How a run learns, in pictures: its loss, and for preferences the rewards under it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from core.runs.history import History
from core.runs.preference_words import is_preference
from tui.widgets import chart, reward_chart
from tui.widgets.picture import Picture

LOSS_KEY = Content.assemble(
    ("⠒ ", "bold $primary"),
    "smoothed ",
    ("⠿ ", "$primary 45%"),
    "train ",
    ("⠶ ", "bold $warning"),
    "held out",
)
REWARD_KEY = Content.assemble(("⠒ ", "bold $primary"), "chosen ", ("⠒ ", "bold $warning"), "rejected")


class LearningPictures(Vertical):
    """The loss chart; in a preference run the rewards beside it, which on a short screen take its place."""

    DEFAULT_CSS = """
    LearningPictures { height: 1fr; }
    LearningPictures Picture { height: 1fr; }
    LearningPictures #rewards { display: none; height: 1fr; }
    LearningPictures.-rewards #rewards { display: block; }
    """

    def compose(self) -> Iterable[Widget]:
        for name, term, title, key in (
            ("chart", "loss", "loss", LOSS_KEY),
            ("rewards", "reward", "rewards", REWARD_KEY),
        ):
            picture = Picture(id=name, classes="panel")
            picture.can_focus = True
            picture.term = term  # type: ignore[attr-defined]
            picture.border_title, picture.border_subtitle = title, key
            yield picture

    def on_mount(self) -> None:
        self._shown: tuple[int, ...] = ()

    def look(self, history: History, steps: Sequence[int]) -> None:
        """Paints what is new; `steps` are the numbers of the history's steps."""
        held = [(one.step, one.loss) for one in history.evals]
        seen = (len(steps), history.step, len(held))
        if seen == self._shown:
            return
        self._shown = seen
        series = chart.Series(steps, history.losses, held, history.steps_total)
        self.query_one("#chart", Picture).show(partial(chart.draw, series))
        prefers = is_preference(history)
        self.set_class(prefers, "-rewards")
        if prefers:
            told = reward_chart.rewards(history, steps)
            self.query_one("#rewards", Picture).show(partial(reward_chart.draw, told))
