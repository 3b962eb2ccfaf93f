"""Copying and removing trees, by descriptors of the folders on the way: a link swapped in for a folder is never followed."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import stat
import struct
import time
from bisect import bisect_left
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

reflink: Callable[[str, str], None] | None
try:
    import reflink_copy
except ImportError:  # the optional extra `reflink`
    reflink = None
else:
    reflink = reflink_copy.reflink

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
ABSENT = (FileNotFoundError, NotADirectoryError)
"""What says that nothing is there. Any other refusal (no descriptor, a bad disk) says nothing of it, and must not be taken for that."""
_RUNGS = 200
"""Folders on a way that are kept open at most; those below are opened anew each time."""
_FICLONE = 0x40049409
"""ioctl_ficlone(2): make a file share another's blocks until one of them is written."""
_SET_FLAGS = 0x4008941A
"""BTRFS_IOC_SUBVOL_SETFLAGS, of linux/btrfs.h."""


def copies_by(folder: Path) -> str:
    """Return the best means by which files are copied on the file system of `folder`, found by trying."""
    probe = folder / f".probe-{os.getpid()}-{os.urandom(3).hex()}"
    probe.mkdir(parents=True)
    try:
        (probe / "a").write_bytes(b"x" * 4096)
        with opened(os.open(probe / "a", os.O_RDONLY)) as source, opened(os.open(probe, FOLDER)) as here:
            if not KERNEL_COPIES and clone(source, here, "b"):
                return "reflink"
            with opened(os.open("c", CREATE, 0o600, dir_fd=here)) as target:
                return fill(source, target)
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
    with opened(os.open(name, READ, dir_fd=there)) as source, opened(os.open(name, CREATE, 0o600, dir_fd=here)) as target:
        fill(source, target)
        os.fchmod(target, stat.S_IMODE(os.fstat(source).st_mode))


KERNEL_COPIES = hasattr(os, "copy_file_range")
"""Whether this system has the calls that `fill` makes; where not, `clone` may serve."""


def clone(source: int, folder: int, name: str) -> bool:
    """Make a file that shares an open one's blocks, by the extra `reflink` (clonefile(2) on macOS, ReFS on Windows). False where that cannot be.

    It takes paths, so both must lie where nobody else changes anything.
    """
    if reflink is None:
        return False
    try:
        reflink(_path_of(source), f"{_path_of(folder)}/{name}")
    except OSError:
        return False
    return True


def _path_of(descriptor: int) -> str:
    command: int | None = getattr(fcntl, "F_GETPATH", None)
    if command is None:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    return os.fsdecode(fcntl.fcntl(descriptor, command, bytes(1024)).rstrip(b"\0"))


def fill(source: int, target: int) -> str:
    """Give `target`, an empty file, the contents that `source` has now, by the best means that works here, and say which. Holes stay holes.

    Of a file that grows meanwhile, a copy holds no more than it had at the start.
    """
    if KERNEL_COPIES:
        with suppress(OSError):
            fcntl.ioctl(target, _FICLONE, source)
            return "reflink"
    found = os.fstat(source)
    means = "plain copy"
    for start, end in filled(source):
        means = _copy_range(source, target, start, end)
    if os.fstat(target).st_size < found.st_size:
        os.ftruncate(target, found.st_size)
    return means


def filled(source: int) -> Generator[tuple[int, int]]:
    """Yield the parts of a file that hold data: all of it, unless it has holes."""
    found = os.fstat(source)
    if found.st_blocks * 512 >= found.st_size:
        yield 0, found.st_size
        return
    at = 0
    while at < found.st_size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        at = os.lseek(source, start, os.SEEK_HOLE)
        yield start, min(at, found.st_size)


def _copy_range(source: int, target: int, start: int, end: int) -> str:
    at = start
    if KERNEL_COPIES:
        try:
            while at < end and (done := os.copy_file_range(source, target, min(end - at, 1 << 30), at, at)):
                at += done
            return "kernel copy"
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
    while at < end and (chunk := os.pread(source, min(end - at, 1 << 20), at)):
        view = memoryview(chunk)
        while view:
            done = os.pwrite(target, view, at)
            at, view = at + done, view[done:]
    return "plain copy"


