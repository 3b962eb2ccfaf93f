"""What goes to a person's terminal, and how: text that cannot steer it, narration apart from answers, bars for what takes long."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from workspaces.terminal import bare

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from workspaces.core import Progress

_UNBOUNDED = 10_000
_BAR = "  │ "
_AGES = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def say(line: str, style: str = "") -> None:
    """Narrate to stderr. What cannot be told there is not worth failing for."""
    with suppress(OSError, ValueError):
        if is_styled(sys.stderr):
            console(stderr=True).print(safe(line), style=style or None)
        else:
            bare.write(sys.stderr, safe(line))


def tell(line: str, style: str = "") -> None:
    """Answer with one line on stdout."""
    line = safe(line).replace("\n", "\\n")
    if is_styled(sys.stdout):
        console().print(line, style=style or None)
    else:
        bare.write(sys.stdout, line)


def warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        say(f"! {spoken(warning)}", "yellow")


def spoken(text: str) -> str:
    """Return what the core says with the calls in it as commands."""
    from workspaces.terminal.typed import typed

    return typed(text)


def safe(text: str) -> str:
    """Return text that cannot steer a terminal: control characters become visible escapes."""
    return "".join(char if char in "\n\t" or char.isprintable() else ascii(char)[1:-1] for char in text)


def table(columns: Sequence[str], rows: Iterable[Sequence[tuple[str, str]]]) -> None:
    """Print rows of (text, style)."""
    if is_styled(sys.stdout):
        console().print(drawn(columns, rows, console()))
    else:
        bare.write(sys.stdout, *bare.table([columns, *([safe(text) for text, _ in row] for row in rows)]))


def drawn(columns: Sequence[str], rows: Iterable[Sequence[tuple[str, str]]], where: Console) -> Text:
    """Return rows of (text, style) as a table that fits there."""
    from workspaces.terminal.fitting import fitted

    return fitted(columns, [[(safe(text), style) for text, style in row] for row in rows], where.width)


def whole(text: str) -> None:
    """Answer with a text that somebody else wrote and a person is to judge, behind a bar that shows where it goes on. Nothing of it is cut."""
    lines = safe(text).replace("\t", "\\t").split("\n")
    if is_styled(sys.stdout):
        from workspaces.terminal.fitting import wrapped

        lines = [part for line in lines for part in wrapped(line, console().width - len(_BAR))]
    for line in lines:
        tell(f"{_BAR}{line}")


def is_styled(stream: TextIO | None) -> bool:
    """Say whether a stream is given more than bare text: to a terminal, or as the environment says; in the same cases as by rich itself."""
    compatible, forced = os.environ.get("TTY_COMPATIBLE"), os.environ.get("FORCE_COLOR")
    if stream is None or compatible in ("0", "1"):
        return stream is not None and compatible == "1"
    return stream.isatty() if forced is None else forced != ""


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _UNBOUNDED
    return console


def width() -> int:
    """Return how many columns an answer may take."""
    return console().width if is_styled(sys.stdout) else _UNBOUNDED


@contextmanager
def _stoppable() -> Generator[None]:
    """Say at once that a call is stopped: what it had begun may take a while to be taken back."""
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        with suppress(OSError):
            os.write(2, b"\nstopping ...\n")  # whatever was just being written, this does not wait for it
        signal.default_int_handler(number, frame)

    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress() -> Generator[Progress]:
    """Show a bar on a terminal for whatever takes longer than a second, and that it is stopped."""
    from workspaces.core import silent

    if sys.stderr is None or not sys.stderr.isatty():
        yield silent
        return
    with _stoppable(), _bar() as report:
        yield report


@contextmanager
def _bar() -> Generator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console(stderr=True), transient=True)
    task, began = bar.add_task(""), time.monotonic()

    def report(done: int, total: int, message: str) -> None:
        if time.monotonic() - began > 1 and not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=total, description=safe(message))

    try:
        yield report
    finally:
        bar.stop()


def near(location: str) -> str:
    here = Path.cwd()
    return os.path.relpath(location, here) if Path(location).is_relative_to(here) else location


def age(since: datetime) -> str:
    seconds = int((datetime.now(since.tzinfo) - since).total_seconds())
    return next((f"{seconds // unit}{letter}" for unit, letter in _AGES if seconds >= unit), "now")


def flushed(stream: TextIO | None, descriptor: int) -> bool:
    """Write out what a stream still holds. One that takes nothing is let go, so that Python does not fail over it at its end."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        return False
    return True
