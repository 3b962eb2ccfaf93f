"""Running one command under guard: kept from what it need not touch, with bounds on its time and on what is kept of its output."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import IO

from workspaces.model import Judgement

TAIL = 4000
"""Bytes of the end of the output that a result shows."""
LATE = "it took longer than it may"
_LOOK = 0.2
_PORTION = 1 << 16
_GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True)
class Order:
    """A command to run in a folder. `confine` puts the calling thread under rules and returns the environment that holds under them."""

    command: Sequence[str]
    folder: Path
    confine: Callable[[], Mapping[str, str]]
    seconds: float
    log: Path
    most: int
    """Bytes of the output that the log takes."""
    held: int
    """A descriptor that is kept open until nothing of the command is left."""


@dataclass(frozen=True)
class Outcome:
    verdict: Judgement
    exit_status: int
    seconds: float
    tail: str
    why: str = ""


def run(order: Order, stop: Event, heard: Callable[[str], None]) -> Outcome:
    """Run a command to its end, or until `stop`. `heard` is told the last line of its output every now and then."""
    began = time.monotonic()
    with ExitStack() as open_ones:
        log = open_ones.enter_context(order.log.open("wb"))
        alive, report = os.pipe(), os.pipe()
        ours = open_ones.enter_context(os.fdopen(alive[1], "wb")), open_ones.enter_context(os.fdopen(report[0], "rb"))
        try:
            guard = _started(order, alive[0], report[1])
        finally:
            os.close(alive[0])
            os.close(report[1])
        open_ones.enter_context(guard)
        open_ones.callback(ours[0].close)  # an error on the way ends what is guarded: the guard is waited for
        output = _Output(log, order)
        said = _heard(guard, ours, output, stop, heard)
    output.finish()
    return _outcome(said, time.monotonic() - began, output.shown)


def _started(order: Order, alive: int, report: int) -> subprocess.Popen[bytes]:
    """Start the guard from a thread that is confined: rules hold for a thread and for what it starts, for good."""
    started: Future[subprocess.Popen[bytes]] = Future()
    source = _GUARD.read_text()
    program = str(Path(sys.executable).resolve())

    def start() -> None:
        try:
            environment = dict(order.confine())
            words = [program, "-I", "-S", "-c", source, str(alive), str(report), str(order.held), str(order.seconds), *order.command]
            made = subprocess.Popen(
                words,
                cwd=order.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(alive, report, order.held),
                start_new_session=True,
            )
            started.set_result(made)
        except BaseException as error:
            started.set_exception(error)

    thread = Thread(target=start, name="check")
    thread.start()
    thread.join()
    return started.result()


def _heard(guard: subprocess.Popen[bytes], pipes: Sequence[IO[bytes]], output: _Output, stop: Event, heard: Callable[[str], None]) -> str:
    """Read what the command prints until the guard has ended, and return what the guard said."""
    alive, report = pipes
    said = b""
    stdout = guard.stdout
    if stdout is None:
        return ""
    os.set_blocking(stdout.fileno(), False)
    with selectors.DefaultSelector() as ready:
        ready.register(stdout, selectors.EVENT_READ)
        ready.register(report, selectors.EVENT_READ)
        told = time.monotonic()
        while report in {key.fileobj for key in ready.get_map().values()}:
            for key, _ in ready.select(_LOOK):
                part = os.read(key.fd, _PORTION)
                if not part:
                    ready.unregister(key.fileobj)
                elif key.fileobj is report:
                    said += part
                else:
                    output.take(part)
            if stop.is_set() and not alive.closed:
                alive.close()
            if time.monotonic() - told > _LOOK:
                told = time.monotonic()
                heard(output.last_line)
    with suppress(BlockingIOError):
        while part := os.read(stdout.fileno(), _PORTION):
            output.take(part)
    return said.decode(errors="replace").strip()


class _Output:
    """What a command prints: the first part in the log, the last in memory."""

    def __init__(self, log: IO[bytes], order: Order) -> None:
        self.log, self.order, self.size = log, order, 0
        self.end = b""

    def take(self, part: bytes) -> None:
        self.log.write(part[: max(0, self.order.most - self.size)])
        self.size += len(part)
        self.end = (self.end + part)[-2 * TAIL :] if len(part) < 2 * TAIL else part[-2 * TAIL :]

    @property
    def last_line(self) -> str:
        lines = self.end.decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")[:200]

    @property
    def shown(self) -> str:
        """The end of the output, without the name of the folder that it ran in, which is a passing one."""
        return self._plain(self.end)[-TAIL:].decode(errors="replace")

    def finish(self) -> None:
        """Complete the log: what it left out is said, and followed by the end."""
        file = self.order.log
        text = self._plain(file.read_bytes())
        if self.size > self.order.most:
            text += f"\n… {self.size:,} bytes in all; the last of them:\n".encode() + self._plain(self.end)
        file.write_bytes(text)

    def _plain(self, text: bytes) -> bytes:
        return text.replace(os.fsencode(self.order.folder), b".")


def _outcome(said: str, seconds: float, tail: str) -> Outcome:
    """Return what a guard's report means. One that ended without a report was killed: that is no verdict."""
    seconds = round(seconds, 3)
    word, _, rest = said.partition(" ")
    if said.endswith(" left"):
        return Outcome("error", 0, seconds, tail, "processes that it started could not be ended")
    if word == "exit":
        status = int(rest)
        return Outcome("fail" if status else "pass", status, seconds, tail)
    if word == "timeout":
        return Outcome("timeout", 0, seconds, tail, LATE)
    if word == "error":
        return Outcome("error", 0, seconds, tail, rest.splitlines()[0])
    return Outcome("error", 0, seconds, tail, "it was stopped" if word == "stopped" else "what guards it was killed")
