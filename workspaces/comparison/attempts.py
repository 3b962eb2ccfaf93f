"""Freezing what is compared, all at one time, and working out each attempt for itself: what it changed, and whether that merges."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from workspaces.backend import Backend
from workspaces.containment import said_of, taken_back
from workspaces.core import Agreement, Core, Freeze, Progress
from workspaces.errors import Limit, NotFound, WorkspacesError
from workspaces.model import Decided, Diff, Meeting, Merge, MergeVerdict, Snapshot, Workspace
from workspaces.resolving import Sides, settled
from workspaces.threads import several


@dataclass(frozen=True)
class Attempt:
    """One workspace, frozen, beside what it is compared with."""

    workspace: Workspace
    snapshot: Snapshot
    against: Snapshot
    base: Snapshot
    diff: Diff
    merge: Merge
    behind: int = 0
    lost: str = ""
    """What is to be said when the parent had its work and has taken it back."""
    under: Diff = field(default_factory=Diff)
    """What its parent changed since the two agreed."""
    decided: tuple[Decided, ...] = ()
    """The paths that conflict and that a rule decides."""

    @property
    def verdict(self) -> MergeVerdict:
        if self.merge.conflicts:
            return "conflicts"
        waits = any(each.when_merged for each in self.decided)
        return "up_to_date" if self.merge.contents == self.against.contents and not waits else "clean"


@dataclass(frozen=True)
class Scene:
    """All that is compared, as it was at one time: each workspace, and what it is compared with, by id. `main` is the project's own checkout with
    all that is uncommitted in it, where that says anything about the attempts; or why it could not be had."""

    workspaces: Sequence[Workspace]
    snapshots: Sequence[Snapshot]
    against: Mapping[str, Snapshot]
    main: Snapshot | WorkspacesError | None = None
    left_out: tuple[str, ...] = ()
    """What is to be said of those that could not be frozen."""


@contextmanager
def frozen(
    core: Core, view: Backend, workspaces: Sequence[Workspace], base: str, progress: Progress, are_all: bool = False
) -> Generator[Scene]:
    """Freeze all as they are at one time, what they are compared with just once, and hold them until the block ends. Where nobody named them, those
    that are gone, or made from one that is, are left out, if there are others."""
    others = [core.find(base.partition("@")[0])] if base else [core.parent(each) for each in workspaces if not each.is_main]
    held = {each.id: each for each in (*workspaces, *others)}
    with core.looking(view, *held.values()) as freeze:
        core.read_merges(held.values())
        with several() as pool:
            against = {other.id: pool.submit(_frozen, core, freeze, other, base) for other in {each.id: each for each in others}.values()}
            attempts = [pool.submit(_frozen_attempt, core, freeze, each, others[0] if base else None) for each in workspaces]
            main = next((pool.submit(_whole, freeze, other) for other in others if other.is_main and not base), None)
            wanted = [*zip(workspaces, attempts, strict=True)]
            gone = _gone(core, wanted, against) if are_all else {}
            there = [(each, attempt) for each, attempt in wanted if len(gone) == len(wanted) or each.id not in gone]
            snapshots = [_reported(partial(progress, 0, len(attempts)), *each) for each in there]
            found = {name: each.result() for name, each in against.items() if base or name in {core.parent(one).id for one, _ in there}}
        left_out = tuple(f"{each.name} was left out: {gone[each.id]}" for each, _ in wanted if each.id in gone)
        yield Scene([each for each, _ in there], snapshots, found, main.result() if main else None, left_out)


def _gone(core: Core, wanted: Sequence[tuple[Workspace, Future[Snapshot]]], against: Mapping[str, Future[Snapshot]]) -> dict[str, str]:
    """Return of which workspaces the folder is gone, or that of what they are compared with, and how that is told."""
    found: dict[str, str] = {}
    for workspace, attempt in wanted:
        parent = core.parent(workspace)
        try:
            with core.told_apart(workspace, parent):
                attempt.result()
                if parent.id in against:
                    against[parent.id].result()
        except NotFound as error:
            found[workspace.id] = error.message
    return found


def worked_out(core: Core, view: Backend, scene: Scene, base: str, progress: Progress) -> list[Attempt]:
    """Work out each attempt for itself."""
    _foreseen(core, view, scene, base)
    done: list[Attempt] = []
    with several() as pool:
        pairs = zip(scene.workspaces, scene.snapshots, strict=True)
        work = [pool.submit(_attempt, core, view, workspace, snapshot, scene.against, base) for workspace, snapshot in pairs]
        for workspace, future in zip(scene.workspaces, work, strict=True):
            done.append(_result(workspace, future))
            progress(len(done), len(work), f"looked at {workspace.name}")
    return done


def _foreseen(core: Core, view: Backend, scene: Scene, base: str) -> None:
    """Let attempts be looked at together, as far as that can be told beforehand; each is looked at by itself where that fails."""
    if base or not core.backend.capabilities.foresees:
        return
    pairs = [
        (core.parent(each), each, snapshot) for each, snapshot in zip(scene.workspaces, scene.snapshots, strict=True) if not each.is_main
    ]
    meetings = [
        Meeting(ours=scene.against[parent.id], theirs=snapshot, lineage=tuple(core.granted(parent, each)))
        for parent, each, snapshot in pairs
    ]
    with suppress(WorkspacesError):
        view.foresee(meetings)


def _reported(said: Callable[[str], None], workspace: Workspace, future: Future[Snapshot]) -> Snapshot:
    """Return a workspace's snapshot when it is there; the call may be stopped then."""
    snapshot = future.result()
    said(f"froze {workspace.name}")
    return snapshot


