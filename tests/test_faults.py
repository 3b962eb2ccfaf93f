"""The short form of `make faults`: a few points by chance, always the same ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from campaigns.faults import Plan, run
from campaigns.invariants import broken
from campaigns.tripwire import Fault, missing, watched
from support import Repo, clone

from workspaces import Project

SECONDS = 8.0
"""For each backend, besides the preparations."""


@pytest.fixture(autouse=True)
def permitted() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.mark.parametrize("backend", ["worktree", "directory"])
def test_faults_at_a_few_points_break_nothing(home: Path, backend: str) -> None:
    plan = Plan(["clone", "merge"], [backend], ["kill", "child", "ENOSPC+", "EIO"], sample=2, budget=SECONDS)
    report = run(plan, home)
    assert report.tried.total() > 0
    assert report.wrong == [], "\n".join(report.wrong)


# -- what they found ----------------------------------------------------------------------------------------------------------------------


def hit(work: Callable[[], object], fault: Fault) -> str:
    """Do work with a fault that must happen, and return its answer."""
    outcome = watched(lambda: str(work()), fault)
    assert outcome.hit
    return outcome.answer


@pytest.fixture
def survey(tmp_path: Path) -> Repo:
    """A folder that is no repository."""
    made = Repo(tmp_path / "survey")
    made.write("table.csv", "1\n")
    return made


def test_what_a_move_cannot_remove_is_cleared_away_later(survey: Repo) -> None:
    project = Project.initialize(survey.path)
    clone(project, "fix").write("table.csv", "2\n")
    assert hit(lambda: Project.open(survey.path).merge("fix").status, Fault("EIO", 1, lasting=True, of="unlinkat old")) == "merged"
    assert broken(survey.path) == []


def test_a_file_that_could_not_be_made_leaves_no_draft_among_the_workspaces(survey: Repo) -> None:
    Project.initialize(survey.path)
    for fault in (Fault("ENOSPC", 2, of=".gitignore"), Fault("kill", 3, of=".gitignore")):
        (survey.path / ".workspaces" / ".gitignore").unlink(missing_ok=True)
        hit(lambda: Project.open(survey.path).status(), fault)
    assert broken(survey.path) == []
