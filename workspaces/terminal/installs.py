"""What installing into clients says to a person: which are here, what would change, and how to take it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workspaces.terminal import screen

if TYPE_CHECKING:
    from workspaces.clients.installing import Installation, Installations

_WORDS = {"add": "would be added", "update": "would be updated", "remove": "would be removed", "none": "there"}
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def table(result: Installations) -> None:
    """Print each client, whether it is here, and what would be written where."""
    screen.table(("Client", "", "Server", "File"), map(_row, result.clients))
    screen.say(result.summary)
    for call in result.next:
        screen.say(f"  {call}")


def _row(each: Installation) -> tuple[tuple[str, str], ...]:
    here = ("here", "green") if each.found else ("not found", "dim")
    state = (each.problem, "red") if each.problem else (_WORDS[each.action], "green" if each.action == "none" else "")
    return (each.client, "bold" if each.found else ""), here, state, (screen.near(each.file), "dim")


def plan(result: Installation) -> None:
    """Show the change to a client's file, line by line."""
    if result.action == "none":
        return screen.say(f"✓ {result.title} is as it should be: {result.file}. Nothing to change.", "green")
    screen.say(f"{result.title}: {result.file}", "bold")
    for line in result.diff.splitlines():
        screen.console().print(screen.safe(line), style=_STYLES.get(line[:1]))
    return None


def done(result: Installation) -> None:
    """Say what was done, and how it is undone."""
    if result.action == "remove":
        return screen.say(f"✓ Taken out of {result.title}. Start it anew.", "green")
    scope = " --project" if result.scope == "project" else ""
    screen.say(f"✓ {result.title} has it. Start it anew; workspaces doctor tries it out.", "green")
    if result.scope == "project":
        screen.say("! The command is a path of this machine: keep the file out of commits where others work elsewhere.", "yellow")
    screen.say(f"  ↳ workspaces install --undo {result.client}{scope}")
    return None
