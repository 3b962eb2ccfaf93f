"""Going back: restore points, what brings a workspace back to one, and the log of what was done."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pydantic import JsonValue

from workspaces.aside import revive
from workspaces.backend import Backend
from workspaces.core import Core, Progress, silent
from workspaces.errors import Busy, InvalidArgument, NotFound, TargetDirty, TargetMoved, WorkspacesError, likely
from workspaces.gone import is_gone
from workspaces.model import Checkpointed, Log, Operation, Restored, RestorePoint, Snapshot, Workspace
from workspaces.wording import call, counted, emptied, flaws, listed, plain

MAX_LABEL = 200


def checkpoint(core: Core, name: str, label: str = "", progress: Progress = silent) -> Checkpointed:
    """Keep a workspace as it is now as a restore point."""
    if len(label) > MAX_LABEL:
        raise InvalidArgument("The label is too long. Nothing was kept.", f"It has at most {MAX_LABEL} characters.")
    label, workspace = plain(label), core.find(name)
    freezing = partial(progress, 0, 2, f"freezing {workspace.name}")
    with core.changing(workspace, look=freezing), core.backend.aside() as view:
        freezing()
        snapshot = view.snapshot(workspace, core.lineage(workspace))
        progress(1, 2, f"keeping {workspace.name}")
        with view.keep_all():
            point = core.point(view, workspace, snapshot, "checkpoint", label)
            operation = core.begin("checkpoint", workspace, label=label)
            core.store.finish(operation.model_copy(update={"state": "done"}), point=(workspace.uid, point))
    return Checkpointed(
        summary=f"Kept {workspace.name} as {point.name}.",
        restore_point=point.name,
        warnings=flaws(workspace.name, snapshot),
        next=(call("restore", "to come back to it", workspace=workspace.id, to=point.name),),
    )


def restore(core: Core, name: str, to: str = "", revert: bool = False, progress: Progress = silent) -> Restored:
    """Bring a workspace back to a restore point: when none is named, undo the last merge into it that stands, or go back to its last
    checkpoint, whichever came later. A deleted one comes back from the trash; where a folder is gone, it is made again as it was last seen. With
    `revert`, what came after the point's operation stays."""
    if not to and not core.holds(name, ("live", "deleting", "restoring")) and (deleted := core.find_deleted(name)):
        progress(0, 1, f"bringing {deleted.name} back")
        return revive(core, deleted)
    try:
        workspace = core.find(name)
    except NotFound as error:
        if to and (deleted := core.find_deleted(name)):
            said = call("restore", workspace=deleted.id)
            raise NotFound(
                f"{deleted.name} was deleted. Nothing was changed.", f"{said} brings it back, and its restore points."
            ) from error
        if to:
            raise
        raise _nowhere(core, name, error) from error
    if is_gone(workspace) and not workspace.is_main:
        progress(0, 1, f"making {workspace.name} again")
        return revive(core, workspace, _point(core, workspace, to)[0] if to else None)
    freezing = partial(progress, 0, 2, f"freezing {workspace.name}")
    with core.changing(workspace, look=freezing):
        freezing()
        if under_way := core.backend.occupied(workspace):
            raise Busy(f"{workspace.name} cannot be restored: {under_way}. Nothing was changed.", "Finish or abort that first.")
        point, made = _point(core, workspace, to)
        with core.backend.aside() as view:
            old, new = _way_back(view, core, workspace, point, made, revert)
            _refuse_obstacles(view, workspace, old, new)
            progress(1, 2, f"restoring {workspace.name}")
            with view.keep_all():
                kept = _switch(core, view, workspace, old, new, point, made)
        workspace = core.find(workspace.id)
    return Restored(
        summary=f"Restored {workspace.name} to {point.name}{f' ({point.label})' if _is_told(core, point) else ''}.",
        workspace=workspace,
        restore_point=kept.name,
        next=(call("restore", "undo", workspace=workspace.id, to=kept.name),),
    )


