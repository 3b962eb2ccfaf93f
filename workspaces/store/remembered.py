"""What is remembered: projects, workspaces, merges, restore points, requests, verdicts and the log of operations.

A row of `workspaces` claims its name: of two processes that want the same one, the second finds it taken.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from workspaces.errors import Exists
from workspaces.locks import PATIENCE
from workspaces.model import Operation, RestorePoint, Verdict, Workspace, now
from workspaces.naming import age_then_name
from workspaces.store.file import StoreFile
from workspaces.store.ledger import Row
from workspaces.store.tables import Page, all_uids, revision_of

_SELECT = (
    "SELECT uid, origin, record, COALESCE(seconds, 0), COALESCE(until, ''), COALESCE(holder, '')"
    " FROM workspaces w LEFT JOIN leases ON leases.workspace = w.uid"
)
_ABOVE = _SELECT + (  # noqa: S608 - words of ours
    " WHERE project = ? AND name = ? AND phase IN ('live', 'deleting', 'restoring', 'deleted')"
    " AND w.rowid < COALESCE((SELECT rowid FROM workspaces WHERE uid = ?), 1 << 62) ORDER BY phase = 'deleted', w.rowid DESC LIMIT 1"
)
_MERGES = (
    "SELECT o.id, o.state, source, target, snapshot, head FROM merges m JOIN operations o ON o.id = m.operation"
    " WHERE (source = ? OR target = ?) ORDER BY m.operation"
)

_TAKEN = "SELECT 1 FROM workspaces WHERE project = ? AND name = ? AND phase <> 'deleted'"
_REMEMBERED = 4096
"""Rows whose meaning is remembered by each process."""
_PAGE = 100
"""Operations that are read at a time."""


@dataclass(frozen=True)
class ProjectRow:
    name: str
    root: str
    backend: str


@dataclass(frozen=True)
class MergeRow:
    """`snapshot` of `source` is contained in `target` since `head` (a commit of the target, or nothing when none was made). `operation` is the one
    that brought it: they came in the order of these."""

    source: str
    target: str
    snapshot: str
    head: str
    operation: int = 0


@dataclass(frozen=True)
class Request:
    """A call that somebody named: what was `asked`, by which `call` it is served, and its `answer` (JSON), or nothing while there is none."""

    key: str
    asked: str
    call: str
    answer: str = ""


class Store(StoreFile):
    """The remembered state in one `home`. Phases of a workspace row: creating, live, deleting, restoring, deleted."""

    def __init__(self, file: Path, durable: bool = True, patience: float = PATIENCE) -> None:
        super().__init__(file, durable, patience)
        self._listed: dict[tuple[str, ...], tuple[int, list[Workspace]]] = {}
        """Whole lists, by project and phases: which revision each is of."""

    # -- projects

    def add_project(self, name: str, root: str, backend: str) -> ProjectRow:
        """Register the project at `root`, under `name` or the first free `name-2`, `name-3` …; one already there is returned as it is."""
        with self._write() as page:
            if (row := self._project_at(page.db, root)) is not None:
                return row
            taken = {str(row[0]).lower() for row in page.db.execute("SELECT name FROM projects")}
            free = name if name.lower() not in taken else next(n for i in range(2, 10**6) if (n := f"{name}-{i}").lower() not in taken)
            page.put("projects", {"name": free, "root": root, "backend": backend, "created": now().isoformat()})
            return ProjectRow(free, root, backend)

    def project_at(self, root: str) -> ProjectRow | None:
        if not self.exists:
            return None
        with self._read() as db:
            return self._project_at(db, root)

    def _project_at(self, db: sqlite3.Connection, root: str) -> ProjectRow | None:
        row = db.execute("SELECT name, root, backend FROM projects WHERE root = ?", (root,)).fetchone()
        return None if row is None else ProjectRow(*map(str, row))

    def lost_project(self, backend: str) -> ProjectRow | None:
        """Return the one project of that backend whose folder is no longer there, if there is just one."""
        if not self.exists:
            return None
        with self._read() as db:
            rows = [
                ProjectRow(*map(str, row)) for row in db.execute("SELECT name, root, backend FROM projects WHERE backend = ?", (backend,))
            ]
        lost = [row for row in rows if not Path(row.root).exists()]
        return lost[0] if len(lost) == 1 else None

    def relocate(self, project: ProjectRow, root: str, moved: Sequence[Workspace]) -> ProjectRow:
        """Write down that a project lies elsewhere now, with its workspaces."""
        with self._write() as page:
            created = page.db.execute("SELECT created FROM projects WHERE name = ?", (project.name,)).fetchone()
            row: Row = {"name": project.name, "root": root, "backend": project.backend, "created": str(created[0])}
            page.put("projects", row)
            for workspace in moved:
                phase = page.db.execute("SELECT phase FROM workspaces WHERE uid = ?", (workspace.uid,)).fetchone()
                page.put("workspaces", _row(workspace, str(phase[0])))
        return replace(project, root=root)

    # -- workspaces

    def save(self, workspace: Workspace, phase: str = "live") -> None:
        """Remember a workspace as it is now. Raises `Exists` when a deleted one comes back and its name was given away."""
        try:
            with self._write() as page:
                page.put("workspaces", _row(workspace, phase))
        except sqlite3.IntegrityError:
            raise Exists(
                f"A newer workspace is named '{workspace.name}', so the deleted one stays where it is.",
                f"Delete or merge the newer '{workspace.name}' first, then restore again.",
            ) from None

    def forget(self, uid: str) -> None:
        """Remember nothing of a workspace any more but what the log says of it."""
        with self._write() as page:
            page.drop("workspaces", {"uid": uid})
            page.drop("leases", {"workspace": uid})
            page.drop("restore_points", {"workspace": uid})
            page.drop("merges", {"source": uid})
            page.drop("merges", {"target": uid})

    def workspaces(self, project: str, phases: Sequence[str] = ("live",), **which: str) -> list[Workspace]:
        """Return the project's workspaces in order of creation, of one call in the order of its names (their rows come as each is begun); where
        `which` says what columns hold, only these. All are read once for each revision."""
        known = (project, *phases) if not which else ()
        marks, also = ",".join("?" * len(phases)), "".join(f" AND {column} = ?" for column in which)
        where = f"project = ? AND phase IN ({marks}){also}"
        with self._read() as db:
            revision = revision_of(db)
            if (found := self._listed.get(known)) and found[0] == revision:
                return [*found[1]]
            rows = db.execute(f"{_SELECT} WHERE {where} ORDER BY w.rowid", (project, *phases, *which.values())).fetchall()
        listed = sorted((_workspace(*map(str, row)) for row in rows), key=age_then_name)
        self._listed |= {known: (revision, listed)} if known else {}
        return [*listed]

    def children(self, workspace: Workspace) -> list[Workspace]:
        """Return the workspaces that are there and were made from one of that name, in order of creation."""
        where = "project = ? AND phase = 'live' AND json_extract(record, '$.parent') = ?"
        with self._read() as db:
            rows = db.execute(f"{_SELECT} WHERE {where} ORDER BY w.rowid", (workspace.project, workspace.id)).fetchall()
        return [_workspace(*map(str, row)) for row in rows]

    @property
    def has_leases(self) -> bool:
        """Whether anything here was ever leased for less than for ever, and is remembered."""
        with self._read() as db:
            return db.execute("SELECT 1 FROM leases WHERE seconds > 0 LIMIT 1").fetchone() is not None

    def names(self, project: str) -> set[str]:
        """Return the names that are not free, in small letters: of the workspaces that are there, or are being made or moved."""
        with self._read() as db:
            found = db.execute("SELECT name FROM workspaces WHERE project = ? AND phase <> 'deleted'", (project,)).fetchall()
        return {str(name).lower() for (name,) in found}

    def taken(self, project: str, names: Iterable[str]) -> set[str]:
        """Return which of these names workspaces have that are there, in whatever case."""
        asked = "SELECT 1 FROM workspaces WHERE project = ? AND phase = 'live' AND name = ?"
        with self._read() as db:
            return {name for name in names if db.execute(asked, (project, name)).fetchone()}

    @property
    def uids(self) -> set[str]:
        """All workspaces that are remembered, in whatever phase, of whatever project."""
        with self._read() as db:
            return all_uids(db)

    def everyone(self) -> list[Workspace]:
        """Return all workspaces that are remembered, in whatever phase, of whatever project."""
        with self._read() as db:
            rows = db.execute(_SELECT).fetchall()
        return [_workspace(*map(str, row)) for row in rows]

    def workspace(self, uid: str) -> Workspace | None:
        with self._read() as db:
            row = db.execute(f"{_SELECT} WHERE uid = ?", (uid,)).fetchone()
        return None if row is None else _workspace(*map(str, row))

    def above(self, workspace: Workspace) -> Workspace | None:
        """Return what a workspace was made from, there or restorable: of those that had the name one after the other, and were made before it,
        the one that is there, or was last."""
        with self._read() as db:
            row = db.execute(_ABOVE, (workspace.project, workspace.parent.removeprefix(f"{workspace.project}/"), workspace.uid)).fetchone()
        return None if row is None else _workspace(*map(str, row))

    def lease(self, uid: str, seconds: int, until: datetime, holder: str) -> None:
        """Let a workspace be leased until a moment; with no seconds, for ever. What else is known of it stays as it is."""
        with self._write() as page:
            page.put("leases", {"workspace": uid, "seconds": seconds, "until": until.isoformat(), "holder": holder})

    # -- merges and restore points

    def merges(self, uid: str, states: Mapping[int, str] | None = None) -> list[MergeRow]:
        """Return the merges that `uid` took part in and that still stand, oldest first; or will stand, when operations have these states."""
        return self.merges_of_each([uid], states)[uid]

    def merges_of_each(self, uids: Iterable[str], states: Mapping[int, str] | None = None) -> dict[str, list[MergeRow]]:
        """Return the same for each of several."""
        with self._read() as db:
            found = {uid: db.execute(_MERGES, (uid, uid)).fetchall() for uid in uids}
        return {
            uid: [
                MergeRow(str(source), str(target), str(snapshot), str(head), int(number))
                for number, state, source, target, snapshot, head in rows
                if (states or {}).get(int(number), state) == "done"
            ]
            for uid, rows in found.items()
        }

    def next_number(self, uid: str) -> int:
        with self._read() as db:
            return int(db.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM restore_points WHERE workspace = ?", (uid,)).fetchone()[0])

    def restore_points(self, uid: str) -> list[tuple[RestorePoint, int]]:
        """Return a workspace's restore points, newest first, each with the operation that made it."""
        with self._read() as db:
            rows = db.execute("SELECT record, operation FROM restore_points WHERE workspace = ? ORDER BY number DESC", (uid,)).fetchall()
        return [(RestorePoint.model_validate_json(record), int(operation)) for record, operation in rows]

    # -- operations

    def begin(self, project: str, operation: Operation, *saved: tuple[Workspace, str]) -> Operation:
        """Journal what is about to happen, durably, before anything does; and with it what the workspaces (with their phases) are meanwhile."""
        with self._write() as page:
            begun = self._put_begun(page, project, operation)
            for workspace, phase in saved:
                page.put("workspaces", _row(workspace, phase))
        return begun

    def _put_begun(self, page: Page, project: str, operation: Operation) -> Operation:
        number = int(page.db.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM operations").fetchone()[0])
        begun = operation.model_copy(update={"id": number})
        page.put("operations", _entry(project, begun))
        return begun

    def begin_making(
        self,
        project: str,
        operation: Operation,
        drafts: Sequence[Workspace],
        admit: Callable[[Sequence[Workspace]], None] | None,
        all_or_none: bool,
    ) -> tuple[Operation, list[Workspace]]:
        """Journal that workspaces are about to be made, and as one with it take their names. Returns also those whose name was free, in whatever
        case. `admit` is given what there is and is being made, and raises to let nothing happen; so does `Exists`, where it is `all_or_none`."""
        with self._write() as page:
            if admit:
                rows = page.db.execute(f"{_SELECT} WHERE project = ? AND phase IN ('creating', 'live')", (project,)).fetchall()
                admit([_workspace(*map(str, row)) for row in rows])
            free = [draft for draft in drafts if not page.db.execute(_TAKEN, (project, draft.name)).fetchone()]
            if all_or_none and len(free) < len(drafts):
                raise Exists("A name was taken meanwhile. Nothing was made.", "Choose another name.")
            begun = self._put_begun(page, project, operation)
            for draft in free:
                page.put("workspaces", _row(draft, "creating"))
        return begun, free

    def finish(
        self,
        operation: Operation,
        *saved: tuple[Workspace, str],
        merged: MergeRow | None = None,
        point: tuple[str, RestorePoint] | None = None,
        others: Sequence[Operation] = (),
        restated: Sequence[Workspace] = (),
    ) -> Operation:
        """Write an operation's end, and the workspaces (with their phases), the merge and the restore point that it brought, as one; and with it
        the states of others that it took back or made stand again, and what follows from that for workspaces which the caller need not hold."""
        with self._write() as page:
            project = page.db.execute("SELECT project FROM operations WHERE id = ?", (operation.id,)).fetchone()
            for each in (operation, *others):
                page.put("operations", _entry(str(project[0]), each))
            for workspace, phase in saved:
                page.put("workspaces", _row(workspace, phase))
            for workspace in restated:
                _restate(page, workspace)
            if merged is not None:
                sides: Row = {"source": merged.source, "target": merged.target}
                page.put("merges", {"operation": operation.id, **sides, "snapshot": merged.snapshot, "head": merged.head})
            if point is not None:
                uid, made = point
                page.put(
                    "restore_points",
                    {"workspace": uid, "number": made.number, "operation": operation.id, "record": made.model_dump_json()},
                )
        return operation

    def operations(self, project: str, limit: int = 50) -> list[Operation]:
        """Return the project's operations, newest first."""
        return self._operations("project = ?", project, limit=limit)

    def past(self, project: str, *verbs: str) -> Iterator[Operation]:
        """Yield the project's operations (of some verbs, when they are named), newest first; no more are read than are asked for."""
        last, marks = 1 << 62, ",".join("?" * len(verbs))
        which = "project = ? AND id < ?" + (f" AND json_extract(record, '$.verb') IN ({marks})" if verbs else "")
        while page := self._operations(which, project, last, *verbs, limit=_PAGE):
            yield from page
            last = page[-1].id

    def numbered(self, project: str, numbers: Iterable[int]) -> dict[int, Operation]:
        """Return the project's operations of these numbers."""
        asked = list(numbers)
        return {each.id: each for each in self._operations(f"project = ? AND id IN ({','.join('?' * len(asked))})", project, *asked)}

    def started(self, project: str) -> list[Operation]:
        """Return the project's operations that were not ended yet, newest first: by the index of these, however many others there are."""
        return self._operations("state = 'started' AND project = ?", project)

    def operations_of(self, project: str, call: str) -> list[Operation]:
        """Return all that one call did, newest first."""
        return self._operations("call = ? AND project = ?", call, project)

    def _operations(self, which: str, *values: str | int, limit: int = -1) -> list[Operation]:
        with self._read() as db:
            rows = db.execute(
                f"SELECT id, state, record FROM operations WHERE {which} ORDER BY id DESC LIMIT ?",  # noqa: S608 - words of ours
                (*values, limit),
            ).fetchall()
        return [_operation(int(number), str(state), str(record)) for number, state, record in rows]

    # -- requests

    def request(self, project: str, key: str) -> Request | None:
        """Return what is remembered of the call with that key."""
        with self._read() as db:
            row = db.execute("SELECT key, asked, call, answer FROM requests WHERE project = ? AND key = ?", (project, key)).fetchone()
        return None if row is None else Request(*map(str, row))

    def remember(self, project: str, request: Request) -> None:
        """Write a request down, with its answer when there is one."""
        with self._write() as page:
            told: Row = {"key": request.key, "asked": request.asked, "call": request.call, "answer": request.answer}
            page.put("requests", {"project": project, **told, "at": now().isoformat()})

    def drop_request(self, project: str, key: str) -> None:
        """Forget a request: its call failed and changed nothing, so it may be made again."""
        with self._write() as page:
            page.drop("requests", {"project": project, "key": key})

    def drop_requests(self, project: str, before: str) -> int:
        """Forget the requests made before a moment (ISO 8601), and return how many those were."""
        with self._write() as page:
            old = page.db.execute("SELECT key FROM requests WHERE project = ? AND at < ?", (project, before)).fetchall()
            for (key,) in old:
                page.drop("requests", {"project": project, "key": str(key)})
        return len(old)

    # -- verdicts

    def verdict(self, project: str, contents: str, command: str) -> Verdict | None:
        """Return what a command said of some contents."""
        with self._read() as db:
            where = "project = ? AND contents = ? AND command = ?"
            row = db.execute(f"SELECT record FROM verdicts WHERE {where}", (project, contents, command)).fetchone()  # noqa: S608
        return None if row is None else Verdict.model_validate_json(str(row[0]))

    def judged(self, project: str, contents: str, command: str, verdict: Verdict) -> None:
        """Write down what a command said of some contents."""
        key: Row = {"project": project, "contents": contents, "command": command}
        with self._write() as page:
            page.put("verdicts", {**key, "record": verdict.model_dump_json(), "at": now().isoformat()})

    def drop_verdicts(self, project: str, before: str) -> list[tuple[str, str]]:
        """Forget the verdicts of before a moment (ISO 8601), and return the contents and commands that they were of."""
        with self._write() as page:
            rows = page.db.execute("SELECT contents, command FROM verdicts WHERE project = ? AND at < ?", (project, before)).fetchall()
            old = [(str(contents), str(command)) for contents, command in rows]
            for contents, command in old:
                page.drop("verdicts", {"project": project, "contents": contents, "command": command})
        return old


def _row(workspace: Workspace, phase: str) -> Row:
    return {
        "uid": workspace.uid,
        "project": workspace.project,
        "name": workspace.name,
        "location": workspace.location,
        "origin": workspace.origin,
        "phase": phase,
        "record": workspace.model_dump_json(),
    }


def _restate(page: Page, workspace: Workspace) -> None:
    """Write a workspace's state and base down, if it is there; the rest of it as it is by now, for somebody else may have changed that."""
    row = page.db.execute(f"{_SELECT} WHERE uid = ? AND phase = 'live'", (workspace.uid,)).fetchone()
    if row is not None:
        told = {"state": workspace.state, "base": workspace.base, "unresolved": workspace.unresolved}
        page.put("workspaces", _row(_workspace(*map(str, row)).model_copy(update=told), "live"))


def _entry(project: str, operation: Operation) -> Row:
    told = {"call": operation.call, "state": operation.state, "record": operation.model_dump_json()}
    return {"id": operation.id, "project": project, **told}


@lru_cache(_REMEMBERED)
def _workspace(uid: str, origin: str, record: str, seconds: str, until: str, holder: str) -> Workspace:
    """Return what a row says. The same row says the same, and is mostly the one that the last call read."""
    found = Workspace.model_validate_json(record)
    ends = datetime.fromisoformat(until) if int(seconds) else None
    leased = {"lease_seconds": int(seconds), "lease_until": ends, "owner": holder or found.owner}
    return found.model_copy(update={"uid": uid, "origin": origin, **leased})


@lru_cache(_REMEMBERED)
def _operation(number: int, state: str, record: str) -> Operation:
    return Operation.model_validate_json(record).model_copy(update={"id": number, "state": state})
