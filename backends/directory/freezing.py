"""Freezing a folder: a manifest of all that is there now, reading only what changed since it was last looked at.

What was seen is remembered in an index, by the whole key of a path (`scan`). A file that was changed so lately that another change could leave
the same times is not remembered, and read again at the next look (gitformat-index(5), "racily clean"). Before changed files are read, the file
system is synced: writes through a memory map that come after the read then show in the times.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from workspaces.errors import BackendFailed, Limit, NotAllowed, translated

from .. import tree, views
from ..bounds import Clock, too_many
from ..copying import COARSE, FINE
from .manifest import UNKNOWN, Entry, How, Manifest, delta, packed_attributes, texts
from .pool import HELD, SMALL, Pool, unread
from .scan import UNSURE, Row, in_memory, key_of, read, row_of, scan, written

_TRIES = 4
_PORTION = 100
"""Files between two looks at the clock."""
_WAITS = 12


_Read = Callable[[int, Row], str]
"""Names the contents of an open file."""


class Index:
    """What was last seen of a folder: its manifest, and the keys of its paths. A path without a key is looked at again.

    On disk: one line of JSON that says how the manifest differs from a snapshot's, and the keys as a scan tells them.
    """

    def __init__(self, manifest: Manifest, raw: str, roots: Roots) -> None:
        self.manifest, self.raw, self._roots = manifest, raw, roots

    @cached_property
    def keys(self) -> dict[str, str]:
        return read(self.raw)

    @classmethod
    def load(cls, file: Path, roots: Roots) -> Index:
        """Read an index; one that is missing or damaged is empty: it only saves work."""
        try:
            head, _, raw = file.read_bytes().decode(errors="surrogateescape").partition("\n")
            parts: JsonValue = json.loads(head)
            return cls(_manifest(parts if isinstance(parts, dict) else {}, roots), raw, roots)
        except (OSError, ValueError, KeyError, BackendFailed):
            return cls(Manifest(), "", roots)

    def save(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        root = self.manifest.root
        what, how, gone = delta(self._roots(root) if root else Manifest(), self.manifest)
        head = {"root": root, "what": what, "how": how, "gone": gone, "totals": [f"{total:x}" for total in self.manifest.totals]}
        views.write(file, f"{json.dumps(head)}\n{self.raw}".encode(errors="surrogateescape"))

    def changed(self, put: Mapping[str, tuple[str, str]], gone: Iterable[str], keys: Mapping[str, str]) -> Index:
        """Return the index of a manifest with these changes, and with these keys."""
        return Index(self.manifest.changed(put, gone), written(keys), self._roots)


def _manifest(head: Mapping[str, JsonValue], roots: Roots) -> Manifest:
    what, how, gone, totals, root = texts(head["what"]), texts(head["how"]), head["gone"], head["totals"], str(head["root"])
    if not isinstance(gone, list) or not isinstance(totals, list):
        raise ValueError("not an index")
    seen, everything = (int(str(total), 16) for total in totals)
    if not root:
        return Manifest(what, how, totals=(seen, everything))
    left = [str(path) for path in gone]
    rows = {path: (what[path], how[path]) for path in what}
    touched = frozenset([*what, *left])
    later = partial(_with_changes, roots, root, rows, left) if touched else partial(roots, root)
    roots.probe(root)
    return Manifest(root=root, touched=touched, totals=(seen, everything), later=later)


def _with_changes(roots: Roots, root: str, rows: Mapping[str, tuple[str, str]], gone: Iterable[str]) -> Manifest:
    return roots(root).changed(rows, gone)


class Roots(Protocol):
    """Where an index finds the snapshots that it stands on."""

    def __call__(self, root: str) -> Manifest:
        """Return the manifest of a snapshot."""
        ...

    def probe(self, root: str) -> None:
        """Raise `BackendFailed` when it is not there."""
        ...


@dataclass(frozen=True)
class Frozen:
    """A folder as it was. `skipped` has no contents to copy; `unsteady` files were written while they were read."""

    index: Index
    skipped: Mapping[str, str]
    unsteady: tuple[str, ...]

    @property
    def manifest(self) -> Manifest:
        return self.index.manifest


@dataclass(frozen=True)
class _Seen:
    key: str
    what: str
    how: str
    is_steady: bool = True


def freeze(location: Path, file: Path, pool: Pool, roots: Roots, is_first: bool, clock: Clock, room: float) -> Frozen:
    """Freeze a folder whose index is in `file`. With `is_first`, when nothing was ever kept, large files are named without reading them.

    Raises `Limit` for more paths than there is `room` for, and when the clock says so; what was read by then is remembered, so calling it again
    goes on from there.
    """
    try:
        return _frozen(location, file, pool, roots, Index.load(file, roots), is_first, clock, room)
    except BackendFailed:  # the snapshot that the index stands on is damaged; the folder is not
        return _frozen(location, file, pool, roots, Index(Manifest(), "", roots), False, clock, room)


def _frozen(location: Path, file: Path, pool: Pool, roots: Roots, known: Index, is_first: bool, clock: Clock, room: float) -> Frozen:
    found = scan(location, known.raw.count("\0") // 2, clock, room)
    if found.raw == known.raw:
        return Frozen(known, {}, ())
    changed = sorted(path for path, _ in found.keys.items() - known.keys.items())
    gone = known.manifest.what.keys() - found.keys.keys()
    if not changed and not gone:
        return Frozen(known, found.skipped, ())
    if len(found.keys) > room:
        raise too_many(location, room)
    clock.allow(len(changed))
    now = time_at(file.parent)  # before the sync: what is written while it runs is young, too
    tree.flush(location)
    looked = len(changed)
    seen: dict[str, _Seen] = {}
    for at in range(0, len(changed), _PORTION):
        if at and clock.left <= 0:
            looked = at
            break
        seen |= _look(location, changed[at : at + _PORTION], pool, _reader(pool, now, is_first and not known.keys))
    later = {*changed[looked:]}
    gone |= {path for path in changed[:looked] if path not in seen}
    fresh = {path: one.key for path, one in seen.items() if one.is_steady and not _is_racy(row_of(one.key), now)}
    if in_memory(location):  # there, a write through a memory map never shows in the times
        fresh = {path: key for path, key in fresh.items() if not key.startswith("f")}
    keys = {
        path: fresh.get(path, UNSURE) if path in seen else key for path, key in found.keys.items() if path not in gone and path not in later
    }
    rows = {path: (one.what, one.how) for path, one in seen.items()}
    made = known.changed(rows, gone, keys)
    made.save(file)
    if later:
        raise Limit(
            f"{location} is too large: {looked:,} of {len(changed):,} changed files were read in the time that a call has. "
            "Nothing was changed.",
            "Take out what is generated; where it is a few large files, call again: it goes on from there. Deleting with discard_unmerged "
            "always works.",
        )
    return Frozen(made, found.skipped, tuple(path for path, one in seen.items() if not one.is_steady))


def remember(file: Path, keys: Mapping[str, str], manifest: Manifest, roots: Roots) -> None:
    """Write the index of a folder that was just made, and that nobody else has seen yet, waiting where a large file would have to be read again."""
    now = time_at(file.parent)
    young = {path for path, key in keys.items() if _is_racy(row_of(key), now)}
    for _ in range(_WAITS):
        if not any(manifest.how_at(path).size > SMALL for path in young):
            break
        time.sleep(FINE / 4e9)
        now = time_at(file.parent)
        young = {path for path in young if _is_racy(row_of(keys[path]), now)}
    if in_memory(file.parent):
        young |= {path for path, key in keys.items() if key.startswith("f")}
    Index(manifest, written({path: UNSURE if path in young else key for path, key in keys.items()}), roots).save(file)


def _is_racy(row: Row, now: int) -> bool:
    tick = FINE if row.changed % 10**9 else COARSE
    return row.changed > now - tick


def time_at(folder: Path) -> int:
    """Return the time that the file system of `folder` gives to a file now, in nanoseconds."""
    folder.mkdir(parents=True, exist_ok=True)
    with tree.opened(os.open(folder / ".clock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)) as file:
        os.utime(file)
        return os.fstat(file).st_mtime_ns


def _look(location: Path, paths: list[str], pool: Pool, read: _Read) -> dict[str, _Seen]:
    """Read the paths. What vanished meanwhile is left out; what became a link or a folder's place is what it is now."""
    seen: dict[str, _Seen] = {}
    with tree.Folders(location) as folders:
        for path in paths:
            at, _, name = path.rpartition("/")
            try:
                one = _seen(folders.at(at), name, pool, read)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except PermissionError as error:
                raise NotAllowed(f"{location / path} may not be read. Nothing was changed.", "Change its permissions.") from error
            except OSError as error:
                if os.path.islink(location / at):
                    continue
                raise translated(error) from error
            if one is not None:
                seen[path] = one
    return seen


