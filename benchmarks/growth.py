"""What calls cost in a project that has grown: beside the same calls on one with ten workspaces, by the clock and in processor time.

Many workspaces that are there, many in the trash, many refs, and a long history, all made by the calls that users make. Each call has its turn on
both, another first every time. What lists all workspaces is measured too, and has as many times the rows.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import repositories
import timing
from report import Row, row
from sides import Ours
from timing import Cost

from workspaces.server import resources

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


Costs = Sequence[Mapping[str, Cost]]
"""What each call cost on a project, day by day."""


def measured(folder: Path, size: Size, rounds: int) -> Iterator[Row]:
    """Measure each call on a project that has grown and on a young one, both of the same files."""
    folder.mkdir()
    old, young = _project(folder / "grown", size), _project(folder / "young", Size(FEW, 0, 1, 1))
    for side in (old, young):
        _lived(side, 0)  # what is done first loads programs
    days = timing.interleaved([partial(_lived, old), partial(_lived, young)], range(1, rounds + 1))
    for operation in days[0][0]:
        yield row(str(size), operation, f"the same with {FEW} workspaces", _picked(days, operation, 0))
    for operation in days[0][0]:
        yield row(str(size), operation, f"the same with {FEW} workspaces", _picked(days, operation, 1), "ms of processor")


def _picked(days: Sequence[Costs], operation: str, which: int) -> list[list[float]]:
    return [[day[operation][which] for day in each] for each in days]


def _lived(side: Ours, number: int) -> dict[str, Cost]:
    """Do with a new workspace what is done with one, and return what each call cost."""
    name = f"one-{number}"
    return {operation: timing.costs(partial(act, side, name)) for operation, act in _DAY.items()}


def _edited(side: Ours, name: str) -> None:
    number = int(name.rpartition("-")[2])
    side.edit(name, side.files[number : number + 1])
    side.compare(name)


_DAY: Mapping[str, Callable[[Ours, str], object]] = {
    "clone": lambda side, name: side.clone(name),
    "edit, and compare one": _edited,
    "status of one": lambda side, name: side.project.status([name]),
    "names of one, by its folder": lambda side, name: side.project.status([str(side.checkout / ".workspaces" / name)], "names"),
    "checkpoint": lambda side, name: side.project.checkpoint(name),
    "merge into main": lambda side, name: side.merge(name),
    "delete, if merged": lambda side, name: side.delete(name),
    "restore a deleted one": lambda side, name: side.project.restore(name),
    "delete, whatever is in it": lambda side, name: side.discard(name),
    "log": lambda side, _: side.project.log(),
    "list, names": lambda side, _: side.project.status(detail="names"),
    "resources, a page": lambda side, _: resources.page([], {side.project.name: side.project}, ""),
    "resources, have they changed": lambda side, _: resources.uris({side.project.name: side.project}),
}
"""What is done with each workspace of the day, in this order. The last three tell of all workspaces."""


def _project(folder: Path, size: Size) -> Ours:
    """Make a project, and let it grow by the calls that its users make."""
    folder.mkdir()
    origin = repositories.generated(folder / "origin.git", FILES, size.commits)
    side = Ours(repositories.checkout(origin, folder / "checkout"))
    repositories.refer(side.checkout, size.refs)
    began = time.monotonic()
    for stem, count in _fleets("old", size.trash):
        made = side.project.clone(name=stem, count=count).workspaces
        side.project.delete([each.id for each in made], discard_unmerged=True)
        print(f"{folder.name}: {stem}, {time.monotonic() - began:.0f} s …", file=sys.stderr)
    for stem, count in _fleets("live", size.live):
        side.project.clone(name=stem, count=count)
        print(f"{folder.name}: {stem}, {time.monotonic() - began:.0f} s …", file=sys.stderr)
    _check(side, size)
    return side


def _check(side: Ours, size: Size) -> None:
    """Raise where a project did not grow as it was to."""
    told = side.project.status(detail="names", include_deleted=True).workspaces
    gone = sum(each.state == "deleted" for each in told)
    refs = len(repositories.run(side.checkout, "for-each-ref", "--format=x", "refs/heads").stdout.split())
    commits = int(repositories.run(side.checkout, "rev-list", "--count", "HEAD").stdout)
    if (found := Size(len(told) - gone - 1, gone, refs, commits)) != size:
        raise RuntimeError(f"The project was to have {size}, and has {found}.")


def _fleets(stem: str, total: int) -> Iterator[tuple[str, int]]:
    """Yield names and numbers of clones for calls that make so many in all."""
    for number, done in enumerate(range(0, total, AT_ONCE)):
        yield f"{stem}-{number}", min(AT_ONCE, total - done)
