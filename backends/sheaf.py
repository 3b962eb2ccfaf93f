"""Objects of git in one pack, written and read without a git (gitformat-pack(5)): a file for each would take a folder for nearly each."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Lock

PREFIX = "sheaf-"
"""How the files of a pack begin that nobody brings into a repository as it is. git reads any that end as packs do."""
_KINDS = {"commit": 1, "tree": 2, "blob": 3}
_NAMES = {number: kind for kind, number in _KINDS.items()}
_HEAD = struct.Struct(">4sII")
_FANS = 8 + 256 * 4
"""Bytes of an index before the ids: the last four say how many these are."""
_SMALL, _MANY = 1 << 18, 8
"""Bytes below which a pack is small, and how many are many."""
_SHORT = 40
"""Digits of an id by SHA-1; those by SHA-256 have more."""

Objects = Mapping[str, tuple[str, bytes]]
"""Kind and contents, by id."""


def named(kind: str, contents: bytes, width: int) -> str:
    """Return the id of an object, of so many digits."""
    return _hashed(f"{kind} {len(contents)}\0".encode() + contents, width).hex()


def _hashed(data: bytes, width: int) -> bytes:
    return hashlib.new("sha1" if width == _SHORT else "sha256", data, usedforsecurity=False).digest()


class Sheaf:
    """Objects that are yet to be written."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[str, bytes]] = {}
        self._turn = Lock()

    def add(self, kind: str, contents: bytes, width: int) -> str:
        """Add an object, and return its id."""
        name = named(kind, contents, width)
        with self._turn:
            self._objects[name] = kind, contents
        return name

    def write(self, objects: Path) -> None:
        """Write all of it into a folder of objects, if there is any."""
        with self._turn:
            if self._objects:
                write(objects / "pack", f"{PREFIX}{os.urandom(20).hex()}", self._objects)


def write(folder: Path, stem: str, objects: Objects, level: int = 0) -> Path:
    """Write a pack of these objects, and then its index, by which git finds it. Returns the pack. What stays should be compressed (`level`, zlib(3))."""
    folder.mkdir(exist_ok=True)
    names = sorted(objects)
    width = len(names[0])
    parts = [_entry(*objects[name], level) for name in names]
    body = _HEAD.pack(b"PACK", 2, len(names)) + b"".join(parts)
    sum_ = _hashed(body, width)
    pack = folder / f"{stem}.pack"
    _written(pack, body + sum_)
    starts = [*accumulate(map(len, parts[:-1]), initial=_HEAD.size)]
    _written(pack.with_suffix(".idx"), _index(names, parts, starts, sum_, width))
    return pack


def _written(file: Path, data: bytes) -> None:
    draft = file.with_name(f"{file.name}.new")
    draft.write_bytes(data)
    draft.chmod(0o444)
    draft.rename(file)


def _entry(kind: str, contents: bytes, level: int) -> bytes:
    size, first = len(contents), _KINDS[kind] << 4
    head = [first | size & 0x0F]
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head) + zlib.compress(contents, level)


def _index(names: list[str], parts: list[bytes], starts: list[int], sum_: bytes, width: int) -> bytes:
    counts = [0] * 256
    for name in names:
        counts[int(name[:2], 16)] += 1
    fans = struct.pack(">256I", *accumulate(counts))
    checks = struct.pack(f">{len(names)}I", *map(zlib.crc32, parts))
    body = (
        b"\377tOc" + struct.pack(">I", 2) + fans + bytes.fromhex("".join(names)) + checks + struct.pack(f">{len(names)}I", *starts) + sum_
    )
    return body + _hashed(body, width)


def read(objects: Path, width: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield id, kind and contents of all that sheaves in a folder of objects hold, whose ids have so many digits."""
    for pack in _there(objects):
        yield from _objects(pack, width)


def join(objects: Path, width: int) -> None:
    """Make one of many small sheaves, while no git reads them: each makes every look for an object slower."""
    small = [pack for pack in _there(objects) if pack.stat().st_size < _SMALL]
    if len(small) >= _MANY:
        _written_anew(objects, small, width)


def compress(objects: Path, width: int) -> None:
    """Write all sheaves anew, as packs that stay should be: a git that packs what they hold takes it as it is there."""
    if packs := _there(objects):
        _written_anew(objects, packs, width, level=1)


def _written_anew(objects: Path, packs: Sequence[Path], width: int, level: int = 0) -> None:
    held = {name: (kind, text) for pack in packs for name, kind, text in _objects(pack, width)}
    write(objects / "pack", f"{PREFIX}{os.urandom(20).hex()}", held, level)
    for pack in packs:
        pack.with_suffix(".idx").unlink()
        pack.unlink()


def _there(objects: Path) -> list[Path]:
    return sorted((objects / "pack").glob(f"{PREFIX}*.pack"))


def _objects(pack: Path, width: int) -> Iterator[tuple[str, str, bytes]]:
    data, index = pack.read_bytes(), pack.with_suffix(".idx").read_bytes()
    names, starts = _listed(index, width // 2)
    ends = dict(pairwise([*sorted(starts), len(data) - width // 2]))
    for name, start in zip(names, starts, strict=True):
        yield name, *_contents(data, start, ends[start])


def _listed(index: bytes, width: int) -> tuple[list[str], tuple[int, ...]]:
    """Return the ids in an index of a pack, of so many bytes, and where each object begins."""
    count = int.from_bytes(index[_FANS - 4 : _FANS])
    names = [index[at : at + width].hex() for at in range(_FANS, _FANS + count * width, width)]
    return names, struct.unpack_from(f">{count}I", index, _FANS + count * (width + 4))


def _contents(data: bytes, start: int, end: int) -> tuple[str, bytes]:
    at = start
    while data[at] & 0x80:
        at += 1
    return _NAMES[data[start] >> 4 & 7], zlib.decompress(data[at + 1 : end])
