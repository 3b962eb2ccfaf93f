"""A merge worked out aside: both sides frozen, combined in memory, and looked at whole before anything moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from workspaces.asked import Asked
from workspaces.backend import Backend
from workspaces.checks.making import Making
from workspaces.containment import Loss, losses
from workspaces.core import Core
from workspaces.errors import Busy, InvalidArgument, NotAllowed, TargetDirty, TargetMoved, Unsupported, UntrustedConfig
from workspaces.model import Decided, Merge, Snapshot, Workspace
from workspaces.replaying import replay
from workspaces.resolving import Sides, settled
from workspaces.wording import call, emptied, listed


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


# -- freezing -----------------------------------------------------------------------------------------------------------------------------


def frozen(core: Core, view: Backend, bringer: Workspace, receiver: Workspace, if_target: str) -> Sides:
    """Freeze both workspaces, which the caller holds. Raises where one of them is in the middle of something, or not as it should be."""
    _refuse_unfinished(core, bringer, receiver)
    ours = view.snapshot(receiver, core.lineage(receiver), committed=receiver.is_main)
    if if_target and if_target not in (ours.id, ours.contents):
        raise TargetMoved(
            f"{receiver.name} is at {ours.id[:12]} now, not at {if_target[:12]}. Nothing was changed.",
            f"Look at it again with {call('compare', workspaces=[bringer.id])}, then repeat the call with if_target='{ours.id}'.",
            snapshot=ours.id,
        )
    theirs = view.snapshot(bringer, [*core.lineage(bringer), *core.contained(bringer, receiver)])
    _refuse_half(bringer, theirs)
    return Sides(receiver, bringer, ours, theirs, core.granted(receiver, bringer))


def _refuse_unfinished(core: Core, bringer: Workspace, receiver: Workspace) -> None:
    if under_way := core.backend.occupied(receiver):
        raise Busy(f"{receiver.name} cannot take a merge: {under_way}. Nothing was changed.", "Finish or abort that first.")
    for workspace in (bringer, receiver):
        if left := core.backend.marked(workspace, workspace.unresolved):
            raise _unresolved(workspace, left)


def _refuse_half(bringer: Workspace, theirs: Snapshot) -> None:
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


# -- working out --------------------------------------------------------------------------------------------------------------------------


def worked_out(core: Core, view: Backend, sides: Sides, asked: Asked, making: Making) -> Plan:
    """Combine two frozen workspaces in memory, as the call wants it and the rules have it. What is `wanted` for that has to be made first."""
    if asked.history == "merge" and not core.has_begun(sides.receiver, sides.bringer):
        raise Unsupported(
            f"{sides.receiver.name} is on a line of history without what {sides.bringer.name} began with: a merge commit would say that it has all of "
            "that. Nothing was changed.",
            f"history='squash' brings what {sides.bringer.name} did since.",
        )
    follow = core.is_child(sides.receiver, sides.bringer) and not asked.paths
    if asked.history == "rebase" and not (follow and view.ahead(sides.theirs, sides.ours) == 0):
        return _replayed(core, view, sides, asked, making)
    brought, counted = _chosen(core, view, sides, asked.paths)
    done = settled(core, view, brought, asked.on_conflict, making)
    result = view.commit(sides.ours, brought.theirs, done.merge, asked.history, _message(sides, asked), follow, brought.lineage)
    return Plan(sides.ours, counted, done.merge, result, done.decided)


def _replayed(core: Core, view: Backend, sides: Sides, asked: Asked, making: Making) -> Plan:
    done = replay(core, view, sides, asked.on_conflict, _message(sides, asked), asked.paths, making)
    _, counted = _chosen(core, view, sides, asked.paths)
    return Plan(sides.ours, counted, done.merge, done.result, done.decided, done.stopped_at)


def _chosen(core: Core, view: Backend, sides: Sides, paths: Sequence[str]) -> tuple[Sides, Snapshot]:
    """Return what is merged, all of it or only some paths, and what the receiver then counts as having. What it had of these paths and took
    back is brought again: whoever names it means it."""
    if not paths:
        return sides, sides.theirs
    recorded = view.load(sides.lineage[-1]) if sides.lineage else sides.ours
    base = view.base(sides.ours, sides.theirs, sides.lineage, recorded)
    before = _before_it_was_taken_back(core, view, sides, paths)
    if before is None:
        theirs = view.restrict(base, sides.theirs, paths)
        return replace(sides, theirs=theirs), theirs
    again = replace(sides, theirs=view.restrict(before, sides.theirs, paths), lineage=[before.id])
    try:
        return again, view.restrict(base, sides.theirs, paths)
    except InvalidArgument:  # nothing there is new
        return again, base


def _before_it_was_taken_back(core: Core, view: Backend, sides: Sides, paths: Sequence[str]) -> Snapshot | None:
    """Return what the bringer's work at these paths began with, if the receiver got it once and has it no longer."""
    wanted = [path.rstrip("/") for path in paths]
    lost = lost_since(core, view, sides)
    return next((each.before for each in lost if any(f"{path}/".startswith(f"{one}/") for path in each.paths for one in wanted)), None)