def _nowhere(core: Core, name: str, error: NotFound) -> NotFound:
    """Return the error for a name that neither an open workspace nor a deleted one has, with the one of both kinds that was likely meant."""
    names = [each.name for each in (*core.seen(), *core.seen(("deleted",)))]
    said = error.message.partition(" Did you mean")[0]
    hint = f"{call('status', include_deleted=True)} lists what can be brought back, too."
    return NotFound(f"{said}{likely(name.removeprefix(f'{core.row.name}/'), names)}", hint, **error.details)


def _is_told(core: Core, point: RestorePoint) -> bool:
    """Return whether there is a label to tell: that of a merge names a workspace, which the caller may not see."""
    return bool(point.label) and (point.cause == "checkpoint" or not core.access.is_limited)


def _point(core: Core, workspace: Workspace, to: str) -> tuple[RestorePoint, Operation]:
    """Return the restore point that is meant, and the operation that made it."""
    kept = core.store.restore_points(workspace.uid)
    operations = core.store.numbered(core.row.name, (made_by for _, made_by in kept))
    points = [
        (point, operations[made_by])
        for point, made_by in kept
        if made_by in operations and _is_theirs(core, workspace, operations[made_by])
    ]
    wanted = to.removeprefix(f"{core.row.name}/")
    fits = [(wanted == point.name, wanted == point.label, wanted == str(point.number)) for point, _ in points]
    for kind in range(3):
        if wanted and (named := next((pair for pair, fit in zip(points, fits, strict=True) if fit[kind]), None)):
            return named
    last = next((pair for pair in points if pair[0].cause == "checkpoint" or (pair[0].cause == "merge" and pair[1].state == "done")), None)
    if wanted or last is None:
        known = ", ".join(point.name for point, _ in points[:8]) or "none"
        which = (
            f"no restore point {to!r}"
            if wanted
            else "nothing to go back to: no merge into it stands, and there is no restore point of a checkpoint"
        )
        raise NotFound(f"{workspace.name} has {which}. There are: {known}. Nothing was changed.", "checkpoint makes one.")
    return last


def _is_theirs(core: Core, workspace: Workspace, made: Operation) -> bool:
    """Return whether a caller may go back to what an operation left: what others merged into main is not taken back by who does not see theirs."""
    return not (core.access.is_limited and workspace.is_main) or made.actor == core.access.name


def _way_back(
    view: Backend, core: Core, workspace: Workspace, point: RestorePoint, made: Operation, revert: bool
) -> tuple[Snapshot, Snapshot]:
    """Return where the workspace is and where it goes. main never loses commits that others made: they are kept, or its branch stays."""
    if not workspace.is_main:
        now = view.snapshot(workspace, core.lineage(workspace))
        built_on = revert and point.cause != "checkpoint" and now.contents != Snapshot.model_validate(made.outcome["new"]).contents
        if not built_on:
            return now, point.snapshot
        return now, _reverted(view, workspace, point, Snapshot.model_validate(made.outcome["new"]), now)
    if point.cause == "checkpoint" or (point.cause == "restore" and not point.committed):
        now = view.snapshot(workspace)
        return now, point.snapshot.model_copy(update={"head": now.head, "staged": now.staged})
    now = view.snapshot(workspace, committed=point.committed)
    if point.committed and now.head == point.after:
        return now, point.snapshot
    if point.committed and not core.backend.contains(workspace, point.after):
        raise TargetMoved(
            f"main is elsewhere now: its history does not have {point.after[:12]}, which this would take back. Nothing was changed.",
            "Check out the branch that has it, then call again.",
        )
    return now, _reverted(view, workspace, point, Snapshot.model_validate(made.outcome["new"]), now)


def _reverted(view: Backend, workspace: Workspace, point: RestorePoint, result: Snapshot, now: Snapshot) -> Snapshot:
    """Take an operation back on which others have built: the way from its result to what was before, merged into what is now."""
    after = view.graft(result, onto=point.snapshot.head)
    before = view.graft(point.snapshot, onto=after.id)
    merged = view.merge(now, before, [after.id])
    if merged.conflicts:
        raise TargetMoved(
            f"{workspace.name} was changed since in {listed(conflict.path for conflict in merged.conflicts)}, "
            "so this cannot be taken back by itself. Nothing was changed.",
            f"Take back what came later first, or undo it by hand in a clone of {workspace.name}.",
        )
    message = f"Undo: {point.label.removeprefix('before ')}"
    return view.commit(now, before, merged, "squash" if point.committed else "none", message, follow=False, lineage=[after.id])


