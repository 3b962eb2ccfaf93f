"""What checks say, for a person: a table at the end, or one that fills while they run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workspaces.terminal import screen, sides

if TYPE_CHECKING:
    from workspaces.model import Checked, Verdict

_MARKS = {
    "pass": ("✓", "green"),
    "fail": ("✗", "red"),
    "timeout": ("✗ timeout", "red"),
    "error": ("! error", "yellow"),
    "running": ("…", "cyan"),
}
_COLUMNS = ("Workspace", "Check", "", "Seconds", "Note")
_SHOWN = 15
"""Lines of the output of a check that failed."""


def table(result: Checked) -> None:
    """Print all verdicts, then the ends of what failed printed, or where two outputs differ."""
    screen.table(_COLUMNS, map(_row, result.results))
    for each in result.results:
        if each.verdict not in ("pass", "running") and not each.control and not result.diff:
            screen.tell(f"-- {_name(each)} {each.check}: {each.why or f'exit status {each.exit_status}'}", "bold")
            for line in each.tail.splitlines()[-_SHOWN:]:
                screen.tell(f"   {line}", "dim")
            if each.log:
                screen.tell(f"   {screen.near(each.log)}", "dim")
    if result.diff:
        sides.show([result.diff], unified=True)
    screen.tell(result.summary)
    screen.warn(result.warnings)


@contextmanager
def live(wanted: bool) -> Generator[Callable[[Sequence[Verdict]], None] | None]:
    """Show verdicts as they come, if that is wanted: on a terminal as a table that fills, else each once as a line."""
    if not wanted:
        yield None
        return
    if not screen.is_styled(sys.stderr):
        yield _Lines().take
        return
    from rich.live import Live

    console = screen.console(stderr=True)
    with Live(console=console, refresh_per_second=5, transient=True) as shown:
        yield lambda rows: shown.update(screen.drawn(_COLUMNS, map(_row, rows), console), refresh=True)


class _Lines:
    """Verdicts as lines, each when it is known."""

    def __init__(self) -> None:
        self.told: set[tuple[str, str, bool]] = set()

    def take(self, rows: Sequence[Verdict]) -> None:
        for each in rows:
            name = each.workspace, each.check, each.control
            if each.verdict != "running" and name not in self.told:
                self.told.add(name)
                screen.say("  ".join(text for text, _ in _row(each) if text))


def _row(each: Verdict) -> list[tuple[str, str]]:
    mark, style = _MARKS[each.verdict]
    notes = [note for note, holds in (("flaky", each.flaky), ("remembered", each.cached), ("before the work", each.control)) if holds]
    said = each.tail.strip().splitlines()[-1:] if each.verdict == "running" else [", ".join(notes)]
    return [
        (_name(each), "dim" if each.control else ""),
        (each.check, ""),
        (mark, style),
        (f"{each.seconds:.1f}" if each.seconds else "", "dim"),
        ("".join(said)[:80], "dim"),
    ]


def _name(each: Verdict) -> str:
    return each.workspace.split("/")[-1]
