"""How measurements take turns.

What is still on its way to the disk is waited for before the clock starts, so that nobody pays for another's writes.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Turn = TypeVar("Turn")
Sample = TypeVar("Sample")
Cost = tuple[float, float]
"""Milliseconds that something took by the clock, and in processor time of this process and of all that it started and waited for."""


def interleaved(contestants: Sequence[Callable[[Turn], Sample]], turns: Sequence[Turn]) -> list[list[Sample]]:
    """Give each contestant its turns, another one first every time; return what they gave, by contestant."""
    samples: list[list[Sample]] = [[] for _ in contestants]
    for number, turn in enumerate(turns):
        first = number % len(contestants)
        order = range(len(contestants))
        for place in (*order[first:], *order[:first]):
            samples[place].append(contestants[place](turn))
    return samples


def settled(action: Callable[[], object]) -> float:
    """Return the milliseconds that an action takes on a quiet disk."""
    os.sync()
    return clocked(action)


def clocked(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def costs(action: Callable[[], object]) -> Cost:
    """Return what an action costs on a quiet disk."""
    os.sync()
    before = _used()
    taken = clocked(action)
    return taken, (_used() - before) * 1000


def _used() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)


def rounds(asked: int, is_large: bool) -> int:
    """Return how often something is measured: a third must do for what is large."""
    return max(1, asked // 3) if is_large else asked
