"""How tables and long words fit into a terminal: free text gives way, names are folded, and what counts (numbers, ages, states) is never cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells, set_cell_size

if TYPE_CHECKING:
    from rich.text import Text

Cell = tuple[str, str]
"""A text and its style."""
_GAP = 2
_FREE = ("Task", "Folder", "Workspaces", "Snapshots", "Call")
"""Columns that end with an ellipsis where there is not room for all, and go where there is next to none."""
_FOLDED = ("Workspace", "File", "Outline", "By", "Who", "Why", "Note", "Tests changed", "Server", "Same")
"""Columns that go on in the next line."""
_LEAST_FREE, _LEAST_FOLDED = 12, 8


def fitted(columns: Sequence[str], rows: Sequence[Sequence[Cell]], room: int) -> Text:
    """Return a table that is no wider than there is room. Where even that is not enough, its lines are longer, and the terminal wraps them."""
    from rich.text import Text

    cells = [[(column, "bold") for column in columns], *rows]
    wanted = [max(cell_len(line) for text, _ in each for line in _lines(text)) for each in zip(*cells, strict=True)]
    widths = _widths(columns, wanted, room)
    shown = [number for number, width in enumerate(widths) if width or not wanted[number]]
    table = Text(no_wrap=True, overflow="ignore")
    for row in cells:
        folded = [[*_parts(row[number][0], columns[number], widths[number])] for number in shown]
        for parts in zip_longest(*folded, fillvalue=""):
            gap = 0
            for number, part in zip(shown, parts, strict=True):
                if part:
                    table.append(" " * gap).append(part, row[number][1])
                    gap = 0
                gap += widths[number] - cell_len(part) + _GAP
            table.append("\n")
    table.right_crop(1)
    return table


def _widths(columns: Sequence[str], wanted: Sequence[int], room: int) -> list[int]:
    """Return how wide each column is: 0 for one that has to go."""
    widths = [0 if column in _FREE else width for column, width in zip(columns, wanted, strict=True)]
    folded = [number for number, column in enumerate(columns) if column in _FOLDED]
    left = room - sum(widths) - _GAP * (len(columns) - sum(column in _FREE for column in columns) - 1)
    while left < 0 and folded and widths[widest := max(folded, key=lambda number: widths[number])] > _LEAST_FOLDED:
        widths[widest], left = widths[widest] - 1, left + 1
    free = [number for number, column in enumerate(columns) if column in _FREE]
    for before, number in enumerate(free):
        share = min(wanted[number], left - _GAP, max(left // (len(free) - before) - _GAP, _LEAST_FREE))
        if share >= min(wanted[number], _LEAST_FREE):
            widths[number], left = share, left - share - _GAP
    return widths


def _lines(text: str) -> list[str]:
    return text.expandtabs().split("\n")


def _parts(text: str, column: str, width: int) -> Iterator[str]:
    for line in _lines(text):
        if cell_len(line) <= width:
            yield line
        elif column in _FREE:
            yield _short(line, width, column == "Folder")
        else:
            yield from chop_cells(line, width)


def _short(line: str, width: int, keeps_end: bool) -> str:
    """Return the beginning of a text, or of a path the end, with a mark that there is more."""
    if keeps_end:
        return "…" + set_cell_size(line[::-1], width - 1)[::-1]
    return set_cell_size(line, width - 1).rstrip() + "…"


def wrapped(text: str, width: int) -> Iterator[str]:
    """Yield all of a text, in lines that are no wider."""
    for line in text.split("\n"):
        yield from chop_cells(line, max(1, width)) or [""]
