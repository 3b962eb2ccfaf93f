"""What is said of a merge: made, promised, refused, or not needed."""

from __future__ import annotations

from collections.abc import Sequence

from workspaces.asked import Asked
from workspaces.containment import Loss
from workspaces.core import Core
from workspaces.merging.planning import Plan
from workspaces.model import Conflict, Decided, Merge, MergeResult, Verdict, Workspace, path_shown
from workspaces.resolving import Sides
from workspaces.wording import MOST_FILES, bounded, call, counted, listed, sized, unsure

_NAMED = 20
"""Paths that a call to make next names, at most."""


def merged(core: Core, sides: Sides, plan: Plan, point: str, verdicts: Sequence[Verdict]) -> MergeResult:
    bringer, receiver = sides.bringer, sides.receiver
    committed = plan.result.head if plan.result.head != plan.ours.head else ""
    how = f", commit {committed[:9]}" if committed else ", left uncommitted" if plan.ours.head else ""
    conflicts, warnings = bounded(plan.merge.conflicts)
    marked = f" {counted(len(plan.merge.conflicts), 'conflicting path')} to resolve in {receiver.location}." if conflicts else ""
    return MergeResult(
        summary=f"Merged {bringer.name} into {receiver.name}: {sized(plan.merge.changes)}{how}.{marked}",
        status="merged",
        source=bringer.id,
        target=receiver.id,
        commit=committed,
        files=plan.merge.changes[:MOST_FILES],
        conflicts=conflicts,
        checks=tuple(verdicts),
        restore_point=point,
        decided=plan.decided,
        warnings=(*warnings, *_unlisted(plan.merge), *unsure(bringer.name, plan.merge), *_overruled(plan.decided)),
        next=(_back(core, sides),) if conflicts else (call("restore", "undo", workspace=receiver.id),),
    )


def promised(sides: Sides, plan: Plan, asked: Asked, verdicts: Sequence[Verdict]) -> MergeResult:
    bringer, receiver = sides.bringer, sides.receiver
    return MergeResult(
        summary=f"{bringer.name} would merge into {receiver.name}: {sized(plan.merge.changes)}. Nothing was changed.",
        status="would_merge",
        source=bringer.id,
        target=receiver.id,
        snapshot=plan.ours.id,
        files=plan.merge.changes[:MOST_FILES],
        checks=tuple(verdicts),
        decided=plan.decided,
        warnings=(*_unlisted(plan.merge), *unsure(bringer.name, plan.merge), *_overruled(plan.decided)),
        next=(_as_promised(sides, plan, asked),),
    )


def conflicting(core: Core, sides: Sides, plan: Plan) -> MergeResult:
    bringer, receiver = sides.bringer, sides.receiver
    conflicts, warnings = bounded(plan.merge.conflicts)
    where = f" at {plan.stopped_at}" if plan.stopped_at else ""
    return MergeResult(
        summary=f"Not merged: {counted(len(plan.merge.conflicts), 'conflicting path')}{where}. {receiver.name} is unchanged.",
        status="conflicts",
        source=bringer.id,
        target=receiver.id,
        conflicts=conflicts,
        stopped_at=plan.stopped_at,
        decided=plan.decided,
        warnings=warnings,
        next=_resolving(core, sides),
    )


def failed(sides: Sides, verdicts: Sequence[Verdict]) -> MergeResult:
    bringer, receiver = sides.bringer, sides.receiver
    said = [
        f"{each.check} {'is flaky' if each.flaky else each.verdict}{f' ({each.why})' if each.why else ''}"
        for each in verdicts
        if each.verdict != "pass"
    ]
    return MergeResult(
        summary=f"Not merged: on the merged contents {', '.join(said)}. {receiver.name} is unchanged.",
        status="check_failed",
        source=bringer.id,
        target=receiver.id,
        checks=tuple(verdicts),
        next=() if bringer.is_main else (call("merge", "to see there what both give together", source=receiver.id, target=bringer.id),),
    )


