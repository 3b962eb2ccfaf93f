"""Subvolumes of btrfs: the one means that copies a whole tree at one moment, however large it is (btrfs-subvolume(8), linux/btrfs.h)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from pathlib import Path

from . import tree

_CREATE, _DESTROY, _SNAPSHOT = 0x5000940E, 0x5000940F, 0x50009417
_GET_FLAGS = 0x80089419
_GET_INFO = 0x81F8943C
_INFO = struct.Struct("=312x16s64xQI100x")
_READ_ONLY = 1 << 1
_TOP = 256
"""The inode number of every subvolume's root."""


def is_one(folder: Path) -> bool:
    """Return whether a folder is the root of a subvolume."""
    try:
        found = folder.lstat()
        return found.st_ino == _TOP and _flags(folder) is not None
    except OSError:
        return False


def can_be(folder: Path) -> bool:
    """Return whether there can be subvolumes in a folder, and be gone again, found by trying. Before Linux 4.18 only root could remove one."""
    probe = folder / f".probe-{os.getpid()}-{os.urandom(3).hex()}"
    try:
        create(probe)
        probe.rmdir()
    except OSError:
        return False
    return True


def _flags(folder: Path) -> int | None:
    with tree.opened(os.open(folder, tree.FOLDER)) as file:
        try:
            return int(struct.unpack("=Q", fcntl.ioctl(file, _GET_FLAGS, struct.pack("=Q", 0)))[0])
        except OSError:
            return None


def copied_at(folder: Path) -> int:
    """Return when a folder was made as a snapshot of another, in nanoseconds; 0 for what is none."""
    with tree.opened(os.open(folder, tree.FOLDER)) as file:
        try:
            parent, seconds, nanoseconds = _INFO.unpack(fcntl.ioctl(file, _GET_INFO, bytes(_INFO.size)))
        except OSError:
            return 0
    return seconds * 10**9 + nanoseconds if any(parent) else 0


def _named(folder: Path) -> bytearray:
    """Return `struct btrfs_ioctl_vol_args`. ioctl copies only 1024 bytes of what it may not change."""
    return bytearray(struct.pack("=q4088s", 0, os.fsencode(folder.name)))


def create(folder: Path) -> None:
    """Make a folder that is a subvolume."""
    with tree.opened(os.open(folder.parent, tree.FOLDER)) as parent:
        fcntl.ioctl(parent, _CREATE, _named(folder))


def snapshot(source: Path, target: Path, read_only: bool = False) -> None:
    """Make `target` a copy of a subvolume as it is at this moment. Subvolumes inside of it are empty folders there."""
    with tree.opened(os.open(source, tree.FOLDER)) as there, tree.opened(os.open(target.parent, tree.FOLDER)) as here:
        about = struct.pack("=qQQ32x4040s", there, 0, _READ_ONLY if read_only else 0, os.fsencode(target.name))
        # It waits for the disk, and with that much to say fcntl.ioctl would have all threads wait with it.
        if tree.libc().ioctl(here, ctypes.c_ulong(_SNAPSHOT), about) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(target))


def remove(folder: Path) -> None:
    """Remove a folder with all in it, at once if it is a subvolume. One that is not there is removed already; one in which something is mounted is
    refused."""
    if is_one(folder) and not tree.mounts_below(folder):
        with tree.opened(os.open(folder.parent, tree.FOLDER)) as parent:
            try:
                fcntl.ioctl(parent, _DESTROY, _named(folder))
                return
            except OSError as error:
                # Without privileges, unless mounted with user_subvol_rm_allowed; and with subvolumes inside.
                if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOTEMPTY):
                    raise
    tree.remove(folder)


def remove_with(folder: Path, name: str) -> None:
    """Remove a folder with all in it, of which what has this name may be a subvolume. A link is removed, and not followed."""
    if folder.is_dir() and not folder.is_symlink():
        remove(folder / name)
    tree.remove(folder)
