"""Bringing a checkout from one snapshot to another: files, then index, then head; and ending that when a crash came between.

Two ways lead there. From a *committed* snapshot (its contents are its head's), git moves the checkout's own index and only the paths that
differ; uncommitted work elsewhere stays as it is. From a snapshot that holds uncommitted work too, the files move under a copy of the index
that knows them all, and the own index then follows the head wherever nothing else was staged.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workspaces.errors import TargetMoved
from workspaces.model import Snapshot

from .git import Git, Reply, refusal
from .mergetree import Entry, entries
from .snapshot import copied, everything, head_of

_NONE = "0" * 6


@dataclass(frozen=True)
class Step:
    """One path that differs between two trees; a side without it is None."""

    path: bytes
    old: Entry | None
    new: Entry | None


def steps(git: Git, old: str, new: str) -> list[Step]:
    """Return what differs between two trees, path by path, renames not told apart."""
    words = iter(git.fields("diff-tree", "-r", "-z", "--raw", "--no-renames", "--full-index", old, new))
    found: list[Step] = []
    for about in words:
        old_mode, new_mode, old_blob, new_blob, _ = about[1:].decode().split()
        sides = (None if mode == _NONE else Entry(mode, blob) for mode, blob in ((old_mode, old_blob), (new_mode, new_blob)))
        found.append(Step(next(words), *sides))
    return found


def is_committed(git: Git, snapshot: Snapshot) -> bool:
    return git.line("rev-parse", f"{snapshot.head}^{{tree}}") == snapshot.contents


# -- what is in the way -------------------------------------------------------------------------------------------------------------------


def obstacles(git: Git, old: Snapshot, new: Snapshot) -> list[bytes]:
    """Return paths that would move and hold work which neither snapshot has. `git` is at the checkout."""
    moved = steps(git, old.contents, new.contents)
    found: set[bytes] = set()
    if is_committed(git, old):
        dirty = _dirty(git)
        found |= {step.path for step in moved if step.path in dirty}
    leaving = {step.path for step in moved if step.new is None}
    root = os.fsencode(git.work_tree or "")
    for step in moved:
        if step.old is None:
            found |= set(_in_the_way(root, step.path, leaving))
    return sorted(found)


def _dirty(git: Git) -> set[bytes]:
    """Return the tracked paths that are modified, staged or unmerged."""
    found: set[bytes] = set()
    words = iter(git.fields("status", "--porcelain=v2", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=dirty"))
    for word in words:
        kind, fields = word[:1], {b"1": 8, b"u": 10}
        if kind in fields:
            found.add(word.split(b" ", fields[kind])[-1])
    return found


def _in_the_way(root: bytes, path: bytes, leaving: set[bytes]) -> Iterator[bytes]:
    """Yield what exists where `path` is to be added: itself, a file on the way to it, or files in a folder of its name."""
    parts = path.split(b"/")
    for depth in range(1, len(parts) + 1):
        part = b"/".join(parts[:depth])
        try:
            found = os.lstat(os.path.join(root, part))
        except (FileNotFoundError, NotADirectoryError):
            return
        if part in leaving:
            return
        if not stat.S_ISDIR(found.st_mode):
            yield part
            return
    yield from (name for name in _files(root, path) if name not in leaving)


def _files(root: bytes, folder: bytes) -> Iterator[bytes]:
    for at, folders, names in os.walk(os.path.join(root, folder)):
        links = [name for name in folders if os.path.islink(os.path.join(at, name))]
        yield from (os.path.relpath(os.path.join(at, name), root) for name in [*names, *links])


# -- the move -----------------------------------------------------------------------------------------------------------------------------


def move(git: Git, old: Snapshot, new: Snapshot, reason: str, scratch: Path) -> None:
    """Move the checkout that `git` is at. See `Backend.checkout`."""
    head = head_of(git)[0]
    if head != old.head:
        raise TargetMoved(
            f"{git.work_tree} is at commit {head[:12]} now, not at {old.head[:12]}. Nothing was changed.",
            "Look at it again with compare, then repeat the call.",
        )
    if not is_committed(git, old):
        _move_files(git, old, new, scratch)
        _follow(git, old.head, new.head)
    elif new.head != old.head:
        _switch(git, git, old.contents, new.contents)
    else:
        with copied(git, scratch) as view:
            _switch(git, view, old.contents, new.contents)
    _move_head(git, old, new, reason, scratch)


def _switch(git: Git, view: Git, old: str, new: str) -> None:
    reply: Reply = view.ask("read-tree", "-m", "-u", old, new)
    if reply.status == 0:
        return
    if "not uptodate" in reply.err or "would be overwritten" in reply.err or "would lose" in reply.err:
        raise TargetMoved(f"{git.work_tree} was changed while the call was at work. Nothing was changed.", "Call again.")
    raise refusal(["read-tree"], reply)


def _move_files(git: Git, old: Snapshot, new: Snapshot, scratch: Path) -> None:
    with everything(git, scratch) as (view, _):
        if view.line("write-tree") != old.contents:
            raise TargetMoved(f"{git.work_tree} was changed while the call was at work. Nothing was changed.", "Call again.")
        _switch(git, view, old.contents, new.contents)


def _follow(git: Git, old_head: str, new_head: str) -> None:
    """Let the own index follow the head where nothing else is staged; with an equal head it stays as it is."""
    if old_head == new_head:
        return
    moved = steps(git, old_head, new_head)
    staged = set(git.fields("diff-index", "--cached", "-z", "--name-only", "--no-renames", old_head))
    _write_index(git, (step for step in moved if step.path not in staged))
    git.ask("update-index", "-q", "--refresh")


def _write_index(git: Git, moved: Iterable[Step]) -> None:
    null = git.line("rev-parse", "HEAD")
    lines = [_index_line(step, "0" * len(null)) for step in moved]
    git.run("update-index", "--replace", "-z", "--index-info", stdin=b"".join(sorted(lines)))


def _index_line(step: Step, null: str) -> bytes:
    about = f"0 {null}\t" if step.new is None else f"{step.new.mode} {step.new.blob}\t"
    return about.encode() + step.path + b"\0"


def _move_head(git: Git, old: Snapshot, new: Snapshot, reason: str, scratch: Path) -> None:
    if new.head == old.head:
        return
    reply = git.ask("update-ref", "-m", reason, "HEAD", new.head, old.head)
    if reply.status != 0:
        settle(git, old, new, reason, scratch, forward=False)
        raise TargetMoved(f"The branch of {git.work_tree} moved while the call was at work. Nothing was changed.", "Call again.")


# -- after a crash ------------------------------------------------------------------------------------------------------------------------


def settle(git: Git, old: Snapshot, new: Snapshot, reason: str, scratch: Path, forward: bool = True) -> bool:
    """End an interrupted move: forward when all files have arrived, else back. A file that is like neither snapshot is left alone."""
    if new.head != old.head and head_of(git)[0] == new.head:
        return True
    moved = steps(git, old.contents, new.contents)
    with everything(git, scratch) as (view, _):
        now = entries(view, view.line("write-tree"), [step.path for step in moved])
    arrived = [step for step in moved if now.get(step.path) == step.new]
    if forward and len(arrived) == len(moved):
        if new.head != old.head:
            _write_index(git, moved) if is_committed(git, old) else _follow(git, old.head, new.head)
            git.ask("update-index", "-q", "--refresh")
            git.run("update-ref", "-m", reason, "HEAD", new.head, old.head)
        return True
    _put_back(git, old, arrived, scratch)
    if new.head != old.head and is_committed(git, old):
        _write_index(git, (Step(step.path, step.new, step.old) for step in arrived))
        git.ask("update-index", "-q", "--refresh")
    return False


def _put_back(git: Git, old: Snapshot, arrived: list[Step], scratch: Path) -> None:
    root = git.work_tree or Path()
    for step in arrived:
        if step.old is None:
            with suppress(FileNotFoundError):
                (root / os.fsdecode(step.path)).unlink()
    with copied(git, scratch) as view:
        view.run("read-tree", old.contents)
        there = [step.path + b"\0" for step in arrived if step.old is not None]
        view.run("checkout-index", "-f", "-z", "--stdin", stdin=b"".join(there))
