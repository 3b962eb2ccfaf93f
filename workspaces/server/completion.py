"""Completing what a person types: names of projects, workspaces, checks and files, as far as there are any for who asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from mcp.types import CompleteRequestParams, Completion, ResourceTemplateReference

from workspaces.errors import WorkspacesError
from workspaces.project import Project
from workspaces.server.calls import in_thread
from workspaces.server.resources import KINDS, Projects

if TYPE_CHECKING:
    from workspaces.looking import Look

_MOST = 100
"""Completions of one answer, by the protocol."""
Opened = Callable[[], Project]
"""What opens the project that a prompt is about."""


async def completed(projects: Callable[[], Projects], opened: Opened, params: CompleteRequestParams) -> Completion:
    """Return what fits to what was typed so far."""
    typed = params.argument.value
    if isinstance(params.ref, ResourceTemplateReference):
        if params.ref.uri not in {kind.template.template for kind in KINDS}:
            return _fitting("", "", ())
        known = (params.context.arguments if params.context else None) or {}
        return _fitting("", typed, await in_thread(lambda: _variable(projects(), params.argument.name, known)))
    found = await in_thread(lambda: _argument(opened, params.argument.name))
    if params.argument.name in _SINGLE:
        return _fitting("", typed, found)
    last = re.split(r"[\s,]", typed)[-1]
    before = typed.removesuffix(last)
    return _fitting(before, last, [name for name in found if name not in split(before)])


def _fitting(before: str, typed: str, known: Iterable[str]) -> Completion:
    wanted = unquote(typed).lower()
    fitting = [f"{before}{name}" for name in sorted(known) if unquote(name).lower().startswith(wanted)]
    return Completion(values=fitting[:_MOST], total=len(fitting), has_more=len(fitting) > _MOST)


def split(text: str) -> list[str]:
    """Return the names in a list of them, as a person types it."""
    return [name for name in re.split(r"[\s,]+", text) if name]


# -- variables of resource templates ------------------------------------------------------------------------------------------------------


def _variable(projects: Projects, variable: str, known: Mapping[str, str]) -> list[str]:
    """Return the values that a variable may have, as they stand in a URI; `known` are those of the others."""
    try:
        if variable == "project":
            return [project.name for project in projects.values()]
        project = projects.get(known.get("project", "").lower())
        among = [project] if project else [] if "project" in known else [*projects.values()]
        return [quote(value) for each in among for value in _values(each.look(), variable, known.get("name", ""))]
    except (WorkspacesError, OSError):
        return []


def _values(look: Look, variable: str, name: str) -> Iterable[str]:
    if variable == "name":
        return [each.name for each in look.workspaces()]
    if variable == "check":
        return look.checks()
    return look.changed(name) if variable == "path" and name else ()


# -- arguments of prompts -----------------------------------------------------------------------------------------------------------------

_SINGLE = ("workspace", "target", "count")


def _argument(opened: Opened, argument: str) -> Iterable[str]:
    """Return what an argument may name; nothing where no project is open."""
    try:
        if argument == "count":
            return ("2", "3", "5", "8")
        if argument == "checks":
            return opened().described().checks
        if argument not in ("workspaces", "workspace", "target"):
            return ()
        return [each.name for each in opened().look().workspaces() if argument == "target" or not each.is_main]
    except (WorkspacesError, OSError):
        return ()
