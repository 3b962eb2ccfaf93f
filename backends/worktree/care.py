"""Looking after worktrees: whether each is whole, what lies about that nobody knows, and putting both right without losing anything."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from workspaces.errors import BackendFailed, Limit, WorkspaceGone, readable
from workspaces.model import Finding, Snapshot, Workspace
from workspaces.model import path_text as shown

from .. import extents, subvolume, trash
from ..git import Git
from ..gitlocks import Ground, described, living
from ..place import WORKSPACES, located
from . import registration, spares
from .repository import Repository, text_of

_GIT_NEEDED = (2, 39)
_DEAD = 3600.0
"""Seconds after which a lock that some git left in a worktree is taken for a dead one's."""
_PATIENCE = 300.0
"""Seconds that looking at all objects may take."""
_STAGED = re.compile(r"\.new-([0-9a-f]{8})")
"""The name of a tree that is prepared (`registration.staging`), with the uid of its clone."""
_NO_WORKSPACE = {".gitignore", ".trash"}


def look(repository: Repository, git: Git, workspaces: Sequence[Workspace], known: Sequence[Workspace], quick: bool) -> Iterator[Finding]:
    """See `Backend.inspect`."""
    yield _version(git)
    for workspace in workspaces:
        yield _one(repository, workspace)
    yield _bounded("snapshots", lambda: _snapshots(git, workspaces))
    yield _strays(repository, known)
    yield trash.look(repository.home, repository.root / WORKSPACES, known)
    yield _bounded("worktree list", lambda: _listed(git))
    yield _locks(repository)
    if not quick:
        yield _spares(repository)
        yield _bounded("fsck", lambda: _objects(replace(git, patience=_PATIENCE)))


def _bounded(check: str, look: Callable[[], Finding]) -> Finding:
    """Return a finding. What a workspace holds may be too much to be looked at: that is no damage, and is said."""
    try:
        return look()
    except Limit as error:
        return Finding(check=check, ok=True, message=f"not looked at. {error.message}")


def _version(git: Git) -> Finding:
    version = git.line("version").split()[2]
    fits = tuple(int(part) for part in version.split(".")[:2]) >= _GIT_NEEDED
    return Finding(check="git", ok=fits, message=f"git {version}", repair="" if fits else "Install git 2.39 or later.")


def _one(repository: Repository, workspace: Workspace) -> Finding:
    admin = repository.admin_dir(workspace)
    try:
        location = located(workspace)
    except WorkspaceGone as missing:
        return Finding(check=workspace.id, ok=False, message=missing.message, repair=missing.hint)
    if not (admin / "HEAD").exists():
        repair = "workspaces doctor --repair registers it with git again."
        return Finding(check=workspace.id, ok=False, message=f"git no longer knows it: {admin} is gone.", repair=repair)
    if not workspace.is_main and (wrong := _misdirected(location, admin)):
        repair = "workspaces doctor --repair puts that right, and touches no other file."
        return Finding(check=workspace.id, ok=False, message=f"{wrong}, so git run in there does not work on it.", repair=repair)
    return Finding(check=workspace.id, ok=True, message=workspace.location)


def _misdirected(location: Path, admin: Path) -> str:
    """Return which of the files by which a worktree and its git directory name each other is wrong, or nothing."""
    if not registration.points(location, admin):
        return f"{location / '.git'} does not point to its git directory"
    wrong = [name for name, text in registration.notes(location).items() if name != "HEAD" and text_of(admin / name) != text]
    return f"{admin / wrong[0]} is not as it was made" if wrong else ""


def _snapshots(git: Git, workspaces: Sequence[Workspace]) -> Finding:
    named = [name for workspace in workspaces for name in (workspace.origin, workspace.base) if name]
    said = git.run("cat-file", "--batch-check", stdin="".join(f"{name}\n" for name in named).encode()) if named else b""
    lost = [line.split()[0].decode() for line in said.splitlines() if line.endswith(b" missing")]
    return Finding(
        check="snapshots",
        ok=not lost,
        message=f"snapshots are missing: {', '.join(lost)}" if lost else "all snapshots that workspaces descend from are there",
        repair="They were collected by other means; copy the work out of these workspaces and delete them." if lost else "",
    )


