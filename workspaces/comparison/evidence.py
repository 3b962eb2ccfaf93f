"""What is known of attempts that says which is better: what remembered checks say of each, and of what it began with; and what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workspaces.backend import Backend
from workspaces.comparison.attempts import Attempt
from workspaces.config import Check
from workspaces.core import Core
from workspaces.model import Change, Compared, Comparison, Outcome, Snapshot, Verdict

Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True)
class Judged:
    """What is remembered of an attempt, and the base beside which it is judged."""

    verdicts: dict[str, Verdict]
    base: Snapshot


@dataclass(frozen=True)
class Evidence:
    """All that speaks for and against attempts that hold the same, from the same beginning."""

    seen: tuple[Compared, ...]
    base: Snapshot
    checks: Outcomes
    control: Outcomes
    """What the checks say of its base."""
    doubted: Mapping[str, frozenset[str]]
    """Of each check, what it judges by and the attempt changed: a pass is then no more than the base's."""
    protected: frozenset[str]
    changes: tuple[Change, ...]
    """What it changed but for protected paths."""
    alike: tuple[str, ...]

    @property
    def row(self) -> Compared:
        return self.seen[0]

    @property
    def lines(self) -> int:
        return sum(change.insertions + change.deletions for change in self.changes)

    @property
    def tests(self) -> tuple[str, ...]:
        """Return what it changed that is protected, or looks like tests."""
        return tuple(sorted(self.protected.union(*self.doubted.values())))

    @property
    def passed(self) -> frozenset[str]:
        """Return the checks that count as passed."""
        proven = {name for name in self.checks if not self.doubted[name] or self.control.get(name) == "pass"}
        return frozenset(name for name in proven if self.checks[name] == "pass")

    @property
    def gained(self) -> tuple[str, ...]:
        return tuple(name for name in self.checks if name in self.passed and self.control.get(name) != "pass")

    @property
    def kept(self) -> tuple[str, ...]:
        return tuple(name for name in self.checks if name in self.passed and self.control.get(name) == "pass")

    @property
    def broken(self) -> tuple[str, ...]:
        return tuple(name for name, said in self.checks.items() if said != "pass" and self.control.get(name) == "pass")

    def missing(self, counting: Sequence[str]) -> tuple[str, ...]:
        """Return the checks that were not run on it, or not on its base."""
        return tuple(name for name in counting if name not in self.checks or name not in self.control)


def judged(core: Core, view: Backend, attempt: Attempt) -> Judged:
    """Return the verdicts that are remembered of what an attempt holds. Runs nothing."""
    base = attempt.snapshot if attempt.workspace.is_main else view.load(core.agreed(attempt.workspace).snapshot)
    return Judged(_remembered(core, view, attempt.snapshot, base), base)


def _remembered(core: Core, view: Backend, snapshot: Snapshot, base: Snapshot) -> dict[str, Verdict]:
    if not core.config.checks:
        return {}
    from workspaces.checks import remembered

    return remembered(core, view, snapshot, base)


def gathered(
    core: Core, view: Backend, attempts: Sequence[Attempt], known: Sequence[Judged], result: Comparison, counting: Mapping[str, Check]
) -> list[Evidence]:
    """Return the evidence of all attempts, those that hold the same taken together, in the order in which they were named."""
    bases = {each.base.id: each.base for each in known}
    controls = {name: outcomes(_remembered(core, view, base, base), counting) for name, base in bases.items()}
    together: dict[tuple[str, str, str], list[tuple[Attempt, Judged, Compared]]] = {}
    for attempt, each, row in zip(attempts, known, result.workspaces, strict=True):
        together.setdefault((attempt.snapshot.contents, each.base.contents, row.parent), []).append((attempt, each, row))
    return [
        _evidence(attempt, each, tuple(row for *_, row in same), controls[each.base.id], result.groups, counting)
        for same in together.values()
        for attempt, each, _ in same[:1]
    ]


def outcomes(verdicts: Mapping[str, Verdict], counting: Mapping[str, Check]) -> dict[str, Outcome]:
    """Return what verdicts say of the checks that count, those left out that come of fewer runs than are asked for."""
    return {
        name: "flaky" if verdicts[name].flaky else verdicts[name].verdict
        for name, check in counting.items()
        if name in verdicts and (verdicts[name].flaky or verdicts[name].runs >= check.repeat)
    }


def _evidence(
    attempt: Attempt,
    known: Judged,
    seen: tuple[Compared, ...],
    control: Outcomes,
    groups: Sequence[Sequence[str]],
    counting: Mapping[str, Check],
) -> Evidence:
    from workspaces import checks

    changes, mine = attempt.diff.changes, {row.id for row in seen}
    protected = frozenset(path for check in counting.values() for path in checks.protected(check, changes))
    return Evidence(
        seen=seen,
        base=known.base,
        checks=outcomes(known.verdicts, counting),
        control=control,
        doubted={name: frozenset(checks.unprotected(check, changes)) for name, check in counting.items()},
        protected=protected,
        changes=tuple(change for change in changes if change.path not in protected),
        alike=tuple(dict.fromkeys(name for ids in groups if mine & {*ids} for name in ids if name not in mine)),
    )
