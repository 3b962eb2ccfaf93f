"""What is remembered: projects, workspaces, merges, restore points and the log of operations, in one SQLite file on which every process agrees.

Every write is one `BEGIN IMMEDIATE` transaction with `synchronous=FULL`, and none is ever open across a git call. A row of `workspaces` claims
its name: two processes that want the same one meet at the unique index, and the second gets `Exists`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from workspaces.errors import BackendFailed, Exists, NoSpace, NotAllowed
from workspaces.model import Operation, RestorePoint, Workspace, now

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE projects (name TEXT PRIMARY KEY COLLATE NOCASE, root TEXT NOT NULL UNIQUE, backend TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE workspaces (
    uid TEXT PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, location TEXT NOT NULL,
    origin TEXT NOT NULL, phase TEXT NOT NULL, record TEXT NOT NULL);
CREATE UNIQUE INDEX live_name ON workspaces (project, name) WHERE phase <> 'deleted';
CREATE TABLE merges (
    operation INTEGER NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL, snapshot TEXT NOT NULL, head TEXT NOT NULL);
CREATE TABLE restore_points (workspace TEXT NOT NULL, number INTEGER NOT NULL, operation INTEGER NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (workspace, number));
CREATE TABLE meta (revision INTEGER NOT NULL);
INSERT INTO meta VALUES (0);
CREATE TABLE operations (id INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, state TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX unfinished ON operations (state) WHERE state = 'started';
"""


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


