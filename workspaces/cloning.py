"""Making private snapshots of a workspace: one frozen moment of the source, and as many copies of it as were asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from workspaces import naming, preparing
from workspaces.aside import standing, take_back
from workspaces.backend import Backend
from workspaces.core import Core, Progress, new_uid, silent
from workspaces.errors import Busy, Exists, InvalidArgument, Limit, Unsupported, WorkspacesError
from workspaces.model import MAIN, MAX_LEASE, Cloned, Operation, Snapshot, Workspace, now
from workspaces.threads import several
from workspaces.wording import call, counted, flaws, listed, of_one, plain

FOLDER = ".workspaces"
MAX_COUNT = 256
MAX_TEXT = 2000
_AT_ONCE = 4
"""Clones of a call that are made at once: half of the time one waits for the disk, and meanwhile the next is filled."""


def clone(
    core: Core,
    source: str = MAIN,
    count: int = 1,
    name: str = "",
    task: str = "",
    labels: Sequence[str] = (),
    include_uncommitted: bool = True,
    lease_seconds: int = 0,
    progress: Progress = silent,
) -> Cloned:
    """Make `count` private snapshots of a workspace. Each is made whole or not at all; one that fails does not undo the others."""
    _possible(core, count, task, labels, include_uncommitted, lease_seconds)
    if before := core.done_before("clone"):
        return _again(core, before[0])
    task, labels = plain(task), [" ".join(plain(label).split()) for label in labels]
    origin = core.find(source)
    _refuse_too_much(core, count)
    asked = _numbered(naming.checked(name), count) if name else []
    if count > 1:
        preparing.prepare_for_all(core)
    with core.told_apart(origin), core.backend.aside() as view:
        with core.looking(view, origin) as freeze:
            snapshot = freeze(origin, core.lineage(origin), committed=not include_uncommitted)
        draft = partial(_draft, core, origin, snapshot, task=task, labels=tuple(labels))
        taken = core.store.taken(core.row.name, asked)
        free = [each for each in asked if each not in taken]
        tried = ([*map(draft, names)] for names in ([free] if asked else _invented(core, task, count)))
        made, failed, warnings = _clone_all(core, view, origin, snapshot, tried, not asked, progress)
        warnings += _untrusted(view, origin)
    there = {each.name for each in made}
    failed = {each: _taken(core, each) for each in asked if each not in there} | failed
    if lease_seconds:
        made = [_leased(core, each, lease_seconds) for each in made]
    if not made and count == 1:
        with core.told_apart(origin):
            raise next(iter(failed.values()))
    return Cloned(
        summary=_summary(core, origin, snapshot, made, failed),
        workspaces=tuple(made),
        failed={wanted: of_one(error.message) for wanted, error in failed.items()},
        warnings=tuple(dict.fromkeys([*warnings, *flaws(origin.name, snapshot)])),
        next=_next(made),
    )


def _possible(core: Core, count: int, task: str, labels: Sequence[str], include_uncommitted: bool, lease_seconds: int) -> None:
    if not 1 <= count <= MAX_COUNT:
        raise InvalidArgument(f"count is {count}. Nothing was made.", f"It goes from 1 to {MAX_COUNT}.")
    if len(task) > MAX_TEXT or any(len(label) > 100 for label in labels) or len(labels) > 20:
        raise InvalidArgument(
            "task or labels are too long. Nothing was made.", f"task: {MAX_TEXT} characters; labels: 20 of 100 characters."
        )
    if not 0 <= lease_seconds <= MAX_LEASE:
        raise InvalidArgument(f"lease_seconds is {lease_seconds}. Nothing was made.", f"It goes from 0 (no lease) to {MAX_LEASE}.")
    if not include_uncommitted and not core.backend.capabilities.commits:
        raise Unsupported(
            f"{core.row.name} has no commits, so nothing in it is uncommitted. Nothing was made.", "Leave include_uncommitted out."
        )


def _refuse_too_much(core: Core, more: int) -> None:
    """Raise `Limit` where the caller would have more than it may: workspaces, or bytes of them."""
    if core.limits is not None:
        _refuse_too_many(core, core.live(), more)
    most = core.limits.max_gb if core.limits else 0
    size = sum(core.backend.weigh(each) for each in core.live() if core.access.owns(each)) if most else 0
    if size > most * 10**9:
        raise Limit(
            f"Your workspaces take {size / 10**9:.3f} GB on disk, and may take {most:g}. Nothing was made.",
            "Delete some that you no longer need.",
        )


def _refuse_too_many(core: Core, there: Sequence[Workspace], more: int) -> None:
    """Raise `Limit` where the caller would have more workspaces than it may. Those that are being made count, so that calls at once do not
    have more between them."""
    own = [each for each in there if core.access.owns(each)]
    if core.limits and len(own) + more > core.limits.workspaces:
        raise Limit(
            f"You would have {len(own) + more} workspaces, and may have {core.limits.workspaces}. Nothing was made.",
            "Delete some that you no longer need.",
        )


def _again(core: Core, done: Operation) -> Cloned:
    """Answer for a call that made its clones and died before it could say so."""
    made = [each for each in core.known(done.uids) if each.id in done.workspaces]
    return Cloned(
        summary=f"Created {counted(len(made), 'workspace')} from {done.arguments.get('source', MAIN)}.",
        workspaces=tuple(made),
        next=_next(made),
    )


def _clone_all(
    core: Core,
    view: Backend,
    origin: Workspace,
    snapshot: Snapshot,
    tried: Iterable[list[Workspace]],
    is_invented: bool,
    progress: Progress,
) -> tuple[list[Workspace], dict[str, WorkspacesError], list[str]]:
    """Make the first of the `tried` clones whose names can be had, as one operation of the journal.

    The call holds all names that it makes: while it is at work, nobody takes its operation for a dead one's.
    """
    with ExitStack() as held:
        operation, claimed = _claimed(core, held, origin, snapshot, tried, is_invented)
        making = _Making()
        try:
            made, failed, warnings = _make_all(core, view, origin, snapshot, claimed, progress, making)
        except BaseException:
            _take_back(core, claimed, making)  # cut short, it leaves the operation unended: whoever comes next takes back what is left
            core.store.finish(operation.model_copy(update={"state": "failed"}))
            raise
        if left := [draft for draft in claimed if draft.name in failed and not failed[draft.name].settled]:
            core.begin("clone", *left, source=origin.id, count=len(left))  # never ended here: whoever comes next takes these back
        state, ids = "done" if made else "failed", tuple(each.id for each in made)
        core.store.finish(operation.model_copy(update={"state": state, "workspaces": ids}), *((each, "live") for each in made))
    return made, failed, warnings


def _claimed(
    core: Core, held: ExitStack, origin: Workspace, snapshot: Snapshot, tried: Iterable[list[Workspace]], is_invented: bool
) -> tuple[Operation, list[Workspace]]:
    """Journal that clones are made, and hold their names. Nobody waits for a name that was invented, or has a part of such: others are as good."""
    note: dict[str, JsonValue] = {"new": snapshot.id}
    for drafts in tried:
        with ExitStack() as names:
            try:
                names.enter_context(core.locks.change(*map(core.key, drafts), patience=0 if is_invented else None))
            except Busy:
                if is_invented:
                    continue
                raise
            admit = None if core.limits is None else partial(_refuse_too_many, core, more=len(drafts))
            try:
                begun = core.begin_making(drafts, admit, note, is_invented, source=origin.id, count=len(drafts))
            except Exists:
                continue
            held.push(names.pop_all())
            return begun
    raise AssertionError("names are invented without end")


def lease(core: Core, name: str, seconds: int) -> Workspace:
    """Make a workspace the caller's for so many seconds, counted anew from each call that names it; with 0 for ever."""
    if not 0 <= seconds <= MAX_LEASE:
        raise InvalidArgument(f"{seconds} seconds cannot be a lease. Nothing was changed.", f"It goes from 0 (for ever) to {MAX_LEASE}.")
    workspace = core.find(name)
    if workspace.is_main:
        raise InvalidArgument("main is never abandoned. Nothing was changed.", "Lease a clone.")
    core.store.lease(workspace.uid, seconds, now() + timedelta(seconds=seconds), core.actor or workspace.owner)
    return core.find(workspace.id)


