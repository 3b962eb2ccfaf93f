"""Many attempts side by side: what each changed, whether it merges, and which of them cannot be had together.

Compare is a merge that is not carried out: its verdicts come from the same git as the merge, in a view whose objects vanish with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from pydantic import JsonValue

from workspaces.backend import Backend
from workspaces.checks import remembered
from workspaces.comparison import across, pages, seen, telling
from workspaces.comparison.attempts import Attempt, Frozen, freeze_all
from workspaces.core import Core, Glance, Progress, silent
from workspaces.errors import Busy, InvalidArgument, NotFound, Vanished
from workspaces.model import Compared, Comparison, Detail, Workspace
from workspaces.naming import age_then_name
from workspaces.wording import HUNK_BUDGET, bounded

MAX_CHARS = 100_000
MAX_WORKSPACES = 256


def compare(
    core: Core,
    names: Sequence[str],
    base: str = "",
    detail: Detail = "summary",
    paths: Sequence[str] = (),
    cursor: str = "",
    max_chars: int = 20_000,
    progress: Progress = silent,
) -> Comparison:
    """Say what each workspace (all but main, when none is named) changed and whether it merges, and of several, which conflict with each
    other. Changes nothing."""
    names = names or [each.id for each in sorted(core.live(), key=age_then_name) if not each.is_main]
    if len(names) > MAX_WORKSPACES:
        raise InvalidArgument(f"{len(names)} workspaces are too many.", f"Name at most {MAX_WORKSPACES}; status lists them.")
    if not names:
        raise NotFound("There is no workspace to compare yet.", "clone makes some.")
    if not 500 <= max_chars <= MAX_CHARS:
        raise InvalidArgument(f"max_chars is {max_chars}.", f"It goes from 500 to {MAX_CHARS}.")
    if sum(map(len, paths)) > MAX_CHARS:
        raise InvalidArgument("The paths are too many.", "Name folders instead of each file in them.")
    core = replace(core, glance=Glance())
    workspaces = list({found.id: found for found in map(core.find, names)}.values())
    look = partial(_looked, core, workspaces, base, detail, paths, cursor, max_chars, progress)
    try:
        return look()
    except Vanished:  # what this view found was collected under it; what is there now stays, for a while
        pass
    try:
        return look()
    except Vanished as error:
        raise Busy(f"Objects are being taken away under this call, by a git gc or otherwise: {error.message}", error.hint) from error


def _looked(
    core: Core,
    workspaces: list[Workspace],
    base: str,
    detail: Detail,
    paths: Sequence[str],
    cursor: str,
    max_chars: int,
    progress: Progress,
) -> Comparison:
    with core.backend.aside() as view:
        frozen = freeze_all(core, view, workspaces, base, progress)
        result = _compared_all(core, view, frozen, base, progress)
        paged = result if detail == "summary" else pages.page(view, result, frozen.attempts, detail, paths, cursor, max_chars)
        return telling.brief(paged, result, detail) if len(workspaces) > telling.ROWS else paged


def _compared_all(core: Core, view: Backend, frozen: Frozen, base: str, progress: Progress) -> Comparison:
    """Say all of the attempts that does not come in pages."""
    attempts = frozen.attempts
    across_them = len(attempts) > 1 and not base
    pairs = across.pairs(core, view, attempts, progress) if across_them else []
    groups = across.groups(view, attempts)
    clashes = Counter(name for pair in pairs for name in (pair.a, pair.b))
    result = Comparison(
        summary="",
        base=attempts[0].against.id if len({attempt.against.id for attempt in attempts}) == 1 else "",
        workspaces=tuple(_compared(core, view, attempt, _group(attempt, groups), clashes, len(attempts)) for attempt in attempts),
        pairs=tuple(pairs),
        groups=tuple(ids for _, ids in groups),
        alike=tuple(kind for kind, _ in groups),
        compatible=across.compatible(core, view, attempts, pairs, progress) if across_them else (),
        warnings=(*telling.warnings(attempts), *seen.edited(core, view, frozen)),
    )
    return result.model_copy(update={"summary": telling.summary(result), "next": telling.calls(attempts, result.compatible, base)})


def _group(attempt: Attempt, groups: Sequence[tuple[str, tuple[str, ...]]]) -> int:
    return next((number for number, (_, ids) in enumerate(groups, 1) if attempt.workspace.id in ids), 0)


def _checks(core: Core, view: Backend, attempt: Attempt) -> dict[str, JsonValue]:
    """Return the verdicts that are remembered of what an attempt holds. Runs nothing."""
    base = attempt.snapshot if attempt.workspace.is_main else view.load(core.agreed(attempt.workspace).snapshot)
    return {name: each.verdict for name, each in remembered(core, view, attempt.snapshot, base).items()}


def _compared(core: Core, view: Backend, attempt: Attempt, group: int, clashes: Mapping[str, int], total: int) -> Compared:
    known = core.observed(attempt.workspace, attempt.snapshot, attempt.base, attempt.diff)
    conflicts, _ = bounded(attempt.merge.conflicts, HUNK_BUDGET // total)
    fields = {name: getattr(known, name) for name in Workspace.model_fields}
    fields["state"] = "ready" if attempt.lost and known.state == "merged" else known.state
    return Compared.model_validate(
        fields
        | {
            "snapshot": attempt.snapshot.id,
            "merge": attempt.verdict,
            "conflicts": conflicts,
            "group": group,
            "behind": attempt.behind,
            "clashes": clashes.get(known.id, 0),
            "checks": _checks(core, view, attempt),
            "parent_changed": len(attempt.under.changes),
            "parent_paths": seen.under(attempt, total),
        }
    )
