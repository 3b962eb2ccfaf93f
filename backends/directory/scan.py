"""What is in a folder now: every path in it, with the whole of its stat data as a key that any change changes.

Sizes and times alone miss what was changed and dated back, so the key has the change time and the inode too. Mount points are not crossed, and
what holds no contents (sockets, pipes, devices) is told apart. `.workspaces` folders are nobody's contents.
"""

from __future__ import annotations

import math
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from workspaces.errors import NotAllowed

from .. import tree
from ..bounds import OUTPUT, Child, Clock, attend, too_many
from ..place import WORKSPACES

MOVING = ".workspaces-moving"
"""The folder in a workspace that holds what a move of it prepares, where that cannot be elsewhere."""
UNSURE = "?"
"""The key of a path that is to be looked at again, whatever its own is: so what is remembered never equals what is seen."""
_OURS = (WORKSPACES, MOVING)
MANY = 4000
"""Entries from which on find(1), one process that does nothing else, is faster than Python."""
_KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFLNK: "l",
    stat.S_IFDIR: "d",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
    stat.S_IFBLK: "b",
    stat.S_IFCHR: "c",
}
_LEFT_OUT = [word for name in _OURS for word in ("-name", name, "-prune", "-o")]
_LOOKING = "looking at every path"
_LEAST = 0.01
"""Seconds for find when there is no time left: none would be without a bound."""
_WITHOUT_CONTENTS = {"p": "a pipe", "s": "a socket", "b": "a device", "c": "a device", "m": "a mount point"}


@dataclass(frozen=True)
class Row:
    """The stat data of one path, read back from its key."""

    kind: str
    perm: int
    size: int
    modified: int
    changed: int
    inode: int
    links: int


class Scan:
    """What a look gave: `raw`, the same text as long as nothing changed; and read from it when asked, the keys by path, and what has no contents,
    with the reason."""

    def __init__(self, raw: str) -> None:
        self.raw = raw

    @cached_property
    def _all(self) -> dict[str, str]:
        return read(self.raw)

    @cached_property
    def skipped(self) -> dict[str, str]:
        if {key[0] for key in self._all.values()} <= {"f", "l", "d"}:
            return {}
        return {path: what for path, key in self._all.items() if (what := _WITHOUT_CONTENTS.get(key[0]))}

    @cached_property
    def keys(self) -> dict[str, str]:
        return {path: key for path, key in self._all.items() if path not in self.skipped} if self.skipped else self._all


def written(keys: Mapping[str, str]) -> str:
    """Return keys as a scan would have told them."""
    return "".join(f"{path}\0{key}\0" for path, key in keys.items())


def read(raw: str) -> dict[str, str]:
    """Return the keys that a text tells, without those that are `UNSURE`."""
    words = raw.split("\0")
    keys = dict(zip(words[:-1:2], words[1::2], strict=False))
    return {path: key for path, key in keys.items() if key != UNSURE} if f"\0{UNSURE}\0" in raw else keys


def key_of(found: os.stat_result) -> str:
    """Return the key of a path: kind, permissions, size, modification and change time, inode, links."""
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "c")
    times = f"{_seconds(found.st_mtime_ns)} {_seconds(found.st_ctime_ns)}"
    return f"{kind} {stat.S_IMODE(found.st_mode):o} {found.st_size} {times} {found.st_ino} {found.st_nlink}"


def row_of(key: str) -> Row:
    kind, perm, size, modified, changed, inode, links = key.split(" ")
    return Row(kind, int(perm, 8), int(size), _nanoseconds(modified), _nanoseconds(changed), int(inode), int(links))


def scan(root: Path, expected: int = 0, clock: Clock | None = None, room: float = math.inf) -> Scan:
    """Look at every path below `root`; `expected` is about how many there are. Raises `NotAllowed` for a folder that may not be read, and
    `Limit` for more paths than there is `room` for, or when the clock says so."""
    mounts = _mounts(root)
    raw = _by_find(root, clock, room) if expected >= MANY and not mounts and _has_find() else None
    return Scan(written(dict(_by_hand(root, mounts, clock, room))) if raw is None else raw)


def _by_find(root: Path, clock: Clock | None, room: float) -> str | None:
    """Let GNU find look; None when it met with anything that it could not look at, or was not done in time."""
    bounded = clock is not None and room < math.inf
    found = subprocess.Popen(
        ["find", root, "-mindepth", "1", *_LEFT_OUT, "-printf", r"%P\0%y %m %s %T@ %C@ %i %n\0"],
        env={**os.environ, "LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    if found.stdout is None or found.stderr is None:
        return None
    child = Child(found.pid, found.stdout, found.stderr, found.wait)
    heard = attend(child, max(_LEAST, clock.left) if clock else math.inf, OUTPUT if bounded else sys.maxsize)
    if clock:
        clock.spend(heard.seconds)
    if heard.excess == "output":
        raise too_many(root, room)
    return None if heard.status != 0 or heard.err else os.fsdecode(heard.out)


@cache
def _has_find() -> bool:
    with suppress(OSError):
        return b"GNU" in subprocess.run(["find", "--version"], capture_output=True, check=False).stdout
    return False


def _by_hand(root: Path, mounts: set[str], clock: Clock | None, room: float) -> Iterator[tuple[str, str]]:
    waiting, met = [""], 0
    with tree.Folders(root) as folders:
        while waiting:
            at = waiting.pop()
            try:
                names = sorted(os.listdir(folders.at(at)), reverse=True)
            except (FileNotFoundError, NotADirectoryError):  # it vanished, or became something else: the next look shows what
                continue
            except PermissionError as error:
                raise NotAllowed(f"{root / at} may not be read.", "Change its permissions, or run as its owner.") from error
            for name, path in ((name, f"{at}/{name}" if at else name) for name in names if name not in _OURS):
                if clock:
                    clock.check(_LOOKING)
                if (met := met + 1) > room:
                    raise too_many(root, room)
                with suppress(FileNotFoundError):
                    key = key_of(os.stat(name, dir_fd=folders.at(at), follow_symlinks=False))
                    if path in mounts:
                        key = "m" + key[1:]
                    elif key[0] == "d":
                        waiting.append(path)
                    yield path, key


def in_memory(folder: Path) -> bool:
    """Return whether a folder lies on a file system in memory, as far as this system tells."""
    place = os.fsencode(os.path.realpath(folder))
    around = [(point, kind) for point, kind in tree.mount_points() if place == point or place.startswith(point.rstrip(b"/") + b"/")]
    return bool(around) and max(around, key=lambda each: len(each[0]))[1] in (b"tmpfs", b"ramfs")


def _mounts(root: Path) -> set[str]:
    """Return the mount points below `root`, relative to it. A device number would not tell a bind mount, nor a subvolume from a mount."""
    return tree.mounts_below(root) if tree.mount_points() else _other_devices(root)


def _other_devices(root: Path) -> set[str]:
    top = os.stat(root).st_dev
    found: set[str] = set()
    for at, folders, _ in os.walk(root):
        other = [name for name in folders if os.lstat(os.path.join(at, name)).st_dev != top]
        found |= {os.path.relpath(os.path.join(at, name), root) for name in other}
        folders[:] = [name for name in folders if name not in other]
    return found


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}0"


def _nanoseconds(seconds: str) -> int:
    whole, _, part = seconds.partition(".")
    return int(whole) * 10**9 + int(part[:9])
