"""The attributes that a tree has, as git reads them: from files of a work tree."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from . import mergetree
from .git import Git

_MARKER_SIZE = re.compile(rb"[-!]?conflict-marker-size(?:=[^ \t\r\n]*)?")
_GENERATED = re.compile(rb"\blinguist-generated=true\b")
_LONGEST = 3000
_found: dict[str, list[tuple[bytes, str]]] = {}
_MANY, _REMEMBERED = 50, 1000
"""Files up to which it is remembered what a tree has of them, and trees."""
_NAME = b".gitattributes"
_ALL = ":(glob)**/.gitattributes"
_EMPTY = {
    len(name): name
    for name in ("4b825dc642cb6eb9a060e54bf8d69288fbee4904", "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321")
}
"""The tree with nothing in it, which every git knows, by the length of ids: SHA-1 and SHA-256."""


def attribute_tree(git: Git, contents: str, marker: int, scratch: Path) -> Path:
    """Return a work tree with the attributes of `contents` and nothing else: git reads them from files, not from the merged trees."""
    folder = scratch / f"attributes-{marker}-{contents}"
    if folder.exists():
        return folder
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=folder.parent))
    names = {path: blob for path, blob in _named(git, contents) if _is_attributes(path)}
    texts = git.blobs(names.values(), mergetree.HUNK_LIMIT)
    files = {path: _GENERATED.sub(b"linguist-generated", _MARKER_SIZE.sub(b"", texts.get(blob, b""))) for path, blob in names.items()}
    files[_NAME] = b"* conflict-marker-size=%d\n" % marker + files.get(_NAME, b"")
    for path, text in files.items():
        place = draft / os.fsdecode(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text)
    with suppress(OSError):
        draft.rename(folder)
    return folder


def _named(git: Git, contents: str) -> Sequence[tuple[bytes, str]]:
    """Return the paths of that name in a tree, and their ids: what a tree was found to have never changes."""
    if (found := _found.get(contents)) is None:
        found = [*_looked_for(git, contents)]
        _remember(contents, found)
    return found


def _remember(contents: str, found: list[tuple[bytes, str]]) -> None:
    if len(found) <= _MANY:
        if len(_found) > _REMEMBERED:
            _found.clear()
        _found[contents] = found


def carry_over(old: str, new: str, changed: Iterable[bytes]) -> None:
    """Remember of a tree what another is known to have, from which it differs at these paths."""
    if (found := _found.get(old)) is not None and not any(path.endswith(_NAME) for path in changed):
        _remember(new, found)


def _looked_for(git: Git, contents: str) -> Iterator[tuple[bytes, str]]:
    """Let git go through a tree. It tells of no other paths, as `ls-tree` would have to."""
    how = ("-r", "-z", "--raw", "--no-abbrev", "--no-renames")
    words = iter(git.fields("diff-tree", *how, _EMPTY[len(contents)], contents, "--", _ALL, literal=False))
    for about in words:
        yield next(words), about.split()[3].decode()


def _is_attributes(path: bytes) -> bool:
    """Return whether git would read attributes from a path: not from below a folder of that name, nor from beyond what a path can be."""
    *folders, name = path.split(b"/")
    return name == _NAME and name not in folders and len(path) < _LONGEST
