"""What a checkout has that its head has not, as `git status` finds it: one look at all files, where freezing by `git add -A` takes a look, a new index
and a walk through that. Whatever is odd in there, it leaves to that.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from workspaces.threads import is_crowded

from .. import tree
from ..copying import packed
from ..diff import above, note_small
from ..git import Git
from ..mergetree import Entry
from ..place import WORKSPACES
from ..trees import edited
from .conversions import ATTRIBUTES, NO, Doubt, Doubts, attribute_files
from .index import is_plain, mode_of, submodules

_HOW = ("--porcelain=v2", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=dirty")
"""Of submodules, git looks at the heads alone: it starts no git inside of one, with whatever is configured there."""
_LOOK = ("status", *_HOW, "--", ":/", f":(top,exclude,literal){WORKSPACES}")
_MOST, _LARGEST, _DEEPEST = 500, 16 << 20, 100
"""Files that are read here, the bytes that they have in all, and the folders that they are in: more is git's."""
_NAMES = (b".git", b".gitmodules")
_STRANGE = (b"git~", b":", b"\\", b"\xe2\x80", b"\xe2\x81", b"\xef\xbb")
"""In names of which git may say that no file can have them, since some system takes them for `.git` (core.protectHFS, core.protectNTFS)."""
_NO_MODULE = b"N..."
_COMPRESSED = b"\0\0\0\4"
"""The version of an index in which names are not told whole."""
_LINK = "120000"


class Odd(Exception):
    """There is something that is not told here."""


@dataclass(frozen=True)
class Changed:
    """What differs from the head's tree, by path: what is `staged`, and what is `there`. Of that, `loose` is not as the index says; how it was found
    is `seen` (`copying.packed`). Which `submodules` there are is told on the way."""

    staged: dict[bytes, Entry | None] = field(default_factory=dict[bytes, Entry | None])
    there: dict[bytes, Entry | None] = field(default_factory=dict[bytes, Entry | None])
    loose: dict[bytes, Entry | None] = field(default_factory=dict[bytes, Entry | None])
    seen: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    submodules: Sequence[bytes] = ()

    def trees(self, git: Git, head: str) -> tuple[str, str]:
        """Write the tree of what is staged, and that of what is there, and return their ids."""
        staged = edited(git, head, self.staged)
        return staged, staged if self.there == self.staged else edited(git, head, self.there)


