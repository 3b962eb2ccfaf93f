"""Private snapshots of one project for agents that work in parallel: clone, compare, merge, delete.

The public names are loaded when they are first asked for, so that a command which needs none of them starts at once (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workspaces.errors import WorkspacesError
    from workspaces.project import Project

__all__ = ["Project", "WorkspacesError"]
_HOMES = {"Project": "workspaces.project", "WorkspacesError": "workspaces.errors"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
