"""How the command line starts and ends. What needs no more than this, like `--version`, loads nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper

from workspaces.starting import hurry, leave, stop_at_once

_COMMANDS = "workspaces_cli.cli"
"""Where `cli.py` is, as it is installed."""
_SERVER = "workspaces.server.app"


def main() -> None:
    """Run the command line. Until a command begins, and from its end on, Ctrl-C just ends it; what loads here before that can be told is little."""
    stop_at_once()
    hurry()
    if sys.argv[1:] == ["--version"]:
        running(version)
    else:
        running(command)


def command() -> None:
    """Run what was asked for, as a part of the trace that the environment names, where traces are kept."""
    from workspaces.telemetry import continued

    project, words = parted(sys.argv[1:])
    with continued(os.environ):
        if words == ["serve"]:
            serve(project)
        else:
            import_module(_COMMANDS).main(sys.argv[1:])


def parted(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the project that is named before the command, if one is, and the words from the command on."""
    if words[:1] in (["-C"], ["--project"]):
        return "".join(words[1:2]), words[2:]
    if words and words[0].startswith("--project="):
        return words[0].removeprefix("--project="), words[1:]
    return "", words


def serve(project: str) -> None:
    """Serve as clients ask for it, with no options: they wait for it, and nothing is loaded that reads options."""
    from workspaces.terminal.failures import ended_by_hand, told

    with told(json=False), ended_by_hand():
        server = import_module(_SERVER)
        server.serve(server.settings_from(project, (), actor=actor()))


def actor() -> str:
    """Return in whose name commands are run."""
    return os.environ.get("WORKSPACES_ACTOR") or os.environ.get("USER") or ""


def version() -> None:
    """Print the version."""
    from importlib.metadata import version

    print(version("mcp-workspaces"))  # noqa: T201 - the answer


def _taken() -> None:
    """Open what was closed of stdin, stdout and stderr on nothing: else what is opened next gets their numbers, and whatever is written to those."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, number)
            if nothing != number:
                os.close(nothing)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - a descriptor, for good


def running(command: Callable[[], None]) -> None:
    """Run a command. Text that a stream cannot show is shown as escapes; an answer that could not be written is a failure."""
    from workspaces.terminal import screen

    _taken()
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
