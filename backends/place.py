"""The folder in a project that holds its workspaces, and where one of them is."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from workspaces.errors import Exists, NotAllowed, WorkspaceGone
from workspaces.model import Workspace

from . import tree

WORKSPACES = ".workspaces"
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY)
"""How rename(2) says that something is in the place of a folder, or mounted there. An empty folder gives way."""
_ALL = b"*\n"
"""What ignores all that is in a folder (gitignore(5))."""
_DRAFT = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def located(workspace: Workspace) -> Path:
    """Return the folder of a workspace. Raises `WorkspaceGone` when it is not there, or a link is in its place or on the way to it."""
    location = Path(workspace.location)
    if not location.is_dir() or location.is_symlink() or (not workspace.is_main and location.parent.is_symlink()):
        raise WorkspaceGone(
            f"The folder of {workspace.id} is gone: {location}.",
            "Put the folder back, or let restore make it again as it was last seen, or delete the workspace.",
        )
    return location


def prepare_folder(folder: Path) -> None:
    """Make the folder of the workspaces, which ignores itself; a link in its place could lead anywhere and is refused."""
    with suppress(FileExistsError):
        folder.mkdir()
    if folder.is_symlink() or not folder.is_dir():
        raise NotAllowed(
            f"{folder} is not a folder, so workspaces could come to lie elsewhere. Nothing was made.", "Remove it and call again."
        )
    ignore_workspaces(folder)


def ignore_workspaces(folder: Path) -> None:
    """See that the folder of the workspaces, if there is one, ignores itself: a clean in the project takes the file away."""
    ignore = folder / ".gitignore"
    if folder.is_dir() and not folder.is_symlink() and not ignore.exists():
        draft = folder / ".gitignore.new"  # one name for all: whoever comes after a kill completes it
        if not _is_draft(draft):
            draft = folder / f".gitignore.{os.urandom(4).hex()}"
        with tree.opened(os.open(draft, _DRAFT, 0o666)) as file:
            os.write(file, _ALL)
        with suppress(FileNotFoundError):
            tree.sync_file(draft)  # after a power cut it would be there and empty, and ignore nothing
            draft.rename(ignore)


def _is_draft(file: Path) -> bool:
    """Return whether a file is what somebody who was killed had begun, or is not there at all. A link leads to what is somebody's, and so may another
    name of it."""
    try:
        found = file.lstat()
        return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and _ALL.startswith(tree.start_of(file, len(_ALL) + 1))
    except FileNotFoundError:
        return True


def refuse_taken(location: Path) -> None:
    """Raise `Exists` where something is in the place of a workspace that is to be made."""
    if os.path.lexists(location):
        raise _taken(location)


def put_in_place(made: Path, location: Path, occupied: Exists | None = None) -> None:
    """Move the folder of a workspace to its place, durably. Raises `Exists` (`occupied`, or that of a new one) where somebody put something there
    meanwhile."""
    try:
        made.rename(location)
    except OSError as error:
        if error.errno not in _OCCUPIED:
            raise
        raise occupied or _taken(location) from None
    tree.sync(location.parent)


def _taken(location: Path) -> Exists:
    return Exists(f"{location} is there already and is no workspace. Nothing was made.", "Choose another name, or move it away.")
