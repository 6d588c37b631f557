"""What was measured on this machine, kept beside the runs: a line a job, of measurements and finished runs.

Whatever was seen once need not be guessed again (`core.plan.corrected`). The file is small and bounded, torn
lines are passed over, and several processes may add to it at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from core.machine.gpus import read_gpus
from core.models.shape import ModelShape
from core.plan.ladder import bytes_of
from core.plan.memory import Bytes
from core.runs.folder import home
from core.spec import Objective, RunSpec

FILE = "measured.jsonl"
MOST = 400
"""Jobs that are kept, the newest; a quarter more are there before the oldest go."""
DECIDES = ("torch", "transformers", "peft", "trl", "bitsandbytes")
"""Libraries whose versions decide about memory."""
NUMBERS = (
    *("parameters", "layers", "hidden", "intermediate", "heads", "kv_heads", "head_dim", "vocab", "tied"),
    *("gated_mlp", "experts", "experts_per_token", "expert_intermediate"),
)
"""Of a model's shape what decides about memory."""
PASSING = ("kept", "live", "loss", "temporary")
"""Parts of what a run takes that come and go."""


@dataclass(frozen=True)
class Job:
    """All that decides about what a run takes."""

    card: str
    versions: dict[str, str]
    """Of the driver and of the libraries."""
    name: str
    """Of the model, for a person; the numbers tell."""
    model: dict[str, Any]
    settings: dict[str, Any]
    data: str
    """A fingerprint of the rows and of what is made of them."""


@dataclass(frozen=True)
class Record:
    """What a job took. Bytes."""

    job: Job
    tokens: int
    """Of the fullest pass."""
    tensors: int
    """At the fullest moment, by torch's count; of a CPU what was resident."""
    passing: int
    """Of those what comes and goes: all but weights, adapters, gradients and the optimiser's state."""
    formula: int
    """What the closed form says comes and goes in a pass of so many tokens."""
    by: str
    """measure or run."""
    time: float
    """Seconds since the epoch."""
    tokens_per_second: float | None = None
    estimate: dict[str, Any] | None = None
    """All phases and parts, where it was measured (`core.plan.estimate`)."""
    expected: float | None = None
    """Tokens a second that the form of speed says of it, on a middling card where this one's rates are not
    known."""

    @property
    def factor(self) -> float | None:
        """How much of what the closed form says comes and goes there was; None: it says nothing does."""
        return self.passing / self.formula if self.formula > 0 else None

    @property
    def pace(self) -> float | None:
        """How fast it was, as a share of what the form of speed says; None: not known."""
        return self.tokens_per_second / self.expected if self.tokens_per_second and self.expected else None


def passing(held: Bytes) -> int:
    """What comes and goes."""
    return sum(getattr(held, name) for name in PASSING)


