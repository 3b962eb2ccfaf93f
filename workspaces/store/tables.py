"""The tables of the store, and what a transaction on them is: rows put and dropped, each noted for the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from workspaces.model import MAIN
from workspaces.store.ledger import Entry, Line, Row

SCHEMA_VERSION = 4
_SCHEMA = """
CREATE TABLE projects (name TEXT PRIMARY KEY COLLATE NOCASE, root TEXT NOT NULL UNIQUE, backend TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE workspaces (
    uid TEXT PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, location TEXT NOT NULL,
    origin TEXT NOT NULL, phase TEXT NOT NULL, record TEXT NOT NULL);
CREATE UNIQUE INDEX live_name ON workspaces (project, name) WHERE phase <> 'deleted';
CREATE INDEX phases ON workspaces (project, phase, name);
CREATE INDEX places ON workspaces (location, project, phase);
CREATE INDEX parents ON workspaces (project, json_extract(record, '$.parent')) WHERE phase = 'live';
CREATE TABLE merges (
    operation INTEGER PRIMARY KEY, source TEXT NOT NULL, target TEXT NOT NULL, snapshot TEXT NOT NULL, head TEXT NOT NULL);
CREATE INDEX merged_from ON merges (source);
CREATE INDEX merged_into ON merges (target);
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
_POINTS = 50
"""Restore points that a workspace's own record tells of, the newest: it is written anew each time."""


class Page:
    """One transaction. What it puts and drops goes into the tables, and is noted for the ledger."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.entries: list[Entry] = []

    def put(self, table: str, row: Row) -> None:
        """Write a row, in the place of the one with the same key."""
        apply(self.db, Entry(table, row))
        self.entries.append(Entry(table, row))

    def drop(self, table: str, row: Row) -> None:
        """Remove the rows that have these values."""
        apply(self.db, Entry(table, row, gone=True))
        self.entries.append(Entry(table, row, gone=True))


def apply(db: sqlite3.Connection, entry: Entry) -> None:
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


_ENDED = """
UPDATE operations SET state = 'done', record = json_set(record, '$.state', 'done')
WHERE state = 'started' AND json_extract(record, '$.verb') IN ('clone', 'delete') AND EXISTS (
    SELECT 1 FROM json_each(operations.record, '$.outcome.uids') AS moved JOIN workspaces ON uid = moved.value
    WHERE phase NOT IN ('creating', 'deleting'))
"""
"""A clone's and a delete's end is written as one with what the workspaces are then: so where they are that, it ended."""


def redo(db: sqlite3.Connection, line: Line) -> None:
    """Do again what a line says. What a newer version wrote and this one has no place for is left out."""
    for entry in line.entries:
        if (columns := _columns(db, entry.table)) and entry.row.keys() & columns:
            apply(db, replace(entry, row={name: value for name, value in entry.row.items() if name in columns}))
    db.execute("UPDATE meta SET revision = ?", (line.revision,))


def gather(db: sqlite3.Connection, lines: Iterable[Line]) -> None:
    """Take over what is known of each workspace. Two that claim the same name cannot be: the one that was made later is left out."""
    last = revision_of(db)
    for line in lines:
        last = max(last, line.revision)
        with suppress(sqlite3.IntegrityError):
            redo(db, line)
    db.execute("UPDATE meta SET revision = ?", (last,))
    db.execute(_ENDED)


def named_in(page: Page) -> set[str]:
    """Return the workspaces of which a transaction says something."""
    columns = {"workspaces": ("uid",), "leases": ("workspace",), "restore_points": ("workspace",), "merges": ("source", "target")}
    named = {str(entry.row[name]) for entry in page.entries for name in columns.get(entry.table, ()) if name in entry.row}
    ended = [entry.row["id"] for entry in page.entries if entry.table == "operations" and entry.row["state"] != "started"]
    for number in ended:
        named.update(*(map(str, row) for row in page.db.execute("SELECT source, target FROM merges WHERE operation = ?", (number,))))
    return named


def all_uids(db: sqlite3.Connection) -> set[str]:
    return {str(row[0]) for row in db.execute("SELECT uid FROM workspaces")}


def known_of(db: sqlite3.Connection, uid: str) -> Iterable[Entry]:
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


def revision_of(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT revision FROM meta").fetchone()[0])


def version_of(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def create(db: sqlite3.Connection, revision: int = 0) -> None:
    """Make the tables anew, empty, for rows of a revision."""
    for table in (*_KEYS, "meta"):
        db.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    db.execute("INSERT INTO meta VALUES (?)", (revision,))
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")} if table in _KEYS else set()


def rows_of(db: sqlite3.Connection) -> Iterable[Entry]:
    """Return all that is remembered, in the order in which it came."""
    there = {str(row[0]) for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in (table for table in _KEYS if table in there):
        yield from _selected(db, table, "ORDER BY rowid")


def _selected(db: sqlite3.Connection, table: str, which: str, *values: str | int, columns: str = "*") -> list[Entry]:
    cursor = db.execute(f"SELECT {columns} FROM {table} {which}", values)  # noqa: S608 - names of ours
    names = [str(column[0]) for column in cursor.description]
    return [Entry(table, dict(zip(names, row, strict=True))) for row in cursor]
