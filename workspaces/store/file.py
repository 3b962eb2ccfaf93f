"""The SQLite file on which every process agrees, and its ledger beside it: opened, written, and made again when it was lost, damaged or older.

Every write is one transaction, written to the ledger first and then committed with `synchronous=EXTRA` (FULL does not sync the folder in which a
rollback journal was, and it could come back); none is ever open across a git call.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from workspaces.errors import BackendFailed, Busy, NoSpace, NotAllowed, translated
from workspaces.locks import PATIENCE, Locks
from workspaces.places import misplaced, refuse, set_aside
from workspaces.store.ledger import Ledger
from workspaces.store.records import Records
from workspaces.store.tables import (
    SCHEMA_VERSION,
    Page,
    all_uids,
    apply,
    create,
    gather,
    known_of,
    named_in,
    redo,
    revision_of,
    rows_of,
    version_of,
)

_GLANCE = 2.0
"""Seconds that reading waits for whoever commits."""
_LONG = 8 << 20
"""Bytes from which on the ledger is shortened to what it comes to."""


class StoreFile:
    """One file, its ledger, and what is known of each workspace once more."""

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

    def revision(self) -> int:
        """Return a number that grows with everything that is written here."""
        with self._read() as db:
            return revision_of(db)

    def flaws(self) -> list[str]:
        """Return what is wrong with the file, or between it and its ledger; nothing when both are whole and say the same."""
        try:
            with self._turn(), self._opened() as db:
                if (said := str(db.execute("PRAGMA quick_check(1)").fetchone()[0])) != "ok":
                    return [said]
                if (version := version_of(db)) != SCHEMA_VERSION:
                    return [f"its schema is {version}, this mcp-workspaces knows {SCHEMA_VERSION}"]
                if not self.ledger.is_whole:
                    return [f"not all of its ledger {self.ledger.file.name} can be read"]
                if self.ledger.last > revision_of(db) + 1:  # one more may have been noted and never committed
                    return [f"it is an older copy, at revision {revision_of(db)}: its ledger is at {self.ledger.last}"]
                told = set(map(repr, rows_of(db)))
                with closing(sqlite3.connect(":memory:")) as again:
                    create(again)
                    self._replay(again, revision_of(db))
                    differ = told ^ set(map(repr, rows_of(again)))
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
                self.ledger.rewrite(revision_of(db), list(rows_of(db)))
            return f"made {self.ledger.file.name} again from {self.file.name}"
        whole, lost = self.ledger.is_whole, self.ledger.is_empty
        aside = self._rebuild()
        which = "what is kept of each workspace" if lost else "its ledger" if whole else "those lines of its ledger that can be read"
        return f"made {self.file.name} again from {which}" + (f"; what was there is {aside.name}" if aside else "")

    def _is_sound(self) -> bool:
        """Return whether the file is whole, of this schema, and no older than its ledger."""
        try:
            with self._turn(), self._opened() as db:
                whole = version_of(db) == SCHEMA_VERSION and str(db.execute("PRAGMA quick_check(1)").fetchone()[0]) == "ok"
                return whole and self.ledger.last <= revision_of(db) + 1
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
                self.ledger.rewrite(revision_of(db), list(rows_of(db)))

    # -- the file

    @contextmanager
    def _turn(self) -> Generator[None]:
        refuse(self._misplaced())
        with self._turns.change("store"):
            yield

    @contextmanager
    def _write(self) -> Generator[Page]:
        with self._turn(), self._opened() as db:
            self._make_current(db)
            db.execute("BEGIN IMMEDIATE")
            page = Page(db)
            try:
                yield page
                if page.entries:
                    self._note(page)
            except BaseException:
                if db.in_transaction:  # SQLite takes back by itself what found no room
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _note(self, page: Page) -> None:
        """Write a transaction to the ledger; all that is remembered, when the ledger was lost."""
        page.db.execute("UPDATE meta SET revision = revision + 1")
        for uid in named_in(page) if self.records.exist else all_uids(page.db):
            self.records.write(uid, revision_of(page.db), list(known_of(page.db, uid)))
        self.ledger.append(revision_of(page.db), list(rows_of(page.db)) if self.ledger.is_empty else page.entries)

    @contextmanager
    def _read(self) -> Generator[sqlite3.Connection]:
        with self._opened(writes=False) as db:
            db.execute(f"PRAGMA busy_timeout = {int(min(_GLANCE, self.patience) * 1000)}")
            try:
                current = version_of(db) == SCHEMA_VERSION
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or self.ledger.is_empty:
                    raise
                # Whoever commits was stopped at it. What it was about to say is in the ledger, with all that came before.
                with closing(sqlite3.connect(":memory:", isolation_level=None)) as told:
                    create(told)
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
                db.execute("PRAGMA journal_mode = PERSIST")  # what is written over needs no new names: a sync of a folder is the dearest
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
        version = version_of(db)
        if version == SCHEMA_VERSION:
            return
        if version > SCHEMA_VERSION:
            raise BackendFailed(
                f"The store {self.file} was written by a newer mcp-workspaces (schema {version}, this one knows {SCHEMA_VERSION}).",
                f"Upgrade mcp-workspaces; or workspaces doctor --repair makes it again from {self.ledger.file.name}.",
            )
        db.execute("BEGIN IMMEDIATE")
        try:
            old, last = (list(rows_of(db)), revision_of(db)) if version else ([], 0)
            create(db, last)
            for entry in old:
                apply(db, entry)
            if not version:
                self._replay(db)
            if self.ledger.is_empty and (version or revision_of(db)):
                self.ledger.append(revision_of(db), list(rows_of(db)))
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _replay(self, db: sqlite3.Connection, last: int | None = None) -> None:
        """Do again what the ledger says, up to the `last` revision; where it was lost, what is known of each workspace."""
        if self.ledger.is_empty:
            gather(db, self.records.read())
        for line in self.ledger.read():
            if last is None or line.revision <= last:
                redo(db, line)
