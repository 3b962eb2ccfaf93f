"""Which project a call means: the one that this server was started for, and those that were initialized through it."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from workspaces.access import Access
from workspaces.backend import choose
from workspaces.core import Progress, silent
from workspaces.errors import InvalidArgument, NoProject, NotAllowed, NotFound, WorkspacesError
from workspaces.model import MAIN, Initialized
from workspaces.naming import project_name
from workspaces.project import Project
from workspaces.server.auditing import meant
from workspaces.wording import begin


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
        self._homes: dict[Path | str, Path] = {}
        self._coming: dict[Path, str] = {}
        self._naming = Lock()

    def initialize(self, access: Access, path: str, backend: str, name: str, progress: Progress = silent) -> Initialized:
        """Make a folder a project, or open it. A relative path starts at the default project.

        A new project whose folder has the name of one that is open gets a name of its own, so that ids tell them apart.
        """
        access.authorise("describe")
        if known := self._open_already(access, path):
            return meant(known).described()
        access.authorise("initialize")
        progress(0, 1, f"looking at {path}")
        folder = self.permitted((self.default or Path()) / path, access)
        root = self.permitted(choose(folder, backend).root, access)
        wanted = name or project_name(folder.name)
        with self._reserved(root, wanted) as free:
            project = Project.initialize(folder, backend, name if free == wanted else free, self.actor, self.trust, self.environment)
            self._open[project.root] = project
        described = meant(project.seen_by(access)).described()
        if project.root == self.default or len(self._open) == 1:
            return described
        return described.model_copy(update={"next": (begin(str(project.root)),)})

    @contextmanager
    def _reserved(self, root: Path, wanted: str) -> Generator[str]:
        """Keep a name that no other project has, or is about to get, for one that is open when the block ends."""
        with self._naming:
            taken = {project.name.lower() for project in [*self._open.values()]}
            taken |= {name for other, name in self._coming.items() if other != root}
            free = next(
                each
                for number in range(1, len(taken) + 2)
                if (each := wanted if number == 1 else f"{wanted}-{number}").lower() not in taken
            )
            self._coming[root] = free.lower()
        try:
            yield free
        finally:
            with self._naming:
                self._coming.pop(root, None)

    def _open_already(self, access: Access, path: str) -> Project | None:
        """Return the project of a caller's own that a path names; of who may make others, none: that takes the path apart."""
        if access.holds("administer"):
            return None
        projects = self._open_to(access)
        wanted = os.path.normpath(projects[0].root / path)
        return next((project for project in projects if str(project.root) == wanted), None)

    def permitted(self, path: Path, access: Access | None = None) -> Path:
        """Return the path, links resolved, if this server, and the caller if there is one with projects of its own, may touch it."""
        allowed = [Path(root) for root in access.projects] if access and access.projects else self.allowed
        try:
            real = path.resolve()
            real.is_dir()
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"The path cannot be one: {error}."[:300], "Name an existing folder.") from None
        if not any(real == root or root in real.parents for root in allowed):
            roots = ", ".join(map(str, allowed))
            raise NotAllowed(
                f"{real} is outside of what this server may touch ({roots or 'nothing: it was started for no project'}). Nothing was changed.",
                "Start the server with --project, or --allow for that folder.",
            )
        return real

    def project(self, access: Access, *names: str) -> Project:
        """Return the project that all of these workspaces belong to, as the caller sees it. Bare `main`, or no name at all, means the default
        one."""
        projects = self._open_to(access)
        default, asked = projects[0], [name for name in names if name != MAIN]
        if not asked:
            return meant(default)
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
        return meant(holders[0] if holders else default)

    def home(self, access: Access | None) -> Path | None:
        """Return where is what is remembered of the project that a call which names none means, if there is one. Opens nothing."""
        named = access.projects[0] if access and access.projects else self.default
        if named is None:
            return next((each.home for each in [*self._open.values()]), None)
        if named not in self._homes and (home := _home_of(Path(named), self._open)):
            self._homes[named] = home
        return self._homes.get(named)

    def projects(self, access: Access) -> dict[str, Project]:
        """Return the projects that there are for a caller, as it sees them, by name in small letters; of two with one name, the first."""
        try:
            known = self._open_to(access)
        except NoProject:
            return {}
        named: dict[str, Project] = {}
        for project in known:
            named.setdefault(project.name.lower(), project)
        return named

    def _open_to(self, access: Access) -> list[Project]:
        """Return the projects that a caller may open, the default one first, as it sees them: its own, or those of the server."""
        if access.projects:
            projects = [self._opened(Path(root), access) for root in access.projects]
        else:
            default = self._default()
            others = [project for root, project in [*self._open.items()] if root != default.root and self._is_allowed(root)]
            projects = [default, *others]
        return [project.seen_by(access) for project in projects]

    def _is_allowed(self, folder: Path) -> bool:
        return any(folder == root or root in folder.parents for root in self.allowed)

    def _default(self) -> Project:
        if self.default is None:
            if found := next((project for root, project in [*self._open.items()] if self._is_allowed(root)), None):
                return found
            raise NoProject("No project is open.", "Call initialize first, with the absolute path of a repository or another folder.")
        return self._opened(self.default)

    def _opened(self, folder: Path, access: Access | None = None) -> Project:
        known = self._open.get(folder)
        if known is None:
            # Opening is idempotent and touches nothing of the user's, so the first call need not be initialize.
            place = self.permitted(folder, access)
            known = Project.initialize(place, actor=self.actor, trust=self.trust, environment=self.environment)
            known = self._open.setdefault(folder, known)
        return known


def _home_of(folder: Path, opened: Mapping[Path, Project]) -> Path | None:
    try:
        return opened[folder].home if folder in opened else Project.home_of(folder)
    except WorkspacesError:
        return None
