"""Making a linked worktree without `git worktree add`, which is not safe beside another one, or beside a fetch.

The tree and its git directory are prepared aside and each appears by one rename, complete. The git directory comes first and is locked
(git-worktree(1), LOCK), so that no prune takes it for a dead one in between.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from workspaces.errors import Exists
from workspaces.model import Snapshot, Workspace, path_shown, path_text

from .. import tree
from ..diff import refuse_hollow, steps
from ..git import Git
from ..place import prepare_folder
from .checkout import SUBMODULE, write_index
from .repository import Repository
from .snapshot import commit_of, head_of

INCLUDE = ".worktreeinclude"
_LONGEST = 4096
REASON = "in use as a workspace; remove it with: workspaces delete"


def fork(
    repository: Repository, snapshot: Snapshot, clone: Workspace, source: Git, door: Git, fill: Callable[[Git], None]
) -> tuple[str, ...]:
    """Make the clone's worktree, by a door to the repository; `fill` gives an empty tree and its index the snapshot's files.

    Its head is the snapshot's; what that lacks is uncommitted, or staged as it was.
    """
    location, admin = Path(clone.location), repository.admin_dir(clone)
    staged_tree, staged_admin = staging(repository, clone)
    prepare_folder(location.parent)
    if os.path.lexists(location):
        raise Exists(f"{location} is there already and is no workspace. Nothing was made.", "Choose another name, or move it away.")
    git = _prepare_admin(door, staged_admin, location, snapshot.head).at(work_tree=staged_tree)
    staged_tree.mkdir()
    (staged_tree / ".git").write_text(f"gitdir: {admin}\n")
    fill(git)
    own = snapshot.staged or commit_of(git, snapshot.head).tree
    if own != snapshot.contents:
        git.run("read-tree", "-m", own)
        _note_submodules(git, own, snapshot.contents)
    warnings = _carry(source, staged_tree)
    tree.sync_all(staged_tree)  # git syncs what it keeps, and never the files of a checkout
    _register(staged_admin, admin)
    staged_tree.rename(location)
    tree.sync(location.parent)
    return warnings


def refuse_bombs(door: Git, snapshot: Snapshot) -> None:
    """Raise `Limit` for a snapshot with more than can be checked out; what the project's own checkout has, it has."""
    known = head_of(door).tree
    if known != snapshot.contents:
        refuse_hollow(door, steps(door, known, snapshot.contents))


def _note_submodules(git: Git, own: str, contents: str) -> None:
    """Put the submodules' commits into the index as the snapshot has them: their folders are empty, so nothing else could tell."""
    moved = [step for step in steps(git, own, contents) if step.new and step.new.mode == SUBMODULE]
    if moved:
        write_index(git, moved)


def staging(repository: Repository, clone: Workspace) -> tuple[Path, Path]:
    """Return where a clone's tree and git directory are prepared."""
    return Path(clone.location).parent / f".new-{clone.uid}", repository.home / "new" / clone.uid


def notes(location: Path) -> dict[str, str]:
    """Return what the files of a worktree's git directory say that never change (gitrepository-layout(5))."""
    return {"commondir": "../..", "gitdir": f"{location}/.git", "locked": REASON}


def register_again(repository: Repository, workspace: Workspace, origin: Snapshot, door: Git) -> None:
    """Make the git directory of a worktree that has none any more: its head and index are those that it was cloned with."""
    _, staged = staging(repository, workspace)
    tree.remove(staged)
    git = _prepare_admin(door, staged, Path(workspace.location), origin.head)
    git.run("read-tree", origin.staged or commit_of(git, origin.head).tree)
    admin = repository.admin_dir(workspace)
    tree.remove(admin)
    _register(staged, admin)


def point(location: Path, admin: Path) -> None:
    """Let the `.git` file of a worktree point to its git directory, whatever is there; a link in its place is replaced, not followed."""
    draft = location / f".git-{os.urandom(6).hex()}"
    draft.write_text(f"gitdir: {admin}\n")
    draft.rename(location / ".git")


def _prepare_admin(door: Git, admin: Path, location: Path, head: str) -> Git:
    admin.mkdir(parents=True)
    for name, text in {"HEAD": head, **notes(location)}.items():
        (admin / name).write_text(text + "\n")
    # Durable as a whole when it is registered, so not at every step.
    return replace(door, git_dir=admin, index=None, settings={**door.settings, "core.fsync": "none"})


def _register(staged: Path, admin: Path) -> None:
    for file in staged.iterdir():
        if file.is_file():
            tree.sync_file(file)
    tree.sync(staged)
    appear(staged, admin)


def appear(staged: Path, admin: Path) -> None:
    """Move a git directory to its place among the worktrees. git removes their folder when the last one goes, so it may be missing."""
    for _ in range(5):
        admin.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            staged.rename(admin)
            break
    else:
        staged.rename(admin)
    tree.sync(admin.parent)


def repoint(location: Path, admin: Path) -> None:
    """Let a worktree and its git directory name each other again, after both were moved. What is not there, or right, is left as it is."""
    if location.is_dir() and not location.is_symlink() and admin.is_dir():
        pointer, back = location / ".git", admin / "gitdir"
        if back.exists() and tree.start_of(back, _LONGEST) != os.fsencode(f"{location}/.git\n"):
            back.write_text(f"{location}/.git\n")
        if pointer.is_file() and not pointer.is_symlink() and tree.start_of(pointer, _LONGEST) != os.fsencode(f"gitdir: {admin}\n"):
            pointer.write_text(f"gitdir: {admin}\n")


def _carry(source: Git, target: Path) -> tuple[str, ...]:
    """Copy the ignored files that the source's `.worktreeinclude` names (gitignore syntax; only ignored files count)."""
    root = source.work_tree or Path()
    include = root / INCLUDE
    if include.is_symlink() or not include.is_file():
        return ()
    named = source.fields("ls-files", "-z", "--others", "--ignored", f"--exclude-from={include}")
    # check-ignore refuses GIT_LITERAL_PATHSPECS; "./" keeps a name that begins with a colon from being magic.
    reply = source.told("check-ignore", "-z", "--stdin", stdin=b"".join(b"./" + path + b"\0" for path in named), literal=False)
    ignored = [path[2:] for path in reply.out.split(b"\0")[:-1] if not path.startswith(b"./.workspaces/")]
    return _copied(root, target, ignored)


def _copied(root: Path, target: Path, paths: Sequence[bytes]) -> tuple[str, ...]:
    warnings: list[str] = []
    for path in paths:
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
