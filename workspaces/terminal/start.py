"""How the command line starts and ends. What needs no more than this, like `--version`, loads nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from io import TextIOWrapper

from workspaces.starting import hurry, leave
from workspaces.terminal import screen

_COMMANDS = "workspaces_cli.cli"
"""Where `cli.py` is, as it is installed."""


def main() -> None:
    """Run the command line."""
    hurry()
    if sys.argv[1:] == ["--version"]:
        running(version)
    else:
        running(command)


def command() -> None:
    """Run what was asked for, as a part of the trace that the environment names, where traces are kept."""
    from workspaces.telemetry import continued

    with continued(os.environ):
        import_module(_COMMANDS).main(sys.argv[1:])


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
        leave()
        screen.flushed(sys.stderr, 2)
        if not screen.flushed(sys.stdout, 1):
            screen.say("✗ The answer could not be written.", "red")
            sys.exit(1)
