"""What one git child may take: memory, time and output. 256 KB of objects can stand for a billion files, and a line of a pattern for hours.

Who does not know what a workspace holds cannot know beforehand what looking at it costs; so it is looked at, and stopped when it is too much.
"""

from __future__ import annotations

import math
import os
import re
import resource
import selectors
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from workspaces.errors import Limit

from . import processes

MEMORY = 208 << 20
"""Bytes of data (RLIMIT_DATA of setrlimit(2)) that a child may have: an index of about a million files. Two run at once in a call, four that make
clones."""
OUTPUT = 48 << 20
"""Bytes that are read of a child's output: the names of about half a million files."""
PATIENCE = 3.0
"""Seconds of processor that a child which only reads may use in a small repository, and that a call may use for what folders hold. Not of the
clock on the wall: a machine with other work takes many times as long for the same. Nor does a slow disk count: what is large where it is
looked at and small where it is kept costs processor."""
STEP = 0.25
"""Seconds more for each thing that is asked of folders (one frozen, two compared, two merged): about six gits of 5 ms, on a slow machine."""
PER_PATH = 1 / 500
"""Seconds more for each path that is really there to be read or compared: 100,000 new files took 36 to 47 s of processor in all (compare and
merge each, ext4, a busy machine of two cores), freezing 2,000 of them 1.4 s and more. Nobody makes a file cheaper than it is looked at."""
MOST = 90_000
"""Paths in a folder that its project had not, and the most that are looked at: with 100,000 new ones the process that compared them had 507 MB."""
_PER_BYTE = 1 / 200_000
"""Seconds more for each byte of the project's own index: about one for 2,000 of its files."""
_PER_LINE = 120
"""Bytes in which a record or an index tells of a path."""
_STARVED = 20
"""How many times as long by the clock on the wall a child may take, however busy the machine is."""
STANDSTILL = 30.0
"""Seconds for which one that moves a checkout may do nothing at all: a filter may wait for something, and a pipe that an agent made for ever."""
_STIR = 0.02
"""Seconds of processor by which a child that does something is told from one that waits."""
_MAINS = 10
"""How many times as long a child may look at the project's own checkout, which a person filled."""
_ERRORS = 8 << 20
_CHUNK = 1 << 20
_MOVES = frozenset(("checkout-index", "pack-objects", "read-tree", "update-index", "update-ref"))
"""Commands that are not killed while they do anything: what they leave behind could be a checkout half moved, or a lock."""
_FULL = b"No space left on device"
_EXHAUSTED = re.compile(rb"[Oo]ut of memory|Cannot allocate memory|unable to create (\w+ )?thread|over limit")


def may_be_killed(command: str) -> bool:
    """Return whether a git command may be stopped at any time: what it writes are objects, or lies in a view."""
    return command not in _MOVES


Excess = Literal["", "memory", "time", "output"]


def patience(index: Path, is_main: bool) -> float:
    """Return how many seconds a child may read in a repository, by the size of the index of its main checkout."""
    try:
        size = index.lstat().st_size
    except OSError:
        size = 0
    return (PATIENCE + size * _PER_BYTE) * (_MAINS if is_main else 1)


_WAY_OUT = "Take out what is generated or huge, or ignore it (.gitignore); deleting with discard_unmerged always works."


