"""The invariants, looked at: that all that is remembered is whole, on disk and the other way round, and nothing is left of calls that are dead.

`repair` puts right what can be put right without losing anything, under the locks that a call would take; the rest is said, with what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload

from workspaces import checks, config, preparing, programs
from workspaces.adoption import adopt, forgotten
from workspaces.aside import set_aside, take_back
from workspaces.core import Core
from workspaces.errors import InvalidArgument, WorkspaceGone, WorkspacesError
from workspaces.model import Diagnosis, Finding, Workspace
from workspaces.wording import counted, listed

_MOVING = ("creating", "deleting", "restoring")


def doctor(core: Core, repair: bool = False, quick: bool = False) -> Diagnosis:
    """Look whether everything remembered is whole, and say what to do about what is not. Without `repair` nothing is changed; `quick` leaves
    out what reads the whole repository."""
    repaired = tuple(_repaired(core)) if repair else ()
    findings = [_store(core), _journal(core), _at_rest(core), _forgotten(core), _settings(core), programs.look(core), *_found(core, quick)]
    return diagnosis(findings, repaired)


def diagnosis(findings: Sequence[Finding], repaired: tuple[str, ...] = ()) -> Diagnosis:
    """Return what was found, and say in a sentence how much of it is wrong."""
    wrong = [finding for finding in findings if not finding.ok]
    said = (
        f"{counted(len(wrong), 'problem')} of {counted(len(findings), 'check')}."
        if wrong
        else f"{counted(len(findings), 'check')}, all well."
    )
    return Diagnosis(summary=f"Repaired: {'; '.join(repaired)}. {said}" if repaired else said, findings=tuple(findings), repaired=repaired)


def _found(core: Core, quick: bool) -> Iterator[Finding]:
    yield from core.backend.inspect(core.live(), _explained(core), quick)


def _explained(core: Core) -> list[Workspace]:
    """Return all that is remembered, of other projects of the repository too, and the copies in which checks run."""
    return [*core.store.everyone(), *checks.in_use(core)]


def _store(core: Core) -> Finding:
    wrong = core.store.flaws()
    return Finding(
        check="store",
        ok=not wrong,
        message=f"{core.store.file}: {'; '.join(wrong) or 'whole, and as its ledger says'}",
        repair="workspaces doctor --repair makes it again." if wrong else "",
    )


def _forgotten(core: Core) -> Finding:
    lost = listed(each.id for each in forgotten(core))
    return Finding(
        check="remembered",
        ok=not lost,
        message=f"whole on disk, and nobody remembers it: {lost}"
        if lost
        else "every workspace of this project that is on disk is remembered",
        repair="workspaces doctor --repair takes it back." if lost else "",
    )


def _settings(core: Core) -> Finding:
    try:
        set_ = config.load(core.backend.root)
    except InvalidArgument as error:
        return Finding(check="settings", ok=False, message=error.message, repair=error.hint)
    if unknown := [repr(name) for name in set_.merge.require if name not in set_.checks]:
        message = f"merge.require names {', '.join(unknown)}, of which there is no check, so nothing can be merged into main"
        return Finding(
            check="settings", ok=False, message=message, repair="Add it to workspaces.toml as [checks.NAME], or take it out there."
        )
    if said := preparing.misread(core.environment):
        message = f"{preparing.SWITCH} is {said!r} in the environment, which is no number, and passed over"
        return Finding(check="settings", ok=False, message=message, repair="Set it to how many clones may lie prepared; 0: none.")
    return Finding(check="settings", ok=True, message="as they should be, or as they are by default")


def _journal(core: Core) -> Finding:
    open_ones = core.store.started(core.row.name)
    names = listed(f"{each.verb} of {', '.join(each.workspaces)}" for each in open_ones)
    return Finding(
        check="journal",
        ok=not open_ones,
        message=f"under way: {names}" if open_ones else "no operation is under way",
        repair="Wait for it; what a crash left is put right by the next command." if open_ones else "",
    )


def _at_rest(core: Core) -> Finding:
    moving = listed(each.id for each in _unsettled(core))
    return Finding(
        check="at rest",
        ok=not moving,
        message=f"half made, deleted or restored, by no call that is known: {moving}" if moving else "no workspace is between two states",
        repair="workspaces doctor --repair ends it." if moving else "",
    )


def _unsettled(core: Core) -> list[Workspace]:
    """Return the workspaces that are between two states, without an operation that would bring them to one."""
    open_ones = {name for each in core.store.started(core.row.name) for name in each.workspaces}
    return [each for each in core.store.workspaces(core.row.name, _MOVING) if each.id not in open_ones]


# -- putting right ------------------------------------------------------------------------------------------------------------------------


def _repaired(core: Core) -> Iterator[str]:
    """Put right what can be, and yield what was done. What somebody is at work on is left alone."""
    if core.store.flaws():
        yield core.store.repair()
    core.recover(core)
    yield from adopt(core)
    for workspace in _unsettled(core):
        yield from _attempted(core, workspace, _settled)
    for workspace in core.live():
        yield from _attempted(core, workspace, _mended)
    yield from core.backend.sweep(_Remembered(core))


class _Remembered(Sequence[Workspace]):
    """What explains what is on disk, as it is remembered whenever somebody goes through it."""

    def __init__(self, core: Core) -> None:
        self._core = core

    @overload
    def __getitem__(self, at: int) -> Workspace: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Workspace]: ...
    def __getitem__(self, at: int | slice) -> Workspace | Sequence[Workspace]:
        return _explained(self._core)[at]

    def __len__(self) -> int:
        return len(_explained(self._core))

    def __iter__(self) -> Iterator[Workspace]:
        return iter(_explained(self._core))


def _attempted(core: Core, workspace: Workspace, mend: Callable[[Core, Workspace], list[str]]) -> list[str]:
    """Mend a workspace, unless somebody is at work on it. What cannot be mended is found, and said, by the look that follows."""
    try:
        with core.locks.change(core.key(workspace), patience=1):
            return mend(core, workspace)
    except WorkspacesError:
        return []


def _settled(core: Core, workspace: Workspace) -> list[str]:
    """Bring a workspace to rest: nobody was told of one that was being made, and what was on its way to the trash or back goes on."""
    phases = {phase: core.store.workspaces(core.row.name, (phase,)) for phase in _MOVING}
    phase = next((name for name, found in phases.items() if any(each.uid == workspace.uid for each in found)), "")
    if phase == "creating":
        return [take_back(core, workspace)]
    if phase == "deleting":
        core.backend.retire(workspace, None)
        core.store.save(workspace, "deleted")
        return [f"ended the deletion of {workspace.id}"]
    core.backend.revive(workspace)
    core.store.save(workspace)
    return [f"ended the return of {workspace.id}"]


def _mended(core: Core, workspace: Workspace) -> list[str]:
    """Mend what is around a workspace's files. One whose files are gone goes into the trash with all that is known of it."""
    try:
        return list(core.backend.mend(workspace))
    except WorkspaceGone:
        if workspace.is_main or core.children(workspace):
            return []
        set_aside(core, workspace, why="its folder was removed by other means")
        return [f"set {workspace.id} aside, whose folder was removed by other means; its restore points are kept"]
