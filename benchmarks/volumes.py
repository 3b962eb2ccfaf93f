"""Where folders are measured: fresh file systems in images of their own, for one that is in use is never twice the same.

An ext4 without a journal, and any file system after mass deletions, creates files several times more slowly than a fresh one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from programs import run

_PROBE = 1 << 29
"""Bytes of an image on which all of the file systems can be tried."""
SPARE = 1 << 32
"""Bytes that an image needs beside twice of what is put on it: they are never written."""


@dataclass(frozen=True)
class Volume:
    """A kind of file system. Without a program that makes it, it is the one that the scratch folder is on.

    With `subvolumes`, a project there is a subvolume of its own.
    """

    label: str
    mkfs: tuple[str, ...] = ()
    options: str = "loop"
    reflinks: bool = True
    subvolumes: bool = False

    def root(self, folder: Path) -> Path:
        """Make an empty folder for a project."""
        if self.subvolumes:
            run("btrfs", "subvolume", "create", folder)
        else:
            folder.mkdir()
        return folder


_MKFS_BTRFS = "mkfs.btrfs", "-q", "-f"
KINDS = {
    # What ext4 puts off when it is made would be done while we measure.
    "ext4": Volume("ext4", ("mkfs.ext4", "-q", "-F"), "loop,noinit_itable", reflinks=False),
    "xfs": Volume("XFS", ("mkfs.xfs", "-q", "-f", "-m", "reflink=1")),
    "btrfs": Volume("btrfs", _MKFS_BTRFS),
    "subvolume": Volume("btrfs, a subvolume", _MKFS_BTRFS, subvolumes=True),
}


def refusal(volume: Volume, scratch: Path) -> str:
    """Return why there can be no such file system here, or nothing. It is tried."""
    if os.geteuid() != 0:
        return "only root may mount one"
    missing = [program for program in (volume.mkfs[0], "mount", "umount") if not shutil.which(program)]
    if missing:
        return f"{missing[0]} is not installed"
    try:
        with mounted(volume, scratch, _PROBE) as place:
            volume.root(place / "probe")
    except (RuntimeError, OSError) as error:
        return str(error)
    return ""


@contextmanager
def mounted(volume: Volume, scratch: Path, size: int) -> Generator[Path]:
    """Have a fresh file system of so many bytes, or just a folder, that is gone at the end of the block, however that ends."""
    folder, image = scratch / "volume", scratch / "volume.img"
    folder.mkdir()
    try:
        if volume.mkfs:
            with image.open("wb") as stream:
                stream.truncate(size)
            run(*volume.mkfs, image)
            run("mount", "-o", volume.options, image, folder)
        yield folder
    finally:
        if folder.is_mount():
            _unmount(folder)
        image.unlink(missing_ok=True)
        shutil.rmtree(folder)


def _unmount(folder: Path) -> None:
    try:
        run("umount", folder)
    except RuntimeError:  # something that was interrupted has a file open there yet
        run("umount", "--lazy", folder)