class Store:
    """The remembered state in one `home`. Phases of a workspace row: creating, live, deleting, restoring, deleted."""

    def __init__(self, file: Path) -> None:
        self.file = file

    # -- projects

    def add_project(self, name: str, root: str, backend: str) -> ProjectRow:
        """Register the project at `root`, under `name` or the first free `name-2`, `name-3` …; one already there is returned as it is."""
        with self._write() as db:
            if (row := self._project_at(db, root)) is not None:
                return row
            taken = {str(row[0]).lower() for row in db.execute("SELECT name FROM projects")}
            free = name if name.lower() not in taken else next(n for i in range(2, 10**6) if (n := f"{name}-{i}").lower() not in taken)
            db.execute("INSERT INTO projects VALUES (?, ?, ?, ?)", (free, root, backend, now().isoformat()))
            return ProjectRow(free, root, backend)

    def project_at(self, root: str) -> ProjectRow | None:
        if not self.file.exists():
            return None
        with self._read() as db:
            return self._project_at(db, root)

    def _project_at(self, db: sqlite3.Connection, root: str) -> ProjectRow | None:
        row = db.execute("SELECT name, root, backend FROM projects WHERE root = ?", (root,)).fetchone()
        return None if row is None else ProjectRow(*map(str, row))

    def lost_project(self, backend: str) -> ProjectRow | None:
        """Return the one project of that backend whose folder is no longer there, if there is just one."""
        if not self.file.exists():
            return None
        with self._read() as db:
            rows = [
                ProjectRow(*map(str, row)) for row in db.execute("SELECT name, root, backend FROM projects WHERE backend = ?", (backend,))
            ]
        lost = [row for row in rows if not Path(row.root).exists()]
        return lost[0] if len(lost) == 1 else None

    def relocate(self, project: ProjectRow, root: str, moved: Sequence[Workspace]) -> ProjectRow:
        """Write down that a project lies elsewhere now, with its workspaces."""
        with self._write() as db:
            db.execute("UPDATE projects SET root = ? WHERE name = ?", (root, project.name))
            for workspace in moved:
                db.execute(
                    "UPDATE workspaces SET location = ?, record = ? WHERE uid = ?",
                    (workspace.location, workspace.model_dump_json(), workspace.uid),
                )
        return replace(project, root=root)

    # -- workspaces

    def claim(self, workspace: Workspace) -> None:
        """Take the name for a workspace that is about to be made. Raises `Exists` when it is taken, in whatever case."""
        try:
            with self._write() as db:
                db.execute(
                    "INSERT INTO workspaces VALUES (?, ?, ?, ?, ?, 'creating', ?)",
                    (workspace.uid, workspace.project, workspace.name, workspace.location, workspace.origin, workspace.model_dump_json()),
                )
        except sqlite3.IntegrityError:
            raise Exists(
                f"'{workspace.name}' is taken in {workspace.project}. Nothing was made.", "Choose another name, or leave it out."
            ) from None

    def save(self, workspace: Workspace, phase: str = "live") -> None:
        """Remember a workspace as it is now. Raises `Exists` when a deleted one comes back and its name was given away."""
        try:
            with self._write() as db:
                self._save(db, workspace, phase)
        except sqlite3.IntegrityError:
            raise Exists(
                f"A newer workspace is named '{workspace.name}', so the deleted one stays where it is.",
                f"Delete or merge the newer '{workspace.name}' first, then restore again.",
            ) from None

    def _save(self, db: sqlite3.Connection, workspace: Workspace, phase: str) -> None:
        db.execute(
            "UPDATE workspaces SET phase = ?, location = ?, origin = ?, record = ? WHERE uid = ?",
            (phase, workspace.location, workspace.origin, workspace.model_dump_json(), workspace.uid),
        )

    def forget(self, uid: str) -> None:
        with self._write() as db:
            db.execute("DELETE FROM workspaces WHERE uid = ?", (uid,))
            db.execute("DELETE FROM restore_points WHERE workspace = ?", (uid,))
            db.execute("DELETE FROM merges WHERE source = ? OR target = ?", (uid, uid))

    def workspaces(self, project: str, phases: Sequence[str] = ("live",)) -> list[Workspace]:
        """Return the project's workspaces in order of creation."""
        marks = ",".join("?" * len(phases))
        with self._read() as db:
            rows = db.execute(
                f"SELECT uid, origin, record FROM workspaces WHERE project = ? AND phase IN ({marks}) ORDER BY rowid",  # noqa: S608 - only marks
                (project, *phases),
            ).fetchall()
        return [_workspace(*map(str, row)) for row in rows]

    def workspace(self, uid: str) -> Workspace | None:
        with self._read() as db:
            row = db.execute("SELECT uid, origin, record FROM workspaces WHERE uid = ?", (uid,)).fetchone()
        return None if row is None else _workspace(*map(str, row))

    # -- merges and restore points

    def merges(self, uid: str) -> list[MergeRow]:
        """Return the merges that `uid` took part in and that still stand, oldest first."""
        with self._read() as db:
            rows = db.execute(
                "SELECT source, target, snapshot, head FROM merges m JOIN operations o ON o.id = m.operation"
                " WHERE (source = ? OR target = ?) AND o.state = 'done' ORDER BY m.rowid",
                (uid, uid),
            ).fetchall()
        return [MergeRow(*map(str, row)) for row in rows]

    def next_number(self, uid: str) -> int:
        with self._read() as db:
            return int(db.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM restore_points WHERE workspace = ?", (uid,)).fetchone()[0])

    def restore_points(self, uid: str) -> list[tuple[RestorePoint, int]]:
        """Return a workspace's restore points, newest first, each with the operation that made it."""
        with self._read() as db:
            rows = db.execute("SELECT record, operation FROM restore_points WHERE workspace = ? ORDER BY number DESC", (uid,)).fetchall()
        return [(RestorePoint.model_validate_json(record), int(operation)) for record, operation in rows]

    # -- operations

    def begin(self, project: str, operation: Operation) -> Operation:
        """Journal what is about to happen, durably, before anything does."""
        with self._write() as db:
            cursor = db.execute(
                "INSERT INTO operations (project, state, record) VALUES (?, 'started', ?)", (project, operation.model_dump_json())
            )
            return operation.model_copy(update={"id": int(cursor.lastrowid or 0)})

    def finish(
        self,
        operation: Operation,
        *saved: tuple[Workspace, str],
        merged: MergeRow | None = None,
        point: tuple[str, RestorePoint] | None = None,
    ) -> Operation:
        """Write an operation's end, and the workspaces (with their phases), the merge and the restore point that it brought, as one."""
        with self._write() as db:
            db.execute(
                "UPDATE operations SET state = ?, record = ? WHERE id = ?", (operation.state, operation.model_dump_json(), operation.id)
            )
            for workspace, phase in saved:
                self._save(db, workspace, phase)
            if merged is not None:
                db.execute(
                    "INSERT INTO merges VALUES (?, ?, ?, ?, ?)", (operation.id, merged.source, merged.target, merged.snapshot, merged.head)
                )
            if point is not None:
                uid, made = point
                db.execute("INSERT INTO restore_points VALUES (?, ?, ?, ?)", (uid, made.number, operation.id, made.model_dump_json()))
        return operation

    def operations(self, project: str, limit: int = 50, state: str = "") -> list[Operation]:
        """Return the project's operations, newest first."""
        with self._read() as db:
            rows = db.execute(
                "SELECT id, state, record FROM operations WHERE project = ? AND (? = '' OR state = ?) ORDER BY id DESC LIMIT ?",
                (project, state, state, limit),
            ).fetchall()
        return [_operation(int(number), str(kind), str(record)) for number, kind, record in rows]

    def revision(self) -> int:
        """Return a number that grows with everything that is written here."""
        with self._read() as db:
            return int(db.execute("SELECT revision FROM meta").fetchone()[0])

    def check(self) -> str:
        """Return `ok`, or what SQLite says is wrong with the file."""
        with self._read() as db:
            return str(db.execute("PRAGMA quick_check(1)").fetchone()[0])

    # -- the file

    @contextmanager
    def _write(self) -> Generator[sqlite3.Connection]:
        with self._read() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("UPDATE meta SET revision = revision + 1")
            except BaseException:
                if db.in_transaction:  # SQLite takes back by itself what found no room
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _read(self) -> Generator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self.file, timeout=30, isolation_level=None)
        except sqlite3.Error as error:
            raise NotAllowed(f"{self.file} cannot be opened: {error}.", "Is the repository still there, and is it yours?") from error
        try:
            db.execute("PRAGMA synchronous = FULL")
            _migrate(db, self.file)
            yield db
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise NoSpace(f"The disk is full: {self.file} cannot be written.", "Free some space and call again.") from error
            if "readonly" in str(error) or "unable to open" in str(error):
                raise NotAllowed(
                    f"{self.file} may not be written.", "Run as the owner of the repository, or change the permissions."
                ) from error
            raise BackendFailed(f"The store {self.file} answered: {error}.", "workspaces doctor looks closer.") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise BackendFailed(
                f"The store {self.file} is damaged: {error}. The workspaces' files are untouched.", "workspaces doctor looks closer."
            ) from error
        finally:
            db.close()


def _migrate(db: sqlite3.Connection, file: Path) -> None:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version == SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        raise BackendFailed(
            f"The store {file} was written by a newer mcp-workspaces (schema {version}, this one knows {SCHEMA_VERSION}).",
            "Upgrade mcp-workspaces.",
        )
    db.execute("BEGIN IMMEDIATE")
    if int(db.execute("PRAGMA user_version").fetchone()[0]) == 0:
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")


def _workspace(uid: str, origin: str, record: str) -> Workspace:
    return Workspace.model_validate_json(record).model_copy(update={"uid": uid, "origin": origin})


def _operation(number: int, state: str, record: str) -> Operation:
    return Operation.model_validate_json(record).model_copy(update={"id": number, "state": state})
