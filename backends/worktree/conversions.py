"""Which files git checks out as other bytes than it keeps (gitattributes(5)): a copy of such a file need not be what a checkout gives."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Literal

from ..git import Git
from .index import Entry, Index

_NO = ("false", "no", "off", "0", "")
_OFF = ("unset", "unspecified")
_REWRITING = ("ident", "working-tree-encoding")
_ENDINGS = ("text", "crlf", "eol")

Doubt = Literal["none", "size", "all"]
"""What tells whether a file has the bytes that a checkout would give it: nothing need, its size, or nothing can."""


def converted(git: Git, index: Index) -> set[bytes]:
    """Return the paths in an index that are not sure to be as a checkout makes them. `git` is at that index."""
    attributes = _attributes(git, index.entries)
    filters = {key.split(".", 1)[1].rpartition(".")[0] for key in (*git.filters, *git.settings) if key.startswith("filter.")}
    sure, found, measured = _doubt({}, git.checkout, filters), set[bytes](), list[Entry]()
    for entry in index.entries if attributes or sure != "none" else ():
        doubt = _doubt(attributes[entry.path], git.checkout, filters) if entry.path in attributes else sure
        if doubt == "all":
            found.add(entry.path)
        elif doubt == "size":
            measured.append(entry)
    return found | set(_of_other_size(git, index, measured))


def _attributes(git: Git, entries: Iterable[Entry]) -> dict[bytes, dict[str, str]]:
    """Return what attributes say of the paths of which they say anything that matters here."""
    asked = b"".join(entry.path + b"\0" for entry in entries)
    words = git.fields("check-attr", "-z", "--stdin", "--cached", "--all", stdin=asked)
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
    if automatic not in (*_NO, "input"):
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