def lost_since(core: Core, view: Backend, sides: Sides) -> list[Loss]:
    """Return what the receiver, if it is the parent, got of the bringer and took back."""
    return losses(core, view, sides.bringer, sides.ours) if core.parent(sides.bringer).id == sides.receiver.id else []


def _message(sides: Sides, asked: Asked) -> str:
    task = sides.bringer.task.strip()
    return asked.message or (task.splitlines()[0] if task else f"Merge workspace {sides.bringer.name}")


# -- looking at it ------------------------------------------------------------------------------------------------------------------------


def refuse(core: Core, view: Backend, sides: Sides, asked: Asked, plan: Plan) -> None:
    """Raise where a plan must not be carried out: for what it would store, bring, or write over."""
    _refuse_untrusted(view, sides, plan.merge)
    if asked.on_conflict != "source":
        _refuse_markers(core, sides, plan.merge)
    moved = Snapshot(id="", contents=plan.merge.contents, head=plan.ours.head)
    _refuse_obstacles(sides.receiver, plan.merge, view.obstacles(sides.receiver, plan.ours, moved), asked.on_conflict == "markers")


def _refuse_untrusted(view: Backend, sides: Sides, merged: Merge) -> None:
    """Refuse to store what only an untrusted filter knows how to store: git-crypt's secrets would go into history in clear."""
    paths = [change.path for change in merged.changes]
    blocked = {*view.untrusted(sides.receiver, paths), *view.untrusted(sides.bringer, paths)} if paths else set[str]()
    if blocked:
        raise UntrustedConfig(
            f"{listed(sorted(blocked))}: the repository's own configuration names a filter for this, which is not run, so it cannot be stored as it "
            "should be. Nothing was changed.",
            "A person can look at it and let it run: workspaces trust. Or merge other paths.",
            paths=list[JsonValue](sorted(blocked)),
        )


def _refuse_markers(core: Core, sides: Sides, merged: Merge) -> None:
    """Refuse markers that a merge would bring: those of somebody's own merge, committed or not, and never recorded here."""
    brought = core.backend.marked(sides.bringer, [change.path for change in merged.changes if change.status != "deleted"])
    if left := sorted({*brought} - {*core.backend.marked(sides.receiver, brought)}):
        raise _unresolved(sides.bringer, left, " Where they are meant to be there: on_conflict='source'.")


def _unresolved(workspace: Workspace, left: Sequence[str], besides: str = "") -> NotAllowed:
    return NotAllowed(
        f"{workspace.name} still has conflict markers in {listed(left)}. Nothing was merged.",
        f"Edit the files in {workspace.location} until no markers are left, then call again.{besides}",
        paths=list(left),
    )


def _refuse_obstacles(receiver: Workspace, merged: Merge, obstacles: Sequence[str], moves: bool) -> None:
    """A file that is dirty in the target is refused by name; while other paths conflict, and so nothing `moves`, only when it is one of those."""
    conflicting = {conflict.path for conflict in merged.conflicts}
    blocking = [path for path in obstacles if moves or not conflicting or path in conflicting]
    if blocking:
        raise TargetDirty(
            f"{receiver.name} has uncommitted, untracked or ignored work in {listed(blocking)}, which this merge changes. Nothing was changed.",
            f"Commit it or move it away, or merge into a clone of {receiver.name}.{emptied(blocking, merged.changes)}",
            paths=list(blocking),
        )
