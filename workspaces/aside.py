"""Setting a workspace aside whole, and bringing it back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from workspaces import gone
from workspaces.backend import Backend
from workspaces.core import Core
from workspaces.errors import HasChildren, NotFound, WorkspacesError
from workspaces.model import Operation, Restored, RestorePoint, Snapshot, Workspace, now, path_shown, path_text
from workspaces.wording import call, counted

_FRESH = timedelta(minutes=1)
"""How long after it was begun nobody can have found an unfinished clone, but by looking at it."""


def term(core: Core) -> timedelta:
    """Return how long what is deleted stays restorable."""
    return timedelta(days=core.config.trash.days)


def set_aside(
    core: Core,
    workspace: Workspace,
    snapshot: Snapshot | None = None,
    view: Backend | None = None,
    why: str = "",
    handed: Sequence[Workspace] = (),
) -> datetime:
    """Move a workspace into the trash, journaled, with a snapshot that was made in the view. The caller holds it. `why` is the reason when nobody
    asked for it. Its clones are what `handed` has of them from then on.

    Raises `HasChildren` while it has others.
    """
    origins = {child.uid: child.origin for child in core.children(workspace)}
    if below := origins.keys() - {child.uid for child in handed}:
        raise HasChildren(f"{workspace.name} has {counted(len(below), 'clone')}.", "Delete them first, or delete with children='reparent'.")
    at = now()
    until = at + term(core)
    gone = workspace.model_copy(update={"state": "deleted", "deleted": at, "restorable_until": until})
    noted: dict[str, JsonValue] = {"old": snapshot.id if snapshot else "", "handed": dict[str, JsonValue](origins)}
    operation = core.begin_as("deleting", "delete", gone, noted, handed, why=why)
    try:
        (view or core.backend).retire(workspace, snapshot)
    except WorkspacesError:  # the snapshot could not be kept: the files are whole in the trash without it
        core.backend.retire(workspace, None)
    core.store.finish(operation.model_copy(update={"state": "done"}), (gone, "deleted"))
    return until


def take_back(core: Core, workspace: Workspace, stood: int = 0) -> str:
    """Take a clone back that was never finished, and return what was done. The caller holds it; nobody was told of it.

    One that stands in its place could have been found there: it goes into the trash, unless nothing in it was changed since it `stood` (`standing`).
    Where that is not known, it has to be fresh, and as it was laid out, too.
    """
    if core.backend.is_placed(workspace) and not _is_unused(core, workspace, stood):
        why = "its clone was interrupted, and somebody may have worked in it"
        set_aside(core, workspace, None, why=why)
        return f"set {workspace.id} aside: {why}; restore brings it back"
    core.backend.purge(workspace)
    core.store.forget(workspace.uid)
    return f"took back {workspace.id}, which was half made"


def _is_unused(core: Core, workspace: Workspace, stood: int) -> bool:
    """Return whether nobody did anything in a clone that stands in its place. See `take_back`."""
    since = stood or _laid_out(workspace)
    may_be = stood or (now() - workspace.created <= _FRESH and _is_as_made(core, workspace))
    return bool(since and may_be) and _is_untouched(Path(workspace.location), since)


def _is_as_made(core: Core, workspace: Workspace) -> bool:
    try:
        with core.backend.aside() as view:
            made, there = view.load(workspace.origin), view.snapshot(workspace)
    except WorkspacesError:
        return False
    return (made.contents, made.head, made.staged) == (there.contents, there.head, there.staged) and not there.left_out


def standing(workspace: Workspace) -> int:
    """Return since when a clone stands in its place, in nanoseconds by the clock of its file system; 0 where that cannot be told."""
    try:
        return os.lstat(workspace.location).st_ctime_ns
    except OSError:
        return 0


def _laid_out(workspace: Workspace) -> int:
    """Return the moment after which nothing of a clone was made any more, as far as it is told by something that nobody who works there changes."""
    try:
        return os.lstat(Path(workspace.location) / ".git").st_ctime_ns + 1
    except OSError:
        return standing(workspace)


def _is_untouched(folder: Path, since: int) -> bool:
    """Return whether nothing in a folder was made or changed since a moment; of a file, nobody can set when that was (inode(7), ctime)."""
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.stat(follow_symlinks=False).st_ctime_ns >= since:
                        return False
                    waiting += [entry.path] if entry.is_dir(follow_symlinks=False) else []
        except OSError:
            return False
    return True


def revive(core: Core, workspace: Workspace, point: RestorePoint | None = None) -> Restored:
    """Bring a deleted workspace back, byte for byte; one whose folder was removed by other means, as it was last seen, or from a restore point."""
    with core.changing(workspace):
        if core.store.workspace(workspace.uid) is None:
            raise NotFound(f"{workspace.name} was removed for good meanwhile. Nothing was changed.", "status lists what there is.")
        operation = core.begin("revive", workspace, outcome=gone.wanted(core, workspace, point) if point else None)
        phase = "deleted" if workspace.state == "deleted" else "live"
        undo = partial(core.store.finish, operation.model_copy(update={"state": "failed"}), (workspace, phase))
        back = workspace.model_copy(update={"state": "ready", "deleted": None, "restorable_until": None})
        try:
            core.store.save(back, "restoring")
            is_made, warnings = gone.brought_back(core, back, operation)
            core.backend.repoint(back)  # the project may have been moved meanwhile
        except WorkspacesError:
            undo()
            raise
        back = record_return(core, operation, back)
        core.use([back.id])
    if is_made:
        return _made_again(back, operation, warnings, point)
    link = link_of(back)
    return Restored(
        summary=f"Restored {workspace.name}, as it was when it was deleted{': a link, not a folder' if link else ''}.",
        workspace=back,
        warnings=(
            *warnings,
            *([f"{link}, as when it was deleted. Put the folder itself in its place to work with {workspace.name}."] if link else []),
        ),
        next=(call("compare", workspaces=[workspace.id]),),
    )


def _made_again(workspace: Workspace, operation: Operation, warnings: Sequence[str], point: RestorePoint | None) -> Restored:
    kept = operation.outcome.get("point")
    moved = f"If its folder was only moved, work in {workspace.location} from now on: git in the moved one would act on this one."
    return Restored(
        summary=f"Restored {workspace.name}: its folder was gone, and is made again {f'from {point.name}' if point else 'as it was last seen'}.",
        workspace=workspace,
        restore_point=RestorePoint.model_validate(kept).name if kept else "",
        warnings=(*warnings, moved),
        next=(call("compare", workspaces=[workspace.id]),),
    )


def link_of(workspace: Workspace) -> str:
    """Say where a link leads that stands in the place of a workspace's folder; nothing when none does."""
    location = Path(workspace.location)
    if not location.is_symlink():
        return ""
    target = path_shown(path_text(os.fsencode(location.readlink())))
    return f"{location} is a link to {target}, which was neither read nor changed"


def record_return(core: Core, operation: Operation, workspace: Workspace) -> Workspace:
    """Write down that a workspace is back whose files are; recovery does the same after a crash."""
    back, kept = core.at_rest(workspace), operation.outcome.get("point")
    point = (workspace.uid, RestorePoint.model_validate(kept)) if kept else None
    core.store.finish(operation.model_copy(update={"state": "done"}), (back, "live"), point=point)
    return back
