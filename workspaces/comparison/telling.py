"""What is said of a comparison: a sentence, warnings, what to do next, and many attempts as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from workspaces.comparison.across import Together
from workspaces.comparison.attempts import Attempt
from workspaces.comparison.ruled import Deciding
from workspaces.core import Core
from workspaces.model import Compared, Comparison, Decided, Detail, Place, Workspace
from workspaces.wording import HUNK_BUDGET, MOST_CONFLICTS, bounded, call, counted, flaws, listed, unsure

ROWS = 16
"""Attempts that are told one by one; more of them are a table."""
OF_PAIR = 20
"""Conflicts of one pair, but where these are asked for."""
Row = TypeVar("Row", Compared, Place)
Column = tuple[str, Callable[[Row], str]]
_ALIKE = {"identical": "=", "same_patch": "≈", "same_syntax": "~"}
_MARKS = {"clean": "", "conflicts": "CONFLICTS", "up_to_date": "nothing new"}


def table(result: Comparison, rows: Sequence[Compared]) -> str:
    """Return a line for each attempt, and its outline below it. Columns that say nothing are left out; those that say the same in every row of many
    stand in the head. `order` is its place among those that merge together, `group` the number and kind of what it is alike in."""
    order = {name: str(number) for number, name in enumerate(result.compatible, 1)}
    groups = [*enumerate(zip(result.groups, result.alike, strict=True), 1)]
    columns: list[Column[Compared]] = [
        ("name", lambda row: row.name),
        ("files", lambda row: str(row.files_changed)),
        ("+lines", lambda row: str(row.insertions)),
        ("-lines", lambda row: str(row.deletions)),
        ("merge", lambda row: _MARKS[row.merge]),
        ("behind", lambda row: str(row.behind or "")),
        ("clashes", lambda row: str(row.clashes or "")),
        ("group", lambda row: ",".join(f"{_ALIKE[kind]}{number}" for number, (ids, kind) in groups if row.id in ids)),
        ("order", lambda row: order.get(row.id, "")),
        *((name, partial(_verdict, name)) for name in _checks(rows)),
    ]
    head, *lines = _told(columns, rows)
    return "\n".join([head, *(line for row, first in zip(rows, lines, strict=True) for line in (first, *_indented(row)))])


def _checks(rows: Sequence[Compared] | Sequence[Place]) -> Iterable[str]:
    return dict.fromkeys(name for row in rows for name in row.checks)


def _verdict(name: str, row: Compared) -> str:
    return row.checks.get(name, "")


def summed(result: Comparison) -> Comparison:
    """Return a summary with some of the conflicts of each pair, and a word on the rest."""
    more = sum(max(0, len(pair.conflicts) - OF_PAIR) for pair in result.pairs)
    if not more:
        return result
    pairs = tuple(pair.model_copy(update={"conflicts": pair.conflicts[:OF_PAIR]}) for pair in result.pairs)
    said = f"{counted(more, 'conflict')} of pairs more, not listed: detail='conflicts' lists all."
    return result.model_copy(update={"pairs": pairs, "warnings": (*result.warnings, said)})


def brief(page: Comparison, whole: Comparison, detail: Detail) -> Comparison:
    """Return an answer about many attempts as it is told: as a table, or as the page that was asked for."""
    if detail == "ranking":
        return _ranking(page, whole)
    said = {"files": "files", "conflicts": "pairs", "diff": "diff"}.get(detail, "table")
    left_out = tuple(name for name in ("workspaces", "pairs", "groups", "alike", "compatible") if name != said)
    return page.model_copy(update={"left_out": left_out, "table": table(whole, page.workspaces) if said == "table" else ""})


def _ranking(page: Comparison, whole: Comparison) -> Comparison:
    """Return a ranking as it is told: by places and reasons, or when there are many, as a table of the same."""
    is_long = len(whole.ranking) > ROWS
    left_out = ("workspaces", "pairs", "groups", "alike", *(["ranking"] if is_long else []))
    return page.model_copy(update={"left_out": left_out, "table": places(page.ranking) if is_long else ""})


def places(rows: Sequence[Place]) -> str:
    """Return a line for each place; columns that say nothing are left out. `*` is at a check that the base does not pass."""
    columns: list[Column[Place]] = [
        ("place", lambda row: "base" if row.control else str(row.place or "?")),
        ("names", lambda row: ",".join(name.rpartition("/")[2] for name in row.workspaces)),
        *((name, partial(_outcome, name)) for name in _checks(rows)),
        ("files", lambda row: str(row.files_changed or "")),
        ("+lines", lambda row: str(row.insertions or "")),
        ("-lines", lambda row: str(row.deletions or "")),
        ("merge", lambda row: _MARKS[row.merge] if row.merge else ""),
        ("alike", lambda row: str(len(row.alike) or "")),
        ("tests changed", lambda row: str(len(row.tests_changed) or "")),
    ]
    return "\n".join(_told(columns, rows))


def _outcome(name: str, row: Place) -> str:
    return f"{row.checks.get(name, '')}{'*' if name in row.gained else ''}"


def _told(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> list[str]:
    """Return a head, and a line for each row. What many rows say alike is said once, in the head."""
    return _lines({name: [cell(row) for row in rows] for name, cell in columns}, len(rows) > ROWS)


def _lines(told: Mapping[str, Sequence[str]], are_many: bool) -> list[str]:
    kept = {name: cells for name, cells in told.items() if any(cells)}
    same = {name: cells[0] for name, cells in kept.items() if are_many and len({*cells}) == 1}
    apart = [name for name in kept if name not in same]
    head = [*apart, *([f"all: {' '.join(f'{name}={cell}' for name, cell in same.items())}"] if same else [])]
    return ["|".join(head), *("|".join(cells) for cells in zip(*(kept[name] for name in apart), strict=True))]


def _indented(row: Compared) -> list[str]:
    return [f"  {line}" for line in row.outline]


def summary(result: Comparison, attempts: Sequence[Attempt], base: str) -> str:
    """Say in a sentence what came out. `base` is what was named to compare with."""
    if len(result.workspaces) == 1:
        return _summary_of_one(result.workspaces[0], attempts[0], base)
    verdicts = [workspace.merge for workspace in result.workspaces]
    clean, clashing = verdicts.count("clean"), verdicts.count("conflicts")
    between = (
        f"; {counted(len(result.pairs), 'pair')} conflict{'s' if len(result.pairs) == 1 else ''}" if result.pairs else "; no two conflict"
    )
    into = base or "what they merge into"
    fit = f" {len(result.compatible)} merge together." if len(result.compatible) > 1 and result.pairs else ""
    return (
        f"{counted(len(verdicts), 'workspace')}: {clean} merge cleanly, {clashing} conflict with {into}"
        f"{'' if base else between}.{fit}{_alike(result)}"
    )


def _summary_of_one(only: Compared, attempt: Attempt, base: str) -> str:
    size = f"{counted(only.files_changed, 'file')} +{only.insertions} -{only.deletions}"
    if base:
        said = "" if "@" in base else f" {_said(only, attempt, base)}"
        return f"{only.name} differs from {base} by {size}.{said}" if only.files_changed else f"{only.name} does not differ from {base}."
    if only.is_main and only.files_changed:
        return f"{only.name} changed {size}, which is not committed."
    return f"{only.name} changed {size}. {_said(only, attempt, base)}" if only.files_changed else f"{only.name} changed nothing."


def _alike(result: Comparison) -> str:
    names = {"identical": "of identical attempts", "same_patch": "with the same patch", "same_syntax": "alike but for comments and layout"}
    counts = {kind: result.alike.count(kind) for kind in dict.fromkeys(result.alike)}
    return "".join(f" {counted(count, 'group')} {names[kind]}." for kind, count in counts.items())


def _said(only: Compared, attempt: Attempt, base: str) -> str:
    if only.merge == "conflicts":
        return f"It conflicts in {listed(conflict.path for conflict in attempt.merge.conflicts)}."
    if only.merge == "up_to_date":
        return f"A merge into {base} would bring nothing." if base else f"{only.parent.rpartition('/')[2]} has all of it already."
    return f"It merges: {_by_rule(attempt.decided)}." if attempt.decided else "It merges cleanly."


def _by_rule(decided: Sequence[Decided]) -> str:
    """Say what rules decide, and which of that is not known before."""
    now = [each.path for each in decided if not each.when_merged]
    later = [each.path for each in decided if each.when_merged]
    said = [f"{listed(now)} decided by a rule"] if now else []
    return "; ".join([*said, *([f"{listed(later)} to be decided by a rule when merged"] if later else [])])


def warnings(attempts: Sequence[Attempt], detail: Detail) -> tuple[str, ...]:
    found: list[str] = []
    for attempt in attempts:
        found += _uncounted(attempt, HUNK_BUDGET // len(attempts), len(attempts) > 1) if detail != "conflicts" else []
        found += unsure(attempt.workspace.name, attempt.merge)
        found += flaws(attempt.workspace.name, attempt.snapshot)
        found += [attempt.lost] if attempt.lost else []
    return tuple(dict.fromkeys(found))


def _uncounted(attempt: Attempt, budget: int, are_several: bool) -> list[str]:
    """Return what is left out of the lists of one attempt."""
    name = f"{attempt.workspace.name}: " if are_several else ""
    more = len(attempt.decided) - MOST_CONFLICTS
    said = [
        *bounded(attempt.merge.conflicts, budget)[1],
        *([f"{counted(more, 'path')} more decided by rules, not listed."] if more > 0 else []),
    ]
    return [f"{name}{each}" for each in said]


def together(found: Together) -> tuple[str, ...]:
    """Return who conflicts with all that go together, though with none of them alone."""
    return tuple(
        f"{name.rpartition('/')[2]} is not in `compatible`: it conflicts with none of those alone, but on top of them all, in {listed(paths)}. "
        "In another order it may fit, and others not."
        for name, paths in found.left.items()
    )


def ruled(attempts: Sequence[Attempt], rules: Deciding) -> tuple[str, ...]:
    """Return what is to be said of conflicts that rules decide: each path once, however many attempts and pairs meet there."""
    if len(attempts) == 1:
        return ()
    by: dict[str, list[str]] = {}
    for path, rule in ({each.path: each.by for attempt in attempts for each in attempt.decided} | rules.decided).items():
        by.setdefault(rule, []).append(path)
    said = [f"{listed(sorted(paths))}: conflicts there are decided when merged, by {rule}." for rule, paths in by.items()]
    untried = f"{counted(rules.untried, 'pair')} more may be decided by rules: too many to be tried, so told as conflicts."
    return (*said, *([untried] if rules.untried else []))


def calls(core: Core, attempts: Sequence[Attempt], compatible: Sequence[str], base: str, detail: Detail) -> tuple[str, ...]:
    """Return the calls that make sense now."""
    if base:
        return ()
    best = next(iter(compatible), next((each.workspace.id for each in attempts if each.verdict == "clean"), ""))
    stuck = next((attempt for attempt in attempts if attempt.merge.conflicts), None)
    said: list[str] = []
    if best:
        said.append(call("merge", source=best, delete_source=True))
    if stuck:
        said.append(to_resolve(core, stuck.workspace))
    if detail != "diff" and any(attempt.diff.changes for attempt in attempts):
        closer = "outline" if detail == "summary" and len(attempts) > 1 else "diff"
        said.append(call("compare", "to look closer", workspaces=[attempt.workspace.id for attempt in attempts[:3]], detail=closer))
    return tuple(said)


def to_resolve(core: Core, stuck: Workspace) -> str:
    """Return the call that writes what conflicts with its parent into a workspace."""
    return call("merge", f"to resolve in {stuck.name}", source=core.parent(stuck).id, target=stuck.id, on_conflict="markers")