class Clock:
    """The time that a call may use for what folders hold, counted in seconds of processor: of its own threads and of its gits.

    What is really there, path by path, gives it more time, and is bounded by number.
    """

    def __init__(self, seconds: float | None = None, most: float | None = None) -> None:
        self._seconds, self._spent = PATIENCE if seconds is None else seconds, 0.0
        self._most = most
        self._since: dict[int, float] = {}

    @classmethod
    def of_main(cls, index: Path) -> Clock:
        """Return the clock for the project itself, which a person filled: of any number of paths."""
        return cls(patience(index, is_main=True), math.inf)

    @property
    def left(self) -> float:
        now, thread = time.thread_time(), threading.get_ident()
        self._spent += max(0.0, now - self._since.get(thread, now))
        self._since[thread] = now
        return self._seconds - self._spent

    def skip(self) -> None:
        """Leave out what this thread did since it was last looked at the clock."""
        self._since[threading.get_ident()] = time.thread_time()

    def spend(self, seconds: float) -> None:
        """Count what a child used."""
        self._spent += seconds

    def allow(self, paths: int) -> None:
        """Let the call do one thing more, that has to look at so many paths."""
        self._seconds += STEP + paths * PER_PATH

    def room(self, size: int) -> float:
        """Return how many paths a folder may have that was made from one which is told in so many bytes."""
        return (MOST if self._most is None else self._most) + 2 * (size // _PER_LINE)

    def check(self, doing: str) -> None:
        """Raise `Limit` when the time is over."""
        if self.left <= 0:
            raise Limit(
                f"What changed is too large: {doing} was not done in {self._seconds:.0f} s of processor, which is plenty for so many files. "
                "Nothing was changed.",
                _WAY_OUT,
            )


def too_many(location: Path, room: float) -> Limit:
    """Return the error for a folder with more paths than there is room for."""
    return Limit(
        f"{location} is too large: it holds more than the {room:,.0f} paths that are looked at in a copy of this project. Nothing was changed.",
        _WAY_OUT.replace(", or ignore it (.gitignore)", ""),
    )


@dataclass(frozen=True)
class Child:
    """A process that leads a group of its own, and its two pipes."""

    pid: int
    out: IO[bytes]
    err: IO[bytes]
    wait: Callable[[], int]


@dataclass(frozen=True)
class Heard:
    """What a child said until it ended, or was stopped: of what it took too much, and how many seconds of processor it used."""

    status: int
    out: bytes
    err: bytes
    excess: Excess
    seconds: float


@dataclass
class _Pipe:
    source: IO[bytes]
    limit: int
    parts: list[bytes] = field(default_factory=list[bytes])
    size: int = 0

    def read(self) -> bool:
        """Take what is there now, and of that no more than the limit; False at the end."""
        chunk = os.read(self.source.fileno(), _CHUNK)
        self.parts.append(chunk[: max(0, self.limit - self.size)])
        self.size += len(chunk)
        return bool(chunk)


def attend(child: Child, seconds: float, output: int = OUTPUT) -> Heard:
    """Hear a child to its end. One that uses more than `seconds` of processor, or says more than `output`, is stopped, with all that it started;
    so is one that only waits, for what nobody will say.

    With endless `seconds` it is one that moves a checkout: that is stopped when it stands still, and else not even when this is interrupted; what it says
    too much is lost.
    """
    _confine(child.pid)
    meter = _Meter(child.pid, seconds)
    out, err = _Pipe(child.out, output), _Pipe(child.err, _ERRORS)
    try:
        excess = _listen(out, err, meter)
        if excess:
            _kill(child)
    except BaseException:
        if math.isfinite(seconds):
            _kill(child)
        raise
    finally:
        used = meter.used
        status = child.wait()
        for pipe in (out, err):
            pipe.source.close()
    said = b"".join(err.parts)
    if status != 0 and not excess and _FULL not in said and _EXHAUSTED.search(said):
        excess = "memory"
    return Heard(status, b"".join(out.parts), said, excess, used)


def _listen(out: _Pipe, err: _Pipe, meter: _Meter) -> Excess:
    with selectors.DefaultSelector() as waiting:
        for pipe in (out, err):
            waiting.register(pipe.source, selectors.EVENT_READ, pipe)
        while waiting.get_map():
            ready = waiting.select(meter.next_look)
            if meter.is_over():
                return "time"
            for key, _ in ready:
                pipe = out if key.fileobj is out.source else err
                if not pipe.read():
                    waiting.unregister(pipe.source)
            if math.isfinite(meter.seconds) and out.size > out.limit:
                return "output"
    return ""


class _Meter:
    """Looks from time to time at what a child has used, for which it may have some seconds; with endless ones it is over when it stands still.

    A child cannot use more than the time that passes, so the first look is when all of it may be used. Where the system does not tell what
    processes use, the clock on the wall has to do.
    """

    def __init__(self, pid: int, seconds: float) -> None:
        self.seconds, self._pid = seconds, pid
        self._started = self._looked = time.monotonic()
        self._ran = self._waited = 0.0
        self._next = self._started + min(seconds, PATIENCE)

    @property
    def next_look(self) -> float:
        return max(0.0, self._next - time.monotonic())

    @property
    def used(self) -> float:
        """What the child used until now."""
        found = processes.by(self._pid)
        return found.seconds if found else time.monotonic() - self._started

    def is_over(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        found = processes.by_group(self._pid)
        if found is None:
            end = self._started + self.seconds
            self._next = min(end, now + PATIENCE)
            return now >= end
        waits = found.asleep and found.seconds - self._ran < _STIR
        self._waited = self._waited + now - self._looked if waits else 0.0
        self._looked, self._ran = now, found.seconds
        self._next = now + max(_STIR, min(self.seconds - found.seconds, PATIENCE))
        still = PATIENCE if math.isfinite(self.seconds) else STANDSTILL
        return found.seconds >= self.seconds or self._waited >= still or now - self._started >= _STARVED * self.seconds


def _kill(child: Child) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _confine(pid: int) -> None:
    """Bound the memory of a child that just started, where the system lets others do so (prlimit(2)); elsewhere git's own limit of one allocation serves."""
    if hasattr(resource, "prlimit"):
        with suppress(ProcessLookupError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
            most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
            resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))


def too_much(command: str, excess: Excess, folder: Path | None, seconds: float) -> Limit:
    """Return the error for a child that took too much, of a folder or of contents that were frozen before."""
    took = {
        "memory": f"more memory than {MEMORY >> 20} MB, enough for about a million files",
        "time": f"longer than {seconds:.0f} s of processor, which is plenty for the size of this project, or waited for what never comes",
        "output": f"more than {OUTPUT >> 20} MB to say it, enough for about half a million paths",
    }
    what = f"What {folder} holds" if folder else "What was to be looked at"
    return Limit(
        f"{what} is too large: git {command} took {took.get(excess, 'too much')}. Nothing was changed.",
        _WAY_OUT,
        command=command,
        excess=excess,
    )
