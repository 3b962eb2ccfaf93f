"""Whole trees frozen at one moment, where the project is a subvolume of btrfs: the contents of a snapshot without a copy of each file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .. import subvolume, tree
from ..place import WORKSPACES
from . import filling
from .archive import Archive, Live, Record
from .manifest import Manifest, entry, how
from .scan import MOVING, Scan, row_of, scan

_PLACEHOLDER = 2
"""The inode number of the empty folder that stands in a snapshot for a subvolume inside."""


def serve(root: Path) -> bool:
    """Return whether whole trees can be frozen: the project is a subvolume, and its workspaces lie in one of their own."""
    return subvolume.is_one(root) and subvolume.is_one(root / WORKSPACES)


def prepare(root: Path) -> None:
    """Let the workspaces of a project that is a subvolume have one of their own, when they have no place yet."""
    if subvolume.is_one(root) and not os.path.lexists(root / WORKSPACES):
        with suppress(OSError):
            subvolume.create(root / WORKSPACES)


def freeze(archive: Archive, record: Record) -> bool:
    """Freeze the live folder of a record whole, if that is a subvolume and still what the record saw. The answer says whether it was done."""
    if len(record.live) != 1 or not subvolume.is_one(record.live[0].location):
        return False
    (live,) = record.live
    place, draft = archive.tree(record.id), archive.tree(f"new-{record.id}-{os.urandom(4).hex()}")
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        subvolume.snapshot(live.location, draft, read_only=True)
        if not _is_as_seen(archive, live, draft):
            return False
        _gather_large(archive, record.manifest, draft)
        draft.rename(place)
    except OSError:
        return False
    finally:
        if os.path.lexists(draft):
            subvolume.remove(draft)
    return True


def _is_as_seen(archive: Archive, live: Live, frozen: Path) -> bool:
    """Return whether a frozen tree is what was seen of the live one. A snapshot keeps inodes and times, so the keys are the same."""
    found = scan(frozen, len(live.keys)).keys
    unsure = [path for path in live.manifest.what if path not in live.keys]
    if any(row_of(key).inode == _PLACEHOLDER for key in found.values() if key[0] == "d"):
        return False
    if found.keys() != live.manifest.what.keys() or any(live.keys.get(path, key) != key for path, key in found.items() if key[0] != "d"):
        return False
    with tree.Folders(frozen) as folders:
        return all(_has_contents(archive, folders, path, live.manifest.what[path]) for path in unsure)


def _has_contents(archive: Archive, folders: tree.Folders, path: str, line: str) -> bool:
    """Return whether a file that was seen too lately for its times to say so is what it was."""
    folder, name = folders.at(path.rpartition("/")[0]), path.rpartition("/")[2]
    if line.startswith("d"):
        return True
    if line.startswith("l"):
        return os.readlink(name, dir_fd=folder) == entry(line).content
    with tree.opened(os.open(name, tree.READ, dir_fd=folder)) as file:
        return archive.pool.named(file) == entry(line).content


def _gather_large(archive: Archive, manifest: Manifest, frozen: Path) -> None:
    """Put large contents that were not read yet into the pool too: whatever is hashed later is looked for among them there."""
    with tree.Folders(frozen) as folders:
        for path, found in manifest.files:
            if found.content.startswith("n") and not archive.pool.holds(found.content):
                at, _, name = path.rpartition("/")
                with tree.opened(os.open(name, tree.READ, dir_fd=folders.at(at))) as file:
                    archive.pool.add(file, found.content)


def fork(archive: Archive, record: Record, staged: Path, source: filling.Source) -> dict[str, str]:
    """Make `staged` a copy of the frozen tree that a record stands on, changed to what the record holds. Returns the keys of its paths."""
    base = archive.load(record.manifest.root or record.id).manifest
    subvolume.snapshot(archive.tree(base.root), staged)
    _leave_out(staged, base)
    _bring_up(staged, record.manifest, source)
    found = scan(staged, len(record.manifest.what))
    return found.keys


def _leave_out(staged: Path, base: Manifest) -> None:
    """Remove what is no contents: workspaces of projects in there, and what a scan skips."""
    for folder in ("", *(path for path, line in base.what.items() if line.startswith("d"))):
        for name in (WORKSPACES, MOVING):
            tree.remove(staged / folder / name)
    skipped: Scan = scan(staged, len(base.what))
    for path in skipped.skipped:
        tree.remove(staged / path)


def _bring_up(staged: Path, manifest: Manifest, source: filling.Source) -> None:
    """Make the paths that a manifest has changed since its root what they are there."""
    for path in sorted(manifest.touched, reverse=True):
        if not _stays_folder(staged, path, manifest):
            tree.remove(staged / path)
    there: Sequence[str] = [path for path in sorted(manifest.touched) if path in manifest.what]
    with tree.Folders(staged, make=True) as folders:
        for path in there:
            at, _, name = path.rpartition("/")
            it = entry(manifest.what[path])
            if it.kind == "d":
                folders.at(path)
            else:
                filling.put(folders.at(at), name, it, how(manifest.how[path]), source)
    filling.finish_folders(staged, reversed([path for path in there if manifest.what[path].startswith("d")]), manifest)


def _stays_folder(staged: Path, path: str, manifest: Manifest) -> bool:
    place = staged / path
    return manifest.what.get(path, "").startswith("d") and place.is_dir() and not place.is_symlink()
