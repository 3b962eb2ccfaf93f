"""Making private snapshots of a workspace: one frozen moment of the source, and as many copies of it as were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from workspaces import naming
from workspaces.core import Core, Progress, new_uid, silent
from workspaces.errors import Exists, InvalidArgument, WorkspacesError
from workspaces.model import Cloned, Snapshot, Workspace, now
from workspaces.wording import flaws, listed

FOLDER = ".workspaces"
MAX_COUNT = 256
MAX_TEXT = 2000
_AT_ONCE = 2


def clone(
    core: Core,
    source: str = "main",
    count: int = 1,
    name: str = "",
    task: str = "",
    labels: Sequence[str] = (),
    include_uncommitted: bool = True,
    progress: Progress = silent,
) -> Cloned:
    """Make `count` private snapshots of a workspace. Each is made whole or not at all; one that fails does not undo the others."""
    if not 1 <= count <= MAX_COUNT:
        raise InvalidArgument(f"count is {count}. Nothing was made.", f"It goes from 1 to {MAX_COUNT}.")
    if len(task) > MAX_TEXT or any(len(label) > 100 for label in labels) or len(labels) > 20:
        raise InvalidArgument(
            "task or labels are too long. Nothing was made.", f"task: {MAX_TEXT} characters; labels: 20 of 100 characters."
        )
    origin = core.find(source)
    names = _names(core, naming.checked(name) if name else "", task, count)
    with core.backend.aside() as view:
        with core.reading(origin):
            snapshot = view.snapshot(origin, core.lineage(origin), committed=not include_uncommitted)
        drafts = [_draft(core, origin, snapshot, wanted, task, tuple(labels)) for wanted in names]
        operation = core.begin("clone", *drafts, source=origin.id, count=count)
        try:
            with view.keep_all():
                made, failed, warnings = _make_all(core, origin, snapshot, drafts, progress)
        except BaseException:
            core.store.finish(operation.model_copy(update={"state": "failed"}))
            raise
    core.store.finish(operation.model_copy(update={"state": "done" if made else "failed", "workspaces": tuple(w.id for w in made)}))
    if not made and count == 1:
        raise next(iter(failed.values()))
    return Cloned(
        summary=_summary(core, origin, snapshot, made, failed),
        workspaces=tuple(made),
        failed={wanted: error.message for wanted, error in failed.items()},
        warnings=tuple(dict.fromkeys([*warnings, *flaws(origin.name, snapshot), *_untrusted(core, origin)])),
        next=_next(made),
    )


def _untrusted(core: Core, origin: Workspace) -> tuple[str, ...]:
    paths = core.backend.untrusted(origin, ())
    said = "are in the clone as git stores them: the repository's own configuration names a filter for them, which is not run"
    return (f"{listed(paths)} {said}.",) if paths else ()


def _names(core: Core, name: str, task: str, count: int) -> list[str]:
    """Return the names to try: as they were asked for, or the first invented one that is free."""
    if name:
        return [name] if count == 1 else [naming.checked(f"{name}-{number}") for number in range(1, count + 1)]
    taken = {workspace.name.lower() for workspace in core.live()}
    stem, base = naming.invented(task), 1
    while True:
        tried = stem if base == 1 else f"{stem}-{base}"
        names = [tried] if count == 1 else [f"{tried}-{number}" for number in range(1, count + 1)]
        if not taken.intersection(names):
            return names
        base += 1


def _draft(core: Core, origin: Workspace, snapshot: Snapshot, name: str, task: str, labels: tuple[str, ...]) -> Workspace:
    return Workspace(
        uid=new_uid(),
        origin=snapshot.id,
        id=f"{core.row.name}/{name}",
        name=name,
        project=core.row.name,
        location=str(Path(core.row.root) / FOLDER / name),
        backend=core.row.backend,
        isolation=core.backend.capabilities.isolation,
        parent=origin.id,
        base=snapshot.id,
        state="ready",
        task=task,
        labels=labels,
        owner=core.actor,
        created=now(),
    )


def _make_all(
    core: Core, origin: Workspace, snapshot: Snapshot, drafts: list[Workspace], progress: Progress
) -> tuple[list[Workspace], dict[str, WorkspacesError], list[str]]:
    made: dict[str, Workspace] = {}
    failed: dict[str, WorkspacesError] = {}
    warnings: list[str] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        work = {pool.submit(_make, core, origin, snapshot, draft): draft for draft in drafts}
        try:
            for number, future in enumerate(as_completed(work)):
                draft = work[future]
                try:
                    warnings += future.result()
                    made[draft.name] = draft
                except WorkspacesError as error:
                    failed[draft.name] = error
                progress(number + 1, len(drafts), f"cloned {draft.name}")
        except BaseException:
            _take_back(core, work)
            raise
    return [made[draft.name] for draft in drafts if draft.name in made], failed, warnings


def _take_back(core: Core, work: dict[Future[tuple[str, ...]], Workspace]) -> None:
    """Leave nothing of a call that was stopped: nobody has been told of its clones."""
    for future, draft in work.items():
        if not future.cancel() and future.exception() is None:
            with core.changing(draft):
                core.backend.purge(draft)
                core.store.forget(draft.uid)


def _make(core: Core, origin: Workspace, snapshot: Snapshot, draft: Workspace) -> tuple[str, ...]:
    """Make one clone. Its row claims the name; whatever goes wrong, nothing of it is left."""
    with core.changing(draft):
        try:
            core.store.claim(draft)
        except Exists as taken:
            raise Exists(taken.message, taken.hint, workspace=draft.name) from None
        try:
            core.backend.keep(draft, "base", snapshot)
            warnings = core.backend.fork(snapshot, draft, origin)
            core.store.save(draft)
        except BaseException:
            core.backend.purge(draft)
            core.store.forget(draft.uid)
            raise
    return warnings


def _summary(core: Core, origin: Workspace, snapshot: Snapshot, made: list[Workspace], failed: dict[str, WorkspacesError]) -> str:
    carried = "" if snapshot.id == snapshot.head else ", uncommitted work carried"
    what = f"{len(made)} workspace{'s' if len(made) != 1 else ''}"
    return f"Created {what} from {origin.name}{carried}." + (f" {len(failed)} could not be made." if failed else "")


def _next(made: list[Workspace]) -> tuple[str, ...]:
    if not made:
        return ()
    names = [workspace.name for workspace in made[:8]]
    edit = f"work in {made[0].location}" if len(made) == 1 else "give each agent one location; edit only there"
    return (edit, f"compare(workspaces={names})", f"merge(source='{made[0].name}')")