def _leased(core: Core, made: Workspace, seconds: int) -> Workspace:
    until = now() + timedelta(seconds=seconds)
    core.store.lease(made.uid, seconds, until, made.owner)
    return made.model_copy(update={"lease_seconds": seconds, "lease_until": until})


def _taken(core: Core, name: str) -> WorkspacesError:
    return Exists(f"'{name}' is taken in {core.row.name}. Nothing was made.", "Choose another name, or leave it out.")


def _untrusted(view: Backend, origin: Workspace) -> tuple[str, ...]:
    paths = view.untrusted(origin, ())
    said = "are in the clone as git stores them: the repository's own configuration names a filter for them, which is not run"
    return (f"{listed(paths)} {said}.",) if paths else ()


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [naming.checked(f"{name}-{number}") for number in range(1, count + 1)]


def _invented(core: Core, task: str, count: int) -> Iterator[list[str]]:
    """Yield names that are free, one set after the other: what another call takes meanwhile is not there for the next."""
    stem = naming.invented(task)
    for number in itertools.count(1):
        names = _numbered(stem if number == 1 else f"{stem}-{number}", count)
        if not core.store.names(core.row.name).intersection(names):
            yield names


def _draft(core: Core, origin: Workspace, snapshot: Snapshot, name: str, *, task: str, labels: tuple[str, ...]) -> Workspace:
    return Workspace(
        uid=new_uid(),
        origin=snapshot.id,
        id=f"{core.row.name}/{name}",
        name=name,
        project=core.row.name,
        location=str(Path(core.row.root) / FOLDER / name),
        backend=core.row.backend,
        isolation=core.backend.isolation,
        parent=origin.id,
        base=snapshot.id,
        state="ready",
        task=task,
        labels=labels,
        owner=core.actor,
        created=now(),
    )


