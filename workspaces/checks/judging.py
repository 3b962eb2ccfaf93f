"""Judging workspaces: which checks, of which contents, beside what they began with, and what is answered when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from workspaces.backend import Backend
from workspaces.checks import jobs
from workspaces.checks.asking import named, refuse_untrusted
from workspaces.checks.jobs import Job
from workspaces.checks.outputs import compared
from workspaces.checks.verdicts import Question, questions, recalled
from workspaces.config import Check
from workspaces.core import Core, Progress, silent
from workspaces.errors import InvalidArgument
from workspaces.model import CheckDetail, Checked, Verdict, Workspace
from workspaces.wording import call

Watch = Callable[[Sequence[Verdict]], None]
"""Told the rows as they are now, every now and then."""
_TAILS = 20_000
"""Characters of output in one answer."""
_NAMES = 8


@dataclass(frozen=True)
class Row:
    """One line of the answer: whose contents are asked about what."""

    workspace: str
    asked: Question
    control: bool = False


def check(
    core: Core,
    workspaces: Sequence[str],
    names: Sequence[str] = (),
    wait: bool = True,
    timeout_seconds: float = 600,
    detail: CheckDetail = "summary",
    again: bool = False,
    progress: Progress = silent,
    watch: Watch | None = None,
) -> Checked:
    """Judge workspaces, each on a frozen copy of what it is now, and what they began with beside them.

    Without `wait`, or when `timeout_seconds` are over, the answer says what is still `running`; that goes on in this process. Contents that were
    judged before are not judged anew, unless `again`. With `detail` diff the outputs of one check on two workspaces are compared.
    """
    chosen = named(core, names)
    if detail == "diff" and (len(workspaces) != 2 or len(chosen) != 1):
        raise InvalidArgument("detail 'diff' takes two workspaces and one check. Nothing was run.", "Name two workspaces and one check.")
    refuse_untrusted(core)
    with core.backend.aside() as view:
        rows = list(dict.fromkeys(row for name in workspaces for row in _rows(core, view, core.find(name), chosen)))
        known = {row.asked.key: None if again else recalled(core, row.asked) for row in rows}
        running = jobs.begin(core, view, [row.asked for row in rows if known[row.asked.key] is None], again)
    jobs.wait(running, timeout_seconds if wait else 0, progress, lambda: watch and watch(_verdicts(rows, known, running)))
    results = _verdicts(rows, known, running)
    return _answer(core, results, compared(results) if detail == "diff" else "")


def beside(core: Core, workspaces: Sequence[str], command: Sequence[str], watch: Watch | None = None) -> Checked:
    """Run a command that a person gave on frozen copies of two workspaces, and compare what it prints. It may use the network."""
    if len(workspaces) != 2:
        raise InvalidArgument("Two workspaces are compared. Nothing was run.", "Name two.")
    asked = Check(run=tuple(command), network=True)
    with core.backend.aside() as view:
        rows = [row for name in workspaces for row in _rows(core, view, core.find(name), {"run": asked}) if not row.control]
        running = jobs.begin(core, view, [row.asked for row in rows], again=True)
    known: dict[tuple[str, str], Verdict | None] = dict.fromkeys(running)
    jobs.wait(running, None, silent, lambda: watch and watch(_verdicts(rows, known, running)))
    results = _verdicts(rows, known, running)
    return _answer(core, results, compared(results))


def _rows(core: Core, view: Backend, workspace: Workspace, chosen: dict[str, Check]) -> Iterable[Row]:
    with core.looking(view, workspace) as freeze:
        snapshot = freeze(workspace, core.lineage(workspace))
    base = snapshot if workspace.is_main else view.load(core.agreed(workspace).snapshot)
    yield from (Row(workspace.id, asked) for asked in questions(view, chosen, snapshot, base))
    if not workspace.is_main:
        parent = core.parent(workspace).id
        yield from (Row(parent, asked, control=True) for asked in questions(view, chosen, base, base))


def _verdicts(rows: Sequence[Row], known: dict[tuple[str, str], Verdict | None], running: dict[tuple[str, str], Job]) -> list[Verdict]:
    return sorted((_verdict(row, known[row.asked.key], running.get(row.asked.key)) for row in rows), key=lambda each: each.control)


def _verdict(row: Row, known: Verdict | None, job: Job | None) -> Verdict:
    whose: dict[str, object] = {"workspace": row.workspace, "control": row.control}
    if known is not None:
        return known.model_copy(update={**whose, "cached": True})
    if job is not None and job.answer.done():
        return job.answer.result().model_copy(update=whose)
    return Verdict(workspace=row.workspace, check=row.asked.name, verdict="running", control=row.control, tail=job.line if job else "")


# -- what is said of it -------------------------------------------------------------------------------------------------------------------


def _answer(core: Core, results: Sequence[Verdict], diff: str) -> Checked:
    return Checked(
        summary=" ".join(_said(results)),
        results=tuple(_brief(results)),
        diff=diff,
        warnings=tuple(_warnings(results)),
        next=_next(results),
    )


def _next(results: Sequence[Verdict]) -> tuple[str, ...]:
    """Return how to wait for what is still running: the same checks again cost nothing."""
    asked = [each for each in results if not each.control]
    if not any(each.verdict == "running" for each in results):
        return ()
    names, checks = ([*dict.fromkeys(said)] for said in ([each.workspace for each in asked], [each.check for each in asked]))
    return call("status", "to wait for a change", workspaces=names, wait_seconds=50), call("check", "then", workspaces=names, checks=checks)


def _said(results: Sequence[Verdict]) -> Iterable[str]:
    judged = [each for each in results if not each.control]
    for word, kind in (
        ("pass", "pass"),
        ("fail", "fail"),
        ("timed out", "timeout"),
        ("could not be judged", "error"),
        ("still running", "running"),
    ):
        found = [
            f"{each.workspace.rpartition('/')[2]} {each.check}{' (flaky)' if each.flaky else ''}" for each in judged if each.verdict == kind
        ]
        if found:
            yield f"{len(found)} of {len(judged)} {word}: {_few(found)}."


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")


def _brief(results: Sequence[Verdict]) -> Iterable[Verdict]:
    """Yield verdicts with the end of their output: of those that passed none, and of all the others together no more than fits."""
    share = _TAILS // max(1, sum(each.verdict != "pass" for each in results))
    for each in results:
        yield each.model_copy(update={"tail": "" if each.verdict == "pass" else each.tail[-share:]})


def _warnings(results: Sequence[Verdict]) -> Iterable[str]:
    for name in dict.fromkeys(each.check for each in results if each.control and each.verdict not in ("pass", "running")):
        kept = any("network" in each.isolation for each in results if each.check == name)
        hint = f" It has no network, loopback included: network = true in [checks.{name}] allows it." if kept else ""
        yield f"{name} does not pass on what the workspaces began with either, so a failure is not theirs alone.{hint}"
