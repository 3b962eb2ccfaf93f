"""What it costs that an answer survives a power cut: the same work with `durable = false` beside it, in interleaved rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import repositories
import timing
from report import Row, row
from sides import Ours

Action = Callable[[Ours, str], None]
CHANGED = 3
"""Files of a change."""


def measured(origin: Path, label: str, folder: Path, rounds: int) -> Iterator[Row]:
    """Measure the primitives that write, durable and not, on two checkouts of `origin`."""
    folder.mkdir()
    sides = [_side(origin, folder / name, durable) for name, durable in (("safe", True), ("fast", False))]
    subject = f"{label}, {repositories.size(sides[0].checkout):,} files"
    names = [f"w{number}" for number in range(rounds)]
    yield row(subject, "clone", "durable = false", _timed(sides, names, lambda side, name: side.clone(name)))
    for number, name in enumerate(names):
        for side in sides:
            side.edit(name, side.files[number * CHANGED : (number + 1) * CHANGED])
    yield row(subject, "merge into main", "durable = false", _timed(sides, names, lambda side, name: side.merge(name)))
    yield row(subject, "delete, if merged", "durable = false", _timed(sides, names, lambda side, name: side.delete(name)))


def _side(origin: Path, place: Path, durable: bool) -> Ours:
    checkout = repositories.checkout(origin, place)
    if not durable:
        (checkout / "workspaces.local.toml").write_text("durable = false\n")
    side = Ours(checkout)
    side.clone("warm")
    return side


def _timed(sides: list[Ours], names: list[str], action: Action) -> list[list[float]]:
    return timing.interleaved([partial(_once, action, side) for side in sides], names)


def _once(action: Action, side: Ours, name: str) -> float:
    return timing.settled(partial(action, side, name))
