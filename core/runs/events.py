"""The typed event log of a run: what the worker says, one JSON object a line, and how it is followed.

The log is the only thing from which a run's history is told. It is append-only; a line that is
still being written is waited for, a damaged one is skipped and counted.
"""

import errno
import json
import math
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

VERSION = 1
CHUNK = 1 << 18
"""Bytes read at once: a long log never lies in memory as a whole."""


@dataclass(frozen=True, slots=True)
class Start:
    """A worker took hold of the run."""

    type: ClassVar[str] = "start"
    pid: int
    resumed_from: int | None = None
    """The step of the checkpoint that it went on from."""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """What is happening: download, load, tokenise, reference, compile, first step, train, evaluate, save."""

    type: ClassVar[str] = "stage"
    name: str
    done: float = 0
    total: float | None = None
    unit: str = ""
    """bytes, rows, steps, or nothing."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the optimiser."""

    type: ClassVar[str] = "step"
    step: int
    steps: int
    epoch: float
    loss: float | None
    learning_rate: float
    grad_norm: float | None
    tokens: int
    """Tokens trained on so far, padding not counted."""
    tokens_per_second: float | None
    memory: int | None = None
    """Peak bytes on the GPU so far."""
    seconds: float = 0.0
    """Seconds spent training so far."""
    reward_chosen: float | None = None
    """Of preferences alone, as are the three below it: beta x how many nats likelier the chosen answers (of
    KTO: the good ones) are than before training; of ORPO, which compares with nothing, beta x their mean
    log-probability a token."""
    reward_rejected: float | None = None
    margin: float | None = None
    """Chosen less rejected reward."""
    accuracy: float | None = None
    """Share of the pairs (0-1) whose chosen answer has the larger reward; KTO has no pairs."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A look at the GPUs and the host; every value may be None where the machine does not say.

    A GPU: index, name, utilisation (0-1), memory_used, memory_total (bytes), power, power_limit (W),
    temperature (°C), clock_sm, clock_memory (MHz), processes [{pid, name, bytes}].
    The host: cpu (0-1), ram_used, ram_total, worker_ram (bytes), worker_cpu (cores).
    """

    type: ClassVar[str] = "gpu"
    gpus: list[dict[str, Any]]
    host: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Eval:
    """The loss on the held-out rows, before the first step (step 0) or after one; rewards as in Step."""

    type: ClassVar[str] = "eval"
    step: int
    loss: float | None
    tokens: int | None = None
    reward_chosen: float | None = None
    reward_rejected: float | None = None
    margin: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What the model answers at this step."""

    type: ClassVar[str] = "sample"
    step: int
    prompt: str
    text: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint; `reason` is schedule, asked, stop or end."""

    type: ClassVar[str] = "checkpoint"
    step: int
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the user should know; `severity` is stop, warn or info."""

    type: ClassVar[str] = "finding"
    severity: str
    code: str
    what: str
    why: str = ""
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Error:
    """Why the run failed; the traceback stands in `log`."""

    type: ClassVar[str] = "error"
    what: str
    why: str = ""
    todo: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """The worker is done: finished, stopped or failed."""

    type: ClassVar[str] = "end"
    state: str
    reason: str = ""


Event = Start | Stage | Step | Gpu | Eval | Sample | Checkpoint | Finding | Error | End
_KINDS: dict[str, type[Event]] = {
    kind.type: kind for kind in (Start, Stage, Step, Gpu, Eval, Sample, Checkpoint, Finding, Error, End)
}
REWARDS = ("reward_chosen", "reward_rejected", "margin", "accuracy")
"""Fields that a line leaves out where there is nothing in them."""
_FIELDS = {name: frozenset(f.name for f in fields(kind)) for name, kind in _KINDS.items()}


class Record(NamedTuple):
    seq: int
    time: float
    """Seconds since the epoch."""
    event: Event


def encode(event: Event, seq: int, now: float) -> bytes:
    """One line of the log. A number that is not finite becomes null, since JSON has no NaN."""
    said = {key: value for key, value in asdict(event).items() if value is not None or key not in REWARDS}
    mapping = {"v": VERSION, "seq": seq, "time": round(now, 3), "type": event.type, **said}
    return json.dumps(_finite(mapping), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def decode(line: bytes) -> Record | None:
    """The record in a line; None when the line is damaged or of a type that this version lacks."""
    try:
        return _record(json.loads(line))
    except ValueError:
        return None


def decode_all(lines: list[bytes]) -> list[Record | None]:
    """As `decode`, of many lines at once, which is three times as fast: read as one JSON array."""
    try:
        raws = json.loads(b"[%s]" % b",".join(lines))
        if len(raws) == len(lines):
            return [_record(raw) for raw in raws]
    except ValueError:
        pass  # one of them is damaged: each is looked at by itself
    return [decode(line) for line in lines]


def _record(raw: Any) -> Record | None:
    try:
        seq, moment, name = raw.pop("seq"), raw.pop("time"), raw.pop("type")
        raw.pop("v", None)
        return Record(seq, moment, _event(_KINDS[name], raw))
    except (KeyError, TypeError, AttributeError):
        return None


def _event(kind: type[Event], raw: dict[str, Any]) -> Event:
    try:
        return kind(**raw)
    except TypeError:  # written by a later version, which knew more of it
        return kind(**{key: value for key, value in raw.items() if key in _FIELDS[kind.type]})


class Log(Protocol):
    """What events are told to."""

    def write(self, event: Event) -> None: ...


class EventLog:
    """Appends events. Threads may share it; one worker at a time holds the file (see `lock`)."""

    def __init__(self, path: Path):
        self._lock = threading.Lock()
        self._path = path
        self._seq = 0
        torn = False
        if path.exists():
            follow = Follow(path)
            self._seq = max((record.seq for record in follow.poll()), default=0)
            torn = follow.torn
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._torn = torn  # a worker was killed in the middle of a line: it is ended before ours

    def write(self, event: Event) -> None:
        """One event, one write. OSError where the disk is full."""
        with self._lock:
            self._seq += 1
            line = b"\n" * self._torn + encode(event, self._seq, time.time())
            written = os.write(self._fd, line)
            self._torn = written < len(line)
            if self._torn:  # the disk took a part and then was full
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            if isinstance(event, Checkpoint | End | Error):
                os.fsync(self._fd)

    def close(self) -> None:
        with self._lock:
            os.close(self._fd)


class Follow:
    """Reads a log as it grows: `poll` gives what is new since the last call."""

    def __init__(self, path: Path):
        self.path = path
        self.damaged = 0
        self._offset = 0
        self._tail = b""

    @property
    def torn(self) -> bool:
        """The last line has no end yet."""
        return bool(self._tail)

    def poll(self) -> list[Record]:
        return [record for piece in self.pieces() for record in piece]

    def pieces(self) -> Iterator[list[Record]]:
        """What is new, a piece of the file at a time."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                while fresh := file.read(CHUNK):
                    self._offset += len(fresh)
                    *lines, self._tail = (self._tail + fresh).split(b"\n")
                    yield self._take([line for line in lines if line])
        except FileNotFoundError:
            pass

    def _take(self, lines: list[bytes]) -> list[Record]:
        found = [record for record in decode_all(lines) if record is not None]
        self.damaged += len(lines) - len(found)
        return found
