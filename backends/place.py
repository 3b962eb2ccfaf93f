"""The folder in a project that holds its workspaces, and where one of them is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from workspaces.errors import NotAllowed, WorkspaceGone
from workspaces.model import Workspace

from . import tree

WORKSPACES = ".workspaces"


def located(workspace: Workspace) -> Path:
    """Return the folder of a workspace. Raises `WorkspaceGone` when it is not there, or a link is in its place or on the way to it."""
    location = Path(workspace.location)
    if not location.is_dir() or location.is_symlink() or (not workspace.is_main and location.parent.is_symlink()):
        raise WorkspaceGone(
            f"The folder of {workspace.id} is gone: {location}.",
            "Put the folder back, or delete the workspace; its restore points are kept.",
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
        draft.write_text("*\n")
        with suppress(FileNotFoundError):
            tree.sync_file(draft)  # after a power cut it would be there and empty, and ignore nothing
            draft.rename(ignore)
