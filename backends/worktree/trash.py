"""Setting a worktree aside whole, and bringing it back: two renames each."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from workspaces.errors import Busy, Exists
from workspaces.model import Workspace

from .. import subvolume, tree
from ..trash import bring_back, forget_places, in_trash, places, put_away
from . import registration
from .checkout import drop_stale_lock, is_fresh
from .commits import head_of
from .repository import Repository, in_use, text_of

_LOG = 1 << 24
"""Bytes that are read of the log of a head."""
_MOVED = re.compile(rb"^[0-9a-f]+ ([0-9a-f]{40,64}) [^\n]*\n?\Z", re.MULTILINE)
"""How it ends: with where the head came from, and where it went."""
_TURNS, _TURN = 60, 0.05
"""How often it is looked whether another git is done with the refs, and seconds between two looks."""


def retire(repository: Repository, workspace: Workspace) -> None:
    """Move the worktree into the trash. Twice changes nothing; a half-done move is finished."""
    admin = repository.admin_dir(workspace)
    home, beside = places(repository.home, workspace)
    changed = put_away(workspace, home, beside)
    if registration.elsewhere(repository, workspace):  # it is git's from now on, which may prune it or remove it
        (admin / "locked").unlink(missing_ok=True)
    elif (home / "admin").exists():  # what was begun when its folder was made again, and not finished
        tree.remove(admin)
    elif admin.exists():
        home.mkdir(parents=True, exist_ok=True)
        admin.rename(home / "admin")
        changed += (admin.parent, home)
    tree.sync(*changed)


def revive(repository: Repository, workspace: Workspace) -> tuple[str, ...]:
    """Move it back, as it was, but for a branch that is checked out elsewhere by now: that is said. Twice changes nothing."""
    admin = repository.admin_dir(workspace)
    home, beside = places(repository.home, workspace)
    kept = in_trash(workspace, home, beside)
    said: tuple[str, ...] = ()
    if (home / "admin").exists():
        said = _detached(repository, workspace, home / "admin")
        if admin.exists():
            _hand_over(home / "admin", admin)
        else:
            registration.appear(home / "admin", admin)
    if kept is not None:
        try:
            bring_back(workspace, kept)
        except Exists:  # nothing of it is registered while it is in the trash: what is in its place is not its own
            with suppress(FileNotFoundError):
                admin.rename(home / "admin")
            raise
    forget_places(home, beside)
    return said


def _detached(repository: Repository, workspace: Workspace, admin: Path) -> tuple[str, ...]:
    """Let the head of a worktree in the trash be the commit that it was at, where it is on a branch that another checkout has by now: commits of one
    would show as changes in the other."""
    branch = text_of(admin / "HEAD").removeprefix("ref: ")
    where = in_use(repository, admin, branch) if branch.startswith("refs/heads/") else ""
    if not where:
        return ()
    log = tree.start_of(admin / "logs" / "HEAD", _LOG) if (admin / "logs" / "HEAD").is_file() else b""
    found = _MOVED.search(log)
    commit = found[1].decode() if found else head_of(repository.git(admin)).id
    draft = admin / "HEAD.new"
    draft.write_text(f"{commit}\n")
    tree.sync_file(draft)
    draft.rename(admin / "HEAD")
    name = branch.removeprefix("refs/heads/")
    return (f"{workspace.name} was on the branch {name}, which {where} has by now: its head is detached, at the commit where it was.",)


def _hand_over(old: Path, new: Path) -> None:
    """Give the git directory of a worktree that was made again what the one before has beside a head and an index: the log of its moves, and refs."""
    for name in ("logs", "refs"):
        if (old / name).is_dir():
            tree.remove(new / name)
            (old / name).rename(new / name)
    tree.remove(old)


def purge(repository: Repository, workspace: Workspace) -> None:
    """Remove the worktree for good, wherever it is: half made, in its place, or in the trash. One that is still where it was made never got to its
    place: what is there is somebody else's, and stays."""
    admin, (staged_tree, staged_admin) = repository.admin_dir(workspace), registration.staging(repository, workspace)
    trashed = places(repository.home, workspace)
    if registration.is_placed(repository, workspace) and not any(os.path.lexists(place / "tree") for place in trashed):
        tree.refuse_mounts(Path(workspace.location))
        Path(workspace.location).rename(staged_tree)
    if not registration.elsewhere(repository, workspace):
        tree.remove(admin)  # before what is staged: as long as that is there, nothing in its place is taken for it
    for place in (staged_tree, staged_admin):
        subvolume.remove(place)
    for place in trashed:
        subvolume.remove_with(place, "tree")
    git = repository.git()
    refs = git.run("for-each-ref", "--format=delete %(refname)", prefix(workspace))
    try:
        _await_lock(repository, workspace)
    except Busy:
        if refs:  # else it keeps nobody here from anything
            raise
    if refs:
        git.run("update-ref", "--stdin", stdin=refs)


def _await_lock(repository: Repository, workspace: Workspace) -> None:
    """Wait until refs can be taken away, which they are under this lock alone. A git that died at that very step leaves it; raises `Busy` for one that
    lives, and needs longer."""
    lock = repository.common_dir / "packed-refs.lock"
    for _ in range(_TURNS):
        if not is_fresh(lock):
            break
        time.sleep(_TURN)
    drop_stale_lock(lock, repository.ground, workspace.created)


def prefix(workspace: Workspace) -> str:
    """Return where the refs of a workspace lie."""
    return f"refs/workspaces/{workspace.project}/{workspace.uid}/"
