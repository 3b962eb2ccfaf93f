"""How measurements take turns.

What is still on its way to the disk is waited for before the clock starts, so that nobody pays for another's writes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Turn = TypeVar("Turn")
Sample = TypeVar("Sample")


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


def rounds(asked: int, is_large: bool) -> int:
    """Return how often something is measured: a third must do for what is large."""
    return max(1, asked // 3) if is_large else asked
