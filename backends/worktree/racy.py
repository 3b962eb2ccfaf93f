"""An index as old as the files that it tells of: git reads each of them again at each look, since it may have changed in the second in which the
index was written ("racy git", Documentation/technical/racy-git.txt of git). It ends when git writes down that they are the same, as `git status`
does. In the project's own index that is not ours to do; so a copy is kept in which git did.
"""

from __future__ import annotations

import hashlib
import os
import struct
from contextlib import suppress
from pathlib import Path

from workspaces.errors import as_ours

from .. import tree
from ..git import Git

_MANY = 100
"""Times that files were changed in the second of the index, from which on it is worth to have git look at all."""
_FOLDER = "workspaces/index"


def settle(view: Git) -> None:
    """Let the index of a view, a copy of the project's own, tell of the files as git finds them now, or found them before; where many are as young as it."""
    if view.index is None or not _is_young(view.index):
        return
    folder = view.common_dir / _FOLDER
    kept = folder / hashlib.blake2b(view.index.read_bytes(), digest_size=20, salt=_second(view.index)).hexdigest()
    with as_ours():
        if not _copied(kept, view.index):
            view.ask("update-index", "-q", "--refresh")
            if not _is_young(view.index):
                _keep(view.index, folder, kept)


def _is_young(index: Path) -> bool:
    return index.read_bytes().count(_second(index)) >= _MANY


def _second(index: Path) -> bytes:
    """Return the second in which an index was written, as it stands in there for each file of that second (gitformat-index(5))."""
    return struct.pack(">I", int(index.stat().st_mtime) & 0xFFFFFFFF)


def _copied(source: Path, target: Path) -> bool:
    """Put a copy of an index in the place of another, with its time. False where there is none."""
    draft = target.with_name(f"{target.name}.{os.urandom(4).hex()}")
    try:
        with tree.opened(os.open(source, tree.READ)) as there, tree.opened(os.open(draft, tree.CREATE, 0o600)) as here:
            tree.fill(there, here)
            found = os.fstat(there)
            os.utime(here, ns=(found.st_atime_ns, found.st_mtime_ns))
    except FileNotFoundError:
        return False
    draft.rename(target)
    return True


def _keep(index: Path, folder: Path, kept: Path) -> None:
    """Keep an index, and no other: whole, also when the power goes."""
    draft = index.with_name(f"{index.name}.{os.urandom(4).hex()}")
    _copied(index, draft)
    tree.sync_file(draft)
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        with suppress(FileNotFoundError):  # another call does the same
            old.unlink()
    draft.rename(kept)
