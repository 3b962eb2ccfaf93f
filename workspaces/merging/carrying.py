"""A merge carried out: journaled, the receiver moved with one step, and written down; by the call itself, or after a crash."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from workspaces.asked import Asked
from workspaces.backend import Backend
from workspaces.core import Core
from workspaces.errors import WorkspacesError
from workspaces.merging import telling
from workspaces.merging.planning import Plan
from workspaces.model import MergeResult, Operation, RestorePoint, Snapshot, Verdict, Workspace
from workspaces.resolving import Sides
from workspaces.store import MergeRow
from workspaces.wording import MOST_FILES


def carry_out(core: Core, view: Backend, sides: Sides, plan: Plan, asked: Asked, verdicts: Sequence[Verdict]) -> MergeResult:
    """Journal the merge, move the receiver, and write it down; or fail with the receiver as it was."""
    bringer, receiver = sides.bringer, sides.receiver
    label, moved = f"before merging {bringer.name}", plan.result.head != plan.ours.head
    committed = receiver.is_main and moved
    brought = [(each, plan.theirs) for each in (receiver, bringer) if each is receiver or not each.is_main]
    point = core.point(view, receiver, plan.ours, "merge", label, plan.result.head, committed, brought)
    reason = f"workspaces: merge {bringer.name}"
    answer = telling.merged(core, sides, plan, point.name, verdicts)
    notes = _notes(plan, point, reason, bool(asked.paths))
    if core.is_named:
        notes["answer"] = answer.model_dump(mode="json")
    operation = core.begin("merge", bringer, receiver, outcome=notes, **_arguments(asked))
    try:
        view.checkout(receiver, plan.ours, plan.result, reason)
    except WorkspacesError as error:
        if error.settled:
            core.store.finish(operation.model_copy(update={"state": "failed"}))
        raise
    receiver = record(core, operation, bringer, receiver)
    warnings = (*answer.warnings, *telling.unmarked(receiver, answer.conflicts))
    return answer.model_copy(update={"snapshot": _snapshot_now(core, receiver, plan), "warnings": warnings})


def _arguments(asked: Asked) -> dict[str, JsonValue]:
    (source,) = asked.sources
    return {
        "source": source,
        "on_conflict": asked.on_conflict,
        "history": asked.history,
        "message": asked.message,
        "paths": [*asked.paths],
    }


def _notes(plan: Plan, point: RestorePoint, reason: str, partial: bool) -> dict[str, JsonValue]:
    """Return what recovery needs to end the merge."""
    return {
        "old": plan.ours.model_dump(mode="json"),
        "new": plan.result.model_dump(mode="json"),
        "reason": reason,
        "point": point.model_dump(mode="json"),
        "theirs": plan.theirs.id,
        "partial": partial,
        "paths": [change.path for change in plan.merge.changes[:MOST_FILES]],
        "conflicting": [conflict.path for conflict in plan.merge.conflicts],
    }


def record(core: Core, operation: Operation, bringer: Workspace, receiver: Workspace) -> Workspace:
    """Write a merge down that the receiver's files and head already have; recovery does the same after a crash."""
    note = operation.outcome
    new, point = Snapshot.model_validate(note["new"]), note["point"]
    theirs, partial = str(note["theirs"]), bool(note["partial"])
    moved = new.head != Snapshot.model_validate(note["old"]).head
    conflicting = note["conflicting"]
    marked = core.backend.marked(receiver, [str(path) for path in conflicting] if isinstance(conflicting, list) else [])
    receiver = receiver.model_copy(update={"state": "conflicted" if marked else "ready", "unresolved": marked})
    # What main only has uncommitted may be thrown away without our knowing: it counts as merged when it is committed.
    counts = moved or not receiver.is_main or not core.backend.capabilities.commits
    if core.is_child(receiver, bringer):
        receiver = receiver.model_copy(update={"base": theirs})
    if core.is_child(bringer, receiver) and counts:
        bringer = bringer.model_copy(update={"base": theirs, "state": bringer.state if partial else "merged"})
    core.store.finish(
        operation.model_copy(update={"state": "done"}),
        (bringer, "live"),
        (receiver, "live"),
        merged=MergeRow(bringer.uid, receiver.uid, theirs, new.head if moved else "") if counts else None,
        point=(receiver.uid, RestorePoint.model_validate(point)),
    )
    return receiver


def _snapshot_now(core: Core, receiver: Workspace, plan: Plan) -> str:
    """Return the receiver's snapshot after the merge, or nothing: the merge is done, whatever happens to the files now."""
    if receiver.is_main:
        return plan.result.head or plan.result.contents
    try:
        return core.backend.snapshot(receiver, core.lineage(receiver)).id
    except WorkspacesError:
        return ""
