"""A diff on a terminal: side by side where it is wide enough, else as it is, coloured, in the person's own pager.

A diff is text that an agent wrote: what could steer the terminal is escaped before anything else is done with it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING

from workspaces.terminal import screen

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.syntax import Syntax
    from rich.text import Text

WIDE = 140
"""Columns from which on two sides fit beside each other."""
_LONGEST = 500
"""Characters of a line that are shown side by side."""
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_UNIFIED = {"+": "green", "-": "red", "@": "cyan", "d": "bold", "#": "bold"}
Row = tuple[str, str]
"""A line of one side: its mark (`-`, `+`, or a space) and its text."""


def show(pages: Iterable[str], unified: bool) -> None:
    """Print a diff that comes in pages, the last line ended. Only a terminal gets colours, sides and a pager; anything else the diff itself."""
    if not screen.is_styled(sys.stdout):
        last = ""
        for page in pages:
            sys.stdout.write(page)
            last = page or last
        if last and not last.endswith("\n"):
            sys.stdout.write("\n")
        return
    console = screen.console()
    text = screen.safe("".join(pages))
    console.soft_wrap = unified or console.width < WIDE
    with console.capture() as drawn:
        for part in _unified(text) if console.soft_wrap else _beside(text, console):
            console.print(part)
    _paged(drawn.get(), console)


def _unified(text: str) -> Iterator[RenderableType]:
    from rich.text import Text

    for line in text.splitlines():
        yield Text(line, style="bold" if line.startswith(("+++", "---")) else _UNIFIED.get(line[:1], ""))


# -- side by side -------------------------------------------------------------------------------------------------------------------------


def _beside(text: str, console: Console) -> Iterator[RenderableType]:
    """Yield headings as they are, and each hunk as a table of two sides."""
    from rich.text import Text

    name, old, new = "", 0, 0
    hunk: list[str] = []
    for line in [*text.splitlines(), "end"]:
        is_inside = bool(old or new) and line[:1] in (" ", "+", "-", "\\", "")
        if is_inside:
            hunk.append(line or " ")
            continue
        if hunk:
            yield _table(hunk, (old, new), name, console)
        hunk, old, new = [], 0, 0
        if found := _HUNK.match(line):
            old, new = max(1, int(found[1])), max(1, int(found[2]))
        elif line.startswith(("--- ", "+++ ")):
            name = name if line.endswith("/dev/null") else line[4:].strip('"\t ')
            continue
        if line != "end" and not line.startswith("index "):
            yield Text(line, style="cyan" if found else "bold")


def _table(lines: Sequence[str], start: tuple[int, int], name: str, console: Console) -> RenderableType:
    from rich.table import Table

    half = (console.width - 14) // 2
    table = Table.grid(padding=(0, 1), expand=True)
    for justify, width in (("right", 5), ("left", half), ("right", 5), ("left", half)):
        table.add_column(justify="right" if justify == "right" else "left", width=width, overflow="fold")
    coloured = _colours(name)
    old, new = start
    for left, right in _pairs(lines):
        table.add_row(*_cells(left, old, "on #3f1519", coloured), *_cells(right, new, "on #12351b", coloured))
        old, new = old + (left is not None), new + (right is not None)
    return table


def _cells(row: Row | None, number: int, style: str, coloured: Callable[[str], Text]) -> tuple[Text, Text]:
    from rich.text import Text

    if row is None:
        return Text(""), Text("")
    mark, text = row
    shown = coloured(text[:_LONGEST] + ("…" if len(text) > _LONGEST else ""))
    if mark != " ":
        shown.stylize(style)
    return Text(str(number), style="dim"), shown


def _pairs(lines: Sequence[str]) -> Iterator[tuple[Row | None, Row | None]]:
    """Yield the lines of a hunk, those that went beside those that came."""
    gone, came = list[Row](), list[Row]()
    for line in lines:
        if line[:1] == "-":
            gone.append(("-", line[1:]))
        elif line[:1] == "+":
            came.append(("+", line[1:]))
        elif line[:1] != "\\":
            yield from zip_longest(gone, came)
            gone, came = [], []
            yield (" ", line[1:]), (" ", line[1:])
    yield from zip_longest(gone, came)


def _colours(name: str) -> Callable[[str], Text]:
    """Return what colours a line of a file as its kind has it."""
    from rich.syntax import Syntax
    from rich.text import Text

    syntax: Syntax = Syntax("", Syntax.guess_lexer(name), theme="ansi_dark")

    def coloured(line: str) -> Text:
        found = syntax.highlight(line)
        return found if found.plain.rstrip("\n") == line else Text(line)

    return coloured


# -- the pager ----------------------------------------------------------------------------------------------------------------------------


def _paged(text: str, console: Console) -> None:
    """Show text in the pager that the person chose, else in `less`, which may start nothing; all at once where there is none."""
    command = os.environ.get("PAGER", "less")
    if command in ("", "cat") or not sys.stdin.isatty() or text.count("\n") < console.height:
        sys.stdout.write(text)
        return
    environment = {"LESS": "FRX", "LESSSECURE": "1", "LV": "-c", **os.environ}
    with suppress(BrokenPipeError, KeyboardInterrupt):
        done = subprocess.run(["sh", "-c", command], input=text.encode(errors="replace"), env=environment, check=False)
        if done.returncode in (126, 127):
            sys.stdout.write(text)