def _listed(git: Git) -> Finding:
    reply = git.ask("worktree", "list", "--porcelain", "-z")
    return Finding(
        check="worktree list",
        ok=reply.status == 0,
        message="git lists the worktrees" if reply.status == 0 else f"git cannot list the worktrees: {readable(reply.err.strip()[:300])}",
        repair="" if reply.status == 0 else f"Look at what lies in {git.common_dir / 'worktrees'}.",
    )


def _objects(git: Git) -> Finding:
    reply = git.ask("fsck", "--connectivity-only", "--no-dangling", "--no-progress")
    said = readable(" ".join((reply.out.decode(errors="replace") + reply.err).split())[:300])
    whole = reply.status == 0
    return Finding(
        check="fsck",
        ok=whole,
        message="all that refs, heads and indexes name is there" if whole else f"git fsck: {said}",
        repair="" if whole else "Objects of the repository are gone or damaged; fetch or copy them from another clone of it.",
    )


def _locks(repository: Repository) -> Finding:
    there = [lock for name in ("index.lock", "HEAD.lock") if (lock := repository.git_dir / name).exists()]
    there += [lock for name in ("packed-refs.lock", "config.lock") if (lock := repository.common_dir / name).exists()]
    return Finding(
        check="locks of git",
        ok=not there,
        message=", and ".join(described(lock, repository.ground) for lock in there) if there else "no lock of git's in the checkout",
        repair=f"If no git runs in {repository.root}, remove it." if there else "",
    )


def _spares(repository: Repository) -> Finding:
    ready = [*spares.ready(repository.spares)]
    size = extents.footprint(repository.spares, repository.scratch).own if ready else 0
    lie = "1 clone lies" if len(ready) == 1 else f"{len(ready)} clones lie"
    if any(spare.is_template for spare in ready):
        lie = "a template for any number of clones lies"
    said = f"{lie} prepared, and take{'s' if len(ready) == 1 else ''} {size / 1e6:,.1f} MB" if ready else "no clone lies prepared"
    return Finding(check="spares", ok=True, message=said)


# -- what lies about ----------------------------------------------------------------------------------------------------------------------


def _strays(repository: Repository, known: Sequence[Workspace]) -> Finding:
    left = [*_half_made(repository, known), *_registrations(repository, known)]
    folders = _unknown_folders(repository, known)
    names = ", ".join([*map(_shown, left), *(f"{_shown(path)}{_leads(repository, path)}" for path in folders)][:5])
    repair = "workspaces doctor --repair clears it away." if left else "Move what you need out of it, then remove it."
    return Finding(
        check="strays",
        ok=not (left or folders),
        message=f"no workspace that is remembered, and no call, explains {names}" if names else "nothing lies about that nobody knows",
        repair=repair if names else "",
    )


def _shown(path: Path) -> str:
    return shown(os.fsencode(path))


def _leads(repository: Repository, folder: Path) -> str:
    """Say where the `.git` of a folder leads, if that is another repository, as in a copy of a project."""
    admin = text_of(folder / ".git").removeprefix("gitdir: ")
    elsewhere = admin and repository.common_dir not in Path(admin).parents
    return f" (git run in there acts on another repository: its .git leads to {readable(admin)})" if elsewhere else ""


def _half_made(repository: Repository, known: Sequence[Workspace]) -> list[Path]:
    """Return what calls that nobody knows of left of clones that they had not finished: their trees first."""
    folder = repository.root / WORKSPACES
    trees = [(place, uid) for place in folder.glob(".new-*") if (uid := _uid_of(place)) and not folder.is_symlink()]
    admins = [(place, place.name) for place in (repository.home / "new").glob("*") if _is_ours(repository, place)]
    uids = {workspace.uid for workspace in known}
    return [place for place, uid in [*trees, *admins] if uid not in uids]


