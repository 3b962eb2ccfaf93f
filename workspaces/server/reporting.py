"""How far a call is: told to its client at safe points, where it is also stopped when it was cancelled; and what came of it then, for the log."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from threading import get_ident
from typing import TypeVar

import anyio.from_thread
from mcp.server.mcpserver import Context

from workspaces.errors import Interrupted, WorkspacesError, readable
from workspaces.locks import looking

logger = logging.getLogger(__name__)
Ctx = Context[object, object]
T = TypeVar("T")

_PAUSE, _SILENCE = 0.2, 5.0
"""Seconds between two notifications at least; and at most, while something goes on: clients take silence for an end."""
_STEP = 0.001
NOTHING = "It was stopped. Nothing was done."


@dataclass
class Course:
    """How a call runs that may outlast its request."""

    can_ask: bool = True
    """Whether its client can be asked something meanwhile."""
    is_answered: bool = False
    """Whether its request was answered with a task: its client looks there for how far it is."""
    said: str = ""
    """How far it is, or what came of it."""
    is_stopped: bool = False
    """Whether it was cancelled before it was done."""


def longest(seconds: float) -> float | None:
    """Return how long the call that is being served may wait for something, where others may so many seconds: as long as it takes, once it is one
    that outlasts its request."""
    return None if course.get() else seconds


def can_ask() -> bool:
    """Return whether the client of the call that is being served can be asked something."""
    running = course.get()
    return running is None or running.can_ask


course: ContextVar[Course | None] = ContextVar("course", default=None)
"""Of the call that is being served; None for one that ends with its request."""


class Reporter:
    """What the core calls at safe points: it stops a cancelled call there, and reports progress a few times a second."""

    def __init__(self, ctx: Ctx) -> None:
        self._ctx, self._course, self._thread = ctx, course.get(), 0
        self._last, self._told, self._said = 0.0, -_STEP, ""
        self.stopped = False
        """Whether the call was cancelled while it ran."""

    def run(self, call: Callable[[Reporter], T]) -> T:
        """Make a call, in the thread in which it runs."""
        self._thread = get_ident()
        before = looking.set(partial(self, 0, 0, "waiting for its turn"))
        try:
            return call(self)
        finally:
            looking.reset(before)
            self._heed()

    def __call__(self, done: int, total: int, message: str) -> None:
        self._heed()
        if self.stopped:
            raise Interrupted(NOTHING, "Call again.")
        if get_ident() == self._thread:
            self._tell(done, total, message)

    def end(self, said: str, error: WorkspacesError | None = None) -> None:
        """Take what came of the call; where it was cancelled, the log is told."""
        if self._course:
            self._course.said, self._course.is_stopped = said, self.stopped and isinstance(error, Interrupted)
        if self.stopped:
            cancelled(self._ctx, said if error else f"it was finished all the same. {said}")

    def _heed(self) -> None:
        """See whether the call was cancelled. Only the thread that it runs in can; others learn it from that."""
        if get_ident() == self._thread:
            try:
                anyio.from_thread.check_cancelled()
            except asyncio.CancelledError:
                self.stopped = True

    def _tell(self, done: int, total: int, message: str) -> None:
        if self._course:
            self._course.said = f"{message} ({done} of {total})" if total else message
        if (self._course and self._course.is_answered) or not self._is_news(done, total, message):
            return
        # The protocol wants a progress that grows with every notification, also when one thing is done and the next begins.
        self._last, self._told, self._said = time.monotonic(), max(float(done), self._told + _STEP), message
        try:
            anyio.from_thread.run(self._ctx.report_progress, self._told, max(float(total), self._told), message)
        except concurrent.futures.CancelledError:
            self.stopped = True
            raise Interrupted(NOTHING, "Call again.") from None

    def _is_news(self, done: int, total: int, message: str) -> bool:
        since = time.monotonic() - self._last
        is_more = done > self._told
        return (is_more and done == total) or ((is_more or message != self._said) and since > _PAUSE) or since > _SILENCE


def cancelled(ctx: Ctx, came_of_it: str) -> None:
    """Write into the log what came of a call that was cancelled."""
    request = ctx.request_context
    name, said = (request.params or {}).get("name", ""), " ".join(came_of_it.split())
    logger.warning("%s (request %s) was cancelled: %s", readable(str(name))[:100], readable(str(request.request_id))[:100], readable(said))
