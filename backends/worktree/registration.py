"""Making a linked worktree without `git worktree add`, which is not safe beside another one, or beside a fetch.

The tree and its git directory are prepared aside and each appears by one rename, complete. The git directory comes first and is locked
(git-worktree(1), LOCK), so that no prune takes it for a dead one in between.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from workspaces.errors import Exists
from workspaces.model import Snapshot, Workspace, path_shown, path_text
from workspaces.starts import this_start
from workspaces.threads import look

from .. import subvolume, tree
from ..diff import Step, refuse_hollow, steps
from ..git import LONGEST, Git
from ..place import prepare_folder, put_in_place, refuse_taken
from . import own, pending, spares
from .commits import commit_of, head_of
from .gitlinks import SUBMODULE
from .repository import Repository, text_of
from .snapshot import put

INCLUDE = ".worktreeinclude"
REASON = "in use as a workspace; remove it with: workspaces delete"


@dataclass(frozen=True)
class Files:
    """Where the files of a clone come from: a spare that `fits` if there is one, else `fill` gives an empty tree and its index the snapshot's, but for the
    files that are left out. What `has_been_there`, in a checkout, can be checked out; else what cannot is looked for."""

    fits: str
    fill: Callable[[Git, Set[bytes]], None]
    has_been_there: bool


def fork(repository: Repository, snapshot: Snapshot, clone: Workspace, source: Git, door: Git, files: Files) -> tuple[str, ...]:
    """Make the clone's worktree, by a door to the repository. Its head is the snapshot's; what that lacks is uncommitted, or staged as it was.

    Raises `Limit` for more than can be checked out.
    """
    location, admin = Path(clone.location), repository.admin_dir(clone)
    staged_tree, staged_admin = staging(repository, clone)
    prepare_folder(location.parent)
    refuse_taken(location)
    _refuse_registered(repository, clone)
    for place in (staged_tree, staged_admin):
        subvolume.remove(place)
    git = at(door, staged_admin).at(work_tree=staged_tree)
    moved = _prepared(repository, git, files, snapshot, location)
    if moved is None:
        _make(git, door, source, files, snapshot, location)
    look()
    (staged_tree / ".git").write_text(_pointer(admin))
    _leave_uncommitted(git, snapshot)
    carried = _carried(source)
    warnings = _copied(source.work_tree or Path(), staged_tree, carried)
    at_once = subvolume.is_one(staged_tree)
    look()
    if not carried and _can_wait(staged_tree, moved):
        pending.note(repository.pending, clone.uid, snapshot.contents, (staged_tree / ".git").stat().st_mtime_ns)
    elif carried or moved or not at_once:
        _sync(staged_tree, None if carried else moved)
    switch = _switch_at_once if at_once else _switch
    switch(staged_tree, staged_admin, location, admin)
    return warnings


def _switch(staged_tree: Path, staged_admin: Path, location: Path, admin: Path) -> None:
    """Let a worktree appear: its git directory first, when that is durable."""
    _sync_admin(staged_admin)
    appear(staged_admin, admin)
    put_in_place(staged_tree, location)


def _switch_at_once(staged_tree: Path, staged_admin: Path, location: Path, admin: Path) -> None:
    """Let a worktree appear that is a subvolume. To make durable that one has another name, btrfs writes out all that was done before, as one: that is
    waited for, and what is new is only handed over beforehand."""
    for file in (staged_tree / ".git", *_files(staged_admin)):
        tree.hand_over(file)
    tree.sync_file(staged_admin / "index")
    _moved_to(staged_admin, admin)
    put_in_place(staged_tree, location)
    _sync_admin(admin)
    tree.sync(admin.parent)
    spares.sync(location, ())


def _can_wait(files: Path, moved: Sequence[Step] | None) -> bool:
    """Return whether files may be written out when the clone is there: they are many, and what is lost of them is noticed."""
    return (moved is None or len(moved) > spares.SYNCED) and bool(this_start()) and not tree.is_relaxed(files)


def _sync(files: Path, moved: Sequence[Step] | None) -> None:
    """Make files durable: those that were changed in a spare, else all. git syncs what it keeps, and never the files of a checkout."""
    if moved is None or len(moved) > spares.SYNCED:
        tree.sync_all(files)
    else:
        spares.sync(files, moved)


def _prepared(repository: Repository, git: Git, how: Files, snapshot: Snapshot, location: Path) -> Sequence[Step] | None:
    """Make a spare the staged worktree that `git` is at, and return what was changed in it since it was made. None when there is none that serves."""
    files, admin = git.work_tree or Path(), git.git_dir
    held = spares.take(repository.spares, how.fits, snapshot.contents, admin, files)
    if not held:
        return None
    prepare_admin(admin, location, snapshot.head)
    moved = spares.bring(git, held, snapshot.contents, how.has_been_there)
    if moved is None:
        subvolume.remove(files)
        tree.remove(admin)
    return moved


def _make(git: Git, door: Git, source: Git, how: Files, snapshot: Snapshot, location: Path) -> None:
    if not how.has_been_there:
        _refuse_bombs(door, snapshot)
    prepare_admin(git.git_dir, location, snapshot.head)
    (git.work_tree or Path()).mkdir()
    own.take_over(source, git.git_dir)
    how.fill(git, _left_out(git, snapshot))


def _left_out(git: Git, snapshot: Snapshot) -> Set[bytes]:
    """Return the files that a sparse clone does not have."""
    if not own.is_sparse(git):
        return frozenset()
    return own.left_out(git, snapshot, _noted(git, snapshot))


def _noted(git: Git, snapshot: Snapshot) -> str:
    """Return the tree that the index of a clone makes: what was staged, or else committed."""
    return snapshot.staged or commit_of(git, snapshot.head).tree


def _leave_uncommitted(git: Git, snapshot: Snapshot) -> None:
    """Let the index be what was staged, or committed, where the tree has more. In a sparse one, git makes one entry of a folder by this, where it may."""
    noted = _noted(git, snapshot)
    if noted != snapshot.contents or own.is_sparse(git):
        git.run("read-tree", "-m", noted)
        _note_submodules(git, noted, snapshot.contents)


def _refuse_bombs(door: Git, snapshot: Snapshot) -> None:
    """Raise `Limit` for a snapshot with more than can be checked out; what the project's own checkout has, it has."""
    known = head_of(door).tree
    if known != snapshot.contents:
        refuse_hollow(door, steps(door, known, snapshot.contents))


