"""A short form of `make model`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest
from campaigns.machine import machine, run
from campaigns.stage import KINDS, in_memory


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the projects lie in memory, where there is room."""
    monkeypatch.setattr(tempfile, "tempdir", in_memory())
    yield


@pytest.mark.parametrize("kind", KINDS)
def test_the_verbs_do_what_the_model_says(kind: str) -> None:
    made = machine(kind)
    run(made, examples=4, steps=10, deterministic=True)
    assert made.counts.steps > 20
