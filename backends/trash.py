"""Where workspaces lie while they are deleted, and how their folders get there and back: by one rename each."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from workspaces.errors import Exists, NotAllowed, NotFound
from workspaces.model import Finding, Workspace, path_text

from . import tree
from .place import put_in_place

STRAYS = "strays"
"""Where in the trash lies what no workspace had."""


def put_away(workspace: Workspace, home: Path, beside: Path) -> tuple[Path, ...]:
    """Move the folder of a workspace to one of its places in the trash. One that is not there was moved before. Returns the folders in which
    names changed: whoever calls this makes them durable (`tree.sync`)."""
    location = Path(workspace.location)
    _refuse_links(location)
    return _away(location, home / "tree", beside / "tree") if os.path.lexists(location) else ()


def in_trash(workspace: Workspace, home: Path, beside: Path) -> Path | None:
    """Return where the folder of a workspace is in the trash; None when it is back already. Raises `Exists` when something is in its place."""
    location = Path(workspace.location)
    _refuse_links(location)
    kept = next((place for place in (home / "tree", beside / "tree") if os.path.lexists(place)), None)
    if kept is None and not os.path.lexists(location):
        raise NotFound(
            f"Nothing is left of {workspace.id} in the trash: its folder was removed by other means.",
            "What was last snapshotted of it is still in the project's history.",
        )
    if kept is not None and os.path.lexists(location):
        raise _occupied(workspace)
    return kept


def bring_back(workspace: Workspace, kept: Path) -> None:
    """Move a folder from its place in the trash to its own. Raises `Exists` where somebody put something there meanwhile."""
    location = Path(workspace.location)
    location.parent.mkdir(exist_ok=True)
    put_in_place(kept, location, _occupied(workspace))


def _occupied(workspace: Workspace) -> Exists:
    return Exists(f"{workspace.location} is in the way, so {workspace.id} stays in the trash.", "Move it away and call again.")


def forget_places(home: Path, beside: Path) -> None:
    """Remove a workspace's places in the trash when nothing is in them."""
    for place in (home, beside):
        with suppress(OSError):
            place.rmdir()


def _refuse_links(location: Path) -> None:
    if location.parent.is_symlink():
        raise NotAllowed(
            f"{location.parent} became a link, so it could lead anywhere. Nothing was moved.", "Put the folder back in its place."
        )


def places(home: Path, workspace: Workspace) -> tuple[Path, Path]:
    """Return the workspace's place in the trash, and the one to use where that is on another file system."""
    return home / "trash" / workspace.uid, Path(workspace.location).parent / ".trash" / workspace.uid


def _away(location: Path, first: Path, second: Path) -> tuple[Path, ...]:
    for place in (first, second):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            location.rename(place)
        except OSError as error:
            if error.errno != errno.EXDEV or place == second:
                raise
            with suppress(OSError):
                place.parent.rmdir()
            continue
        return place.parent, location.parent
    return ()


def put_stray(place: Path, home: Path, folder: Path) -> Path:
    """Move what no workspace has into the trash, which is in `home` or beside the workspaces in their `folder`, and return where it is now."""
    name = f"{place.name}-{os.urandom(3).hex()}"
    first, second = (trash / STRAYS / name for trash in (home / "trash", folder / ".trash"))
    tree.sync(*_away(place, first, second))
    return first if os.path.lexists(first) else second


def look(home: Path, folder: Path, known: Sequence[Workspace]) -> Finding:
    """Say whether all deleted workspaces are in the trash, which is in `home` or beside them in their `folder`, and what else is there.

    One whose files were gone before it was deleted, or were removed since, is no fault of the trash: it is named, for `restore` cannot help.
    """
    gone = [each for each in known if each.state == "deleted"]
    lost = [each.id for each in gone if not any((place / "tree").is_dir() for place in places(home, each))]
    uids = {each.uid for each in known} | {STRAYS}
    strays = [
        entry for trash in (home / "trash", folder / ".trash") if trash.is_dir() for entry in trash.iterdir() if entry.name not in uids
    ]
    said = f"{len(gone) - len(lost)} deleted workspace{'s are' if len(gone) - len(lost) != 1 else ' is'} whole in the trash"
    said += f"; nothing is left of {', '.join(lost[:5])}" if lost else ""
    names = ", ".join(path_text(os.fsencode(entry)) for entry in strays[:5])
    return Finding(
        check="trash",
        ok=not strays,
        message=f"no deleted workspace explains {names}; {said}" if strays else said,
        repair="Move what you need out of it, then remove it." if strays else "",
    )


def weigh(home: Path, workspace: Workspace) -> int:
    """Return the bytes on disk that a workspace takes, shared or not, a deleted one in its places in the trash. Links are not followed."""
    lies = places(home, workspace) if workspace.state == "deleted" else [Path(workspace.location)]
    return sum(weighed(place) for place in lies if place.is_dir() and not place.is_symlink())


def weighed(folder: Path) -> int:
    """Return the bytes on disk that a folder takes, with all in it. Links are not followed."""
    total, waiting = 0, [str(folder)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                total += entry.stat(follow_symlinks=False).st_blocks * 512
                waiting += [entry.path] if entry.is_dir(follow_symlinks=False) else []
    return total
