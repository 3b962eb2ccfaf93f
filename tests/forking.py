"""`workspaces` without the second that loading it takes: each call is a process of its own, forked from one that has loaded everything.

Of the hundreds of servers and commands that the tests start, most are about what these do, and not about how they start. `program()` stands in
the place of `workspaces`: a small launcher hands its descriptors, folder, arguments and environment over, passes signals on, and ends as the
program did; when it is killed, so is the program.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from functools import cache
from importlib import import_module

_LOADED = ("workspaces_cli.cli", "workspaces.server.app", "workspaces.backends.worktree", "workspaces.backends.directory", "git", "uvicorn")
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


@cache
def program() -> list[str]:
    """Return the command that runs `workspaces` in a fork; the process to fork from ends with this one."""
    folder = tempfile.TemporaryDirectory(prefix="forking-")
    atexit.register(folder.cleanup)
    door = f"{folder.name}/door"
    parent = subprocess.Popen(
        [sys.executable, __file__, "serve", door], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "HOME": "/nonexistent"}
    )
    assert parent.stdin and parent.stdout
    atexit.register(parent.kill)
    assert parent.stdout.readline() == b"ready\n"
    return [sys.executable, "-I", "-S", __file__, "launch", door]


def launch(door: str, arguments: list[str]) -> None:
    """Have the program run with what this process has, and end as it does."""
    with socket.socket(socket.AF_UNIX) as there:
        there.connect(door)
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        told = json.dumps([arguments, dict(os.environ)]).encode()
        socket.send_fds(there, [len(told).to_bytes(4)], [0, 1, 2, here])
        there.sendall(told)
        for number in _PASSED_ON:
            signal.signal(number, lambda number, _: there.sendall(bytes([number])))
        ended = int.from_bytes(_read(there, 4), signed=True)
    if ended < 0:
        signal.signal(-ended, signal.SIG_DFL)
        os.kill(os.getpid(), -ended)
    os._exit(ended)


def serve(door: str) -> None:
    """Load everything, then fork for each that comes, until the parent is gone."""
    import_module("workspaces.starting").hurry()
    for module in _LOADED:
        import_module(module)
    gc.freeze()  # what is loaded is shared with the forks as long as nobody writes to it
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.bind(door)
        waiting.listen(64)
        print("ready", flush=True)  # noqa: T201 - the parent waits for it
        running: list[Forked] = []
        while sys.stdin not in (ready := select.select([sys.stdin, waiting, *running, *(each.asked for each in running)], [], [])[0]):
            running = [each for each in running if not each.is_over(each in ready, each.asked in ready)]
            if waiting in ready:
                running.append(Forked(waiting.accept()[0]))


class Forked:
    """The program, run for a launcher: signals are passed on, it is told how it ended, and it is killed when the launcher is gone."""

    def __init__(self, asked: socket.socket) -> None:
        self.asked = asked
        size, given, _, _ = socket.recv_fds(asked, 4, 4)
        arguments, environment = json.loads(_read(asked, int.from_bytes(size)))
        self._process = os.fork()
        if self._process == 0:
            os._exit(_become(given, arguments, environment))
        for descriptor in given:
            os.close(descriptor)
        self._ends = os.pidfd_open(self._process)

    def fileno(self) -> int:
        return self._ends

    def is_over(self, ended: bool, is_told: bool) -> bool:
        """Return whether it has ended, after doing what its launcher wants."""
        if is_told and not ended:
            os.kill(self._process, (self.asked.recv(1) or bytes([signal.SIGKILL]))[0])
        if ended:
            os.close(self._ends)
            with self.asked, suppress(OSError):
                self.asked.sendall(os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1]).to_bytes(4, signed=True))
        return ended


def _become(given: list[int], arguments: list[str], environment: dict[str, str]) -> int:
    """Be the program, and return its exit status."""
    for target, descriptor in enumerate(given[:3]):
        os.dup2(descriptor, target)
    os.fchdir(given[3])
    os.closerange(3, 1000)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115 - they end with the process
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["workspaces", *arguments]
    try:
        import_module("workspaces.terminal.start").main()
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()


def _read(there: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = there.recv(size - len(found))
        if not part:
            raise EOFError("The process to fork from is gone.")
        found += part
    return found


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        launch(sys.argv[2], sys.argv[3:])
