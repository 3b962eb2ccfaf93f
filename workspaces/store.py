"""What is remembered: projects, workspaces, merges, restore points, requests, verdicts and the log of operations, in one SQLite file on which
every process agrees, and beside it a ledger from which that file can be made again; and what is known of each workspace once more, for when both are lost.

Every write is one transaction, written to the ledger first and then committed with `synchronous=EXTRA` (FULL does not sync the folder in which a
rollback journal was, and it could come back); none is ever open across a git call. A row of `workspaces` claims
its name: two processes that want the same one meet at the unique index, and the second gets `Exists`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from workspaces.errors import BackendFailed, Busy, Exists, NoSpace, NotAllowed, translated
from workspaces.ledger import Entry, Ledger, Line, Row
from workspaces.locks import PATIENCE, Locks
from workspaces.model import MAIN, Operation, RestorePoint, Verdict, Workspace, now
from workspaces.places import misplaced, refuse, set_aside
from workspaces.records import Records

SCHEMA_VERSION = 3
_SCHEMA = """
CREATE TABLE projects (name TEXT PRIMARY KEY COLLATE NOCASE, root TEXT NOT NULL UNIQUE, backend TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE workspaces (
    uid TEXT PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, location TEXT NOT NULL,
    origin TEXT NOT NULL, phase TEXT NOT NULL, record TEXT NOT NULL);
CREATE UNIQUE INDEX live_name ON workspaces (project, name) WHERE phase <> 'deleted';
CREATE TABLE merges (
    operation INTEGER PRIMARY KEY, source TEXT NOT NULL, target TEXT NOT NULL, snapshot TEXT NOT NULL, head TEXT NOT NULL);
CREATE TABLE restore_points (workspace TEXT NOT NULL, number INTEGER NOT NULL, operation INTEGER NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (workspace, number));
CREATE TABLE operations (
    id INTEGER PRIMARY KEY, project TEXT NOT NULL, call TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX calls ON operations (call);
CREATE INDEX unfinished ON operations (state) WHERE state = 'started';
CREATE TABLE leases (workspace TEXT PRIMARY KEY, seconds INTEGER NOT NULL, until TEXT NOT NULL, holder TEXT NOT NULL);
CREATE TABLE requests (project TEXT NOT NULL, key TEXT NOT NULL, asked TEXT NOT NULL, call TEXT NOT NULL, answer TEXT NOT NULL,
    at TEXT NOT NULL, PRIMARY KEY (project, key));
CREATE TABLE verdicts (project TEXT NOT NULL, contents TEXT NOT NULL, command TEXT NOT NULL, record TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (project, contents, command));
CREATE TABLE meta (revision INTEGER NOT NULL);
INSERT INTO meta VALUES (0);
"""
_KEYS = {
    "projects": ("name",),
    "workspaces": ("uid",),
    "merges": ("operation",),
    "restore_points": ("workspace", "number"),
    "operations": ("id",),
    "leases": ("workspace",),
    "requests": ("project", "key"),
    "verdicts": ("project", "contents", "command"),
}
"""The tables, and the columns that name a row in each."""
_SELECT = (
    "SELECT uid, origin, record, COALESCE(seconds, 0), COALESCE(until, ''), COALESCE(holder, '')"
    " FROM workspaces w LEFT JOIN leases ON leases.workspace = w.uid"
)
_ABOVE = _SELECT + (  # noqa: S608 - words of ours
    " WHERE project = ? AND name = ? AND phase <> 'creating'"
    " AND w.rowid < COALESCE((SELECT rowid FROM workspaces WHERE uid = ?), 1 << 62) ORDER BY phase = 'deleted', w.rowid DESC LIMIT 1"
)
_GLANCE = 2.0
"""Seconds that reading waits for whoever commits."""
_POINTS = 50
"""Restore points that a workspace's own record tells of, the newest: it is written anew each time."""
_LONG = 8 << 20
"""Bytes from which on the ledger is shortened to what it comes to."""


@dataclass(frozen=True)
class ProjectRow:
    name: str
    root: str
    backend: str


@dataclass(frozen=True)
class MergeRow:
    """`snapshot` of `source` is contained in `target` since `head` (a commit of the target, or nothing when none was made)."""

    source: str
    target: str
    snapshot: str
    head: str


@dataclass(frozen=True)
class Request:
    """A call that somebody named: what was `asked`, by which `call` it is served, and its `answer` (JSON), or nothing while there is none."""

    key: str
    asked: str
    call: str
    answer: str = ""


class _Page:
    """One transaction. What it puts and drops goes into the tables, and is noted for the ledger."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.entries: list[Entry] = []

    def put(self, table: str, row: Row) -> None:
        """Write a row, in the place of the one with the same key."""
        _apply(self.db, Entry(table, row))
        self.entries.append(Entry(table, row))

    def drop(self, table: str, row: Row) -> None:
        """Remove the rows that have these values."""
        _apply(self.db, Entry(table, row, gone=True))
        self.entries.append(Entry(table, row, gone=True))


def _apply(db: sqlite3.Connection, entry: Entry) -> None:
    names = list(entry.row)
    values = [entry.row[name] for name in names]
    if entry.gone:
        db.execute(f"DELETE FROM {entry.table} WHERE {' AND '.join(f'{name} = ?' for name in names)}", values)  # noqa: S608 - names of ours
        return
    keys = _KEYS[entry.table]
    marks, changed = ", ".join("?" * len(names)), ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    db.execute(
        f"INSERT INTO {entry.table} ({', '.join(names)}) VALUES ({marks}) ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}",  # noqa: S608
        values,
    )


class Store:
    """The remembered state in one `home`. Phases of a workspace row: creating, live, deleting, restoring, deleted."""

    def __init__(self, file: Path, durable: bool = True, patience: float = PATIENCE) -> None:
        self.file, self.durable, self.patience = file, durable, patience
        self.ledger = Ledger(file.with_name("ledger.jsonl"), durable)
        self.records = Records(file.with_name("records"))
        self._turns = Locks(file.with_name("locks"), patience)

    @property
    def exists(self) -> bool:
        """Whether anything was ever remembered here."""
        return os.path.lexists(self.file) or not self.ledger.is_empty or self.records.exist

    def _misplaced(self) -> list[tuple[Path, str]]:
        return list(misplaced((self.file, self.ledger.file), (self._turns.folder, self.records.folder)))

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

    def claim(self, workspace: Workspace) -> None:
        """Take the name for a workspace that is about to be made. Raises `Exists` when it is taken, in whatever case."""
        try:
            with self._write() as page:
                page.put("workspaces", _row(workspace, "creating"))
        except sqlite3.IntegrityError:
            raise Exists(
                f"'{workspace.name}' is taken in {workspace.project}. Nothing was made.", "Choose another name, or leave it out."
            ) from None

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

    def workspaces(self, project: str, phases: Sequence[str] = ("live",)) -> list[Workspace]:
        """Return the project's workspaces in order of creation."""
        marks = ",".join("?" * len(phases))
        with self._read() as db:
            rows = db.execute(f"{_SELECT} WHERE project = ? AND phase IN ({marks}) ORDER BY w.rowid", (project, *phases)).fetchall()
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
        with self._read() as db:
            rows = db.execute(
                "SELECT o.id, o.state, source, target, snapshot, head FROM merges m JOIN operations o ON o.id = m.operation"
                " WHERE (source = ? OR target = ?) ORDER BY m.operation",
                (uid, uid),
            ).fetchall()
        return [MergeRow(*map(str, row[2:])) for row in rows if (states or {}).get(int(row[0]), row[1]) == "done"]

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
            number = int(page.db.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM operations").fetchone()[0])
            begun = operation.model_copy(update={"id": number})
            page.put("operations", _entry(project, begun))
            for workspace, phase in saved:
                page.put("workspaces", _row(workspace, phase))
        return begun

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

    def started(self, project: str) -> list[Operation]:
        """Return the project's operations that were not ended yet, newest first: by the index of these, however many others there are."""
        return self._operations("state = 'started' AND project = ?", project)

    def operations_of(self, project: str, call: str) -> list[Operation]:
        """Return all that one call did, newest first."""
        return self._operations("call = ? AND project = ?", call, project)

    def _operations(self, which: str, *values: str, limit: int = -1) -> list[Operation]:
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

    # -- the whole

    def revision(self) -> int:
        """Return a number that grows with everything that is written here."""
        with self._read() as db:
            return _revision(db)

    def flaws(self) -> list[str]:
        """Return what is wrong with the file, or between it and its ledger; nothing when both are whole and say the same."""
        try:
            with self._turn(), self._opened() as db:
                if (said := str(db.execute("PRAGMA quick_check(1)").fetchone()[0])) != "ok":
                    return [said]
                if (version := _version(db)) != SCHEMA_VERSION:
                    return [f"its schema is {version}, this mcp-workspaces knows {SCHEMA_VERSION}"]
                if not self.ledger.is_whole:
                    return [f"not all of its ledger {self.ledger.file.name} can be read"]
                if self.ledger.last > _revision(db) + 1:  # one more may have been noted and never committed
                    return [f"it is an older copy, at revision {_revision(db)}: its ledger is at {self.ledger.last}"]
                told = set(map(repr, _rows(db)))
                with closing(sqlite3.connect(":memory:")) as again:
                    _create(again)
                    self._replay(again, _revision(db))
                    differ = told ^ set(map(repr, _rows(again)))
        except BackendFailed as error:
            return [error.message]
        return [f"{len(differ)} rows are not what the ledger {self.ledger.file.name} says"] if differ else []

    def repair(self) -> str:
        """Let the file and its ledger say the same again, and return what was done. A whole file has the last word, unless it is an older copy."""
        aside = [f"set {place.name} aside as {set_aside(place).name}" for place, _ in self._misplaced()]
        return "; ".join([*aside, *([self._agree()] if not aside or self.flaws() else [])])

    def _agree(self) -> str:
        if self._is_sound():
            with self._turn(), self._opened() as db:
                self.ledger.rewrite(_revision(db), list(_rows(db)))
            return f"made {self.ledger.file.name} again from {self.file.name}"
        whole, lost = self.ledger.is_whole, self.ledger.is_empty
        aside = self._rebuild()
        which = "what is kept of each workspace" if lost else "its ledger" if whole else "those lines of its ledger that can be read"
        return f"made {self.file.name} again from {which}" + (f"; what was there is {aside.name}" if aside else "")

    def _is_sound(self) -> bool:
        """Return whether the file is whole, of this schema, and no older than its ledger."""
        try:
            with self._turn(), self._opened() as db:
                whole = _version(db) == SCHEMA_VERSION and str(db.execute("PRAGMA quick_check(1)").fetchone()[0]) == "ok"
                return whole and self.ledger.last <= _revision(db) + 1
        except BackendFailed:
            return False

    def _rebuild(self) -> Path | None:
        """Make the file again from its ledger. What was there is set aside, and returned."""
        with self._turn():
            if self.ledger.is_empty and not self.records.exist:
                raise BackendFailed(
                    f"{self.ledger.file} is not there, so {self.file.name} cannot be made again. Nothing was changed.",
                    "Put back a copy of one of the two.",
                )
            aside = set_aside(self.file) if self.file.exists() else None
            self.file.with_name(f"{self.file.name}-journal").unlink(missing_ok=True)
            with self._opened() as db:
                self._make_current(db)
        return aside

    def shorten(self) -> None:
        """Reduce a long ledger to what it comes to."""
        if self.ledger.size > _LONG:
            with self._turn(), self._opened() as db:
                self.ledger.rewrite(_revision(db), list(_rows(db)))

    # -- the file

    @contextmanager
    def _turn(self) -> Generator[None]:
        refuse(self._misplaced())
        with self._turns.change("store"):
            yield

    @contextmanager
    def _write(self) -> Generator[_Page]:
        with self._turn(), self._opened() as db:
            self._make_current(db)
            db.execute("BEGIN IMMEDIATE")
            page = _Page(db)
            try:
                yield page
                if page.entries:
                    self._note(page)
            except BaseException:
                if db.in_transaction:  # SQLite takes back by itself what found no room
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _note(self, page: _Page) -> None:
        """Write a transaction to the ledger; all that is remembered, when the ledger was lost."""
        page.db.execute("UPDATE meta SET revision = revision + 1")
        for uid in _uids(page) if self.records.exist else _all_uids(page.db):
            self.records.write(uid, _revision(page.db), list(_known_of(page.db, uid)))
        self.ledger.append(_revision(page.db), list(_rows(page.db)) if self.ledger.is_empty else page.entries)

    @contextmanager
    def _read(self) -> Generator[sqlite3.Connection]:
        with self._opened(writes=False) as db:
            db.execute(f"PRAGMA busy_timeout = {int(min(_GLANCE, self.patience) * 1000)}")
            try:
                current = _version(db) == SCHEMA_VERSION
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or self.ledger.is_empty:
                    raise
                # Whoever commits was stopped at it. What it was about to say is in the ledger, with all that came before.
                with closing(sqlite3.connect(":memory:", isolation_level=None)) as told:
                    _create(told)
                    self._replay(told)
                    yield told
                return
            if current:
                db.execute(f"PRAGMA busy_timeout = {int(self.patience * 1000)}")
                yield db
                return
        with self._turn(), self._opened() as db:
            self._make_current(db)
        with self._opened(writes=False) as db:
            yield db

    @contextmanager
    def _opened(self, writes: bool = True) -> Generator[sqlite3.Connection]:
        refuse(misplaced([self.file]))
        try:
            db = sqlite3.connect(self.file, timeout=self.patience, isolation_level=None)
        except sqlite3.Error as error:
            raise NotAllowed(f"{self.file} cannot be opened: {error}.", "Is the repository still there, and is it yours?") from error
        try:
            if writes:
                db.execute(f"PRAGMA synchronous = {'EXTRA' if self.durable else 'OFF'}")
            yield db
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise self._refusal(error) from error
        finally:
            db.close()

    def _refusal(self, error: sqlite3.DatabaseError) -> Exception:
        said = str(error)
        if "full" in said:
            return NoSpace(f"The disk is full: {self.file} cannot be written.", "Free some space and call again.")
        if "locked" in said:
            return Busy(f"{self.file} is being written by another process, which did not end in time.", "Call again in a moment.")
        try:
            self.file.open("rb").close()
        except OSError as refused:  # SQLite does not tell why it could not open it
            return translated(refused)
        if "readonly" in said or "unable to open" in said:
            return NotAllowed(f"{self.file} may not be written.", "Run as the owner of the repository, or change the permissions.")
        if isinstance(error, sqlite3.OperationalError):
            return BackendFailed(f"The store {self.file} answered: {said}.", "workspaces doctor looks closer.")
        return BackendFailed(
            f"The store {self.file} is damaged: {said}. The workspaces' files are untouched.",
            f"workspaces doctor --repair makes it again from {self.ledger.file.name}.",
        )

    def _make_current(self, db: sqlite3.Connection) -> None:
        """Bring a new, lost or older file to this schema: from its ledger, or from its own rows where there is none yet. Others wait."""
        version = _version(db)
        if version == SCHEMA_VERSION:
            return
        if version > SCHEMA_VERSION:
            raise BackendFailed(
                f"The store {self.file} was written by a newer mcp-workspaces (schema {version}, this one knows {SCHEMA_VERSION}).",
                f"Upgrade mcp-workspaces; or workspaces doctor --repair makes it again from {self.ledger.file.name}.",
            )
        db.execute("BEGIN IMMEDIATE")
        try:
            old = list(_rows(db)) if version else []
            _create(db)
            for entry in old:
                _apply(db, entry)
            if not version:
                self._replay(db)
            if self.ledger.is_empty and (version or _revision(db)):
                self.ledger.append(_revision(db), list(_rows(db)))
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _replay(self, db: sqlite3.Connection, last: int | None = None) -> None:
        """Do again what the ledger says, up to the `last` revision; where it was lost, what is known of each workspace."""
        if self.ledger.is_empty:
            _gather(db, self.records.read())
        for line in self.ledger.read():
            if last is None or line.revision <= last:
                _redo(db, line)


def _redo(db: sqlite3.Connection, line: Line) -> None:
    """Do again what a line says. What a newer version wrote and this one has no place for is left out."""
    for entry in line.entries:
        if (columns := _columns(db, entry.table)) and entry.row.keys() & columns:
            _apply(db, replace(entry, row={name: value for name, value in entry.row.items() if name in columns}))
    db.execute("UPDATE meta SET revision = ?", (line.revision,))


def _gather(db: sqlite3.Connection, lines: Iterable[Line]) -> None:
    """Take over what is known of each workspace. Two that claim the same name cannot be: the one that was made later is left out."""
    last = _revision(db)
    for line in lines:
        last = max(last, line.revision)
        with suppress(sqlite3.IntegrityError):
            _redo(db, line)
    db.execute("UPDATE meta SET revision = ?", (last,))


def _uids(page: _Page) -> set[str]:
    """Return the workspaces of which a transaction says something."""
    columns = {"workspaces": ("uid",), "leases": ("workspace",), "restore_points": ("workspace",), "merges": ("source", "target")}
    named = {str(entry.row[name]) for entry in page.entries for name in columns.get(entry.table, ()) if name in entry.row}
    ended = [entry.row["id"] for entry in page.entries if entry.table == "operations" and entry.row["state"] != "started"]
    for number in ended:
        named.update(*(map(str, row) for row in page.db.execute("SELECT source, target FROM merges WHERE operation = ?", (number,))))
    return named


def _all_uids(db: sqlite3.Connection) -> set[str]:
    return {str(row[0]) for row in db.execute("SELECT uid FROM workspaces")}


def _known_of(db: sqlite3.Connection, uid: str) -> Iterable[Entry]:
    """Return what is remembered of one workspace: its row, its project's, its lease, its merges (of main, those are the others') and its last
    restore points, and the operations by which these came. Nothing when it was forgotten."""
    found = db.execute("SELECT project, name FROM workspaces WHERE uid = ?", (uid,)).fetchone()
    if found is None:
        return
    merges = _selected(db, "merges", "WHERE source = ? OR target = ?", uid, uid) if found[1] != MAIN else []
    points = _selected(db, "restore_points", "WHERE workspace = ? ORDER BY number DESC LIMIT ?", uid, _POINTS)
    yield from _selected(db, "projects", "WHERE name = ?", str(found[0]))
    yield from _selected(db, "workspaces", "WHERE uid = ?", uid, columns="rowid, *")
    yield from _selected(db, "leases", "WHERE workspace = ?", uid)
    for number in sorted({int(each.row["operation"]) for each in (*merges, *points)}):
        yield from _selected(db, "operations", "WHERE id = ?", number)
    yield from (*merges, *reversed(points))


def _revision(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT revision FROM meta").fetchone()[0])


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _create(db: sqlite3.Connection) -> None:
    """Make the tables anew, empty."""
    for table in (*_KEYS, "meta"):
        db.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")} if table in _KEYS else set()


def _rows(db: sqlite3.Connection) -> Iterable[Entry]:
    """Return all that is remembered, in the order in which it came."""
    there = {str(row[0]) for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in (table for table in _KEYS if table in there):
        yield from _selected(db, table, "ORDER BY rowid")


def _selected(db: sqlite3.Connection, table: str, which: str, *values: str | int, columns: str = "*") -> list[Entry]:
    cursor = db.execute(f"SELECT {columns} FROM {table} {which}", values)  # noqa: S608 - names of ours
    names = [str(column[0]) for column in cursor.description]
    return [Entry(table, dict(zip(names, row, strict=True))) for row in cursor]


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


def _restate(page: _Page, workspace: Workspace) -> None:
    """Write a workspace's state and base down, if it is there; the rest of it as it is by now, for somebody else may have changed that."""
    row = page.db.execute(f"{_SELECT} WHERE uid = ? AND phase = 'live'", (workspace.uid,)).fetchone()
    if row is not None:
        told = {"state": workspace.state, "base": workspace.base, "unresolved": workspace.unresolved}
        page.put("workspaces", _row(_workspace(*map(str, row)).model_copy(update=told), "live"))


def _entry(project: str, operation: Operation) -> Row:
    told = {"call": operation.call, "state": operation.state, "record": operation.model_dump_json()}
    return {"id": operation.id, "project": project, **told}


def _workspace(uid: str, origin: str, record: str, seconds: str, until: str, holder: str) -> Workspace:
    found = Workspace.model_validate_json(record).model_copy(update={"uid": uid, "origin": origin, "lease_seconds": int(seconds)})
    ends = datetime.fromisoformat(until) if int(seconds) else None
    return found.model_copy(update={"lease_until": ends, "owner": holder or found.owner})


def _operation(number: int, state: str, record: str) -> Operation:
    return Operation.model_validate_json(record).model_copy(update={"id": number, "state": state})
