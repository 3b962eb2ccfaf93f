"""What an index of git says of each file, read and written as bytes (gitformat-index(5)): how a file was found is told in fields of fixed width,
which can be exchanged where they are."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_HEAD, _EXTENSION = struct.Struct(">4sII"), struct.Struct(">4sI")
_FOUND = 40
"""Bytes that say how a file was found."""
_DEVICE, _MODE, _SIZE = slice(16, 20), slice(24, 28), slice(36, 40)
_NONE = bytes(4)
_TOLD_WHOLE = b"\0\0\0\2", b"\0\0\0\3"
"""The versions of an index in which names are told whole."""
_VALID, _EXTENDED, _STAGE, _LENGTH = 0x80, 0x40, 0x30, 0x0FFF
"""Of the flags, the first three in their first byte."""
_SKIPPED, _INTENDED = 0x40, 0x20
"""In the first byte of the extended flags."""


class Strange(Exception):
    """An index holds what the index of a clone cannot: an unmerged file, a folder in the place of its files, or what is not known here."""


class Entry(NamedTuple):
    """A file in an index: where its fields begin there, and how it was found (`copying.packed`)."""

    at: int
    path: bytes
    found: bytes

    @property
    def mode(self) -> int:
        return int.from_bytes(self.found[_MODE])

    @property
    def size(self) -> int:
        """Return the size of the file, but for what is beyond 32 bits."""
        return int.from_bytes(self.found[_SIZE])


class Index:
    """An index in memory, without the flags that hide files and without what only holds for the checkout that it was made in."""

    def __init__(self, raw: bytes, width: int) -> None:
        """Read an index whose object ids have so many bytes. Raises `Strange`."""
        magic, self._version, count = _HEAD.unpack_from(raw)
        if magic != b"DIRC" or self._version not in (2, 3, 4):
            raise Strange
        self._width, self._raw, self._origin = width, bytearray(raw), _digest(raw)
        self.entries = self._read(raw, count)
        self._rest = self._extensions(raw)

    def _read(self, raw: bytes, count: int) -> list[Entry]:
        found: list[Entry] = []
        at, path = _HEAD.size, b""
        for _ in range(count):
            name = at + _FOUND + self._width + 2
            flags = raw[name - 2]
            if flags & (_VALID | _EXTENDED | _STAGE):
                name = self._shown(name, flags)
            if self._version == 4:
                cut, name = _number(raw, name)
                end = raw.index(0, name)
                path, after = path[: len(path) - cut] + raw[name:end], end + 1
            else:
                length = (flags << 8 | raw[name - 1]) & _LENGTH if not flags & _EXTENDED else _LENGTH
                end = name + length if length < _LENGTH else raw.index(0, name)
                path, after = raw[name:end], at + (end - at + 8 & ~7)
            found.append(Entry(at, path, raw[at : at + _DEVICE.start] + _NONE + raw[at + _DEVICE.stop : at + _FOUND]))
            at = after
        self._end = at
        return found

    def _shown(self, name: int, flags: int) -> int:
        """Take the flags off an entry that hide its file, and return where its name begins."""
        self._raw[name - 2] &= ~_VALID
        if flags & _STAGE:
            raise Strange
        if flags & _EXTENDED:
            if self._raw[name] & _INTENDED:
                raise Strange
            self._raw[name] &= ~_SKIPPED
            return name + 2
        return name

    def _extensions(self, raw: bytes) -> bytes:
        """Return what holds for the contents alone: which trees they make."""
        at, kept = self._end, b""
        while at < len(raw) - self._width:
            name, size = _EXTENSION.unpack_from(raw, at)
            after = at + _EXTENSION.size + size
            if name == b"TREE":
                kept += raw[at:after]
            elif name[:1].islower():  # what nobody may pass over
                raise Strange
            at = after
        return kept

    def names(self, name: bytes) -> bool:
        """Return whether a file of that name is in any folder. In the fourth version, that is not looked for: there names are not told whole."""
        return self._version == 4 or name in self._raw

    def id(self, entry: Entry) -> str:
        return self._raw[entry.at + _FOUND : entry.at + _FOUND + self._width].hex()

    def note(self, entry: Entry, found: bytes) -> None:
        """Say how the file of an entry is found now; with nothing, that nobody looked at it."""
        self._raw[entry.at : entry.at + _FOUND] = found or bytes(_MODE.start) + entry.found[_MODE] + bytes(_FOUND - _MODE.stop)

    def written(self) -> bytes:
        """Return the index as it is stored, and remember that it is plain if the one that was read is known to be (`is_plain`)."""
        body = self._raw[: self._end] + self._rest
        made = bytes(body) + hashlib.new("sha1" if self._width == 20 else "sha256", body, usedforsecurity=False).digest()
        _learn(*((_digest(made), submodules) for submodules in (False, True) if (self._origin, submodules) in _plain))
        return made


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable width, as packs have them for offsets, and where it ends."""
    value = raw[at] & 0x7F
    while raw[at] & 0x80:
        at += 1
        value = (value + 1 << 7) + (raw[at] & 0x7F)
    return value, at + 1


