"""What a folder holds, as values, and how it is brought from one state to another.

A `Tree` names every file and link by its path; contents lie in `Objects` under their own digest, so equal contents are kept once. Folders are
entered by descriptors and never through a link, so that nothing in a workspace leads out of it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

LINK, FILE, PROGRAM = "120000", "100644", "100755"
OURS = ".workspaces"
"""The one entry at the top of a project that is no contents of it."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Entry(NamedTuple):
    mode: str
    blob: str


Tree = dict[str, Entry]


def digest(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()


def pack(tree: Tree) -> bytes:
    """Return a tree as contents that can be kept: equal trees, equal contents."""
    return b"".join(f"{mode} {blob} ".encode() + os.fsencode(path) + b"\0" for path, (mode, blob) in sorted(tree.items()))


def unpack(packed: bytes) -> Tree:
    rows = [row.split(b" ", 2) for row in packed.split(b"\0")[:-1]]
    return {os.fsdecode(path): Entry(mode.decode(), blob.decode()) for mode, blob, path in rows}


class Objects:
    """Contents by their digest. New ones go to the first folder; all are looked up."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders

    def put(self, contents: bytes) -> str:
        name = digest(contents)
        if not any((folder / name).exists() for folder in self.folders):
            draft = self.folders[0] / f".{secrets.token_hex(8)}"
            draft.write_bytes(contents)
            draft.rename(self.folders[0] / name)
        return name

    def read(self, name: str) -> bytes:
        for folder in self.folders:  # what is brought in moves from an earlier folder to a later one
            with suppress(FileNotFoundError):
                return (folder / name).read_bytes()
        raise FileNotFoundError(None, "Contents that were kept are gone", name)

    def bring_in(self) -> None:
        """Move what is in the first folder to the last, where it stays."""
        for file in self.folders[0].iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
            file.rename(self.folders[-1] / file.name)


# -- reading ------------------------------------------------------------------------------------------------------------------------------


def freeze(root: Path, put: Callable[[bytes], str]) -> tuple[Tree, tuple[str, ...]]:
    """Return all that is in a folder, and the paths of what has no contents: sockets, pipes, devices."""
    tree, skipped = Tree(), list[str]()
    with _opened(root) as top:
        _walk(top, "", tree, skipped, put)
    return tree, tuple(skipped)


def _walk(folder: int, above: str, tree: Tree, skipped: list[str], put: Callable[[bytes], str]) -> None:
    for name in sorted(os.listdir(folder)):
        path, mode = above + name, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if path == OURS:
            continue
        if stat.S_ISDIR(mode):
            with _below(folder, name) as below:
                _walk(below, f"{path}/", tree, skipped, put)
        elif stat.S_ISLNK(mode):
            tree[path] = Entry(LINK, put(os.fsencode(os.readlink(name, dir_fd=folder))))
        elif stat.S_ISREG(mode):
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(file, "rb") as opened:
                tree[path] = Entry(PROGRAM if mode & stat.S_IXUSR else FILE, put(opened.read()))
        else:
            skipped.append(path)


def differing(old: Tree, new: Tree) -> list[str]:
    """Return the paths that differ, those that go before those that come: a folder can take the place of a file, and a file of a folder."""
    return sorted((path for path in {*old, *new} if old.get(path) != new.get(path)), key=lambda path: (path in new, path))


# -- writing ------------------------------------------------------------------------------------------------------------------------------


def bring(root: Path, paths: Iterable[str], new: Tree, objects: Objects, drafts: Path) -> None:
    """Make these paths what they are in `new`, each in one step: it is as it was or as it should be, whenever this is killed."""
    for path in paths:
        entry = new.get(path)
        if entry is None:
            _remove(root, path)
            continue
        *folders, name = path.split("/")
        draft = _draft(entry, objects.read(entry.blob), drafts)
        with _opened(root, folders, make=True) as folder:
            _make_room(folder, name)
            os.rename(draft, name, dst_dir_fd=folder)


def _draft(entry: Entry, contents: bytes, drafts: Path) -> Path:
    draft = drafts / f".{secrets.token_hex(8)}"
    if entry.mode == LINK:
        draft.symlink_to(os.fsdecode(contents))
    else:
        draft.write_bytes(contents)
        draft.chmod(0o755 if entry.mode == PROGRAM else 0o644)
    return draft


def _make_room(folder: int, name: str) -> None:
    """Remove a folder that holds nothing but empty folders; anything else stays."""
    with suppress(OSError), _below(folder, name) as below:
        for child in os.listdir(below):
            _make_room(below, child)
    with suppress(OSError):
        os.rmdir(name, dir_fd=folder)


def _remove(root: Path, path: str) -> None:
    """Remove a file or link, and the folders that are empty without it. What is not there, or only behind a link, is removed already."""
    *folders, name = path.split("/")
    with suppress(FileNotFoundError, NotADirectoryError), _opened(root, folders) as folder:
        os.unlink(name, dir_fd=folder)
    with suppress(OSError):  # the first that is not empty
        while folders:
            with _opened(root, folders[:-1]) as folder:
                os.rmdir(folders.pop(), dir_fd=folder)


@contextmanager
def _opened(root: Path, folders: Iterable[str] = (), make: bool = False) -> Generator[int]:
    """Open a folder below `root`. A link on the way, or in its place, raises NotADirectoryError."""
    with ExitStack() as opened:
        here = opened.enter_context(_below(None, os.fspath(root)))
        for name in folders:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=here)
            here = opened.enter_context(_below(here, name))
        yield here


@contextmanager
def _below(folder: int | None, name: str) -> Generator[int]:
    descriptor = os.open(name, _FOLDER, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
