"""Bringing one workspace's work into another: worked out aside, looked at whole, then switched with one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from workspaces import config
from workspaces.aside import set_aside
from workspaces.backend import Backend
from workspaces.checks import Trial
from workspaces.core import Core, Progress, silent
from workspaces.errors import Busy, InvalidArgument, NotAllowed, TargetDirty, TargetMoved, Unsupported, UntrustedConfig, WorkspacesError
from workspaces.model import (
    Conflict,
    Decided,
    History,
    Merge,
    MergeResult,
    OnConflict,
    Operation,
    RestorePoint,
    Snapshot,
    Verdict,
    Workspace,
)
from workspaces.removal import last_look
from workspaces.replaying import replay
from workspaces.resolving import Sides, settled
from workspaces.store import MergeRow
from workspaces.wording import MOST_FILES, bounded, counted, listed, plain, sized

_TRIES = 5
NO_RULES: Mapping[str, str] = {}


@dataclass(frozen=True)
class Plan:
    """A merge worked out: what the target is, what was brought, what they give, and what the target would become."""

    ours: Snapshot
    theirs: Snapshot
    merge: Merge
    result: Snapshot
    decided: tuple[Decided, ...] = ()
    stopped_at: str = ""

    @property
    def is_idle(self) -> bool:
        unmoved = self.result.contents == self.ours.contents and self.result.head == self.ours.head
        return unmoved and not self.merge.conflicts


def merge(
    core: Core,
    source: str,
    target: str = "",
    on_conflict: OnConflict = "abort",
    history: History = "squash",
    message: str = "",
    paths: Sequence[str] = (),
    dry_run: bool = False,
    delete_source: bool = False,
    if_target: str = "",
    progress: Progress = silent,
    require: Sequence[str] = (),
    patience: float | None = None,
    rules: Mapping[str, str] = NO_RULES,
) -> MergeResult:
    """Bring the source's changes into the target, its parent when none is named: all of them, or nothing changes. Conflicts are a result.

    What `require` names, and for main the settings, the merged contents must pass. They are judged with nothing held: what moved meanwhile is
    worked out, and judged, again. What takes longer than `patience` is `Busy`, and goes on. `rules` (path → source, target or union) are for
    this call, and have the last word.
    """
    if before := [each for each in core.done_before("merge") if each.arguments.get("source", source) == source]:
        return _again(core, before[0], delete_source)
    core = replace(core, config=config.deciding(core.config, rules))
    bringer, receiver = _both(core, source, target, on_conflict, delete_source)
    message = plain(message)
    _possible(core, history, on_conflict)
    trial = Trial.of(core, _required(core, receiver, require), bringer.id)
    for _ in range(_TRIES):
        asked = (source, on_conflict, history, message, paths, dry_run, delete_source, if_target)
        if answer := _tried(core, bringer, receiver, trial, *asked, progress):
            return answer
        trial.wait(progress, patience)
    raise TargetMoved(f"{bringer.name} or {receiver.name} changed each time while it was checked. Nothing was changed.", "Call again.")


def _required(core: Core, receiver: Workspace, require: Sequence[str]) -> tuple[str, ...]:
    """Return the checks that the call asks for, and those that the settings ask for of what goes into main."""
    return tuple(dict.fromkeys([*require, *(core.config.merge.require if receiver.is_main else ())]))


def _tried(
    core: Core,
    bringer: Workspace,
    receiver: Workspace,
    trial: Trial,
    source: str,
    on_conflict: OnConflict,
    history: History,
    message: str,
    paths: Sequence[str],
    dry_run: bool,
    delete_source: bool,
    if_target: str,
    progress: Progress,
) -> MergeResult | None:
    """Merge, or return nothing while the merged contents are still to be judged."""
    removing = [bringer] if delete_source and not dry_run else []
    with core.changing(receiver, *removing, reading=[bringer]):
        bringer, receiver = core.find(bringer.id), core.find(receiver.id)
        _fit(core, bringer, receiver)
        progress(0, 3, f"freezing {bringer.name} and {receiver.name}")
        with core.backend.aside() as view:
            plan = _plan(core, view, bringer, receiver, on_conflict, history, message, paths, if_target)
            if plan.merge.conflicts and (on_conflict != "markers" or dry_run):
                return _refused(bringer, receiver, plan)
            if plan.is_idle:
                return _nothing_to_do(core, bringer, receiver, plan, delete_source and not dry_run)
            verdicts = trial.begun(view, plan.result, plan.ours)
            if verdicts is None:
                return None
            if any(each.verdict != "pass" for each in verdicts):
                return _failed(bringer, receiver, verdicts)
            if dry_run:
                return _promised(bringer, receiver, plan, verdicts)
            progress(1, 3, f"merging {bringer.name} into {receiver.name}")
            with view.keep_all():
                asked: dict[str, JsonValue] = {
                    "source": source,
                    "on_conflict": on_conflict,
                    "history": history,
                    "message": message,
                    "paths": [*paths],
                }
                done = _carry_out(core, view, bringer, receiver, plan, asked, verdicts)
        progress(3, 3, "merged")
        return _with_source_deleted(core, bringer, done) if delete_source else done


def _possible(core: Core, history: History, on_conflict: OnConflict) -> None:
    if history in ("merge", "rebase") and not core.backend.capabilities.commits:
        raise Unsupported(
            f"{core.row.name} has no commits, so none can be {'replayed' if history == 'rebase' else 'made'}. Nothing was merged.",
            "Leave history out.",
        )
    if history == "rebase" and on_conflict == "markers":
        raise InvalidArgument(
            "Markers cannot be left in the middle of a replay. Nothing was merged.", "Leave history out to resolve with markers."
        )


def _again(core: Core, done: Operation, delete_source: bool) -> MergeResult:
    """Answer for a call that merged and died before it could say so; what it had not done yet is done."""
    answer = MergeResult.model_validate(done.outcome["answer"])
    if not delete_source or any(each.workspaces == done.workspaces[:1] for each in core.done_before("delete")):
        return answer
    bringer = core.find(done.workspaces[0])
    with core.changing(bringer, reading=[core.parent(bringer)]):
        return _with_source_deleted(core, bringer, answer)


def _both(core: Core, source: str, target: str, on_conflict: OnConflict, delete_source: bool) -> tuple[Workspace, Workspace]:
    bringer = core.find(source)
    if not target and bringer.is_main:
        raise InvalidArgument(
            "main has no parent to merge into. Nothing was merged.",
            "Name a target: merge(source='main', target='…') brings a clone up to date.",
        )
    receiver = core.find(target) if target else core.parent(bringer)
    if bringer.id == receiver.id:
        raise InvalidArgument(f"{bringer.name} cannot be merged into itself. Nothing was merged.", "Name another target.")
    if receiver.is_main and on_conflict == "markers":
        raise InvalidArgument(
            "Conflict markers are never written into main. Nothing was merged.",
            f"Resolve in the clone: merge(source='main', target='{bringer.name}', on_conflict='markers'), edit the files, then merge(source='{bringer.name}').",
        )
    if delete_source and bringer.is_main:
        raise InvalidArgument("main cannot be deleted. Nothing was merged.", "Leave delete_source out.")
    return bringer, receiver


def _fit(core: Core, bringer: Workspace, receiver: Workspace) -> None:
    if under_way := core.backend.occupied(receiver):
        raise Busy(f"{receiver.name} cannot take a merge: {under_way}. Nothing was changed.", "Finish or abort that first.")
    for workspace in (bringer, receiver):
        if left := core.backend.marked(workspace, workspace.unresolved):
            raise _unresolved(workspace, left)


def _refuse_markers(core: Core, bringer: Workspace, receiver: Workspace, merged: Merge) -> None:
    """Refuse markers that a merge would bring: those of somebody's own merge, committed or not, and never recorded here."""
    brought = core.backend.marked(bringer, [change.path for change in merged.changes if change.status != "deleted"])
    if left := sorted({*brought} - {*core.backend.marked(receiver, brought)}):
        raise _unresolved(bringer, left, " Where they are meant to be there: on_conflict='source'.")


