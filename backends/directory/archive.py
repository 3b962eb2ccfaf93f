"""The snapshots that are kept, and by whom: records on disk, and contents in a pool, until nobody names them any more.

A record holds a whole manifest, or what differs from one that does. Whoever keeps something holds the archive shared; whoever clears away what
nobody keeps, alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from pydantic import JsonValue

from workspaces.errors import BackendFailed
from workspaces.locks import beside, together

from .. import subvolume, tree, views
from .manifest import UNKNOWN, Manifest, delta, texts
from .pool import Pool

_REMEMBERED = 8


@dataclass(frozen=True)
class Live:
    """A folder from which contents can still be read, as long as a file there has the key that it had; `index` is the file of its index."""

    location: Path
    index: Path
    keys: Mapping[str, str]
    manifest: Manifest

    def place(self, name: str) -> str:
        """Return where contents are, or nothing: first among what was touched, for the rest is mostly kept already."""
        return self._near.get(name) or self._all.get(name, "")

    @cached_property
    def _near(self) -> dict[str, str]:
        return {found.content: path for path, found in self.manifest.touched_files}

    @cached_property
    def _all(self) -> dict[str, str]:
        return {found.content: path for path, found in self.manifest.files}


@dataclass(frozen=True)
class Record:
    """A snapshot: what it holds, which earlier ones it descends from, and when it was made (in nanoseconds)."""

    id: str
    manifest: Manifest
    parents: tuple[str, ...] = ()
    live: tuple[Live, ...] = ()
    made: int = 0

    @property
    def lost(self) -> BackendFailed:
        """The error for contents that are not there any more."""
        return BackendFailed(f"Contents of the snapshot {self.id[:12]} are gone.", "workspaces doctor looks closer.")

    @classmethod
    def of(cls, manifest: Manifest, parents: Sequence[str], live: tuple[Live, ...] = ()) -> Record:
        text = json.dumps([manifest.contents, manifest.state, [*parents]])
        return cls(hashlib.sha256(text.encode()).hexdigest()[:40], manifest, tuple(parents), live, time.time_ns())


@dataclass(frozen=True)
class About:
    """The contents of a snapshot, when it was made, and what it descends from."""

    contents: str
    made: int
    parents: tuple[str, ...]


class Archive:
    """The records and contents below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pool = Pool(folder / "pool")
        self._records: dict[str, Record] = {}
        self._placed: tuple[str, dict[str, str]] = ("", {})

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever kept."""
        return not (self.folder / "keeps").exists()

    def load(self, name: str) -> Record:
        """Read a record. Raises `BackendFailed` when it is not there, or damaged. The last few are remembered: a name says what it holds."""
        found = self._records.pop(name, None) or self._read(name)
        self._records[name] = found
        for earlier in [*self._records][:-_REMEMBERED]:  # of a list: other threads load too
            self._records.pop(earlier, None)
        return found

    def __call__(self, root: str) -> Manifest:
        return self.load(root).manifest

    def probe(self, root: str) -> None:
        if not self.holds(root):
            raise _lost(root)

    def holds(self, name: str) -> bool:
        return self._file(name).exists()

    def about(self, name: str) -> About:
        """Return what there is to know of a snapshot without reading its manifest."""
        try:
            contents, made, *parents = self._file(name).with_suffix(".about").read_text().split()
            return About(contents, int(made), tuple(parents))
        except (*tree.ABSENT, ValueError) as error:
            raise _lost(name) from error

    def _file(self, name: str) -> Path:
        return self.folder / "snapshots" / f"{name}.json"

    def _parsed(self, name: str) -> dict[str, JsonValue]:
        try:
            read: JsonValue = json.loads(self._file(name).read_bytes())
        except (*tree.ABSENT, ValueError) as error:
            raise _lost(name) from error
        return read if isinstance(read, dict) else {}

    def _read(self, name: str) -> Record:
        try:
            return self._understood(name, self._parsed(name))
        except (ValueError, KeyError) as error:
            raise _lost(name) from error

    def _understood(self, name: str, read: dict[str, JsonValue]) -> Record:
        gone, totals = read.get("gone"), read.get("totals")
        what, how, of = texts(read.get("what")), texts(read.get("how")), str(read.get("of") or "")
        seen, everything = (int(str(total), 16) for total in totals) if isinstance(totals, list) else (0, 0)
        about = self.about(name)
        if not of:
            return Record(name, Manifest(what, how, name, totals=(seen, everything)), about.parents, made=about.made)
        rows = {path: (what[path], how[path]) for path in what}
        left = [str(path) for path in gone] if isinstance(gone, list) else []
        return Record(name, self.load(of).manifest.changed(rows, left), about.parents, made=about.made)

    # -- whole trees

    def tree(self, name: str) -> Path:
        """Return where the whole tree of a record is, or would be."""
        return self.folder / "frozen" / name

    def open_frozen(self, record: Record, name: str) -> int | None:
        """Open contents in a whole tree: the one that a record stands on, or any other that has them."""
        near = record.manifest.root or record.id
        trees = [near, *(place.name for place in (self.folder / "frozen").glob("*") if place.name != near)]
        for root in (root for root in trees if self.holds(root) and self.tree(root).exists()):
            if (path := self._places(root).get(name)) is not None:
                with tree.Folders(self.tree(root)) as folders:
                    return os.open(path.rpartition("/")[2], tree.READ, dir_fd=folders.at(path.rpartition("/")[0]))
        return None

    def _places(self, root: str) -> dict[str, str]:
        of, places = self._placed
        if of != root:
            places = {found.content: path for path, found in self.load(root).manifest.files}
            self._placed = (root, places)
        return places

    # -- keeping

    @contextmanager
    def held(self, alone: bool = False) -> Generator[bool]:
        """Keep what is in the archive from being collected until the block ends. `alone` keeps everybody off. See `locks.together`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a") as lock, together(lock.fileno(), self.folder / "lock", alone) as held:
            yield held

    @contextmanager
    def looked_at(self) -> Generator[None]:
        """Keep what is in the archive from being collected while somebody looks at it, unless that is under way already. Nothing is written."""
        with ExitStack() as held:
            with suppress(*tree.ABSENT):
                beside(held.enter_context((self.folder / "lock").open()).fileno())
            yield

    def standing(self, record: Record) -> Record:
        """Return the record as one that stands on a near one which is written whole, or on none: then it is to be written whole itself."""
        for near in self._whole_ones(record):
            try:
                what, _, gone = delta(self.load(near).manifest, record.manifest)
            except BackendFailed:  # damaged; this one can be whole
                continue
            if 4 * (len(what) + len(gone)) < len(record.manifest.what):
                return replace(record, manifest=record.manifest.standing(near, frozenset([*what, *gone])))
            break
        return replace(record, manifest=record.manifest.standing("", frozenset()))

    def _whole_ones(self, record: Record) -> Generator[str]:
        """Yield a record written whole that this one may be near to: that which its manifest stands on, else the last."""
        if record.manifest.root and self.holds(record.manifest.root):
            yield record.manifest.root
        with suppress(OSError):
            last = (self.folder / "snapshots" / "last").read_text()
            if self.holds(last):
                yield last

    def write(self, record: Record) -> None:
        """Write a `standing` record, whose contents are kept, durably. Writing it again changes nothing."""
        if self.holds(record.id):
            return
        near = record.manifest.root
        what, how, gone = delta(self.load(near).manifest if near else Manifest(), record.manifest)
        told: dict[str, JsonValue] = {"of": near} if near else {}
        told |= {"what": dict(what), "how": dict(how), "gone": [*gone], "totals": [f"{total:x}" for total in record.manifest.totals]}
        file = self._file(record.id)
        views.write(file.with_suffix(".about"), " ".join([record.manifest.contents, str(record.made), *record.parents]).encode())
        views.write(file, json.dumps(told).encode())
        if not near:
            views.write(file.parent / "last", record.id.encode())

    def keep(self, holder: str, label: str, name: str) -> None:
        """Note that `holder` keeps a record under a label."""
        note = self._keeps(holder) / quote(label, safe="")
        views.write(note, name.encode())
        tree.sync(note.parent)

    def _keeps(self, holder: str) -> Path:
        return self.folder / "keeps" / holder

    def forget(self, holder: str) -> None:
        """Let go of all that a holder keeps."""
        tree.remove(self._keeps(holder))

    def collect(self) -> None:
        """Remove every record and all contents that nobody keeps, unless somebody is at work with the archive."""
        with self.held(alone=True) as alone:
            if not alone:
                return
            kept = {note.read_text() for note in (self.folder / "keeps").glob("*/*") if not note.name.startswith(".")}
            kept |= {str(of) for name in kept if self.holds(name) and (of := self._parsed(name).get("of"))}
            descended = self._ancestors(kept)
            for file in (self.folder / "snapshots").glob("*"):
                if file.name != "last" and file.stem not in (descended if file.suffix == ".about" else kept):
                    file.unlink(missing_ok=True)
            for place in (self.folder / "frozen").glob("*"):
                if place.name not in kept:
                    subvolume.remove(place)
            self.pool.drop_all_but({found.content for name in kept if self.holds(name) for _, found in self.load(name).manifest.files})

    def is_whole(self, name: str) -> bool:
        """Return whether a record is written with all its rows."""
        return self.holds(name) and not self._near(name)

    def weight(self, name: str) -> int:
        """Return in about how many bytes a record is told; 0 when it is not there."""
        try:
            near = self._near(name)
            return sum(self._file(each).stat().st_size for each in (name, near) if each)
        except OSError:
            return 0

    def _near(self, name: str) -> str:
        """Return the record that one stands on, if it does. That is said at its start, so a long one need not be read."""
        with self._file(name).open("rb") as file:
            head = file.read(60)
        return head.split(b'"')[3].decode() if head.startswith(b'{"of":') else ""

    def missing(self, names: set[str]) -> list[str]:
        """Return those of the snapshots that are not whole: no record, or contents that are not in the pool."""
        sizes = self.pool.sizes()
        return sorted(name for name in names if not self._is_whole(name, sizes))

    def _is_whole(self, name: str, sizes: dict[str, int]) -> bool:
        try:
            manifest = self._read(name).manifest
            is_frozen = self.tree(manifest.root or name).exists()
            wanted = {path: found.content for path, found in (manifest.touched_files if is_frozen else manifest.files)}
            return all(content in sizes and manifest.how_at(path).size in (UNKNOWN, sizes[content]) for path, content in wanted.items())
        except BackendFailed:
            return False

    def _ancestors(self, names: set[str]) -> set[str]:
        """Return the snapshots and all that they descend from: how they hang together is remembered for ever."""
        found: set[str] = set()
        waiting = [*names]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                with suppress(BackendFailed):
                    waiting += self.about(name).parents
        return found


def _lost(name: str) -> BackendFailed:
    return BackendFailed(f"The snapshot {name[:12]} is not there, or damaged.", "workspaces doctor looks closer.")
