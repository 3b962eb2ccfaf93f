"""Which attempt to take: by what the checks say, then by size, then by how many did the same; and for each place, why.

An attempt stands above what it began with only by a check that it passes and its base does not, judged by what it did not change itself. Nothing
is run here, and nothing is decided: what was not checked stands apart, and what nothing tells apart shares a place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from workspaces.backend import Backend
from workspaces.comparison.attempts import Attempt
from workspaces.comparison.evidence import Evidence, Judged, gathered
from workspaces.comparison.reasons import Standing, calls, summary, warnings, why
from workspaces.config import Check
from workspaces.core import Core
from workspaces.model import Comparison, Place

_TESTS = 10
"""Changed tests of one attempt that are named."""
Key = tuple[int, ...]


def ranked(core: Core, view: Backend, attempts: Sequence[Attempt], known: Sequence[Judged], result: Comparison) -> Comparison:
    """Return a comparison with a place for each attempt, and what is said of them."""
    counting = _counting(core, known)
    found = gathered(core, view, attempts, known, result, counting)
    apart = [each for each in found if each.missing([*counting])]
    standing = [*_standing([each for each in found if each not in apart], core.config.merge.require), *(Standing(each) for each in apart)]
    places = tuple(_place(each, [*counting]) for each in standing)
    return result.model_copy(
        update={
            "ranking": places,
            "summary": summary(standing, len(attempts), [*counting]),
            "warnings": (*warnings(core, counting, standing), *result.warnings),
            "next": calls(core, standing, [*counting]),
        }
    )


def _counting(core: Core, known: Sequence[Judged]) -> dict[str, Check]:
    """Return the checks that count: those that were run on any attempt, and those that a merge requires; all, when none was run."""
    run = {name for each in known for name in each.verdicts}
    wanted = run | {*core.config.merge.require} if run else {*core.config.checks}
    return {name: check for name, check in core.config.checks.items() if name in wanted}


def _standing(judged: Sequence[Evidence], required: Sequence[str]) -> list[Standing]:
    """Return what was judged in order, with what each began with above all that have shown no more than that."""

    def key(each: Evidence) -> Key:
        return (*_strength(each, required), 1, *_rest(each))

    found: list[Standing] = []
    for _, tied in groupby(sorted(judged, key=key), key=key):
        found += _sharing([*tied], place=1 + sum(len(each.names) for each in found))
    lines: list[tuple[Key, Standing]] = [(key(each.evidence), each) for each in found]
    lines += [((*_of_base(each, required), 0), Standing(each, control=_beginners(each, judged))) for each in _bases(judged)]
    return [each for _, each in sorted(lines, key=itemgetter(0))]


def _sharing(tied: Sequence[Evidence], place: int) -> list[Standing]:
    names = [row.name for each in tied for row in each.seen]
    return [Standing(each, place, tuple(name for name in names if name not in {row.name for row in each.seen})) for each in tied]


def _strength(each: Evidence, required: Sequence[str]) -> Key:
    """Return how much the checks say for an attempt, most first: required ones that it passes, all that it passes, none that it broke, and those
    that its base does not pass."""
    return -len(each.passed & {*required}), -len(each.passed), len(each.broken), -len(each.gained)


def _of_base(each: Evidence, required: Sequence[str]) -> Key:
    passed = {name for name, said in each.control.items() if said == "pass"}
    return -len(passed & {*required}), -len(passed), 0, 0


def _rest(each: Evidence) -> Key:
    """Return what tells attempts apart that the checks say the same of. Who changed nothing that is judged comes last: it is no smaller solution."""
    agreed = len(each.seen) + len(each.alike)
    return not each.changes, each.lines, len(each.changes), -agreed, each.row.merge == "conflicts"


def _bases(judged: Sequence[Evidence]) -> list[Evidence]:
    """Return one attempt for each of the bases that there are. What main holds is its own base, and told just once."""
    first: dict[str, Evidence] = {}
    for each in judged:
        if each.control and not each.row.is_main:
            first.setdefault(each.base.contents, each)
    return [*first.values()]


def _beginners(base: Evidence, judged: Sequence[Evidence]) -> tuple[str, ...]:
    return tuple(row.name for each in judged if each.base.contents == base.base.contents for row in each.seen)


def _place(each: Standing, counting: Sequence[str]) -> Place:
    it = each.evidence
    if each.control:
        return Place(workspaces=(it.row.parent,), control=True, checks=dict(it.control), why=why(each, counting))
    return Place(
        place=each.place,
        workspaces=tuple(row.id for row in it.seen),
        checks=dict(it.checks),
        gained=it.gained,
        files_changed=len(it.changes),
        insertions=sum(change.insertions for change in it.changes),
        deletions=sum(change.deletions for change in it.changes),
        alike=it.alike,
        merge=it.row.merge,
        tests_changed=it.tests[:_TESTS],
        why=why(each, counting),
    )
