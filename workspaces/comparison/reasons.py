"""A ranking in words: why each stands where it stands, which is first, and what to do now. "Passed" says what was passed, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workspaces.comparison.evidence import Evidence, Outcomes
from workspaces.comparison.telling import to_resolve
from workspaces.config import Check
from workspaces.core import Core
from workspaces.model import Compared, Outcome
from workspaces.wording import call, counted, listed, sized

_NAMES = 16
"""Workspaces in one call that is proposed."""
_FEW = 5
_SAID: dict[Outcome, str] = {"fail": "failed", "flaky": "flaky, so not passed:", "timeout": "timed out in", "error": "not to be judged by"}
_MERGES = {"clean": "merges cleanly", "conflicts": "conflicts with what it merges into", "up_to_date": "nothing to merge"}


@dataclass(frozen=True)
class Standing:
    """Evidence, and its place: none for a control, and for what was not checked."""

    evidence: Evidence
    place: int = 0
    tied: tuple[str, ...] = ()
    """Others that nothing tells it apart from."""
    control: tuple[str, ...] = ()
    """Of a base: the attempts that began with it."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.evidence.seen)


def why(each: Standing, counting: Sequence[str]) -> str:
    it = each.evidence
    if each.control:
        passed = [name for name, said in it.control.items() if said == "pass"]
        return _joined((f"what {listed(each.control, _FEW)} began with", _score(len(passed), it.control), *_not_passed(it.control)))
    if missing := it.missing(counting):
        return _joined((f"not run: {listed(missing)}", *_checked(it), *_done(it)))
    ties = f"nothing tells it from {listed(each.tied, _FEW)}" if each.tied else ""
    return _joined((*_checked(it), *_done(it), ties))


def _joined(parts: Iterable[str]) -> str:
    return "; ".join(part for part in parts if part)


def _score(passed: int, checks: Outcomes) -> str:
    return f"passed {passed} of {counted(len(checks), 'check')} of workspaces.toml" if checks else ""


def _checked(it: Evidence) -> Iterable[str]:
    yield _score(sum(said == "pass" for said in it.checks.values()), it.checks)
    if it.gained:
        yield f"its base does not pass {listed(it.gained)}"
    if it.kept:
        yield f"its base passes {listed(it.kept)} too, which proves nothing"
    for name, said in it.checks.items():
        if said == "pass" and name not in it.passed:
            yield f"{name} is not counted: it changed {listed(sorted(it.doubted[name]), 3)}, which {name} does not protect"
    if it.broken:
        yield f"its base passes {listed(it.broken)}, and it does not"
    yield from _not_passed(it.checks)


def _not_passed(checks: Outcomes) -> Iterable[str]:
    for kind, words in _SAID.items():
        if names := [name for name, said in checks.items() if said == kind]:
            yield f"{words} {listed(names)}"


def _done(it: Evidence) -> Iterable[str]:
    """Yield what an attempt did, and who did the same."""
    if it.changes:
        yield sized(it.changes)
    else:
        yield "changed nothing but what is protected" if it.protected else "changed nothing"
    if len(it.seen) > 1:
        yield f"{len(it.seen)} hold exactly this"
    if it.alike:
        yield f"{counted(len(it.alike), 'other')} did the same in other words"
    yield _MERGES[it.row.merge]
    if it.protected:
        yield f"changed protected paths, judged as the base has them: {listed(sorted(it.protected), 3)}"
    elif it.tests:
        yield f"changed what looks like tests: {listed(it.tests, 3)}"


# -- all of them together -----------------------------------------------------------------------------------------------------------------


def summary(standing: Sequence[Standing], attempts: int, counting: Sequence[str]) -> str:
    """Return one or two sentences that are true alone."""
    first = [each for each in standing if each.place == 1]
    apart = sum(len(each.evidence.seen) for each in standing if not each.place and not each.control)
    said = [_first(first, attempts, counting)] if first else []
    if first and counting:
        above = _above(standing)
        said.append(
            f"{above} of {attempts} passed a check that their base does not." if above else "None passed a check that its base does not."
        )
    if apart:
        said.append(f"{counted(apart, 'workspace')} stand{'s' if apart == 1 else ''} apart: not all checks were run.")
    return " ".join(said)


def _first(first: Sequence[Standing], attempts: int, counting: Sequence[str]) -> str:
    names = [name for each in first for name in each.names]
    whose = f"{listed(names, _FEW)} {'stands' if len(names) == 1 else 'share the'} first"
    it = first[0].evidence
    told = _joined((_score(len(it.passed), it.checks), sized(it.changes))) if counting else sized(it.changes)
    return f"{whose}{' place' if len(names) > 1 else ''} of {attempts} ({told})."


def _above(standing: Sequence[Standing]) -> int:
    return sum(len(each.evidence.seen) for each in standing if each.place and each.evidence.gained)


def warnings(core: Core, counting: Mapping[str, Check], standing: Sequence[Standing]) -> Iterable[str]:
    if not core.config.checks:
        yield "No checks are configured, so this is an order of size and agreement, which say nothing about what works."
    if idle := [name for name in core.config.checks if name not in counting]:
        yield f"Not run on any, so not counted: {listed(idle)}."
    if any(said == "pass" and name not in it.passed for it in (each.evidence for each in standing) for name, said in it.checks.items()):
        yield "A pass is not counted where an attempt changed what it is judged by: protect those paths in workspaces.toml, and check again."


def calls(core: Core, standing: Sequence[Standing], counting: Sequence[str]) -> tuple[str, ...]:
    """Return the calls that make sense now: check what was not, look at the first, merge what has shown more than its base."""
    attempts = [each for each in standing if not each.control]
    apart = [row.id for each in attempts if not each.place for row in each.evidence.seen]
    first = [each for each in attempts if each.place]
    said = [call("check", workspaces=apart[:_NAMES])] if apart and counting else []
    if first:
        said.append(call("compare", workspaces=[each.evidence.row.id for each in first[:2]], detail="diff"))
    if first and first[0].evidence.gained:
        said.append(_merge(core, first[0].evidence.row, counting))
    return tuple(said)


def _merge(core: Core, winner: Compared, counting: Sequence[str]) -> str:
    if winner.merge == "conflicts":
        return to_resolve(core, winner)
    return call("merge", source=winner.id, require=[*counting], delete_source=True)