def _uid_of(staged: Path) -> str:
    """Return which clone a tree is prepared for; nothing of anything else that has a name like that."""
    found = _STAGED.fullmatch(staged.name)
    return found[1] if found else ""


def _registrations(repository: Repository, known: Sequence[Workspace]) -> list[Path]:
    """Return the git directories of workspaces that are not remembered, and whose folders are gone."""
    made = [admin for admin in (repository.common_dir / "worktrees").glob("*") if _is_ours(repository, admin)]
    left = [admin for admin in made if text_of(admin / "locked") == registration.REASON and not Path(text_of(admin / "gitdir")).exists()]
    names = {f"{workspace.name}-{workspace.uid}" for workspace in known}
    return [admin for admin in left if admin.name not in names]


def _is_ours(repository: Repository, admin: Path) -> bool:
    """Return whether a git directory was made for this checkout: others may share the repository, and have workspaces of their own."""
    return text_of(admin / "gitdir").startswith(f"{repository.root / WORKSPACES}/")


def _unknown_folders(repository: Repository, known: Sequence[Workspace]) -> list[Path]:
    folder = repository.root / WORKSPACES
    locations = (Path(workspace.location) for workspace in known)
    names = {location.name for location in locations if location.parent == folder} | _NO_WORKSPACE
    there = folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ()
    return [entry for entry in there if entry.name not in names and not _uid_of(entry)]


def sweep(repository: Repository, known: Sequence[Workspace]) -> Iterator[str]:
    """Clear away what was half made, and set aside registrations of folders that are gone, and what may be somebody's. See `Backend.sweep`."""
    for place in _half_made(repository, known):
        if (uid := _uid_of(place)) and not _is_prepared(repository, place, uid):
            with suppress(FileNotFoundError):
                aside = trash.put_stray(place, repository.home, repository.root / WORKSPACES)
                yield f"moved {place}, which no workspace has, to {aside}"
        else:
            subvolume.remove(place)
            yield f"removed {place}, which was half made"
    for admin in _registrations(repository, known):
        aside = repository.home / "trash" / trash.STRAYS / admin.name
        aside.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            admin.rename(aside)
            yield f"moved {admin}, which no workspace has, to {aside}"


def _is_prepared(repository: Repository, staged: Path, uid: str) -> bool:
    """Return whether a tree was prepared for a clone: its git directory is there, prepared too, or it points to one."""
    if staged.is_symlink() or not staged.is_dir():
        return False
    pointer = staged / ".git"
    admin = "" if pointer.is_symlink() else text_of(pointer).removeprefix("gitdir: ")
    is_pointing = Path(admin).parent == repository.common_dir / "worktrees" and admin.endswith(f"-{uid}")
    return is_pointing or (repository.home / "new" / uid).is_dir()


# -- mending ------------------------------------------------------------------------------------------------------------------------------


def mend(repository: Repository, git: Git, workspace: Workspace, origin: Snapshot) -> Iterator[str]:
    """Register a workspace with git again, at the commit where it was cloned, and let it and its git directory name each other."""
    location, admin = located(workspace), repository.admin_dir(workspace)
    if not (admin / "HEAD").exists():
        registration.register_again(repository, workspace, origin, git)
        yield f"registered {workspace.id} with git again; commits made in it before are found by git fsck --lost-found"
    for name, text in registration.notes(location).items():
        if name != "HEAD" and text_of(admin / name) != text:
            (admin / name).write_text(text + "\n")
            yield f"mended {admin / name}"
    for lock in admin.glob("*.lock"):
        with suppress(FileNotFoundError):
            if time.time() - lock.stat().st_mtime > _DEAD and not living(lock, Ground(admin, repository.common_dir, location)):
                lock.unlink()
                yield f"removed {lock}, which is old"
    pointer = location / ".git"
    if not registration.points(location, admin):
        if pointer.is_dir() and not pointer.is_symlink():
            raise BackendFailed(f"{pointer} is a folder: a repository of its own lies in {workspace.id}.", "Move it away by hand.")
        registration.point(location, admin)
        yield f"let {pointer} point to its git directory again"
