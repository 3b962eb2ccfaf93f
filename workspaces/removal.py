"""Deleting workspaces, which is setting them aside whole, and bringing them back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from workspaces.core import Core, Progress, silent
from workspaces.errors import HasChildren, NotFound, Protected, UnmergedChanges, WorkspaceGone, WorkspacesError
from workspaces.model import Change, Children, Deleted, Restored, Snapshot, Workspace, now
from workspaces.wording import counted, listed, sized

KEPT_FOR = timedelta(days=14)


def delete(
    core: Core,
    names: Sequence[str],
    discard_unmerged: bool = False,
    children: Children = "refuse",
    progress: Progress = silent,
) -> Deleted:
    """Set workspaces aside. What was there stays restorable; unmerged work is refused unless it may go."""
    deleted: list[str] = []
    refused: dict[str, WorkspacesError] = {}
    wanted, gone = _resolved(core, names)
    until: datetime | None = None
    for number, workspace in enumerate(wanted):
        progress(number, len(wanted), f"deleting {workspace.name}")
        try:
            going = _with_children(core, workspace, children)
            for each in going:
                _refuse_unmerged(core, each, discard_unmerged)
            for each in reversed(going):
                until = _delete(core, each, discard_unmerged, children) if each.id not in deleted else until
                deleted.append(each.id)
        except WorkspacesError as error:
            refused[workspace.id] = error
    if refused and not deleted and not gone and len(names) == 1:
        raise next(iter(refused.values()))
    return Deleted(
        summary=_summary(deleted, refused, gone, until),
        deleted=tuple(deleted),
        kept={name: error.message for name, error in refused.items()},
        restorable_until=until,
        next=tuple(f"undo: restore(workspace='{name.split('/')[-1]}')" for name in deleted[:1]),
    )


def _resolved(core: Core, names: Sequence[str]) -> tuple[list[Workspace], list[str]]:
    """Return the workspaces that are meant, and the ids of those deleted before. Raises before anything is deleted."""
    wanted: dict[str, Workspace] = {}
    gone: list[str] = []
    for name in names:
        try:
            workspace = core.find(name)
        except NotFound:
            if (before := core.find_deleted(name)) is None:
                raise
            gone.append(before.id)
            continue
        if workspace.is_main:
            raise Protected("main is the project itself and cannot be deleted. Nothing was deleted.", "Delete clones by their names.")
        wanted[workspace.id] = workspace
    # Clones before what they were cloned from, so that one call can name both.
    depth = {each.id: len([1 for other in wanted.values() if core.descends(each, other)]) for each in wanted.values()}
    return sorted(wanted.values(), key=lambda each: -depth[each.id]), gone


def _with_children(core: Core, workspace: Workspace, children: Children) -> list[Workspace]:
    """Return what goes: the workspace, and its descendants when they go too, nearest first."""
    below = core.children(workspace)
    if children == "refuse" and below:
        names = ", ".join(child.name for child in below[:5])
        raise HasChildren(
            f"{workspace.name} has {counted(len(below), 'clone')}: {names}. Nothing was deleted.",
            "Delete them first, or call with children='delete', or 'reparent' to hand them to its own parent.",
            children=[child.id for child in below],
        )
    going = [each for child in below for each in _with_children(core, child, children)] if children == "delete" else []
    return [workspace, *going]


def _delete(core: Core, workspace: Workspace, discard_unmerged: bool, children: Children) -> datetime:
    with core.changing(workspace, reading=[core.parent(workspace)]):
        workspace = core.find(workspace.id)
        snapshot = last_look(core, workspace, discard_unmerged)
        if children == "reparent":
            _hand_over(core, workspace)
        return set_aside(core, workspace, snapshot)


def last_look(core: Core, workspace: Workspace, discard_unmerged: bool) -> Snapshot | None:
    """Freeze a workspace that the caller holds for good, after making sure that nothing unmerged goes unasked.

    None when its files are gone already, or so broken that they can only be set aside as they are.
    """
    _refuse_unmerged(core, workspace, discard_unmerged)
    try:
        with core.backend.aside() as view:
            snapshot = view.snapshot(workspace, core.lineage(workspace))
            with view.keep_all():
                core.backend.keep(workspace, "last", snapshot)
        return snapshot
    except WorkspacesError:
        return None


def _refuse_unmerged(core: Core, workspace: Workspace, discard_unmerged: bool) -> None:
    if discard_unmerged:
        return
    try:
        left, inside = unmerged(core, workspace)
    except WorkspaceGone:
        return
    if left or inside:
        what = sized(left) if left else f"repositories of its own: {listed(inside)}"
        raise UnmergedChanges(
            f"{workspace.name} has unmerged work: {what}. Nothing was deleted.",
            f"Review it with compare(workspaces=['{workspace.name}']), merge it, or delete again with discard_unmerged=true "
            f"(restorable for {KEPT_FOR.days} days).",
            files=[change.path for change in left[:50]],
        )


def unmerged(core: Core, workspace: Workspace) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """Return what the workspace has that its parent has not: what a merge would bring, or all of its change where that conflicts; and the
    repositories inside of it, which no merge brings."""
    parent = core.parent(workspace)
    with core.backend.aside() as view:
        ours = view.snapshot(parent, core.lineage(parent), committed=parent.is_main)
        theirs = view.snapshot(workspace, [*core.lineage(workspace), *core.contained(workspace, parent)])
        merged = view.merge(ours, theirs, core.granted(parent, workspace))
        if merged.conflicts:
            return view.diff(view.load(core.agreed(workspace).snapshot), theirs).changes, theirs.left_out
        return merged.changes, theirs.left_out


def _hand_over(core: Core, workspace: Workspace) -> None:
    """Give the clones of a workspace to its parent. Their base goes back to where it left the parent, so its work counts as theirs."""
    base = core.agreed(workspace).snapshot
    for child in core.children(workspace):
        with core.changing(child):
            core.backend.keep(child, "base-before", core.backend.load(base))
            core.store.save(core.find(child.id).model_copy(update={"parent": workspace.parent, "base": base, "origin": base}))


def set_aside(core: Core, workspace: Workspace, snapshot: Snapshot | None) -> datetime:
    """Move a workspace into the trash, journaled. The caller holds it. Raises `HasChildren` while it has clones."""
    if below := core.children(workspace):
        raise HasChildren(f"{workspace.name} has {counted(len(below), 'clone')}.", "Delete them first, or delete with children='reparent'.")
    until = now() + KEPT_FOR
    operation = core.begin("delete", workspace)
    gone = workspace.model_copy(update={"state": "deleted", "restorable_until": until})
    core.store.save(gone, "deleting")
    core.backend.retire(workspace, snapshot)
    core.store.finish(operation.model_copy(update={"state": "done"}), (gone, "deleted"))
    return until


def revive(core: Core, workspace: Workspace) -> Restored:
    """Bring a deleted workspace back, byte for byte."""
    with core.changing(workspace):
        operation = core.begin("revive", workspace)
        undo = partial(core.store.finish, operation.model_copy(update={"state": "failed"}), (workspace, "deleted"))
        back = workspace.model_copy(update={"state": "ready", "restorable_until": None})
        try:
            core.store.save(back, "restoring")
            core.backend.revive(back)
        except WorkspacesError:
            undo()
            raise
        core.store.finish(operation.model_copy(update={"state": "done"}), (back, "live"))
    return Restored(
        summary=f"Restored {workspace.name}, as it was when it was deleted.",
        workspace=back,
        next=(f"compare(workspaces=['{workspace.name}'])",),
    )


def _summary(deleted: Sequence[str], refused: dict[str, WorkspacesError], gone: Sequence[str], until: datetime | None) -> str:
    said: list[str] = []
    if deleted and until:
        said.append(f"Deleted {counted(len(deleted), 'workspace')} (restorable until {until:%d %b %Y}).")
    if refused:
        said.append(f"Kept {counted(len(refused), 'workspace')}: see why in kept.")
    if gone:
        said.append(f"{counted(len(gone), 'workspace')} had been deleted before.")
    return " ".join(said) or "Nothing to delete."