def mode_of(found: os.stat_result) -> str:
    """Return how git notes what a file is: with `core.fileMode`, and nothing for what it does not track."""
    if stat.S_ISLNK(found.st_mode):
        return "120000"
    program = "100755" if found.st_mode & stat.S_IXUSR else "100644"
    return program if stat.S_ISREG(found.st_mode) else ""


def has(raw: bytes, path: bytes, blob: str, found: bytes) -> bool:
    """Return whether an index has this entry, and none of the flags that hide a file: so it is told whole, and was `found` so (`copying.packed`). False
    where names are not told whole."""
    flags = min(len(path), _LENGTH).to_bytes(2)
    at = raw.find(found[_DEVICE.stop :] + bytes.fromhex(blob) + flags + path + b"\0")
    return at >= _DEVICE.stop and raw[at - _DEVICE.stop : at - len(_NONE)] == found[: _DEVICE.start]


def names_none(raw: bytes, path: bytes) -> bool:
    """Return whether an index surely has nothing at a path, nor anything that it does not tell itself: some have a part in another file, or folders in
    the place of their files."""
    return raw[4:8] in _TOLD_WHOLE and not any(word in raw for word in (path + b"\0", b"link", b"sdir"))


_plain: set[tuple[bytes, bool]] = set()
"""Indexes, by a hash of their bytes, in which nothing is odd, or nothing but submodules."""
_REMEMBERED = 10_000
_KIND, _KINDS, _MODULE = 26, (0x81, 0xA0), 0xE0
"""Where an entry says what it is; what files and links are there; and what submodules are."""


def _entries(count: int, width: int, kinds: Sequence[int]) -> bytes:
    """Return what so many entries of these kinds look like at which git looks, whose ids have so many bytes: each ends with zeros, one at least, where
    the next multiple of eight bytes is. By a pattern, eighty thousand are read in half the time that it takes one by one."""
    fields = _FOUND + width + 2
    ends = "|".join(f"[^\\0]{{{over}}}\\0{{{8 - (fields + over) % 8}}}" for over in range(8))
    named = "".join(map("\\x{:02x}".format, kinds))
    what = f"[\\s\\S]{{{_KIND}}}[{named}]"
    how = f"[\\s\\S]{{{fields - _KIND - 3}}}[\\x00-\\x0f][\\s\\S]"
    return f"(?:{what}{how}(?:[^\\0]{{8}})*+(?:{ends})){{{count}}}+".encode()


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def is_plain(raw: bytes, width: int, submodules: bool = False) -> bool:
    """Return whether an index is whole, and tells of nothing but files and links that git looks at: nothing unmerged, hidden or only intended, and no
    submodule, unless these may be there."""
    name = _digest(raw), submodules
    if name in _plain:
        return True
    try:
        plain = _is_plain(raw, width, (*_KINDS, _MODULE) if submodules else _KINDS)
    except (IndexError, ValueError, struct.error):
        return False
    if plain:
        _learn(name)
    return plain


def submodules(raw: bytes, width: int) -> list[bytes]:
    """Return the paths of submodules in a plain index, and perhaps others that are in none."""
    if raw[4:8] not in _TOLD_WHOLE:
        return [entry.path for entry in Index(raw, width).entries if entry.mode >> 8 == _MODULE]
    fields = f"\\x00\\x00\\xe0\\x00[\\s\\S]{{{_FOUND - _MODE.stop + width + 2}}}([^\\0]+)\\0"
    return [found[1] for found in re.finditer(f"(?={fields})".encode(), raw)]


def _learn(*names: tuple[bytes, bool]) -> None:
    if len(_plain) > _REMEMBERED:
        _plain.clear()
    _plain.update(names)


def _is_plain(raw: bytes, width: int, kinds: Sequence[int]) -> bool:
    magic, version, count = _HEAD.unpack_from(raw)
    if magic != b"DIRC" or version not in (2, 3, 4):
        return False
    end = _end_of_compressed(raw, width, count, kinds) if version == 4 else _end(raw, width, count, kinds)
    return all(not part[:1].islower() for part in _parts(raw, end, width))


def _end(raw: bytes, width: int, count: int, kinds: Sequence[int]) -> int:
    """Return where entries end that are of these kinds, and plain. Raises `ValueError` when one is not."""
    if found := re.compile(_entries(count, width, kinds)).match(raw, _HEAD.size):
        return found.end()
    raise ValueError("not plain")


def _end_of_compressed(raw: bytes, width: int, count: int, kinds: Sequence[int]) -> int:
    """Return the same of the fourth version, which has names not whole, and no zeros but their ends."""
    at, flags = _HEAD.size, _FOUND + width
    for _ in range(count):
        if raw[at + _KIND] not in kinds or raw[at + flags] & (_VALID | _EXTENDED | _STAGE):
            raise ValueError("not plain")
        at = raw.index(0, _number(raw, at + flags + 2)[1]) + 1
    return at


def _parts(raw: bytes, at: int, width: int) -> Iterator[bytes]:
    """Yield the names of what follows the entries."""
    while at < len(raw) - width:
        name, size = _EXTENSION.unpack_from(raw, at)
        yield name
        at += _EXTENSION.size + size
