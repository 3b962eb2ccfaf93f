"""Standing before every system call of a whole process tree that changes files, and letting one of them fail, or kill.

The work installs a seccomp filter on itself as its first step, so that nothing of Python's start is counted, and hands the filter's listener to
whoever watches (seccomp_unotify(2)). It, its threads and every program that they start then wait before each of these calls until the watcher
answers: there is one counter for all of them, so the k-th call is the k-th of the tree. `strace -e inject=…:when=k` counts anew in every thread
and process, so most points of a call that runs fifty gits have no number there, and LD_PRELOAD sees nothing of what the C library does inside
of itself (stdio). It needs Linux 5.9 and no privileges.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import stat
import struct
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeGuard, get_args

Kind = Literal["kill", "orphan", "child", "ENOSPC", "EIO", "EMFILE"]
"""What happens at a point: all processes die; only the first one does, and its children go on; only the child that made the call does; or the
call fails."""
KINDS: tuple[Kind, ...] = get_args(Kind)
_ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EMFILE": errno.EMFILE}

_PATIENCE = 120.0
_MACHINES = {"x86_64": (0xC000003E, 317, 0), "aarch64": (0xC00000B7, 277, 1)}
"""The machine's number for auditing, that of seccomp(2), and its column in the table of calls (linux/audit.h, asm/unistd.h)."""
_CALLS = {
    "rename": (82, -1),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, -1),
    "mkdirat": (258, 34),
    "rmdir": (84, -1),
    "unlink": (87, -1),
    "unlinkat": (263, 35),
    "link": (86, -1),
    "linkat": (265, 37),
    "symlink": (88, -1),
    "symlinkat": (266, 36),
    "write": (1, 64),
    "pwrite64": (18, 68),
    "writev": (20, 66),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "syncfs": (306, 267),
    "sync_file_range": (277, 84),
    "ftruncate": (77, 46),
    "copy_file_range": (326, 285),
    "ioctl": (16, 29),
    "openat": (257, 56),
    "pipe2": (293, 59),
    "socket": (41, 198),
    "dup": (32, 23),
    "fcntl": (72, 25),
}
_WRITES = {"write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "sync_file_range"}
_SHRINKS = {"rmdir", "unlink", "unlinkat"}
"""What a full disk still lets through."""
_OPENS = {"openat", "pipe2", "socket", "dup"}
_NAMED_SECOND = {"renameat", "renameat2", "mkdirat", "unlinkat", "linkat", "symlinkat", "openat"}
_FICLONE = 0x40049409
_DUPLICATES = (0, 1030)
"""F_DUPFD and F_DUPFD_CLOEXEC."""
_NO_NEW_PRIVILEGES, _SET_FILTER, _NEW_LISTENER = 38, 1, 8
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1


@dataclass(frozen=True)
class Fault:
    """What happens at the `at`-th call of its kind, and with `lasting` at all that follow: a disk that is full stays full. With `of` only calls
    count in whose description that is found."""

    kind: Kind
    at: int
    lasting: bool = False
    of: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a watched work: its answer (empty, when it was killed first), how many calls of the kind it made, and the call that was hit."""

    answer: str
    points: int
    hit: str
    hung: bool = False


def is_kind(word: str) -> TypeGuard[Kind]:
    return word in KINDS


def missing() -> str:
    """Return why no process can be watched here, or nothing."""
    if sys.platform != "linux":
        return "system calls can be stood before on Linux only (seccomp_unotify)"
    if platform.machine() not in _MACHINES:
        return f"the numbers of system calls on {platform.machine()} are not in the table"
    said = watched(lambda: "", Fault("kill", 0)).answer
    return f"seccomp_unotify is not permitted here: {said}" if said else ""


def watched(work: Callable[[], str], fault: Fault) -> Outcome:
    """Do work in a process of its own, with a fault, and return what came of it when it and all that it started are gone."""
    ours, theirs = socket.socketpair()
    back, answer = os.pipe()
    pid = _forked()
    if pid == 0:
        ours.close()
        os.close(back)
        _work(work, theirs, answer)
    theirs.close()
    os.close(answer)
    with ours, os.fdopen(back, "rb") as said:
        _, listeners, _, _ = socket.recv_fds(ours, 1, 1)
        watch = _Watch(pid, fault)
        hung = bool(listeners) and not watch.serve(listeners[0])
        os.waitpid(pid, 0)
        return Outcome(said.read().decode(), watch.points, watch.hit, hung)


def apart(work: Callable[[], str]) -> str:
    """Do work in a process of its own, unhindered, and return its answer."""
    back, answer = os.pipe()
    pid = _forked()
    if pid == 0:
        os.close(back)
        _answer(work, answer)
    os.close(answer)
    with os.fdopen(back, "rb") as said:
        text = said.read().decode()
    os.waitpid(pid, 0)
    return text


def _forked() -> int:
    """Fork. Python 3.12 warns of it where there are threads: what forks here has none, or (pytest's) none that hold anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


# -- the work's side ----------------------------------------------------------------------------------------------------------------------


def _work(work: Callable[[], str], watcher: socket.socket, answer: int) -> None:
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    try:
        listener = _armed()
    except OSError as error:
        os.write(answer, (error.strerror or str(error)).encode())
        os._exit(1)
    socket.send_fds(watcher, [b"."], [listener])
    os.close(listener)
    watcher.close()
    _answer(work, answer)


def _answer(work: Callable[[], str], answer: int) -> None:
    """Send what the work answers. A crash of the work's own is an answer too, so that no exception gets past the fork."""
    try:
        text = work()
    except BaseException as error:
        text = f"crashed: {error!r}"
    with suppress(OSError):
        rest = memoryview(text.encode(errors="replace"))
        while rest:
            rest = rest[os.write(answer, rest) :]
    os._exit(0)


def _armed() -> int:
    """Let this process and its descendants wait for answers before each of the calls, and return where the answers are given."""
    audit, seccomp, column = _MACHINES[platform.machine()]
    numbers = [row[column] for row in _CALLS.values() if row[column] >= 0]
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 0, len(numbers) + 1, audit), (_LOAD, 0, 0, 0)]
    steps += [(_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and (made := int(libc.syscall(seccomp, _SET_FILTER, _NEW_LISTENER, program))) >= 0:
        return made
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


# -- the watcher's side -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """One call that waits for an answer: its ticket, the thread that makes it, what it is."""

    ticket: int
    thread: int
    name: str
    words: tuple[int, ...]

    @property
    def process(self) -> int:
        with suppress(OSError):
            lines = Path(f"/proc/{self.thread}/status").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("Tgid:"))
        return self.thread

    @property
    def is_on_file(self) -> bool:
        """Whether it is about an open file, and not a pipe or a socket, where no disk is full."""
        with suppress(OSError):
            mode = Path(f"/proc/{self.thread}/fd/{self.words[0]}").stat().st_mode
            return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        return False

    @property
    def _target(self) -> str:
        with suppress(OSError):
            return str(Path(f"/proc/{self.thread}/fd/{self.words[0]}").readlink())
        return ""

    @property
    def _path(self) -> str:
        with suppress(OSError, ValueError), Path(f"/proc/{self.thread}/mem").open("rb", buffering=0) as memory:
            memory.seek(self.words[self.name in _NAMED_SECOND])
            return memory.read(512).partition(b"\0")[0].decode(errors="replace")
        return ""

    def __str__(self) -> str:
        with suppress(OSError):
            program = Path(f"/proc/{self.process}/cmdline").read_bytes().split(b"\0")
            about = [word for word in program if not word.startswith(b"-")][:3]
            told = self._target if self.name in (*_WRITES, "ioctl", "copy_file_range", "dup", "fcntl", "syncfs") else self._path
            return f"{self.name} {told} by {b' '.join(about).decode(errors='replace')}"
        return self.name


class _Watch:
    """Answers all calls of one tree, and lets the fault happen."""

    def __init__(self, first: int, fault: Fault) -> None:
        self.first, self.fault = first, fault
        self.points, self.hit = 0, ""
        column = _MACHINES[platform.machine()][2]
        self._names = {row[column]: name for name, row in _CALLS.items()}

    def serve(self, listener: int) -> bool:
        """Answer until nobody of the tree is left. False when that took too long; then they are killed."""
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        deadline = time.monotonic() + _PATIENCE
        try:
            while time.monotonic() < deadline:
                for _, event in poll.poll(1000):
                    if event & select.POLLHUP:
                        return True
                    self._next(listener)
            self._kill_all()
            return False
        finally:
            os.close(listener)

    def _next(self, listener: int) -> None:
        asked = bytearray(80)
        try:
            fcntl.ioctl(listener, _RECEIVE, asked)
        except OSError:  # the one that asked was killed meanwhile
            return
        ticket, thread, _, number = struct.unpack_from("=QIIi", asked)
        call = _Call(ticket, thread, self._names[number], struct.unpack_from("=6Q", asked, 32))
        number = self._decided(call)
        with suppress(OSError):
            fcntl.ioctl(listener, _SEND, struct.pack("=QqiI", ticket, 0, -number, 0 if number else _CONTINUE))

    def _decided(self, call: _Call) -> int:
        """Return the error with which a call fails, or nothing; whoever is to be killed at it is dead by then."""
        if not self._counts(call) or (self.fault.of and self.fault.of not in str(call)):
            return 0
        self.points += 1
        at, lasting = self.fault.at, self.fault.lasting
        if not at or self.points < at or (self.points > at and not lasting):
            return 0
        self.hit = self.hit or str(call)
        if self.fault.kind in _ERRORS:
            return _ERRORS[self.fault.kind]
        self._kill(call)
        return 0

    def _counts(self, call: _Call) -> bool:
        if self.fault.kind == "child" and call.process == self.first:
            return False
        if self.fault.kind == "EMFILE":
            return call.name in _OPENS or (call.name == "fcntl" and call.words[1] in _DUPLICATES)
        if call.name == "openat":
            return bool(call.words[2] & os.O_CREAT)
        if call.name == "ioctl":
            return call.words[1] == _FICLONE
        if call.name in _WRITES:
            return call.is_on_file
        if call.name in _SHRINKS and self.fault.kind == "ENOSPC":
            return False
        return call.name not in (*_OPENS, "fcntl")

    def _kill(self, call: _Call) -> None:
        if self.fault.kind == "kill":
            self._kill_all()
        else:
            with suppress(ProcessLookupError):
                os.kill(self.first if self.fault.kind == "orphan" else call.process, signal.SIGKILL)

    def _kill_all(self) -> None:
        """Kill the work and all that it started, gits too, which have sessions of their own; and wait until nothing of them acts any more."""
        going = sorted(_tree_of(self.first), key=lambda process: process != self.first)
        for process in going:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        late = time.monotonic() + _PATIENCE
        while any(map(_acts, going)) and time.monotonic() < late:
            time.sleep(0.001)


def _tree_of(top: int) -> set[int]:
    """Return a process and all below it (proc_pid_stat(5))."""
    parents = {int(each.name): int(state[1]) for each in Path("/proc").glob("[0-9]*") if (state := _state_of(int(each.name)))}
    found = {top}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _acts(process: int) -> bool:
    """Return whether a process is there and has not ended."""
    state = _state_of(process)
    return bool(state) and state[0] not in "ZX"


def _state_of(process: int) -> list[str]:
    """Return the state of a process, its parent and so on; nothing when it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
