"""Which project a call means: the one that this server was started for, and those that were initialized through it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workspaces.errors import NoProject, NotAllowed, NotFound
from workspaces.project import Project


class Desk:
    """The open projects of one server. Projects are kept by folder; what is in them is never remembered here."""

    def __init__(self, default: Path | None, allowed: Sequence[Path], actor: str = "") -> None:
        self.default, self.actor = default, actor
        self.allowed = [path.resolve() for path in allowed]
        self._open: dict[Path, Project] = {}

    def initialize(self, path: str, backend: str, name: str) -> Project:
        """Make a folder a project, or open it. A relative path starts at the default project."""
        folder = self.permitted((self.default or Path()) / path)
        project = Project.initialize(folder, backend, name, self.actor)
        self.permitted(project.root)
        self._open[project.root] = project
        return project

    def permitted(self, path: Path) -> Path:
        """Return the path, links resolved, if this server may touch it."""
        real = path.resolve()
        if not any(real == root or root in real.parents for root in self.allowed):
            roots = ", ".join(map(str, self.allowed))
            raise NotAllowed(
                f"{real} is outside of what this server may touch ({roots}). Nothing was changed.",
                "Start the server with --allow for that folder.",
            )
        return real

    def project(self, *names: str) -> Project:
        """Return the project that all of these workspaces belong to; without any, or for bare names that several have, the default one."""
        default = self._default()
        if not names:
            return default
        holders = [project for project in self._all(default) if all(project.holds(name) for name in names)]
        if not holders or default in holders:
            return default
        if len(holders) > 1:
            ids = ", ".join(f"{project.name}/{names[0].split('/')[-1]}" for project in holders)
            raise NotFound(f"{names[0]!r} is in several projects: {ids}.", "Use the whole id.")
        return holders[0]

    def _all(self, default: Project) -> list[Project]:
        return [default, *(project for root, project in self._open.items() if root != default.root)]

    def _default(self) -> Project:
        if self.default is None:
            if self._open:
                return next(iter(self._open.values()))
            raise NoProject("No project is open.", "Call initialize(path='/absolute/path/of/a/git/repository') first.")
        known = self._open.get(self.default)
        if known is None:
            # Opening is idempotent and touches nothing of the user's, so the first call need not be initialize.
            known = Project.initialize(self.permitted(self.default), actor=self.actor)
            self._open[self.default] = known
        return known