def _seen(folder: int, name: str, pool: Pool, read: _Read) -> _Seen | None:
    for _ in range(_TRIES):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        row = row_of(key_of(found))
        if row.kind == "l":
            target = os.readlink(name, dir_fd=folder)
            return _Seen(key_of(found), Entry("l", 0, target).line, How(row.size, row.modified).line)
        if row.kind == "d":
            with tree.opened(os.open(name, tree.FOLDER, dir_fd=folder)) as file:
                return _Seen(key_of(found), Entry("d", row.perm, "", _attributes(file)).line, How(0, row.modified).line)
        if row.kind != "f":
            return None
        try:
            descriptor = os.open(name, tree.READ, dir_fd=folder)
        except OSError:
            if key_of(os.stat(name, dir_fd=folder, follow_symlinks=False)) == key_of(found):
                raise
            continue  # it became something else in between
        with tree.opened(descriptor) as file:
            return _file(file, pool, read)
    return None


def _reader(pool: Pool, now: int, is_first: bool) -> _Read:
    """Return how contents are named: at first sight a large file is not read, unless its times would not tell a change; later a small one is
    frozen as it is read, for its agent may go on writing."""

    def first(file: int, row: Row) -> str:
        return unread(row.size) if row.size > SMALL and not _is_racy(row, now) else pool.named(file)

    def later(file: int, row: Row) -> str:
        return pool.named(file) if row.size > HELD else pool.add(file)

    return first if is_first else later


def _file(file: int, pool: Pool, read: _Read) -> _Seen:
    for _ in range(_TRIES):
        before = os.fstat(file)
        content = read(file, row_of(key_of(before)))
        after = os.fstat(file)
        if key_of(before) == key_of(after):
            return _described(file, after, content, True)
    # It is being written all the time. A copy is at least the same for everybody who looks at this snapshot.
    content = pool.add(file)
    return _described(file, os.fstat(file), content, False)


def _described(file: int, found: os.stat_result, content: str, is_steady: bool) -> _Seen:
    """Return what was seen of a file. How much of an unsteady one the copy holds is not known."""
    row = row_of(key_of(found))
    link = row.inode if row.links > 1 else 0
    what = Entry("f", row.perm, content, _attributes(file)).line
    return _Seen(key_of(found), what, How(row.size if is_steady else UNKNOWN, row.modified, link).line, is_steady)


def _attributes(file: int) -> str:
    """Return the extended attributes that an owner can give to a copy: his own, and access lists."""
    if not hasattr(os, "listxattr"):
        return ""
    try:
        names = [name for name in os.listxattr(file) if name.startswith(("user.", "system.posix_acl"))]
        return packed_attributes({name: os.getxattr(file, name) for name in names})
    except OSError:
        return ""
