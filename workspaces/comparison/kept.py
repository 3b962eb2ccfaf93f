"""Answers that have a next page, kept for it. What is frozen anew for each page says whether the answer is still that of the page before.

An answer is found again by all that it was made from, never by time: by the snapshots, by what is written about the project, by its settings
and by what a person trusts. What git itself was told meanwhile (its attributes, its settings) counts from the next first page on.

Looking writes nothing, so what was frozen is gone when the call is over. A cursor finds the answer that it came from all the same, in the process
that gave it: an agent that goes on working takes nobody's next page away.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock

from workspaces import programs
from workspaces.comparison.attempts import Attempt, Scene
from workspaces.core import Core
from workspaces.model import Comparison, Noun, Pair, Workspace

MOST, LARGEST, HEAVIEST = 32, 50_000, 400_000
"""Answers that are kept in a process; changes of the largest of them, and of all."""
_A_CHANGE = 200
"""Characters that take as much memory as a change."""


@dataclass
class Told:
    """A comparison, and what its pages are cut from: conflicting `pairs`, `items`, or texts, of which the beginning was read `ahead`, and the
    `lengths` of those that were told whole are known."""

    attempts: Sequence[Attempt]
    result: Comparison
    pairs: Sequence[Pair] = ()
    items: Sequence[Noun] | None = None
    ahead: str | None = None
    is_whole: bool = False
    lengths: dict[int, int] = field(default_factory=dict[int, int])
    name: str = ""
    seal: str = ""
    """What its cursors begin with."""

    def sealed(self, name: str, asked: Sequence[str]) -> None:
        """Take the name under which it is kept, and the seal: of the question, and of the contents that answer it."""
        self.name, self.seal = self.name or name, self.seal or self.seal_of(asked)

    def seal_of(self, asked: Sequence[str]) -> str:
        said = [*asked, *(f"{attempt.base.contents} {attempt.snapshot.contents}" for attempt in self.attempts)]
        said += [place.model_dump_json() for place in self.result.ranking]
        return hashlib.sha256("\n".join(said).encode(errors="surrogatepass")).hexdigest()[:16]

    @cached_property
    def size(self) -> int:
        changes = sum(len(each.diff.changes) + len(each.under.changes) + len(each.merge.changes) for each in self.attempts)
        return changes + sum(len(pair.conflicts) for pair in self.pairs or self.result.pairs) + len(self.ahead or "") // _A_CHANGE

    def outdated(self, scene: Scene) -> list[str]:
        """Return the names of the workspaces that hold something else by now."""
        pairs = zip(self.attempts, scene.snapshots, strict=True)
        return [attempt.workspace.name for attempt, now in pairs if attempt.snapshot.contents != now.contents]


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
    return f"{_place(core)}{hashlib.sha256(json.dumps(said).encode()).hexdigest()}"


def _place(core: Core) -> str:
    """Return what the names of all answers begin with that are about this project, and for this caller: who sees less is told less."""
    access = core.access
    return f"{core.backend.home}\n{json.dumps([access.caller, sorted(access.granted)]) if access.is_limited else ''}\n"


def recalled(name: str) -> Told | None:
    """Return an answer that was told before."""
    with _lock:
        return _kept.get(name)


def begun(core: Core, workspaces: Sequence[Workspace], asked: Sequence[str], cursor: str) -> Told | None:
    """Return the answer that a cursor came from, if it is one to this question about just these workspaces."""
    seal, uids = cursor.partition(".")[0], [each.uid for each in workspaces]
    with _lock:
        found = [each for name, each in _kept.items() if each.seal == seal and name.startswith(_place(core))]
    same = (each for each in found if [attempt.workspace.uid for attempt in each.attempts] == uids)
    return next((each for each in same if each.seal_of(asked) == seal), None)


def keep(told: Told) -> None:
    """Keep an answer for its next page, in the place of those that were asked for the longest ago."""
    if told.size > LARGEST:
        return
    with _lock:
        _kept[told.name] = told
        _kept.move_to_end(told.name)
        while len(_kept) > MOST or sum(each.size for each in _kept.values()) > HEAVIEST:
            _kept.popitem(last=False)
