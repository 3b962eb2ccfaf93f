"""What a crash left behind, put right: a clone is rolled back, a delete or restore from the trash forward, a merge whichever way is nearer.

Whoever holds the locks of an unfinished operation knows that nobody of it lives, for its git children hold them too. Every step may itself be
interrupted and done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache

from workspaces.core import Core, new_uid
from workspaces.errors import Busy, WorkspacesError
from workspaces.model import Operation, Snapshot, Workspace

ABANDONED = 10.0
"""Seconds after which whoever was to have a clone's files written out does not any more."""

logger = logging.getLogger(__name__)


def recover(core: Core) -> None:
    """End every operation of the project that was begun by a process that is gone, and clear away its copies for checks.

    What cannot be ended now is left for later.
    """
    if core.copies.is_dir():
        from workspaces import checks

        checks.clear(core)
    _make_good(core)
    for operation in _unfinished(core):
        own = replace(core, call=new_uid(), is_named=False, resumes=False)  # what is set aside here is no part of the call that came by
        try:
            with _held(own, operation):
                if operation.id in {each.id for each in _unfinished(own)}:
                    _END[operation.verb](own, operation)
        except Busy:
            continue
        except (WorkspacesError, OSError) as error:
            _warn(f"{operation.verb} {operation.id} cannot be ended yet: {error}")


@lru_cache(maxsize=1000)
def _warn(said: str) -> None:
    """Warn of what is not ended, once: whoever waits for it tries again and again."""
    logger.warning("%s", said)


def _make_good(core: Core) -> None:
    """See to the files of clones that are not on the disk yet: those of a process that is gone are written out, and what a power cut took is made
    again."""
    if not core.has_pending or not core.backend.capabilities.defers:
        return
    try:
        core.backend.write_out(ABANDONED)
    except (WorkspacesError, OSError) as error:
        _warn(f"the files of clones cannot be written out yet: {error}")
    for uid in core.backend.lost():
        workspace = core.store.workspace(uid)
        try:
            with core.locks.change(*([core.key(workspace)] if workspace else []), patience=0):
                if made := core.backend.make_good(uid, workspace):
                    logger.warning("a power cut had taken %d files of %s; they are there again", len(made), uid)
        except Busy:
            continue
        except (WorkspacesError, OSError) as error:
            _warn(f"the files of clone {uid} cannot be made good yet: {error}")


def _unfinished(core: Core) -> list[Operation]:
    return core.store.started(core.row.name)


def _held(core: Core, operation: Operation) -> AbstractContextManager[None]:
    """Hold what the operation held: alone what it moves, with other readers what it only read."""
    keys = [name.replace("/", ".", 1) for name in operation.workspaces]
    if operation.verb == "clone":
        return core.locks.change(*keys, patience=0)
    return core.locks.change(*keys[-1:], freeze=keys[:-1], patience=0)


def _end(core: Core, operation: Operation, *saved: tuple[Workspace, str], state: str = "done") -> None:
    core.store.finish(operation.model_copy(update={"state": state}), *saved)


def _clone(core: Core, operation: Operation) -> None:
    """Roll back: nobody was told of these clones. One that may have been found and worked in goes into the trash."""
    from workspaces.aside import set_aside, take_back

    half_made = {workspace.uid for workspace in core.store.workspaces(core.row.name, ("creating",))}
    live = {workspace.uid for workspace in core.live()}
    for workspace in core.known(operation.uids):
        if workspace.uid in half_made:
            logger.info("%s", take_back(core, workspace))
        elif workspace.uid in live and not core.children(workspace):
            set_aside(core, workspace, why="its clone was interrupted before anybody was told of it")
    _end(core, operation, state="failed")


def _delete(core: Core, operation: Operation) -> None:
    (workspace,) = core.known(operation.uids)
    if workspace.state == "deleted":
        core.backend.retire(workspace, None)
        _end(core, operation, (workspace, "deleted"))
    else:
        _end(core, operation, state="failed")


def _purge(core: Core, operation: Operation) -> None:
    for workspace in core.known(operation.uids):
        core.backend.purge(workspace)
        core.store.forget(workspace.uid)
    _end(core, operation)


def _revive(core: Core, operation: Operation) -> None:
    (workspace,) = core.known(operation.uids)
    if workspace.state == "deleted":
        _end(core, operation, state="failed")
    else:
        from workspaces.aside import record_return
        from workspaces.gone import brought_back

        brought_back(core, workspace, operation)
        record_return(core, operation, workspace)


def _move(core: Core, operation: Operation, workspace: Workspace) -> bool:
    note = operation.outcome
    old, new = Snapshot.model_validate(note["old"]), Snapshot.model_validate(note["new"])
    return core.backend.settle(workspace, old, new, str(note["reason"]), operation.at, bool(note.get("whole", False)))


def _merge(core: Core, operation: Operation) -> None:
    from workspaces.merging import record

    bringer, receiver = core.known(operation.uids)
    if _move(core, operation, receiver):
        record(core, operation, bringer, receiver)
    else:
        _end(core, operation, state="failed")


def _restore(core: Core, operation: Operation) -> None:
    from workspaces.history import record_restore

    (workspace,) = core.known(operation.uids)
    if _move(core, operation, workspace):
        record_restore(core, operation, workspace)
    else:
        _end(core, operation, state="failed")


def _checkpoint(core: Core, operation: Operation) -> None:
    _end(core, operation, state="failed")


_END: dict[str, Callable[[Core, Operation], None]] = {
    "clone": _clone,
    "delete": _delete,
    "purge": _purge,
    "revive": _revive,
    "merge": _merge,
    "restore": _restore,
    "checkpoint": _checkpoint,
}
