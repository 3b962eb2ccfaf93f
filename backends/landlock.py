"""Landlock: what a thread, and every program that it starts, may still do (landlock(7); no root needed).

Rules say what may be done in whole trees. What no rule gives is refused, and nothing inside of a given tree can be taken out of it again, but by
further rules on top: then what both give may be done. As a program (`python landlock.py PATH... -- COMMAND...`) this puts rules on a command;
so it imports little.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH, _NO_NEW_PRIVILEGES = 1, 1, 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_DEVICES = 1 << 6 | 1 << 11
_TRUNCATE, _DEVICE_CALLS = 1 << 14, 1 << 15
_READING = _EXECUTE | _READ_FILE | _READ_FOLDER
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _DEVICE_CALLS
_RIGHTS = {2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights on files each version knows, the first ones; later versions know them all."""
USEFUL = min(_RIGHTS)
"""The first version is of no use: under it, nothing may be renamed from folder to folder, as git does."""
SAFE = 3
"""From which version on files are safe: before, any could still be truncated."""
_TCP, _TCP_SINCE = 0b11, 4
_SCOPES, _SCOPES_SINCE = 0b11, 6
"""Abstract sockets and signals: none to processes that are not under the same rules."""


class Rules(NamedTuple):
    """What may be written (`write`, read and executed too), and what may be read and executed: everything, if `read` is None.

    Trees, or single files; what is not there is left out. Without `network`, no connection is made or taken (by Landlock alone: over TCP).
    """

    write: Sequence[str]
    read: Sequence[str] | None = None
    network: bool = False


@cache
def version() -> int:
    """Return which Landlock the kernel has, 0 for none."""
    # Where there is no prctl, the numbers of system calls mean something else.
    return max(0, _call(_CREATE_RULESET, 0, 0, _VERSION)) if hasattr(_libc(), "prctl") else 0


def restrict(rules: Rules) -> None:
    """Put rules on the calling thread, for good. Rules of a version that the kernel does not know are left out."""
    known = (1 << _RIGHTS.get(version(), 16)) - 1
    handled = known if rules.read is not None else known & ~_READING
    network = _TCP if version() >= _TCP_SINCE and not rules.network else 0
    scopes = _SCOPES if version() >= _SCOPES_SINCE else 0
    attributes = struct.pack("=QQQ", handled, network, scopes)
    ruleset = _checked(_call(_CREATE_RULESET, attributes, len(attributes), 0))
    try:
        for paths, rights in ((rules.write, handled & ~_MAKE_DEVICES), (rules.read or (), handled & _READING)):
            for path in paths:
                _allow(ruleset, path, rights)
        _checked(prctl(_NO_NEW_PRIVILEGES, 1))
        _checked(_call(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def prctl(operation: int, argument: int) -> int:
    """Change something about the calling thread (prctl(2)); what comes back is negative when it was refused."""
    return int(_libc().prctl(operation, argument, 0, 0, 0))


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fitting = rights if stat.S_ISDIR(os.fstat(place).st_mode) else rights & _ON_FILES
        _checked(_call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", fitting, place), 0))
    finally:
        os.close(place)


def _call(number: int, *arguments: int | bytes) -> int:
    """Make a system call and return its result, -1 for a refusal."""
    result: int = _libc().syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in (number, *arguments)))
    return result


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "landlock")
    return result


@cache
def _libc() -> ctypes.CDLL:
    # Calls as short as these are not worth letting other threads in.
    return ctypes.PyDLL(None, use_errno=True)


if __name__ == "__main__":
    at = sys.argv.index("--")
    restrict(Rules(write=sys.argv[1:at]))
    os.execvp(sys.argv[at + 1], sys.argv[at + 1 :])  # noqa: S606 - a command is what it was given