def record_of(
    spec: RunSpec,
    shape: ModelShape,
    *,
    card: str,
    on_gpu: bool,
    objective: Objective,
    compiled: bool,
    recorded: bool,
    host: bool,
    tokens: int,
    tensors: int,
    by: str,
    standing: int | None = None,
    tokens_per_second: float | None = None,
    estimate: dict[str, Any] | None = None,
    expected: float | None = None,
) -> Record:
    """What a resolved spec took. `tokens`: of its fullest pass. `standing`: bytes of tensors that are there
    all the time, where they were counted; None: as the closed form counts them. The rest as in `Record`."""
    how = {"on_gpu": on_gpu, "compiled": compiled, "recorded": recorded}
    job = job_of(spec, shape, card=card, objective=objective, host=host, **how)
    at = spec.model_copy(update={"length": max(1, tokens // (spec.batch or 1))})
    ram = 2**50 if host else 0
    formula = bytes_of(at, shape, objective=objective, ram=ram, **how)
    if standing is None:
        standing = formula.tensors - passing(formula)
    return Record(
        job,
        tokens,
        tensors,
        max(0, tensors - standing),
        passing(formula),
        by,
        round(time.time(), 3),
        tokens_per_second,
        estimate,
        expected,
    )


def job_of(
    spec: RunSpec,
    shape: ModelShape,
    *,
    card: str,
    on_gpu: bool,
    objective: Objective,
    compiled: bool,
    recorded: bool,
    host: bool,
) -> Job:
    """The job that a resolved spec is on a card."""
    settings = {
        **{key: getattr(spec, key) for key in ("method", "precision", "optimizer", "recompute", "packing")},
        **{key: getattr(spec, key) for key in ("batch", "length")},
        "accumulate": min(spec.accumulate or 1, 2),  # more passes take no more
        "rank": spec.lora.rank,
        "targets": spec.lora.targets,
        "dora": spec.lora.dora,
        "dropout": spec.lora.dropout > 0,
        "on_gpu": on_gpu,
        "objective": objective,
        "compiled": compiled,
        "recorded": recorded,
        "host": host,
    }
    model = {key: getattr(shape, key) for key in NUMBERS}
    return Job(card, versions(), shape.name, model, settings, data_of(spec))


@functools.cache
def versions() -> dict[str, str]:
    """Of what decides about memory, read without importing any of it."""
    found = {"driver": read_gpus().driver or ""}
    for name in DECIDES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def data_of(spec: RunSpec) -> str:
    """A fingerprint of a run's rows: of its sources as they are named, of the files behind them, and of what
    decides which tokens they become and in which order."""
    sources = [spec.data.source, *(one.source for one in spec.data.more)]
    if isinstance(spec.data.eval, str):
        sources.append(spec.data.eval)
    files = []
    for source in sources:
        with contextlib.suppress(OSError):
            stat = Path(source).expanduser().stat()
            files.append([stat.st_size, stat.st_mtime_ns])
    how = [spec.data.model_dump(mode="json"), spec.template, spec.learn, spec.length, spec.packing, spec.seed]
    return hashlib.sha256(json.dumps([files, how], sort_keys=True).encode()).hexdigest()[:16]


def path() -> Path:
    return home() / FILE


def remember(record: Record) -> None:
    """Adds a line. OSError where the disk does not take it."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    with _alone(file):
        torn = file.exists() and not _ends_whole(file)
        line = json.dumps(asdict(record), ensure_ascii=False, allow_nan=False)
        with file.open("ab", buffering=0) as out:
            out.write(b"\n" * torn + line.encode() + b"\n")
        lines = file.read_bytes().splitlines()
        if len(lines) > MOST + MOST // 4:
            beside = file.with_name(f".{FILE}.{os.getpid()}")
            beside.write_bytes(b"\n".join(lines[-MOST:]) + b"\n")
            beside.replace(file)


def recall() -> tuple[Record, ...]:
    """All that is known, the newest first; a job that was seen twice once."""
    try:
        stat = path().stat()
    except OSError:
        return ()
    return _read(path(), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _read(file: Path, size: int, changed: int) -> tuple[Record, ...]:
    found: dict[str, Record] = {}
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return ()
    for line in reversed(lines):
        if record := _record(line):
            what = json.dumps({**asdict(record.job), "name": ""}, sort_keys=True)
            found[what] = _both(found[what], record) if what in found else record
    return tuple(found.values())


def _both(newer: Record, older: Record) -> Record:
    """Of a job that was seen twice the newer figures, never fewer bytes, and the parts if they are known."""
    more = max(newer, older, key=lambda one: one.tensors)
    estimate = newer.estimate or older.estimate
    return replace(newer, tensors=more.tensors, passing=more.passing, estimate=estimate)


def _record(line: bytes) -> Record | None:
    """None for a line that is torn, or that another version wrote."""
    try:
        raw = json.loads(line)
        job = Job(**{one.name: raw["job"][one.name] for one in fields(Job)})
        told = {one.name: raw[one.name] for one in fields(Record) if one.name in raw}
        return Record(**{**told, "job": job})
    except (ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One process at a time adds to the file, which may be replaced by a shorter one meanwhile."""
    lock = os.open(file.with_name(f".{FILE}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as read:
        if not read.seek(0, os.SEEK_END):
            return True
        read.seek(-1, os.SEEK_END)
        return read.read(1) == b"\n"
