"""The short form of `make faults`: a few points by chance, always the same ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaigns.faults import Plan, run
from campaigns.tripwire import missing

SECONDS = 12.0
"""For each backend, besides the preparations."""


@pytest.mark.parametrize("backend", ["worktree", "directory"])
def test_faults_at_a_few_points_break_nothing(home: Path, backend: str) -> None:
    if reason := missing():
        pytest.skip(reason)
    plan = Plan(["clone", "merge", "restore"], [backend], ["kill", "orphan", "child", "ENOSPC+", "EIO"], sample=3, budget=SECONDS)
    report = run(plan, home)
    assert report.tried.total() > 0
    assert report.wrong == [], "\n".join(report.wrong)
