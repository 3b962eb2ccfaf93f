"""What one git child may take: memory, time and output. 256 KB of objects can stand for a billion files, and a line of a pattern for hours.

Who does not know what a workspace holds cannot know beforehand what looking at it costs; so it is looked at, and stopped when it is too much.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from workspaces.errors import Limit

MEMORY = 208 << 20
"""Bytes of data (RLIMIT_DATA of setrlimit(2)) that a child may have: an index of about a million files. Two run at once in a call."""
OUTPUT = 48 << 20
"""Bytes that are read of a child's output: the names of about half a million files."""
PATIENCE = 3.0
"""Seconds that a child which only reads may run in a small repository."""
_PER_BYTE = 1 / 200_000
"""Seconds more for each byte of the project's own index: about one for 2,000 of its files."""
_MAINS = 10
"""How many times as long a child may look at the project's own checkout, which a person filled."""
_ERRORS = 8 << 20
_CHUNK = 1 << 20
_MOVES = frozenset(("checkout-index", "pack-objects", "read-tree", "update-index", "update-ref"))
"""Commands that are never killed: what they leave behind could be a checkout half moved, or a lock."""
_EXHAUSTED = (b"Out of memory", b"out of memory", b"Cannot allocate memory", b"unable to create", b"over limit")


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
    """The time in which a call may look at what workspaces hold, of which each step takes what it needs. It grows with the project."""

    def __init__(self) -> None:
        self._started, self._seconds = time.monotonic(), PATIENCE

    @property
    def left(self) -> float:
        return self._started + self._seconds - time.monotonic()

    def allow(self, size: int) -> None:
        """Let the call have what a project takes whose files are told in so many bytes."""
        self._seconds = max(self._seconds, PATIENCE + size * _PER_BYTE)

    def stand_still(self, seconds: float) -> None:
        """Leave out what was spent on something else than what workspaces hold."""
        self._started += seconds

    def check(self, doing: str) -> None:
        """Raise `Limit` when the time is over."""
        if self.left <= 0:
            raise Limit(
                f"What changed is too large: {doing} was not done in {self._seconds:.0f} s, which is plenty for the size of this project. "
                "Nothing was changed.",
                _WAY_OUT,
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
    """What a child said until it ended, or was stopped: of what it took too much."""

    status: int
    out: bytes
    err: bytes
    excess: Excess


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
    """Hear a child to its end. One that takes more than `seconds` or `output` is stopped, with all that it started.

    With no `seconds` it is one that moves a checkout: that is never stopped, not even when this is interrupted, and what it says too much is lost.
    """
    _confine(child.pid)
    out, err = _Pipe(child.out, output), _Pipe(child.err, _ERRORS)
    try:
        excess = _listen(out, err, seconds)
        if excess:
            _kill(child)
    except BaseException:
        if seconds:
            _kill(child)
        raise
    finally:
        status = child.wait()
        for pipe in (out, err):
            pipe.source.close()
    said = b"".join(err.parts)
    if status != 0 and not excess and any(sign in said for sign in _EXHAUSTED):
        excess = "memory"
    return Heard(status, b"".join(out.parts), said, excess)


def _listen(out: _Pipe, err: _Pipe, seconds: float) -> Excess:
    until = time.monotonic() + seconds
    with selectors.DefaultSelector() as waiting:
        for pipe in (out, err):
            waiting.register(pipe.source, selectors.EVENT_READ, pipe)
        while waiting.get_map():
            ready = waiting.select(max(0.0, until - time.monotonic()) if seconds else None)
            if seconds and time.monotonic() >= until:
                return "time"
            for key, _ in ready:
                pipe = out if key.fileobj is out.source else err
                if not pipe.read():
                    waiting.unregister(pipe.source)
            if seconds and out.size > out.limit:
                return "output"
    return ""


def _kill(child: Child) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _confine(pid: int) -> None:
    """Bound the memory of a child that just started, where the system lets others do so (prlimit(2)); elsewhere git's own limit of one allocation serves."""
    if hasattr(resource, "prlimit"):
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_DATA, (MEMORY, MEMORY))


def too_much(command: str, excess: Excess, folder: Path | None, seconds: float) -> Limit:
    """Return the error for a child that took too much, of a folder or of contents that were frozen before."""
    took = {
        "memory": f"more memory than {MEMORY >> 20} MB, enough for about a million files",
        "time": f"longer than {seconds:.0f} s, which is plenty for the size of this project",
        "output": f"more than {OUTPUT >> 20} MB to say it, enough for about half a million paths",
    }
    what = f"What {folder} holds" if folder else "What was to be looked at"
    return Limit(
        f"{what} is too large: git {command} took {took.get(excess, 'too much')}. Nothing was changed.",
        _WAY_OUT,
        command=command,
        excess=excess,
    )
