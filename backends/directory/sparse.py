"""Manifests as git trees, for git's own merge and diff to decide over, without the data.

Only paths that differ go in, and what git looks at besides: attributes, and one unchanged file of each folder that would else seem to have
gone (a rename of a whole folder is told by that). A large file goes in as a pointer: bytes that are binary to git, equal when the contents are, and
otherwise alike in nothing.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import IO

from .. import tree
from ..bounds import Clock
from ..git import Git
from .manifest import Entry, Manifest, above, climb

BINARY_LIMIT, TEXT_LIMIT = 1 << 20, 1 << 26
"""Bytes up to which binary and text files go in themselves."""
_SAMPLE = 8000
"""git takes a file as binary when there is a NUL in so many of its first bytes (`buffer_is_binary` in xdiff-interface.c)."""
_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tcompression = 0\n[fastimport]\n\tunpackLimit = 0\n"

Opened = Callable[[str], int]
"""Opens contents by their name, to read."""


@dataclass
class Sparse:
    """A git repository that lives as long as one call. `names` are the contents behind each blob, by its id."""

    door: Git
    clock: Clock
    names: dict[str, str] = field(default_factory=dict[str, str])
    _blobs: dict[str, str] = field(default_factory=dict[str, str])
    _numbers: count[int] = field(default_factory=count)

    @classmethod
    def create(cls, folder: Path, clock: Clock) -> Sparse:
        for name in ("objects", "refs"):
            (folder / name).mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/none\n")
        (folder / "config").write_text(_CONFIG)
        return cls(Git(folder, folder, scratch=folder.parent, settings={"core.fsync": "none"}), clock)

    @property
    def git(self) -> Git:
        """The door to the repository, which is open as long as the call has time."""
        self.clock.check("comparing it")
        return replace(self.door, patience=self.clock.left, clock=self.clock)

    def commits(self, sides: Sequence[tuple[Manifest, Opened, Sequence[int]]], paths: Iterable[str]) -> list[str]:
        """Write a commit of each side that has these paths alone; its parents are given as positions of sides before it."""
        wanted, made = sorted(paths), next(self._numbers)
        self.clock.allow(len(wanted))
        with tempfile.TemporaryFile(dir=self.door.git_dir) as script:
            for number, (manifest, source, parents) in enumerate(sides):
                there = ((path, found) for path in wanted if (found := manifest.at(path)))
                rows = [(path, found, self._blob(script, found, source)) for path, found in there]
                _write_commit(script, f"refs/heads/{made}-{number}", [(row[0], row[1], row[2]) for row in rows if row[2]], parents)
            script.write(b"done\n")
            script.seek(0)
            out = self.git.run("fast-import", "--quiet", "--force", "--done", stdin=script.fileno())
        return out.decode().split()

    def _blob(self, script: IO[bytes], found: Entry, source: Opened) -> str:
        if found.kind == "d":
            return ""
        name = f"l{found.content}" if found.kind == "l" else found.content
        if name not in self._blobs:
            self.clock.check("reading what changed")
            data = os.fsencode(found.content) if found.kind == "l" else _contents(source(found.content), found.content)
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
            script.write(b"blob\ndata %d\n" % len(data) + data + b"\n")
            self._blobs[name] = blob
            if found.kind == "f":
                self.names[blob] = found.content
        return self._blobs[name]


def _contents(file: int, name: str) -> bytes:
    with tree.opened(file):
        size = os.fstat(file).st_size
        if size > BINARY_LIMIT and (size > TEXT_LIMIT or b"\0" in os.pread(file, _SAMPLE, 0)):
            return _pointer(name)
        parts: list[bytes] = []
        at = 0
        while at < size and (chunk := os.pread(file, size - at, at)):
            parts.append(chunk)
            at += len(chunk)
        return b"".join(parts)


def _pointer(name: str) -> bytes:
    """Return what stands for a large file. git's similarity counts equal chunks of up to 64 bytes, of which two such have none."""
    return b"\0" + hashlib.shake_256(name.encode()).digest(1024)


def _write_commit(script: IO[bytes], ref: str, rows: Sequence[tuple[str, Entry, str]], parents: Sequence[int]) -> None:
    number = int(ref.rpartition("-")[2])
    base = ref.rpartition("-")[0]
    script.write(f"commit {ref}\nmark :{number + 1}\ncommitter w <w@w> {number} +0000\ndata 0\n".encode())
    for at, parent in enumerate(parents):
        script.write(f"{'merge' if at else 'from'} {base}-{parent}\n".encode())
    script.write(b"deleteall\n")
    for path, found, blob in rows:
        script.write(f"M {found.mode} {blob} ".encode() + _quoted(path) + b"\n")
    script.write(b"\nget-mark :%d\n" % (number + 1))


def _quoted(path: str) -> bytes:
    raw = os.fsencode(path)
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'


def needed(manifests: Sequence[Manifest], changed: set[str]) -> set[str]:
    """Return the paths that git has to see to decide over the changed ones."""
    anywhere = {path for manifest in manifests for path in manifest.what if path.endswith(".gitattributes")}
    attributes = {path for path in anywhere if path.rpartition("/")[2] == ".gitattributes"}
    removed = any(path not in manifest.what for path in changed for manifest in manifests)
    return changed | attributes | (_witnesses(manifests[0], changed) if removed else set())


def _witnesses(manifest: Manifest, changed: set[str]) -> set[str]:
    """Return an unchanged file below each folder that a changed path is in, where there is one."""
    wanting = above(changed)
    found: set[str] = set()
    met: set[str] = set()
    for path, line in manifest.what.items():
        folder = path.rpartition("/")[0]
        if line.startswith("d") or path in changed or folder in met:
            continue
        if wanting.intersection(climb(path, met)):
            found.add(path)
    return found
