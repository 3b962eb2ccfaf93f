"""Who called what: every call that a server answered, one line of JSON each, reads and refusals too.

What a call did to workspaces is in the store's log of operations, under the same `call`; this says who asked, and what came of it. Several servers
write at once: a line is one write to the end of the file (`O_APPEND` of open(2)), so lines of others are never torn; the handlers of `logging` that
change files as these grow are for one process. No line holds contents, messages, tasks, paths of files, or a secret.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from workspaces.errors import Busy
from workspaces.locks import Locks
from workspaces.model import Call
from workspaces.places import misplaced, refuse

_LARGEST = 8 << 20
"""Bytes of a file, of which there are two: about 30,000 calls each."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Audit:
    """The calls on the projects of one `home`: the file that grows, and the one before it."""

    def __init__(self, home: Path, largest: int = _LARGEST) -> None:
        self.file, self.older, self._largest = home / "calls.jsonl", home / "calls.1.jsonl", largest
        self._turns = Locks(home / "locks")
        self._torn = False

    def note(self, call: Call) -> None:
        """Write a call down. Raises what the system refuses; a line that was cut off by that is none, and spoils no other."""
        refuse(misplaced([self.file]))
        descriptor = os.open(self.file, _FLAGS, 0o600)
        try:
            line = _text(call)
            written = os.write(descriptor, b"\n" + line if self._torn else line)
            self._torn = written < len(line)
            size = os.fstat(descriptor).st_size
        except OSError:
            self._torn = True
            raise
        finally:
            os.close(descriptor)
        if size > self._largest:
            self._begin_anew()

    def last(self, limit: int) -> list[Call]:
        """Return the last calls, newest first."""
        found: list[Call] = []
        for line in reversed(deque(self._lines(), maxlen=limit)):
            with suppress(ValidationError):
                found.append(Call.model_validate_json(line))
        return found

    def _begin_anew(self) -> None:
        """Let what is full be the older file, in the place of the one that was. Whoever is just writing to it writes into that."""
        with suppress(Busy, FileNotFoundError), self._turns.change("calls", patience=0):  # the second: another process just did
            if self.file.lstat().st_size > self._largest:
                self.file.replace(self.older)

    def _lines(self) -> Iterator[bytes]:
        for file in (self.older, self.file):
            refuse(misplaced([file]))
            with suppress(FileNotFoundError), file.open("rb") as lines:
                yield from lines


def _text(call: Call) -> bytes:
    """Return a call as one line of ASCII: nothing in it can be taken for another line, or steer a terminal."""
    return json.dumps(call.wire(), ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
