"""Merging with a person at the terminal, who is asked where a merge alone would stop: at work that is in the way, and at conflicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from workspaces.errors import TargetDirty
from workspaces.model import MergeResult, OnConflict
from workspaces.project import Project
from workspaces.terminal import drawing, screen

Ask = Callable[[str, str], str]
"""Asks a question that is answered by one of some letters, and returns it."""
_CHOICES = {"s": "source", "t": "target", "u": "union"}
_SWAPPED = {"source": "target", "target": "source", "union": "union"}


class Merging(Protocol):
    """A merge with all that the command line says of it but this."""

    def __call__(
        self, source: str, target: str, on_conflict: OnConflict, paths: Sequence[str], rules: Mapping[str, str], dry_run: bool
    ) -> MergeResult: ...


def merge(project: Project, source: str, target: str, paths: Sequence[str], merging: Merging, ask: Ask) -> MergeResult | None:
    """Merge, asking what to do where it would stop. Returns nothing when the person would rather not; then nothing was changed."""
    rules: dict[str, str] = {}
    while True:
        try:
            result = merging(source, target, "abort", paths, rules, dry_run=True)
            if result.status == "would_merge":
                result = merging(source, target, "abort", paths, rules, dry_run=False)
        except TargetDirty as error:
            if (left := _put_aside(project, source, paths, error, ask)) is None:
                return None
            paths = left
            continue
        if result.status != "conflicts":
            return result
        chosen = _chosen(result, ask)
        if chosen is None:
            return None
        rules |= {path: choice for path, choice in chosen.items() if choice != "markers"}
        if "markers" in chosen.values():
            return _marked(project, result, paths, rules, merging)


def _put_aside(project: Project, source: str, paths: Sequence[str], error: TargetDirty, ask: Ask) -> Sequence[str] | None:
    """Say what is in the way, and return the paths to go on with, or nothing to stop."""
    screen.say(f"! {error.message}", "yellow")
    letter = ask("Merge the [o]ther files, try [a]gain when you have put yours away, or [q]uit?", "oaq")
    if letter == "q":
        return None
    if letter == "a":
        return paths
    dirty = error.details["paths"]
    blocked = [str(path) for path in dirty] if isinstance(dirty, list) else []
    changed = [change.path for change in project.compare([source], detail="files", paths=paths, max_chars=100_000).files]
    left = [path for path in changed if path not in blocked]
    if not left:
        screen.say("  No other files are changed.")
    return left or None


def _chosen(result: MergeResult, ask: Ask) -> dict[str, str] | None:
    """Show each conflict and return what is to become of it, or nothing to stop."""
    drawing.decided(result)
    chosen: dict[str, str] = {}
    for conflict in result.conflicts:
        drawing.conflict(conflict)
        letter = ask("Take the [s]ource's, the [t]arget's, the lines of both ([u]nion), write [m]arkers to edit, or [q]uit?", "stumq")
        if letter == "q":
            return None
        chosen[conflict.path] = _CHOICES.get(letter, "markers")
    return chosen


def _marked(project: Project, result: MergeResult, paths: Sequence[str], rules: Mapping[str, str], merging: Merging) -> MergeResult:
    """Write markers where they belong: into the target, but never into main; then into the source, which is edited and merged again."""
    if not project.find(result.target).is_main:
        return merging(result.source, result.target, "markers", paths, rules, dry_run=False)
    swapped = {path: _SWAPPED[choice] for path, choice in rules.items()}
    screen.say(f"  Resolved in {result.source}: edit the files there, then merge it again.")
    return merging(result.target, result.source, "markers", (), swapped, dry_run=False)
