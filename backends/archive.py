"""The snapshots that are kept, and by whom: records on disk, and contents in a pool, until nobody names them any more.

A record holds a whole manifest, or what differs from one that does. Whoever keeps something holds the archive shared; whoever clears away what
nobody keeps, alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from pydantic import JsonValue

from workspaces.errors import BackendFailed

from . import tree
from .manifest import Delta, Manifest, entry, texts
from .pool import Pool


@dataclass(frozen=True)
class Live:
    """A folder from which contents can still be read, as long as a file there has the key that it had."""

    location: Path
    keys: Mapping[str, str]
    manifest: Manifest

    @cached_property
    def places(self) -> dict[str, str]:
        """Where contents are, by their name."""
        return {found.content: path for path, found in self.manifest.files.items()}


@dataclass(frozen=True)
class Record:
    """A snapshot: what it holds, and which earlier ones it descends from."""

    id: str
    manifest: Manifest
    parents: tuple[str, ...] = ()
    live: tuple[Live, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest, parents: Sequence[str], live: tuple[Live, ...] = ()) -> Record:
        text = json.dumps([manifest.contents, manifest.state, [*parents]])
        return cls(hashlib.sha256(text.encode()).hexdigest()[:40], manifest, tuple(parents), live)


class Archive:
    """The records and contents below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pool = Pool(folder / "pool")
        self._records: dict[str, Record] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever kept."""
        return not (self.folder / "keeps").exists()

    def load(self, name: str) -> Record:
        """Read a record. Raises `BackendFailed` when it is not there, or damaged."""
        if name not in self._records:
            self._records[name] = self._read(name)
        return self._records[name]

    def holds(self, name: str) -> bool:
        return self._file(name).exists()

    def about(self, name: str) -> tuple[str, tuple[str, ...]]:
        """Return the contents of a snapshot and what it descends from, without reading its manifest."""
        try:
            contents, *parents = self._file(name).with_suffix(".about").read_text().split()
        except (OSError, ValueError) as error:
            raise _lost(name) from error
        return contents, tuple(parents)

    def _file(self, name: str) -> Path:
        return self.folder / "snapshots" / f"{name}.json"

    def _parsed(self, name: str) -> dict[str, JsonValue]:
        try:
            read: JsonValue = json.loads(self._file(name).read_bytes())
        except (OSError, ValueError) as error:
            raise _lost(name) from error
        return read if isinstance(read, dict) else {}

    def _read(self, name: str) -> Record:
        read = self._parsed(name)
        gone = read.get("gone")
        what, how = texts(read.get("what")), texts(read.get("how"))
        manifest = Manifest(what, how)
        if of := read.get("of"):
            left = tuple(str(path) for path in gone) if isinstance(gone, list) else ()
            manifest = Delta(what, how, left).applied(self.load(str(of)).manifest)
        return Record(name, manifest, self.about(name)[1])

    # -- keeping

    @contextmanager
    def held(self, alone: bool = False) -> Generator[bool]:
        """Hold the archive until the block ends: shared, or alone when nobody else does (else False)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
            except BlockingIOError:
                yield False
                return
            yield True

    def write(self, record: Record) -> None:
        """Write a record, whose contents are in the pool, durably. Writing it again changes nothing."""
        if self.holds(record.id):
            return
        near = next((name for name in self._whole_ones(record)), "")
        told = self._told(record, near)
        file = self._file(record.id)
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.urandom(4).hex()}")
        try:
            draft.write_text(" ".join([record.manifest.contents, *record.parents]))
            draft.rename(file.with_suffix(".about"))
            draft.write_text(json.dumps(told))
            draft.rename(file)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        self._records[record.id] = record

    def _whole_ones(self, record: Record) -> Generator[str]:
        """Yield records written whole that this one may be near to: those that its parents stand on, and the last that was written so."""
        for parent in record.parents:
            if self.holds(parent):
                yield str(self._parsed(parent).get("of") or parent)
        with suppress(OSError):
            last = (self.folder / "snapshots" / "last").read_text()
            if self.holds(last):
                yield last

    def _told(self, record: Record, near: str) -> dict[str, JsonValue]:
        whole: dict[str, JsonValue] = {"what": dict(record.manifest.what), "how": dict(record.manifest.how)}
        if near:
            delta = Delta.between(self.load(near).manifest, record.manifest)
            if 4 * (len(delta.what) + len(delta.gone)) < len(record.manifest.what):
                return {"of": near, "what": dict(delta.what), "how": dict(delta.how), "gone": [*delta.gone]}
        last = self.folder / "snapshots" / "last"
        last.parent.mkdir(parents=True, exist_ok=True)
        last.write_text(record.id)
        return whole

    def keep(self, holder: str, label: str, name: str) -> None:
        """Note that `holder` keeps a record under a label."""
        note = self._keeps(holder) / quote(label, safe="")
        note.parent.mkdir(parents=True, exist_ok=True)
        draft = note.with_name(f".{note.name}.{os.urandom(4).hex()}")
        draft.write_text(name)
        draft.rename(note)
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
            lines = {line for name in kept if self.holds(name) for line in self.load(name).manifest.what.values() if line.startswith("f")}
            self.pool.drop_all_but({entry(line).content for line in lines})

    def missing(self, names: set[str]) -> list[str]:
        """Return those of the snapshots that are not whole: no record, or contents that are not in the pool."""
        there = self.pool.names
        return sorted(name for name in names if not self._is_whole(name, there))

    def _is_whole(self, name: str, there: set[str]) -> bool:
        try:
            return {found.content for found in self.load(name).manifest.files.values()} <= there
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
                    waiting += self.about(name)[1]
        return found


def _lost(name: str) -> BackendFailed:
    return BackendFailed(f"The snapshot {name[:12]} is not there, or damaged.", "workspaces doctor looks closer.")
