"""What looking at a workspace, merging a small change and deleting cost beside git, by the clock and in processor time of all that is started.

In each round every contestant changes a few files in a workspace of its own, looks at that, and merges it; in the end all are deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import repositories
import timing
from report import Row, row
from sides import AT_ONCE, Git, Ours, Side
from timing import Cost

CHANGED = 3
"""Files of a small change."""
LARGE = 20_000
"""Files from which on a repository is large: a third of the rounds has to do."""
BESIDE = {
    "snapshot": "status",
    "checkpoint": "status",
    "compare one": "diff --stat",
    "merge into main": "merge --no-ff",
    "delete, if merged": "worktree remove",
    "delete, whatever is in it": "worktree remove --force",
}
"""What is measured, in this order, beside which command of git."""

Costs = Sequence[Mapping[str, Cost]]
"""What each verb cost a contestant, round by round."""


class Plain(Git):
    """Plain git, which merges with one command what was committed before."""

    def merge(self, name: str) -> None:
        self._git(self.checkout, "merge", "--quiet", "--no-ff", "--no-edit", f"worktrees/{name}/HEAD")

    def look(self, name: str) -> None:
        self._git(self.folder(name), "status", "--porcelain")


class Bare(Plain):
    """The gits that ours starts for a look and for a merge, and nothing else: what they are told was made before. Nothing that asks git of both
    sides comes below that."""

    def edit(self, name: str, files: Sequence[str]) -> None:
        super().edit(name, files)
        self._frozen_as = self._frozen(name)

    def compare(self, name: str) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._status, (self.folder(name), self.checkout)))
        self._differ(self.folder(name), self._frozen_as)

    def commit(self, name: str) -> None:
        super().commit(name)
        theirs = f"worktrees/{name}/HEAD"
        _, tree = self._git(self.checkout, "merge-tree", "--write-tree", "HEAD", theirs)
        _, self._made = self._git(self.checkout, "commit-tree", "-m", name, "-p", "HEAD", "-p", theirs, tree)

    def merge(self, name: str) -> None:
        self._status(self.folder(name))
        self._differ(self.checkout, self._made)
        self._git(self.checkout, "read-tree", "-m", "-u", "HEAD", self._made)
        self._git(self.checkout, "update-ref", "-m", name, "HEAD", self._made)

    def _status(self, folder: Path) -> None:
        self._git(folder, "--no-optional-locks", "status", "--porcelain=v2", "--untracked-files=all")

    def _differ(self, folder: Path, other: str) -> None:
        self._git(folder, "diff-tree", "-r", "--raw", "--numstat", "--find-renames", "HEAD", other)


BARE = ("compare one", "merge into main")
"""What is measured as gits alone."""


def measured(origin: Path, label: str, folder: Path, rounds: int) -> Iterator[Row]:
    """Measure each verb of ours beside git's and beside the same git made durable; and of what is not large, once more without making anything
    durable."""
    folder.mkdir()
    sides: list[Side] = [
        Ours(repositories.checkout(origin, folder / "ours")),
        Plain(repositories.checkout(origin, folder / "git")),
        Plain(repositories.checkout(origin, folder / "durable"), "core.fsync=all"),
        Bare(repositories.checkout(origin, folder / "bare")),
    ]
    files = repositories.size(sides[0].checkout)
    sides += [] if files >= LARGE else [_relaxed(origin, folder / "relaxed")]
    turns = list(range(min(timing.rounds(rounds, files >= LARGE), len(sides[0].files) // CHANGED)))
    for side in sides:
        for stem in ("work", "left"):
            for number in turns:
                side.clone(f"{stem}-{number}")
    worked = timing.interleaved([partial(_worked, side) for side in sides], turns)
    deleted = timing.interleaved([partial(_deleted, side) for side in sides], turns)
    ours, git, durable, bare, *relaxed = [
        [one | other for one, other in zip(*each, strict=True)] for each in zip(worked, deleted, strict=True)
    ]
    yield from _rows(f"{label}, {files:,} files", (ours, git, durable), bare, relaxed)


def _rows(subject: str, sides: Sequence[Costs], bare: Costs, relaxed: Sequence[Costs]) -> Iterator[Row]:
    for operation, against in BESIDE.items():
        times = [_picked(each, operation, 0) for each in sides]
        yield row(subject, operation, against, times)
        for each in relaxed:
            yield row(subject, f"{operation}, not durable", against, [_picked(each, operation, 0), times[1]])
        if operation in BARE:
            yield row(subject, f"not ours: the gits of {operation} alone", against, [_picked(bare, operation, 0), times[1]])
    for operation, against in BESIDE.items():
        yield row(subject, operation, against, [_picked(each, operation, 1) for each in sides], "ms of processor")


def _relaxed(origin: Path, place: Path) -> Ours:
    checkout = repositories.checkout(origin, place)
    (checkout / "workspaces.local.toml").write_text("durable = false\n")
    (checkout / ".git" / "info" / "exclude").write_text("workspaces.local.toml\n")
    return Ours(checkout)


def _worked(side: Side, number: int) -> dict[str, Cost]:
    """Do a round of work, and return what each verb cost."""
    name, other = f"work-{number}", f"left-{number}"
    for each in (name, other):
        repositories.run(side.folder(each), "status")  # as everybody has looked at what he works on
        side.edit(each, side.files[number * CHANGED : (number + 1) * CHANGED])
    costs = {operation: timing.costs(act) for operation, act in _looks(side, name).items()}
    side.commit(name)
    return costs | {"merge into main": timing.costs(partial(side.merge, name))}


def _deleted(side: Side, number: int) -> dict[str, Cost]:
    return {
        "delete, if merged": timing.costs(partial(side.delete, f"work-{number}")),
        "delete, whatever is in it": timing.costs(partial(side.discard, f"left-{number}")),
    }


def _looks(side: Side, name: str) -> dict[str, Callable[[], object]]:
    """Return how a side looks at its work."""
    compare = partial(side.compare, name)
    if isinstance(side, Ours):
        return {"snapshot": partial(side.freeze, name), "checkpoint": partial(side.project.checkpoint, name), "compare one": compare}
    status = partial(side.look, name) if isinstance(side, Plain) else compare
    return {"snapshot": status, "checkpoint": status, "compare one": compare}


def _picked(samples: Costs, operation: str, which: int) -> list[float]:
    return [each[operation][which] for each in samples]
