"""The snapshots that one call deals with: those that it made, in memory and in a pool of its own, on top of those that are kept; and how the
first become the second."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from workspaces.errors import BackendFailed
from workspaces.model import Snapshot

from .. import tree, views
from ..bounds import Clock
from . import frozen
from .archive import Archive, Record
from .freezing import Index
from .gathering import gather
from .pool import HELD, Pool

_PORTION = 100
"""Files between two looks at the clock."""


class Records:
    """Records by snapshot. Those of a call are remembered as long as its folder lives; without one, nothing is."""

    def __init__(self, archive: Archive, folder: Path | None = None) -> None:
        self.archive, self.folder = archive, folder
        self.pool = Pool(folder / "pool", archive.pool) if folder else archive.pool
        self._by_id: dict[str, Record] = {}
        self._by_contents: dict[str, Record] = {}

    def remember(self, record: Record) -> Record:
        if self.folder:
            self._by_id[record.id] = self._by_contents[record.manifest.contents] = record
        return record

    def find(self, snapshot: Snapshot) -> Record:
        """Return what is behind a snapshot. One without an id is what a merge in this call gave."""
        if not snapshot.id and snapshot.contents in self._by_contents:
            return self._by_contents[snapshot.contents]
        return self._by_id.get(snapshot.id) or self.archive.load(snapshot.id)

    def load(self, name: str) -> Snapshot:
        known = self._by_id.get(name)
        return Snapshot(id=name, contents=known.manifest.contents if known else self.archive.about(name).contents)

    def parents(self, name: str) -> tuple[str, ...]:
        """Return what a snapshot descends from; of one that is forgotten, nothing."""
        try:
            return self._by_id[name].parents if name in self._by_id else self.archive.about(name).parents
        except BackendFailed:
            return ()

    def made(self, name: str) -> int:
        return self._by_id[name].made if name in self._by_id else self.archive.about(name).made

    # -- contents

    def source(self, record: Record) -> Callable[[str], int]:
        """Return what opens the contents of a record."""
        return lambda name: self.opened(record, self.pool, name)

    def opened(self, record: Record, pool: Pool, name: str) -> int:
        """Open frozen contents of a record by their name, freezing them into `pool` first when they are only in a live folder yet.

        Raises `Busy` when the file there is no longer what the record saw.
        """
        found = pool.open(name)
        if found is None:
            found = self.archive.open_frozen(record, name)
        if found is None:
            gather(record, pool, [name])
            found = pool.open(name)
        if found is None:
            raise record.lost
        return found

    def contents(self, snapshot: Snapshot, path: str, limit: int) -> bytes | None:
        """Return what a file of a snapshot holds; nothing for what is no file there, or has more than `limit` bytes."""
        record = self.find(snapshot)
        found = record.manifest.at(path)
        if found is None or found.kind != "f":
            return None
        with tree.opened(self.opened(record, self.pool, found.content)) as file:
            return os.pread(file, limit, 0) if os.fstat(file).st_size <= limit else None

    def hold(self, record: Record, clock: Clock | None) -> None:
        """Freeze what was changed since the snapshot that the record stands on, as far as it is small: somebody may go on writing while we look."""
        if self.folder is None:
            return
        small = (found.content for path, found in record.manifest.touched_files if record.manifest.how_at(path).size <= HELD)
        wanted = sorted(name for name in {*small} if not self.pool.holds(name) and not self._is_frozen(record, name))
        if clock:
            clock.allow(len(wanted))
        for at in range(0, len(wanted), _PORTION):
            if clock:
                clock.check(f"freezing {len(wanted):,} changed files")
            gather(record, self.pool, wanted[at : at + _PORTION])

    def _is_frozen(self, record: Record, name: str) -> bool:
        found = self.archive.open_frozen(record, name)
        if found is not None:
            os.close(found)
        return found is not None

    # -- for good

    def keep(self, snapshot: Snapshot, root: Path, scratch: Path) -> str:
        """Make a snapshot of the project at `root` permanent, and return the name of its record. Whoever calls this holds the archive."""
        record = self.find(snapshot)
        if not self.archive.holds(record.id):
            record = self.archive.standing(record)
            self._bring_in(record, root, scratch)
            self.archive.write(record)
            self._stand_on(record)
            tree.sync_all(self.archive.folder)
        return record.id

    def _bring_in(self, record: Record, root: Path, scratch: Path) -> None:
        """Freeze all contents of a standing record that the archive has not: what was touched, or everything; where it can be, at once."""
        manifest, pool = record.manifest, self.archive.pool
        if manifest.root:
            wanted = {found.content for _, found in manifest.touched_files if not pool.place(found.content).exists()}
        elif frozen.serve(root) and frozen.freeze(self.archive, record):
            return
        else:
            wanted = {found.content for _, found in manifest.files} - pool.names()
        if not wanted:
            return
        with views.view(scratch) as folder:
            fresh = Pool(folder / "pool", self.pool)
            for name in [name for name in wanted if not any(live.place(name) for live in record.live)]:
                with tree.opened(self.opened(record, fresh, name)) as source:
                    fresh.add_new(source, name)
                wanted.discard(name)
            gather(record, fresh, wanted, is_own=True)
            pool.bring_in(fresh)

    def _stand_on(self, record: Record) -> None:
        """Let the index of a folder stand on what the snapshot of it does that was just written: what comes later is a small difference."""
        root, touched = record.manifest.root or record.id, record.manifest.touched
        for live in record.live:
            index = Index.load(live.index, self.archive)
            if index.manifest.root != root and index.manifest.state == record.manifest.state:
                Index(record.manifest.standing(root, touched), index.raw, self.archive).save(live.index)
