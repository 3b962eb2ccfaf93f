"""What a folder holds, as data: for each path what it is, and what of it is no contents (times, hard links).

A path's *what* is one line of text, equal when the path is the same: `f 644 <content>` for a file with its permissions and the name of its
contents, `l <target>` for a link, `d 755` for a folder; extended attributes follow as base64. Its *how* is `<size> <mtime in ns> <link>`, where
files with the same link other than 0 are hard links of each other. Paths are text with undecodable bytes escaped (`os.fsdecode`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from workspaces.errors import BackendFailed


@dataclass(frozen=True)
class Entry:
    """One path's *what*, read: `content` is the name of a file's contents, or a link's target. `perm` is 0 for links."""

    kind: str
    perm: int = 0
    content: str = ""
    attributes: str = ""

    @property
    def mode(self) -> str:
        """The mode that git would give it."""
        return "120000" if self.kind == "l" else "100755" if self.perm & 0o100 else "100644"

    @property
    def line(self) -> str:
        if self.kind == "l":
            return f"l {self.content}"
        words = [
            self.kind,
            f"{self.perm:o}",
            *([self.content] if self.kind == "f" else []),
            *([self.attributes] if self.attributes else []),
        ]
        return " ".join(words)


def entry(line: str) -> Entry:
    kind, _, rest = line.partition(" ")
    if kind == "l":
        return Entry("l", 0, rest)
    words = rest.split(" ")
    if kind == "f":
        return Entry("f", int(words[0], 8), words[1], words[2] if len(words) > 2 else "")
    return Entry("d", int(words[0], 8), "", words[1] if len(words) > 1 else "")


UNKNOWN = -1
"""The size of contents that nobody measured."""


@dataclass(frozen=True)
class How:
    """What is kept of a path beside its contents."""

    size: int = UNKNOWN
    modified: int = 0
    link: int = 0

    @property
    def line(self) -> str:
        return f"{self.size} {self.modified} {self.link}"


def how(line: str) -> How:
    return How(*map(int, line.split(" ")))


Totals = tuple[int, int]
"""Sums over all rows: of what is compared and merged, and of everything."""
_MODULUS = 1 << 512


