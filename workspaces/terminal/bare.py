"""How lines and tables look where nobody sees colours: in pipes and files. What reads them there waits for no library of terminals to load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TextIO

_GAP = "  "


def write(stream: TextIO | None, *lines: str) -> None:
    """Write lines at once; to nowhere, nothing."""
    if stream is not None:
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of rows whose cells stand below each other, each column as wide as it has to be."""
    cells = [[cell.expandtabs().split("\n") for cell in row] for row in rows]
    widths = [max(_width(line) for cell in column for line in cell) for column in zip(*cells, strict=True)]
    for row in cells:
        for parts in zip_longest(*row, fillvalue=""):
            yield _GAP.join(part + " " * (width - _width(part)) for part, width in zip(parts, widths, strict=True)).rstrip()


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
