"""Answers that have a next page, kept for it. What is frozen anew for each page says whether the answer is still that of the page before.

An answer is found again by all that it was made from, never by time: by the snapshots, by what is written about the project, by its settings
and by what a person trusts. What git itself was told meanwhile (its attributes, its settings) counts from the next first page on.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from workspaces import programs
from workspaces.comparison.attempts import Attempt, Scene
from workspaces.core import Core
from workspaces.model import Comparison, Noun

MOST, LARGEST = 8, 50_000
"""Answers that are kept in a process, and changes of the largest of them."""


@dataclass
class Told:
    """A comparison, and what its pages are cut from: `items`, or texts of which the `lengths` of those that were told whole are known."""

    attempts: Sequence[Attempt]
    result: Comparison
    items: Sequence[Noun] | None = None
    lengths: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def size(self) -> int:
        return sum(len(each.diff.changes) + len(each.under.changes) + len(each.merge.changes) for each in self.attempts)


_kept: OrderedDict[str, Told] = OrderedDict()
_lock = Lock()


def key(core: Core, scene: Scene, revision: int, *asked: str) -> str:
    """Return what names an answer: all that it is made from. `revision` is that of the store before anything was read."""
    frozen = [*scene.snapshots, *scene.against.values(), scene.main]
    said = [
        str(core.backend.home),
        str(revision),
        core.config.model_dump_json(),
        core.backend.trusted,
        str(bool(core.config.merge.paths) and programs.is_trusted(core, "checks", programs.checks(core))),
        *(core.shown(each).model_dump_json() for each in scene.workspaces),
        *(str(each) if each is None or isinstance(each, Exception) else each.model_dump_json() for each in frozen),
        *asked,
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def recalled(name: str) -> Told | None:
    """Return an answer that was told before."""
    with _lock:
        return _kept.get(name)


def keep(name: str, told: Told) -> None:
    """Keep an answer for its next page, in the place of the one that was asked for the longest ago."""
    if told.size > LARGEST:
        return
    with _lock:
        _kept[name] = told
        _kept.move_to_end(name)
        while len(_kept) > MOST:
            _kept.popitem(last=False)
