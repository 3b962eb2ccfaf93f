"""File systems made for a test: images mounted on loop devices, where this machine lets us, else a skip that says why not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

FORMATS = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}


@contextmanager
def mounted(kind: str, folder: Path, megabytes: int) -> Generator[Path]:
    """Make a file system of a kind in an image below `folder`, and mount it until the block ends."""
    reason = _missing(kind)
    if reason:
        pytest.skip(reason)
    image, point = folder / f"{kind}.img", folder / kind
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run([*FORMATS[kind], str(image)], check=True, capture_output=True)
    point.mkdir()
    made = subprocess.run(["mount", "-o", "loop", str(image), str(point)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no {kind} can be mounted here: {made.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", str(point)], check=True)
        image.unlink()


def _missing(kind: str) -> str:
    if os.geteuid() != 0:
        return f"only root may mount a loop image of {kind}"
    if shutil.which(FORMATS[kind][0]) is None:
        return f"{FORMATS[kind][0]} is not installed"
    return "" if Path("/dev/loop-control").exists() else "there are no loop devices here"


def used(point: Path) -> int:
    """Return the bytes that are used on a file system, after all is written."""
    subprocess.run(["sync", "-f", str(point)], check=True)
    found = os.statvfs(point)
    return (found.f_blocks - found.f_bfree) * found.f_frsize
