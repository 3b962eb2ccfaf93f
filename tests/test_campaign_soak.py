"""A short form of `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaigns.soak import missing, run
from campaigns.stage import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_grows(kind: str, tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    tally = run(kind, tmp_path, agents=2, seconds=2)
    assert tally.tried >= 8
    assert tally.broke == []
