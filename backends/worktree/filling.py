"""How the tree of a clone gets its files: copied from the workspace that was frozen where they are still as they were found then, which is several
times faster than having git unpack them; the others, and those that git converts, are checked out by git.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence, Set
from pathlib import Path

from .. import copying, tree
from ..crew import Crew
from ..git import Git
from . import own
from .conversions import converted
from .index import Entry, Index, Strange
from .snapshot import Found

_AGE = 5.0
"""Seconds by which a clone's files are older than its index. git takes files of the same second as racy, and would read them all at each look."""
_ENTRY = 100
"""About how many bytes of an index tell of a file."""
_FOLDERS = (0o040000, 0o160000)
"""Modes of what is no file: folders that stand for all in them, and submodules."""


def fill(git: Git, left_out: Set[bytes], contents: str, found: Found | None, crew: Crew | None) -> None:
    """Fill an empty tree, and the index of it, with the contents of a snapshot, but for the files that are left out. `git` is at both."""
    _fill(own.whole(git), contents, found, crew, left_out)
    own.leave_out(git, left_out)


def _fill(git: Git, contents: str, found: Found | None, crew: Crew | None, left_out: Set[bytes]) -> None:
    dated, width = time.time_ns() - int(_AGE * 10**9), len(contents) // 2
    known = _known(git, found, crew, width) if found and crew and tree.KERNEL_COPIES else None
    if found and crew and known:
        _check_out(git, known, _copy(git, known, found, crew, dated, left_out), dated)
        return
    git.run("read-tree", contents)
    index = Index((git.git_dir / "index").read_bytes(), width)
    _check_out(git, index, [entry for entry in index.entries if entry.path not in left_out], dated)


def _known(git: Git, found: Found, crew: Crew, width: int) -> Index | None:
    """Return the index of all that was found. Who copies gets ready meanwhile."""
    crew.prepare(found.index.stat().st_size // _ENTRY)
    found.complete(git, 2 * width)
    try:
        return Index(found.index.read_bytes(), width)
    except Strange:
        return None


def _copy(git: Git, index: Index, found: Found, crew: Crew, dated: int, left_out: Set[bytes]) -> list[Entry]:
    """Copy the files that may be, and note how the copies are found. Returns the others."""
    left = converted(git.at(index=found.index), index, left_out) | left_out
    wanted = [entry for entry in index.entries if entry.path not in left and entry.mode not in _FOLDERS]
    ends = os.fsencode(found.root), os.fsencode(git.work_tree or "")
    copies = crew.copy(
        copying.Job(*ends, found.device, found.since, dated, [(entry.path, found.seen.get(entry.path, entry.found)) for entry in wanted])
    )
    made = {entry.at: copy for entry, copy in zip(wanted, copies, strict=True)}
    for entry in index.entries:
        index.note(entry, made.get(entry.at, b""))
    (git.git_dir / "index").write_bytes(index.written())
    return [entry for entry in index.entries if not made.get(entry.at) and entry.path not in left_out]


def _check_out(git: Git, index: Index, entries: Sequence[Entry], dated: int) -> None:
    """Let git make files of the index that it has, and note how they are found then."""
    if not entries:
        return
    git.run("checkout-index", "-f", "-q", "-z", "--stdin", stdin=b"".join(entry.path + b"\0" for entry in entries))
    with tree.Folders(git.work_tree or Path()) as folders:
        for entry in entries:
            if entry.mode not in _FOLDERS:
                folder, _, name = os.fsdecode(entry.path).rpartition("/")
                os.utime(name, ns=(dated, dated), dir_fd=folders.at(folder), follow_symlinks=False)
                seen = os.stat(name, dir_fd=folders.at(folder), follow_symlinks=False)
                index.note(entry, copying.packed(seen, entry.mode))
    (git.git_dir / "index").write_bytes(index.written())
