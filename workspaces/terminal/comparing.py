"""How a comparison looks to a person: a table with marks, what each attempt did, and which two cannot be had together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from workspaces.terminal import screen

if TYPE_CHECKING:
    from workspaces.model import Change, Compared, Comparison, Detail, Pair

Cell = tuple[str, str]
_VERDICTS = {"clean": ("✓ merges", "green"), "conflicts": ("✗ conflicts", "red"), "up_to_date": ("= nothing new", "dim")}
_CHECKS = {"pass": ("✓", "green"), "fail": ("✗", "red"), "timeout": ("⏱", "red"), "error": ("!", "red"), "running": ("…", "yellow")}
_ALIKE = {"identical": "=", "same_patch": "≈", "same_syntax": "~"}
_PAIRS = 20
"""Conflicting pairs that are told one by one."""


def comparison(result: Comparison, detail: Detail) -> None:
    order = {name: number for number, name in enumerate(result.compatible, 1)}
    columns = {
        "Workspace": [(each.name, "") for each in result.workspaces],
        "Changes": [(_size(each), "") for each in result.workspaces],
        "Merge": [_VERDICTS[each.merge] for each in result.workspaces],
        "Checks": [_checks(each.checks) for each in result.workspaces],
        "Base": [_base(each) for each in result.workspaces],
        "Clashes": [(str(each.clashes or ""), "red") for each in result.workspaces],
        "Together": [(str(order.get(each.id, "")), "green") for each in result.workspaces],
        "Same": [_group(each, result) for each in result.workspaces],
        "Task": [(each.task.splitlines()[0] if each.task else "", "") for each in result.workspaces],
    }
    kept = {name: cells for name, cells in columns.items() if name in ("Workspace", "Changes", "Merge") or any(text for text, _ in cells)}
    screen.table(tuple(kept), list(zip(*kept.values(), strict=True)))
    _outlines(result.workspaces)
    _files(result.files)
    (_conflicts if detail == "conflicts" else _matrix)(result)
    screen.tell(result.summary)
    screen.warn(result.warnings)


def _size(each: Compared) -> str:
    return f"{each.files_changed} +{each.insertions} -{each.deletions}" if each.files_changed else "no change"


def _checks(verdicts: Mapping[str, str]) -> Cell:
    marks = {name: _CHECKS.get(verdict, ("?", "")) for name, verdict in verdicts.items()}
    worst = next((style for _, style in marks.values() if style == "red"), "green")
    return " ".join(f"{mark} {name}" for name, (mark, _) in marks.items()), worst


def _base(each: Compared) -> Cell:
    """Return how far the parent moved, and in how many files."""
    files = f" {each.parent_changed} files" if each.parent_changed else ""
    return (f"↓{each.behind}{files}", "yellow") if each.behind else ("", "")


def _group(each: Compared, result: Comparison) -> Cell:
    numbered = enumerate(zip(result.groups, result.alike, strict=True), 1)
    return " ".join(f"{_ALIKE[kind]}{number}" for number, (ids, kind) in numbered if each.id in ids), "cyan"


def _outlines(workspaces: Sequence[Compared]) -> None:
    rows = [[(each.name if not number else "", "bold"), (line, "")] for each in workspaces for number, line in enumerate(each.outline)]
    if rows:
        screen.table(("Workspace", "Outline"), rows)


def _files(files: Sequence[Change]) -> None:
    rows = [
        [
            (each.path, ""),
            (each.status, ""),
            ("binary" if each.binary else f"+{each.insertions} -{each.deletions}", ""),
            (", ".join(name.split("/")[-1] for name in each.by), "dim"),
        ]
        for each in files
    ]
    if rows:
        screen.table(("File", "Change", "Lines", "By"), rows)


def _conflicts(result: Comparison) -> None:
    for pair in result.pairs:
        screen.tell(f"✗ {pair.a.split('/')[-1]} and {pair.b.split('/')[-1]} conflict in", "red")
        for each in pair.conflicts:
            screen.tell(f"  {each.path}  {each.kind.replace('_', '/')}")


def _matrix(result: Comparison) -> None:
    """Show who conflicts with whom: as a matrix where it fits, and by their paths as long as they are few."""
    clashing = [each for each in result.workspaces if each.clashes]
    widest = max((len(each.name) for each in clashing), default=0)
    if len(clashing) > 2 and widest + 5 + 3 * len(clashing) <= screen.width():
        _drawn([each.id for each in clashing], {frozenset((pair.a, pair.b)) for pair in result.pairs}, widest)
    for pair in result.pairs[:_PAIRS]:
        _told(pair)
    if len(result.pairs) > _PAIRS:
        screen.tell(f"✗ {len(result.pairs) - _PAIRS} more pairs conflict; --json names them all", "red")


def _drawn(ids: Sequence[str], pairs: set[frozenset[str]], widest: int) -> None:
    screen.tell(" " * (widest + 4) + "".join(f"{number:>3}" for number in range(1, len(ids) + 1)), "dim")
    for number, name in enumerate(ids, 1):
        marks = "".join("  ✗" if frozenset((name, other)) in pairs else "   " if name == other else "  ·" for other in ids)
        screen.tell(f"{number:>3} {name.split('/')[-1]:<{widest}}{marks}")


def _told(pair: Pair) -> None:
    paths = ", ".join(conflict.path for conflict in pair.conflicts[:5]) + (" and more" if len(pair.conflicts) > 5 else "")
    screen.tell(f"✗ {pair.a.split('/')[-1]} and {pair.b.split('/')[-1]} conflict in {paths}", "red")