def start_of(file: Path | str, limit: int, folder: int | None = None) -> bytes:
    """Return the first bytes of a file (in an open folder), and nothing of anything else in its place: reading a pipe never returns, and a device
    never ends."""
    try:
        descriptor = os.open(file, READ, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            return b""
        raise
    with opened(descriptor):
        return os.pread(descriptor, limit, 0) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""


class Folders:
    """Descriptors of the folders below a root, opened one name at a time, so that no link on the way is followed.

    Those on the way to the last one are kept open, the nearest `_RUNGS` of them: what comes in the order of paths opens each folder once, and
    costs the same however deep it is.
    """

    def __init__(self, root: Path | str, make: bool = False) -> None:
        self._root = os.open(root, FOLDER)
        self._make = make
        self._asked = ""
        self._way: list[int] = []
        self._ends: list[int] = []  # of `_asked`, how far each folder on the way goes
        self._closed = 0

    def at(self, folder: str) -> int:
        """Return the descriptor of a folder (`""` for the root), good until the next call. With `make`, missing ones are made."""
        if folder != self._asked or len(folder) != self._end:
            known = bisect_left(self._ends, True, key=lambda end: not self._shares(folder, end))
            self._close_from(known if known > self._closed else 0)
            self._asked = folder
            self._go_on(folder)
        return self._way[-1] if self._way else self._root

    @property
    def _end(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _shares(self, folder: str, end: int) -> bool:
        """Return whether the folder on the way that goes so far is `folder`, or above it."""
        return folder[:end] == self._asked[:end] and folder[end : end + 1] in ("", "/")

    def _go_on(self, folder: str) -> None:
        for name in folder[self._end :].removeprefix("/").split("/") if len(folder) > self._end else ():
            below = self._below(self._way[-1] if self._way else self._root, name)
            self._ends.append(self._end + len(name) + (1 if self._way else 0))
            self._way.append(below)
            if len(self._way) - self._closed > _RUNGS:
                os.close(self._way[self._closed])
                self._closed += 1

    def _below(self, parent: int, name: str) -> int:
        if self._make:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
        return os.open(name, FOLDER, dir_fd=parent)

    def _close_from(self, known: int) -> None:
        while len(self._way) > max(known, self._closed):
            os.close(self._way.pop())
        del self._way[known:], self._ends[known:]
        self._closed = min(self._closed, known)

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_from(0)
        os.close(self._root)


@contextmanager
def _descended(root: Path, folders: list[bytes], make: bool) -> Generator[int]:
    descriptor = os.open(root, FOLDER)
    try:
        for folder in folders:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=descriptor)
            below = os.open(folder, FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened(descriptor: int) -> Generator[int]:
    """Close a descriptor at the end of the block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def refused(error: OSError) -> None:
    """Let `os.walk` raise what it would pass over: a folder that cannot be read is not an empty one."""
    raise error


def age(tree: Path, seconds: float) -> None:
    """Set the times of all files in a tree back, so that an index written now is younger than all of them."""
    past = time.time_ns() - int(seconds * 1e9)
    for _, _, names, folder in os.fwalk(tree):
        for name in names:
            os.utime(name, ns=(past, past), dir_fd=folder, follow_symlinks=False)


def refuse_mounts(tree: Path) -> None:
    """Raise OSError for a tree in which something is mounted."""
    if mounts_below(tree):
        raise OSError(errno.EBUSY, "something is mounted in it", str(tree))


def remove(tree: Path) -> None:
    """Remove a tree, however deep, following no link. One that is not there is removed already; one in which something is mounted is refused."""
    try:
        top = os.lstat(tree)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(top.st_mode):
        return tree.unlink()
    refuse_mounts(tree)
    parent = os.open(tree.parent, FOLDER)
    try:
        _empty(parent, os.fsencode(tree.name))
    finally:
        os.close(parent)


def _empty(parent: int, name: bytes) -> None:
    """Remove the folder `name` below `parent`: deep folders are lifted to its top, so that neither recursion nor path length is a limit."""
    top = os.open(name, FOLDER, dir_fd=parent)
    try:
        _unlock(top)
        lifted = 0
        while names := _names(top):
            for entry in map(os.fsencode, names):
                if not _unlinked(top, entry):
                    lifted = _lift_children(top, entry, lifted)
                    os.rmdir(entry, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _unlock(folder: int) -> None:
    """Let an open folder be emptied, whatever its mode, and if it is a snapshot that nobody was to write to."""
    try:
        os.fchmod(folder, 0o700)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        fcntl.ioctl(folder, _SET_FLAGS, struct.pack("=Q", 0))
        os.fchmod(folder, 0o700)


def _names(folder: int) -> list[str]:
    """Return what is in an open folder now. It is opened anew for that: listed again, it need not tell of what came since it was opened or rewound
    (readdir(3)), and on btrfs it does not."""
    with opened(os.open(".", FOLDER, dir_fd=folder)) as anew:
        return os.listdir(anew)


def _unlinked(folder: int, entry: bytes) -> bool:
    if stat.S_ISDIR(os.stat(entry, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    os.unlink(entry, dir_fd=folder)
    return True


def _lift_children(top: int, entry: bytes, lifted: int) -> int:
    below = os.open(entry, FOLDER, dir_fd=top)
    try:
        _unlock(below)
        for child in map(os.fsencode, os.listdir(below)):
            if not _unlinked(below, child):
                lifted += 1
                try:
                    os.rename(child, b".lifted-%d-%s" % (lifted, os.urandom(4).hex().encode()), src_dir_fd=below, dst_dir_fd=top)
                except OSError as error:
                    if error.errno not in (errno.EXDEV, errno.EROFS):
                        raise
                    _empty(below, child)  # in a subvolume of its own
    finally:
        os.close(below)
    return lifted


def mount_points() -> list[tuple[bytes, bytes]]:
    """Return where what kinds of file systems are mounted (proc_pid_mountinfo(5)); nothing where the system does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except (*ABSENT, PermissionError):
        return []
    rows = (line.split(b" ") for line in lines)
    return [(row[4].decode("unicode_escape").encode("latin-1"), row[row.index(b"-") + 1]) for row in rows]


def mounts_below(folder: Path) -> set[str]:
    """Return the mount points below a folder, relative to it."""
    above = os.fsencode(os.path.realpath(folder)).rstrip(b"/") + b"/"
    return {os.fsdecode(point[len(above) :]) for point, _ in mount_points() if point.startswith(above)}


_relaxed: set[str] = set()
"""Folders in which nothing is made durable, for those who prefer speed. Set when a project is opened, and never taken back."""


def relax(*folders: Path) -> None:
    """Make nothing durable below these folders any more."""
    _relaxed.update(f"{folder}/" for folder in folders)


def is_relaxed(folder: Path) -> bool:
    return any(f"{folder}/".startswith(above) for above in _relaxed)


def sync(*folders: Path) -> None:
    """Make the names in folders durable, in each once."""
    for folder in dict.fromkeys(folders):
        if not is_relaxed(folder):
            with opened(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as descriptor:
                os.fsync(descriptor)


def sync_file(file: Path) -> None:
    """Make a file's contents durable."""
    if not is_relaxed(file.parent):
        with opened(os.open(file, os.O_RDONLY | os.O_CLOEXEC)) as descriptor:
            os.fsync(descriptor)


def hand_over(file: Path) -> None:
    """Have the system begin to write a file's contents out, and wait for nothing (posix_fadvise(2) says so of Linux)."""
    if hasattr(os, "posix_fadvise"):
        with opened(os.open(file, os.O_RDONLY | os.O_CLOEXEC)) as descriptor:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_in(folder: int, name: str) -> None:
    """Make the contents of a file in an open folder durable."""
    with opened(os.open(name, READ, dir_fd=folder)) as descriptor:
        os.fsync(descriptor)


def sync_all(folder: Path) -> None:
    """Make everything on the file system of `folder` durable."""
    if not is_relaxed(folder):
        flush(folder)


def flush(folder: Path) -> None:
    """Write out everything on the file system of `folder`, so that times on it tell of every change: syncfs(2) where there is one, else all
    file systems."""
    syncfs = getattr(libc(), "syncfs", None)
    with opened(os.open(folder, FOLDER)) as descriptor:
        if syncfs is None:
            os.sync()
        elif syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))


@cache
def libc() -> ctypes.CDLL:
    """Return what is called by no module of Python's."""
    return ctypes.CDLL(None, use_errno=True)
