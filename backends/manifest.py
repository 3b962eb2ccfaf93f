"""What a folder holds, as data: for each path what it is, and what of it is no contents (times, hard links).

A path's *what* is one line of text, equal when the path is the same: `f 644 <content>` for a file with its permissions and the name of its
contents, `l <target>` for a link, `d 755` for a folder; extended attributes follow as base64. Its *how* is `<size> <mtime in ns> <link>`, where
files with the same link other than 0 are hard links of each other. Paths are text with undecodable bytes escaped (`os.fsdecode`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
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


@dataclass(frozen=True)
class How:
    """What is kept of a path beside its contents."""

    size: int = 0
    modified: int = 0
    link: int = 0

    @property
    def line(self) -> str:
        return f"{self.size} {self.modified} {self.link}"


def how(line: str) -> How:
    return How(*map(int, line.split(" ")))


@dataclass(frozen=True)
class Manifest:
    what: Mapping[str, str]
    how: Mapping[str, str]

    @cached_property
    def private(self) -> tuple[str, ...]:
        """The git directories in there. They are copied with the folder, but neither compared nor merged: half of one is none."""
        return tuple(path for path in self.what if path.endswith(".git") and (path == ".git" or path.endswith("/.git")))

    @cached_property
    def contents(self) -> str:
        """A name for all that is compared and merged: equal contents, equal name."""
        rows = sorted((path, line) for path, line in self.what.items() if not self.private or not within(path, self.private))
        text = "\0".join(word for row in rows for word in row)
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:40]

    @cached_property
    def state(self) -> str:
        """A name for all of it, times and private parts too."""
        rows = sorted((path, line, self.how.get(path, "")) for path, line in self.what.items())
        text = "\0".join(word for row in rows for word in row)
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:40]

    @cached_property
    def files(self) -> dict[str, Entry]:
        """Every file's entry. A long list: for what goes through all of them anyway."""
        return {path: entry(line) for path, line in self.what.items() if line.startswith("f")}

    @cached_property
    def filled(self) -> frozenset[str]:
        """The folders that something is in."""
        return frozenset(path.rpartition("/")[0] for path in self.what)

    def at(self, path: str) -> Entry | None:
        line = self.what.get(path)
        return None if line is None else entry(line)

    def how_at(self, path: str) -> How:
        line = self.how.get(path)
        return How() if line is None else how(line)


def within(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def above(path: str) -> list[str]:
    """Return the folders that a path is in, the outermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def differing(old: Manifest, new: Manifest, private: bool = False) -> list[str]:
    """Return the paths that are not the same in both, in order; with `private`, those in git directories too.

    A folder that exists on one side only differs when it is empty: else what is in it says so.
    """
    if old.what is new.what:
        return []
    paths = {path for path, _ in old.what.items() ^ new.what.items()}
    inside = (*old.private, *new.private)
    if inside and not private:
        paths = {path for path in paths if not within(path, inside)}
    return sorted(path for path in paths if not _is_bare_folder(path, old, new) and not _is_bare_folder(path, new, old))


def _is_bare_folder(path: str, one: Manifest, other: Manifest) -> bool:
    """Return whether a path is a folder in one only, and implied there by what is in it."""
    return one.what.get(path, "").startswith("d") and path not in other.what and path in one.filled


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


@dataclass(frozen=True)
class Delta:
    """What has to be done to one manifest to get another."""

    what: Mapping[str, str]
    how: Mapping[str, str]
    gone: tuple[str, ...]

    @classmethod
    def between(cls, old: Manifest, new: Manifest) -> Delta:
        gone = tuple(sorted(old.what.keys() - new.what.keys()))
        return cls(dict(new.what.items() - old.what.items()), dict(new.how.items() - old.how.items()), gone)

    def applied(self, old: Manifest) -> Manifest:
        what, how = dict(old.what), dict(old.how)
        for path in self.gone:
            del what[path]
            how.pop(path, None)
        return Manifest({**what, **self.what}, {**how, **self.how})


def texts(value: JsonValue) -> dict[str, str]:
    """Return a JSON value that must be an object of texts. Raises `BackendFailed` for anything else: the file is damaged."""
    found = {name: text for name, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}
    if not isinstance(value, dict) or len(found) != len(value):
        raise BackendFailed("A file of the project's state is damaged.", "workspaces doctor looks closer.")
    return found
