"""Deleting workspaces: what goes with them, what is refused, and to whom their clones are handed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby
from threading import Event

from workspaces.aside import link_of, set_aside, term
from workspaces.backend import Backend
from workspaces.containment import committed, contained, left, said_of, taken_back
from workspaces.core import Core, Progress, silent
from workspaces.errors import (
    Busy,
    HasChildren,
    Interrupted,
    Limit,
    NotFound,
    Protected,
    UnmergedChanges,
    WorkspaceGone,
    WorkspacesError,
)
from workspaces.gone import is_gone, last_seen
from workspaces.locks import Look
from workspaces.model import Children, Deleted, Snapshot, Workspace, now
from workspaces.threads import several
from workspaces.wording import call, counted, listed, of_one, sized

_LOOK = 0.2


def delete(
    core: Core,
    names: Sequence[str],
    discard_unmerged: bool = False,
    children: Children = "refuse",
    progress: Progress = silent,
) -> Deleted:
    """Set workspaces aside. What was there stays restorable; unmerged work is refused unless it may go."""
    deleted = [done.moves for done in core.done_before("delete")]
    refused: dict[str, WorkspacesError] = {}
    wanted, gone = _resolved(core, names, deleted)
    until = now() + term(core) if deleted else None
    lost: list[str] = []
    told: list[str] = []
    links = {each.id: said for each in wanted if (said := link_of(each))}
    progress(0, len(wanted), "deleting")
    depths = {each.uid: core.depth(each) if len(wanted) > 1 else 0 for each in wanted}
    # Clones before what they were cloned from, so that one call can name both.
    ordered = sorted(wanted, key=lambda each: depths[each.uid], reverse=True)
    for _, level in groupby(ordered, lambda each: depths[each.uid]):
        look = partial(progress, len(deleted), max(len(wanted), len(deleted)), "deleting")
        work = partial(_delete_below, core, discard_unmerged=discard_unmerged, children=children, before=tuple(deleted))
        with closing(_at_once(list(level), work, look)) as ended:
            for workspace, done in ended:
                deleted += done.deleted
                gone += done.gone
                until = done.until or until
                lost += done.lost
                told += done.told
                if done.error:
                    refused[workspace.id] = done.error
                progress(len(deleted), max(len(wanted), len(deleted)), f"deleted {workspace.name}")
    if refused and not deleted and not gone and len(names) == 1:
        raise next(iter(refused.values()))
    return Deleted(
        summary=_summary(deleted, lost, refused, gone, until),
        deleted=tuple(deleted),
        kept={name: of_one(error.message) for name, error in refused.items()},
        restorable_until=until,
        warnings=(*told, *(f"{said}: that link went into the trash." for name, said in links.items() if name in deleted)),
        next=_next([name for name in deleted if name not in lost], _unmerged(refused)),
    )


def _next(deleted: Sequence[str], unmerged: Sequence[str]) -> tuple[str, ...]:
    look = [call("compare", "look at what is unmerged", workspaces=unmerged)] if unmerged else []
    drop = [call("delete", "if that is not wanted", workspaces=unmerged, discard_unmerged=True)] if unmerged else []
    return (*look, *drop, *(call("restore", "undo", workspace=name) for name in deleted))[:3]


def _unmerged(refused: Mapping[str, WorkspacesError]) -> list[str]:
    return [name for name, error in refused.items() if isinstance(error, UnmergedChanges)]


def _resolved(core: Core, names: Sequence[str], deleted: Sequence[str]) -> tuple[list[Workspace], list[str]]:
    """Return the workspaces that are meant, and the ids of those deleted by earlier calls. Raises before anything is deleted."""
    wanted: dict[str, Workspace] = {}
    gone: list[str] = []
    for name in names:
        try:
            workspace = core.find(name)
        except Busy:
            if (leaving := core.find_leaving(name)) is None:
                raise
            workspace = leaving
        except NotFound:
            if (before := core.find_deleted(name)) is None:
                raise
            gone += [before.id] if before.id not in deleted else []
            continue
        if workspace.id in deleted:
            continue
        if workspace.is_main:
            raise Protected("main is the project itself and cannot be deleted. Nothing was deleted.", "Delete clones by their names.")
        wanted[workspace.id] = workspace
    return list(wanted.values()), gone


def _with_children(core: Core, workspace: Workspace, children: Children) -> list[Workspace]:
    """Return what goes: the workspace, and its descendants when they go too, nearest first."""
    below = core.children(workspace)
    if not all(map(core.sees, below)):
        raise HasChildren(
            f"{workspace.name} has clones that are not yours. Nothing was deleted.",
            "Whoever sees them can delete it, or the person who runs the server.",
        )
    if children == "refuse" and below:
        names = ", ".join(child.name for child in below[:5])
        raise HasChildren(
            f"{workspace.name} has {counted(len(below), 'clone')}: {names}. Nothing was deleted.",
            "Delete them first, or call with children='delete', or 'reparent' to hand them to its own parent.",
            children=[child.id for child in below],
        )
    going = [each for child in below for each in _with_children(core, child, children)] if children == "delete" else []
    return [workspace, *going]


@dataclass
class _Done:
    """What became of one workspace that was to be deleted, with all below it."""

    deleted: list[str] = field(default_factory=list[str])
    gone: list[str] = field(default_factory=list[str])
    """What somebody else deleted meanwhile."""
    until: datetime | None = None
    told: list[str] = field(default_factory=list[str])
    """What is to be said of those whose folders were gone already."""
    lost: list[str] = field(default_factory=list[str])
    """Those of which nothing can be brought back."""
    error: WorkspacesError | None = None


def _at_once(level: Sequence[Workspace], work: Callable[[Workspace, Look], _Done], look: Look) -> Generator[tuple[Workspace, _Done]]:
    """Do the work for several workspaces at once, none of which is below another, and yield what became of each, in their order. What was not
    begun when the caller stops, or `look` does, is not done."""
    if len(level) == 1:  # a thread for it takes longer than a sync
        yield level[0], work(level[0], look)
        return
    stop = Event()

    def look_there() -> None:
        if stop.is_set():
            raise Interrupted("It was stopped.")

    with several() as pool:
        doing = {pool.submit(work, workspace, look_there): workspace for workspace in level}
        try:
            for future, workspace in doing.items():
                while not wait([future], _LOOK).done:
                    look()
                yield workspace, future.result()
        finally:
            stop.set()


def _delete_below(core: Core, workspace: Workspace, look: Look, discard_unmerged: bool, children: Children, before: Sequence[str]) -> _Done:
    done = _Done()
    try:
        going = _with_children(core, workspace, children)
        if going[1:] and not discard_unmerged:
            _refuse_all_unmerged(core, going)
        for each in reversed(going):
            look()
            if each.id in before or _delete(core, each, discard_unmerged, children, look, done):
                done.deleted.append(each.id)
            else:
                done.gone.append(each.id)
    except Interrupted:
        raise
    except WorkspacesError as error:
        done.error = error
    return done


def _delete(core: Core, workspace: Workspace, discard_unmerged: bool, children: Children, look: Look, done: _Done) -> bool:
    """Set one workspace aside, and note until when it is restorable. False where somebody else has just deleted it."""
    with core.changing(workspace, reading=[core.parent(workspace)], look=look):
        if (there := core.still(workspace)) is None:
            return False
        workspace = there
        with _handed(core, workspace, children) as handed:
            if discard_unmerged and not is_gone(workspace):  # all of it goes into the trash as it is: nothing has to be looked at
                done.until = set_aside(core, workspace, handed=handed)
                return True
            with core.backend.aside() as view:
                missing, snapshot = _missing(view, workspace), last_look(core, view, workspace, discard_unmerged)
                until = set_aside(core, workspace, snapshot, view, handed=handed)
        if snapshot or not missing:
            done.until = until
        if missing and snapshot:
            done.told.append(f"{missing} restore makes it again as it was last seen; put it back first if it was moved.")
        elif missing:
            done.lost.append(workspace.id)
            done.told.append(f"{missing} No call had seen any work in it, so it cannot be brought back; put it back first if it was moved.")
        return True


def _missing(view: Backend, workspace: Workspace) -> str:
    """Say where the folder of a workspace is not; nothing when something is in its place."""
    if not is_gone(workspace):
        return ""
    try:
        view.snapshot(workspace)
    except WorkspaceGone as error:
        return error.message
    return ""


def _refuse_all_unmerged(core: Core, going: Sequence[Workspace]) -> None:
    """Look at all that go together before the first of them goes."""
    for each in going:
        with core.reading(each), core.backend.aside() as view, suppress(NotFound):
            last_look(core, view, each)


def last_look(core: Core, view: Backend, workspace: Workspace, discard_unmerged: bool = False) -> Snapshot | None:
    """Freeze a workspace that the caller holds, after making sure that nothing unmerged goes unasked. When its files are gone already, that is what is
    known of it, or None."""
    try:
        snapshot: Snapshot | None = _frozen(core, view, workspace)
    except WorkspaceGone:
        snapshot = last_seen(core, view, workspace)
    if snapshot and not discard_unmerged:
        _refuse_unmerged(core, view, workspace, snapshot)
    return snapshot


def _frozen(core: Core, view: Backend, workspace: Workspace) -> Snapshot:
    return view.snapshot(workspace, [*core.lineage(workspace), *core.contained(workspace, core.parent(workspace))])


def _refuse_unmerged(core: Core, view: Backend, workspace: Workspace, snapshot: Snapshot) -> None:
    """Raise `UnmergedChanges` when the workspace has what its parent has not."""
    if contained(core, view, workspace, snapshot):
        return
    if lost := taken_back(core, view, workspace, committed(core, view, core.parent(workspace))):
        raise UnmergedChanges(
            f"{workspace.name} was merged, but {said_of(core, workspace, lost)}. Nothing was deleted.",
            f"If that work is not wanted any more, delete again with discard_unmerged=true (restorable for {term(core).days} days).",
            files=list(lost[:50]),
        )
    changes = left(core, view, workspace, snapshot)
    own = f"repositories of its own: {listed([*snapshot.left_out, *snapshot.ahead])}"
    seen, review = "", f"Review it with {call('compare', workspaces=[workspace.id])}, merge it"
    if is_gone(workspace):
        seen, review = (
            ": its folder is gone, and as it was last seen it",
            f"Make its folder again with {call('restore', workspace=workspace.id)}",
        )
    raise UnmergedChanges(
        f"{workspace.name}{seen} has unmerged work: {sized(changes) if changes else own}. Nothing was deleted.",
        f"{review}, or delete it all the same: "
        f"{call('delete', workspaces=[workspace.id], discard_unmerged=True)} (restorable for {term(core).days} days).",
        files=[change.path for change in changes[:50]],
    )


@contextmanager
def _handed(core: Core, workspace: Workspace, children: Children) -> Generator[list[Workspace]]:
    """Hold the clones of a workspace that go to its parent, if they do, and give what they are then. Their base goes back to where it left the parent,
    so its work counts as theirs."""
    with ExitStack() as held:
        handed: list[Workspace] = []
        for child in core.children(workspace) if children == "reparent" else ():
            held.enter_context(core.changing(child))
            if (there := core.still(child)) is None:
                continue
            child = there
            base = _shared(core, workspace, child)
            core.backend.keep((child, "base-before", core.backend.load(base)))
            handed.append(child.model_copy(update={"parent": workspace.parent, "base": base, "origin": base}))
        yield handed


def take_over(core: Core, workspace: Workspace, uid: str, origin: str) -> None:
    """Give a clone back to the workspace that it was made from, after that came back. One that went elsewhere meanwhile stays there."""
    child = core.store.workspace(uid)
    if child is None or child.state == "deleted" or child.parent != workspace.parent:
        return
    with core.changing(child):
        taken = core.find(child.id).model_copy(update={"parent": workspace.id, "origin": origin})
        core.store.save(taken)
        core.store.save(taken.model_copy(update={"base": core.agreed(taken).snapshot}))


def _shared(core: Core, workspace: Workspace, child: Workspace) -> str:
    """Return where a workspace and its parent last agreed as far as its clone has it: what came from the parent after that is not in there."""
    parent, backend = core.parent(workspace), core.backend
    agreed = [row.snapshot for row in core.store.merges(workspace.uid) if parent.uid in (row.source, row.target)]
    last = core.agreed(workspace).snapshot
    with suppress(Limit):  # what cannot be looked at goes back to where it began
        has = backend.load(core.agreed(child).snapshot)
        known: list[str] = [workspace.origin, *(agreed[: agreed.index(last) + 1] if last in agreed else [])]
        for each in reversed(known):
            if backend.base(backend.load(each), has, (), has).id == each:
                return each
    return workspace.origin


def _summary(
    deleted: Sequence[str], lost: Sequence[str], refused: dict[str, WorkspacesError], gone: Sequence[str], until: datetime | None
) -> str:
    said: list[str] = []
    if len(deleted) > len(lost) and until:
        said.append(f"Deleted {counted(len(deleted) - len(lost), 'workspace')} (restorable until {until:%d %b %Y}).")
    if lost:
        said.append(f"Deleted {listed(name.rpartition('/')[2] for name in lost)}, which cannot be brought back: nothing of it was left.")
    if refused:
        names, is_work = listed(name.rpartition("/")[2] for name in refused), len(_unmerged(refused)) == len(refused)
        said.append(f"Kept {names}: {'unmerged work' if is_work else 'see why in kept'}.")
    if gone:
        said.append(f"{counted(len(gone), 'workspace')} had been deleted before.")
    return " ".join(said) or "Nothing to delete."
