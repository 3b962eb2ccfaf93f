"""What a clone costs beside `git worktree add`, and the first look of git at it, on fresh file systems."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import programs
import repositories
import timing
import volumes
from report import Row, row
from sides import AT_ONCE, Git, Ours, Side
from volumes import Volume

from workspaces.project import Project

AGENTS = 16
LARGE = 20_000
"""Files from which on a repository is large: sixteen clones at once are left out then, and a third of the rounds has to do."""
_BYTES = 12_000
"""About what a generated file takes, with all that belongs to it."""


class Durable(Git):
    """Plain git, until all that it wrote is on the disk."""

    def clone(self, name: str) -> None:
        super().clone(name)
        os.sync()

    def fan_out(self, names: Sequence[str]) -> None:
        super().fan_out(names)
        os.sync()


class OnDisk(Ours):
    """Workspaces, until all that was written is on the disk: they are acknowledged before."""

    def clone(self, name: str) -> None:
        self.project.clone(name=f"{name}-on-disk")
        os.sync()

    def fan_out(self, names: Sequence[str]) -> None:
        self.project.clone(name="on-disk", count=len(names))
        os.sync()


class Prepared(Ours):
    """Workspaces of which some lie prepared; all that, before the clock starts."""

    def clone(self, name: str) -> None:
        self.project.clone(name=f"{name}-prepared")

    def fan_out(self, names: Sequence[str]) -> None:
        self.project.clone(name="prepared-agent", count=len(names))


class Committed(Prepared):
    """The same, without what is uncommitted: nothing has to be frozen."""

    def clone(self, name: str) -> None:
        self.project.clone(name=f"{name}-prepared", include_uncommitted=False)


class Preparing(Ours):
    """Workspaces of a person who has not switched off that clones are prepared."""

    def fan_out(self, names: Sequence[str]) -> None:
        environment = {**os.environ, "WORKSPACES_SPARES": "1"}
        Project.open(self.checkout, environment=environment).clone(name="preparing-agent", count=len(names))


@dataclass(frozen=True)
class Trial:
    """A repository of so many files on a file system: one that is there, or one that is made."""

    place: Volume
    files: int
    rounds: int
    label: str = ""
    origin: Path | None = None

    @property
    def subject(self) -> str:
        return f"{self.label}{self.files:,} files on {self.place.label}"

    @property
    def names(self) -> list[str]:
        return [f"plain-{number}" for number in range(self.rounds)]

    @property
    def size(self) -> int:
        """Bytes of the file system."""
        clones = 4 * self.rounds + 4 + (0 if self.files >= LARGE else 5 * AGENTS)
        git, each = repositories.weights(self.origin) if self.origin else (0, self.files * _BYTES)
        return volumes.SPARE + 3 * (git + clones * each)


def trial(place: Volume, files: int, rounds: int) -> Trial:
    return Trial(place, files, timing.rounds(rounds, files >= LARGE))


def trial_of(place: Volume, label: str, origin: Path, rounds: int) -> Trial:
    """Return a trial of a repository that is there."""
    files = repositories.size(origin)
    return Trial(place, files, timing.rounds(rounds, files >= LARGE), f"{label}, ", origin)


def measured(trial: Trial, scratch: Path) -> Iterator[Row]:
    """Measure clones one by one, git's first look at each, and sixteen in one call."""
    subject = trial.subject
    with volumes.mounted(trial.place, scratch, trial.size) as place:
        origin = trial.origin or repositories.generated(place / "origin.git", trial.files)
        ours, git, durable = sides = [
            kind(repositories.checkout(origin, place / name)) for kind, name in ((Ours, "ours"), (Git, "git"), (Durable, "durable"))
        ]
        for side in sides:
            repositories.run(side.checkout, "status")  # as everybody has looked at what he works on
            side.clone("warm")
        on_disk = OnDisk(ours.checkout)
        times = timing.interleaved([partial(_cloned, side) for side in (ours, git, on_disk, durable)], trial.names)
        yield row(subject, "clone", "worktree add --detach", times[:2])
        yield row(subject, "clone, until it is on the disk", "the same, and sync", times[2:])
        for prefix, what, prepared in (
            ("prepared", "clone, one prepared", Prepared(ours.checkout)),
            ("committed", "clone of what is committed, one prepared", Committed(ours.checkout)),
        ):
            turns = [partial(_cloned_prepared, prepared), partial(_cloned, git)]
            names = [f"{prefix}-{name}" for name in trial.names]
            yield row(subject, what, "worktree add --detach", timing.interleaved(turns, names))
        looks = timing.interleaved([partial(_looked_at, side) for side in (ours, git)], trial.names)
        yield row(subject, "first git status in it", "the same", looks)
        if trial.files < LARGE:
            prepared = Prepared(ours.checkout)
            prepared.project.prepare(0)  # one that serves for all would be there yet
            fleet = [f"agent-{number}" for number in range(1, AGENTS + 1)]
            times = timing.interleaved([partial(_fanned_out, side) for side in (ours, git, on_disk, durable)], [fleet])
            yield row(subject, f"{AGENTS} clones in one call", "worktree add, two at a time", times[:2])
            yield row(subject, f"{AGENTS} clones in one call, until they are on the disk", "the same, and sync", times[2:])
            copies = [_copied(git.checkout, place, [f"copy-{number}" for number in range(AGENTS)])]
            yield row(subject, f"not ours: {AGENTS} copies of the files alone by cp, two at a time", "the same", [copies, times[1]])
            if prepared.project.described().capabilities.templates:
                fleet = [f"most-{number}" for number in range(1, AGENTS + 1)]
                # git goes first: what looks after the call whether there is more to prepare would be beside it
                times = timing.interleaved([partial(_fanned_out, side) for side in (git, Preparing(ours.checkout))], [fleet])
                yield row(subject, f"{AGENTS} clones in one call, which prepares one", "worktree add, two at a time", times[::-1])
            prepared.project.prepare(AGENTS)
            fleet = [f"more-{number}" for number in range(1, AGENTS + 1)]
            times = timing.interleaved([partial(_fanned_out, side) for side in (prepared, git)], [fleet])
            yield row(subject, f"{AGENTS} clones in one call, all prepared", "worktree add, two at a time", times)


def _cloned(side: Side, name: str) -> float:
    return timing.settled(partial(side.clone, name))


def _cloned_prepared(side: Prepared, name: str) -> float:
    side.project.prepare(1)
    return _cloned(side, name)


def _fanned_out(side: Side, names: list[str]) -> float:
    return timing.settled(partial(side.fan_out, names))


def _copied(checkout: Path, place: Path, names: Sequence[str]) -> float:
    """Return what it takes to copy the files alone, two copies at a time: less cannot be done where each file has to be made."""

    files = sorted(each for each in checkout.iterdir() if each.name != ".git")

    def copy(name: str) -> None:
        (place / name).mkdir()
        programs.run("cp", "-a", "--reflink=auto", *files, place / name)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return timing.settled(lambda: list(pool.map(copy, names)))


def _looked_at(side: Side, name: str) -> float:
    return timing.settled(partial(repositories.run, side.folder(name), "status", "--porcelain"))
