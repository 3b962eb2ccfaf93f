"""Who may act: one `flock` per workspace, so that processes which know nothing of each other take turns.

A lock file is never unlinked. Its descriptor is inheritable and git children are started so that they inherit it (and nothing else): while
the orphan of a killed process still writes, the lock is still held. A normal release unlocks explicitly, for all who inherited it.
"""

from __future__ import annotations

import fcntl
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path

from workspaces.errors import Busy
from workspaces.telemetry import span

PATIENCE = 30.0
"""Seconds that a call waits for its turn before it answers `busy`."""
_GLANCE = 0.2
Look = Callable[[], object]
"""Called every now and then by who waits. Raises to stop waiting."""


def nothing() -> None:
    """Look at nothing."""


Aside = Callable[[], AbstractContextManager[None]]
stepping: ContextVar[Aside] = ContextVar("stepping", default=nullcontext)
"""What a call opens while it waits for its turn, so that others can have its place meanwhile."""

looking: ContextVar[Look] = ContextVar("looking", default=nothing)
"""What a call looks at while it waits for something that is nobody's workspace."""

_COURTESY = 2.0
"""Seconds for which a process lets another one go first that came before it."""


class Locks:
    """The locks of one `home`. Names come in any order and are locked in sorted order."""

    def __init__(self, folder: Path, patience: float = PATIENCE) -> None:
        self.folder, self.patience = folder, patience

    @contextmanager
    def change(self, *names: str, freeze: Iterable[str] = (), patience: float | None = None, look: Look = nothing) -> Generator[None]:
        """Hold `names` alone, and `freeze` together with other readers. Raises `Busy` at the deadline, and what `look` does, holding nothing."""
        wanted = dict.fromkeys(freeze, fcntl.LOCK_SH) | dict.fromkeys(names, fcntl.LOCK_EX)
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        self.folder.mkdir(parents=True, exist_ok=True)
        with span("workspaces lock", workspaces__lock__names=sorted(wanted)) as told, ExitStack() as held:
            for name in sorted(wanted):
                held.enter_context(self._hold(name, wanted[name], deadline, look))
            told.event("locked")
            yield

    @contextmanager
    def _hold(self, name: str, kind: int, deadline: float, look: Look) -> Generator[None]:
        line = str(self.folder / name.lower())
        with _turns.turn(line, deadline, name, look) as bell:
            descriptor = self._taken(name, kind, deadline, look, bell)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
            _turns.ring(line)

    def _taken(self, name: str, kind: int, deadline: float, look: Look, bell: threading.Event) -> int:
        descriptor = _opened(self.folder / f"{name.lower()}.lock")
        try:
            with self._at_the_door(name, deadline, look, bell):
                _wait(descriptor, kind, deadline, name, look, bell)
        except BaseException:
            os.close(descriptor)
            raise
        if kind == fcntl.LOCK_EX:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        os.set_inheritable(descriptor, True)
        return descriptor

    @contextmanager
    def _at_the_door(self, name: str, deadline: float, look: Look, bell: threading.Event) -> Generator[None]:
        """Be the one process that asks next: the kernel lets readers in as long as there are any, so whoever wants to change something would wait
        for ever beside them. Whoever stands at the door for too long, and may be stopped, is passed by: this is for order alone."""
        descriptor = _opened(self.folder / f"{name.lower()}.door")
        try:
            with suppress(Busy):
                _wait(descriptor, fcntl.LOCK_EX, min(deadline, time.monotonic() + _COURTESY), name, look, bell)
            yield
        finally:
            os.close(descriptor)


