"""What is said of a merge: made, promised, refused, or not needed."""

from __future__ import annotations

from collections.abc import Sequence

from workspaces.containment import Loss
from workspaces.merging.planning import Plan
from workspaces.model import Conflict, Decided, MergeResult, Verdict, Workspace, path_shown
from workspaces.resolving import Sides
from workspaces.wording import MOST_FILES, bounded, counted, listed, sized

_NAMED = 20
"""Paths that a call to make next names, at most."""


def merged(sides: Sides, plan: Plan, point: str, verdicts: Sequence[Verdict]) -> MergeResult:
    bringer, receiver = sides.bringer, sides.receiver
    committed = plan.result.head if plan.result.head != plan.ours.head else ""
    how = f", commit {committed[:9]}" if committed else ", left uncommitted" if plan.ours.head else ""
    conflicts, warnings = bounded(plan.merge.conflicts)
    marked = f" {counted(len(conflicts), 'conflicting path')} to resolve in {receiver.location}." if conflicts else ""
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
        warnings=(*warnings, *_overruled(plan.decided)),
        next=(f"merge(source='{receiver.name}')",) if conflicts else (f"undo: restore(workspace='{receiver.name}')",),
    )


def promised(sides: Sides, plan: Plan, verdicts: Sequence[Verdict]) -> MergeResult:
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
        warnings=_overruled(plan.decided),
        next=(f"merge(source='{bringer.name}', target='{receiver.name}', if_target='{plan.ours.id}')",),
    )


def conflicting(sides: Sides, plan: Plan) -> MergeResult:
    bringer, receiver = sides.bringer, sides.receiver
    conflicts, warnings = bounded(plan.merge.conflicts)
    where = f" at {plan.stopped_at}" if plan.stopped_at else ""
    resolve = f"merge(source='{receiver.name}', target='{bringer.name}', on_conflict='markers')"
    return MergeResult(
        summary=f"Not merged: {counted(len(plan.merge.conflicts), 'conflicting path')}{where}. {receiver.name} is unchanged.",
        status="conflicts",
        source=bringer.id,
        target=receiver.id,
        conflicts=conflicts,
        stopped_at=plan.stopped_at,
        decided=plan.decided,
        warnings=warnings,
        next=() if bringer.is_main else (f"{resolve}, edit the files in {bringer.location}, then merge(source='{bringer.name}')",),
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
        next=() if bringer.is_main else (f"merge(source='{receiver.name}', target='{bringer.name}') shows there what both give together",),
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


def taken_back(sides: Sides, plan: Plan, lost: Sequence[Loss], commit: str, subject: str) -> MergeResult:
    """Tell that there is nothing to merge because the receiver got it all, and has some of it no longer."""
    bringer, receiver = sides.bringer, sides.receiver
    paths = list(dict.fromkeys(path for each in lost for path in each.paths))
    by = f", by commit {commit[:9]} ({path_shown(subject[:60])})" if commit else ""
    again = f"merge(source='{bringer.name}', paths={paths[:_NAMED]})"
    return MergeResult(
        summary=f"{receiver.name} has {bringer.name} in its history already, and has taken its work back since in {listed(paths)}{by}. "
        "Nothing was changed.",
        status="up_to_date",
        source=bringer.id,
        target=receiver.id,
        snapshot=plan.ours.id,
        next=(f"{again} brings it again", *((f"or take that commit back: git revert {commit[:9]}",) if commit else ())),
    )


def unmarked(receiver: Workspace, conflicts: Sequence[Conflict]) -> tuple[str, ...]:
    """Return what is to be known of conflicts that could not be written into the files."""
    unmarked = [conflict.path for conflict in conflicts if conflict.path not in receiver.unresolved]
    kept = f"No markers could be written for {listed(unmarked)}: {receiver.name} has one side of each; look at them and keep what is right"
    return (f"{kept}. What stands there when it is merged next counts as the resolution.",) if unmarked else ()


def _overruled(decided: Sequence[Decided]) -> tuple[str, ...]:
    paths = listed(each.path for each in decided)
    return (f"{counted(len(decided), 'conflicting path')} decided by {listed({each.by for each in decided})}: {paths}.",) if decided else ()
