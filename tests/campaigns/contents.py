"""Contents of a workspace as a value, and what a three-way merge of such values must give, by `git merge-file`."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MACHINERY = (".git", ".workspaces")
"""What lies at the top of a project or workspace and is no contents of it."""

Contents = Mapping[str, bytes]
"""Path → a letter for what is there (`f`ile, e`x`ecutable, `l`ink), and then its bytes or target."""


def contents(root: Path) -> Contents:
    """Return all that is in a folder."""
    found: dict[str, bytes] = {}
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        if here == root:
            folders[:] = [name for name in folders if name not in MACHINERY]
            files = [name for name in files if name not in MACHINERY]
        found |= {str((here / name).relative_to(root)): _described(here / name) for name in files}
    return found


def _described(file: Path) -> bytes:
    if file.is_symlink():
        return b"l" + os.fsencode(file.readlink())
    return (b"x" if file.stat().st_mode & 0o100 else b"f") + file.read_bytes()


def changed(old: Contents, new: Contents) -> set[str]:
    """Return the paths at which the two differ."""
    return {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}


@dataclass(frozen=True)
class Merged:
    contents: Contents
    conflicts: frozenset[str]


def merged(base: Contents, ours: Contents, theirs: Contents) -> Merged | None:
    """Return the three-way merge; None where it is not for us to say: where a path went while another came, git may see a rename."""
    if any(_may_rename(base, side) for side in (ours, theirs)):
        return None
    result, conflicts = dict(ours), set[str]()
    for path in changed(base, theirs):
        was, mine, yours = base.get(path), ours.get(path), theirs.get(path)
        if mine == was:
            _put(result, path, yours)
        elif mine != yours:
            text = _text(was, mine, yours)
            if text is None:
                conflicts.add(path)
            else:
                result[path] = text
    if _collides(result):
        return None
    return Merged(result, frozenset(conflicts))


def _may_rename(base: Contents, side: Contents) -> bool:
    return bool(base.keys() - side.keys()) and bool(side.keys() - base.keys())


def _collides(result: Contents) -> bool:
    """Return whether a path is a file for one and a folder for the other."""
    return any(str(above) in result for path in result for above in Path(path).parents)


def _put(result: dict[str, bytes], path: str, what: bytes | None) -> None:
    if what is None:
        result.pop(path, None)
    else:
        result[path] = what


def _text(was: bytes | None, mine: bytes | None, yours: bytes | None) -> bytes | None:
    """Return the texts combined, or nothing where they conflict."""
    if was is None or mine is None or yours is None or {was[:1], mine[:1], yours[:1]} != {b"f"}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("mine", "base", "yours")]
        for file, text in zip(files, (mine, was, yours), strict=True):
            file.write_bytes(text[1:])
        done = subprocess.run(["git", "merge-file", "-p", *map(str, files)], capture_output=True, check=False)
    return b"f" + done.stdout if done.returncode == 0 else None
