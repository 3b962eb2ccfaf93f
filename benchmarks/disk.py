"""How much of the disk a clone takes, of a repository and of a folder, beside what the usual copies take and beside the tree itself.

What is taken is what the file system says is used, after all is written. That is also how it is tried whether `status` tells the truth of what a
workspace has for its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import repositories
import timing
from folders import COPIES, used
from programs import run
from report import Row, row
from sides import Git, Ours
from volumes import SPARE, Volume, mounted

from workspaces.model import Disk

LARGE = 20_000
"""Files from which on a third of the rounds has to do."""
_COPIES = 6
"""Of a tree that one round makes, all plain ones."""


@dataclass(frozen=True)
class Trial:
    """A repository, of which clones are made on a file system."""

    place: Volume
    label: str
    origin: Path
    rounds: int

    @property
    def size(self) -> int:
        """Bytes of the file system."""
        git, files = repositories.weights(self.origin)
        return SPARE + 2 * (2 * git + files * (4 + _COPIES * (self.rounds + 1)))


def measured(trial: Trial, scratch: Path) -> Iterator[Row]:
    """Measure clone after clone, each of a repository and of a folder in which one was made before."""
    with mounted(trial.place, scratch, trial.size) as place:
        ours, git = Ours(repositories.checkout(trial.origin, place / "ours")), Git(repositories.checkout(trial.origin, place / "git"))
        files = repositories.size(git.checkout)
        subject = f"{trial.label}, {files:,} files on {trial.place.label}: disk a clone"
        names = [f"copy-{number}" for number in range(timing.rounds(trial.rounds, files >= LARGE))]
        if not trial.place.subvolumes:
            yield from _rows(subject, "of the repository", ours, {"git worktree add": git.clone}, names)
        tree, project = _unpacked(git, place / "tree"), _unpacked(git, trial.place.root(place / "project"))
        copies = {command: partial(_copied, command, tree) for command in COPIES}
        yield from _rows(subject, "of the folder", Ours(project, "directory"), copies, names)


def _unpacked(git: Git, folder: Path) -> Path:
    """Fill a folder with the files of a repository, and nothing else."""
    repositories.run(git.checkout, "checkout-index", "--all", f"--prefix={folder}/")
    return folder


def _copied(command: str, tree: Path, name: str) -> None:
    run(*command.split(), tree, tree.with_name(f"{name}-{COPIES.index(command)}"))


def _rows(subject: str, operation: str, ours: Ours, others: Mapping[str, Callable[[str], None]], names: Sequence[str]) -> Iterator[Row]:
    for clone in (ours.clone, *others.values()):
        clone("warm")
    clones = [partial(_taken, ours.checkout, clone) for clone in (ours.clone, *others.values())]
    taken, *theirs = timing.interleaved(clones, names)
    for command, spaces in zip(others, theirs, strict=True):
        yield row(subject, operation, command, [taken, spaces], "MB of disk")
    yield row(subject, operation, "its files, once", [taken, [_told(ours, "main").size / 1e6]], "MB of disk")
    yield row(subject, operation, "what status says is its own", [taken, [_told(ours, name).own / 1e6 for name in names]], "MB of disk")


def _taken(place: Path, clone: Callable[[str], None], name: str) -> float:
    """Return the megabytes that a clone takes, a block at least."""
    before = _settled(place)
    clone(name)
    return max(os.statvfs(place).f_frsize, _settled(place) - before) / 1e6


def _settled(place: Path) -> int:
    run("sync", "--file-system", place)
    return used(place)


def _told(side: Ours, name: str) -> Disk:
    """Return what `status` says of a workspace."""
    (seen,) = side.project.status([name], "full").workspaces
    assert seen.disk
    return seen.disk