def up_to_date(sides: Sides, plan: Plan, deletes: bool) -> MergeResult:
    bringer, receiver = sides.bringer, sides.receiver
    return MergeResult(
        summary=f"{receiver.name} has all of {bringer.name} already. {'Nothing was merged' if deletes else 'Nothing was changed'}.",
        status="up_to_date",
        source=bringer.id,
        target=receiver.id,
        snapshot=plan.ours.id,
    )


def taken_back(core: Core, sides: Sides, plan: Plan, lost: Sequence[Loss], commit: str, subject: str) -> MergeResult:
    """Tell that there is nothing to merge because the receiver got it all, and has some of it no longer."""
    bringer, receiver = sides.bringer, sides.receiver
    paths = list(dict.fromkeys(path for each in lost for path in each.paths))
    by = f", by commit {commit[:9]} ({path_shown(subject[:60])})" if commit else ""
    return MergeResult(
        summary=f"{receiver.name} has {bringer.name} in its history already, and has taken its work back since in {listed(paths)}{by}. "
        "Nothing was changed.",
        status="up_to_date",
        source=bringer.id,
        target=receiver.id,
        snapshot=plan.ours.id,
        warnings=(f"To have it again, take that commit back (git revert {commit[:9]}) or bring the paths anew.",) if commit else (),
        next=(call("merge", "to bring it again", **_from_to(core, bringer, receiver), paths=paths[:_NAMED]),),
    )


def _from_to(core: Core, bringer: Workspace, receiver: Workspace) -> dict[str, str]:
    """Return the arguments for a merge of one into the other: the parent need not be named."""
    into_parent = not bringer.is_main and core.parent(bringer).id == receiver.id
    return {"source": bringer.id} if into_parent else {"source": bringer.id, "target": receiver.id}


def _is_above(core: Core, one: Workspace, other: Workspace) -> bool:
    return one.is_main or (not other.is_main and core.parent(other).id == one.id)


def _resolving(core: Core, sides: Sides) -> tuple[str, ...]:
    """Return the call that writes the conflicts where they are resolved: into the clone, of a parent and its clone; else into the target."""
    there, here = sides.receiver, sides.bringer
    if _is_above(core, there, here):
        there, here = here, there
    return (call("merge", f"to resolve in {there.name}", **_from_to(core, here, there), on_conflict="markers"),)


def _back(core: Core, sides: Sides) -> str:
    """Return the call that brings on what was resolved: to where it came from if that is above, else to the parent."""
    there, above = sides.receiver, sides.bringer if _is_above(core, sides.bringer, sides.receiver) else core.parent(sides.receiver)
    return call("merge", "when they are resolved", **_from_to(core, there, above))


def _as_promised(sides: Sides, plan: Plan, asked: Asked) -> str:
    """Return the call that does just what a preview promised, or nothing where the target moved."""
    kept: dict[str, str | bool | Sequence[str]] = {
        "on_conflict": asked.on_conflict if asked.on_conflict != "abort" else "",
        "history": asked.history if asked.history != "squash" else "",
        "message": asked.message,
        "paths": asked.paths,
        "delete_source": asked.delete_source,
        "require": asked.require,
    }
    return call("merge", source=sides.bringer.id, target=sides.receiver.id, if_target=plan.ours.id, **kept)


def unmarked(receiver: Workspace, conflicts: Sequence[Conflict]) -> tuple[str, ...]:
    """Return what is to be known of conflicts that could not be written into the files."""
    unmarked = [conflict.path for conflict in conflicts if conflict.path not in receiver.unresolved]
    kept = f"No markers could be written for {listed(unmarked)}: {receiver.name} has one side of each; look at them and keep what is right"
    return (f"{kept}. What stands there when it is merged next counts as the resolution.",) if unmarked else ()


def _unlisted(merged: Merge) -> tuple[str, ...]:
    more = len(merged.changes) - MOST_FILES
    return (f"{counted(more, 'file')} more, not listed.",) if more > 0 else ()


def _overruled(decided: Sequence[Decided]) -> tuple[str, ...]:
    paths = listed(each.path for each in decided)
    return (f"{counted(len(decided), 'conflicting path')} decided by {listed({each.by for each in decided})}: {paths}.",) if decided else ()
