"""seccomp: a thread, and every program that it starts, makes no sockets but local ones, and has no reach by terminals and keys (seccomp(2)).

Landlock knows TCP alone, and that only since Linux 6.7; a filter of system calls knows every kind of socket, on all kernels that are in use, and
what Landlock has no word for: an open terminal takes what is pushed into it as if the person had typed it. No root is needed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from functools import cache
from typing import NamedTuple


class _Machine(NamedTuple):
    """How a filter recognizes a machine's system calls (linux/audit.h), and the numbers of some of them."""

    name: int
    socket: int
    seccomp: int
    ioctl: int
    keys: int
    """The first of three in a row: add_key, request_key and keyctl."""


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, 317, 16, 248),
    "aarch64": _Machine(0xC00000B7, 198, 277, 29, 217),
    "riscv64": _Machine(0xC00000F3, 198, 277, 29, 217),
}
_IO_URING_SETUP = 425
"""It would make sockets past any filter."""
_OTHER_NUMBERS = 1 << 30
"""From here on, x86 has its system calls once more (x32)."""
_UNIX, _NETLINK = 1, 16
_SET_FILTER, _SPEC_ALLOW = 1, 1 << 2
_NO_NEW_PRIVILEGES = 38

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _NAME, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
"""Where a filter finds them in `struct seccomp_data`; of an argument, its low half."""
_TYPE, _CONSOLE = 0x5412, 0x541C
"""What pushes input into a terminal: TIOCSTI of ioctl_tty(2), TIOCLINUX of ioctl_console(2)."""
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000


@cache
def available() -> bool:
    """Return whether the system has it, and this knows the machine's system calls."""
    machine = _machine()
    if machine is None or not hasattr(_libc(), "prctl"):
        return False
    # A filter at no address is refused for its address, where filters are known.
    return _seccomp(machine, None) < 0 and ctypes.get_errno() == errno.EFAULT


def forbid_network() -> None:
    """Let the calling thread, and all that it starts, make local sockets only, for good."""
    if machine := _machine():
        _install(machine, _network(machine))


def forbid_reach() -> None:
    """Let the calling thread, and all that it starts, type into no terminal and hold no keys of a person's (keyrings(7)), for good."""
    if machine := _machine():
        _install(machine, _reach(machine))


def _install(machine: _Machine, program: bytes) -> None:
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    if int(_libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)) < 0 or _seccomp(machine, header) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "seccomp")


@cache
def _network(machine: _Machine) -> bytes:
    return _program(
        (_LOAD, 0, 0, _NAME),
        (_EQUAL, 0, 8, machine.name),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 6, 0, _OTHER_NUMBERS),
        (_EQUAL, 5, 0, _IO_URING_SETUP),
        (_EQUAL, 0, 3, machine.socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, _UNIX),
        (_EQUAL, 0, 2, _NETLINK),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE | errno.ENOSYS),
        (_RETURN, 0, 0, _REFUSE | errno.EACCES),
    )


@cache
def _reach(machine: _Machine) -> bytes:
    return _program(
        (_LOAD, 0, 0, _NAME),
        (_EQUAL, 0, 10, machine.name),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 7, 0, _OTHER_NUMBERS),
        (_EQUAL, 2, 0, machine.ioctl),
        (_AT_LEAST, 4, 0, machine.keys + 3),
        (_AT_LEAST, 4, 3, machine.keys),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        (_EQUAL, 3, 0, _TYPE),
        (_EQUAL, 2, 0, _CONSOLE),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE | errno.ENOSYS),
        (_RETURN, 0, 0, _REFUSE | errno.EACCES),
    )


def _program(*steps: tuple[int, int, int, int]) -> bytes:
    """Return a filter as a program for the kernel's packet filter: each step with how many to skip if it holds, and if not."""
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _machine() -> _Machine | None:
    is_native = sys.maxsize > 1 << 32 and sys.byteorder == "little"
    return _MACHINES.get(platform.machine()) if is_native else None


def _seccomp(machine: _Machine, header: bytes | None) -> int:
    result: int = _libc().syscall(*map(ctypes.c_long, (machine.seccomp, _SET_FILTER, _SPEC_ALLOW)), header)
    return result


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.PyDLL(None, use_errno=True)
