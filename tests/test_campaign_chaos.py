"""A short form of `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaigns.chaos import Field, rounds
from campaigns.stage import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_was_acknowledged_is_lost_when_many_are_killed(kind: str, tmp_path: Path) -> None:
    place = Field(kind, tmp_path / "shop", tmp_path, f"short {kind}", tmp_path)
    tally = rounds(place, agents=6, steps=7, until=0, strikers=1)
    assert tally.tried > 20
    assert tally.broke == [], "\n".join(place.trace)