class Manifest:
    """What a folder holds. One that differs from the snapshot `root` in the `touched` paths alone is compared with its like by these.

    `later` reads the rows when they are first asked for: of a folder in which nothing changed nobody asks.
    """

    def __init__(
        self,
        what: Mapping[str, str] | None = None,
        how: Mapping[str, str] | None = None,
        root: str = "",
        touched: frozenset[str] = frozenset(),
        totals: Totals | None = None,
        later: Callable[[], Manifest] | None = None,
    ) -> None:
        self.root, self.touched = root, touched
        self._rows, self._totals, self._later = (what or {}, how or {}), totals, later

    @cached_property
    def _read(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return self._later()._read if self._later else self._rows

    @property
    def what(self) -> Mapping[str, str]:
        return self._read[0]

    @property
    def how(self) -> Mapping[str, str]:
        return self._read[1]

    @cached_property
    def totals(self) -> Totals:
        return self._totals or _summed(self, self.what)

    @cached_property
    def contents(self) -> str:
        """A name for all that is compared and merged: equal contents, equal name."""
        return _named(self.totals[0])

    @cached_property
    def state(self) -> str:
        """A name for all of it, times and git directories too."""
        return _named(self.totals[1])

    def changed(self, put: Mapping[str, tuple[str, str]], gone: Iterable[str] = ()) -> Manifest:
        """Return a manifest with these paths put in (*what* and *how*), and others taken out."""
        out = {path for path in gone if path in self.what}
        what, how = dict(self.what), dict(self.how)
        for path in out:
            del what[path], how[path]
        for path, (one, other) in put.items():
            what[path], how[path] = one, other
        made = Manifest(what, how, self.root, self.touched | out | put.keys() if self.root else frozenset())
        before, after = _summed(self, {*out, *(path for path in put if path in self.what)}), _summed(made, put)
        totals = tuple((total - old + new) % _MODULUS for total, old, new in zip(self.totals, before, after, strict=True))
        made._totals = (totals[0], totals[1])
        return made

    def standing(self, root: str, touched: frozenset[str] = frozenset()) -> Manifest:
        """Return the same as something that differs from the snapshot `root` in these paths alone."""
        return self if (root, touched) == (self.root, self.touched) else Manifest(self.what, self.how, root, touched, self.totals)

    @property
    def files(self) -> Iterator[tuple[str, Entry]]:
        """Every file's path and entry: a long way."""
        return ((path, entry(line)) for path, line in self.what.items() if line.startswith("f"))

    @property
    def touched_files(self) -> Iterator[tuple[str, Entry]]:
        """Path and entry of the files that are not as in `root`."""
        return ((path, found) for path in self.touched if (found := self.at(path)) and found.kind == "f")

    def at(self, path: str) -> Entry | None:
        line = self.what.get(path)
        return None if line is None else entry(line)

    def how_at(self, path: str) -> How:
        line = self.how.get(path)
        return How() if line is None else how(line)


def _summed(manifest: Manifest, paths: Iterable[str]) -> Totals:
    """Return the sums of rows. A sum of hashes names a set of rows whatever their order, and a change costs just its own rows; at 512 bits no two
    sets can be made to meet (Bellare and Micciancio, A New Paradigm for Collision-Free Hashing, 1997)."""
    seen = everything = 0
    what, how = manifest.what, manifest.how
    for path in paths:
        row = f"{path}\0{what[path]}"
        everything += _number(f"{row}\0{how[path]}")
        if not is_private(path):
            seen += _number(row)
    return seen % _MODULUS, everything % _MODULUS


def _number(row: str) -> int:
    return int.from_bytes(hashlib.blake2b(row.encode(errors="surrogateescape")).digest(), "big")


def _named(total: int) -> str:
    return hashlib.sha256(total.to_bytes(64, "big")).hexdigest()[:40]


def is_private(path: str) -> bool:
    """Return whether a path is in a git directory. These are copied with the folder, but neither compared nor merged: half of one is none."""
    return ".git" in path and "/.git/" in f"/{path}/"


def within(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def above(paths: Iterable[str]) -> set[str]:
    """Return the folders that paths are in. Each is met once, so that a deep tree costs what a wide one does."""
    found: set[str] = set()
    for path in paths:
        climb(path, found)
    return found


def climb(path: str, met: set[str]) -> list[str]:
    """Return the folders that a path is in and that were not `met` yet, the innermost first. They are met then."""
    fresh: list[str] = []
    folder = path.rpartition("/")[0]
    while folder and folder not in met:
        met.add(folder)
        fresh.append(folder)
        folder = folder.rpartition("/")[0]
    return fresh


def differing(old: Manifest, new: Manifest, private: bool = False) -> list[str]:
    """Return the paths that are not the same in both, in order; with `private`, those in git directories too.

    A folder that exists on one side only differs when it is empty: else what is in it says so.
    """
    if old.contents == new.contents and not private:
        return []
    if old.root and old.root == new.root:
        near = {path for path in old.touched | new.touched if old.what.get(path) != new.what.get(path)}
    else:
        near = {path for path, _ in old.what.items() ^ new.what.items()}
    paths = sorted(path for path in near if private or not is_private(path))
    filled = above(near)
    return [path for path in paths if not (path in filled and _is_folder_of_one(path, old, new))]


def _is_folder_of_one(path: str, old: Manifest, new: Manifest) -> bool:
    """Return whether a path is a folder on one side, and nothing on the other."""
    lines = [line for line in (old.what.get(path), new.what.get(path)) if line is not None]
    return len(lines) == 1 and lines[0].startswith("d")


# -- extended attributes, and the form on disk --------------------------------------------------------------------------------------------


def packed_attributes(found: Mapping[str, bytes]) -> str:
    if not found:
        return ""
    text = json.dumps({name: base64.b64encode(value).decode() for name, value in sorted(found.items())})
    return base64.b64encode(text.encode(errors="surrogateescape")).decode()


def attributes(packed: str) -> dict[str, bytes]:
    if not packed:
        return {}
    read: dict[str, str] = json.loads(base64.b64decode(packed).decode(errors="surrogateescape"))
    return {name: base64.b64decode(value) for name, value in read.items()}


def delta(old: Manifest, new: Manifest) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Return what has to be put into one manifest to get another, *what* and *how*, and what has to go."""
    if new.root and new.root == old.root and not old.touched:
        there = [path for path in new.touched if path in new.what]
        return {path: new.what[path] for path in there}, {path: new.how[path] for path in there}, sorted(new.touched - {*there})
    put = {path for path, _ in (new.what.items() - old.what.items()) | (new.how.items() - old.how.items())}
    return {path: new.what[path] for path in put}, {path: new.how[path] for path in put}, sorted(old.what.keys() - new.what.keys())


def texts(value: JsonValue) -> dict[str, str]:
    """Return a JSON value that must be an object of texts. Raises `BackendFailed` for anything else: the file is damaged."""
    found = {name: text for name, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}
    if not isinstance(value, dict) or len(found) != len(value):
        raise BackendFailed("A file of the project's state is damaged.", "workspaces doctor looks closer.")
    return found
