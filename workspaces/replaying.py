"""The source's commits made again on top of the target, one by one, in memory: all of them, or up to the one that conflicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workspaces.backend import Backend
from workspaces.checks.making import Making
from workspaces.core import Core
from workspaces.model import Decided, Merge, OnConflict, Pick, Snapshot
from workspaces.resolving import Sides, settled


@dataclass(frozen=True)
class Replayed:
    """What the target would become. With conflicts, it is what it would be before the commit that they are at."""

    merge: Merge
    result: Snapshot
    decided: tuple[Decided, ...] = ()
    stopped_at: str = ""


def replay(
    core: Core, view: Backend, sides: Sides, on_conflict: OnConflict, message: str, paths: Sequence[str], making: Making
) -> Replayed:
    """Replay what the bringer did since it and the receiver had last the same, its uncommitted work at the end, as git-rebase(1) does:
    with authors, dates and messages; without what adds nothing. Where something is `wanted` first, it goes no further."""
    here = sides.ours
    decided: dict[str, Decided] = {}
    unsure: dict[str, None] = {}
    for pick in view.series(sides.ours, sides.theirs, sides.lineage, paths):
        step = settled(core, view, replace(sides, ours=here, theirs=pick.after, lineage=[pick.before.id]), on_conflict, making)
        if step.merge.conflicts or making.wanted:
            return Replayed(step.merge, here, stopped_at=_named(pick))
        decided |= {each.path: each for each in step.decided}
        unsure |= dict.fromkeys(step.merge.unsure)
        here = view.commit(here, pick.after, step.merge, "squash", message, follow=False, lineage=(), like=pick.commit)
    changes = view.diff(sides.ours, here).changes
    return Replayed(Merge(contents=here.contents, changes=changes, unsure=tuple(unsure)), here, tuple(decided.values()))


def _named(pick: Pick) -> str:
    return f"{pick.commit[:12]} ({pick.subject[:100]})" if pick.commit else "its uncommitted work"
