"""How long copies of whole folders take by workspaces and by the tools that everybody has, and how much of the disk.

Each round has a project of its own, so that its first clone can be measured as often as the next one; all copies are made before any is removed.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import timing
import volumes
from programs import run
from report import Row, file_system, row
from sides import Ours, append
from trees import Tree
from volumes import Volume

CHANGED = 10
COPIES = ("cp -a --reflink=auto", "cp -a --reflink=never")
_CLONES = ("first", "next")


@dataclass(frozen=True)
class Trial:
    """A tree to be measured on a file system, so many times."""

    volume: Volume
    tree: Tree
    rounds: int

    @property
    def subject(self) -> str:
        return f"Folder, {self.volume.label}, {self.tree.label}"

    @property
    def bytes(self) -> int:
        """About how much of the disk it takes: the tree, and by round what a plain copy takes, or all copies where none shares anything."""
        copies = 2 if self.volume.reflinks else 7
        return self.tree.total * (1 + copies * self.rounds)


@dataclass(frozen=True)
class Round:
    """A project, and copies made by `cp` of the tree that it started from. Each round changes the same files."""

    ours: Ours
    tree: Path
    copies: Mapping[str, Path]
    changed: Sequence[str]

    @property
    def shared(self) -> Path:
        return self.copies[COPIES[0]]

    @property
    def plain(self) -> Path:
        return self.copies[COPIES[1]]


@dataclass(frozen=True)
class Cost:
    """Milliseconds of an action, the same until all of it was on the disk, and the megabytes that it took there, a block at least."""

    time: float
    durable: float
    space: float


Action = Callable[[Round], object]
_LOOKS: dict[str, Action] = {
    "diff -rq": lambda each: run("diff", "-rq", each.plain, each.shared, codes=(1,)),
    "rsync -an": lambda each: run("rsync", "-an", f"{each.shared}/", each.plain),
}
_MERGES: dict[str, Action] = {"rsync -a": lambda each: run("rsync", "-a", f"{each.shared}/", each.plain)}
_REMOVALS: dict[str, Action] = {"rm -rf": lambda each: run("rm", "-rf", each.shared)}


def planned(kinds: Iterable[str], trees: Sequence[Tree], rounds: int, scratch: Path) -> tuple[list[Trial], list[str]]:
    """Return what can be measured here, and what cannot, with the reasons."""
    if platform.system() != "Linux":
        return [], ["Folders: cp and sync as Linux has them are needed."]
    found, left_out = places(kinds, scratch)
    trials = [Trial(place, tree, timing.rounds(rounds, tree.is_large)) for place in found for tree in trees]
    free = shutil.disk_usage(scratch).free
    large = [trial for trial in trials if trial.bytes > free]
    left_out += [f"{trial.subject}: {trial.bytes / 1e9:.0f} GB are needed, and {free / 1e9:.0f} are free." for trial in large]
    left_out += [] if shutil.which("rsync") else ["Beside rsync: it is not installed."]
    return [trial for trial in trials if trial not in large], left_out


def places(kinds: Iterable[str], scratch: Path) -> tuple[list[Volume], list[str]]:
    """Return the file systems that can be made; when there are none, that of the scratch folder."""
    wanted = [volumes.KINDS[kind] for kind in kinds]
    refused = {volume: why for volume in wanted if (why := volumes.refusal(volume, scratch))}
    left_out = [f"{volume.label}: {why}." for volume, why in refused.items()]
    if found := [volume for volume in wanted if volume not in refused]:
        return found, left_out
    used = Volume(f"{file_system(scratch)}, in use", reflinks=False)
    return [used], [*left_out, f"Space on {used.label}: others write there too."]


def measured(trial: Trial, scratch: Path) -> list[Row]:
    """Measure everything, in the order of a working day, on a fresh file system. Times come before space."""
    with volumes.mounted(trial.volume, scratch, 2 * trial.bytes + volumes.SPARE) as place:
        rows = _day(trial, _prepared(trial, place))
        return sorted(rows, key=lambda each: each.unit != "ms")


def _day(trial: Trial, rounds: Sequence[Round]) -> Iterator[Row]:
    yield from _cloned(trial, rounds)
    for each in rounds:
        _edit(each)
    yield from _compared(trial, rounds)
    yield from _written(trial, rounds, f"merge {CHANGED} files", lambda each: each.ours.merge(_CLONES[-1]), _MERGES)
    yield from _written(trial, rounds, "delete, if merged", lambda each: each.ours.delete(_CLONES[-1]), _REMOVALS)


def _prepared(trial: Trial, place: Path) -> list[Round]:
    paths = trial.tree.grow(place / "tree")
    changed = paths[:: max(1, len(paths) // CHANGED)][:CHANGED]
    rounds = [_round(trial, place, number, changed) for number in range(trial.rounds)]
    if not trial.tree.size:
        # A copy that shares blocks is not in memory, and what people work on is.
        for each in rounds:
            _read(each.ours.checkout, paths)
    return rounds


def _read(root: Path, paths: Sequence[str]) -> None:
    for path in paths:
        (root / path).read_bytes()


def _round(trial: Trial, place: Path, number: int, changed: Sequence[str]) -> Round:
    root, tree = trial.volume.root(place / f"project-{number}"), place / "tree"
    run("cp", "-a", "--reflink=auto", f"{tree}/.", root)
    copies = {command: place / f"copy-{number}-{which}" for which, command in enumerate(COPIES)}
    return Round(Ours(root, "directory"), tree, copies, changed)


def _cost(action: Action, each: Round) -> Cost:
    os.sync()
    before = used(each.tree)
    time = timing.clocked(lambda: action(each))
    rest = timing.clocked(lambda: run("sync", "--file-system", each.tree))
    return Cost(time, time + rest, max(os.statvfs(each.tree).f_frsize, used(each.tree) - before) / 1e6)


def used(place: Path) -> int:
    """Return the bytes that a file system says are used."""
    found = os.statvfs(place)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _cloned(trial: Trial, rounds: Sequence[Round]) -> Iterator[Row]:
    """Measure the first clone of each project and the next one, and a copy by each command beside both."""
    sides: list[Callable[[Round], tuple[Cost, ...]]] = [_both_clones, *(partial(_copied, command) for command in COPIES)]
    ours, *others = timing.interleaved(sides, rounds)
    for rows in (_times, _spaces) if trial.volume.mkfs else (_times,):
        for number, which in enumerate(_CLONES):
            for command, theirs in zip(COPIES, others, strict=True):
                yield rows(trial, f"clone, the {which} one", command, [costs[number] for costs in ours], [cost for (cost,) in theirs])


def _both_clones(each: Round) -> tuple[Cost, ...]:
    return tuple(_cost(partial(_clone, name), each) for name in _CLONES)


def _clone(name: str, each: Round) -> None:
    each.ours.clone(name)


def _copied(command: str, each: Round) -> tuple[Cost, ...]:
    return (_cost(lambda each: run(*command.split(), each.tree, each.copies[command]), each),)


def _edit(each: Round) -> None:
    each.ours.edit(_CLONES[-1], each.changed)
    for path in each.changed:
        append(each.shared / path, _CLONES[-1])


def _compared(trial: Trial, rounds: Sequence[Round]) -> Iterator[Row]:
    """Measure the second look at what was changed: the first has read it into memory, ours and theirs."""
    looks = _installed(_LOOKS)
    ours, *others = timing.interleaved([partial(_again, look) for look in (_compare, *looks.values())], rounds)
    for command, times in zip(looks, others, strict=True):
        yield row(trial.subject, f"compare, {CHANGED} files changed", command, [ours, times])


def _compare(each: Round) -> None:
    each.ours.compare(_CLONES[-1])


def _again(action: Action, each: Round) -> float:
    action(each)
    return timing.settled(lambda: action(each))


def _written(trial: Trial, rounds: Sequence[Round], operation: str, action: Action, beside: Mapping[str, Action]) -> Iterator[Row]:
    commands = _installed(beside)
    ours, *others = timing.interleaved([partial(_cost, each) for each in (action, *commands.values())], rounds)
    for command, costs in zip(commands, others, strict=True):
        yield _times(trial, operation, command, ours, costs)


def _installed(commands: Mapping[str, Action]) -> dict[str, Action]:
    return {command: action for command, action in commands.items() if shutil.which(command.split()[0])}


def _times(trial: Trial, operation: str, against: str, ours: Sequence[Cost], theirs: Sequence[Cost]) -> Row:
    times = [cost.time for cost in ours], [cost.time for cost in theirs], [cost.durable for cost in theirs]
    return row(trial.subject, operation, against, times)


def _spaces(trial: Trial, operation: str, against: str, ours: Sequence[Cost], theirs: Sequence[Cost]) -> Row:
    spaces = [cost.space for cost in ours], [cost.space for cost in theirs]
    return row(trial.subject, operation, against, spaces, unit="MB of disk")
