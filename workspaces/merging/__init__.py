"""Bringing one workspace's work into another: worked out aside, looked at whole, then switched with one step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from workspaces import config, resolving
from workspaces.aside import set_aside
from workspaces.asked import Asked, chosen, parties
from workspaces.backend import Backend
from workspaces.checks import Trial
from workspaces.checks.making import Making
from workspaces.containment import contained, undone_by
from workspaces.core import Core, Progress, silent
from workspaces.errors import Interrupted, NotFound, TargetMoved, WorkspacesError
from workspaces.merging import telling
from workspaces.merging.carrying import carry_out
from workspaces.merging.carrying import record as record
from workspaces.merging.planning import Plan, frozen, lost_since, refuse, worked_out
from workspaces.model import MergeResult, Operation, Workspace
from workspaces.removal import last_look
from workspaces.resolving import Sides
from workspaces.wording import call, counted, plain

__all__ = ["Asked", "merge", "record", "required", "runs_something"]

_TRIES = 5


def merge(core: Core, asked: Asked, progress: Progress = silent, patience: float | None = None) -> MergeResult:
    """Bring one source's changes into the target, its parent when none is named: all of them, or nothing changes. Conflicts are a result.

    What the call requires, and for main the settings, the merged contents must pass. What commands have to make or to judge is waited for with
    nothing held; what moved meanwhile is worked out again. What takes longer than `patience` is `Busy`, and goes on.
    """
    (source,) = asked.sources
    if before := [each for each in core.done_before("merge") if each.arguments.get("source", source) == source]:
        return _again(core, before[0], asked.delete_source)
    core = replace(core, config=config.deciding(core.config, asked.rules))
    bringer, receiver = parties(core, asked)
    asked = replace(asked, message=plain(asked.message), paths=chosen(asked.paths))
    trial, making = Trial.of(core, required(core, receiver, asked.require), bringer.id), Making(core)
    deadline, seen = time.monotonic() + patience if patience is not None else None, set[tuple[str, ...]]()
    while len(seen) < _TRIES:
        done = _tried(core, asked, bringer, receiver, making, trial, progress)
        if isinstance(done, MergeResult):
            return done
        seen.add((done.ours.contents, done.ours.head, done.theirs.contents, done.theirs.head))
        making.wait(progress, _left(deadline))
        trial.wait(progress, _left(deadline))
    raise TargetMoved(f"{bringer.name} or {receiver.name} changed each time while it was checked. Nothing was changed.", "Call again.")


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def runs_something(core: Core, asked: Asked) -> bool:
    """Return whether what is asked would run what `workspaces.toml` names: checks, or what decides paths that conflict. Changes nothing."""
    for source in asked.sources:
        bringer, receiver = parties(core, replace(asked, source=source))
        if required(core, receiver, asked.require):
            return True
        with core.backend.aside() as view, core.looking(view, bringer, receiver) as freeze:
            ours = freeze(receiver, core.lineage(receiver), committed=receiver.is_main)
            theirs = freeze(bringer, [*core.lineage(bringer), *core.contained(bringer, receiver)])
            if resolving.runs_something(core, view, Sides(receiver, bringer, ours, theirs, core.granted(receiver, bringer))):
                return True
    return False


def required(core: Core, receiver: Workspace, require: Sequence[str]) -> tuple[str, ...]:
    """Return the checks that the call asks for, and those that the settings ask for of what goes into main."""
    return tuple(dict.fromkeys([*require, *(core.config.merge.require if receiver.is_main else ())]))


def _tried(
    core: Core, asked: Asked, bringer: Workspace, receiver: Workspace, making: Making, trial: Trial, progress: Progress
) -> MergeResult | Sides:
    """Merge, or return what was to be merged while something of it is still to be made or to be judged."""
    removing = [bringer] if asked.delete_source and not asked.dry_run else []
    waits = f"waiting for {receiver.name}"
    with core.changing(receiver, *removing, reading=[bringer], look=lambda: progress(0, 3, waits)):
        bringer, receiver = _there(core, bringer), _there(core, receiver)
        progress(0, 3, f"freezing {bringer.name} and {receiver.name}")
        with core.backend.aside() as view:
            sides = frozen(core, view, bringer, receiver, asked.if_target)
            plan = worked_out(core, view, sides, asked, making)
            if making.begun(view):
                return sides
            refuse(core, view, sides, asked, plan)
            if plan.merge.conflicts and (asked.on_conflict != "markers" or asked.dry_run):
                return telling.conflicting(core, sides, plan)
            if plan.is_idle:
                return _foretold(core, view, sides, plan, asked, _nothing_to_do(core, view, sides, plan, bool(removing)))
            verdicts = trial.begun(view, plan.result, plan.ours)
            if verdicts is None:
                return sides
            if any(each.verdict != "pass" for each in verdicts):
                return telling.failed(sides, verdicts)
            if asked.dry_run:
                return _foretold(core, view, sides, plan, asked, telling.promised(sides, plan, asked, verdicts))
            progress(1, 3, f"merging {bringer.name} into {receiver.name}")
            with view.keep_all():
                done = carry_out(core, view, sides, plan, asked, verdicts)
        with suppress(Interrupted):  # too late: it is merged
            progress(3, 3, "merged")
        return _with_source_deleted(core, bringer, done) if removing else done


def _there(core: Core, workspace: Workspace) -> Workspace:
    """Return a workspace as it is now that the caller holds it. Raises `NotFound` where it was deleted meanwhile, whoever has its name since."""
    there = core.still(workspace)
    if there is None:
        core.find(workspace.id)  # which raises, and says how to have it back, unless another has its name
        raise NotFound(f"{workspace.name} was deleted meanwhile, and made anew. Nothing was changed.", "Call again for the new one.")
    return there


def _again(core: Core, done: Operation, delete_source: bool) -> MergeResult:
    """Answer for a call that merged and died before it could say so; what it had not done yet is done."""
    answer = MergeResult.model_validate(done.outcome["answer"])
    bringer = next(iter(core.known(done.uids[:1])), None)
    if not delete_source or bringer is None or bringer.state == "deleted":
        return answer
    with core.changing(bringer, reading=[core.parent(bringer)]):
        return _with_source_deleted(core, bringer, answer)


def _nothing_to_do(core: Core, view: Backend, sides: Sides, plan: Plan, deletes: bool) -> MergeResult:
    result = telling.up_to_date(sides, plan, deletes)
    if lost := lost_since(core, view, sides):
        result = telling.taken_back(core, sides, plan, lost, *undone_by(view, lost[-1], sides.ours))
    if not deletes:
        return result
    done = _with_source_deleted(core, sides.bringer, result)
    return done if done.warnings else done.model_copy(update={"next": (call("restore", "undo", workspace=sides.bringer.id),)})


def _foretold(core: Core, view: Backend, sides: Sides, plan: Plan, asked: Asked, result: MergeResult) -> MergeResult:
    """Return what a preview says, and in it why the source would stay, if it is to be deleted."""
    bringer, parent = sides.bringer, core.parent(sides.bringer)
    if not (asked.dry_run and asked.delete_source):
        return result
    if below := core.children(bringer):
        why = f"it has {counted(len(below), 'clone')}"
    elif not _would_have_all(core, view, sides, plan):
        why = f"it would still have work that {parent.name} has not{' committed' if parent.is_main and plan.ours.head else ''}"
    else:
        return result
    return result.model_copy(update={"warnings": (*result.warnings, f"{bringer.name} would not be deleted: {why}.")})


def _would_have_all(core: Core, view: Backend, sides: Sides, plan: Plan) -> bool:
    """Return whether the source's parent would have all of its work after the merge."""
    moves = plan.result.head != plan.ours.head or not sides.receiver.is_main or not core.backend.capabilities.commits
    if sides.receiver.id != core.parent(sides.bringer).id or not moves:
        return bool(contained(core, view, sides.bringer, sides.theirs))
    left = view.merge(plan.result, sides.theirs, [*sides.lineage, plan.theirs.id])
    return not (left.changes or left.conflicts or sides.theirs.left_out or sides.theirs.ahead)


def _with_source_deleted(core: Core, bringer: Workspace, result: MergeResult) -> MergeResult:
    """Delete the source unless it has clones, or work that the merge did not bring."""
    try:
        bringer = core.find(bringer.id)
        with core.backend.aside() as view:
            until = set_aside(core, bringer, last_look(core, view, bringer), view=view)
    except WorkspacesError as error:
        return result.model_copy(update={"warnings": (*result.warnings, f"{bringer.name} was not deleted: {error.message}")})
    return result.model_copy(update={"summary": f"{result.summary} Deleted {bringer.name} (restorable until {until:%d %b %Y})."})
