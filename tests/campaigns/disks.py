"""A disk that can lose its power: a file system in an image, of which copies are taken as it is at one moment, while others write to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FORMATS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], "commit=300"),
    "xfs": (["mkfs.xfs", "-q", "-f"], "defaults"),
    "btrfs": (["mkfs.btrfs", "-q", "-f"], "commit=300"),
}
"""How each is made and mounted: so that it writes little by itself, before somebody asks for it."""
MEGABYTES = 512


def missing(kind: str) -> str:
    """Return why no disk with this file system can be made here; nothing, when it can."""
    if os.geteuid() != 0:
        return f"only root may mount a loop image of {kind}"
    for program in (FORMATS[kind][0][0], "mkfs.ext4", "fsfreeze", "losetup"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return "" if Path("/dev/loop-control").exists() else "there are no loop devices here"


@dataclass(frozen=True)
class Disk:
    """A file system of a kind at `point`. Its image lies on another file system, `below`, which stands still while it is copied."""

    kind: str
    folder: Path
    point: Path
    below: Path

    @property
    def image(self) -> Path:
        return self.below / "disk.img"

    def cut(self, number: int) -> Path:
        """Return a copy of what is on the disk at this moment: all that the file system has sent to it, and nothing that it only remembers."""
        copy = self.folder / f"cut-{number}.img"
        _run("fsfreeze", "--freeze", str(self.below))
        try:
            _run("cp", "--sparse=always", str(self.image), str(copy))
        finally:
            _run("fsfreeze", "--unfreeze", str(self.below))
        return copy

    @contextmanager
    def mounted(self, image: Path) -> Generator[None]:
        """Mount an image in the place of the disk, as it is after the power came back."""
        _run("mount", "-o", f"loop,{FORMATS[self.kind][1]}", str(image), str(self.point))
        try:
            yield
        finally:
            _unmount(self.point)


@contextmanager
def disk(kind: str, folder: Path) -> Generator[Disk]:
    """Make an empty disk below `folder`; it is not mounted yet."""
    made = Disk(kind, folder, folder / "disk", folder / "below")
    made.point.mkdir()
    made.below.mkdir()
    _image(folder / "below.img", 2 * MEGABYTES, FORMATS["ext4"][0])
    _run("mount", "-o", "loop", str(folder / "below.img"), str(made.below))
    try:
        _image(made.image, MEGABYTES, FORMATS[kind][0])
        yield made
    finally:
        _unmount(made.below)


def _image(file: Path, megabytes: int, command: list[str]) -> None:
    with file.open("wb") as image:
        image.truncate(megabytes << 20)
    _run(*command, str(file))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def _unmount(point: Path) -> None:
    """Unmount, when the last process has left."""
    for _ in range(100):
        if subprocess.run(["umount", str(point)], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    _run("umount", "--lazy", str(point))