def _unresolved(workspace: Workspace, left: Sequence[str], besides: str = "") -> NotAllowed:
    return NotAllowed(
        f"{workspace.name} still has conflict markers in {listed(left)}. Nothing was merged.",
        f"Edit the files in {workspace.location} until no markers are left, then call again.{besides}",
        paths=list(left),
    )


def _plan(
    core: Core,
    view: Backend,
    bringer: Workspace,
    receiver: Workspace,
    on_conflict: OnConflict,
    history: History,
    message: str,
    paths: Sequence[str],
    if_target: str,
) -> Plan:
    ours = view.snapshot(receiver, core.lineage(receiver), committed=receiver.is_main)
    if if_target and if_target not in (ours.id, ours.contents):
        raise TargetMoved(
            f"{receiver.name} is at {ours.id[:12]} now, not at {if_target[:12]}. Nothing was changed.",
            f"Look at it again with compare(workspaces=['{bringer.name}']), then repeat the call with if_target='{ours.id}'.",
            snapshot=ours.id,
        )
    theirs = view.snapshot(bringer, [*core.lineage(bringer), *core.contained(bringer, receiver)])
    if theirs.unmerged:
        raise NotAllowed(
            f"{bringer.name} is in the middle of a merge of its own; unmerged: {listed(theirs.unmerged)}. Nothing was changed.",
            f"Finish or abort that in {bringer.location}, then call again.",
        )
    if theirs.unsteady:
        raise Busy(
            f"{listed(theirs.unsteady)}: being written in {bringer.name} at this moment. Nothing was changed.",
            "Call again when that is done.",
        )
    lineage = core.granted(receiver, bringer)
    whole = theirs
    if paths:
        recorded = view.load(lineage[-1]) if lineage else ours
        theirs = view.restrict(view.base(ours, theirs, lineage, recorded), theirs, paths)
    message, follow = message or _message(bringer), core.is_child(receiver, bringer) and not paths
    if history == "rebase" and not (follow and view.ahead(whole, ours) == 0):
        done = replay(core, view, Sides(receiver, bringer, ours, whole, lineage), on_conflict, message, paths)
        plan = Plan(ours, theirs, done.merge, done.result, done.decided, done.stopped_at)
    else:
        sides = Sides(receiver, bringer, ours, theirs, lineage)
        done_at_once = settled(core, view, sides, on_conflict, run=True)
        merged = done_at_once.merge
        plan = Plan(ours, theirs, merged, view.commit(ours, theirs, merged, history, message, follow, lineage), done_at_once.decided)
    _refuse_untrusted(view, bringer, receiver, plan.merge)
    if on_conflict != "source":
        _refuse_markers(core, bringer, receiver, plan.merge)
    moved = Snapshot(id="", contents=plan.merge.contents, head=ours.head)
    _refuse_obstacles(receiver, plan.merge, view.obstacles(receiver, ours, moved))
    return plan


