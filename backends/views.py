"""Folders that live as long as one call, and clearing away those that a killed call left."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import tree

_STALE = 86400.0
"""Seconds after which what a killed call left in the scratch folder is removed."""


@contextmanager
def view(scratch: Path) -> Generator[Path]:
    """Open a folder of one's own below `scratch`, which vanishes with the block."""
    folder = Path(tempfile.mkdtemp(prefix="aside-", dir=scratch))
    # Held before it has its name, so that whoever clears away what dead calls left never takes this for one.
    with (folder / "lock.new").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / "lock.new").rename(folder / "lock")
            yield folder
        finally:
            # The lock goes last: without it, what a kill leaves now would count as held for a day.
            for part in folder.iterdir():
                if part.name != "lock":
                    with suppress(OSError):
                        tree.remove(part)
            shutil.rmtree(folder, ignore_errors=True)


def write(file: Path, data: bytes) -> None:
    """Write a file whole or not at all. A killed call leaves no more than a draft among what is cleared away."""
    scratch = next(folder / "tmp" for folder in file.parents if (folder / "tmp").is_dir())
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = scratch / f"draft-{os.urandom(8).hex()}"
    try:
        draft.write_bytes(data)
        draft.rename(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def clear(scratch: Path) -> None:
    """Remove what killed calls left below `scratch`."""
    for leftover in scratch.iterdir():
        if _is_abandoned(leftover):
            with suppress(OSError):  # another call may be clearing the same away
                tree.remove(leftover)


def _is_abandoned(leftover: Path) -> bool:
    """Return whether something in the scratch folder belongs to a call that is dead: nobody holds it, or it is a day old."""
    try:
        with (leftover / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except OSError:
        with suppress(FileNotFoundError):
            return time.time() - leftover.lstat().st_mtime > _STALE
        return False
