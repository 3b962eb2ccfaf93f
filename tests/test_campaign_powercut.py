"""A short form of `make powercut`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from campaigns.disks import missing
from campaigns.powercut import cuts
from campaigns.stage import KINDS, in_memory


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_acknowledged_is_there_when_the_power_goes(kind: str) -> None:
    if reason := missing("ext4"):
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        tally = cuts(kind, "ext4", Path(folder).resolve(), agents=4, many=3, seed="short")
    assert (tally.tried, tally.broke) == (3, [])
