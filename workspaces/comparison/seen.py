"""What went on around the attempts while they were open: what their parents changed, and whether somebody worked in main itself."""

from __future__ import annotations

from collections.abc import Sequence

from workspaces.backend import Backend
from workspaces.comparison.attempts import Attempt
from workspaces.core import Core
from workspaces.errors import WorkspacesError
from workspaces.model import Operation, Snapshot
from workspaces.wording import listed

_PATHS = 40
"""Paths of parents in one answer."""


def under(attempt: Attempt, total: int) -> tuple[str, ...]:
    """Return the paths that the parent changed since the two agreed, those first that the attempt changed too, as many as fit."""
    changed = {change.path for change in attempt.under.changes}
    return tuple(sorted(changed, key=lambda path: (path not in attempt.diff.paths, path))[: max(2, _PATHS // total)])


def edited(core: Core, view: Backend, attempts: Sequence[Attempt], main: Snapshot | WorkspacesError | None) -> tuple[str, ...]:
    """Return a warning for work that appeared in main itself since attempts were cloned from it, or that nobody knows."""
    if main is None:
        return ()
    children = [each for each in attempts if each.workspace.parent.endswith("/main")]
    try:
        if isinstance(main, WorkspacesError):
            raise main
        since = {origin: _appeared(core, view, main, view.load(origin)) for origin in {each.workspace.origin for each in children}}
    except WorkspacesError as error:
        return (f"Whether somebody worked in main itself is not known, since it could not be looked at as it is: {error.message}",)
    by: dict[frozenset[str], list[str]] = {}
    for attempt in children:
        by.setdefault(since[attempt.workspace.origin], []).append(attempt.workspace.name)
    how = "has uncommitted changes that it did not have" if core.backend.capabilities.commits else "was changed, by no merge,"
    return tuple(
        f"main {how} when {listed(names, 3)} {'was' if len(names) == 1 else 'were'} cloned: {listed(sorted(paths))}. "
        "Somebody worked in main itself: a person, or an agent outside of its workspace."
        for paths, names in by.items()
        if paths
    )


def _appeared(core: Core, view: Backend, main: Snapshot, origin: Snapshot) -> frozenset[str]:
    """Return the paths of main that hold what they did not hold when a clone was made from `origin`, and that no merge brought."""
    paths = view.diff(origin, main).paths
    if core.backend.capabilities.commits and paths:
        paths &= view.diff(view.load(main.head), main).paths
    last = _last_move(core) if paths else None
    if last is not None:
        # What was left uncommitted on purpose (history="none"), or restored, is as the journal has it.
        paths &= view.diff(Snapshot.model_validate(last.outcome["new"]), main).paths
    return paths


def _last_move(core: Core) -> Operation | None:
    name = core.main().id
    moved = (each for each in core.store.past(core.row.name, "merge", "restore") if each.moves == name and each.state == "done")
    return next((each for each in moved if isinstance(each.outcome.get("new"), dict)), None)
