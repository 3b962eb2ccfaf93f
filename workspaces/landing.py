"""Several workspaces merged in one call: one after the other, each on top of the ones before. What does not fit is left out and said."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from workspaces.asked import Asked
from workspaces.checks import Trial
from workspaces.core import Core, Progress, silent
from workspaces.errors import Interrupted, InvalidArgument, WorkspacesError
from workspaces.merging import merge, required
from workspaces.model import Landing, MergeResult, MergeStatus, Workspace
from workspaces.wording import call, counted, listed, of_one

_ORDER: tuple[MergeStatus, ...] = ("conflicts", "check_failed", "refused", "merged", "would_merge")


def land(core: Core, asked: Asked, progress: Progress = silent, patience: float | None = None) -> MergeResult:
    """Merge the sources in this order. Each is a merge of its own, whole or not at all, and is undone with the others or alone."""
    receiver, names = _receiver(core, asked.sources, asked.target)
    Trial.of(core, required(core, core.find(receiver), asked.require), receiver)  # what holds for all is refused once
    results: list[Landing] = []
    if_target, deadline = asked.if_target, None if patience is None else time.monotonic() + patience
    for number, source in enumerate(asked.sources):
        progress(number, len(asked.sources), f"merging {source}")
        told = partial(_within, progress, number, len(asked.sources))
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        result = _landed(core, replace(asked, source=source, if_target=if_target), names[source], receiver, told, left)
        results.append(Landing.model_validate(result.model_dump(exclude={"results"})))
        # What came in between was ours, so it is no reason to stop; what anybody else does is.
        if_target = result.snapshot if if_target and result.status == "merged" else if_target
    return _together(results, receiver, asked.dry_run)


def _receiver(core: Core, sources: Sequence[str], target: str) -> tuple[str, dict[str, str]]:
    """Return the id of the one target that all have, and of each source. Raises before anything is merged."""
    found = {source: core.find_ever(source) for source in sources}
    if len({each.uid for each in found.values()}) < len(sources):
        raise InvalidArgument("A source is named twice. Nothing was merged.", "Name each once.")
    ids = {source: each.id for source, each in found.items()}
    if target:
        return core.find(target).id, ids
    parents = {_parent(core, each).id for each in found.values()}
    if len(parents) > 1:
        raise InvalidArgument(f"They have different parents: {listed(sorted(parents))}. Nothing was merged.", "Name a target.")
    return parents.pop(), ids


def _parent(core: Core, workspace: Workspace) -> Workspace:
    if workspace.is_main:
        raise InvalidArgument("main has no parent to merge into. Nothing was merged.", "Name a target.")
    return core.parent(workspace)


def _within(progress: Progress, number: int, sources: int, done: int, total: int, message: str) -> None:
    """Report one merge as a part of the whole call, which may be stopped there too."""
    progress(number, sources, message)


def _landed(core: Core, asked: Asked, source: str, receiver: str, progress: Progress, patience: float | None) -> MergeResult:
    try:
        return merge(core, asked, progress, patience)
    except Interrupted:
        raise
    except WorkspacesError as error:
        return MergeResult(
            summary=of_one(error.message),
            status="refused",
            source=source,
            target=receiver,
            warnings=(error.hint,) if error.hint else (),
        )


def _together(results: Sequence[Landing], receiver: str, dry_run: bool) -> MergeResult:
    by_status = {status: [each for each in results if each.status == status] for status in _ORDER}
    met: list[MergeStatus] = [status for status in _ORDER if by_status[status]]
    landed, left = (
        [*by_status["merged"], *by_status["would_merge"]],
        [*by_status["conflicts"], *by_status["check_failed"], *by_status["refused"]],
    )
    name = receiver.rpartition("/")[2]
    verb = "would merge, each alone," if dry_run else "merged"
    out = f" Left out: {listed(each.source.rpartition('/')[2] for each in left)}." if left else ""
    return MergeResult(
        summary=f"{counted(len(landed), 'workspace')} of {len(results)} {verb} into {name}.{out}",
        status=met[0] if met else "up_to_date",
        source=results[-1].source,
        target=receiver,
        snapshot=next((each.snapshot for each in reversed(results) if each.snapshot), ""),
        results=tuple(results),
        next=(call("restore", "undo the last of them, and again the one before", workspace=receiver),) if by_status["merged"] else (),
    )
