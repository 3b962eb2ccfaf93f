"""What an attempt did, in a line for each file: which functions, classes, sections or keys it added, changed and removed.

Python, JSON and TOML are read by the parsers of the standard library, Markdown by its headings, and any other language by its tokens, as Pygments tells them.
All of it happens in a process of its own (`workspaces.syntax`), which may take so much memory and time and no more.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from workspaces import syntax
from workspaces.backend import Backend
from workspaces.model import Change, Snapshot, path_shown

LARGEST = 1 << 18
"""Bytes of the largest file that is looked into."""
_SECONDS = 8.0
"""What all the outlines of one call may take."""
_FRESH_STARTS = 5
_REMEMBERED = 20_000
_LONGEST = 60


@dataclass(frozen=True)
class Parts:
    """The named parts of a file with a digest of each, and one of the whole, without comments and layout where that is known."""

    parts: Mapping[str, str]
    whole: str = ""


NOTHING = Parts({})
_known: dict[tuple[str, str], Parts] = {}
_Answer = TypeAdapter(Parts)


@dataclass(frozen=True)
class Side:
    """A file of a snapshot, and what is in it: None for one that is no file, or too large."""

    path: str
    data: bytes | None

    @property
    def key(self) -> tuple[str, str]:
        return self.path.rpartition("/")[2], hashlib.sha256(self.data or b"").hexdigest()


def read_all(sides: Iterable[Side]) -> None:
    """Look into files, so that `parts_of` knows them. What is not done in time stays unknown."""
    if len(_known) > _REMEMBERED:
        _known.clear()
    waiting = list({side.key: side for side in sides if side.data and side.key not in _known}.values())
    until = time.monotonic() + _SECONDS
    for _ in range(_FRESH_STARTS):
        if not waiting or time.monotonic() > until:
            return
        answers = _asked(waiting, until - time.monotonic())
        # The one without an answer brought the process down, or kept it busy.
        for side, answer in zip(waiting, [*answers, NOTHING], strict=False):
            _known[side.key] = answer
        waiting = waiting[len(answers) + 1 :]


def _asked(sides: Sequence[Side], seconds: float) -> list[Parts]:
    """Return what a process of its own says of the files, as far as it came."""
    asked = b"".join(json.dumps({"path": side.path, "size": len(side.data or b"")}).encode() + b"\n" + (side.data or b"") for side in sides)
    command = [sys.executable, "-I", str(Path(syntax.__file__))]
    try:
        done = subprocess.run(
            command, input=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", timeout=seconds, check=False
        )
        said = done.stdout
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""
    return [_answer(line) for line in said.split(b"\n")[:-1]]


def _answer(line: bytes) -> Parts:
    try:
        return _Answer.validate_json(line)
    except ValidationError:
        return NOTHING


def parts_of(side: Side) -> Parts:
    """Return what `read_all` found in a file; nothing where it could not be told."""
    return _known.get(side.key, NOTHING) if side.data is not None else NOTHING


def outlines(view: Backend, asked: Sequence[tuple[Snapshot, Snapshot, Sequence[Change]]], most: int) -> list[tuple[str, ...]]:
    """Return a line for each changed file of each (old, new, changes), at most so many for one."""
    shown = [(old, new, [change for change in changes[:most] if not change.binary]) for old, new, changes in asked]
    wanted = [
        pair for old, new, changes in shown for change in changes for pair in ((old, change.old_path or change.path), (new, change.path))
    ]
    found = {place: Side(place[1], data) for place, data in contents(view, wanted).items()}
    read_all(found.values())
    return [
        tuple(_line(change, found[old.id, change.old_path or change.path], found[new.id, change.path]) for change in changes)
        for old, new, changes in shown
    ]


def contents(view: Backend, wanted: Sequence[tuple[Snapshot, str]]) -> dict[tuple[str, str], bytes | None]:
    """Return what these files of snapshots hold, by the snapshot's id and the path."""
    once = list({(snapshot.id, path): (snapshot, path) for snapshot, path in wanted}.values())
    return {(snapshot.id, path): data for (snapshot, path), data in zip(once, view.contents(once, LARGEST), strict=True)}


def _line(change: Change, old: Side, new: Side) -> str:
    """Return what was done in a file: `cart.py: +Cart.total ~checkout -legacy`, or how many lines where that is all that is known."""
    before, after = parts_of(old), parts_of(new)
    words = [*_words("+", after.parts, before.parts), *_changed(before.parts, after.parts), *_words("-", before.parts, after.parts)]
    moved = f"{path_shown(change.old_path)} → " if change.old_path else ""
    if not words and before.whole and before.whole == after.whole:
        words = ["comments or layout only"]
    kind = "" if change.status in ("modified", "renamed") else f"{change.status} "
    said = " ".join(words) or f"+{change.insertions} -{change.deletions} lines"
    return f"{moved}{path_shown(change.path)}: {kind}{said}"


def _words(sign: str, here: Mapping[str, str], there: Mapping[str, str], most: int = 12) -> list[str]:
    names = [name for name in here if name not in there and not name.startswith("(")]
    # What is in a class that is new, or gone, goes without saying.
    outer = [name for name in names if not any(name.startswith(f"{other}.") for other in names if other != name)]
    return _few(sign, outer, most)


def _changed(before: Mapping[str, str], after: Mapping[str, str], most: int = 12) -> list[str]:
    names = [name for name, digest in after.items() if name in before and before[name] != digest]
    return _few("~", [name for name in names if not name.startswith("(")] or names, most)


def _few(sign: str, names: Sequence[str], most: int) -> list[str]:
    more = [f"{sign}{len(names) - most} more"] if len(names) > most else []
    return [*(f"{sign}{_shown(name)}" for name in names[:most]), *more]


def _shown(name: str) -> str:
    return name if name.startswith("(") else path_shown(name[:_LONGEST])
