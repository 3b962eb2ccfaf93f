"""What Claude Code asks when it wants a working copy for a session or a subagent of its own, answered with a workspace.

By code.claude.com/docs/en/hooks (WorktreeCreate, WorktreeRemove): JSON on stdin; the first has `name` and `cwd`, must print the folder on stdout
and nothing else, and fails by its exit status; the second has `worktree_path`, and its output and status change nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from pydantic import JsonValue

from workspaces.errors import BackendFailed, InvalidArgument
from workspaces.model import MAIN
from workspaces.naming import MAX_LENGTH
from workspaces.project import Project

Opening = Callable[[Path], Project]
"""Opens the project of a folder, or makes one there."""


def answer(asked: str, opened: Opening, here: Path) -> tuple[str, str]:
    """Do what a hook asks for; return what belongs on stdout, and what a person may hear. Raises what the calls raise."""
    event = _event(asked)
    folder = Path(_word(event, "cwd") or here)
    match event.get("hook_event_name"):
        case "WorktreeCreate":
            return _created(opened(folder), folder, _word(event, "name"))
        case "WorktreeRemove":
            return "", _removed(opened(folder), _word(event, "worktree_path"))
        case other:
            raise InvalidArgument(f"No hook of that name is known: {str(other)[:100]!r}.", "Known: WorktreeCreate, WorktreeRemove.")


def _event(asked: str) -> dict[str, JsonValue]:
    try:
        read: JsonValue = json.loads(asked)
    except ValueError as error:
        raise InvalidArgument("What came on stdin is no JSON.", "This command is for Claude Code's hooks.") from error
    if not isinstance(read, dict):
        raise InvalidArgument("What came on stdin is no JSON object.", "This command is for Claude Code's hooks.")
    return read


def _word(event: dict[str, JsonValue], key: str) -> str:
    found = event.get(key)
    return found if isinstance(found, str) else ""


def _created(project: Project, folder: Path, name: str) -> tuple[str, str]:
    """Clone the workspace that the session stands in. One of that name that is there already is entered again; `main` never is."""
    fitting = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:MAX_LENGTH].strip("-_")
    fitting = f"{fitting}-1" if fitting == MAIN else fitting
    there = next((each for each in project.status(detail="names").workspaces if each.name == fitting), None)
    if there is not None:
        return there.location, f"{there.id} was there already."
    made = project.clone(_standing(project, folder), name=fitting, labels=["claude-code"])
    if not made.workspaces:
        raise BackendFailed(f"No workspace was made: {', '.join(made.failed.values())}", "workspaces doctor looks closer.")
    return made.workspaces[0].location, made.summary


def _standing(project: Project, folder: Path) -> str:
    """Return the workspace in which a folder lies."""
    real = folder.resolve()
    inside = [each for each in project.status(detail="names").workspaces if real.is_relative_to(Path(each.location).resolve())]
    return max(inside, key=lambda each: len(each.location)).name if inside else MAIN


def _removed(project: Project, path: str) -> str:
    """Delete a workspace whose work is merged, or that has none. What is not merged stays, for whoever sent the agent."""
    if not path:
        raise InvalidArgument("The hook names no worktree_path. Nothing was deleted.")
    result = project.delete([path])
    return " ".join([result.summary, *(f"{name}: {why}" for name, why in result.kept.items())])