def _refuse_obstacles(receiver: Workspace, merged: Merge, obstacles: Sequence[str]) -> None:
    """A file that is dirty in the target is refused by name; while other paths conflict, only when it is one of those."""
    conflicting = {conflict.path for conflict in merged.conflicts}
    blocking = [path for path in obstacles if not conflicting or path in conflicting]
    if blocking:
        raise TargetDirty(
            f"{receiver.name} has uncommitted, untracked or ignored work in {listed(blocking)}, which this merge changes. Nothing was changed.",
            f"Commit it or move it away, or merge into a clone of {receiver.name}.",
            paths=list(blocking),
        )


def _refuse_untrusted(view: Backend, bringer: Workspace, receiver: Workspace, merged: Merge) -> None:
    """Refuse to store what only an untrusted filter knows how to store: git-crypt's secrets would go into history in clear."""
    paths = [change.path for change in merged.changes]
    blocked = {*view.untrusted(receiver, paths), *view.untrusted(bringer, paths)} if paths else set[str]()
    if blocked:
        raise UntrustedConfig(
            f"{listed(sorted(blocked))}: the repository's own configuration names a filter for this, which is not run, so it cannot be stored as it "
            "should be. Nothing was changed.",
            "A person can look at it and let it run: workspaces trust. Or merge other paths.",
            paths=list[JsonValue](sorted(blocked)),
        )


def _message(bringer: Workspace) -> str:
    return bringer.task.strip().splitlines()[0] if bringer.task.strip() else f"Merge workspace {bringer.name}"


def _carry_out(
    core: Core,
    view: Backend,
    bringer: Workspace,
    receiver: Workspace,
    plan: Plan,
    asked: dict[str, JsonValue],
    verdicts: tuple[Verdict, ...] = (),
) -> MergeResult:
    """Journal the merge, move the receiver, and write it down; or fail with the receiver as it was."""
    label, moved = f"before merging {bringer.name}", plan.result.head != plan.ours.head
    point = core.point(view, receiver, plan.ours, "merge", label, plan.result.head, committed=receiver.is_main and moved)
    reason = f"workspaces: merge {bringer.name}"
    answer = _merged(bringer, receiver, plan, point.name).model_copy(update={"checks": verdicts})
    notes = _notes(plan, point, reason, bool(asked["paths"]))
    if core.is_named:
        notes["answer"] = answer.model_dump(mode="json")
    operation = core.begin("merge", bringer, receiver, outcome=notes, **asked)
    for workspace in (receiver, *(() if bringer.is_main else (bringer,))):
        view.keep(workspace, f"merged/{operation.id}", plan.theirs)
    try:
        view.checkout(receiver, plan.ours, plan.result, reason)
    except WorkspacesError as error:
        if error.settled:
            core.store.finish(operation.model_copy(update={"state": "failed"}))
        raise
    receiver = record(core, operation, bringer, receiver)
    warnings = (*answer.warnings, *_unmarked(receiver, answer.conflicts))
    return answer.model_copy(update={"snapshot": _snapshot_now(core, receiver, plan), "warnings": warnings})


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


# -- what is said of it -------------------------------------------------------------------------------------------------------------------


