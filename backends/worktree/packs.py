"""Bringing objects that were made aside into a repository, so that no prune can take them before something refers to them; and making one pack
of many that came so, for each makes every git that looks for an object slower."""

from __future__ import annotations

import os
import socket
import time
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from workspaces.errors import Busy
from workspaces.locks import together

from .. import sheaf, tree, views
from ..git import Git, refusal

NOTE = "workspaces: being referred to\n"
"""What stands in our `.keep` files (git-pack-objects(1)): while one is there, neither repack nor prune touches its pack."""
MADE = "made"
"""The file in a view that says which commits were made there: each with its tree, and that of its first parent."""
_STALE = 3600.0
_ENDED, _LONGEST = 12 * 3600.0, 4096
_FEW, _ROOM = 2000, 32 << 20
"""Objects, and bytes of those that git wrote, up to which they are packed in this process."""
_HANDFUL, _LITTLE = 64, 1 << 18
"""Objects, and bytes, up to which git is not asked which of them are in the repository's packs: some are there twice then, until ours are made one."""
MANY = 24
"""Packs of ours from which on they are made one."""
_LARGE = 4 << 20
"""Bytes from which on a pack is not packed again: so the work stays small however long a project lives."""


@dataclass(frozen=True)
class Calm:
    """A time in which no `git gc` began or ended in a repository: since that folder had this time, in nanoseconds.

    gc makes `gc.pid` before it looks at anything, and removes it last (git-gc(1)); each changes the folder. So does much else.
    """

    common_dir: Path
    since: int

    @classmethod
    def of(cls, common_dir: Path) -> Calm:
        return cls(common_dir, common_dir.stat().st_mtime_ns)

    def lasts(self) -> bool:
        return self.common_dir.stat().st_mtime_ns == self.since


