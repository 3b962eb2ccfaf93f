"""Which of many merges conflict, and whether all go one on top of the other: asked of git all at once, with the verdicts that one merge after the
other would give.

Where neither side renames anything, git decides path by path, and each path by three contents alone. So the paths that both sides changed become
the files of one merge, as many as there are different triples of contents, and a single merge-tree answers for all. What cannot be put
so (renames, a file against a folder, links, submodules, paths with a merge driver) is left to a merge of the whole trees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from workspaces.errors import Limit
from workspaces.model import Conflict, Meeting, Merge, Side, Snapshot, path_text
from workspaces.threads import AT_ONCE, several

from . import combine, mergetree
from .attributes import attribute_tree
from .diff import Moved, moved_in_each
from .git import Git
from .mergetree import Clash, Entry, Outcome, entries
from .trees import stored

_LEAST, _MOST = 100, 1000
"""Triples that one merge decides, where there are so many."""
_WHO = "matrix <matrix@workspaces.invalid> 0 +0000"
_OTHERWISE = r"^merge\.(default|renormalize)$"
"""The settings by which git merges contents otherwise."""
_UNNAMED = (b"unspecified", b"set")
"""What git says of the merge attribute of a path that it merges as it does any other (gitattributes(5))."""


@dataclass(frozen=True)
class Three:
    """The trees of a merge: the one that both sides began with, and the two."""

    base: str
    ours: str
    theirs: str


@dataclass(frozen=True)
class _Triple:
    """The contents of one path in the three trees; where a tree has none, None."""

    base: Entry | None
    ours: Entry | None
    theirs: Entry | None

    @property
    def is_plain(self) -> bool:
        """Whether the path is a file wherever it is."""
        return all(side is None or side.mode.startswith("100") for side in (self.base, self.ours, self.theirs))

    @property
    def is_gone(self) -> bool:
        return self.ours is None or self.theirs is None


_Met = Mapping[bytes, _Triple]
"""The paths that both sides of a merge changed, each in its own way."""


def clashes(git: Git, merges: Sequence[Three], scratch: Path) -> list[tuple[Conflict, ...] | None]:
    """Return the conflicts of each merge, without hunks; None for one that only a merge of the whole trees can decide."""
    sides = sorted({(three.base, side) for three in merges for side in (three.ours, three.theirs)})
    moved = dict(zip(sides, moved_in_each(git, sides), strict=True))
    meetings = [_meeting(moved[three.base, three.ours], moved[three.base, three.theirs]) for three in merges]
    if any(meetings) and git.told("config", "--get-regexp", _OTHERWISE).out:
        return [None if meeting is None or meeting else () for meeting in meetings]
    driven = {base: _driven(git, base, paths, scratch) for base, paths in _paths_by_base(merges, meetings).items()}
    plain = [
        None if meeting is None or meeting.keys() & driven[three.base] else meeting for three, meeting in zip(merges, meetings, strict=True)
    ]
    decided = _decided(git, list(dict.fromkeys(triple for meeting in plain for triple in (meeting or {}).values())), scratch)
    return [None if meeting is None else tuple(_conflicts(meeting, decided)) for meeting in plain]


def is_apart(ours: Moved, theirs: Moved) -> bool:
    """Return whether two sides changed nothing that the other did otherwise: git takes from each what it changed then. Neither was looked at for
    renames, so none may be possible."""
    return not ours.may_rename and not theirs.may_rename and _meeting(ours, theirs) == {}


def _meeting(ours: Moved, theirs: Moved) -> _Met | None:
    """Return where two sides meet; None where more than that counts."""
    if (ours.renames and theirs.steps) or (theirs.renames and ours.steps):
        return None
    if not ours.files.isdisjoint(theirs.folders) or not theirs.files.isdisjoint(ours.folders):
        return None
    both = ours.steps.keys() & theirs.steps.keys()
    met = {path: _Triple(ours.steps[path].old, ours.steps[path].new, theirs.steps[path].new) for path in both}
    apart = {path: triple for path, triple in met.items() if triple.ours != triple.theirs}
    if apart and ours.rules:
        return None
    return apart if all(triple.is_plain for triple in apart.values()) else None


def _paths_by_base(merges: Sequence[Three], meetings: Sequence[_Met | None]) -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = {}
    for three, meeting in zip(merges, meetings, strict=True):
        found.setdefault(three.base, set()).update(meeting or ())
    return found


def _driven(git: Git, base: str, paths: set[bytes], scratch: Path) -> set[bytes]:
    """Return which of the paths are merged by another driver than git's own for text, and a name that no rule should know, if there is one
    for all."""
    if not paths:
        return set()
    door = git.at(work_tree=attribute_tree(git, base, mergetree.MARKERS[0], scratch), index=scratch / "no-index")
    asked = [b"0", *sorted(paths)]
    words = door.fields("check-attr", "-z", "--stdin", "merge", stdin=b"".join(path + b"\0" for path in asked))
    driven = {path for path, value in zip(words[::3], words[2::3], strict=True) if value not in _UNNAMED}
    return paths if b"0" in driven else driven


def _conflicts(meeting: _Met, decided: Mapping[_Triple, Clash]) -> Iterator[Conflict]:
    for path in sorted(meeting):
        if clash := decided.get(meeting[path]):
            sides = {stage: Side(mode=entry.mode, blob=entry.blob) for stage, entry in clash.stages.items()}
            yield Conflict(path=path_text(path), kind=clash.kind, base=sides.get(1), ours=sides.get(2), theirs=sides.get(3))


class Merges(Protocol):
    """What merges two snapshots: see `workspaces.backend.Backend`."""

    def merge(self, ours: Snapshot, theirs: Snapshot, lineage: Sequence[str] = ()) -> Merge: ...


def settled(backend: Merges, meetings: Sequence[Meeting], found: Mapping[int, tuple[Conflict, ...] | None]) -> list[tuple[Conflict, ...]]:
    """Return the conflicts of all meetings: those found, by number, and for the rest what a merge of each says."""
    left = [number for number in range(len(meetings)) if found.get(number) is None]
    with several() as pool:
        merged = dict(zip(left, pool.map(partial(_bare, backend), (meetings[number] for number in left)), strict=True))
    return [merged[number] if number in merged else found[number] or () for number in range(len(meetings))]


def _bare(backend: Merges, meeting: Meeting) -> tuple[Conflict, ...]:
    merged = backend.merge(meeting.ours, meeting.theirs, meeting.lineage)
    return tuple(conflict.model_copy(update={"hunks": ()}) for conflict in merged.conflicts)


# -- one on top of the other ------------------------------------------------------------------------------------------------------------


def stack(git: Git, base: str, moved: Sequence[Moved], scratch: Path) -> bool:
    """Return whether what `moved` from a tree merges, each on top of the ones before. False also where it takes these merges to tell.

    A path that several changed is merged for each of them after the first: one merge for the second of all paths, one for the third, and so on. What
    comes twice is merged twice: on top of something else, equal contents may conflict.
    """
    if any(each.renames or each.rules for each in moved) or _may_rename(moved) or not _are_files(moved):
        return False
    began = {path: step.old for each in moved for path, step in each.steps.items()}
    wanted = {path: [each.steps[path].new for each in moved if path in each.steps] for path in began}
    tops = {path: new[0] for path, new in wanted.items()}
    left = {path: new[1:] for path, new in wanted.items() if len({*new}) > 1}
    if left and (git.told("config", "--get-regexp", _OTHERWISE).out or _driven(git, base, {*left}, scratch)):
        return False
    while left:
        met = {path: _Triple(began[path], tops[path], new[0]) for path, new in left.items()}
        apart = {path: triple for path, triple in met.items() if triple.ours != triple.theirs}
        made = _made(git, [*{*apart.values()}], scratch)
        if made is None:
            return False
        tops |= {path: made[triple] for path, triple in apart.items()}
        left = {path: new[1:] for path, new in left.items() if len(new) > 1}
    return True


def _may_rename(moved: Sequence[Moved]) -> bool:
    """Return whether something came with one and something went with one: git may find that one became the other."""
    steps = [step for each in moved for step in each.steps.values()]
    return any(not step.old for step in steps) and any(not step.new for step in steps)


def _are_files(moved: Sequence[Moved]) -> bool:
    """Return whether what one has as a file is a folder for no other."""
    return frozenset[bytes]().union(*(each.files for each in moved)).isdisjoint(path for each in moved for path in each.folders)


def _made(git: Git, triples: Sequence[_Triple], scratch: Path) -> dict[_Triple, Entry] | None:
    """Return what comes of triples, or None where one is no more than files, or conflicts."""
    if not all(triple.is_plain and not triple.is_gone for triple in triples):
        return None
    made: dict[_Triple, Entry] = {}
    for part, outcome in _merged(_nowhere(git, scratch), triples) if triples else ():
        if outcome.clashes or outcome.unsure:
            return None
        found = entries(git, outcome.tree, [b"%d" % number for number in range(len(part))])
        made |= {triple: found[b"%d" % number] for number, triple in enumerate(part)}
    return made


# -- one merge for all --------------------------------------------------------------------------------------------------------------------


def _decided(git: Git, triples: Sequence[_Triple], scratch: Path) -> dict[_Triple, Clash]:
    """Return the triples that conflict. Where one side has nothing, there must be no other with something new: git would take it as moved."""
    kinds = [[triple for triple in triples if triple.is_gone == gone] for gone in (True, False)]
    size = min(_MOST, max(_LEAST, -(-len(triples) // AT_ONCE)))
    chunks = [kind[at : at + size] for kind in kinds for at in range(0, len(kind), size)]
    with several() as pool:
        merged = [part for parts in pool.map(partial(_merged, _nowhere(git, scratch)), chunks) for part in parts]
    return {part[int(clash.path)]: clash for part, outcome in merged for clash in outcome.clashes}


def _nowhere(git: Git, scratch: Path) -> Git:
    """Return the door at a work tree with nothing in it, no attributes either."""
    folder = scratch / "matrix"
    folder.mkdir(exist_ok=True)
    return git.at(work_tree=folder)


def _merged(git: Git, triples: Sequence[_Triple]) -> list[tuple[Sequence[_Triple], Outcome]]:
    """Merge the triples as files that are numbered: all at once, or in parts where that is too much for one merge."""
    width = next(len(side.blob) for triple in triples for side in (triple.base, triple.ours, triple.theirs) if side)
    base = _commit(git, [triple.base for triple in triples], width)
    ours = _commit(git, [triple.ours for triple in triples], width, base)
    theirs = _commit(git, [triple.theirs for triple in triples], width, base)
    try:
        return [(triples, combine.outcome(git, ours, theirs, mergetree.MARKERS[0]))]
    except Limit:
        # The limits are those of one merge, and this was many.
        if len(triples) == 1:
            raise
        half = len(triples) // 2
        return _merged(git, triples[:half]) + _merged(git, triples[half:])


def _commit(git: Git, entries: Sequence[Entry | None], width: int, parent: str = "") -> str:
    """Write a commit of files that are numbered, where new objects go, and return its id, of so many digits."""
    files = {b"%d" % number: (entry.mode.encode(), bytes.fromhex(entry.blob)) for number, entry in enumerate(entries) if entry}
    tree = git.write_aside("tree", stored(files), width)
    header = [f"tree {tree}", *([f"parent {parent}"] if parent else []), f"author {_WHO}", f"committer {_WHO}"]
    return git.write_aside("commit", "\n".join(header).encode() + b"\n\nmatrix\n", width)
