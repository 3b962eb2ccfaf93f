"""What git would forget of a worktree while it is in the trash, since nothing but the worktree's git directory names it; and what keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from workspaces.errors import BackendFailed, Limit
from workspaces.model import Snapshot, Workspace

from .. import tree
from ..cachetree import tree_of
from ..diff import steps
from ..git import Git
from .commits import head_of, held_by, identity, linked, write_commit
from .repository import Repository, text_of
from .snapshot import copied
from .trash import prefix

_NOTES = 1 << 24
"""Bytes that are read of one file of a git directory: its log of moves can be long."""
_ID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40})\b")
_NULLS = {"0" * 40, "0" * 64}
_COMMITTED = re.compile(r"^(\w+) \w+ [^\n]*\tcommit(?: \(merge\))?: ", re.MULTILINE)
"""How the log of a head tells of a commit that was made on top of another (git-reflog(1)): who keeps it keeps that too."""
_FEW = 3
"""Objects that are kept each by a ref of its own."""


def few(repository: Repository, workspace: Workspace) -> list[str] | None:
    """Return the objects that only the worktree's git directory names and no ref of ours keeps, if a look at its files tells that they are few:
    mostly none. None where git has to be asked."""
    admin = repository.admin_dir(workspace)
    if not admin.exists():
        return []
    index = admin / "index"
    staged = tree_of(index)
    if not staged and index.exists():
        return None
    named, below = {staged} if staged else set[str](), set[str]()
    for text in _notes(admin):
        named.update(map(str, _ID.findall(text)))
        below.update(map(str, _COMMITTED.findall(text)))
    left = sorted(named - below - _NULLS - _kept(repository, workspace))
    return left if len(left) <= _FEW else None


def _kept(repository: Repository, workspace: Workspace) -> set[str]:
    """Return what the refs of a workspace keep, as far as that is known here."""
    refs = (repository.common_dir / prefix(workspace)).glob("**/*")
    names = {name for name in map(text_of, refs) if _ID.fullmatch(name)}
    return names.union(*map(held_by, names))


def keepsake(door: Git, repository: Repository, workspace: Workspace, git: Git | None, snapshot: Snapshot | None) -> str:
    """Return a commit that holds all that only the worktree's git directory names: its heads, their history of moves, what is staged, and
    the snapshot. `git` is at the worktree, if it is still whole."""
    names = sorted({name for text in _notes(repository.admin_dir(workspace)) for name in _ID.findall(text)} - _NULLS)
    asked = "".join(f"{name}\n" for name in names).encode()
    said = [line.split() for line in door.run("cat-file", "--batch-check", stdin=asked).splitlines()] if names else []
    known = [words[0].decode() for words in said if words[1] == b"commit"]
    parents = [*known, *([snapshot.id] if snapshot else [])]
    return write_commit(door, _staged(door, repository.scratch, git), parents, f"kept for {workspace.id} while it is deleted", identity())


def remnant(git: Git, since: Snapshot, scratch: Path) -> Snapshot | None:
    """Return a snapshot of what the git directory of a worktree names, without any files: its head, and what is staged. None where a snapshot has all
    of that, or it names nothing that is there."""
    try:
        head = head_of(git)
        with copied(git, scratch) as view:
            reply = view.ask("write-tree")
        staged = reply.out.decode().strip() if reply.status == 0 else head.tree
        has_all = head.id == since.head and {*steps(git, head.tree, staged)} <= {*steps(git, head.tree, since.contents)}
    except (BackendFailed, Limit):
        return None
    made = Snapshot(id="", contents=staged, head=head.id, staged="" if staged == head.tree else staged)
    return None if has_all else linked(git, made, head.tree, [since.id], head.date)


def _notes(admin: Path) -> Iterator[str]:
    for file in (*admin.glob("*"), *admin.glob("logs/**/*"), *admin.glob("refs/**/*")):
        if file.name != "index":
            with suppress(OSError):
                yield tree.start_of(file, _NOTES).decode(errors="replace")


def _staged(door: Git, scratch: Path, git: Git | None) -> str:
    """Return a tree of what the worktree's index names; of one that is unmerged, of all blobs of all sides."""
    if git is None:
        return door.line("mktree", "-z", stdin=b"")
    abouts: list[list[bytes]] = []
    with suppress(BackendFailed, Limit), copied(git, scratch) as view:  # one that is damaged, or a bomb, goes into the trash as it is
        reply = view.ask("write-tree")
        if reply.status == 0:
            return reply.out.decode().strip()
        abouts = [row.split(b"\t", 1)[0].split(b" ") for row in view.fields("ls-files", "-z", "--stage")]
    blobs = dict.fromkeys(blob for mode, blob, _ in abouts if mode != b"160000")
    return door.line("mktree", "-z", "--missing", stdin=b"".join(b"100644 blob %s\t%s\0" % (blob, blob) for blob in blobs))
