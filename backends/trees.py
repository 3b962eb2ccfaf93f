"""Trees of git as data: read once and remembered, since an id names contents; written with other entries in them, without a git."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .diff import above
from .git import Git, Reply, refusal
from .mergetree import Entry

Item = tuple[bytes, bytes]
"""What a tree says of a name: mode and id, as it stores them."""
Items = Mapping[bytes, Item]
Put = Mapping[bytes, Entry | None]
"""What is to be at paths: a file or link, or nothing."""
_FOLDER, _NOTHING = b"40000", (b"", b"")
_MODES = {_FOLDER, b"100644", b"100755", b"120000", b"160000"}
_REMEMBERED = 300_000
"""Entries of trees that are remembered by each process: about 60 MB."""


class OddTree(Exception):
    """A tree is not as git writes them now: old ones, and those of other programs, have other modes, with which git still reads them."""


class _Memory(dict[str, Items]):
    """Trees by their ids. Whoever works with one keeps it, also when others begin a new one."""

    size = 0

    def keep(self, name: str, items: Items) -> str:
        self.size += len(items)
        self[name] = items
        return name


_memories = [_Memory()]


def _memory() -> _Memory:
    if _memories[0].size > _REMEMBERED:
        _memories[0] = _Memory()
    return _memories[0]


# -- writing ------------------------------------------------------------------------------------------------------------------------------


def edited(git: Git, base: str, put: Put) -> str:
    """Write a tree with other things at some paths, and return its id. What is to be below a file takes its place. New objects go where the door
    writes those that mostly vanish.

    Raises `OddTree` where only git knows how one would be that has to be read for it.
    """
    if not put:
        return base
    known = _memory()
    _read(git, known, base, above(put) - put.keys())
    return _Writing(git, known, len(base)).written(base, put) or git.write_aside("tree", b"", len(base))


class _Writing:
    """Writes trees whose ids have so many digits."""

    def __init__(self, git: Git, known: _Memory, width: int) -> None:
        self._git, self._known, self._width = git, known, width

    def written(self, base: str, put: Put) -> str:
        """Return the id of a tree with other things in it; of none where nothing is left."""
        items = {**self._items(base)} if base else dict[bytes, Item]()
        here = {path: entry for path, entry in put.items() if b"/" not in path}
        for name in (name for name, entry in here.items() if entry is None):
            items.pop(name, None)
        for folder, below in _by_folder(put).items():
            mode, old = items.get(folder, _NOTHING)
            if made := self.written(old.hex() if mode == _FOLDER else "", below):
                items[folder] = _FOLDER, bytes.fromhex(made)
            elif mode == _FOLDER:
                del items[folder]
        items |= {name: (entry.mode.encode(), bytes.fromhex(entry.blob)) for name, entry in here.items() if entry}
        return self._known.keep(self._git.write_aside("tree", stored(items), self._width), items) if items else ""

    def _items(self, tree: str) -> Items:
        """Return what is in a tree. One in whose place a file comes was not asked for: a file could have been there before."""
        if tree not in self._known:
            _learn(self._git, self._known, [tree.encode()])
        return self._known[tree]


def _by_folder(put: Put) -> dict[bytes, dict[bytes, Entry | None]]:
    found: dict[bytes, dict[bytes, Entry | None]] = {}
    for path, entry in put.items():
        folder, slash, rest = path.partition(b"/")
        if slash:
            found.setdefault(folder, {})[rest] = entry
    return found


def stored(items: Items) -> bytes:
    """Return a tree as git stores it: in the order of names, those of folders as if they ended with a slash."""
    ordered = sorted(items.items(), key=lambda item: item[0] + b"/" if item[1][0] == _FOLDER else item[0])
    return b"".join(b"%s %s\0%s" % (mode, name, blob) for name, (mode, blob) in ordered)


# -- reading ------------------------------------------------------------------------------------------------------------------------------


def _read(git: Git, known: _Memory, base: str, folders: Iterable[bytes]) -> None:
    """Learn of a tree, and of those of folders in it, as far as they are there. One git tells of all that is not known."""
    wanted = [folder for folder in (b"", *sorted(folders)) if not _is_known(known, base, folder)]
    _learn(git, known, [base.encode() + (b":" + folder if folder else b"") for folder in wanted])


def _is_known(known: _Memory, base: str, folder: bytes) -> bool:
    """Return whether it follows from what is known what is in a folder, or that it is none."""
    at = base
    for name in folder.split(b"/") if folder else ():
        if at not in known:
            return False
        mode, blob = known[at].get(name, _NOTHING)
        if mode != _FOLDER:
            return True
        at = blob.hex()
    return at in known


def _learn(git: Git, known: _Memory, asked: Sequence[bytes]) -> None:
    """Keep the trees that are asked for, by their ids, which must be there, or as `id:path`, which need not."""
    said = git.run("cat-file", "-z", "--batch", stdin=b"".join(name + b"\0" for name in asked)) if asked else b""
    at = 0
    for name in asked:
        if said.startswith(missing := name + b" missing\n", at):
            if b":" not in name:
                raise refusal(("cat-file",), Reply(128, b"", f"bad object {name.decode()}"))
            at += len(missing)
            continue
        end = said.index(b"\n", at)
        found, kind, size = said[at:end].split()
        start, at = end + 1, end + 2 + int(size)
        if kind == b"tree":
            known.keep(found.decode(), _parsed(said[start : at - 1], len(found) // 2))


def _parsed(raw: bytes, width: int) -> Items:
    found: dict[bytes, Item] = {}
    at = 0
    while at < len(raw):
        space = raw.index(b" ", at)
        end = raw.index(b"\0", space) + 1
        found[raw[space + 1 : end - 1]] = raw[at:space], raw[end : end + width]
        at = end + width
    if stored(found) != raw or not _MODES.issuperset(mode for mode, _ in found.values()):
        raise OddTree
    return found
