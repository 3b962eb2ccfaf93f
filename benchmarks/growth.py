"""What calls cost in a project that has grown: beside the same calls on one with ten workspaces.

Many workspaces that are there, many in the trash, many refs, and a long history. Each call has its turn on both, another first every time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import repositories
import timing
from report import Row, row
from sides import Ours

FILES = 100
FEW = 10
AT_ONCE = 250


@dataclass(frozen=True)
class Size:
    """How large a project has grown."""

    live: int
    trash: int
    refs: int
    commits: int

    def __str__(self) -> str:
        return f"{self.live:,} workspaces, {self.trash:,} in the trash, {self.refs:,} refs, {self.commits:,} commits"


def measured(folder: Path, size: Size, rounds: int) -> Iterator[Row]:
    """Measure each call on a project that has grown and on a young one, both of the same files."""
    folder.mkdir()
    old, young = _project(folder / "grown", size), _project(folder / "young", Size(FEW, 0, 1, 1))
    for operation, act in _day():
        turns = [f"one-{number}" for number in range(rounds)]
        times = timing.interleaved([partial(_timed, act, side) for side in (old, young)], turns)
        yield row(str(size), operation, f"the same with {FEW} workspaces", times)


def _day() -> Sequence[tuple[str, Callable[[Ours, str], object]]]:
    """Return what is done with each workspace of the day, in this order."""
    return (
        ("clone", lambda side, name: side.clone(name)),
        ("edit, and compare one", _edited),
        ("status of one", lambda side, name: side.project.status([name])),
        ("list, names", lambda side, name: side.project.status(detail="names")),
        ("merge into main", lambda side, name: side.merge(name)),
        ("delete, if merged", lambda side, name: side.delete(name)),
        ("restore a deleted one", lambda side, name: side.project.restore(name)),
        ("delete, whatever is in it", lambda side, name: side.discard(name)),
    )


def _edited(side: Ours, name: str) -> None:
    number = int(name.rpartition("-")[2])
    side.edit(name, side.files[number : number + 1])
    side.compare(name)


def _timed(act: Callable[[Ours, str], object], side: Ours, name: str) -> float:
    return timing.settled(partial(act, side, name))


def _project(folder: Path, size: Size) -> Ours:
    """Make a project, and let it grow by the calls that its users make."""
    folder.mkdir()
    origin = repositories.generated(folder / "origin.git", FILES, size.commits)
    side = Ours(repositories.checkout(origin, folder / "checkout"))
    repositories.refer(side.checkout, size.refs)
    for stem, count in _fleets("old", size.trash):
        print(f"{folder.name}: {stem} …", file=sys.stderr)
        made = side.project.clone(name=stem, count=count).workspaces
        side.project.delete([each.id for each in made], discard_unmerged=True)
    for stem, count in _fleets("live", size.live):
        print(f"{folder.name}: {stem} …", file=sys.stderr)
        side.project.clone(name=stem, count=count)
    return side


def _fleets(stem: str, total: int) -> Iterator[tuple[str, int]]:
    """Yield names and numbers of clones for calls that make so many in all."""
    for number, done in enumerate(range(0, total, AT_ONCE)):
        yield f"{stem}-{number}", min(AT_ONCE, total - done)
