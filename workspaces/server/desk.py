"""Which project a call means: the one that this server was started for, and those that were initialized through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from workspaces.backend import choose
from workspaces.errors import InvalidArgument, NoProject, NotAllowed, NotFound
from workspaces.model import MAIN, Initialized
from workspaces.naming import project_name
from workspaces.project import Project


class Desk:
    """The open projects of one server. Projects are kept by folder; what is in them is never remembered here."""

    def __init__(
        self,
        default: Path | None,
        allowed: Sequence[Path],
        actor: str = "",
        trust: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.default, self.actor, self.trust, self.environment = default, actor, trust, environment
        self.allowed = [path.resolve() for path in allowed]
        self._open: dict[Path, Project] = {}

    def initialize(self, path: str, backend: str, name: str) -> Initialized:
        """Make a folder a project, or open it. A relative path starts at the default project.

        A new project whose folder has the name of one that is open gets a name of its own, so that ids tell them apart.
        """
        folder = self.permitted((self.default or Path()) / path)
        self.permitted(choose(folder, backend).root)
        taken = {project.name.lower() for project in self._open.values()}
        wanted = name or project_name(folder.name)
        free = next(
            each for number in range(1, len(taken) + 2) if (each := wanted if number == 1 else f"{wanted}-{number}").lower() not in taken
        )
        project = Project.initialize(folder, backend, name if free == wanted else free, self.actor, self.trust, self.environment)
        self._open[project.root] = project
        described = project.described()
        if project.root == self.default or len(self._open) == 1:
            return described
        return described.model_copy(update={"next": (f"clone(source='{project.root}', count=3, task='…')", "status(workspaces=['…'])")})

    def permitted(self, path: Path) -> Path:
        """Return the path, links resolved, if this server may touch it."""
        try:
            real = path.resolve()
            real.is_dir()
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"The path cannot be one: {error}."[:300], "Name an existing folder.") from None
        if not any(real == root or root in real.parents for root in self.allowed):
            roots = ", ".join(map(str, self.allowed))
            raise NotAllowed(
                f"{real} is outside of what this server may touch ({roots}). Nothing was changed.",
                "Start the server with --allow for that folder.",
            )
        return real

    def project(self, *names: str) -> Project:
        """Return the project that all of these workspaces belong to. Bare `main`, or no name at all, means the default one."""
        default = self._default()
        asked = [name for name in names if name != MAIN]
        projects = self._all(default)
        if not asked:
            return default
        holders = [project for project in projects if all(project.holds(name) for name in asked)]
        if len(holders) > 1:
            places = ", ".join(str(project.root) for project in holders)
            raise NotFound(
                f"{', '.join(asked[:5])}: several projects have that ({places}). Nothing was done.",
                "Use the absolute path of the workspace.",
            )
        if not holders and len({id(project) for name in asked for project in projects if project.holds(name)}) > 1:
            raise InvalidArgument(
                "These workspaces belong to different projects. Nothing was done.", "Name workspaces of one project in a call."
            )
        return holders[0] if holders else default

    def _all(self, default: Project) -> list[Project]:
        return [default, *(project for root, project in self._open.items() if root != default.root)]

    def _default(self) -> Project:
        if self.default is None:
            if self._open:
                return next(iter(self._open.values()))
            raise NoProject("No project is open.", "Call initialize(path='/absolute/path/of/a/repository/or/folder') first.")
        known = self._open.get(self.default)
        if known is None:
            # Opening is idempotent and touches nothing of the user's, so the first call need not be initialize.
            known = Project.initialize(self.permitted(self.default), actor=self.actor, trust=self.trust, environment=self.environment)
            self._open[self.default] = known
        return known
