"""What was ever written to the store, one line for each of its transactions, so that the store can be made again from this file alone.

A line is durable before its transaction is: what was acknowledged is in here. It carries the number of its transaction, so that one which never
ended is known by that its number comes again; and one that a crash or a full disk tore is no line. JSON, with the names of tables and columns:
readable by every version.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from workspaces import private
from workspaces.errors import BackendFailed, as_ours

Row = dict[str, str | int]
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Entry:
    """A row that was put into a table, replacing the one of the same key, or (`gone`) columns whose rows were removed from it."""

    table: str
    row: Row
    gone: bool = False


@dataclass(frozen=True)
class Line:
    """What one transaction wrote. `revision` numbers them; two follow each other without a gap."""

    revision: int
    entries: tuple[Entry, ...]


class Ledger:
    """The lines of one store. Whoever writes holds the store alone."""

    def __init__(self, file: Path, durable: bool = True) -> None:
        self.file, self.durable = file, durable

    @property
    def is_empty(self) -> bool:
        return self.size == 0

    @property
    def is_whole(self) -> bool:
        """Whether there is one, and every line of it can be read; a torn last one is none."""
        if self.is_empty:
            return False
        with self.file.open("rb") as lines:
            return all(_is_readable(line) for line in lines if line.endswith(b"\n"))

    @property
    def size(self) -> int:
        """The bytes that it takes."""
        try:
            found = self.file.lstat()
        except FileNotFoundError:
            return 0
        if not stat.S_ISREG(found.st_mode):  # reading a pipe never ends
            raise BackendFailed(f"{self.file} is no file.", "workspaces doctor --repair sets it aside and makes it again from the store.")
        return found.st_size

    @property
    def last(self) -> int:
        """The revision of the last transaction that it tells of."""
        return max((line.revision for line in self.read()), default=0)

    def append(self, revision: int, entries: Sequence[Entry]) -> None:
        """Write one transaction down, durably, in the place of one with the same number, which never ended.

        Raises `BackendFailed` when there are later ones: then the store is an older copy, and what it would write is wrong.
        """
        with as_ours():
            is_new = self.is_empty
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                self._cut(descriptor, revision)
                _write(descriptor, _text(Line(revision, tuple(entries))))
                if self.durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                self._sync_folder()

    def read(self) -> Iterator[Line]:
        """Yield the transactions, oldest first. What is no whole line is left out."""
        if self.is_empty:
            return
        with self.file.open("rb") as lines:
            for line in lines:
                with suppress(ValueError, KeyError):
                    yield _line(line)

    def rewrite(self, revision: int, entries: Sequence[Entry]) -> None:
        """Let these entries be all that it says, as one line in the place of all others."""
        with as_ours():
            draft = self.file.with_suffix(".new")
            draft.unlink(missing_ok=True)
            Ledger(draft, self.durable).append(revision, entries)
            draft.replace(self.file)
            self._sync_folder()

    def _cut(self, descriptor: int, revision: int) -> None:
        """Cut off what a crash left of a line, and a last line of this revision."""
        size = os.fstat(descriptor).st_size
        end = _line_break(descriptor, size)
        start = _line_break(descriptor, end - 1) if end else 0
        with suppress(ValueError, KeyError):
            last = _line(os.pread(descriptor, end - start, start)).revision if end else 0
            if last > revision:
                raise BackendFailed(
                    f"The store beside {self.file} is an older copy: it is at {revision - 1}, and the ledger at {last}. Nothing was changed.",
                    "workspaces doctor --repair makes it again from its ledger.",
                )
            end = start if last == revision else end
        if end < size:
            os.ftruncate(descriptor, end)

    def _sync_folder(self) -> None:
        """Make the name of the file durable."""
        if self.durable:
            private.sync(self.file.parent)


def _line_break(descriptor: int, before: int) -> int:
    """Return where the line begins that reaches up to `before`: after the last line break in front of it, or at the start of the file."""
    while before > 0:
        start = max(0, before - _BLOCK)
        if (at := os.pread(descriptor, before - start, start).rfind(b"\n")) >= 0:
            return start + at + 1
        before = start
    return 0


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _is_readable(line: bytes) -> bool:
    try:
        return bool(_line(line).entries)
    except (ValueError, KeyError):
        return False


def _text(line: Line) -> bytes:
    told = [{"table": entry.table, "gone" if entry.gone else "row": entry.row} for entry in line.entries]
    return json.dumps({"revision": line.revision, "entries": told}, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _line(text: bytes) -> Line:
    read: JsonValue = json.loads(text)
    if not isinstance(read, dict) or not isinstance(entries := read["entries"], list):
        raise ValueError("no line")
    return Line(int(str(read["revision"])), tuple(map(_entry, entries)))


def _entry(told: JsonValue) -> Entry:
    if not isinstance(told, dict):
        raise ValueError("no entry")
    gone = "gone" in told
    row = told["gone" if gone else "row"]
    columns = row if isinstance(row, dict) else {}
    return Entry(str(told["table"]), {name: value for name, value in columns.items() if isinstance(value, str | int)}, gone)