def is_collected(common_dir: Path) -> bool:
    """Return whether a `git gc` is at work there, by what git itself goes by: what one that was killed leaves counts for nothing."""
    file = common_dir / "gc.pid"
    try:
        process, host = tree.start_of(file, _LONGEST).decode(errors="replace").split()
        if time.time() - file.stat().st_mtime > _ENDED:
            return False
        if host == socket.gethostname():
            os.kill(int(process), 0)
    except (FileNotFoundError, ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


@dataclass(frozen=True)
class Shelf:
    """The packs of a repository, and in `marks` the names of those that we brought: no other is ever touched."""

    packs: Path
    marks: Path

    @contextmanager
    def held(self, alone: bool = False) -> Generator[bool]:
        """Keep packs of ours from being made one until the block ends. `alone` keeps everybody off. See `locks.together`."""
        self.marks.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.marks, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with together(descriptor, self.marks, alone) as held:
                yield held
        finally:
            os.close(descriptor)

    @property
    def is_tidied(self) -> bool:
        """Whether packs of ours are few, and will be made one when they are many."""
        return not any(self.packs.glob("multi-pack-index*")) and len(os.listdir(self.marks)) < MANY  # noqa: PTH208 - names alone

    def small(self) -> list[Path]:
        """Return our packs that are worth being made one. The marks of others go, and what a kill left without its index: nothing sees that.

        The caller holds the shelf alone.
        """
        found: list[Path] = []
        for mark in self.marks.iterdir():
            pack = self.packs / f"{mark.name}.pack"
            if not pack.with_suffix(".idx").exists():
                pack.unlink(missing_ok=True)
            if pack.exists() and pack.stat().st_size < _LARGE:
                found += [] if pack.with_suffix(".keep").exists() else [pack]
            else:
                mark.unlink()
        return found


def bring_in(git: Git, source: Path, shelf: Shelf, found: bool) -> list[Path]:
    """Move all objects of a quarantine into the repository's packs, durably. Returns the `.keep` files, to be removed by the caller.

    With `found`, what the repository has already comes along: nothing may refer to it yet, and a gc may be about to prune it. Raises `Busy` when it
    is gone.
    """
    loose = {f"{file.parent.name}{file.name}": file for file in source.glob("[0-9a-f][0-9a-f]/*") if not file.name.startswith("tmp_")}
    width = next((len(name) for name in loose), 0) or _width(source.parent / MADE)
    gathered = {name: (kind, contents) for name, kind, contents in sheaf.read(source, width)} if width else {}
    if found:
        if gathered:
            sheaf.compress(source, width)
        return _packed(git, {*loose, *gathered} | _made(git, source.parent / MADE), source / "pack", shelf)
    names = {*loose, *gathered}
    is_little = len(gathered) <= _HANDFUL and sum(len(contents) for _, contents in gathered.values()) <= _LITTLE
    names = {name for name in names if not _has_loose(git, name)} if is_little and shelf.is_tidied else _lacking(git, names)
    if len(names) > _FEW or sum(_size(file) for name, file in loose.items() if name in names) > _ROOM:
        if gathered:
            sheaf.compress(source, width)
        return _packed(git, names, source / "pack", shelf)
    objects = {name: gathered.get(name) or _unpacked(loose[name]) for name in names}
    if objects:
        sheaf.write(source / "pack", f"pack-{os.urandom(width).hex()[:width]}", objects, level=1)
    return _bring_all(source / "pack", shelf)


def _has_loose(git: Git, name: str) -> bool:
    """Return whether the repository has an object in a file of its own."""
    return (git.common_dir / "objects" / name[:2] / name[2:]).exists()


def _lacking(git: Git, names: set[str]) -> set[str]:
    """Return which of these objects the repository has not."""
    asked = "".join(f"{name}\n" for name in sorted(names))
    said = _asked(replace(git, objects=None), "cat-file", "--batch-check=%(objectname)", stdin=asked) if names else b""
    return {line.split()[0].decode() for line in said.splitlines() if line.endswith(b" missing")}


def _size(file: Path) -> int:
    """Return how large an object is that is in a file of its own: a few bytes can stand for many."""
    return int(zlib.decompressobj().decompress(tree.start_of(file, 256), 32).partition(b"\0")[0].split()[1])


def _unpacked(file: Path) -> tuple[str, bytes]:
    """Return kind and contents of an object in a file of its own (gitformat-loose(5))."""
    head, _, contents = zlib.decompress(file.read_bytes()).partition(b"\0")
    return head.split()[0].decode(), contents


def _width(note: Path) -> int:
    """Return how many digits ids have, where any commit was made."""
    return len(note.read_text().partition(" ")[0]) if note.exists() else 0


def bring_found(git: Git, source: Path, shelf: Shelf) -> list[Path]:
    """Put what the commits of a quarantine hold into a pack of its own, while a gc is at work that came after they were brought in. See `bring_in`."""
    with views.view(source.parent.parent) as folder:
        return _packed(git, _made(git, source.parent / MADE), folder / "pack", shelf)


def look(git: Git, source: Path) -> None:
    """Raise `Busy` unless all is there that the commits of a quarantine hold: a gc may have come and gone since it was found."""
    names = "".join(f"{name}\n" for name in _made(git, source.parent / MADE))
    if names and b" missing\n" in _asked(git, "cat-file", "--batch-check", stdin=names):
        raise _taken_away()


def _packed(git: Git, names: set[str], folder: Path, shelf: Shelf) -> list[Path]:
    if names:
        folder.mkdir(exist_ok=True)
        packing = replace(git, settings={**git.settings, "pack.compression": "-1"})
        _asked(packing, "pack-objects", "--quiet", str(folder / "pack"), stdin="".join(f"{name}\n" for name in sorted(names)))
    return _bring_all(folder, shelf)


def _bring_all(folder: Path, shelf: Shelf) -> list[Path]:
    shelf.packs.mkdir(parents=True, exist_ok=True)
    keeps = [_bring(pack, shelf) for pack in sorted(folder.glob("pack-*.pack"))]
    if keeps:
        tree.sync(shelf.packs)
    return keeps


def tidy(door: Callable[[], Git], shelf: Shelf, scratch: Path) -> None:
    """Make one pack of those that we brought, when they are many and nobody is at work on packs. What is in them stays, referred to or not.

    The new pack is durable before the old ones go. A git that reads one of those meanwhile looks again and finds the new one, as beside
    git-repack(1); like that, an index of several packs may name them, and then they are left to whoever wrote it.
    """
    if not shelf.marks.is_dir() or sum(1 for _ in shelf.marks.iterdir()) < MANY:
        return
    with shelf.held(alone=True) as alone:
        if not alone or is_collected(shelf.packs.parent.parent) or any(shelf.packs.glob("multi-pack-index*")):
            return
        old = shelf.small()
        if len(old) >= MANY:
            _make_one(door(), shelf, old, scratch)


def _make_one(git: Git, shelf: Shelf, old: list[Path], scratch: Path) -> None:
    with views.view(scratch) as folder:
        names = "".join(f"{pack.name}\n" for pack in old)
        _asked(git, "pack-objects", "--quiet", "--stdin-packs", str(folder / "pack"), stdin=names)
        keeps = _bring_all(folder, shelf)
    for pack in old:
        for suffix in (".idx", ".rev", ".pack"):  # the index first: without it there is no pack
            pack.with_suffix(suffix).unlink(missing_ok=True)
        (shelf.marks / pack.stem).unlink(missing_ok=True)
    for keep in keeps:
        keep.unlink(missing_ok=True)


def _made(git: Git, note: Path) -> set[str]:
    """Return the objects by which the commits of a view differ from their first parents."""
    rows = [line.split() for line in note.read_text().splitlines()] if note.exists() else []
    stdin = "".join(f"{before} {after}\n" for _, after, before in rows)
    lines = (
        _asked(git, "diff-tree", "--stdin", "-r", "-t", "--raw", "--no-renames", "--no-abbrev", stdin=stdin).splitlines() if rows else []
    )
    fields = [line.split(b"\t")[0].split() for line in lines if line.startswith(b":")]
    changed = {name.decode() for _, mode, _, name, _ in fields if mode not in (b"000000", b"160000")}
    return changed.union(*(row[:2] for row in rows))


def _asked(git: Git, *args: str, stdin: str) -> bytes:
    reply = git.ask(*args, stdin=stdin.encode())
    if reply.status != 0 and any(sign in reply.err for sign in ("unable to", "bad object", "not a valid", "missing")):
        raise _taken_away()
    if reply.status != 0:
        raise refusal(args, reply)
    return reply.out


def _taken_away() -> Busy:
    return Busy("A git gc took away what this call had just found. Nothing was changed.", "Call again.")


def _bring(pack: Path, shelf: Shelf) -> Path:
    """Move one pack in: first its `.keep`, last its index, which makes it visible.

    It gets a name that no pack ever had, not that of its contents: a repack that runs meanwhile removes by their names what it had found without
    a `.keep`.
    """
    name = f"pack-{os.urandom(len(pack.stem)).hex()[: len(pack.stem) - len('pack-')]}"
    keep, target = shelf.packs / f"{name}.keep", shelf.packs
    keep.write_text(NOTE)
    (shelf.marks / name).touch()
    others = [file for file in pack.parent.glob(f"{pack.stem}.*") if file.suffix not in (".pack", ".idx")]
    for file in (*others, pack, pack.with_suffix(".idx")):
        tree.sync_file(file)
        file.replace(target / f"{name}{file.suffix}")
    return keep


def forget_stale(target: Path) -> None:
    """Remove the `.keep` files that a killed process of ours left an hour ago or more."""
    for keep in target.glob("*.keep"):
        with suppress(OSError):
            if time.time() - keep.stat().st_mtime > _STALE and tree.start_of(keep, len(NOTE) + 1) == NOTE.encode():
                keep.unlink()
