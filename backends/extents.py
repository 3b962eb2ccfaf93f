"""What files take on the disk, and how much of that the file system keeps once for them and for others."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from workspaces.model import Disk

from . import subvolume, tree

_FIEMAP = 0xC020660B
"""FS_IOC_FIEMAP, of Documentation/filesystems/fiemap.rst in Linux: where the blocks of a file lie."""
_ASKED = struct.Struct("=QQLLLL")
_EXTENT = struct.Struct("=QQQ16xL12x")
_LAST, _INLINE, _SHARED = 0x1, 0x200, 0x2000
_AT_ONCE = 64
"""Extents that one call tells of."""
_SILENT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)
_CLOSED = (*tree.ABSENT, PermissionError)
"""What is met where nothing can be counted: it vanished, or may not be read."""


@dataclass
class _Sum:
    size: int = 0
    shared: int = 0
    is_told: bool = True
    copied: int = 0
    """When all of it was copied at once: what the file system keeps among the names of a file that was not changed since, it keeps once."""
    links: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict[tuple[int, int], tuple[int, int]])
    """Of files with several names: how many were not met yet, and the bytes that only these share."""


def footprint(folder: Path, scratch: Path, but: Collection[str] = ()) -> Disk:
    """Return the bytes on disk of all below a folder but these of its entries. Links are not followed; what may not be read is left out.

    Where the file system does not tell what it shares, `scratch` on it says whether it could: if not, that is nothing.
    """
    found = _Sum(copied=subvolume.copied_at(folder))
    with tree.Folders(folder) as folders:
        waiting = [""]
        while waiting:
            place = waiting.pop()
            waiting += [f"{place}/{name}" if place else name for name in _counted(folders, place, () if place else but, found)]
    shared = found.shared + sum(own for left, own in found.links.values() if left)
    is_known = found.is_told or tree.copies_by(scratch) != "reflink"
    return Disk(size=found.size, shared=min(shared, found.size) if is_known else None)


def _counted(folders: tree.Folders, place: str, but: Collection[str], found: _Sum) -> list[str]:
    """Add what is in a folder, and return the names of the folders there."""
    try:
        here = folders.at(place)
        with os.scandir(here) as entries:
            names = [entry.name for entry in entries if entry.name not in but]
    except _CLOSED:
        return []
    below: list[str] = []
    for name in names:
        with suppress(*_CLOSED):
            about = os.stat(name, dir_fd=here, follow_symlinks=False)
            _add(here, name, about, found)
            below += [name] if stat.S_ISDIR(about.st_mode) else []
    return below


def _add(here: int, name: str, about: os.stat_result, found: _Sum) -> None:
    key, size = (about.st_dev, about.st_ino), about.st_blocks * 512
    if key in found.links:
        left, own = found.links[key]
        found.links[key] = left - 1, own
        return
    shared = 0
    if stat.S_ISREG(about.st_mode) and size and found.is_told:
        shared = min(_shared(here, name, about, found), size)
    found.size += size
    found.shared += shared
    if about.st_nlink > 1 and not stat.S_ISDIR(about.st_mode):
        found.links[key] = about.st_nlink - 1, size - shared


def _shared(here: int, name: str, about: os.stat_result, found: _Sum) -> int:
    """Return how many bytes of a file lie in blocks that are others' too; of one that may not be read, none."""
    which = _SHARED | _INLINE if about.st_ctime_ns < found.copied else _SHARED
    try:
        with tree.opened(os.open(name, tree.READ, dir_fd=here)) as file:
            return sum(length for length, flags in _extents(file, about.st_size) if flags & which)
    except _CLOSED:
        return 0
    except OSError as error:
        if error.errno not in _SILENT:
            raise
        found.is_told = False
        return 0


def _extents(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the length and the flags of each extent of a file, as far as it went when it was looked at."""
    at, flags = 0, 0
    while at < size and not flags & _LAST:
        answer = bytearray(_ASKED.pack(at, size - at, 0, 0, _AT_ONCE, 0)) + bytearray(_AT_ONCE * _EXTENT.size)
        fcntl.ioctl(file, _FIEMAP, answer)
        told = _ASKED.unpack_from(answer)[3]
        if not told:
            return
        for number in range(told):
            start, _, length, flags = _EXTENT.unpack_from(answer, _ASKED.size + number * _EXTENT.size)
            yield length, flags
            at = start + length
