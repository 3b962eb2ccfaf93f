"""What is in the way of a move: work that is in neither of the two snapshots between which a checkout is to be moved."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from workspaces.model import Snapshot

from .. import tree
from ..copying import packed
from ..diff import Step, refuse_hollow
from ..git import Git
from .commits import is_committed
from .gitlinks import SUBMODULE, is_repository
from .index import has, mode_of, names_none
from .snapshot import copied, unhide
from .submodules import in_the_way as in_the_way_of

_HOW = ("--porcelain=v2", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=dirty")
_ARGUMENTS = 16_384
"""Bytes of paths that git is told as arguments; it looks at all of them faster than at more."""
_SEARCHED = 64 << 20
"""Bytes of an index that are searched, for all paths together: git is as fast with more."""


def obstacles(git: Git, moved: Sequence[Step], old: Snapshot, scratch: Path) -> list[bytes]:
    """Return paths that would move, from `old`, and hold work which is in neither snapshot. `git` is at the checkout."""
    refuse_hollow(git, moved)
    found = set(in_the_way(git, moved))
    if is_committed(git, old):
        found |= set() if _are_as_noted(git, moved) else _dirty(git, moved, scratch)
    return sorted(found)


def in_the_way(git: Git, moved: Sequence[Step]) -> Iterator[bytes]:
    """Yield what exists where something is to be added, whatever git thinks that it is worth: it writes over what is ignored, and over a submodule.
    Where one comes to be, goes or is another commit, git leaves the repository in its folder as that is."""
    leaving = {step.path: step.old.mode == SUBMODULE for step in moved if step.old and step.new is None}
    root = os.fsencode(git.work_tree or "")
    for step in moved:
        if step.old is None:
            if not (step.new and step.new.mode == SUBMODULE and is_repository(git, step.path)):
                yield from _in_the_way(root, step.path, leaving)
        elif step.old.mode == SUBMODULE and step.new and step.new.mode != SUBMODULE:
            yield from in_the_way_of(git, step.path, step.old.blob, git.scratch or git.git_dir)


def _dirty(git: Git, moved: Sequence[Step], scratch: Path) -> set[bytes]:
    """Return the paths that would move and are modified, staged or unmerged: git looks only at these, where they are few. That a submodule is at
    another commit than the index says is nothing that a move changes."""
    wanted = {step.path for step in moved}
    modules = {step.path for step in moved if step.old and step.old.mode == SUBMODULE}
    with copied(git, scratch) as view:
        unhide(view)
        only = sorted(wanted) if sum(map(len, wanted)) < _ARGUMENTS else ()
        words = iter(view.fields("status", *_HOW, "--", *only))
        found: set[bytes] = set()
        for word in words:
            kind, fields = word[:1], {b"1": 8, b"u": 10}
            if kind in fields:
                path = word.split(b" ", fields[kind])[-1]
                found |= {path} if path not in modules or word[2:4] != b".M" else set()
    return found & wanted


def _are_as_noted(git: Git, moved: Sequence[Step]) -> bool:
    """Return whether the index has `moved` as it was, and each file is as it was found then: git would say nothing of them. False where only
    git can tell.
    """
    index = git.git_dir / "index"
    try:
        written = index.lstat()
        if written.st_size * len(moved) > _SEARCHED:
            return False
        raw = tree.start_of(index, _SEARCHED)
        with tree.Folders(git.work_tree or "/") as folders:
            return all(_is_as_noted(raw, step, folders, written.st_mtime_ns // 10**9) for step in moved)
    except OSError:  # a file is not there, or something else is in its place
        return False


def _is_as_noted(raw: bytes, step: Step, folders: tree.Folders, written: int) -> bool:
    if step.old is None:
        return names_none(raw, step.path)
    folder, _, name = os.fsdecode(step.path).rpartition("/")
    found = os.stat(name, dir_fd=folders.at(folder), follow_symlinks=False)
    if found.st_mtime_ns // 10**9 >= written or mode_of(found) != step.old.mode:
        return False  # it may have been changed in the second in which it was noted, or is something else
    return has(raw, step.path, step.old.blob, packed(found, int(step.old.mode, 8)))


def _in_the_way(root: bytes, path: bytes, leaving: Mapping[bytes, bool]) -> Iterator[bytes]:
    """Yield what exists where `path` is to be added: itself, a file on the way to it, or files in a folder of its name. What is `leaving` makes room,
    but for a submodule, which is true: git leaves what is in its folder."""
    parts = path.split(b"/")
    for depth in range(1, len(parts) + 1):
        part = b"/".join(parts[:depth])
        try:
            found = os.lstat(os.path.join(root, part))
        except (FileNotFoundError, NotADirectoryError):
            return
        if part in leaving and not (leaving[part] and stat.S_ISDIR(found.st_mode)):
            return
        if not stat.S_ISDIR(found.st_mode):
            yield part
            return
    yield from (name for name in _files(root, path) if name not in leaving)


def _files(root: bytes, folder: bytes) -> Iterator[bytes]:
    for at, folders, names in os.walk(os.path.join(root, folder), onerror=tree.refused):
        links = [name for name in folders if os.path.islink(os.path.join(at, name))]
        yield from (os.path.relpath(os.path.join(at, name), root) for name in [*names, *links])
