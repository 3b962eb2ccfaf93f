"""Freeing what nobody needs any more: the only thing here that removes for good, and it says beforehand what it will remove.

Never what is younger than a day, and never anything that is not in the trash: abandoned workspaces go there first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

from workspaces import checks, preparing
from workspaces.containment import contained
from workspaces.core import Core, Progress, silent
from workspaces.errors import Busy, WorkspacesError
from workspaces.model import Collected, Freed, Workspace, now
from workspaces.removal import delete
from workspaces.wording import counted

YOUNG = timedelta(days=1)
_REQUESTS, _VERDICTS = timedelta(days=14), timedelta(days=90)


def gc(
    core: Core, abandoned: bool = False, discard_unmerged: bool = False, dry_run: bool = False, progress: Progress = silent
) -> Collected:
    """Remove for good the deleted workspaces whose term is over, and the oldest beyond the size that the trash may have.

    With `abandoned`, workspaces whose lease ended are deleted first (into the trash, restorable) when that loses nothing, or with
    `discard_unmerged` in any case. `dry_run` only says what would happen. Every removal is an operation of its own, and survives a kill.
    """
    lapsed = [each for each in core.live() if core.shown(each).state == "abandoned"] if abandoned else []
    going, kept = _sorted_out(core, lapsed, discard_unmerged)
    if going and not dry_run:
        kept |= delete(core, [each.name for each in going], discard_unmerged=discard_unmerged, children="reparent").kept
    deleted = [each.id for each in going if each.id not in kept]
    due = list(_due(core))
    freed: list[Freed] = []
    for number, (workspace, size, why) in enumerate(due):
        progress(number, len(due), f"removing {workspace.name}")
        try:
            if not dry_run and not _purge(core, workspace):
                continue
        except WorkspacesError as error:  # the next call goes on with it; the others need not wait for that
            kept[workspace.id] = f"it could not be removed for good: {error.message}"
            continue
        freed.append(Freed(id=workspace.id, deleted=workspace.deleted or workspace.created, size=size, why=why))
    if not dry_run:
        core.store.drop_requests(core.row.name, (now() - _REQUESTS).isoformat())
        checks.forget(core, now() - _VERDICTS)
        core.store.shorten()
        if not preparing.wanted(core):
            with suppress(Busy):
                preparing.prepare(core, 0, patience=0)
    return _answer(core, deleted, freed, kept, dry_run)


def _sorted_out(core: Core, lapsed: list[Workspace], discard_unmerged: bool) -> tuple[list[Workspace], dict[str, str]]:
    """Return which abandoned workspaces go, and of the others why they stay."""
    going: list[Workspace] = []
    kept: dict[str, str] = {}
    for workspace in lapsed:
        try:
            with core.backend.aside() as view, core.looking(view, workspace) as freeze:
                snapshot = freeze(workspace, [*core.lineage(workspace), *core.contained(workspace, core.parent(workspace))])
                proof = contained(core, view, workspace, snapshot)
        except WorkspacesError as error:
            kept[workspace.id] = error.message
            continue
        if proof or discard_unmerged:
            going.append(workspace)
        else:
            kept[workspace.id] = (
                f"it has work that {core.parent(workspace).id} has not; discard_unmerged deletes it all the same (restorable)"
            )
    return going, kept


def _due(core: Core) -> Iterator[tuple[Workspace, int, str]]:
    """Yield what may be removed for good, oldest first, with its size in bytes and the reason."""
    limit = int(core.config.trash.max_gb * 10**9)
    gone = sorted(core.store.workspaces(core.row.name, ("deleted",)), key=lambda each: each.deleted or each.created)
    sizes = {each.uid: core.backend.weigh(each) for each in gone} if limit else {}
    total = sum(sizes.values())
    for workspace in gone:
        over = bool(limit) and total > limit
        ended = workspace.restorable_until is None or workspace.restorable_until < now()
        if (over or ended) and (workspace.deleted or workspace.created) < now() - YOUNG:
            size = sizes[workspace.uid] if limit else core.backend.weigh(workspace)
            total -= size
            yield workspace, size, "its term is over" if ended else "the trash is larger than it may be"


def _purge(core: Core, workspace: Workspace) -> bool:
    """Remove a deleted workspace for good. False when somebody brought it back meanwhile."""
    with core.changing(workspace):
        known = core.store.workspace(workspace.uid)
        if known is None or known.state != "deleted":
            return False
        operation = core.begin("purge", workspace)
        core.backend.purge(workspace)
        core.store.forget(workspace.uid)
        core.store.finish(operation.model_copy(update={"state": "done"}))
    return True


def _answer(core: Core, deleted: list[str], freed: list[Freed], kept: dict[str, str], dry_run: bool) -> Collected:
    size = sum(each.size for each in freed)
    verb = "Would remove" if dry_run else "Removed"
    left = len(core.store.workspaces(core.row.name, ("deleted",))) - (len(freed) if dry_run else 0)
    moved = f" {'Would delete' if dry_run else 'Deleted'} {counted(len(deleted), 'abandoned workspace')} (restorable)." if deleted else ""
    return Collected(
        summary=f"{verb} {counted(len(freed), 'deleted workspace')} for good, {size:,} bytes; {left} stay restorable.{moved}",
        freed=tuple(freed),
        deleted=tuple(deleted),
        kept=kept,
        size=size,
        next=("workspaces gc --yes",) if dry_run and (freed or deleted) else ("workspaces undo",) if deleted else (),
    )
