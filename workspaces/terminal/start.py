"""How the command line starts and ends. What needs no more than this, like `--version`, loads nothing else."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module
from io import TextIOWrapper

from workspaces.terminal import screen

_COMMANDS = "workspaces_cli.cli"
"""Where `cli.py` is, as it is installed."""
_USUAL = gc.get_threshold()
_SELDOM = (100_000, 50, 100)


def main() -> None:
    """Run the command line. What is loaded stays: to look for garbage in it again and again takes a tenth of a start."""
    gc.set_threshold(*_SELDOM)
    if sys.argv[1:] == ["--version"]:
        running(version)
    else:
        running(command)


def command() -> None:
    """Run what was asked for, as a part of the trace that the environment names, where traces are kept."""
    from workspaces.telemetry import continued

    with continued(os.environ):
        import_module(_COMMANDS).main(sys.argv[1:])


def settled() -> None:
    """Look for garbage as usual from now on, only not in what was loaded. For what goes on running."""
    gc.freeze()
    gc.set_threshold(*_USUAL)


def version() -> None:
    """Print the version."""
    from importlib.metadata import version

    print(version("mcp-workspaces"))  # noqa: T201 - the answer


def running(command: Callable[[], None]) -> None:
    """Run a command. Text that a stream cannot show is shown as escapes; an answer that could not be written is a failure."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        command()
    except OSError:  # commands tell their own: this is stdout that takes nothing
        sys.exit(1)
    finally:
        screen.flushed(sys.stderr, 2)
        if not screen.flushed(sys.stdout, 1):
            screen.say("✗ The answer could not be written.", "red")
            sys.exit(1)
