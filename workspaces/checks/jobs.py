"""Runs under way in this process: each question is answered once, several at once within a limit, and whoever asks the same meanwhile shares it.

Other processes that are at the same question wait for its lock and find the verdict remembered. Threads here are daemons: a run ends with its
process, whose guard sees to it; what it leaves is cleared away by whoever comes next.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as all_of
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import ParamSpec, TypeVar

from workspaces.backend import Backend
from workspaces.checks import copies
from workspaces.checks.copies import Copy
from workspaces.checks.trying import tried
from workspaces.checks.verdicts import Question, recalled
from workspaces.core import Core, Progress
from workspaces.errors import Busy, Interrupted, TooFast, WorkspacesError
from workspaces.model import Verdict
from workspaces.wording import counted

P = ParamSpec("P")
T = TypeVar("T")

_LINES = 256
"""Locks that all questions share; two that meet there by chance only take turns."""
_PATIENCE = 86400.0
_PAUSE, _LOOK = 0.1, 0.2
_GRACE = 3.0
"""Seconds that a process takes at its end to leave nothing behind."""


@dataclass(frozen=True)
class Job:
    """A question on its way to an answer, and the last line that its command printed."""

    asked: Question
    copy: Copy
    asker: str = ""
    answer: Future[Verdict] = field(default_factory=Future[Verdict])
    lines: list[str] = field(default_factory=list[str])

    def hear(self, line: str) -> None:
        """Take the last line that the command printed."""
        self.lines[:] = [line]

    @property
    def line(self) -> str:
        return self.lines[0] if self.lines else ""


Key = tuple[Path, str, str]
_under_way: dict[Key, Job] = {}
_guard = Lock()
_threads: set[Thread] = set()
stopping = Event()
"""Set when the process ends: what runs is stopped."""


def begin(core: Core, view: Backend, asked: Sequence[Question], again: bool) -> dict[tuple[str, str], Job]:
    """Start what nobody here is at yet, and return all of it by key; at most as much at once as the settings say.

    Copies are held before anything is under way, and not under the guard: that can fail, and take its time, and all projects share the guard.
    Those of what somebody else began meanwhile go again.
    """
    with _guard:
        _refuse_too_many(core, asked)
        found = {each.key: job for each in asked if (job := _under_way.get(_name(core, each)))}
    fresh: list[Job] = []
    try:
        with view.keep_all():
            for each in {each.key: each for each in asked if each.key not in found}.values():
                copy = copies.hold(core, view, each.snapshot)
                fresh.append(Job(each, copy, core.access.name))
        with _guard:
            _refuse_too_many(core, [job.asked for job in fresh])
            found |= {job.asked.key: _under_way.setdefault(_name(core, job.asked), job) for job in fresh}
    finally:
        for job in fresh:
            if found.get(job.asked.key) is not job:
                copies.drop(core, job.copy)
    waiting: SimpleQueue[Job] = SimpleQueue()
    own = [job for job in fresh if found[job.asked.key] is job]
    for job in own:
        waiting.put(job)
    for _ in range(min(at_once(core), len(own))):
        start(_work, core, waiting, again)
    return found


def _refuse_too_many(core: Core, asked: Sequence[Question]) -> None:
    """Raise `TooFast` where the caller would have more checks under way here than it may."""
    if core.limits is None:
        return
    more = {each.key for each in asked if _name(core, each) not in _under_way}
    own = sum(job.asker == core.access.name for job in _under_way.values())
    if more and own + len(more) > core.limits.checks:
        raise TooFast(
            f"You would have {counted(own + len(more), 'check')} under way, and may have {core.limits.checks}. Nothing was begun.",
            "Wait for those that run (status(wait_seconds=50)), or name fewer workspaces.",
            retry_after_seconds=1,
        )


def wait(
    running: Mapping[tuple[str, str], Job], seconds: float | None, progress: Progress, look: Callable[[], object] = lambda: None
) -> None:
    """Wait until all have their answers, or so many seconds are over; `look` every now and then."""
    until([job.answer for job in running.values()], seconds, progress, "check", "running", look)


def until(
    answers: Sequence[Future[T]],
    seconds: float | None,
    progress: Progress,
    noun: str,
    state: str,
    look: Callable[[], object] = lambda: None,
) -> None:
    """Wait until all are done, or so many seconds are over; tell how many things are in which state, and `look`, every now and then."""
    deadline = None if seconds is None else time.monotonic() + seconds
    look()
    while True:
        left = _LOOK if deadline is None else min(_LOOK, deadline - time.monotonic())
        done = all_of(answers, timeout=max(0.0, left)).done if answers else set[Future[T]]()
        look()
        left_over = counted(len(answers) - len(done), noun)
        try:
            progress(len(done), len(answers), f"{left_over} {state}")
        except Interrupted as error:
            said = f"Not waited for any more: {left_over} {state}; that goes on, and what comes of it is remembered."
            raise Interrupted(f"{error.message} {said}", "Call again: it goes on meanwhile.") from error
        if len(done) == len(answers) or left <= 0:
            return


def start(work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Do something in a thread that ends with the process, which gives it a moment to leave nothing behind."""
    thread = Thread(target=work, args=args, kwargs=kwargs, daemon=True, name="checks")
    with _guard:
        _threads.intersection_update({each for each in _threads if each.is_alive()})
        _threads.add(thread)
        thread.start()


