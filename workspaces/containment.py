"""Whether a workspace's work is in its parent: by what was merged, by what a merge would add, and by what the parent still has of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from workspaces.backend import Backend
from workspaces.core import Core
from workspaces.errors import WorkspaceGone, WorkspacesError
from workspaces.gone import last_seen
from workspaces.model import Change, Snapshot, Workspace
from workspaces.wording import listed


def committed(core: Core, view: Backend, parent: Workspace) -> Snapshot:
    """Freeze what a parent has for good: what main only has uncommitted may be thrown away without our knowing. One whose folder is gone has what was
    last seen of it."""
    try:
        return view.snapshot(parent, core.lineage(parent), committed=parent.is_main)
    except WorkspaceGone:
        if parent.is_main:
            raise
        return last_seen(core, view, parent) or view.load(parent.origin)


def contained(core: Core, view: Backend, workspace: Workspace, snapshot: Snapshot) -> str:
    """Return why deleting a workspace loses nothing, by the cheapest test that shows it; nothing when it has what its parent has not.

    Repositories inside of it, which no merge brings, are work of its own.
    """
    if snapshot.left_out or snapshot.ahead:
        return ""
    agreed, parent = view.load(core.agreed(workspace).snapshot), core.parent(workspace)
    if taken_back(core, view, workspace, committed(core, view, parent)):
        return ""
    if (snapshot.contents, snapshot.head) == (agreed.contents, agreed.head):
        return f"it has nothing that {parent.id} has not"
    return "" if left(core, view, workspace, snapshot) else f"merging it into {parent.id} would add nothing"


def left(core: Core, view: Backend, workspace: Workspace, snapshot: Snapshot) -> tuple[Change, ...]:
    """Return what a merge into the parent would bring, or all of a workspace's change where that conflicts."""
    parent = core.parent(workspace)
    ours = committed(core, view, parent)
    merged = view.merge(ours, snapshot, core.granted(parent, workspace))
    return view.diff(view.load(core.agreed(workspace).snapshot), snapshot).changes if merged.conflicts else merged.changes


def taken_back(core: Core, view: Backend, workspace: Workspace, parent: Snapshot) -> tuple[str, ...]:
    """Return the paths at which the parent got this workspace's work and has it no longer, though its history says so: after a revert."""
    found = [path for loss in losses(core, view, workspace, parent) for path in loss.paths]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Loss:
    """What a parent got by one merge and has no longer: at which paths, what stood there before, and which commit brought it."""

    paths: tuple[str, ...]
    before: Snapshot
    after: Snapshot
    head: str


def losses(core: Core, view: Backend, workspace: Workspace, parent: Snapshot) -> list[Loss]:
    """Return what the parent got of a workspace and took back, merge by merge, oldest first."""
    merges = [(_began(view, view.load(old), view.load(new)), view.load(new), head) for old, new, head in core.brought(workspace)]
    found = [Loss(tuple(_taken_back(view, old, new, parent)), old, new, head) for old, new, head in merges]
    return [loss for loss in found if loss.paths]


def _began(view: Backend, old: Snapshot, new: Snapshot) -> Snapshot:
    """Return what work was done on: what the workspace was before, or what its head has in common with that, where another commit was checked
    out."""
    return view.base(old, new, (), old)


def undone_by(view: Backend, loss: Loss, parent: Snapshot) -> tuple[str, str]:
    """Return the commit that took work back, and its subject; nothing where none can be told: no commits, or merges among them."""
    if loss.head:
        with suppress(WorkspacesError):
            for pick in view.series(view.load(loss.head), parent, (), loss.paths):
                touched = pick.before.contents != pick.after.contents
                if touched and {*loss.paths} & {*_taken_back(view, loss.before, loss.after, pick.after)}:
                    return pick.commit, pick.subject
    return "", ""


def _taken_back(view: Backend, old: Snapshot, new: Snapshot, parent: Snapshot) -> list[str]:
    """Return the paths where taking the way from `old` to `new` back would change nothing. What was renamed or removed later is left out."""
    if parent.contents == new.contents:
        return []
    work, since = view.diff(old, new), view.diff(new, parent)
    if work.paths.isdisjoint(since.paths):  # it has all of that as it got it
        return []
    back = view.merge(parent, view.graft(old, onto=new.id), [new.id])
    made = {change.path for change in work.changes if change.status in ("added", "renamed", "copied")}
    touched = {path for change in back.changes for path in (change.path, change.old_path)} | {each.path for each in back.conflicts}
    moved = {change.old_path for change in since.changes} | {change.path for change in since.changes if change.status == "deleted"} - made
    return sorted(work.paths - touched - moved)


def said_of(core: Core, workspace: Workspace, paths: Sequence[str]) -> str:
    return f"{core.parent(workspace).name} has taken its work back since in {listed(paths)} (a revert?)"
