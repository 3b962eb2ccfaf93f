"""The SQLite file on which every process agrees, and its ledger beside it: opened, written, and made again when it was lost, damaged or older.

Every write is one transaction, written to the ledger first, durably, and then committed; none is ever open across a git call. What SQLite writes is not
waited for: a kill takes nothing of it, and after a new start of the machine the file is made again from the ledger, by whoever opens it first. Where
starts have no names it is committed with `synchronous=EXTRA` (FULL does not sync the folder in which a rollback journal was, and it could come back).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from workspaces.errors import BackendFailed, Busy, NoSpace, NotAllowed, translated
from workspaces.locks import PATIENCE, Locks
from workspaces.places import misplaced, refuse, set_aside
from workspaces.starts import this_start
from workspaces.store.connections import Connections
from workspaces.store.ledger import Ledger
from workspaces.store.records import Records
from workspaces.store.start import Start
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
        self._start = Start(file.with_name("store.start"))
        self._turns = Locks(file.with_name("locks"), patience)
        self._connections = Connections(file, self._connected)
        self._is_sure = not durable or not this_start()

    @property
    def exists(self) -> bool:
        """Whether anything was ever remembered here."""
        return os.path.lexists(self.file) or not self.ledger.is_empty or self.records.exist

    def _misplaced(self) -> list[tuple[Path, str]]:
        return list(misplaced((self.file, self.ledger.file, self._start.file), (self._turns.folder, self.records.folder)))

    def revision(self) -> int:
        """Return a number that grows with everything that is written here."""
        with self._read() as db:
            return revision_of(db)

    def flaws(self) -> list[str]:
        """Return what is wrong with the file, or between it and its ledger; nothing when both are whole and say the same."""
        try:
            self._make_sure()
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
        """Make the file again from its ledger. Returns where what was there is, if anything was."""
        with self._turn():
            if self.ledger.is_empty and not self.records.exist:
                raise BackendFailed(
                    f"{self.ledger.file} is not there, so {self.file.name} cannot be made again. Nothing was changed.",
                    "Put back a copy of one of the two.",
                )
            return self._make_again()

    def _make_again(self) -> Path | None:
        """Make the file again from its ledger, set aside what was there, and return where. Whoever calls this has the turn."""
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

    def _make_sure(self) -> None:
        """See that the file is all that was ever acknowledged: after a new start of the machine, some of it may not have got to the disk."""
        if self._is_sure:
            return
        refuse(self._misplaced())
        if not self._start.is_this:
            with self._turn():
                if not self._start.is_this:  # nobody else was here meanwhile
                    if self._start.is_noted and self._is_told_by_its_ledger() and (aside := self._make_again()):
                        aside.unlink()
                    self._start.note()
        self._is_sure = True

    def _is_told_by_its_ledger(self) -> bool:
        """Return whether the ledger has all that the file may have. One that was cut or damaged has not, and a person looks at that."""
        if self.ledger.is_empty or not self.ledger.is_whole or not self.file.exists():
            return False
        try:
            with self._opened(writes=False) as db:
                return version_of(db) <= SCHEMA_VERSION and revision_of(db) <= self.ledger.last
        except BackendFailed:
            return True

    @contextmanager
    def _turn(self) -> Generator[None]:
        refuse(self._misplaced())
        with self._turns.change("store"):
            yield

    @contextmanager
    def _write(self) -> Generator[Page]:
        self._make_sure()
        with self._turn(), self._opened() as db:
            db.execute("BEGIN IMMEDIATE")
            if version_of(db) != SCHEMA_VERSION:
                db.execute("ROLLBACK")
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
        """Have all that is read in the block as it was at one moment. Nothing is written meanwhile, so it is short."""
        self._make_sure()
        with self._opened(writes=False) as db:
            try:
                db.execute("BEGIN")
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
                yield db
            db.execute("COMMIT")
        if not current:
            with self._turn(), self._opened() as db:
                self._make_current(db)
            with self._read() as db:
                yield db

    def holding(self) -> AbstractContextManager[None]:
        """Keep connections for the time of a block."""
        return self._connections.holding()

    @contextmanager
    def _opened(self, writes: bool = True) -> Generator[sqlite3.Connection]:
        try:
            with self._connections.one(writes) as db:
                yield db
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise self._refusal(error) from error

    def _connected(self, writes: bool) -> sqlite3.Connection:
        refuse(misplaced([self.file]))
        patience = self.patience if writes else min(_GLANCE, self.patience)
        try:
            db = sqlite3.connect(self.file, timeout=patience, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise NotAllowed(f"{self.file} cannot be opened: {error}.", "Is the repository still there, and is it yours?") from error
        try:
            if writes:
                db.execute(f"PRAGMA synchronous = {'EXTRA' if self.durable and not this_start() else 'OFF'}")
                db.execute("PRAGMA journal_mode = PERSIST")  # what is written over needs no new names: a sync of a folder is the dearest
        except BaseException:
            db.close()
            raise
        return db

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
                if self._gathered(db):
                    self.ledger.rewrite(revision_of(db), list(rows_of(db)))
            if self.ledger.is_empty and (version or revision_of(db)):
                self.ledger.append(revision_of(db), list(rows_of(db)))
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _replay(self, db: sqlite3.Connection, last: int | None = None) -> None:
        """Do again what the ledger says, up to the `last` revision."""
        for line in self.ledger.read():
            if last is None or line.revision <= last:
                redo(db, line)

    def _gathered(self, db: sqlite3.Connection) -> bool:
        """Take over what is known of each workspace and the ledger does not tell, which was lost or cut off then; and return whether there is any.

        One transaction more may have been noted of a workspace and never have got into the ledger: with others after it, it has.
        """
        told = self.ledger.last
        later = [line for line in self.records.read() if line.revision > told]
        if not self.ledger.is_empty and all(line.revision == told + 1 for line in later):
            return False
        gather(db, later)
        return bool(later)