@dataclass
class _Making:
    """What is being made of each clone, and since when those stand that are in their places."""

    work: dict[Future[tuple[str, ...]], Workspace] = field(default_factory=dict[Future[tuple[str, ...]], Workspace])
    stood: dict[str, int] = field(default_factory=dict[str, int])


def _make_all(
    core: Core, view: Backend, origin: Workspace, snapshot: Snapshot, drafts: list[Workspace], progress: Progress, making: _Making
) -> tuple[list[Workspace], dict[str, WorkspacesError], list[str]]:
    """Make the clones, whose names are claimed, and return those that were made, why others were not, and warnings."""
    with several(_AT_ONCE) as pool, view.keep_all():
        view.keep(*((draft, "base", snapshot) for draft in drafts))
        making.work |= {pool.submit(_make, core, view, origin, snapshot, draft, making.stood): draft for draft in drafts}
        return _ended(making.work, progress)


def _ended(
    work: dict[Future[tuple[str, ...]], Workspace], progress: Progress
) -> tuple[list[Workspace], dict[str, WorkspacesError], list[str]]:
    failed: dict[str, WorkspacesError] = {}
    warnings: list[str] = []
    for number, future in enumerate(as_completed(work)):
        name = work[future].name
        try:
            warnings += future.result()
        except WorkspacesError as error:
            failed[name] = error
        progress(number + 1, len(work), f"cloned {name}")
    return [draft for draft in work.values() if draft.name not in failed], failed, warnings


def _take_back(core: Core, drafts: list[Workspace], making: _Making) -> None:
    """Leave nothing of a call that was stopped, but for what somebody did in a clone: nobody has been told of them."""
    wait([future for future in making.work if not future.cancel()])
    try:
        for draft in drafts:
            take_back(core, draft, making.stood.get(draft.uid, 0))
    except WorkspacesError as error:
        error.settled = False
        raise


def _make(core: Core, view: Backend, origin: Workspace, snapshot: Snapshot, draft: Workspace, stood: dict[str, int]) -> tuple[str, ...]:
    """Make one clone, whose name the caller holds, and has claimed, and note when it stood. Whatever goes wrong, nothing of it is left in its place."""
    try:
        warnings = view.fork(snapshot, draft, origin)
        stood[draft.uid] = standing(draft)
    except BaseException as error:
        try:
            take_back(core, draft)
        except WorkspacesError:
            if isinstance(error, WorkspacesError):
                error.settled = False
        raise
    return warnings


def _summary(core: Core, origin: Workspace, snapshot: Snapshot, made: list[Workspace], failed: dict[str, WorkspacesError]) -> str:
    carried = ", uncommitted work carried" if snapshot.head and snapshot.id != snapshot.head else ""
    return f"Created {counted(len(made), 'workspace')} from {origin.name}{carried}." + (
        f" {len(failed)} could not be made." if failed else ""
    )


def _next(made: list[Workspace]) -> tuple[str, ...]:
    if not made:
        return ()
    where = f"after work in {made[0].location}" if len(made) == 1 else "after each agent's work, only in its own location"
    return (call("compare", where, workspaces=[workspace.id for workspace in made[:8]]),)
