"""What is known of a workspace whose folder was removed or moved by other means, and how the folder is made again from that."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pydantic import JsonValue

from workspaces.backend import Backend
from workspaces.core import Core
from workspaces.errors import NotFound
from workspaces.model import Operation, RestorePoint, Snapshot, Workspace


def is_gone(workspace: Workspace) -> bool:
    """Return whether nothing is in the place of a workspace."""
    return not os.path.lexists(workspace.location)


def last_seen(core: Core, view: Backend, workspace: Workspace) -> Snapshot | None:
    """Return the newest that is known of what a workspace held: as a call saw or left it, or what its backend still has of it that came after that.
    None where that is no more than what it began with."""
    _, seen = max(_seen(core, view, workspace), key=lambda each: each[0], default=(0, None))
    since = seen or view.load(workspace.origin)
    return (view.remnant(workspace, since) if core.backend.capabilities.commits else None) or seen


def _seen(core: Core, view: Backend, workspace: Workspace) -> Iterator[tuple[int, Snapshot]]:
    """Yield what calls saw of a workspace or left there, each with the number of its operation."""
    points = core.store.restore_points(workspace.uid)
    made = core.store.numbered(core.row.name, (number for _, number in points))
    for point, number in points:
        yield number, _left_by(view, point, made.get(number))
    for each in core.store.past(core.row.name, "merge"):
        if workspace.uid in each.uids[:1] and each.state in ("done", "undone"):
            yield each.id, view.load(str(each.outcome["theirs"]))
    for each in core.store.past(core.row.name, "delete"):
        if workspace.uid in each.uids and (old := each.outcome.get("old")):
            yield each.id, view.load(str(old))


def _left_by(view: Backend, point: RestorePoint, made: Operation | None) -> Snapshot:
    """Return what a workspace was after the operation that made a restore point; what that holds, where it changed nothing."""
    new = made.outcome.get("new") if made and made.state == "done" else None
    if not isinstance(new, dict):
        return point.snapshot
    left = Snapshot.model_validate(new)
    return left if left.id else view.graft(left, onto=left.head)


def wanted(core: Core, workspace: Workspace, point: RestorePoint) -> dict[str, JsonValue]:
    """Return what is to be noted where a folder is made again from a restore point: what it will hold, and if there is anything newer, the restore
    point of that."""
    noted: dict[str, JsonValue] = {"new": point.snapshot.model_dump(mode="json")}
    with core.backend.aside() as view:
        newest = last_seen(core, view, workspace)
        if newest and (newest.contents, newest.head) != (point.snapshot.contents, point.snapshot.head):
            with view.keep_all():
                kept = core.point(view, workspace, newest, "restore", f"before restoring {point.name}")
            noted["point"] = kept.model_dump(mode="json")
    return noted


def brought_back(core: Core, workspace: Workspace, operation: Operation) -> tuple[bool, tuple[str, ...]]:
    """Bring a workspace back, as it is in the trash, or made again where nothing is left of its files; return whether that was so, and warnings. Twice
    changes nothing.

    Raises `NotFound` where nothing is known of it either.
    """
    try:
        return False, core.backend.revive(workspace)
    except NotFound:
        warnings = _made_again(core, workspace, operation.outcome.get("new"))
        return True, (*warnings, *core.backend.revive(workspace))


def _made_again(core: Core, workspace: Workspace, new: JsonValue) -> tuple[str, ...]:
    """Make the folder of a workspace again, after what its backend has of it was set aside."""
    parent = core.parent(workspace)
    with core.backend.aside() as view:
        newest = last_seen(core, view, workspace)
        meant = Snapshot.model_validate(new) if new else newest
        if meant is None:
            raise NotFound(
                f"Nothing is left of {workspace.id}: its folder was removed by other means, and no call had seen any work in it.",
                "clone makes a new one.",
            )
        view.retire(workspace, newest)
        return view.fork(meant, workspace, core.main() if is_gone(parent) else parent)
