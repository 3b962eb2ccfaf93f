"""Which files git checks out as other bytes than it keeps (gitattributes(5)): a copy of such a file need not be what a checkout gives."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ..configuration import personal
from ..git import Git
from .index import Entry, Index

ATTRIBUTES = b".gitattributes"
NO = ("false", "no", "off", "0", "")
_OFF = ("unset", "unspecified")
_REWRITING = ("ident", "working-tree-encoding")
_ENDINGS = ("text", "crlf", "eol")

Doubt = Literal["none", "size", "all"]
"""What tells whether a file has the bytes that a checkout would give it: nothing need, its size, or nothing can."""


def attribute_files(git: Git) -> tuple[Path, ...]:
    """Return where attributes are, if there are any, that no tree has (gitattributes(5)): of the repository, the user and the system."""
    own = Path(git.checkout.get("core.attributesfile") or personal("attributes"))
    with suppress(RuntimeError):  # of nobody's home, git cannot be told either
        own = own.expanduser()
    return git.common_dir / "info/attributes", own, Path("/etc/gitattributes")


def converted(git: Git, index: Index, left_out: Container[bytes] = ()) -> set[bytes]:
    """Return the paths in an index that are not sure to be as a checkout makes them, but for what is left out. `git` is at that index."""
    entries = [entry for entry in index.entries if entry.path not in left_out]
    ruled = index.names(ATTRIBUTES) or any(map(os.path.lexists, attribute_files(git)))
    doubts = Doubts(git, [entry.path for entry in entries] if ruled else (), "--cached")
    found, measured = set[bytes](), list[Entry]()
    for entry in entries if doubts.any else ():
        doubt = doubts.of(entry.path)
        if doubt == "all":
            found.add(entry.path)
        elif doubt == "size":
            measured.append(entry)
    return found | set(_of_other_size(git, index, measured))


class Doubts:
    """What is in doubt of paths. With no paths, what is of one of which no attributes say anything."""

    def __init__(self, git: Git, paths: Sequence[bytes], *where: str) -> None:
        """Ask for the attributes of all of them, in the files there or in the index."""
        self._git = git
        self._attributes = _attributes(git, paths, *where) if paths else {}
        self._filters = {key.split(".", 1)[1].rpartition(".")[0] for key in (*git.filters, *git.settings) if key.startswith("filter.")}
        self._sure: Doubt = self._told({})

    @property
    def any(self) -> bool:
        return bool(self._attributes) or self._sure != "none"

    def of(self, path: bytes) -> Doubt:
        return self._told(self._attributes[path]) if path in self._attributes else self._sure

    def _told(self, attributes: Mapping[str, str]) -> Doubt:
        return _doubt(attributes, self._git.checkout, self._filters)


def _attributes(git: Git, paths: Sequence[bytes], *where: str) -> dict[bytes, dict[str, str]]:
    """Return what attributes say of the paths of which they say anything that matters here."""
    asked = b"".join(path + b"\0" for path in paths)
    words = git.fields("check-attr", "-z", "--stdin", *where, "--all", stdin=asked)
    found: dict[bytes, dict[str, str]] = {}
    for path, raw, value in zip(words[::3], words[1::3], words[2::3], strict=True):
        if (name := raw.decode(errors="replace")) in ("filter", *_REWRITING, *_ENDINGS):
            found.setdefault(path, {})[name] = value.decode(errors="replace")
    return found


def _doubt(attributes: Mapping[str, str], settings: Mapping[str, str], filters: Container[str]) -> Doubt:
    """Return the doubt about a file. One with a filter that nobody configured is as git keeps it, unless somebody did when it was checked out."""
    if any(attributes.get(name, "unset") not in _OFF for name in _REWRITING) or attributes.get("filter", "") in filters:
        return "all"
    text = attributes.get("text", attributes.get("crlf", ""))
    if text == "unset":
        return "none"
    automatic = settings.get("core.autocrlf", "false").lower()
    if "crlf" in (attributes.get("eol"), settings.get("core.eol", "").lower()) and (text or "eol" in attributes):
        return "all"
    if automatic not in (*NO, "input"):
        return "all"
    return "size" if text or attributes.keys() & {"eol", "filter"} or automatic == "input" else "none"


def _of_other_size(git: Git, index: Index, entries: list[Entry]) -> Iterator[bytes]:
    """Yield the paths of files that are not as large as what git keeps of them: ends of lines take a byte more there, or none less."""
    if not entries:
        return
    asked = "".join(f"{index.id(entry)}\n" for entry in entries).encode()
    sizes = git.run("cat-file", "--batch-check=%(objectsize)", "--buffer", stdin=asked).split(b"\n")
    for entry, size in zip(entries, sizes, strict=False):
        if size != b"%d" % entry.size:
            yield entry.path
