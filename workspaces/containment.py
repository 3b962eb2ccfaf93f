"""Whether a workspace's work is in its parent: by what was merged, by what a merge would add, and by what the parent still has of it."""

from __future__ import annotations

from collections.abc import Sequence

from workspaces.backend import Backend
from workspaces.core import Core
from workspaces.model import Change, Snapshot, Workspace
from workspaces.wording import listed


def committed(core: Core, view: Backend, parent: Workspace) -> Snapshot:
    """Freeze what a parent has for good: what main only has uncommitted may be thrown away without our knowing."""
    return view.snapshot(parent, core.lineage(parent), committed=parent.is_main)


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
    found = [path for old, new in core.brought(workspace) for path in _taken_back(view, view.load(old), view.load(new), parent)]
    return tuple(dict.fromkeys(found))


def _taken_back(view: Backend, old: Snapshot, new: Snapshot, parent: Snapshot) -> list[str]:
    """Return the paths where taking the way from `old` to `new` back would change nothing. What was renamed or removed later is left out."""
    if parent.contents == new.contents:
        return []
    back, work = view.merge(parent, view.graft(old, onto=new.id), [new.id]), view.diff(old, new)
    made = {change.path for change in work.changes if change.status in ("added", "renamed", "copied")}
    touched = {path for change in back.changes for path in (change.path, change.old_path)} | {each.path for each in back.conflicts}
    later = view.diff(new, parent).changes
    moved = {change.old_path for change in later} | {change.path for change in later if change.status == "deleted"} - made
    return sorted(work.paths - touched - moved)


def said_of(core: Core, workspace: Workspace, paths: Sequence[str]) -> str:
    return f"{core.parent(workspace).name} has taken its work back since in {listed(paths)} (a revert?)"
