"""Setting a worktree aside whole, and bringing it back: two renames each, and a ref that keeps what git would forget meanwhile."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from workspaces.errors import BackendFailed, Exists, NotAllowed, NotFound
from workspaces.model import Snapshot, Workspace

from . import registration, tree
from .git import Git
from .repository import Repository
from .snapshot import IDENTITY, copied, write_commit

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


def put_away(workspace: Workspace, home: Path, beside: Path) -> None:
    """Move the folder of a workspace to one of its places in the trash. One that is not there was moved before."""
    location = Path(workspace.location)
    _refuse_links(location)
    if os.path.lexists(location):
        _away(location, home / "tree", beside / "tree")


def revive(repository: Repository, workspace: Workspace) -> None:
    """Move it back, as it was. Twice changes nothing."""
    admin = repository.admin_dir(workspace)
    home, beside = places(repository.home, workspace)
    if (kept := in_trash(workspace, home, beside)) is not None:
        if (home / "admin").exists():
            registration.appear(home / "admin", admin)
        bring_back(workspace, kept)
    forget_places(home, beside)


def in_trash(workspace: Workspace, home: Path, beside: Path) -> Path | None:
    """Return where the folder of a workspace is in the trash; None when it is back already. Raises `Exists` when something is in its place."""
    location = Path(workspace.location)
    _refuse_links(location)
    kept = next((place for place in (home / "tree", beside / "tree") if place.exists()), None)
    if kept is None and not location.exists():
        raise NotFound(
            f"Nothing is left of {workspace.id} in the trash: its folder was removed by other means.",
            "What was last snapshotted of it is still in the project's history.",
        )
    if kept is not None and os.path.lexists(location):
        raise Exists(f"{location} is in the way, so {workspace.id} stays in the trash.", "Move it away and call again.")
    return kept


def bring_back(workspace: Workspace, kept: Path) -> None:
    """Move a folder from its place in the trash to its own."""
    location = Path(workspace.location)
    location.parent.mkdir(exist_ok=True)
    kept.rename(location)
    tree.sync(location.parent)


def forget_places(home: Path, beside: Path) -> None:
    """Remove a workspace's places in the trash when nothing is in them."""
    for place in (home, beside):
        with suppress(OSError):
            place.rmdir()


def purge(repository: Repository, workspace: Workspace) -> None:
    """Remove the worktree for good, wherever it is: half made, in its place, or in the trash."""
    for place in (*registration.staging(repository, workspace), *places(repository.home, workspace)):
        tree.remove(place)
    admin = repository.admin_dir(workspace)
    if admin.exists():
        tree.remove(Path(workspace.location))
        tree.remove(admin)
    git = repository.git()
    refs = git.run("for-each-ref", "--format=delete %(refname)", prefix(workspace))
    if refs:
        git.run("update-ref", "--stdin", stdin=refs)


def prefix(workspace: Workspace) -> str:
    """Return where the refs of a workspace lie."""
    return f"refs/workspaces/{workspace.project}/{workspace.uid}/"


def _refuse_links(location: Path) -> None:
    if location.parent.is_symlink():
        raise NotAllowed(
            f"{location.parent} became a link, so it could lead anywhere. Nothing was moved.", "Put the folder back in its place."
        )


def places(home: Path, workspace: Workspace) -> tuple[Path, Path]:
    """Return the workspace's place in the trash, and the one to use where that is on another file system."""
    return home / "trash" / workspace.uid, Path(workspace.location).parent / ".trash" / workspace.uid


def _away(location: Path, first: Path, second: Path) -> None:
    for place in (first, second):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            location.rename(place)
        except OSError as error:
            if error.errno != errno.EXDEV or place == second:
                raise
            place.parent.rmdir()
            continue
        tree.sync(place.parent)
        tree.sync(location.parent)
        return


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
        if file.name != "index" and file.is_file() and not file.is_symlink():
            yield file.read_text(errors="replace")


def _staged(door: Git, scratch: Path, git: Git | None) -> str:
    """Return a tree of what the worktree's index names; of one that is unmerged, of all blobs of all sides."""
    if git is None:
        return door.line("mktree", "-z", stdin=b"")
    with copied(git, scratch) as view:
        reply = view.ask("write-tree")
        if reply.status == 0:
            return reply.out.decode().strip()
        try:
            abouts = [row.split(b"\t", 1)[0].split(b" ") for row in view.fields("ls-files", "-z", "--stage")]
        except BackendFailed:  # a damaged index names nothing; it goes into the trash as it is
            abouts = []
    blobs = dict.fromkeys(blob for mode, blob, _ in abouts if mode != b"160000")
    return door.line("mktree", "-z", "--missing", stdin=b"".join(b"100644 blob %s\t%s\0" % (blob, blob) for blob in blobs))
