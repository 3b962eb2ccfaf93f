"""Copying and removing trees, by descriptors of the folders on the way: a link swapped in for a folder is never followed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FICLONE = 0x40049409
"""ioctl_ficlone(2): make a file share another's blocks until one of them is written."""


def copies_by(folder: Path) -> str:
    """Return the best means by which files are copied on the file system of `folder`, found by trying."""
    probe = folder / f".probe-{os.getpid()}-{os.urandom(3).hex()}"
    probe.mkdir(parents=True)
    try:
        (probe / "a").write_bytes(b"x" * 4096)
        with _opened(probe, os.O_RDONLY, "a") as source, _opened(probe, os.O_WRONLY | os.O_CREAT, "b") as target:
            return _fill(source, target)
    finally:
        shutil.rmtree(probe)


def copy(source: Path, target: Path, path: bytes) -> bool:
    """Copy one file or link from below `source` to the same place below `target`, with mode and times. False when it is neither.

    A folder on the way that is a link raises OSError; one that is missing in `target` is made.
    """
    *folders, name = path.split(b"/")
    with _descended(source, folders, make=False) as there, _descended(target, folders, make=True) as here:
        found = os.stat(name, dir_fd=there, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=there), name, dir_fd=here)
        elif stat.S_ISREG(found.st_mode):
            _copy_file(name, there, here)
        else:
            return False
        os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=here, follow_symlinks=False)
    return True


def _copy_file(name: bytes, there: int, here: int) -> None:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=there)
    try:
        mode = stat.S_IMODE(os.fstat(source).st_mode)
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=here)
        try:
            _fill(source, target)
            os.fchmod(target, mode)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _fill(source: int, target: int) -> str:
    """Give `target` the contents of `source` by the best means that works here, and say which."""
    if hasattr(os, "copy_file_range"):
        with suppress(OSError):
            fcntl.ioctl(target, _FICLONE, source)
            return "reflink"
        try:
            while os.copy_file_range(source, target, 1 << 30):
                pass
            return "kernel copy"
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            os.lseek(source, 0, os.SEEK_SET)
            os.lseek(target, 0, os.SEEK_SET)
    while chunk := os.read(source, 1 << 20):
        view = memoryview(chunk)
        while view:
            view = view[os.write(target, view) :]
    return "plain copy"


@contextmanager
def _descended(root: Path, folders: list[bytes], make: bool) -> Generator[int]:
    descriptor = os.open(root, _FOLDER)
    try:
        for folder in folders:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=descriptor)
            below = os.open(folder, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _opened(folder: Path, flags: int, name: str) -> Generator[int]:
    descriptor = os.open(folder / name, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def age(tree: Path, seconds: float) -> None:
    """Set the times of all files in a tree back, so that an index written now is younger than all of them."""
    past = time.time_ns() - int(seconds * 1e9)
    for _, _, names, folder in os.fwalk(tree):
        for name in names:
            os.utime(name, ns=(past, past), dir_fd=folder, follow_symlinks=False)


def remove(tree: Path) -> None:
    """Remove a tree, however deep, following no link. One that is not there is removed already."""
    try:
        top = os.lstat(tree)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(top.st_mode):
        return tree.unlink()
    parent = os.open(tree.parent, _FOLDER)
    try:
        _empty(parent, os.fsencode(tree.name))
    finally:
        os.close(parent)


def _empty(parent: int, name: bytes) -> None:
    """Remove the folder `name` below `parent`: deep folders are lifted to its top, so that neither recursion nor path length is a limit."""
    top = os.open(name, _FOLDER, dir_fd=parent)
    try:
        os.fchmod(top, 0o700)
        lifted = 0
        while names := os.listdir(top):
            for entry in map(os.fsencode, names):
                if not _unlinked(top, entry):
                    lifted = _lift_children(top, entry, lifted)
                    os.rmdir(entry, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _unlinked(folder: int, entry: bytes) -> bool:
    if stat.S_ISDIR(os.stat(entry, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    os.unlink(entry, dir_fd=folder)
    return True


def _lift_children(top: int, entry: bytes, lifted: int) -> int:
    below = os.open(entry, _FOLDER, dir_fd=top)
    try:
        os.fchmod(below, 0o700)
        for child in map(os.fsencode, os.listdir(below)):
            if not _unlinked(below, child):
                lifted += 1
                os.rename(child, b".lifted-%d-%s" % (lifted, os.urandom(4).hex().encode()), src_dir_fd=below, dst_dir_fd=top)
    finally:
        os.close(below)
    return lifted


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: Path) -> None:
    """Make a file's contents durable."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
