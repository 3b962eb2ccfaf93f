"""Processes that copy files beside each other, for as long as a call needs them."""

from __future__ import annotations

import marshal
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from workspaces.errors import BackendFailed
from workspaces.threads import look

from . import copying

_HANDS = min(2, os.cpu_count() or 1)
"""More processes than there are processors gain nothing, and beyond two they wait for each other in the file system."""
_LOOK = 100
"""Milliseconds between two looks whether a copy is still wanted."""
_WORTH = 1000
"""Files from which on it is worth to start processes."""


class Crew:
    """Copies as `copying` does. Its processes are started when there is much to copy, and ended with the block."""

    def __init__(self, hands: int = _HANDS) -> None:
        """Copy by so many processes at once."""
        self._most = hands
        self._lock = Lock()
        self._hands: list[subprocess.Popen[bytes]] = []

    def prepare(self, files: int) -> bool:
        """Start what copies so many files, while there is other work to do. False when that is not worth it."""
        if files < _WORTH or self._most == 1:
            return False
        with self._lock:
            self._gather()
        return True

    def _gather(self) -> None:
        self._hands = self._hands or [_started() for _ in range(self._most)]

    def copy(self, job: copying.Job) -> list[bytes]:
        """Do a job. See `copying.copy`. Whatever is raised, nobody is at work on it any more."""
        if not self.prepare(len(job.wanted)):
            return copying.copy(job)
        with self._lock:
            look()
            self._gather()
            share = -(-len(job.wanted) // self._most)
            parts = [job.wanted[at : at + share] for at in range(0, len(job.wanted), share)]
            try:
                return [found for part in self._answers(job, parts) for found in part]
            except BaseException:
                self._dismiss()
                raise

    def _answers(self, job: copying.Job, parts: Sequence[copying.Wanted]) -> list[list[bytes]]:
        """Have each part of a job done by one of the processes."""
        at_work = [*zip(self._hands, parts, strict=False)]
        for hand, part in at_work:
            _tell(hand, job.told(part))
        answers = [_heard(hand) for hand, _ in at_work]
        for refused, _ in answers:
            if refused:
                raise OSError(refused, os.strerror(refused), job.target)
        return [found for _, found in answers]

    def _dismiss(self) -> None:
        for hand in self._hands:
            hand.kill()
            hand.communicate()
        self._hands = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._dismiss()


_PROGRAM = "import sys; sys.path.append(sys.argv[1]); import copying; copying.serve()"
"""What copies, imported: what is run as a file is compiled anew each time."""


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROGRAM, str(Path(copying.__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # As for git: what is inheritable are the locks that are held, which an orphan keeps; and a terminal stops only us.
        close_fds=False,
        start_new_session=True,
    )


def _tell(hand: subprocess.Popen[bytes], job: copying.Told) -> None:
    if hand.stdin:
        with suppress(BrokenPipeError):  # it is heard that it is gone
            hand.stdin.write(marshal.dumps(job))
            hand.stdin.flush()


def _heard(hand: subprocess.Popen[bytes]) -> copying.Answer:
    ready = select.poll()
    if hand.stdout:
        ready.register(hand.stdout)
        while not ready.poll(_LOOK):
            look()
    try:
        answer: copying.Answer = marshal.load(hand.stdout) if hand.stdout else (0, [])  # noqa: S302 - from our own program
    except (EOFError, ValueError, TypeError):
        raise BackendFailed("A process that copied files was ended. Nothing was made.", "Call again.") from None
    return answer