@contextmanager
def together(descriptor: int, place: Path, alone: bool = False) -> Generator[bool]:
    """Hold what is open there together with all who do so, until the block ends. `alone` keeps everybody off: false, at once, while somebody is
    there. Raises `Busy` when whoever is alone there does not end in time, and what `looking` does."""
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    if not _locked(descriptor, kind):
        if alone:
            yield False
            return
        with stepping.get()():
            refused = partial(_kept, descriptor, place)
            _await_lock(descriptor, kind, time.monotonic() + PATIENCE, refused, looking.get(), threading.Event())
    try:
        yield True
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def beside(descriptor: int) -> None:
    """Hold what is open there together with others until it is closed, unless somebody is alone there: whoever only looks waits for nobody."""
    _locked(descriptor, fcntl.LOCK_SH)


class _Turns:
    """First come, first served, among the threads of one process: only the first in a line asks the kernel, which knows no order. For it rings
    who in this process lets go of what it waits for; who lets go elsewhere, it has to ask for again and again."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[threading.Event]] = {}
        self._guard = threading.Lock()

    @contextmanager
    def turn(self, line: str, deadline: float, name: str, look: Look) -> Generator[threading.Event]:
        """Stand in a line until first, and give the bell."""
        mine = threading.Event()
        with self._guard:
            waiting = self._lines.setdefault(line, deque())
            waiting.append(mine)
            waiting[0].set()
        try:
            if not mine.is_set():
                with stepping.get()():
                    self._await(mine, deadline, name, look)
            yield mine
        finally:
            with self._guard:
                waiting.remove(mine)
                if waiting:
                    waiting[0].set()
                else:
                    self._lines.pop(line, None)

    def ring(self, line: str) -> None:
        with self._guard:
            if waiting := self._lines.get(line):
                waiting[0].set()

    def _await(self, mine: threading.Event, deadline: float, name: str, look: Look) -> None:
        while not mine.wait(min(_GLANCE, max(0.0, deadline - time.monotonic()) + 0.001)):
            if time.monotonic() >= deadline:
                raise _busy(name)
            look()


_turns = _Turns()


def _opened(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _busy(name: str, holder: str = "another call") -> Busy:
    return Busy(
        f"'{name}' is being changed by {holder}, which did not end in time. Nothing was changed.",
        "Call again in a moment; workspaces doctor shows what is under way.",
        workspace=name,
    )


def _kept(descriptor: int, place: Path) -> Busy:
    number = _locker(descriptor)
    return Busy(
        f"{place} is kept by {_told(number)}, which did not end in time. Nothing was changed.",
        f"Call again in a moment; if it never ends, end it: {f'kill -9 {number}' if number else f'fuser {place} says which process it is'}.",
    )


def _locker(descriptor: int) -> str:
    """Return the number of the other process that is alone at a file, as far as the system tells (proc_locks(5))."""
    found = os.fstat(descriptor)
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with suppress(OSError):
        rows = [row.split() for row in Path("/proc/locks").read_text().splitlines()]
        alone = {row[4] for row in rows if (row[1], row[3], row[5]) == ("FLOCK", "WRITE", file)}
        return next(iter(alone - {"0", str(os.getpid())}), "")
    return ""


def _holder(descriptor: int) -> str:
    """Return who changes what a lock is for, as far as it wrote itself down."""
    return _told(os.pread(descriptor, 20, 0).decode(errors="replace"))


def _told(number: str) -> str:
    """Return how a process is, as far as the system tells (proc_pid_stat(5))."""
    if not number.isdecimal():
        return "another call"
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "another call"
    return f"process {number}" + (", which is stopped" if state in "Tt" else "")


def _wait(descriptor: int, kind: int, deadline: float, name: str, look: Look, bell: threading.Event) -> None:
    bell.clear()
    if not _locked(descriptor, kind):
        with stepping.get()():
            _await_lock(descriptor, kind, deadline, lambda: _busy(name, _holder(descriptor)), look, bell)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _await_lock(descriptor: int, kind: int, deadline: float, refused: Callable[[], Busy], look: Look, bell: threading.Event) -> None:
    pause = 0.001
    while not _locked(descriptor, kind):
        if time.monotonic() >= deadline:
            raise refused()
        look()
        bell.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads waiters out, keeps no secret
        bell.clear()
        pause = min(pause * 1.5, 0.02)
