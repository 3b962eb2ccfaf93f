"""Names for what must survive a gc, below a label that is ours alone, written as git writes them (gitrepository-layout(5), `refs`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from workspaces.errors import BackendFailed

from .. import tree

_TRIES = 20
_OTHERWISE = "reftable"
"""A folder beside `refs`, where git keeps them in another format (git-config(1), `extensions.refStorage`)."""


def are_files(common_dir: Path) -> bool:
    """Return whether refs are files here, which they are but for new gits that were told otherwise."""
    return not (common_dir / _OTHERWISE).exists()


def write(common_dir: Path, refs: Mapping[str, str]) -> None:
    """Let refs name objects that are there, each durably by itself; their folders are for the caller to sync. No link on the way is followed."""
    for ref, name in refs.items():
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):  # a gc packs refs, and removes folders in which none is left
                _write(common_dir, ref, name)
                break
        else:
            raise BackendFailed(f"{ref} could not be written: its folder goes away again and again. Nothing was changed.", "Call again.")


def _write(common_dir: Path, ref: str, name: str) -> None:
    folder, _, own = ref.rpartition("/")
    with tree.Folders(common_dir, make=True) as folders:
        at = folders.at(folder)
        with suppress(FileNotFoundError):  # nobody else writes under this label: the lock of it is that of one who was killed
            os.unlink(f"{own}.lock", dir_fd=at)
        with tree.opened(os.open(f"{own}.lock", tree.CREATE, 0o666, dir_fd=at)) as file:
            os.write(file, f"{name}\n".encode())
            if not tree.is_relaxed(common_dir):
                os.fsync(file)
        os.rename(f"{own}.lock", own, src_dir_fd=at, dst_dir_fd=at)