def _refused(bringer: Workspace, receiver: Workspace, plan: Plan) -> MergeResult:
    conflicts, warnings = bounded(plan.merge.conflicts)
    resolve = f"merge(source='{receiver.name}', target='{bringer.name}', on_conflict='markers')"
    return MergeResult(
        summary=f"Not merged: {counted(len(plan.merge.conflicts), 'conflicting path')}{_where(plan)}. {receiver.name} is unchanged.",
        status="conflicts",
        source=bringer.id,
        target=receiver.id,
        conflicts=conflicts,
        stopped_at=plan.stopped_at,
        decided=plan.decided,
        warnings=warnings,
        next=() if bringer.is_main else (f"{resolve}, edit the files in {bringer.location}, then merge(source='{bringer.name}')",),
    )


def _where(plan: Plan) -> str:
    return f" at {plan.stopped_at}" if plan.stopped_at else ""


def _nothing_to_do(core: Core, bringer: Workspace, receiver: Workspace, plan: Plan, delete_source: bool) -> MergeResult:
    result = MergeResult(
        summary=f"{receiver.name} has all of {bringer.name} already. {'Nothing was merged' if delete_source else 'Nothing was changed'}.",
        status="up_to_date",
        source=bringer.id,
        target=receiver.id,
        snapshot=plan.ours.id,
    )
    if not delete_source:
        return result
    done = _with_source_deleted(core, bringer, result)
    return done if done.warnings else done.model_copy(update={"next": (f"undo: restore(workspace='{bringer.name}')",)})


def _failed(bringer: Workspace, receiver: Workspace, verdicts: tuple[Verdict, ...]) -> MergeResult:
    said = [f"{each.check} {'is flaky' if each.flaky else each.verdict}" for each in verdicts if each.verdict != "pass"]
    return MergeResult(
        summary=f"Not merged: on the merged contents {', '.join(said)}. {receiver.name} is unchanged.",
        status="check_failed",
        source=bringer.id,
        target=receiver.id,
        checks=verdicts,
        next=() if bringer.is_main else (f"merge(source='{receiver.name}', target='{bringer.name}') shows there what both give together",),
    )


def _promised(bringer: Workspace, receiver: Workspace, plan: Plan, verdicts: tuple[Verdict, ...]) -> MergeResult:
    return MergeResult(
        summary=f"{bringer.name} would merge into {receiver.name}: {sized(plan.merge.changes)}. Nothing was changed.",
        status="would_merge",
        source=bringer.id,
        target=receiver.id,
        snapshot=plan.ours.id,
        files=plan.merge.changes[:MOST_FILES],
        checks=verdicts,
        decided=plan.decided,
        warnings=_overruled(plan.decided),
        next=(f"merge(source='{bringer.name}', target='{receiver.name}', if_target='{plan.ours.id}')",),
    )


def _merged(bringer: Workspace, receiver: Workspace, plan: Plan, point: str) -> MergeResult:
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
        restore_point=point,
        decided=plan.decided,
        warnings=(*warnings, *_overruled(plan.decided)),
        next=(f"merge(source='{receiver.name}')",) if conflicts else (f"undo: restore(workspace='{receiver.name}')",),
    )


def _snapshot_now(core: Core, receiver: Workspace, plan: Plan) -> str:
    """Return the receiver's snapshot after the merge, or nothing: the merge is done, whatever happens to the files now."""
    if receiver.is_main:
        return plan.result.head or plan.result.contents
    try:
        return core.backend.snapshot(receiver, core.lineage(receiver)).id
    except WorkspacesError:
        return ""


def _overruled(decided: Sequence[Decided]) -> tuple[str, ...]:
    paths = listed(each.path for each in decided)
    return (f"{counted(len(decided), 'conflicting path')} decided by {listed({each.by for each in decided})}: {paths}.",) if decided else ()


def _unmarked(receiver: Workspace, conflicts: Sequence[Conflict]) -> tuple[str, ...]:
    unmarked = [conflict.path for conflict in conflicts if conflict.path not in receiver.unresolved]
    kept = f"No markers could be written for {listed(unmarked)}: {receiver.name} has one side of each; look at them and keep what is right"
    return (f"{kept}. What stands there when it is merged next counts as the resolution.",) if unmarked else ()


def _with_source_deleted(core: Core, bringer: Workspace, result: MergeResult) -> MergeResult:
    """Delete the source unless it has clones, or work that the merge did not bring."""
    try:
        bringer = core.find(bringer.id)
        with core.backend.aside() as view:
            until = set_aside(core, bringer, last_look(core, view, bringer, discard_unmerged=False), view=view)
    except WorkspacesError as error:
        return result.model_copy(update={"warnings": (*result.warnings, f"{bringer.name} was not deleted: {error.message}")})
    return result.model_copy(update={"summary": f"{result.summary} Deleted {bringer.name} (restorable until {until:%d %b %Y})."})
