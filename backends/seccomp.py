"""seccomp: a thread, and every program that it starts, makes no sockets but local ones (seccomp(2); no root needed).

Landlock knows TCP alone, and that only since Linux 6.7; a filter of system calls knows every kind of socket, on all kernels that are in use.
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
    """How a filter recognizes a machine's system calls (linux/audit.h), and the numbers of two of them."""

    name: int
    socket: int
    seccomp: int


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, 317),
    "aarch64": _Machine(0xC00000B7, 198, 277),
    "riscv64": _Machine(0xC00000F3, 198, 277),
}
_IO_URING_SETUP = 425
"""It would make sockets past any filter."""
_OTHER_NUMBERS = 1 << 30
"""From here on, x86 has its system calls once more (x32)."""
_UNIX, _NETLINK = 1, 16
_SET_FILTER, _SPEC_ALLOW = 1, 1 << 2
_NO_NEW_PRIVILEGES = 38

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _NAME, _FIRST_ARGUMENT = 0, 4, 16
"""Where a filter finds them in `struct seccomp_data`; of an argument, its low half."""
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
    machine = _machine()
    if machine is None:
        return
    program = _filter(machine)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    if int(_libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)) < 0 or _seccomp(machine, header) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "seccomp")


@cache
def _filter(machine: _Machine) -> bytes:
    """Return the filter as a program for the kernel's packet filter: each step with how many to skip if it holds, and if not."""
    steps = (
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
