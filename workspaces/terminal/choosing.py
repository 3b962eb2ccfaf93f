"""How a ranking looks to a person: a table in which what the work began with is a line among the attempts, and below it what is to be known."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from workspaces.terminal import screen

if TYPE_CHECKING:
    from workspaces.model import Comparison, Outcome, Place

Cell = tuple[str, str]
_MARKS: dict[Outcome, Cell] = {
    "pass": ("✓", "green"),
    "fail": ("✗", "red"),
    "flaky": ("≁", "yellow"),
    "timeout": ("⏱", "red"),
    "error": ("!", "yellow"),
    "running": ("…", "cyan"),
}
_MERGES = {"clean": ("✓ merges", "green"), "conflicts": ("✗ conflicts", "red"), "up_to_date": ("= merged", "dim")}

_NAMED = 4
"""Workspaces with the same contents that are named; `--json` names all."""


def ranking(result: Comparison) -> None:
    ties = Counter(row.place for row in result.ranking if row.place)
    names = list(dict.fromkeys(name for row in result.ranking for name in row.checks))
    columns = [
        ("", [_place(row, ties[row.place]) for row in result.ranking]),
        ("Workspace", [_names(row) for row in result.ranking]),
        *((name, [_check(row, name) for row in result.ranking]) for name in names),
        ("Changes", [_size(row) for row in result.ranking]),
        ("Same", [_same(row) for row in result.ranking]),
        ("Merge", [_MERGES[row.merge] if row.merge else ("", "") for row in result.ranking]),
        ("Tests changed", [_tests(row) for row in result.ranking]),
    ]
    kept = [(name, cells) for name, cells in columns if any(text for text, _ in cells)]
    screen.table([name for name, _ in kept], list(zip(*(cells for _, cells in kept), strict=True)))
    if legend := _legend(result):
        screen.tell(legend, "dim")
    screen.tell(result.summary)
    screen.warn(result.warnings)
    apart = [name.split("/")[-1] for row in result.ranking if not (row.place or row.control) for name in row.workspaces]
    if apart:
        screen.say(f"  next: workspaces check {' '.join(apart)}")


def _place(row: Place, tied: int) -> Cell:
    if row.control:
        return "──", "dim"
    return (f"{row.place}{'=' if tied > 1 else ''}", "bold") if row.place else ("?", "yellow")


def _names(row: Place) -> Cell:
    more = len(row.workspaces) - _NAMED
    names = ", ".join(name.split("/")[-1] for name in row.workspaces[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return (f"({names}, before the work)", "dim") if row.control else (names, "bold" if row.place == 1 else "")


def _check(row: Place, name: str) -> Cell:
    """Return what a check said; a pass that the base has too is no merit, and is dim."""
    if name not in row.checks:
        return ("not run", "yellow")
    mark, style = _MARKS[row.checks[name]]
    if row.checks[name] != "pass":
        return (f"{mark} {row.checks[name]}", style)
    return (f"{mark} gained", style) if name in row.gained else (mark, "dim")


def _size(row: Place) -> Cell:
    if row.control:
        return "", ""
    if row.files_changed:
        return f"{row.files_changed} +{row.insertions} -{row.deletions}", ""
    return ("none but protected" if row.tests_changed else "no change"), "dim"


def _same(row: Place) -> Cell:
    same = len(row.workspaces) + len(row.alike)
    return (f"{same} alike", "cyan") if same > 1 else ("", "")


def _tests(row: Place) -> Cell:
    return ", ".join(row.tests_changed[:3]) + (" …" if len(row.tests_changed) > 3 else ""), "yellow"


def _legend(result: Comparison) -> str:
    if not any(row.checks for row in result.ranking):
        return ""
    return "gained: it passes, and what the work began with does not. A plain ✓ proves nothing: that passes without the work too."
