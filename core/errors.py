"""What a user is told when something cannot be done: what, why and what to do, in one line."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A refusal or failure that a person can act on.

    `code` is the exit status: 2 when the call is wrong, 1 when the answer is no.
    `log` names the file that holds the details, where there is one.
    """

    def __init__(self, what: str, why: str = "", todo: str = "", *, code: int = 2, log: str | None = None):
        super().__init__(what, why, todo)
        self.what, self.why, self.todo = _flat(what), _flat(why), _flat(todo)
        self.code, self.log = code, log

    def line(self) -> str:
        """The error as one line: `what: why. todo`."""
        text = f"{self.what}: {self.why}" if self.why else self.what
        if self.todo:
            # a command keeps its own letters
            todo = self.todo if self.todo.startswith("finetui") else self.todo[0].upper() + self.todo[1:]
            text = f"{text.rstrip('.')}. {todo}"
        if self.log:
            text = f"{text.rstrip('.')}. Details: {self.log}"
        return text

    def to_dict(self) -> dict[str, str]:
        return {"what": self.what, "why": self.why, "todo": self.todo}

    def __str__(self) -> str:
        return self.line()


def _flat(text: str) -> str:
    return " ".join(text.split())


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be, or None when none is near."""
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None
