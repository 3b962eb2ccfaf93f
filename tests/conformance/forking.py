"""Processes without the time that loading takes: each is forked from one that has loaded everything.

Of the hundreds of servers, commands and scripts that the tests start, most are about what these do, and not about how they start. `program()`
stands in the place of `workspaces` and `python()` in that of Python, for `-c`: a small launcher hands its descriptors, folder, arguments and
environment over, passes signals on, and ends as the fork did; when it is killed, so is the fork.
"""

from __future__ import annotations

import atexit
import gc
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
from pathlib import Path

_LOADED = (
    *(
        "workspaces_cli.cli",
        "workspaces.server.app",
        "workspaces.backends.worktree",
        "workspaces.backends.directory",
        "workspaces.backends.signs",
    ),
    *("workspaces.adoption", "workspaces.clients", "workspaces.doctor", "workspaces.landing", "workspaces.merging", "workspaces.replaying"),
    *(
        "anyio._backends._asyncio",
        "git",
        "rich.logging",
        "rich.table",
        "typer.rich_utils",
        "uvicorn.lifespan.on",
        "uvicorn.protocols.http.auto",
        "yaml",
    ),
)
"""What is loaded at once, or when it is needed."""


def program() -> list[str]:
    """Return the command that runs `workspaces` in a fork."""
    itself = str(Path(sys.executable).with_name("workspaces"))
    return [*_launcher(), itself] if _door() else [itself]


def python() -> list[str]:
    """Return the command that runs a script, after `-c`, in a fork that has loaded what `workspaces` needs."""
    return [*_launcher(), sys.executable] if _door() else [sys.executable]


def _launcher() -> list[str]:
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("launching.py")), _door()]


@cache
def _door() -> str:
    """Return where forks are asked for; the process to fork from ends with this one. Nothing where the system cannot tell the end of a fork."""
    if not hasattr(os, "pidfd_open"):
        return ""
    folder = tempfile.TemporaryDirectory(prefix="forking-")
    atexit.register(folder.cleanup)
    door = f"{folder.name}/door"
    surroundings = {**os.environ, "HOME": "/nonexistent"}
    parent = subprocess.Popen([sys.executable, "-P", __file__, door], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=surroundings)
    assert parent.stdin and parent.stdout
    atexit.register(parent.kill)
    assert parent.stdout.readline() == b"ready\n"
    return door


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
    """A process run for a launcher: signals are passed on, it is told how that ended, and it is killed when the launcher is gone."""

    def __init__(self, asked: socket.socket) -> None:
        self.asked = asked
        size, given, _, _ = socket.recv_fds(asked, 4, 4)
        count, *told = asked.recv(int.from_bytes(size), socket.MSG_WAITALL).split(b"\0")
        self._process = os.fork()
        if self._process == 0:
            os._exit(_become(given, told[: int(count)], told[int(count) :]))
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


def _become(given: list[int], words: list[bytes], environment: list[bytes]) -> int:
    """Be what was asked for, and return its exit status."""
    for target, descriptor in enumerate(given[:3]):
        os.dup2(descriptor, target)
    os.fchdir(given[3])
    os.closerange(3, 1000)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115 - they end with the process
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environb.clear()
    for each in environment:
        name, _, value = each.partition(b"=")
        os.environb[name] = value
    return _run(*map(os.fsdecode, words))


def _run(what: str, *arguments: str) -> int:
    sys.argv = [what, *arguments]
    try:
        if what == sys.executable:
            _script()
        else:
            import_module("workspaces.terminal.start").main()
        return 0
    except SystemExit as end:
        return _status(end)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()


def _script() -> None:
    """Run what stands after `-c` as Python does."""
    script = sys.argv.pop(2)
    del sys.argv[0]
    exec(compile(script, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a test's own


def _status(end: SystemExit) -> int:
    """Return the status that stands for what a program exits with; words are said."""
    if isinstance(end.code, str):
        sys.stderr.write(f"{end.code}\n")
    return end.code if isinstance(end.code, int) else int(end.code is not None)


if __name__ == "__main__":
    serve(sys.argv[1])
