"""Private snapshots of one project for agents that work in parallel: clone, compare, merge, delete."""

from workspaces.errors import WorkspacesError
from workspaces.project import Project

__all__ = ["Project", "WorkspacesError"]
