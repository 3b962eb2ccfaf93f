"""Threads whose work is part of what gave it to them: it has its context, and so its trace, and is not begun once that was stopped."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_AT_ONCE = 2


class Threads(ThreadPoolExecutor):
    """What does things in the context of whoever submits them."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return super().submit(partial(copy_context().run, partial(fn, *args, **kwargs)))


@contextmanager
def several(at_once: int = _AT_ONCE) -> Generator[Threads]:
    """Return what does things a few at once, all of them by the end of the block. Where that ends by an error, what was not begun is not done;
    what was begun is waited for."""
    with Threads(at_once) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
