"""The attributes that a tree has, as git reads them: from files of a work tree."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from . import mergetree
from .git import Git

_MARKER_SIZE = re.compile(rb"[-!]?conflict-marker-size(?:=[^ \t\r\n]*)?")
_GENERATED = re.compile(rb"\blinguist-generated=true\b")
_LONGEST = 3000


def attribute_tree(git: Git, contents: str, marker: int, scratch: Path) -> Path:
    """Return a work tree with the attributes of `contents` and nothing else: git reads them from files, not from the merged trees."""
    folder = scratch / f"attributes-{marker}-{contents}"
    if folder.exists():
        return folder
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=folder.parent))
    rows = [row for row in git.fields("ls-tree", "-r", "-z", contents) if row.endswith(b".gitattributes")]
    places = ((row.split(b"\t", 1)[1], row.split()[2].decode()) for row in rows)
    names = {path: blob for path, blob in places if _is_attributes(path)}
    texts = git.blobs(names.values(), mergetree.HUNK_LIMIT)
    files = {path: _GENERATED.sub(b"linguist-generated", _MARKER_SIZE.sub(b"", texts.get(blob, b""))) for path, blob in names.items()}
    files[b".gitattributes"] = b"* conflict-marker-size=%d\n" % marker + files.get(b".gitattributes", b"")
    for path, text in files.items():
        place = draft / os.fsdecode(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text)
    with suppress(OSError):
        draft.rename(folder)
    return folder


def _is_attributes(path: bytes) -> bool:
    """Return whether git would read attributes from a path: not from below a folder of that name, nor from beyond what a path can be."""
    *folders, name = path.split(b"/")
    return name == b".gitattributes" and name not in folders and len(path) < _LONGEST
