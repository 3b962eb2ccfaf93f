"""Many merges of folders as trees that git can decide over at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from workspaces.model import Conflict, Meeting, Snapshot

from ..matrix import Three
from . import lineages, results
from .archive import Record
from .keeping import Records
from .manifest import differing
from .sparse import Sparse, needed

Trees = Callable[[Sequence[Record], Iterable[str]], list[str]]
"""Writes the trees of records, with these paths alone."""


def bases(records: Records, meetings: Sequence[Meeting]) -> list[str]:
    """Return the one snapshot in which the two of each meeting meet; nothing where there are several."""
    above: dict[str, frozenset[str]] = {}

    def reach(name: str) -> frozenset[str]:
        if name not in above:
            above[name] = frozenset(lineages.ancestors([name], records.parents))
        return above[name]

    found: dict[frozenset[str], str] = {}
    said: list[str] = []
    for meeting in meetings:
        ours = reach(meeting.ours.id).union(*map(reach, meeting.lineage))
        shared = ours & reach(meeting.theirs.id)
        if shared not in found:
            best = [name for name in shared if shared <= reach(name)]
            found[shared] = best[0] if len(best) == 1 else ""
        said.append(found[shared])
    return said


@dataclass(frozen=True)
class Group:
    """The snapshots that meet over one base."""

    records: Records
    base: Record
    sides: Mapping[str, Record]

    @classmethod
    def of(cls, records: Records, base: str, snapshots: Iterable[Snapshot]) -> Group:
        return cls(records, records.find(records.load(base)), {each.id: records.find(each) for each in snapshots})

    @cached_property
    def changed(self) -> dict[str, frozenset[str]]:
        return {name: frozenset(differing(self.base.manifest, record.manifest)) for name, record in self.sides.items()}

    def trees(self, write: Trees) -> dict[str, str]:
        """Write the trees of all sides, and of the base under the name of nothing."""
        records = [self.base, *self.sides.values()]
        paths = needed([record.manifest for record in records], {path for paths in self.changed.values() for path in paths})
        return dict(zip(["", *self.sides], write(records, paths), strict=True))

    def is_for_git(self, meeting: Meeting) -> bool:
        """Return whether git sees all of what the two could conflict on."""
        ours, theirs = (self.sides[each.id].manifest for each in (meeting.ours, meeting.theirs))
        both = self.changed[meeting.ours.id] & self.changed[meeting.theirs.id]
        return not any(results.bits_clash(self.base.manifest.at(path), ours.at(path), theirs.at(path)) for path in both)


def threes(records: Records, meetings: Sequence[Meeting], write: Trees) -> dict[int, Three]:
    """Return the trees of those meetings, by number, over which git can decide."""
    found = bases(records, meetings)
    decided: dict[int, Three] = {}
    for base in {*found} - {""}:
        numbers = [number for number, name in enumerate(found) if name == base]
        group = Group.of(records, base, (side for at in numbers for side in (meetings[at].ours, meetings[at].theirs)))
        trees = group.trees(write)
        decided |= {
            at: Three(trees[""], trees[meetings[at].ours.id], trees[meetings[at].theirs.id])
            for at in numbers
            if group.is_for_git(meetings[at])
        }
    return decided


def named(sparse: Sparse, conflicts: tuple[Conflict, ...] | None) -> tuple[Conflict, ...] | None:
    return None if conflicts is None else tuple(results.named(sparse, conflict) for conflict in conflicts)