def _refuse_obstacles(view: Backend, workspace: Workspace, old: Snapshot, new: Snapshot) -> None:
    if blocking := view.obstacles(workspace, old, new):
        raise TargetDirty(
            f"{workspace.name} has uncommitted, untracked or ignored work in {listed(blocking)}, which would be overwritten. "
            "Nothing was changed.",
            f"Commit it or move it away, then call again.{emptied(blocking, view.diff(old, new).changes)}",
            paths=list(blocking),
        )


def _switch(
    core: Core, view: Backend, workspace: Workspace, old: Snapshot, new: Snapshot, point: RestorePoint, made: Operation
) -> RestorePoint:
    """Move the workspace, and keep what is replaced. A merge that this takes back is undone by it; one that was taken back stands again."""
    reason = f"workspaces: restore {point.name}"
    kept = core.point(view, workspace, old, "restore", f"before restoring {point.name}", new.head, workspace.is_main and point.committed)
    notes: dict[str, JsonValue] = {
        "old": old.model_dump(mode="json"),
        "new": new.model_dump(mode="json"),
        "reason": reason,
        "point": kept.model_dump(mode="json"),
        "whole": not workspace.is_main,
        "undoes": made.id if point.cause == "merge" else made.outcome.get("redoes", 0) if point.cause == "restore" else 0,
        "redoes": made.outcome.get("undoes", 0) if point.cause == "restore" else 0,
    }
    operation = core.begin("restore", workspace, outcome=notes, to=point.name)
    try:
        view.checkout(workspace, old, new, reason, whole=not workspace.is_main)
    except WorkspacesError as error:
        if error.settled:
            core.store.finish(operation.model_copy(update={"state": "failed"}))
        raise
    record_restore(core, operation, workspace)
    return kept


def record_restore(core: Core, operation: Operation, workspace: Workspace) -> None:
    """Write a restore down that the workspace's files and head already have, and what follows from it for those whose merge it took back or
    made stand again; recovery does the same after a crash."""
    note = operation.outcome
    point = RestorePoint.model_validate(note["point"])
    states = {number: state for key, state in (("undoes", "undone"), ("redoes", "done")) if isinstance(number := note[key], int)}
    others = list(core.store.numbered(core.row.name, states).values())
    uids = {uid for each in others for uid in each.uids}
    near = [each for uid in uids - {workspace.uid} for each in core.store.workspaces(core.row.name, uid=uid) if not each.is_main]
    core.store.finish(
        operation.model_copy(update={"state": "done"}),
        point=(workspace.uid, point),
        others=[each.model_copy(update={"state": states[each.id]}) for each in others],
        restated=[
            core.at_rest(workspace, _suspected([each for each in others if states[each.id] == "done"]), states),
            *(core.at_rest(each, states=states) for each in near),
        ],
    )


def _suspected(merges: Sequence[Operation]) -> list[str]:
    """Return the paths that merges left conflict markers in, or may have."""
    noted = [each.outcome.get("conflicting") for each in merges]
    return [str(path) for paths in noted if isinstance(paths, list) for path in paths]


# -- the log ------------------------------------------------------------------------------------------------------------------------------


def log(core: Core, limit: int = 50) -> Log:
    """Return what was done in this project, newest first."""
    operations = tuple(map(told, core.store.operations(core.row.name, limit)))
    return Log(summary=f"{counted(len(operations), 'operation')}, newest first.", operations=operations)


def told(operation: Operation) -> Operation:
    """Return an operation as it is shown: with the snapshots before and after it instead of what recovery needs."""
    sides: dict[str, str] = {}
    for side, key in (("before", "old"), ("after", "new")):
        noted = operation.outcome.get(key)
        sides[side] = (
            str(noted.get("id") or noted.get("head") or noted.get("contents") or "") if isinstance(noted, dict) else str(noted or "")
        )
    return operation.model_copy(update={**sides, "outcome": {}})
