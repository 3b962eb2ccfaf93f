"""How long the same work takes by workspaces and by plain git, in interleaved rounds.

All worktrees are made before any is removed, for file systems create more slowly after mass deletions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import repositories
import timing
from report import Row, row
from sides import Git, Ours, Side

AGENTS = 16
CHANGED = 3
"""Files of a small change."""
UNCOMMITTED = 10
LARGE = 20_000
"""Files from which on a repository is large."""

Action = Callable[[Side, str], None]


@dataclass(frozen=True)
class Contest:
    """The contestants on copies of one repository, and how often each has its turn."""

    subject: str
    ours: Ours
    git: Git
    durable: Git
    rounds: int

    @property
    def sides(self) -> tuple[Side, ...]:
        return self.ours, self.git, self.durable

    def names(self, stem: str) -> list[str]:
        return [f"{stem}-{number}" for number in range(self.rounds)]

    def change(self, number: int) -> list[str]:
        """Return the files of the change with that number. No two changes meet."""
        return self.ours.files[number * CHANGED : (number + 1) * CHANGED]


def prepared(origin: Path, label: str, folder: Path, rounds: int) -> Contest:
    """Give each contestant a checkout of `origin`, in which everything has been done once already."""
    folder.mkdir()
    places = [repositories.checkout(origin, folder / name) for name in ("ours", "git", "durable")]
    files = repositories.size(places[0])
    sides = Ours(places[0]), Git(places[1]), Git(places[2], "core.fsync=all")
    if len(sides[0].files) < 2 * AGENTS:
        raise SystemExit(f"{label} has too few plain files for {AGENTS} agents.")
    for side in sides:
        side.clone("warm")
        side.compare("warm")
    wanted = timing.rounds(rounds, files >= LARGE)
    return Contest(f"{label}, {files:,} files", *sides, rounds=min(wanted, len(sides[0].files) // CHANGED))


def measured(contest: Contest) -> Iterator[Row]:
    """Measure everything, in the order of a working day."""
    plain, carried = contest.names("plain"), contest.names("carried")
    yield _row(contest, "clone", "worktree add --detach", plain, lambda side, name: side.clone(name))
    with ExitStack() as dirty:
        for side in contest.sides:
            dirty.enter_context(side.uncommitted(side.files[-UNCOMMITTED:]))
        against = "stash create, worktree add, stash apply"
        yield _row(contest, f"clone, {UNCOMMITTED} files uncommitted", against, carried, lambda side, name: side.clone_with_work(name))
    for number, name in enumerate(plain):
        for side in contest.sides:
            side.edit(name, contest.change(number))
    yield _row(contest, f"compare one, {CHANGED} files changed", "diff --stat", plain, lambda side, name: side.compare(name))
    for name in plain:
        for side in contest.sides:
            side.commit(name)
    yield _row(contest, "merge into main", "merge --squash, commit", plain, lambda side, name: side.merge(name))
    yield from _fanned_out(contest)
    yield _row(contest, "delete, if merged", "worktree remove", plain, lambda side, name: side.delete(name))
    yield _row(contest, "delete, whatever is in it", "worktree remove --force", carried, lambda side, name: side.discard(name))


def _fanned_out(contest: Contest) -> Iterator[Row]:
    """Measure sixteen agents at once: their clones, and the comparison of all with all after each has done something."""
    sides, stems = (contest.ours, contest.git), [f"agent-{number}" for number in range(max(1, contest.rounds // 3))]
    fleets = {stem: [f"{stem}-{number}" for number in range(1, AGENTS + 1)] for stem in stems}
    times = _interleaved(sides, stems, lambda side, stem: side.fan_out(fleets[stem]))
    yield row(contest.subject, f"clone {AGENTS} at once", "worktree add, two at a time", times)
    for side in sides:
        for fleet in fleets.values():
            _work(side, fleet)
    times = _interleaved(sides, stems, lambda side, stem: _compared(side, fleets[stem]))
    yield row(contest.subject, f"compare {AGENTS}, all pairs", "diff, stash create, merge-tree a pair, two at a time", times)


def _work(side: Side, fleet: Sequence[str]) -> None:
    """Let each agent edit a file of its own, and one that the next agent edits too."""
    for number, name in enumerate(fleet):
        side.edit(name, [side.files[number], side.files[AGENTS + number // 2]])


def _compared(side: Side, fleet: Sequence[str]) -> None:
    found = side.compare_all(fleet)
    if found != AGENTS // 2:
        raise RuntimeError(f"{type(side).__name__} found {found} conflicting pairs, not {AGENTS // 2}.")


def _row(contest: Contest, operation: str, against: str, names: Sequence[str], action: Action) -> Row:
    return row(contest.subject, operation, against, _interleaved(contest.sides, names, action))


def _interleaved(sides: Sequence[Side], names: Sequence[str], action: Action) -> list[list[float]]:
    """Give each side a turn for each name; return milliseconds by side."""
    return timing.interleaved([partial(_timed, action, side) for side in sides], names)


def _timed(action: Action, side: Side, name: str) -> float:
    return timing.settled(partial(action, side, name))
