"""Setting a worktree aside whole, and bringing it back: two renames each, and a ref that keeps what git would forget meanwhile."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from workspaces.errors import BackendFailed, Busy, Limit
from workspaces.model import Snapshot, Workspace

from .. import tree
from ..git import Git
from ..trash import bring_back, forget_places, in_trash, places, put_away
from . import registration
from .checkout import drop_stale_lock
from .repository import Repository
from .snapshot import IDENTITY, copied, write_commit

_NOTES = 1 << 24
"""Bytes that are read of one file of a git directory: its log of moves can be long."""
_TURNS, _TURN = 60, 0.05
"""How often it is looked whether another git is done with the refs, and seconds between two looks."""
_ID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40})\b")


def retire(repository: Repository, workspace: Workspace) -> None:
    """Move the worktree into the trash. Twice changes nothing; a half-done move is finished."""
    admin = repository.admin_dir(workspace)
    home, beside = places(repository.home, workspace)
    put_away(workspace, home, beside)
    if admin.exists():
        home.mkdir(parents=True, exist_ok=True)
        admin.rename(home / "admin")
        tree.sync(admin.parent)
        tree.sync(home)


def revive(repository: Repository, workspace: Workspace) -> None:
    """Move it back, as it was. Twice changes nothing."""
    admin = repository.admin_dir(workspace)
    home, beside = places(repository.home, workspace)
    if (kept := in_trash(workspace, home, beside)) is not None:
        if (home / "admin").exists():
            registration.appear(home / "admin", admin)
        bring_back(workspace, kept)
    forget_places(home, beside)


def purge(repository: Repository, workspace: Workspace) -> None:
    """Remove the worktree for good, wherever it is: half made, in its place, or in the trash."""
    for place in (*registration.staging(repository, workspace), *places(repository.home, workspace)):
        tree.remove(place)
    admin = repository.admin_dir(workspace)
    if admin.exists():
        tree.remove(Path(workspace.location))
        tree.remove(admin)
    _await_lock(repository.common_dir / "packed-refs.lock", workspace.created)
    git = repository.git()
    refs = git.run("for-each-ref", "--format=delete %(refname)", prefix(workspace))
    if refs:
        git.run("update-ref", "--stdin", stdin=refs)


def _await_lock(lock: Path, since: datetime) -> None:
    """Wait until refs can be taken away, which they are under this lock alone. A git that died at that very step leaves it."""
    for _ in range(_TURNS):
        with suppress(Busy):
            return drop_stale_lock(lock, since)
        time.sleep(_TURN)
    return drop_stale_lock(lock, since)


def prefix(workspace: Workspace) -> str:
    """Return where the refs of a workspace lie."""
    return f"refs/workspaces/{workspace.project}/{workspace.uid}/"


def keepsake(door: Git, repository: Repository, workspace: Workspace, git: Git | None, snapshot: Snapshot | None) -> str:
    """Return a commit that holds all that only the worktree's git directory names: its heads, their history of moves, what is staged, and
    the snapshot. `git` is at the worktree, if it is still whole."""
    names = sorted({name for text in _notes(repository.admin_dir(workspace)) for name in _ID.findall(text)} - {"0" * 40, "0" * 64})
    asked = "".join(f"{name}\n" for name in names).encode()
    said = [line.split() for line in door.run("cat-file", "--batch-check", stdin=asked).splitlines()] if names else []
    known = [words[0].decode() for words in said if words[1] == b"commit"]
    parents = [*known, *([snapshot.id] if snapshot else [])]
    who = f"{IDENTITY} 0 +0000"
    return write_commit(door, _staged(door, repository.scratch, git), parents, f"kept for {workspace.id} while it is deleted", who, who)


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
