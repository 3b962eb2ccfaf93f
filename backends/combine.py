"""Two commits combined in memory by git's own merge, under the attributes of the target, with conflicts as values."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from workspaces.errors import Unsupported
from workspaces.model import Change, Merge, OnConflict, path_bytes

from . import mergetree, tree
from .diff import changes
from .git import Git, refusal

_MARKER_SIZE = re.compile(rb"[-!]?conflict-marker-size(?:=[^ \t\r\n]*)?")
_LONGEST = 3000


def merge(git: Git, ours: str, theirs: str, contents: str, on_conflict: OnConflict, labels: tuple[str, str], scratch: Path) -> Merge:
    """Combine the commits `ours` (whose tree is `contents`) and `theirs`. See `Backend.merge`."""
    tried = _tried(git, ours, theirs, contents, scratch)
    conflicts = mergetree.conflicts(git, tried) if tried.clashes else ()
    result, decided = tried.tree, tuple[str, ...]()
    if tried.clashes and on_conflict == "markers":
        result = mergetree.marked(git, tried, labels, scratch)
    elif tried.clashes and on_conflict != "abort":
        decided = tuple(conflict.path for conflict in conflicts)
        result, conflicts = mergetree.settled(git, tried, on_conflict, scratch), ()
    gained: tuple[Change, ...] = () if result == contents else changes(git, contents, result)
    return Merge(contents=result, conflicts=conflicts, decided=decided, changes=gained)


def _tried(git: Git, ours: str, theirs: str, contents: str, scratch: Path) -> mergetree.Outcome:
    """Merge two commits under the attributes of a tree, with markers that cannot be mistaken for contents."""
    for marker in mergetree.MARKERS:
        tried = outcome(git.at(work_tree=attribute_tree(git, contents, marker, scratch)), ours, theirs, marker)
        if not mergetree.is_ambiguous(git, tried):
            return tried
    raise Unsupported(
        "The files hold lines like conflict markers of every length that was tried. Nothing was changed.",
        "Merge them with git by hand.",
    )


def outcome(git: Git, ours: str, theirs: str, marker: int) -> mergetree.Outcome:
    """Merge two commits in memory, under the attributes of git's work tree."""
    args = ("merge-tree", "--write-tree", "-z", "--messages", ours, theirs)
    reply = git.ask(*args)
    if reply.status not in (0, 1) or not reply.out:
        raise refusal(args, reply)
    return mergetree.parse(reply.out, ours, theirs, marker)


def attribute_tree(git: Git, contents: str, marker: int, scratch: Path) -> Path:
    """Return a work tree with the attributes of `contents` and nothing else: git reads them from files, not from the merged trees."""
    folder = scratch / f"attributes-{marker}-{contents}"
    if folder.exists():
        return folder
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=folder.parent))
    rows = [row for row in git.fields("ls-tree", "-r", "-z", contents) if row.endswith(b".gitattributes")]
    places = ((row.split(b"\t", 1)[1], row.split()[2].decode()) for row in rows)
    names = {path: blob for path, blob in places if _is_attributes(path)}
    texts = git.blobs(names.values(), mergetree.HUNK_LIMIT)
    files = {path: _MARKER_SIZE.sub(b"", texts.get(blob, b"")) for path, blob in names.items()}
    files[b".gitattributes"] = b"* conflict-marker-size=%d\n" % marker + files.get(b".gitattributes", b"")
    for path, text in files.items():
        place = draft / os.fsdecode(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text)
    with suppress(OSError):
        draft.rename(folder)
    return folder


def _is_attributes(path: bytes) -> bool:
    """Return whether git would read attributes from a path: not from below a folder of that name, nor from beyond what a path can be."""
    *folders, name = path.split(b"/")
    return name == b".gitattributes" and name not in folders and len(path) < _LONGEST


def marked_files(root: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return which of the files below `root` hold conflict markers; none, where a link stands in its place."""
    return tuple(path for path in paths if not root.is_symlink() and _has_markers(root / os.fsdecode(path_bytes(path))))


def _has_markers(file: Path) -> bool:
    try:
        text = b"\n" + tree.start_of(file, 2 * mergetree.TEXT_LIMIT)
    except (*tree.ABSENT, IsADirectoryError, PermissionError):
        return False
    return all(re.search(rb"[\r\n]" + mark, text) for mark in (b"<<<<<<< ", b">>>>>>> "))
