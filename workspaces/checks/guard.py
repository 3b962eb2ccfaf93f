"""Runs one command and sees to it that nothing of it is left: as a program of its own, whose source is given to an interpreter.

It ends the command, and all that this started, when the time is over, and when whoever started the guard is gone (its end of the `alive` pipe is
closed then, however it died). What it saw is one line on the `report` pipe; no line at all means that the guard itself was killed. On Linux it
adopts what its command leaves behind (PR_SET_CHILD_SUBREAPER of prctl(2)), so no `setsid` escapes; elsewhere the command's group is ended.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time

_ADOPT, _DIE_WITH_PARENT = 36, 1
_PATIENCE = 10.0
"""Seconds that ending everything may take."""
_STOPPING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def _started(command: list[str], report: int) -> int:
    """Start the command as the leader of a session of its own, and return its number."""
    here = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        _prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        for number in (*_STOPPING, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        if os.getppid() == here:
            os.execvp(command[0], command)  # noqa: S606 - running it is what it is for
    except OSError as error:
        os.write(report, f"error {command[0]} could not be started: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _awaited(child: int, alive: int, woken: int, seconds: float) -> str:
    """Wait until the command ends, its time is over, or nobody is there to hear of it, and return which."""
    deadline = time.monotonic() + seconds
    while True:
        ended = _reaped()
        if ended is None or child in ended:
            return f"exit {os.waitstatus_to_exitcode((ended or {}).get(child, 0x7F00))}"
        left = deadline - time.monotonic()
        if left <= 0:
            return "timeout"
        ready, _, _ = select.select([alive, woken], [], [], min(left, 60.0))
        if woken in ready and any(number in _STOPPING for number in os.read(woken, 512)):
            return "stopped"
        if alive in ready:
            return "stopped"


def _reaped() -> dict[int, int] | None:
    """Return which children ended, and how; None when there are none any more, ended or not."""
    found: dict[int, int] = {}
    while True:
        try:
            number, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found or None
        if not number:
            return found
        found[number] = status


def _below(top: int) -> list[int]:
    """Return all processes below one (proc_pid_stat(5)); nothing where the system does not tell."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc") if sys.platform == "linux" else ():  # noqa: PTH208 - what it imports, it imports for each run
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                    parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
    found = {top}
    while more := {number for number, parent in parents.items() if parent in found} - found:
        found |= more
    return [number for number in found if number != top]


def _end_all(child: int) -> bool:
    """Kill everything below this process until nothing is there any more. Returns whether that was so in time."""
    deadline = time.monotonic() + _PATIENCE
    _kill(child, group=True)
    while time.monotonic() < deadline:
        for number in _below(os.getpid()):
            _kill(number)
        if _reaped() is None:
            return True
        time.sleep(0.005)
    return False


def _kill(number: int, group: bool = False) -> None:
    try:
        (os.killpg if group else os.kill)(number, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _noted(number: int, frame: object) -> None:
    """Let the signal be written to the waker, and do nothing else."""


def main(alive: int, report: int, held: int, seconds: float, command: list[str]) -> None:
    """Run a command under guard; `held` is kept open, and with it a lock, until nothing of the command is left."""
    for descriptor in (alive, report, held):
        os.set_inheritable(descriptor, False)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in (*_STOPPING, signal.SIGCHLD):
        signal.signal(number, _noted)
    _prctl(_ADOPT, 1)
    child = _started(command, report)
    said = _awaited(child, alive, woken, seconds)
    clean = _end_all(child)
    os.write(report, f"{said}{'' if clean else ' left'}\n".encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5:])
