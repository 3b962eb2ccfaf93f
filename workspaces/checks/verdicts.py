"""What a verdict is remembered by: the contents that were judged, with the protected paths as the base has them, and the command."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workspaces.backend import Backend
from workspaces.config import Check
from workspaces.core import Core
from workspaces.errors import InvalidArgument
from workspaces.model import Snapshot, Verdict, path_bytes

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


@dataclass(frozen=True)
class Question:
    """A check of some contents, and the name by which its verdict is remembered."""

    name: str
    check: Check
    snapshot: Snapshot

    @property
    def command(self) -> str:
        check = self.check
        return _digest([self.name, check.run, check.network, check.timeout_seconds])

    @property
    def key(self) -> tuple[str, str]:
        return self.snapshot.contents, self.command


def questions(view: Backend, checks: Mapping[str, Check], snapshot: Snapshot, base: Snapshot) -> list[Question]:
    """Return what each of the checks asks of a snapshot, with the paths that it protects as they are in the base."""
    sides = {patterns: _protected(view, snapshot, base, patterns) for patterns in dict.fromkeys(each.protect for each in checks.values())}
    return [Question(name, check, sides[check.protect]) for name, check in checks.items()]


def recalled(core: Core, asked: Question) -> Verdict | None:
    """Return the remembered verdict, if it came of as many runs as the check asks for; a timeout only when it was tried again since."""
    found = core.store.verdict(core.row.name, *asked.key)
    if found is None or (hung(found) and found.runs <= asked.check.repeat):
        return None
    return found if found.flaky or found.runs >= asked.check.repeat else None


def hung(verdict: Verdict) -> bool:
    """Return whether all that is known is that it took too long: a busy machine is enough for that, so it says nothing of the contents."""
    return verdict.verdict == "timeout" and not verdict.flaky


def remembered(core: Core, view: Backend, snapshot: Snapshot, base: Snapshot) -> dict[str, Verdict]:
    """Return the remembered verdicts of all checks on a snapshot, by name. Runs nothing."""
    asked = questions(view, core.config.checks, snapshot, base)
    found = {each.name: core.store.verdict(core.row.name, *each.key) for each in asked}
    return {name: verdict.model_copy(update={"cached": True}) for name, verdict in found.items() if verdict}


def _protected(view: Backend, snapshot: Snapshot, base: Snapshot, patterns: Sequence[str]) -> Snapshot:
    if not patterns or snapshot.contents == base.contents:
        return snapshot
    changed = view.diff(snapshot, base).paths
    spec = spec_of(patterns)
    theirs = {path for path in changed if spec.match_file(os.fsdecode(path_bytes(path)))}
    # What stands where a protected path has a folder has to make room for it.
    theirs |= {path for path in changed if any(each.startswith(f"{path}/") for each in theirs)}
    if not theirs:
        return snapshot
    made = view.restrict(snapshot, base, sorted(theirs))
    return snapshot.model_copy(update={"id": made.id, "contents": made.contents, "staged": ""})


def spec_of(patterns: Sequence[str]) -> GitIgnoreSpec:
    """Return what tells which paths the patterns mean."""
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise InvalidArgument(f"protect: {error}. Nothing was run.", "Patterns are as in .gitignore.") from None


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
