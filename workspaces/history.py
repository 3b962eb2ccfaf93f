"""Going back: restore points, what brings a workspace back to one, and taking back the last thing that was done."""

from __future__ import annotations

from dataclasses import replace

from pydantic import JsonValue

from workspaces.backend import Backend
from workspaces.core import Core
from workspaces.errors import Busy, InvalidArgument, NotFound, TargetDirty, TargetMoved, WorkspacesError
from workspaces.model import Checkpointed, Log, Operation, Restored, RestorePoint, Snapshot, Undone, Workspace
from workspaces.removal import delete, revive
from workspaces.wording import counted, flaws, listed, plain

_UNDOABLE = ("merge", "delete", "clone", "restore")
MAX_LABEL = 200


def checkpoint(core: Core, name: str, label: str = "") -> Checkpointed:
    """Keep a workspace as it is now as a restore point."""
    if len(label) > MAX_LABEL:
        raise InvalidArgument("The label is too long. Nothing was kept.", f"It has at most {MAX_LABEL} characters.")
    label, workspace = plain(label), core.find(name)
    with core.changing(workspace), core.backend.aside() as view:
        snapshot = view.snapshot(workspace, core.lineage(workspace))
        with view.keep_all():
            point = core.point(view, workspace, snapshot, "checkpoint", label)
            operation = core.begin("checkpoint", workspace, label=label)
            core.store.finish(operation.model_copy(update={"state": "done"}), point=(workspace.uid, point))
    return Checkpointed(
        summary=f"Kept {workspace.name} as {point.name}.",
        restore_point=point.name,
        warnings=flaws(workspace.name, snapshot),
        next=(f"undo: restore(workspace='{workspace.name}', to='{point.name}')",),
    )


def restore(core: Core, name: str, to: str = "") -> Restored:
    """Bring a workspace back to a restore point: when none is named, undo the last merge into it that stands, or go back to its last
    checkpoint, whichever came later. A deleted one comes back from the trash."""
    try:
        workspace = core.find(name)
    except NotFound:
        if to or (deleted := core.find_deleted(name)) is None:
            raise
        return revive(core, deleted)
    with core.changing(workspace):
        if under_way := core.backend.occupied(workspace):
            raise Busy(f"{workspace.name} cannot be restored: {under_way}. Nothing was changed.", "Finish or abort that first.")
        point, made = _point(core, workspace, to)
        with core.backend.aside() as view:
            old, new = _way_back(view, core, workspace, point, made)
            _refuse_obstacles(view, workspace, old, new)
            with view.keep_all():
                kept = _switch(core, view, workspace, old, new, point, made)
        workspace = _refreshed(core, workspace)
    return Restored(
        summary=f"Restored {workspace.name} to {point.name}{f' ({point.label})' if point.label else ''}.",
        workspace=workspace,
        restore_point=kept.name,
        next=(f"undo: restore(workspace='{workspace.name}', to='{kept.name}')",),
    )


def _point(core: Core, workspace: Workspace, to: str) -> tuple[RestorePoint, Operation]:
    """Return the restore point that is meant, and the operation that made it."""
    operations = {each.id: each for each in core.store.operations(core.row.name, limit=10**6)}
    points = [(point, operations[made_by]) for point, made_by in core.store.restore_points(workspace.uid) if made_by in operations]
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


def _way_back(view: Backend, core: Core, workspace: Workspace, point: RestorePoint, made: Operation) -> tuple[Snapshot, Snapshot]:
    """Return where the workspace is and where it goes. main never loses commits that others made: they are kept, or its branch stays."""
    if not workspace.is_main:
        return view.snapshot(workspace, core.lineage(workspace)), point.snapshot
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
            "Commit it or move it away, then call again.",
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
        "undoes": made.id if point.cause == "merge" else 0,
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
    """Write a restore down that the workspace's files and head already have; recovery does the same after a crash."""
    note = operation.outcome
    point = RestorePoint.model_validate(note["point"])
    core.store.finish(operation.model_copy(update={"state": "done"}), point=(workspace.uid, point))
    known = {each.id: each for each in core.store.operations(core.row.name, limit=10**6)}
    for number, state in ((note["undoes"], "undone"), (note["redoes"], "done")):
        if isinstance(number, int) and number in known:
            core.store.finish(known[number].model_copy(update={"state": state}))


def _refreshed(core: Core, workspace: Workspace) -> Workspace:
    base = workspace.base if workspace.is_main else core.agreed(workspace).snapshot
    unresolved = core.backend.marked(workspace, workspace.unresolved)
    workspace = workspace.model_copy(update={"base": base, "unresolved": unresolved, "state": "conflicted" if unresolved else "ready"})
    core.store.save(workspace)
    return workspace


# -- the log ------------------------------------------------------------------------------------------------------------------------------


def log(core: Core, limit: int = 50) -> Log:
    """Return what was done in this project, newest first."""
    operations = tuple(operation.model_copy(update={"outcome": {}}) for operation in core.store.operations(core.row.name, limit))
    return Log(summary=f"{counted(len(operations), 'operation')}, newest first.", operations=operations)


def undo(core: Core) -> Undone:
    """Take back all that the last merge, delete, clone or restore call did which stands. Called again, it takes back the one before."""
    known = core.store.operations(core.row.name, limit=10**6)
    standing = [each for each in known if each.state == "done" and each.verb in _UNDOABLE and "undoes" not in each.arguments]
    if not standing:
        raise NotFound("Nothing is left to take back. Nothing was changed.", "workspaces log shows what was done.")
    together = [each for each in standing if each.call == standing[0].call]
    said: list[str] = []
    for last in together:
        said.append(_undone(replace(core, undoing=last.call), last))
        core.store.finish(last.model_copy(update={"state": "undone"}))
    shown = tuple(each.model_copy(update={"outcome": {}, "state": "undone"}) for each in together)
    return Undone(summary=" ".join(said), operations=shown)


def _undone(core: Core, last: Operation) -> str:
    names = [name.split("/", 1)[-1] for name in last.workspaces]
    if last.verb == "clone":
        return delete(core, names, discard_unmerged=True).summary
    if last.verb == "delete":
        uids = last.outcome["uids"]
        gone = [core.store.workspace(str(uid)) for uid in uids] if isinstance(uids, list) else []
        return " ".join(revive(core, each).summary for each in gone if each is not None and each.state == "deleted")
    point = RestorePoint.model_validate(last.outcome["point"])
    return restore(core, names[-1], point.name).summary
