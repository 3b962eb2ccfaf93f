"""What one view has read of the repository. A view lives for one call, and objects never change: nothing in here can be out of date."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from workspaces.model import Change, Snapshot
from workspaces.threads import AT_ONCE, several

from ..diff import Looked, Pair, Step, looked_at, looked_at_each, steps
from ..git import Git
from . import commits

_MANY = 16
"""Pairs of trees that are worth to be looked at by several gits."""


@dataclass
class Seen:
    """Snapshots by id, and what lies between two of them. Without `remembers`, everything is read each time."""

    remembers: bool
    _snapshots: dict[str, Snapshot] = field(default_factory=dict[str, Snapshot])
    _changes: dict[tuple[str, str], tuple[Change, ...]] = field(default_factory=dict[tuple[str, str], tuple[Change, ...]])
    _steps: dict[tuple[str, str], list[Step]] = field(default_factory=dict[tuple[str, str], list[Step]])
    _bases: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict[tuple[str, str], tuple[str, ...]])
    _linked: dict[tuple[str, ...], str] = field(default_factory=dict[tuple[str, ...], str])

    def snapshot(self, git: Git, name: str) -> Snapshot:
        found = self._snapshots.get(name) or commits.load(git, name)
        if self.remembers:
            self._snapshots[name] = found
        return found

    def changes(self, git: Git, old: str, new: str) -> tuple[Change, ...]:
        """Return what differs between two trees."""
        if old == new:
            return ()
        found = self._changes.get((old, new))
        return found if found is not None else self._learnt((old, new), looked_at(git, old, new))

    def _learnt(self, pair: Pair, looked: Looked) -> tuple[Change, ...]:
        found, moved = looked
        if self.remembers:
            self._changes[pair] = found
            self._steps |= {pair: moved} if moved else {}
        return found

    def learn_changes(self, git: Git, pairs: Iterable[Pair]) -> None:
        """Look at once at what differs between the trees of many pairs."""
        wanted = [pair for pair in dict.fromkeys(pairs) if pair[0] != pair[1] and pair not in self._changes]
        parts = [wanted[number::AT_ONCE] for number in range(AT_ONCE)] if len(wanted) >= _MANY else [wanted]
        with several() as pool:
            for part, told in zip(parts, pool.map(partial(looked_at_each, git), parts), strict=True):
                for pair, looked in zip(part, told, strict=True):
                    self._learnt(pair, looked)

    def learn(self, pair: Pair, moved: list[Step], changed: tuple[Change, ...] | None = None) -> None:
        """Remember what differs between two trees, without renames."""
        self._steps[pair] = moved
        self._changes |= {pair: changed} if changed is not None else {}

    def known_steps(self, old: str, new: str) -> list[Step] | None:
        """Return what differs between two trees, if that was told before and nothing was renamed."""
        return self._steps.get((old, new))

    def knows(self, ours: str, theirs: str) -> bool:
        """Return whether it is known what two commits have in common."""
        return (ours, theirs) in self._bases

    def learn_base(self, ours: str, theirs: str, base: str) -> None:
        """Remember that two commits have just this best common ancestor."""
        self._bases[ours, theirs] = (base,)

    def steps(self, git: Git, old: str, new: str) -> list[Step]:
        """Return what differs between two trees, renames not told apart."""
        found = self._steps.get((old, new)) or steps(git, old, new)
        if self.remembers:
            self._steps[old, new] = found
        return found

    def bases(self, git: Git, ours: str, theirs: str) -> tuple[str, ...]:
        """Return all best common ancestors of two commits."""
        found = self._bases.get((ours, theirs))
        if found is None:
            near = commits.nearest(git, ours, theirs)
            found = (near,) if near else tuple(git.told("merge-base", "--all", ours, theirs).out.decode().split())
        if self.remembers:
            self._bases[ours, theirs] = found
        return found

    def linked(self, git: Git, contents: str, parents: tuple[str, ...]) -> str:
        """Return a commit with these contents that descends from all the parents."""
        made = self._linked.get((contents, *parents))
        if made is None:
            who = commits.identity(commits.commit_of(git, parents[0]).date)
            made = commits.write_commit(git, contents, parents, "ours, and what it is known to contain", who)
        if self.remembers:
            self._linked[contents, *parents] = made
        return made