def _note_submodules(git: Git, noted: str, contents: str) -> None:
    """Put the submodules' commits into the index as the snapshot has them: their folders are empty, so nothing else could tell."""
    moved = [step for step in steps(git, noted, contents) if step.new and step.new.mode == SUBMODULE]
    if moved:
        put(git, {step.path: step.new for step in moved}, len(noted))


def staging(repository: Repository, clone: Workspace) -> tuple[Path, Path]:
    """Return where a clone's tree and git directory are prepared."""
    return Path(clone.location).parent / f".new-{clone.uid}", repository.home / "new" / clone.uid


def is_placed(repository: Repository, clone: Workspace) -> bool:
    """Return whether a clone got to its place: it is registered, and nothing of it is staged any more. So what is there is no one else's."""
    staged, _ = staging(repository, clone)
    is_there = repository.admin_dir(clone).exists() and not staged.exists() and os.path.lexists(clone.location)
    return is_there and not elsewhere(repository, clone)


def elsewhere(repository: Repository, workspace: Workspace) -> Path | None:
    """Return where the worktree of a workspace is, if git moved it (git-worktree(1), move); None where it is in its place, or nobody knows."""
    admin = repository.admin_dir(workspace)
    there = Path(text_of(admin / "gitdir")).parent
    return there if there.name and there != Path(workspace.location) and points(there, admin) else None


def _refuse_registered(repository: Repository, workspace: Workspace) -> None:
    """Raise `Exists` where git has a worktree of this name: the same workspace, which was moved."""
    admin = repository.admin_dir(workspace)
    if admin.exists():
        there = elsewhere(repository, workspace) or text_of(admin / "gitdir")
        raise Exists(f"The worktree of {workspace.id} is at {there} now. Nothing was made.", "Move it back: git worktree move")


def notes(location: Path) -> dict[str, str]:
    """Return what the files of a worktree's git directory say that never change (gitrepository-layout(5))."""
    return {"commondir": "../..", "gitdir": f"{location}/.git", "locked": REASON}


def register_again(repository: Repository, workspace: Workspace, origin: Snapshot, door: Git) -> None:
    """Make the git directory of a worktree that has none any more: its head and index are those that it was cloned with, and what it has of its own is as the
    project's checkout has it."""
    _, staged = staging(repository, workspace)
    tree.remove(staged)
    prepare_admin(staged, Path(workspace.location), origin.head)
    git = at(door, staged)
    own.take_over(door, staged)
    git.run("read-tree", _noted(git, origin))
    if own.is_sparse(git):
        own.mark(git.at(work_tree=Path(workspace.location)), _noted(git, origin))
    admin = repository.admin_dir(workspace)
    tree.remove(admin)
    _sync_admin(staged)
    appear(staged, admin)


