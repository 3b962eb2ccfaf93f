"""Connections to a SQLite file, kept open while a call is at work: to open one takes as long as to read from it, and a call reads many times."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
H = TypeVar("H", bound="Holder")

_Connect = Callable[[bool], sqlite3.Connection]
Which = tuple[int, int]
"""Which file one is to: device and number of it."""


class Holder(Protocol):
    """One whose calls keep connections."""

    def holding(self) -> AbstractContextManager[None]: ...


def held(verb: Callable[Concatenate[H, P], T]) -> Callable[Concatenate[H, P], T]:
    """Keep connections for the time of each call."""

    @wraps(verb)
    def within(holder: H, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with holder.holding():
            return verb(holder, *args, **kwargs)

    return within


class Connections:
    """The connections of one process to one file, for reading and for writing. `connect` opens one, and is told whether it is to write."""

    def __init__(self, file: Path, connect: _Connect) -> None:
        self._file, self._connect = file, connect
        self._idle: list[tuple[bool, Which, sqlite3.Connection]] = []
        self._holders, self._turn = 0, Lock()

    @contextmanager
    def holding(self) -> Generator[None]:
        """Keep what is opened in the block for what comes next in it. Nothing stays open when nobody is in such a block any more."""
        with self._turn:
            self._holders += 1
        try:
            yield
        finally:
            with self._turn:
                self._holders -= 1
                left = [] if self._holders else self._idle
                self._idle = self._idle if self._holders else []
            for _, _, db in left:
                db.close()

    @contextmanager
    def one(self, writes: bool) -> Generator[sqlite3.Connection]:
        """Have a connection to the file that is there now, that nobody else has. After an error it is not used again."""
        which = self._which()
        db = self._taken(writes, which) or self._connect(writes)
        kept = False
        try:
            yield db
            kept = which == self._which() and not db.in_transaction and self._kept(writes, which, db)
        finally:
            if not kept:
                db.close()

    def _which(self) -> Which | None:
        try:
            found = os.lstat(self._file)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _taken(self, writes: bool, which: Which | None) -> sqlite3.Connection | None:
        with self._turn:
            at = next((at for at, (kind, known, _) in enumerate(self._idle) if (kind, known) == (writes, which)), None)
            return None if at is None else self._idle.pop(at)[2]

    def _kept(self, writes: bool, which: Which | None, db: sqlite3.Connection) -> bool:
        """Keep a connection, while anybody wants that; returns whether it was kept."""
        with self._turn:
            if self._holders and which is not None:
                self._idle.append((writes, which, db))
                return True
            return False