def _whole(freeze: Freeze, main: Workspace) -> Snapshot | WorkspacesError:
    """Freeze main with what is uncommitted. Where that cannot be had, the rest is worth telling all the same."""
    try:
        return freeze(main)
    except WorkspacesError as error:
        return error


def _result(workspace: Workspace, future: Future[Attempt]) -> Attempt:
    """Return an attempt. One that is too large is refused by name, so that the others can be compared without it."""
    try:
        return future.result()
    except Limit as error:
        raise Limit(f"{workspace.name}: {error.message}", error.hint, **{**error.details, "workspace": workspace.id}) from error


def _frozen(core: Core, freeze: Freeze, other: Workspace, base: str) -> Snapshot:
    """Freeze what workspaces are compared with: a parent, or what was named instead."""
    if "@" in base:
        return _restore_point(core, other, base)
    return freeze(other, core.lineage(other), committed=other.is_main and not base)


def _frozen_attempt(core: Core, freeze: Freeze, workspace: Workspace, other: Workspace | None) -> Snapshot:
    contained = core.contained(workspace, other) if other else ()
    return freeze(workspace, [*core.lineage(workspace), *contained])


def _attempt(core: Core, view: Backend, workspace: Workspace, snapshot: Snapshot, frozen: Mapping[str, Snapshot], base: str) -> Attempt:
    """Work out the merge of a frozen workspace into its parent, or all that differs from what was named instead."""
    if base:
        ((name, against),) = frozen.items()
        other = core.find(name)
        met = settled(core, view, Sides(other, workspace, against, snapshot, core.granted(other, workspace)))
        return Attempt(workspace, snapshot, against, against, view.diff(against, snapshot), met.merge, decided=met.decided)
    if workspace.is_main:
        return _main(view, workspace, snapshot)
    parent = core.parent(workspace)
    against = frozen[parent.id]
    lineage, agreed = core.granted(parent, workspace), core.agreed(workspace)
    ancestor = view.base(against, snapshot, lineage, view.load(agreed.snapshot))
    met = settled(core, view, Sides(parent, workspace, against, snapshot, lineage))
    diff, under = view.diff(ancestor, snapshot), view.diff(_left(view, parent, agreed), against)
    lost = taken_back(core, view, workspace, against)
    said = f"{workspace.name} was merged, but {said_of(core, workspace, lost)}." if lost else ""
    return Attempt(workspace, snapshot, against, ancestor, diff, met.merge, core.behind(view, agreed, against), said, under, met.decided)


def _left(view: Backend, parent: Workspace, agreed: Agreement) -> Snapshot:
    """Return the parent as it was when the two agreed: of main, what was committed, since that is what it is compared as."""
    since = view.load(agreed.snapshot)
    head = agreed.head or since.head
    return view.load(head) if parent.is_main and head else since


def _restore_point(core: Core, workspace: Workspace, name: str) -> Snapshot:
    points = [point for point, _ in core.store.restore_points(workspace.uid)]
    found = next((point for point in points if point.name == name.removeprefix(f"{core.row.name}/")), None)
    if found is None:
        known = ", ".join(point.name for point in points[:5]) or "none"
        raise NotFound(f"No restore point {name!r}. Of {workspace.name} there are: {known}.", "workspaces log lists what was done.")
    return found.snapshot


def _main(view: Backend, workspace: Workspace, snapshot: Snapshot) -> Attempt:
    """Show main's uncommitted work; it has no parent to merge into."""
    committed = view.snapshot(workspace, committed=True)
    return Attempt(workspace, snapshot, committed, committed, view.diff(committed, snapshot), Merge(contents=committed.contents))
