"""What was ever written to the store, one line for each of its transactions, so that the store can be made again from this file alone.

A line is durable before its transaction is: what was acknowledged is in here. One that a crash or a full disk tore is no line, and one whose
transaction did not end says no more than an interrupted operation does. JSON, with the names of tables and columns: readable by every version.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from workspaces.errors import as_ours

Row = dict[str, str | int]
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Entry:
    """A row that was put into a table, replacing the one of the same key, or (`gone`) columns whose rows were removed from it."""

    table: str
    row: Row
    gone: bool = False


class Ledger:
    """The lines of one store. Whoever writes holds the store alone."""

    def __init__(self, file: Path, durable: bool = True) -> None:
        self.file, self.durable = file, durable

    @property
    def is_empty(self) -> bool:
        return not self.file.exists() or self.file.stat().st_size == 0

    @property
    def is_whole(self) -> bool:
        """Whether there is one, and every line of it can be read; a torn last one is none."""
        with suppress(FileNotFoundError), self.file.open("rb") as lines:
            return not self.is_empty and all(_is_readable(line) for line in lines if line.endswith(b"\n"))
        return False

    @property
    def size(self) -> int:
        """The bytes that it takes."""
        return 0 if self.is_empty else self.file.stat().st_size

    def append(self, entries: Sequence[Entry]) -> None:
        """Write one transaction down, durably."""
        with as_ours():
            is_new = not self.file.exists()
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _drop_torn_line(descriptor)
                _write(descriptor, _line(entries))
                if self.durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                self._sync_folder()

    def read(self) -> Iterator[list[Entry]]:
        """Yield the transactions, oldest first. What is no whole line is left out."""
        with suppress(FileNotFoundError), self.file.open("rb") as lines:
            for line in lines:
                with suppress(ValueError, KeyError):
                    yield _entries(line)

    def rewrite(self, entries: Sequence[Entry]) -> None:
        """Let these entries be all that it says, as one line in the place of all others."""
        with as_ours():
            draft = self.file.with_suffix(".new")
            draft.unlink(missing_ok=True)
            Ledger(draft, self.durable).append(entries)
            draft.replace(self.file)
            self._sync_folder()

    def _sync_folder(self) -> None:
        """Make the name of the file durable."""
        if self.durable:
            descriptor = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _drop_torn_line(descriptor: int) -> None:
    """Cut off what a crash or a full disk left of a line."""
    size = end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _BLOCK)
        if (at := os.pread(descriptor, end - start, start).rfind(b"\n")) >= 0:
            end = start + at + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _is_readable(line: bytes) -> bool:
    try:
        return bool(_entries(line))
    except (ValueError, KeyError):
        return False


def _line(entries: Sequence[Entry]) -> bytes:
    told = [{"table": entry.table, "gone" if entry.gone else "row": entry.row} for entry in entries]
    return json.dumps(told, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _entries(line: bytes) -> list[Entry]:
    read: JsonValue = json.loads(line)
    return [_entry(each) for each in read] if isinstance(read, list) else []


def _entry(told: JsonValue) -> Entry:
    if not isinstance(told, dict):
        raise ValueError("no entry")
    gone = "gone" in told
    row = told["gone" if gone else "row"]
    columns = row if isinstance(row, dict) else {}
    return Entry(str(told["table"]), {name: value for name, value in columns.items() if isinstance(value, str | int)}, gone)
