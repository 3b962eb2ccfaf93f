"""Files of a person's own: nobody else may have written them, nobody else may read them, and they are written whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from workspaces.errors import as_ours
from workspaces.locks import Locks


def read(file: Path) -> bytes | None:
    """Return what a file holds; None where there is none, or it is or could have been written by somebody else."""
    try:
        with file.open("rb") as opened:
            found = os.fstat(opened.fileno())
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
                return None
            return opened.read()
    except OSError:
        return None


def write(file: Path, text: str) -> None:
    """Let a file hold just that, durably, readable by its owner alone; at any moment it holds this or what it held before."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}-{os.urandom(6).hex()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:  # noqa: PTH123 - a descriptor
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        draft.rename(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(file.parent)


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def changing(file: Path) -> Generator[None]:
    """Hold a file against others who change it: who reads it here, and writes what follows, undoes nothing of theirs."""
    with as_ours():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Locks(file.with_name("locks")).change(file.stem), as_ours():
        yield