def at_once(core: Core) -> int:
    return core.config.check.at_once or os.cpu_count() or 1


def _name(core: Core, asked: Question) -> Key:
    return core.backend.home, *asked.key


def _work(core: Core, waiting: SimpleQueue[Job], again: bool) -> None:
    while True:
        try:
            job = waiting.get_nowait()
        except Empty:
            return
        try:
            verdict = _answered(core, job, again)
        except (WorkspacesError, OSError) as error:
            why = error.message if isinstance(error, WorkspacesError) else str(error)
            verdict = _error(job.asked.name, why)
        except BaseException as error:
            _settle(core, job)
            job.answer.set_exception(error)
            raise
        _settle(core, job)
        job.answer.set_result(verdict)


def _settle(core: Core, job: Job) -> None:
    with _guard:
        _under_way.pop(_name(core, job.asked), None)


def _answered(core: Core, job: Job, again: bool) -> Verdict:
    """Return the verdict of a job: what another process remembered meanwhile, or what comes of running it now."""
    try:
        with core.locks.change(_line(job.asked), patience=_PATIENCE):
            if not again and (known := recalled(core, job.asked)):
                return known.model_copy(update={"cached": True})
            with slot(core):
                verdict = tried(core, job.asked, job.copy, stopping, job.hear)
            if verdict.verdict != "error":
                core.store.judged(core.row.name, *job.asked.key, verdict)
            return verdict
    finally:
        copies.drop(core, job.copy)


def _line(asked: Question) -> str:
    """Return the name of the lock: without a dot, so that it is no workspace's."""
    return f"check-{int(hashlib.sha256(''.join(asked.key).encode()).hexdigest(), 16) % _LINES}"


@contextmanager
def slot(core: Core) -> Generator[None]:
    """Hold one of the places that all processes of a project share."""
    with ExitStack() as held:
        while not any(_is_free(core, held, number) for number in range(at_once(core))):
            if stopping.wait(_PAUSE):
                raise Interrupted("It was stopped before it began.")
        yield


def _is_free(core: Core, held: ExitStack, number: int) -> bool:
    try:
        held.enter_context(core.locks.change(f"check-slot-{number}", patience=0))
    except Busy:
        return False
    return True


def _error(name: str, why: str) -> Verdict:
    return Verdict(workspace="", check=name, verdict="error", why=why)


def _end() -> None:
    """Stop what runs, and give it a moment to leave nothing behind."""
    stopping.set()
    deadline = time.monotonic() + _GRACE
    while any(each.is_alive() for each in _threads) and time.monotonic() < deadline:
        time.sleep(_PAUSE / 10)


atexit.register(_end)
