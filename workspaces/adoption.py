"""Taking back what lies on disk and nobody remembers: what is known of it is as much as the disk tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

from workspaces.core import Core
from workspaces.errors import Busy, Exists
from workspaces.model import Workspace, now


def forgotten(core: Core) -> list[Workspace]:
    """Return the project's workspaces that are whole on disk, and not remembered."""
    # Looked at before what is remembered: a clone is remembered before anything of it is on disk.
    there = sorted(core.backend.remains(), key=lambda each: (each.created, each.name))
    known = core.store.uids
    return [each for each in there if each.project == core.row.name and each.uid not in known]


def adopt(core: Core) -> Iterator[str]:
    """Remember them again, as clones of main that have all of their work still to be merged. Yields what was done."""
    for workspace in forgotten(core):
        with suppress(Busy, Exists), core.locks.change(core.key(workspace), patience=1):
            if workspace.uid in {each.uid for each in forgotten(core)}:
                yield _adopted(core, workspace)


def _adopted(core: Core, workspace: Workspace) -> str:
    if workspace.state != "deleted":
        core.store.save(workspace)
        return f"took back {workspace.id}, which nobody remembered, as a clone of main"
    until = now() + timedelta(days=core.config.trash.days)
    core.store.save(workspace.model_copy(update={"deleted": now(), "restorable_until": until}), "deleted")
    return f"took back {workspace.id}, which nobody remembered, into the trash"
