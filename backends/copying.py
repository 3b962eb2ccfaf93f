"""Copying many files that must be as they were found before: what was changed since then is not copied.

As a program (`serve`) it does so for a parent, job after job, until its input ends: processes copy beside each other, what threads do not. So it needs
nothing but the standard library, and of that only what is loaded at once: `typing` and `contextlib` take longer than Python does to start.
"""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import stat
import struct
import sys

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FICLONE = 0x40049409
"""ioctl_ficlone(2): make a file share another's blocks until one of them is written."""
_FOUND = struct.Struct(">10I")
_LOW = 0xFFFFFFFF
_SECOND = 10**9
FINE, COARSE = _SECOND // 50, 2 * _SECOND
"""Nanoseconds within which a file system may give two changes the same time: where it tells parts of a second, and where it does not."""
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Refusals that say nothing about the one file."""


Wanted = list[tuple[bytes, bytes]]
Told = tuple[bytes, bytes, int, int, int, Wanted]


class Job:
    """What is copied between two folders: each path, with how it was found there at `since`, by the clock of the file system `device`.

    What changed then or later is not copied. Copies are dated `dated`. All times are in nanoseconds.
    """

    def __init__(self, source: bytes, target: bytes, device: int, since: int, dated: int, wanted: Wanted) -> None:
        self.source, self.target, self.device, self.since, self.dated, self.wanted = source, target, device, since, dated, wanted

    def told(self, wanted: Wanted) -> Told:
        """Return what makes the same job, for some of the paths."""
        return self.source, self.target, self.device, self.since, self.dated, wanted


def packed(found: os.stat_result, mode: int) -> bytes:
    """Return how a file is found as an index of git says it (gitformat-index(5)), but for its device."""
    changed, modified = divmod(found.st_ctime_ns, _SECOND), divmod(found.st_mtime_ns, _SECOND)
    who = found.st_uid & _LOW, found.st_gid & _LOW
    return _FOUND.pack(
        changed[0] & _LOW, changed[1], modified[0] & _LOW, modified[1], 0, found.st_ino & _LOW, mode, *who, found.st_size & _LOW
    )


def copy(job: Job) -> list[bytes]:
    """Copy files and links, which must not be there, and return how each copy is found; nothing for what was not copied."""
    with _Folders(job.source, job.target) as folders:
        return [_copied(job, *folders.at(path), known) for path, known in job.wanted]


class _Folders:
    """The same folder in the source and in the target, opened one name at a time: no link on the way is followed."""

    def __init__(self, source: bytes, target: bytes) -> None:
        self._roots = os.open(source, _FOLDER), os.open(target, _FOLDER)
        self._folder: bytes | None = None
        self._open: list[int] = []

    def at(self, path: bytes) -> tuple[list[int], bytes]:
        """Return the two folders that a path is in, or none where one of them cannot be, and its last name. The target's is made."""
        folder, _, name = path.rpartition(b"/")
        if folder != self._folder:
            self._close()
            self._folder, self._open = folder, self._opened(folder)
        return self._open, name

    def _opened(self, folder: bytes) -> list[int]:
        found = [os.dup(root) for root in self._roots]
        try:
            for name in folder.split(b"/") if folder else ():
                for side, at in enumerate(found):
                    found[side] = _below(at, name, make=side == 1)
                    os.close(at)
        except OSError as error:
            for at in found:
                os.close(at)
            if error.errno in _FATAL:
                raise
            return []
        return found

    def _close(self) -> None:
        while self._open:
            os.close(self._open.pop())

    def __enter__(self) -> _Folders:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        for root in self._roots:
            os.close(root)


def _below(folder: int, name: bytes, make: bool) -> int:
    if name == b"..":
        raise OSError(errno.EINVAL, "no name of a folder", name)
    if make:
        try:  # noqa: SIM105 - contextlib takes longer to load than Python to start
            os.mkdir(name, dir_fd=folder)
        except FileExistsError:
            pass
    return os.open(name, _FOLDER, dir_fd=folder)


def _copied(job: Job, folders: list[int], name: bytes, known: bytes) -> bytes:
    if not folders:
        return b""
    try:
        if stat.S_ISLNK(_FOUND.unpack(known)[6]):
            return _copied_link(job, folders, name, known)
        return _copied_file(job, folders, name, known)
    except OSError as error:
        if error.errno in _FATAL:
            raise
        return b""


def _copied_link(job: Job, folders: list[int], name: bytes, known: bytes) -> bytes:
    there, here = folders
    leads_to = os.readlink(name, dir_fd=there)
    if not _is_as_known(job, os.stat(name, dir_fd=there, follow_symlinks=False), known):
        return b""
    os.symlink(leads_to, name, dir_fd=here)
    os.utime(name, ns=(job.dated, job.dated), dir_fd=here, follow_symlinks=False)
    return packed(os.stat(name, dir_fd=here, follow_symlinks=False), stat.S_IFLNK)


def _copied_file(job: Job, folders: list[int], name: bytes, known: bytes) -> bytes:
    there, here = folders
    *_, mode, _, _, size = _FOUND.unpack(known)
    source = os.open(name, _READ, dir_fd=there)
    try:
        target = os.open(name, _CREATE, 0o777 if mode & 0o100 else 0o666, dir_fd=here)
        made = b""
        try:
            _fill(source, target, size)
            os.utime(target, ns=(job.dated, job.dated))
            if _is_as_known(job, os.fstat(source), known):
                made = packed(os.fstat(target), mode)
            return made
        finally:
            os.close(target)
            if not made:
                os.unlink(name, dir_fd=here)
    finally:
        os.close(source)


def _is_as_known(job: Job, found: os.stat_result, known: bytes) -> bool:
    """Return whether a file is still as it was found, which was so long after its last change that it would tell of another one.

    What was copied before this look has not changed either: a change would show, and cannot be taken out of the time of it (inode(7), ctime).
    """
    grain = FINE if found.st_ctime_ns % _SECOND else COARSE
    mode = _FOUND.unpack(known)[6]
    return (
        stat.S_IFMT(found.st_mode) == stat.S_IFMT(mode)
        and packed(found, mode) == known
        and found.st_dev == job.device
        and found.st_ctime_ns + grain < job.since
    )


_shares: list[bool] = [True]
"""Whether files can share blocks here, until it was tried."""


def _fill(source: int, target: int, size: int) -> None:
    """Give `target`, an empty file, so much of what `source` has."""
    if _shares[0] and size:
        try:
            fcntl.ioctl(target, _FICLONE, source)
            return
        except OSError as error:
            if error.errno in _FATAL:
                raise
            _shares[0] = False
    at = 0
    while at < size and (done := os.copy_file_range(source, target, size - at)):
        at += done


Answer = tuple[int, list[bytes]]
"""What came of a job: the number of a refusal, or 0 and what `copy` returned."""


def serve() -> None:
    """Do the jobs that come, and answer each."""
    while True:
        try:
            job = Job(*marshal.load(sys.stdin.buffer))  # noqa: S302 - from its parent
        except EOFError:
            return
        sys.stdout.buffer.write(marshal.dumps(_answer(job)))
        sys.stdout.buffer.flush()


def _answer(job: Job) -> Answer:
    try:
        return 0, copy(job)
    except OSError as error:
        return error.errno or errno.EIO, []
