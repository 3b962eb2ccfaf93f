"""What git decided over sparse trees, as changes and manifests: its part from git, and what git knows nothing of beside it.

git sees files, links and the executable bit. The other permissions, extended attributes and folders for themselves are merged here, by the same
rule: who alone changed something is followed, and two who changed it differently conflict.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from workspaces.model import Change, Conflict, Merge, Rest, Side, path_bytes, path_text

from .. import diff
from ..diff import Step, steps
from ..git import Git
from .manifest import UNKNOWN, Entry, How, Manifest, above, differing, entry
from .pool import Pool
from .sparse import TEXT_LIMIT, Sparse


@dataclass(frozen=True)
class Sides:
    """The three manifests of a merge."""

    base: Manifest
    ours: Manifest
    theirs: Manifest


def changes(git: Git, old: str, new: str, before: Manifest, after: Manifest) -> tuple[Change, ...]:
    """Return what differs: between the trees of two commits, and what they do not show."""
    return (*diff.changes(git, old, new), *_unseen(before, after))


def _unseen(before: Manifest, after: Manifest) -> list[Change]:
    """Return the changes that git does not see."""
    found: list[Change] = []
    for path in differing(before, after):
        old, new = before.at(path), after.at(path)
        folders = {side.kind == "d" for side in (old, new) if side}
        if folders == {True}:
            status = "modified" if old and new else "added" if new else "deleted"
            found.append(Change.model_validate({"path": path_text(os.fsencode(f"{path}/")), "status": status}))
        elif old and new and folders == {False} and _as_git_sees(old) == _as_git_sees(new):
            found.append(Change(path=path_text(os.fsencode(path)), status="modified"))
    return found


def _as_git_sees(found: Entry) -> tuple[str, str]:
    return found.mode, found.content


def patch(sparse: Sparse, old: str, new: str, paths: Sequence[str], limit: int) -> str:
    return diff.patch(sparse.git, old, new, [path_bytes(path) for path in paths], limit, sparse.door.git_dir.parent)


def with_paths(base: Manifest, theirs: Manifest, paths: Iterable[str]) -> Manifest:
    """Return `base` with these paths as `theirs` has them."""
    draft = _Draft(base)
    for path in paths:
        if path in theirs.what:
            draft.put(path, theirs.what[path], theirs.how[path])
        else:
            draft.drop(path)
    draft.found_in(theirs)
    return draft.manifest


def applied(sparse: Sparse, pool: Pool, sides: Sides, ours: str, merged: Merge, decide: Callable[[str], Rest]) -> tuple[Manifest, Merge]:
    """Return the manifest that a merge of sparse trees gives (`ours` is the tree of ours), and the merge in terms of manifests."""
    draft = _Draft(sides.ours)
    moved = steps(sparse.git, ours, merged.contents)
    fresh = _fresh_contents(sparse, pool, moved)
    for step in moved:
        _follow(draft, sides, step, fresh)
    clashes = _merge_unseen(draft, sides, decide, {conflict.path for conflict in merged.conflicts})
    draft.found_in(sides.theirs)
    draft.leave_empty(sides)
    manifest = draft.manifest
    left = [clash for clash in clashes if decide(clash.path) in ("abort", "markers")]
    conflicts = (*(named(sparse, conflict) for conflict in merged.conflicts), *left)
    return manifest, Merge(
        contents=manifest.contents,
        conflicts=conflicts,
        decided=(*merged.decided, *(clash.path for clash in clashes if clash not in left)),
        changes=(*merged.changes, *_unseen(sides.ours, manifest)),
    )


def _fresh_contents(sparse: Sparse, pool: Pool, moved: Sequence[Step]) -> dict[str, str]:
    """Return the names of contents that the merge made, by blob, after freezing them; and the targets of links."""
    made = {step.new.blob for step in moved if step.new and step.new.mode.startswith("100") and step.new.blob not in sparse.names}
    links = {step.new.blob for step in moved if step.new and step.new.mode == "120000"}
    texts = sparse.git.blobs([*made, *links], 2 * TEXT_LIMIT)
    return {blob: pool.add_bytes(texts[blob]) for blob in made} | {f"l{blob}": os.fsdecode(texts[blob]) for blob in links} | sparse.names


def _follow(draft: _Draft, sides: Sides, step: Step, names: dict[str, str]) -> None:
    """Do to the draft what git did to its tree."""
    path = os.fsdecode(step.path)
    if step.new is None:
        return draft.drop(path)
    if step.new.mode == "120000":
        made = Entry("l", 0, names[f"l{step.new.blob}"])
    else:
        ours, theirs = sides.ours.at(path), sides.theirs.at(path)
        near = next((side for side in (ours, theirs) if side and side.kind == "f"), Entry("f", 0o644))
        made = replace(near, content=names[step.new.blob], perm=_executable(near.perm, step.new.mode == "100755"))
    if draft.line(path).startswith("d"):
        draft.empty_out(path)
    # What a merge brings is new where it arrives, as files are that git checks out: a build sees it by its time.
    link = sides.theirs.how_at(path).link if sides.theirs.what.get(path) == made.line else 0
    return draft.put(path, made.line, How(UNKNOWN, time.time_ns(), link).line)


def _executable(perm: int, yes: bool) -> int:
    if bool(perm & 0o100) == yes:
        return perm
    return perm | (perm & 0o444) >> 2 if yes else perm & ~0o111


def _merge_unseen(draft: _Draft, sides: Sides, decide: Callable[[str], Rest], known: set[str]) -> list[Conflict]:
    """Bring over what theirs changed that git did not see. Returns what conflicts; the source decides it when that was asked for."""
    clashes: list[Conflict] = []
    for path in reversed(differing(sides.base, sides.theirs)):
        base, ours, theirs = (side.at(path) for side in (sides.base, sides.ours, sides.theirs))
        here = draft.at(path)
        if theirs and theirs.kind == "d" and (ours is None or ours.kind == "d") and (here is None or here.kind == "d"):
            if base is None or ours is None or base.line == ours.line:
                draft.put(path, theirs.line, sides.theirs.how[path])
        elif theirs is None and base and base.kind == "d" and ours and ours.line == base.line:
            draft.drop_folder(path)
        elif here and ours and theirs and here.kind == ours.kind == theirs.kind == "f" and path_text(os.fsencode(path)) not in known:
            clashes += _merge_bits(draft, path, [base or ours, ours, theirs], here, decide)
    return clashes


def _merge_bits(draft: _Draft, path: str, entries: list[Entry], here: Entry, decide: Callable[[str], Rest]) -> list[Conflict]:
    """Merge permissions (but the executable bit, which git has merged) and attributes of a file that all have."""
    bits = _decided(*(side.perm & ~0o111 for side in entries))
    attributes = _decided(*(side.attributes for side in entries))
    winner = entries[2] if decide(path_text(os.fsencode(path))) == "source" else entries[1]
    perm = (winner.perm & ~0o111 if bits is None else bits) | (here.perm & 0o111)
    merged = replace(here, perm=perm, attributes=winner.attributes if attributes is None else attributes)
    if merged != here:
        draft.put(path, merged.line, draft.how(path))
    if bits is not None and attributes is not None:
        return []
    base, ours, theirs = (Side(mode=f"100{side.perm:03o}", blob=side.content) for side in entries)
    return [Conflict(path=path_text(os.fsencode(path)), kind="mode", base=base, ours=ours, theirs=theirs)]


def bits_clash(base: Entry | None, ours: Entry | None, theirs: Entry | None) -> bool:
    """Return whether a path is a file for all, and both changed its permissions or its attributes, each in another way."""
    entries = [side for side in (base or ours, ours, theirs) if side and side.kind == "f"]
    if len(entries) < 3:
        return False
    return _decided(*(side.perm & ~0o111 for side in entries)) is None or _decided(*(side.attributes for side in entries)) is None


T = TypeVar("T", int, str)


def _decided(base: T, ours: T, theirs: T) -> T | None:
    """Return what a three-way merge of one value gives; None for a conflict."""
    if ours == theirs or base == theirs:
        return ours
    return theirs if base == ours else None


def named(sparse: Sparse, conflict: Conflict) -> Conflict:
    """Return a conflict whose sides name contents as snapshots do."""
    sides = {name: getattr(conflict, name) for name in ("base", "ours", "theirs")}
    return conflict.model_copy(
        update={name: side.model_copy(update={"blob": sparse.names.get(side.blob, side.blob)}) for name, side in sides.items() if side}
    )


class _Draft:
    """A manifest that is being changed."""

    def __init__(self, start: Manifest) -> None:
        self._start = start
        self._put: dict[str, tuple[str, str]] = {}
        self._gone: set[str] = set()

    @cached_property
    def _inside(self) -> Counter[str]:
        """How many paths are in each folder."""
        there = {*self._start.what, *self._put} - self._gone
        return Counter(path.rpartition("/")[0] for path in there)

    @property
    def manifest(self) -> Manifest:
        return self._start.changed(self._put, self._gone)

    def line(self, path: str) -> str:
        """Return what is at a path, nothing when it is not there."""
        if path in self._put:
            return self._put[path][0]
        return "" if path in self._gone else self._start.what.get(path, "")

    def at(self, path: str) -> Entry | None:
        line = self.line(path)
        return entry(line) if line else None

    def how(self, path: str) -> str:
        return self._put[path][1] if path in self._put else self._start.how[path]

    def put(self, path: str, what: str, how: str) -> None:
        if "_inside" in self.__dict__ and not self.line(path):
            self._inside[path.rpartition("/")[0]] += 1
        self._put[path] = (what, how)
        self._gone.discard(path)

    def drop(self, path: str) -> None:
        if "_inside" in self.__dict__ and self.line(path):
            self._inside[path.rpartition("/")[0]] -= 1
        self._put.pop(path, None)
        self._gone.add(path)

    def empty_out(self, folder: str) -> None:
        """Drop the empty folders in one whose place something else takes."""
        for path in [path for rows in (self._start.what, self._put) for path in rows if path.startswith(f"{folder}/")]:
            self.drop(path)

    def drop_folder(self, path: str) -> None:
        """Drop a folder if nothing is in it."""
        if not self._inside[path]:
            self.drop(path)

    def found_in(self, other: Manifest) -> None:
        """Add the folders that what arrived lies in, as the other manifest has them."""
        for folder in sorted(above(self._put)):
            if not self.line(folder).startswith("d"):
                line = other.what.get(folder, "")
                self.put(
                    folder,
                    line if line.startswith("d") else Entry("d", 0o755).line,
                    other.how.get(folder, How(UNKNOWN, time.time_ns()).line),
                )

    def leave_empty(self, sides: Sides) -> None:
        """Drop the folders that are empty now and that theirs has not."""
        for folder in sorted(above(self._gone), key=lambda folder: -len(folder)):
            if folder not in sides.theirs.what and self.line(folder).startswith("d"):
                self.drop_folder(folder)
