"""What there is and how it is: the tree of workspaces, with the size of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Literal

from workspaces.backend import Backend
from workspaces.containment import contained, said_of, taken_back
from workspaces.core import Core, Progress, silent
from workspaces.errors import WorkspaceGone, WorkspacesError
from workspaces.model import Diff, Snapshot, Status, Workspace
from workspaces.naming import age_then_name
from workspaces.threads import several
from workspaces.wording import begin, call, counted, listed, on_disk

StatusDetail = Literal["names", "summary", "full"]


def status(
    core: Core, names: Sequence[str] = (), detail: StatusDetail = "summary", include_deleted: bool = False, progress: Progress = silent
) -> Status:
    """Return the workspaces, or those that are named, parents before their clones. `names` reads what is remembered; `summary` looks at the files
    too, `full` at what they take on the disk."""
    revision = core.store.revision()
    wanted, deleted = _named(core, names, include_deleted) if names else (core.seen(), core.seen(("deleted",)) if include_deleted else [])
    gone = [*map(core.shown, deleted)]
    warnings: list[str] = []
    wanted = [*map(core.shown, wanted)] if detail == "names" else _looked_at(core, wanted, detail, warnings, progress)
    rows = [*_as_tree(wanted), *gone]
    clones = sum(not workspace.is_main for workspace in wanted)
    shown = f"Of {core.row.name}, as asked for: {listed(each.name for each in (*wanted, *gone))}."
    conflicted = sum(workspace.state == "conflicted" for workspace in wanted)
    abandoned = sum(workspace.state == "abandoned" for workspace in wanted)
    return Status(
        summary=(shown if names else f"{core.row.name} has {counted(clones, 'workspace')} besides main.")
        + (f" {conflicted} with conflicts to resolve." if conflicted else "")
        + (f" {abandoned} abandoned: their leases ended." if abandoned else "")
        + (f" {counted(len(gone), 'deleted one')} restorable." if gone else "")
        + on_disk([each.disk for each in wanted if each.disk]),
        workspaces=tuple(rows),
        revision=revision,
        warnings=tuple(warnings),
        next=_next(core.main().id, wanted, gone),
    )


def _named(core: Core, names: Sequence[str], include_deleted: bool) -> tuple[list[Workspace], list[Workspace]]:
    """Return the workspaces that are meant, each once, and those deleted ones that have or had these names, if they are wanted."""
    there: dict[str, Workspace] = {}
    gone: dict[str, Workspace] = {}
    for name in names:
        deleted = core.deleted(name) if include_deleted else []
        gone |= {each.uid: each for each in deleted}
        if not deleted or core.holds(name, ("live",)):
            found = core.find(name)
            there[found.uid] = found
    return list(there.values()), list(gone.values())


def _looked_at(core: Core, workspaces: list[Workspace], detail: StatusDetail, warnings: list[str], progress: Progress) -> list[Workspace]:
    if detail != "full":
        return _measured(core, workspaces, warnings, progress)
    weighed = _weighed(core, workspaces, warnings, progress)  # first: whoever looks shares files for a moment
    return _measured(core, weighed, warnings, _after(len(workspaces), progress))


def _measured(core: Core, workspaces: Sequence[Workspace], warnings: list[str], progress: Progress) -> list[Workspace]:
    found: list[Workspace] = []
    with core.backend.aside() as view, several() as pool:
        parents = {parent.id: parent for each in workspaces if not each.is_main for parent in [core.parent(each)]}
        frozen = {name: pool.submit(_committed, core, view, parent) for name, parent in parents.items()}
        work = [(workspace, pool.submit(_seen, core, view, workspace, frozen, warnings)) for workspace in workspaces]
        for number, (workspace, future) in enumerate(work):
            try:
                found.append(future.result())
            except WorkspacesError as error:
                warnings.append(f"{workspace.name}: {error.message}")
                found.append(workspace)
            progress(number + 1, len(work), f"looked at {workspace.name}")
    return found


def _weighed(core: Core, workspaces: Sequence[Workspace], warnings: list[str], progress: Progress) -> list[Workspace]:
    """Return workspaces with what their files take on the disk. One whose files are gone is warned of where they are looked at."""
    found: list[Workspace] = []
    for number, each in enumerate(workspaces):
        progress(number, 2 * len(workspaces), f"weighs {each.name}")
        try:
            found.append(each.model_copy(update={"disk": core.backend.footprint(each)}))
        except WorkspaceGone:
            found.append(each)
        except WorkspacesError as error:
            warnings.append(f"{each.name}: {error.message}")
            found.append(each)
    return found


def _after(done: int, progress: Progress) -> Progress:
    """Return what reports progress of the second of two halves."""

    def report(number: int, total: int, said: str) -> None:
        progress(done + number, done + total, said)

    return report


def _committed(core: Core, view: Backend, parent: Workspace) -> Snapshot:
    with core.looking(view, parent) as freeze:
        return freeze(parent, committed=True)


def _seen(core: Core, view: Backend, workspace: Workspace, parents: dict[str, Future[Snapshot]], warnings: list[str]) -> Workspace:
    """Return a workspace with its size of change, and how far its parent has moved on."""
    if workspace.is_main:
        with core.looking(view, workspace) as freeze:
            snapshot, committed = freeze(workspace), freeze(workspace, committed=True)
        return _judged(core, view, core.observed(workspace, snapshot, committed, view.diff(committed, snapshot)), snapshot, snapshot)
    with core.looking(view, workspace) as freeze:
        snapshot = freeze(workspace, core.lineage(workspace))
    agreed = core.agreed(workspace)
    base = view.load(agreed.snapshot)
    diff = Diff() if base.contents == snapshot.contents else view.diff(base, snapshot)
    parent = parents[core.parent(workspace).id].result()
    seen = core.observed(workspace, snapshot, base, diff).model_copy(update={"behind": core.behind(view, agreed, parent)})
    seen = _judged(core, view, seen, snapshot, base)
    went_on = parent.contents != view.load(agreed.snapshot).contents
    if seen.state == "merged" and went_on and (lost := taken_back(core, view, workspace, parent)):
        warnings.append(f"{workspace.name} was merged, but {said_of(core, workspace, lost)}.")
        return seen.model_copy(update={"state": "ready"})
    if seen.state != "abandoned":
        return seen
    return seen.model_copy(update={"contained": contained(core, view, workspace, snapshot)})


def _judged(core: Core, view: Backend, workspace: Workspace, snapshot: Snapshot, base: Snapshot) -> Workspace:
    """Return a workspace with what is remembered of its contents."""
    if not core.config.checks:
        return workspace
    from workspaces.checks import remembered

    verdicts = remembered(core, view, snapshot, base)
    return workspace.model_copy(update={"checks": {name: each.verdict for name, each in verdicts.items()}})


def _as_tree(workspaces: Sequence[Workspace]) -> Iterator[Workspace]:
    """Yield parents before their clones; one whose parent is not among them stands for itself."""
    shown = {workspace.id for workspace in workspaces}
    below: dict[str, list[Workspace]] = {}
    for workspace in sorted(workspaces, key=age_then_name):
        below.setdefault(workspace.parent if workspace.parent in shown else "", []).append(workspace)
    waiting = list(reversed(below.get("", [])))
    while waiting:
        here = waiting.pop()
        yield here
        waiting += reversed(below.get(here.id, []))


def _next(main: str, workspaces: Sequence[Workspace], gone: Sequence[Workspace]) -> tuple[str, ...]:
    clones = [workspace.id for workspace in workspaces if not workspace.is_main]
    if gone and not workspaces:
        return (call("restore", "to bring it back", workspace=gone[-1].id),)
    return (call("compare", workspaces=clones[:8]) if clones else begin(main),)
