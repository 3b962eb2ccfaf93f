"""Contents of files, frozen: each once, under a name that says what it is, or (a large file that was never hashed) which it is.

`h<sha256, shortened>` names contents by what they are. `n<size>-<random>` names a large file as it was first seen: reading 10 GB to name it would
cost more than all else. Whatever is hashed later is looked for among these too, so equal contents have one name. Never a hard link of anybody's file.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .. import tree

SMALL = 1 << 17
"""Bytes up to which a file is hashed when it is first seen."""
HELD = 1 << 26
"""Bytes up to which a changed file is frozen as soon as it is seen; a larger one when it is kept, or when its text is needed."""
_HUGE, _BLOCK = 1 << 32, 1 << 16
"""Bytes from which on a file is hashed by its blocks, and bytes of one."""


_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Pool:
    """Frozen contents in a folder, on top of those of another pool, which is only read."""

    def __init__(self, folder: Path, below: Pool | None = None) -> None:
        self.folder, self.below = folder, below

    def place(self, name: str) -> Path:
        return self.folder / ("large" if name.startswith("n") else name[1:3]) / name

    def open(self, name: str) -> int | None:
        """Open the file that holds these contents, if there is one."""
        shard = "large" if name.startswith("n") else name[1:3]
        for pool in (self.below, self) if self.below else (self,):
            with suppress(FileNotFoundError):
                return os.open(f"{pool.folder}/{shard}/{name}", tree.READ)
        return None

    def sizes(self) -> dict[str, int]:
        """Return the sizes of all contents in here, by name."""
        return {entry.name: entry.stat().st_size for shard in _listed(self.folder) for entry in (self.folder / shard).glob("[hn]*")}

    def holds(self, name: str) -> bool:
        return self.place(name).exists() or (self.below is not None and self.below.holds(name))

    def names(self) -> set[str]:
        """Return the names of all contents in here."""
        return {name for shard in _listed(self.folder) for name in _listed(self.folder / shard)}

    def add(self, source: int, name: str = "") -> str:
        """Freeze what an open file holds now, and return its name: the given one if that is right, or that of its hash."""
        draft = self._draft()
        try:
            with tree.opened(os.open(draft, _NEW, 0o600)) as target:
                tree.fill(source, target)
                name = _checked(target, name) if name else self.named(target)
            self._settle(draft, name)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return name

    def add_new(self, source: int, name: str) -> str:
        """Freeze what an open file holds now, under a name that is not here yet, into a pool that nobody else sees: it may be left half made.

        Returns the name of what was frozen: another one, where the file is not what the name says, whatever its times say.
        """
        place = f"{self.folder}/{'large' if name.startswith('n') else name[1:3]}"
        try:
            target = os.open(f"{place}/{name}", _NEW, 0o600)
        except FileNotFoundError:
            os.makedirs(place)
            target = os.open(f"{place}/{name}", _NEW, 0o600)
        with tree.opened(target):
            tree.fill(source, target)
            return _checked(target, name)

    def add_bytes(self, data: bytes) -> str:
        name = f"h{hashlib.sha256(data).hexdigest()[:40]}"
        if not self.holds(name):
            draft = self._draft()
            draft.write_bytes(data)
            self._settle(draft, name)
        return name

    def _draft(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"draft-{os.urandom(8).hex()}"

    def _settle(self, draft: Path, name: str) -> None:
        place = self.place(name)
        place.parent.mkdir(exist_ok=True)
        draft.rename(place)

    def named(self, file: int) -> str:
        """Return the name of what an open file holds: that of its hash, or of the large file that is known to hold the same."""
        size = os.fstat(file).st_size
        name = f"h{_hash(file, size)}"
        same = (large for large in self._large(size) if f"h{self._hash_of(large)}" == name) if size > SMALL else iter(())
        return next(same, name)

    def _large(self, size: int) -> Iterator[str]:
        yield from (name for name in _listed(self.folder / "large") if name.startswith(f"n{size}-") and not name.endswith(".hash"))
        if self.below:
            yield from self.below._large(size)

    def _hash_of(self, large: str) -> str:
        holder = self.below if self.below and self.below.place(large).exists() else self
        memo = holder.place(f"{large}.hash")
        with suppress(OSError):
            return memo.read_text()
        opened = self.open(large)
        if opened is None:
            return ""
        with tree.opened(opened) as file:
            found = _hash(file, os.fstat(file).st_size)
        with suppress(OSError):
            memo.write_text(found)
        return found

    def bring_in(self, other: Pool) -> None:
        """Move the contents of another pool, on the same file system, in here."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for shard in _listed(other.folder):
            try:
                (other.folder / shard).rename(self.folder / shard)
                continue
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            for name in _listed(other.folder / shard):
                (other.folder / shard / name).rename(self.folder / shard / name)

    def drop_all_but(self, wanted: set[str]) -> None:
        """Remove all contents that are not wanted."""
        for shard in _listed(self.folder):
            if shard.startswith("draft-"):
                (self.folder / shard).unlink(missing_ok=True)
                continue
            for name in _listed(self.folder / shard):
                if name.removesuffix(".hash") not in wanted:
                    (self.folder / shard / name).unlink(missing_ok=True)


def _checked(file: int, name: str) -> str:
    return name if name.startswith("n") else f"h{_hash(file, os.fstat(file).st_size)}"


def unread(size: int) -> str:
    """Return a new name for a large file that nobody has read yet."""
    return f"n{size}-{os.urandom(12).hex()}"


def _hash(file: int, size: int) -> str:
    if size > _HUGE:
        return _hash_of_huge(file, size)
    digest, at = hashlib.sha256(), 0
    while at < size and (chunk := os.pread(file, min(1 << 20, size - at), at)):
        digest.update(chunk)
        at += len(chunk)
    return digest.hexdigest()[:40]


def _hash_of_huge(file: int, size: int) -> str:
    """Return a hash of the blocks that are not all zeros, each with its place: what a hole is costs nothing, however large it claims to be."""
    digest, empty = hashlib.sha256(b"blocks %d" % size), bytes(_BLOCK)
    done = 0
    for start, end in tree.filled(file):
        for at in range(max(done, start - start % _BLOCK), end, _BLOCK):
            block, done = os.pread(file, _BLOCK, at), at + _BLOCK
            if block != empty[: len(block)]:
                digest.update(b"%d %d\0" % (at, len(block)) + block)
    return digest.hexdigest()[:40]


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
