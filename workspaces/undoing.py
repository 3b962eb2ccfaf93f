"""Taking back what a call did, and doing it again: a merge, delete, clone or restore, whichever workspace has its name by now."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace

from workspaces.aside import revive
from workspaces.core import Core
from workspaces.errors import InvalidArgument, NotFound, WorkspacesError
from workspaces.history import restore, told
from workspaces.model import Operation, RestorePoint, Undone, Workspace
from workspaces.removal import delete, take_over
from workspaces.wording import listed

_UNDOABLE = ("merge", "delete", "clone", "restore", "revive")


def undo(core: Core, number: int = 0) -> Undone:
    """Take back all that one merge, delete, clone, restore or lease of the past did: the call to which the operation of that number belongs,
    or the last call that stands. Called again without a number, it takes back the one before. What others built on a merge stays."""
    together = _call_of(core, number) if number else _standing_of(core, next(_standing(core), None))
    if not together:
        raise NotFound(
            "Nothing is left to take back. Nothing was changed.", "workspaces log shows what was done; workspaces redo goes forward."
        )
    with _told_further(core, together):
        within, beyond = _within_reach(core, together)
        said = [_undone(replace(core, undoing=last.call), last) for last in within]
    return Undone(
        summary=" ".join([*said, *beyond]),
        operations=tuple(told(each.model_copy(update={"state": "undone"})) for each in within),
        next=("workspaces redo",),
    )


@contextmanager
def _told_further(core: Core, together: list[Operation]) -> Generator[None]:
    """Let an error say how to go past what cannot be taken back: nothing else would ever come before it."""
    try:
        yield
    except WorkspacesError as error:
        older = next((each for each in _standing(core) if each.id < together[0].id and each.call != together[0].call), None)
        if older:
            error.hint += f" workspaces undo {older.id} goes past it, to the {older.verb} before."
        else:
            error.hint += " Nothing else stands that could be taken back."
        raise


def _standing(core: Core) -> Iterator[Operation]:
    """Yield what an undo could take back, newest first."""
    return filter(_stands, core.store.past(core.row.name))


def _stands(operation: Operation) -> bool:
    """Return whether an operation was done, stands, and is no undo or redo itself."""
    return operation.state == "done" and operation.verb in _UNDOABLE and not {"undoes", "redoes"} & operation.arguments.keys()


def _standing_of(core: Core, meant: Operation | None) -> list[Operation]:
    """Return all that stands of an operation's call, newest first."""
    return [*filter(_stands, core.store.operations_of(core.row.name, meant.call))] if meant else []


def _call_of(core: Core, number: int) -> list[Operation]:
    """Return all that stands of the call to which an operation belongs. Raises when there is nothing to take back about it."""
    meant = core.store.numbered(core.row.name, [number]).get(number)
    if meant is None:
        raise NotFound(f"There is no operation {number}. Nothing was changed.", "workspaces log shows their numbers.")
    together = _standing_of(core, meant)
    if not together:
        why = (
            f"is {meant.state}" if meant.state != "done" else "is an undo or redo itself" if meant.verb in _UNDOABLE else "changed nothing"
        )
        raise InvalidArgument(
            f"Operation {number} ({meant.verb}) {why}, so it cannot be taken back. Nothing was changed.",
            "workspaces log shows what stands.",
        )
    return together


def redo(core: Core) -> Undone:
    """Do again what the last undo took back, as long as nothing else was done since. Called again, it does what the undo before it took back."""
    undo = next((each for each in core.store.past(core.row.name) if _is_undo(each)), None)
    later = next(_standing(core), None)
    if undo is None or (later and later.id > undo.id):
        why = "something else was done since the last undo" if undo else "nothing was taken back"
        raise NotFound(
            f"Nothing can be done again: {why}. Nothing was changed.", "workspaces log shows what was done; undo takes a number."
        )
    together = [*filter(_is_undo, core.store.operations_of(core.row.name, undo.call))]
    undone = str(undo.arguments["undoes"])
    again = [each for each in core.store.operations_of(core.row.name, undone) if each.state == "undone"]
    within, beyond = _within_reach(core, together)
    said = [_undone(replace(core, redoing=each.call), each) for each in within]
    for each in again:
        core.store.finish(each.model_copy(update={"state": "done"}))
    return Undone(
        summary=" ".join([*said, *beyond]),
        operations=tuple(told(each.model_copy(update={"state": "done"})) for each in again),
        next=("workspaces undo",),
    )


def _is_undo(operation: Operation) -> bool:
    return operation.state == "done" and "undoes" in operation.arguments


def _undone(core: Core, last: Operation) -> str:
    """Take one operation back, and note that it no longer stands."""
    meant = _meant(core, last)
    if last.verb in ("clone", "revive"):
        said = delete(core, [each.id for each in meant], discard_unmerged=True).summary
    elif last.verb == "delete":
        said = " ".join(_brought_back(core, gone, last) for gone in meant)
    else:
        point = RestorePoint.model_validate(last.outcome["point"])
        said = restore(core, meant[-1].id, point.name, revert=True).summary
    core.store.finish(last.model_copy(update={"state": "undone"}))
    return said


def _within_reach(core: Core, together: list[Operation]) -> tuple[list[Operation], list[str]]:
    """Return those that can be taken back, and of the others why not. Raises when none can, which says why not the first."""
    why = {each.id: _out_of_reach(core, each) for each in together}
    if all(why.values()):
        if named := [each for each in together if _meant(core, each)]:
            return named[:1], []  # restoring it says what to do about the other of its name
        first = together[0]
        raise NotFound(
            f"Operation {first.id} ({first.verb}) cannot be taken back: {why[first.id]}. Nothing was changed.",
            "workspaces log numbers what was done.",
        )
    return [each for each in together if not why[each.id]], [f"{said}." for said in why.values() if said]


def _out_of_reach(core: Core, last: Operation) -> str:
    """Say why an operation cannot be taken back; nothing when it can."""
    if meant := _meant(core, last):
        taken = core.store.taken(core.row.name, [each.name for each in meant]) if last.verb == "delete" else ()
        return f"a newer workspace is named {listed(sorted(taken))}" if taken else ""
    names = listed(name.rpartition("/")[2] for name in last.workspaces)
    known = _known(core, last)
    if not known:
        return f"{names} was removed for good"
    if last.verb != "delete":
        return f"{names} was deleted since"
    core.find(known[0].id)  # raises for one that is neither there nor deleted, as a restore that was cut off leaves it
    return f"{names} is there again"


def _meant(core: Core, last: Operation) -> list[Workspace]:
    """Return the workspaces with which an operation can be taken back."""
    return [each for each in _known(core, last) if (each.state == "deleted") == (last.verb == "delete")]


def _known(core: Core, last: Operation) -> list[Workspace]:
    """Return what an operation changed, as it is now, found by uid: a name may be another's by now."""
    return core.known(last.uids if last.verb in ("clone", "revive", "delete") else last.uids[-1:])


def _brought_back(core: Core, workspace: Workspace, last: Operation) -> str:
    """Bring a deleted workspace back, and its clones back to it, if they were handed over when it went."""
    said = revive(core, workspace).summary
    handed = last.outcome.get("handed")
    for uid, was in handed.items() if isinstance(handed, dict) else ():
        take_over(core, workspace, uid, str(was))
    return said