def changed(view: Git, width: int) -> Changed:
    """Look at the checkout that `view` is at, with an index that nobody else has. What is read is written where new objects go, by ids of so many
    digits.

    Raises `Odd` for what only the whole index can tell: what is unmerged, hidden, a submodule that moved or a repository of its own; for files that git keeps
    as other bytes than they have, and for too many or too large ones.
    """
    raw = view.index.read_bytes() if view.index else b""
    has_submodules = not is_plain(raw, width // 2)
    if (has_submodules and not is_plain(raw, width // 2, submodules=True)) or any(
        view.checkout.get(f"core.{name}", "true").lower() in NO for name in ("filemode", "symlinks")
    ):
        raise Odd
    look = replace(view, settings={**view.settings, "core.preloadIndex": "false"}) if is_crowded() else view
    reply = look.ask(*_LOOK, literal=False)
    if reply.status != 0 or reply.err:
        raise Odd
    found, unread = _told(reply.out.split(b"\0")[:-1])
    for path, read in _Files(view, raw, width).read(unread).items() if unread else ():
        entry = Entry(read.mode, view.write_aside("blob", read.text, width))
        note_small(entry.blob)
        if entry != found.staged.get(path):
            found.loose[path] = entry
        found.there[path], found.seen[path] = entry, read.found
    _refuse_lost(view, found)
    return replace(found, submodules=submodules(raw, width // 2)) if has_submodules else found


def _told(words: Sequence[bytes]) -> tuple[Changed, list[bytes]]:
    """Return what git says (git-status(1), "Porcelain Format Version 2"), and the paths of files that have to be read: of what is staged too, for
    nobody knows whether what the index names is there."""
    found, unread = Changed(), list[bytes]()
    for word in words:
        if word.startswith(b"? "):
            unread.append(word[2:])
        elif word.startswith(b"1 "):
            _, how, module, _, mode, _, _, blob, path = word.split(b" ", 8)
            if module != _NO_MODULE:
                raise Odd
            if how[:1] != b".":
                found.staged[path] = found.there[path] = None if how[:1] == b"D" else Entry(mode.decode(), blob.decode())
            if how[1:] == b"D":
                found.there[path] = found.loose[path] = None
            elif how[1:] in (b"M", b"T") or (how[1:] == b"." and found.staged.get(path)):
                unread.append(path)
            elif how != b"D.":
                raise Odd
        elif not word.startswith(b"#"):
            raise Odd
    return found, unread


def _refuse_lost(view: Git, found: Changed) -> None:
    """Raise `Odd` where something is staged that was not read, and is not in the repository."""
    unread = {entry.blob for path, entry in found.staged.items() if entry and found.there.get(path) != entry}
    asked = "".join(f"{blob}\n" for blob in unread).encode()
    if asked and b" missing\n" in view.run("cat-file", "--batch-check", stdin=asked):
        raise Odd


@dataclass(frozen=True)
class _Read:
    """A file or link: its mode as git tells it, what it holds, and how it was found before it was read."""

    mode: str
    text: bytes
    found: bytes


class _Files:
    """Reads files of a checkout as git would keep them."""

    def __init__(self, view: Git, index: bytes, width: int) -> None:
        self._view, self._width = view, width
        self._may_have_rules = index[4:8] == _COMPRESSED or ATTRIBUTES in index or any(map(os.path.lexists, attribute_files(view)))
        self._room = _LARGEST

    def read(self, paths: Sequence[bytes]) -> dict[bytes, _Read]:
        """Return what is at the paths. No link on the way to one is followed."""
        if len(paths) > _MOST or any(map(_is_odd, paths)):
            raise Odd
        try:
            with tree.Folders(self._view.work_tree or "/") as folders:
                ruled = self._may_have_rules or any(map(partial(_has_rules, folders), above(paths) | {b""}))
                found = {path: self._one(folders, path) for path in sorted(paths)}
        except OSError:  # it went, or something else is in its place
            raise Odd from None
        doubts = Doubts(self._view, paths if ruled else ())
        if any(each.mode != _LINK and _is_converted(doubts.of(path), each.text) for path, each in found.items()):
            raise Odd
        return found

    def _one(self, folders: tree.Folders, path: bytes) -> _Read:
        folder, _, name = os.fsdecode(path).rpartition("/")
        at = folders.at(folder)
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            return _Read(_LINK, os.fsencode(os.readlink(name, dir_fd=at)), packed(found, stat.S_IFLNK))
        with tree.opened(os.open(name, tree.READ, dir_fd=at)) as file:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_size > self._room:
                raise Odd
            text = b"".join(self._parts(file))
        mode = mode_of(found)
        return _Read(mode, text, packed(found, int(mode, 8)))

    def _parts(self, file: int) -> Iterator[bytes]:
        """Yield what is in a file, and no more than there is room for, however it grows."""
        while part := os.read(file, self._room + 1):
            self._room -= len(part)
            if self._room < 0:
                raise Odd
            yield part


def _has_rules(folders: tree.Folders, folder: bytes) -> bool:
    """Return whether there are attributes in a folder, tracked or not."""
    with suppress(*tree.ABSENT):
        os.stat(ATTRIBUTES, dir_fd=folders.at(os.fsdecode(folder)), follow_symlinks=False)
        return True
    return False


def _is_converted(doubt: Doubt, text: bytes) -> bool:
    """Return whether git may keep a file as other bytes: of ends of lines it changes those with a carriage return, and no others."""
    return doubt == "all" or (doubt == "size" and b"\r" in text)


def _is_odd(path: bytes) -> bool:
    """Return whether git may refuse a path, or says that it is a repository, or whether it lies too deep."""
    if path.endswith(b"/") or path.count(b"/") > _DEEPEST:
        return True
    lower = path.lower()
    if any(part in lower for part in _STRANGE):
        return True
    return b".git" in lower and any(name.rstrip(b" .") in _NAMES for name in lower.split(b"/"))
