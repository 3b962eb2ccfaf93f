"""What is shown of the workspaces to those who only look: nobody's lease is renewed by it, so that what watches keeps nothing alive."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from workspaces.backend import Backend
from workspaces.checks import remembered
from workspaces.comparison import MAX_CHARS, compare
from workspaces.core import Core
from workspaces.errors import Limit, NotFound, as_ours
from workspaces.history import told
from workspaces.model import Checked, Comparison, Log, Operation, Snapshot, Status, Workspace, path_bytes
from workspaces.overview import status
from workspaces.wording import call, counted

MOST_BYTES = 256 << 10
"""Of a file that is shown."""
_MOST_OPERATIONS, _LOOKED_BACK = 50, 1000
_ANY = ("creating", "live", "deleting", "restoring", "deleted")


@dataclass(frozen=True)
class Look:
    """One look at a project, for one caller. What it may not see is not there; everything is bounded."""

    core: Core

    @property
    def project(self) -> str:
        return self.core.row.name

    @as_ours()
    def workspaces(self) -> list[Workspace]:
        """Return what is there, `main` first, then the oldest."""
        return [*map(self.core.shown, self.core.seen())]

    @as_ours()
    def tree(self) -> Status:
        """Return the tree of workspaces."""
        return status(self.core)

    @as_ours()
    def one(self, name: str) -> Status:
        """Return one workspace with its size of change."""
        return status(self.core, [self._named(name).id])

    @as_ours()
    def diff(self, name: str) -> Comparison:
        """Return what a workspace changed, the first page of it."""
        return compare(self.core, [self._named(name).id], detail="diff", max_chars=MAX_CHARS)

    @as_ours()
    def log(self, name: str) -> Log:
        """Return what was done to a workspace, newest first."""
        uid = self._named(name).uid
        found = [each for each in self._operations() if uid in each.uids][:_MOST_OPERATIONS]
        return Log(summary=f"{counted(len(found), 'operation')} on {name}, newest first.", operations=tuple(map(self._shown, found)))

    @as_ours()
    def touched(self) -> dict[str, datetime]:
        """Return when something was last done to each workspace, by uid, as far as that is not long ago."""
        return {uid: each.at for each in reversed(self._operations()) for uid in each.uids}

    @as_ours()
    def verdict(self, name: str, check: str) -> Checked:
        """Return what a check said of what a workspace holds now. Runs nothing."""
        workspace = self._named(name)
        if check not in self.core.config.checks:
            raise NotFound(f"No check {check[:100]!r}.", "initialize names the checks.")
        with self._frozen(workspace) as (view, snapshot):
            base = snapshot if workspace.is_main else view.load(self.core.agreed(workspace).snapshot)
            found = remembered(self.core, view, snapshot, base).get(check)
        results = [found.model_copy(update={"workspace": workspace.id, "check": check})] if found else []
        said = f"says {results[0].verdict} of" if results else "was not run on"
        calls = () if results else (call("check", workspaces=[workspace.id], checks=[check]),)
        return Checked(summary=f"{check} {said} what {workspace.name} holds now.", results=tuple(results), next=calls)

    @as_ours()
    def checks(self) -> list[str]:
        """Return the names of the checks."""
        return list(self.core.config.checks)

    @as_ours()
    def file(self, name: str, path: str) -> bytes:
        """Return what a file holds now. No link is followed; raises `NotFound` for what is no file of the workspace."""
        workspace = self._named(name)
        if not _is_inside(path_bytes(path)):
            raise NotFound("No such file.", "compare(detail='files') lists what was changed.")
        with self._frozen(workspace) as (view, snapshot):
            found = view.read(snapshot, path, MOST_BYTES + 1)
        if found is None:
            raise NotFound("No such file.", "compare(detail='files') lists what was changed.")
        if len(found) > MOST_BYTES:
            raise Limit(f"The file has more than {MOST_BYTES >> 10} KiB.", f"Read it in the workspace's folder: {workspace.location}")
        return found

    @as_ours()
    def changed(self, name: str) -> Sequence[str]:
        """Return the paths that a workspace changed and still has, in order."""
        workspace = self._named(name)
        with self._frozen(workspace) as (view, snapshot):
            own = workspace.is_main
            base = view.snapshot(workspace, committed=True) if own else view.load(self.core.agreed(workspace).snapshot)
            changes = view.diff(base, snapshot).changes
        return sorted(each.path for each in changes if each.status != "deleted")

    def _named(self, name: str) -> Workspace:
        found = next((each for each in self.core.seen() if each.name.lower() == name.lower()), None)
        if found is None:
            raise NotFound(f"No workspace {name[:100]!r} in {self.project}.", "status lists them all.", workspace=name)
        return found

    @contextmanager
    def _frozen(self, workspace: Workspace) -> Generator[tuple[Backend, Snapshot]]:
        with self.core.backend.aside() as view, self.core.looking(view, workspace) as freeze:
            yield view, freeze(workspace, self.core.lineage(workspace))

    def _operations(self) -> list[Operation]:
        """Return what was done lately, newest first: of who may not see all workspaces, only what named none of the others."""
        known = self.core.store.operations(self.project, limit=_LOOKED_BACK)
        if not self.core.access.is_limited:
            return known
        seen = {each.uid for each in self.core.seen(_ANY)}
        return [each for each in known if seen.issuperset(each.uids)]

    def _shown(self, operation: Operation) -> Operation:
        """Return an operation as it is shown. Who did it and what was asked for may name what a caller does not see."""
        shown, own = told(operation), self.core.actor
        if not self.core.access.is_limited:
            return shown
        return shown.model_copy(update={"arguments": {}, "actor": own if shown.actor == own else ""})


def _is_inside(path: bytes) -> bool:
    """Return whether a path can be one of a workspace's files."""
    return b"\0" not in path and all(part not in (b"", b".", b"..") for part in path.split(b"/"))
