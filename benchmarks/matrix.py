"""How long it takes to tell which of many attempts conflict: all pairs at once, beside one merge-tree process for each pair.

The verdicts are the same, or it fails; and it fails when looking writes anything into the repository.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path

import repositories
from report import Row, row
from sides import AT_ONCE, Ours
from timing import clocked

from workspaces.model import Comparison

FILES = 5_000
HOT = 40
"""Files of which each attempt changes some; so many pairs meet, and some conflict."""
SAMPLED = 2_100
"""Pairs that get a process each; of more, the time is that of these, in proportion."""
_AGAIN = 3
"""How often all of it is told once more."""
PAGE = 5_000
"""Characters of a page of diffs."""
_PHASE = "comparing pairs"


@dataclass
class Clock:
    """Takes the time between the first and the last report of a phase."""

    seen: list[float] = field(default_factory=list[float])

    def report(self, done: int, total: int, message: str) -> None:
        if message == _PHASE:
            self.seen.append(time.perf_counter())

    @property
    def milliseconds(self) -> float:
        return (self.seen[-1] - self.seen[0]) * 1000


def measured(folder: Path, attempts: int) -> Iterator[Row]:
    """Measure all pairs of so many attempts on both backends, and the whole call that tells them."""
    folder.mkdir()
    checkout = repositories.checkout(repositories.generated(folder / "origin.git", FILES), folder / "git")
    plain = folder / "folder"
    shutil.copytree(checkout, plain, ignore=shutil.ignore_patterns(".git"))
    _hurry(checkout, plain)
    sides = {"worktree": Ours(checkout), "directory": Ours(plain, "directory")}
    names = [f"try-{number}" for number in range(1, attempts + 1)]
    for subject, side in sides.items():
        print(f"  {attempts} clones, {subject} …", file=sys.stderr)
        side.fan_out(names)
        _work(side, names, sides["worktree"].files)
    print("  one status for each attempt, one merge-tree for each pair …", file=sys.stderr)
    looked = clocked(partial(_looked_at, [sides["worktree"].folder(name) for name in names]))
    each, expected = _each(checkout, [_committed(sides["worktree"].folder(name)) for name in names])
    for subject, side in sides.items():
        size, clock, began = _weight(checkout / ".git"), Clock(), time.perf_counter()
        found = side.project.compare(names, progress=clock.report)
        whole = (time.perf_counter() - began) * 1000
        if _weight(checkout / ".git") != size:
            raise RuntimeError("Looking wrote something into the repository.")
        told = {(pair.a.split("-")[-1], pair.b.split("-")[-1]) for pair in found.pairs}
        if not all(((str(a + 1), str(b + 1)) in told) == verdict for (a, b), verdict in expected.items()):
            raise RuntimeError(f"{subject}: other verdicts than those of one merge-tree for each pair.")
        about = f"{attempts} attempts, {FILES:,} files, {len(told):,} pairs conflict"
        yield row(about, f"all pairs, {subject}", "merge-tree for each pair", [[clock.milliseconds], [each]])
        yield row(about, f"compare, all of it, {subject}", "merge-tree for each pair", [[whole], [each]])
        again = [clocked(partial(side.project.compare, names)) for _ in range(_AGAIN)]
        yield row(about, f"compare, all of it once more, {subject}", "merge-tree for each pair", [again, [each]])
        yield row(about, f"a next page of it, {subject}", "the page before", _pages(side, names))
    yield row(
        f"{attempts} attempts, {FILES:,} files", "not ours: a status of each, two at a time", "merge-tree for each pair", [[looked], [each]]
    )


def _looked_at(folders: Sequence[Path]) -> None:
    """Ask git what is in each: nobody who asks it can tell sooner what the attempts have."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(_status, folders))


def _status(folder: Path) -> None:
    repositories.run(folder, "--no-optional-locks", "status", "--porcelain=v2")


def _pages(side: Ours, names: Sequence[str]) -> list[list[float]]:
    """Return what the second page of the diffs takes, and what the first one did."""
    found: list[Comparison] = []
    first = clocked(lambda: found.append(side.project.compare(names, detail="diff", max_chars=PAGE)))
    cursor = found[0].next_cursor
    return [[clocked(lambda: side.project.compare(names, detail="diff", max_chars=PAGE, cursor=cursor))], [first]]


def _hurry(*roots: Path) -> None:
    """Let clones be made without waiting for the disk: here they are only what is looked at."""
    for root in roots:
        (root / "workspaces.local.toml").write_text("durable = false\n")
    (roots[0] / ".git" / "info" / "exclude").write_text("workspaces.local.toml\n")


def _work(side: Ours, names: Sequence[str], files: Sequence[str]) -> None:
    """Have each attempt change a line in some files that others change too, and in some of its own; at a place that others choose too."""
    chance = random.Random(5)
    hot, rest = files[:HOT], files[HOT:]
    for number, name in enumerate(names):
        for file in (*chance.sample(hot, 4), *chance.sample(rest, 2)):
            place = side.folder(name) / file
            lines = place.read_text().splitlines(keepends=True)
            at = chance.choice((0, len(lines) // 2, len(lines) - 1))
            lines[at] = f"# {number % (len(names) // 2)}\n"
            place.write_text("".join(lines))


def _committed(folder: Path) -> str:
    repositories.run(folder, "commit", "--quiet", "--all", "--message", "work")
    return repositories.run(folder, "rev-parse", "HEAD").stdout.decode().strip()


def _each(checkout: Path, commits: Sequence[str]) -> tuple[float, dict[tuple[int, int], bool]]:
    """Merge pairs with a process each, objects put elsewhere; return the milliseconds that all of them take, and the verdicts of those tried."""
    pairs = list(combinations(range(len(commits)), 2))
    tried = pairs if len(pairs) <= SAMPLED else random.Random(3).sample(pairs, SAMPLED)
    with tempfile.TemporaryDirectory(dir=checkout.parent) as objects:
        alternates = str(checkout / ".git" / "objects")
        environment = {**os.environ, "GIT_OBJECT_DIRECTORY": objects, "GIT_ALTERNATE_OBJECT_DIRECTORIES": alternates}
        began = time.perf_counter()
        verdicts = {(a, b): _conflicts(checkout, commits[a], commits[b], environment) for a, b in tried}
        return (time.perf_counter() - began) * 1000 * len(pairs) / len(tried), verdicts


def _conflicts(checkout: Path, a: str, b: str, environment: dict[str, str]) -> bool:
    command = ["git", "merge-tree", "--write-tree", a, b]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, check=False).returncode == 1


def _weight(folder: Path) -> tuple[int, int]:
    """Return how many objects there are, and their bytes."""
    files = [file for file in (folder / "objects").rglob("*") if file.is_file()]
    return len(files), sum(file.stat().st_size for file in files)
