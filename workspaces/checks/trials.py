"""Judging contents that are no workspace's yet: what a merge would make of its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from workspaces.backend import Backend
from workspaces.checks import jobs
from workspaces.checks.asking import named, refuse_untrusted
from workspaces.checks.jobs import Job
from workspaces.checks.verdicts import Question, questions, recalled
from workspaces.config import Check
from workspaces.core import Core, Progress, silent
from workspaces.errors import Busy
from workspaces.model import Snapshot, Verdict
from workspaces.wording import listed


@dataclass(frozen=True)
class Trial:
    """Checks that some contents have to pass. Contents are begun with while they are held, and waited for when they are not:

    while (verdicts := trial.begun(view, snapshot, base)) is None:
        # out of the locks
        trial.wait()
    """

    core: Core
    workspace: str
    checks: dict[str, Check]
    answers: dict[tuple[str, str], Verdict] = field(default_factory=dict[tuple[str, str], Verdict])
    running: dict[tuple[str, str], Job] = field(default_factory=dict[tuple[str, str], Job])

    @classmethod
    def of(cls, core: Core, names: Sequence[str], workspace: str) -> Trial:
        """Prepare to judge by checks; with none, everything passes. Raises `UntrustedConfig`, and `InvalidArgument` for an unknown one."""
        if not names:
            return cls(core, workspace, {})
        checks = named(core, names)
        refuse_untrusted(core)
        return cls(core, workspace, checks)

    def begun(self, view: Backend, snapshot: Snapshot, base: Snapshot) -> tuple[Verdict, ...] | None:
        """Return what all checks say of a snapshot, with the protected paths as in `base`; or begin to find out, and return nothing yet."""
        asked = self._asked(view, snapshot, base)
        for each in asked:
            if each.key not in self.answers and (known := recalled(self.core, each)):
                self.answers[each.key] = known.model_copy(update={"cached": True})
        unknown = [each for each in asked if each.key not in self.answers]
        if unknown:
            self.running.update(jobs.begin(self.core, view, unknown, again=False))
            return None
        return tuple(self.answers[each.key].model_copy(update={"workspace": self.workspace}) for each in asked)

    def _asked(self, view: Backend, snapshot: Snapshot, base: Snapshot) -> list[Question]:
        if not self.checks:
            return []
        whole = snapshot if snapshot.id else view.graft(snapshot, onto=base.id).model_copy(update={"head": snapshot.head})
        return questions(view, self.checks, whole, base)

    def wait(self, progress: Progress = silent, seconds: float | None = None) -> None:
        """Wait for what was begun. Whoever calls this holds no workspace: it takes as long as the checks do.

        Raises `Busy` when they are still at it after so many seconds: they go on, and the next trial of the same contents finds what they said.
        """
        jobs.wait(self.running, seconds, progress)
        if not all(job.answer.done() for job in self.running.values()):
            raise Busy(
                f"{listed(each.asked.name for each in self.running.values())}: still running on the merged contents. Nothing was changed.",
                "Call again: it goes on meanwhile.",
            )
        self.answers.update({key: job.answer.result() for key, job in self.running.items()})
        self.running.clear()


def judge(core: Core, view: Backend, snapshot: Snapshot, base: Snapshot, names: Sequence[str], workspace: str = "") -> tuple[Verdict, ...]:
    """Judge a snapshot of a view, with the protected paths as in `base`, and wait for it. Whoever calls this holds no workspace."""
    trial = Trial.of(core, names, workspace)
    while (verdicts := trial.begun(view, snapshot, base)) is None:
        trial.wait()
    return verdicts
