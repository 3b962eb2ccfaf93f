"""Threads whose work is part of what gave it to them: it has its context, and so its trace, and is not begun once that was stopped. What was begun
ends where it looks whether it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from threading import Event
from typing import ParamSpec, TypeVar

from workspaces.errors import Interrupted

P = ParamSpec("P")
T = TypeVar("T")
AT_ONCE = 2
"""Things that are done at once, if nothing else is said."""
_crowd: ContextVar[int] = ContextVar("crowd", default=1)
_stops: ContextVar[tuple[Event, ...]] = ContextVar("stops", default=())
"""What says that the work at hand is not wanted any more."""


class Threads(ThreadPoolExecutor):
    """What does things in the context of whoever submits them, until they are `stopped`."""

    def __init__(self, at_once: int) -> None:
        super().__init__(at_once)
        self.stopped = Event()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        context = copy_context()
        context.run(_crowd.set, max(_crowd.get(), self._max_workers))
        context.run(_stops.set, (*_stops.get(), self.stopped))
        return super().submit(partial(context.run, partial(fn, *args, **kwargs)))


def is_crowded() -> bool:
    """Return whether the processors have work as it is, without threads of what is started: as many things are done at once as there are of them."""
    return _crowd.get() >= (os.cpu_count() or 1)


def look() -> None:
    """Raise `Interrupted` where whoever gave this work stopped: at a point where that is safe."""
    if any(stopped.is_set() for stopped in _stops.get()):
        raise Interrupted("It was stopped.")


@contextmanager
def several(at_once: int = AT_ONCE) -> Generator[Threads]:
    """Return what does things a few at once, all of them by the end of the block. Where that ends by an error, what was not begun is not done;
    what was begun is told by `look`, and waited for."""
    with Threads(at_once) as pool:
        try:
            yield pool
        except BaseException:
            pool.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
