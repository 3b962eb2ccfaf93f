"""Which tree the entries of an index make, as it says itself at its end (gitformat-index(5), "cache tree"): git writes that tree before it says so,
and takes it back for all that changes an entry, so nobody needs to go through them."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

from . import tree

_EXTENSION = struct.Struct(">4sI")
_NAME = b"TREE"
_ROOT = re.compile(rb"\0\d+ \d+\n")
"""How the first of the trees is told, before its id: a path of no length, how many entries are in it, how many trees. Fewer than none: unknown."""
_WIDTHS = 20, 32
"""Bytes of an object's id, and of the checksum at the end: by SHA-1, and by SHA-256."""
_TAIL = 4 << 20
"""Bytes from the end that are looked at: a folder takes about forty."""
_LOOKS, _AFTER = 100, 8
"""Places that may look like the beginning of it, and parts of an index that may come after it."""


def tree_of(index: Path) -> str:
    """Return the id of the tree that an index makes; nothing where it does not say, or is not there."""
    tail = _tail(index)
    return next((found for width in _WIDTHS if (found := _found(tail, width))), "")


def _found(tail: bytes, width: int) -> str:
    at = len(tail)
    for _ in range(_LOOKS):
        if (at := tail.rfind(_NAME, 0, at)) < 0:
            break
        if _ends_well(tail, at, len(tail) - width):
            root = _ROOT.match(tail, at + _EXTENSION.size)
            return tail[root.end() : root.end() + width].hex() if root else ""
    return ""


def _tail(index: Path) -> bytes:
    try:
        with tree.opened(os.open(index, tree.READ)) as descriptor:
            size = os.fstat(descriptor).st_size
            return os.pread(descriptor, _TAIL, max(0, size - _TAIL))
    except OSError:
        return b""


def _ends_well(tail: bytes, at: int, end: int) -> bool:
    """Return whether what begins here, and what follows it, are parts of an index up to the checksum at its end."""
    for _ in range(_AFTER):
        if at == end:
            return True
        if at + _EXTENSION.size > end:
            return False
        at += _EXTENSION.size + int(_EXTENSION.unpack_from(tail, at)[1])
    return at == end
