"""Who may what: what a caller may do at all, which workspaces there are for it, and which of these it may change.

Every call of a face on a `Project` is authorised here before anything is read, and every workspace is held in `Core.changing`, which asks here, before
anything about it changes. A workspace that a caller may not see is none for it: its name and an unknown one get the same answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from workspaces.errors import NotAllowed
from workspaces.model import Role, Workspace

ROLES: tuple[Role, ...] = get_args(Role)
ALL = "*"
"""Granted in the place of single workspaces: all of them."""
_NEEDED: Mapping[str, Role] = {
    "describe": "read",
    "status": "read",
    "compare": "read",
    "clone": "work",
    "merge": "work",
    "delete": "work",
    "check": "work",
    "checkpoint": "work",
    "restore": "work",
    "initialize": "administer",
    "trust_checks": "administer",
}
"""The role that a call needs. What is not in here is for the person at the machine alone."""
_UNBOUND = ("describe", "initialize", "trust_checks")
"""What is about a project as a whole, and so not for who is bound to one workspace of it."""


@dataclass(frozen=True)
class Access:
    """What one caller may. `name` is the log's word for it, and the owner of what it makes; `granted` and `bound` are uids of workspaces."""

    role: Role = "administer"
    name: str = ""
    projects: tuple[str, ...] = ()
    """Folders of the projects that it may open; of a caller without any, those that the server was started for."""
    granted: frozenset[str] = frozenset()
    bound: frozenset[str] = frozenset()
    """The one workspace that it sees, with what descends from that; of several, what descends from all of them."""
    bound_id: str = ""
    """What that is called: what is meant where a call names none."""
    is_person: bool = False
    """Whether this is the person at the machine, to whom everything there belongs."""

    @property
    def is_limited(self) -> bool:
        """Whether there may be workspaces that this caller does not see."""
        return bool(self.bound) or not (self.role == "administer" or ALL in self.granted)

    def bound_to(self, workspace: Workspace) -> Access:
        """Return the same for one workspace alone, and what descends from it."""
        return replace(self, bound=self.bound | {workspace.uid}, bound_id=self.bound_id or workspace.id)

    def holds(self, role: Role) -> bool:
        return ROLES.index(role) <= ROLES.index(self.role)

    def authorise(self, verb: str) -> None:
        """Raise `NotAllowed` where the caller may not make a call, whatever it names."""
        needed = _NEEDED.get(verb)
        if self.is_person and not (self.bound and verb in _UNBOUND):
            return
        if needed is None or (self.bound and verb in _UNBOUND):
            raise NotAllowed(f"{verb} is not for this client. Nothing was done.", "Ask the person who runs the server.")
        if not self.holds(needed):
            raise NotAllowed(
                f"{verb} needs the role '{needed}', and this client has '{self.role}'. Nothing was done.",
                "Ask the person who runs the server.",
            )

    def sees(self, workspace: Workspace, lineage: Iterable[str]) -> bool:
        """Return whether a workspace is there for the caller. `lineage` are the uids of it and of what it descends from, nearest first."""
        if self.bound:
            return self.bound <= {*lineage}
        if not self.is_limited or workspace.is_main:
            return True
        return workspace.uid in self.granted or self.owns(workspace)

    def owns(self, workspace: Workspace) -> bool:
        return bool(self.name) and workspace.owner == self.name

    def authorise_change(self, workspace: Workspace) -> None:
        """Raise `NotAllowed` where the caller sees a workspace and may not change it: main is changed by who may merge."""
        if workspace.is_main and not self.holds("merge"):
            raise NotAllowed(
                f"Changing main needs the role 'merge', and this client has '{self.role}'. Nothing was changed.",
                "compare shows what would be merged; ask somebody who may to merge it.",
            )

    @property
    def caller(self) -> str:
        """What tells this caller from others."""
        return json.dumps([self.is_person, self.name, sorted(self.bound)])

    def keyed(self, request_key: str) -> str:
        """Return a key as it is remembered: callers who do not see each other's workspaces do not meet in their keys either."""
        return json.dumps([self.name, sorted(self.bound), request_key]) if request_key and self.is_limited else request_key


PERSON = Access(is_person=True)
"""The person at the machine."""
