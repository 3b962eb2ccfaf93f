"""Merging with a person at the terminal, who is asked where a merge alone would stop: at work that is in the way, and at conflicts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from workspaces.asked import Asked
from workspaces.errors import TargetDirty
from workspaces.model import MergeResult
from workspaces.project import Project
from workspaces.terminal import drawing, screen

Ask = Callable[[str, str], str]
"""Asks a question that is answered by one of some letters, and returns it."""
Merging = Callable[[Asked], MergeResult]
_CHOICES = {"s": "source", "t": "target", "u": "union"}
_SWAPPED = {"source": "target", "target": "source", "union": "union"}


def merge(project: Project, asked: Asked, merging: Merging, ask: Ask) -> MergeResult | None:
    """Merge, asking what to do where it would stop. Returns nothing when the person would rather not; then nothing was changed."""
    while True:
        try:
            result = merging(replace(asked, dry_run=True))
            if result.status == "would_merge":
                result = merging(asked)
        except TargetDirty as error:
            if (left := _put_aside(project, asked, error, ask)) is None:
                return None
            asked = replace(asked, paths=left)
            continue
        if result.status != "conflicts":
            return result
        chosen = _chosen(result, ask)
        if chosen is None:
            return None
        asked = replace(asked, rules={**asked.rules, **{path: choice for path, choice in chosen.items() if choice != "markers"}})
        if "markers" in chosen.values():
            return _marked(project, result, asked, merging)


def _put_aside(project: Project, asked: Asked, error: TargetDirty, ask: Ask) -> Sequence[str] | None:
    """Say what is in the way, and return the paths to go on with, or nothing to stop."""
    screen.say(f"! {error.message}", "yellow")
    letter = ask("Merge the [o]ther files, try [a]gain when you have put yours away, or [q]uit?", "oaq")
    if letter == "q":
        return None
    if letter == "a":
        return asked.paths
    dirty = error.details["paths"]
    blocked = [str(path) for path in dirty] if isinstance(dirty, list) else []
    changed = [change.path for change in project.compare(asked.sources, detail="files", paths=asked.paths, max_chars=sys.maxsize).files]
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


def _marked(project: Project, result: MergeResult, asked: Asked, merging: Merging) -> MergeResult:
    """Write markers where they belong: into the target, but never into main; then into the source, which is edited and merged again."""
    marked = replace(asked, source=result.source, target=result.target, on_conflict="markers")
    if not project.find(result.target).is_main:
        return merging(marked)
    swapped = {path: _SWAPPED[choice] for path, choice in asked.rules.items()}
    screen.say(f"  Resolved in {result.source}: edit the files there, then merge it again.")
    return merging(replace(marked, source=result.target, target=result.source, paths=(), rules=swapped))