def _pointer(admin: Path) -> str:
    """Return what the `.git` file of a worktree says (gitrepository-layout(5))."""
    return f"gitdir: {admin}\n"


def points(location: Path, admin: Path) -> bool:
    """Return whether the `.git` file of a worktree points to its git directory. A link in its place points nowhere."""
    pointer = location / ".git"
    return not pointer.is_symlink() and f"{text_of(pointer)}\n" == _pointer(admin)


def point(location: Path, admin: Path) -> None:
    """Let the `.git` file of a worktree point to its git directory, whatever is there; a link in its place is replaced, not followed."""
    draft = location / f".git-{os.urandom(6).hex()}"
    draft.write_text(_pointer(admin))
    draft.rename(location / ".git")


def prepare_admin(admin: Path, location: Path, head: str) -> None:
    """Write what is in the git directory of a worktree beside its index, as far as it is not there already."""
    admin.mkdir(parents=True, exist_ok=True)
    for name, text in {"HEAD": head, **notes(location)}.items():
        if text_of(admin / name) != text:
            (admin / name).write_text(text + "\n")


def at(door: Git, admin: Path) -> Git:
    """Return the door to a git directory that is durable as a whole when it is registered, so not at every step."""
    return replace(door, git_dir=admin, index=None, settings={**door.settings, "core.fsync": "none"})


def _sync_admin(admin: Path) -> None:
    """Make the files of a new git directory durable."""
    for file in _files(admin):
        tree.sync_file(file)
    tree.sync(admin)


def _files(admin: Path) -> list[Path]:
    return [file for file in admin.iterdir() if file.is_file()]


def appear(staged: Path, admin: Path) -> None:
    """Move a git directory to its place among the worktrees, durably."""
    _moved_to(staged, admin)
    tree.sync(admin.parent)


def _moved_to(staged: Path, admin: Path) -> None:
    """Move it there. git removes the folder of all when the last one goes, so that may be missing."""
    for _ in range(5):
        admin.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            staged.rename(admin)
            return
    staged.rename(admin)


def repoint(location: Path, admin: Path) -> None:
    """Let a worktree and its git directory name each other again, after both were moved. What is not there, or right, is left as it is."""
    if location.is_dir() and not location.is_symlink() and admin.is_dir():
        pointer, back = location / ".git", admin / "gitdir"
        if back.exists() and tree.start_of(back, LONGEST) != os.fsencode(f"{location}/.git\n"):
            back.write_text(f"{location}/.git\n")
        if pointer.is_file() and not pointer.is_symlink() and not points(location, admin):
            pointer.write_text(_pointer(admin))


def _carried(source: Git) -> Sequence[bytes]:
    """Return the ignored files that the source's `.worktreeinclude` names (gitignore syntax; only ignored files count)."""
    root = source.work_tree or Path()
    include = root / INCLUDE
    if include.is_symlink() or not include.is_file():
        return ()
    named = source.fields("ls-files", "-z", "--others", "--ignored", f"--exclude-from={include}")
    # check-ignore refuses GIT_LITERAL_PATHSPECS; "./" keeps a name that begins with a colon from being magic.
    reply = source.told("check-ignore", "-z", "--stdin", stdin=b"".join(b"./" + path + b"\0" for path in named), literal=False)
    return [path[2:] for path in reply.out.split(b"\0")[:-1] if not path.startswith(b"./.workspaces/")]


def _copied(root: Path, target: Path, paths: Sequence[bytes]) -> tuple[str, ...]:
    warnings: list[str] = []
    for path in paths:
        look()
        if path.endswith(b"/"):
            warnings.append(f"{path_shown(path_text(path))} was not carried: it is a repository of its own")
            continue
        try:
            if not tree.copy(root, target, path):
                warnings.append(f"{path_shown(path_text(path))} was not carried: it is neither a file nor a link")
        except FileNotFoundError:
            warnings.append(f"{path_shown(path_text(path))} was not carried: it vanished meanwhile")
        except FileExistsError:
            warnings.append(f"{path_shown(path_text(path))} was not carried: the clone has it from the snapshot")
    return tuple(warnings)
