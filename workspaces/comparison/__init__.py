"""Many attempts side by side: what each changed, whether it merges, and which of them cannot be had together.

Compare is a merge that is not carried out: its verdicts come from the same git as the merge, in a view whose objects vanish with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from workspaces.asked import chosen
from workspaces.backend import Backend
from workspaces.comparison import across, kept, seen, telling
from workspaces.comparison.attempts import Attempt, Scene, frozen, worked_out
from workspaces.comparison.evidence import Judged, judged
from workspaces.comparison.ruled import Deciding
from workspaces.core import Core, Glance, Progress, silent
from workspaces.errors import InvalidArgument, NotFound, once_more
from workspaces.model import Compared, Comparison, Detail, Workspace
from workspaces.wording import HUNK_BUDGET, MOST_CONFLICTS, bounded

LEAST_CHARS, MAX_CHARS = 500, 100_000
"""Characters of a page: the fewest, and the most that a server answers with. Whoever prints to a person may ask for all at once."""
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
    other. Changes nothing. Of all, those whose folders are gone are left out, and named."""
    are_all = not names
    names = names or [each.id for each in core.seen() if not each.is_main]
    if len(names) > MAX_WORKSPACES:
        raise InvalidArgument(f"{len(names)} workspaces are too many.", f"Name at most {MAX_WORKSPACES}; status lists them.")
    if not names:
        raise NotFound("There is no workspace to compare yet.", "clone makes some.")
    if max_chars < LEAST_CHARS:
        raise InvalidArgument(f"max_chars is {max_chars}.", f"It is {LEAST_CHARS} or more.")
    if detail == "ranking" and base:
        raise InvalidArgument("A ranking takes no base: each attempt is judged beside what it began with.", "Leave base out.")
    paths = chosen(paths)
    if detail == "summary" and cursor:
        raise InvalidArgument(
            "A summary has no pages, so no cursor belongs to it.", "Leave cursor out, or name the detail that it came with."
        )
    if sum(map(len, paths)) > MAX_CHARS:
        raise InvalidArgument("The paths are too many.", "Name folders instead of each file in them.")
    revision = core.store.revision()
    core = replace(core, glance=Glance())
    workspaces = list({found.id: found for found in map(core.find, names)}.values())
    return once_more(partial(_looked, core, revision, workspaces, are_all, base, detail, paths, cursor, max_chars, progress))


def _looked(
    core: Core,
    revision: int,
    workspaces: list[Workspace],
    are_all: bool,
    base: str,
    detail: Detail,
    paths: Sequence[str],
    cursor: str,
    max_chars: int,
    progress: Progress,
) -> Comparison:
    with core.backend.aside() as view:
        with frozen(core, view, workspaces, base, progress, are_all) as scene:
            asked = [base, detail, *paths]
            name = kept.key(core, scene, revision, *asked)
            begun = kept.begun(core, workspaces, asked, cursor) if cursor and detail != "ranking" else None
            told = begun if begun and begun.outdated(scene) else kept.recalled(name) if cursor else None
            attempts = [] if told else worked_out(core, view, scene, base, progress)
        told = told or _told(core, view, attempts, scene, base, detail, progress)
        if detail == "summary":
            paged = telling.summed(told.result)
        else:
            from workspaces.comparison import pages

            told.sealed(name, asked)
            told = begun if begun and not cursor.startswith(f"{told.seal}.") else told
            paged = pages.page(view, told, detail, paths, cursor, max_chars, told.outdated(scene))
        if paged.truncated:
            kept.keep(told)
        return telling.brief(paged, told.result, detail) if detail == "ranking" or len(workspaces) > telling.ROWS else paged


def _told(core: Core, view: Backend, attempts: Sequence[Attempt], scene: Scene, base: str, detail: Detail, progress: Progress) -> kept.Told:
    """Return all that pages are cut from."""
    known = [judged(core, view, attempt) for attempt in attempts]
    across_them = len(attempts) > 1 and not base and detail != "ranking"
    result = _compared_all(core, view, attempts, scene, known, base, detail, across_them, progress)
    if detail == "conflicts":
        against = base if not base or "@" in base else core.find(base).id
        return kept.Told(
            attempts, result, [*across.with_others(attempts, [against or row.parent for row in result.workspaces]), *result.pairs]
        )
    if detail != "ranking":
        return kept.Told(attempts, result)
    from workspaces.comparison import ranking

    return kept.Told(attempts, ranking.ranked(core, view, attempts, known, result))


def _compared_all(
    core: Core,
    view: Backend,
    attempts: Sequence[Attempt],
    scene: Scene,
    known: Sequence[Judged],
    base: str,
    detail: Detail,
    across_them: bool,
    progress: Progress,
) -> Comparison:
    """Say all of the attempts that does not come in pages; `across_them`, what only several together show."""
    rules = Deciding(core, view)
    pairs = across.pairs(core, view, attempts, progress, rules) if across_them else []
    groups = across.groups(view, attempts)
    clashes = Counter(name for pair in pairs for name in (pair.a, pair.b))
    together = across.compatible(core, view, attempts, pairs, progress) if across_them else across.Together()
    result = Comparison(
        summary="",
        base=attempts[0].against.id if len({attempt.against.id for attempt in attempts}) == 1 else "",
        workspaces=tuple(
            _compared(core, attempt, each, _group(attempt, groups), clashes, len(attempts), detail)
            for attempt, each in zip(attempts, known, strict=True)
        ),
        pairs=tuple(pairs),
        groups=tuple(ids for _, ids in groups),
        alike=tuple(kind for kind, _ in groups),
        compatible=together.ids,
        warnings=(
            *scene.left_out,
            *telling.warnings(attempts, detail),
            *telling.ruled(attempts, rules),
            *telling.together(together),
            *seen.edited(core, view, attempts, scene.main),
        ),
    )
    named = base and next(iter(scene.against)).rpartition("/")[2] + "".join(base.partition("@")[1:])
    return result.model_copy(
        update={"summary": telling.summary(result, attempts, named), "next": telling.calls(core, attempts, result.compatible, base, detail)}
    )


def _group(attempt: Attempt, groups: Sequence[tuple[str, tuple[str, ...]]]) -> int:
    return next((number for number, (_, ids) in enumerate(groups, 1) if attempt.workspace.id in ids), 0)


def _compared(core: Core, attempt: Attempt, each: Judged, group: int, clashes: Mapping[str, int], total: int, detail: Detail) -> Compared:
    found = core.observed(attempt.workspace, attempt.snapshot, attempt.base, attempt.diff)
    conflicts, _ = bounded(attempt.merge.conflicts if detail != "conflicts" else (), HUNK_BUDGET // total)
    fields = {name: getattr(found, name) for name in Workspace.model_fields}
    fields["state"] = "ready" if attempt.lost and found.state == "merged" else found.state
    return Compared.model_validate(
        fields
        | {
            "snapshot": attempt.snapshot.id,
            "merge": attempt.verdict,
            "conflicts": conflicts,
            "decided": attempt.decided[:MOST_CONFLICTS],
            "group": group,
            "behind": attempt.behind,
            "clashes": clashes.get(found.id, 0),
            "checks": {name: verdict.verdict for name, verdict in each.verdicts.items()},
            "parent_changed": len(attempt.under.changes),
            "parent_paths": seen.under(attempt, total),
        }
    )
