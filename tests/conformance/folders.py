"""Doing with files what people and agents do, and seeing all that is there."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workspaces import Project
from workspaces.checks import guard
from workspaces.model import Workspace

PATIENCE = 60.0
MACHINERY = (b".git", b".workspaces")
"""What lies at the top of a project or workspace and is no contents of it."""

CART = "".join(f"line {number}\n" for number in range(1, 21))
START: Mapping[str, bytes] = {
    "cart.py": CART.encode(),
    "auth/api.py": b"def login():\n    return True\n",
    "auth/deep/er/keys.txt": b"keys\n",
    "notes.md": b"# Notes\n",
    "tool.sh": b"#!/bin/sh\necho tool\n",
}


@dataclass(frozen=True)
class Folder:
    """A project or a workspace to act in."""

    path: Path

    def write(self, name: str, contents: str | bytes, mode: int = 0o644) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        file.chmod(mode)

    def read(self, name: str) -> str:
        return (self.path / name).read_bytes().decode()

    def has(self, name: str) -> bool:
        return os.path.lexists(self.path / name)

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    def move(self, old: str, new: str) -> None:
        (self.path / new).parent.mkdir(parents=True, exist_ok=True)
        (self.path / old).rename(self.path / new)

    def link(self, name: str, target: str) -> None:
        """Put a link in the place of whatever file is there."""
        (self.path / name).unlink(missing_ok=True)
        (self.path / name).symlink_to(target)

    def edit(self, line: int, text: str, name: str = "cart.py") -> None:
        """Replace one line of a text."""
        lines = self.read(name).splitlines(keepends=True)
        lines[line - 1] = f"{text}\n"
        self.write(name, "".join(lines))

    def contents(self, times: bool = False) -> dict[bytes, str]:
        """Return every file with its contents and whether it can be run, and every link with its target; with the times of both, if asked."""
        found: dict[bytes, str] = {}
        top = os.fsencode(self.path)
        for folder, folders, files in os.walk(top):
            if folder == top:
                folders[:] = [name for name in folders if name not in MACHINERY]
                files = [name for name in files if name not in MACHINERY]
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]  # noqa: PTH118, PTH114 - paths are bytes
            for name in [*files, *links]:
                path = os.path.join(folder, name)  # noqa: PTH118 - paths are bytes
                found[os.path.relpath(path, top)] = _described(path) + (f" {os.lstat(path).st_mtime_ns}" if times else "")
        return found


def _described(path: bytes) -> str:
    if os.path.islink(path):  # noqa: PTH114 - paths are bytes
        return f"-> {os.readlink(path)!r}"  # noqa: PTH115 - paths are bytes
    with open(path, "rb") as file:  # noqa: PTH123 - paths are bytes
        digest = hashlib.sha256(file.read()).hexdigest()
    return f"{'runs' if os.stat(path).st_mode & 0o100 else 'file'} {digest}"  # noqa: PTH116 - paths are bytes


@dataclass(frozen=True)
class Main(Folder):
    """The project's own folder, with what makes changes in it the project's own."""

    record_at: Callable[[Path], None]

    def record(self) -> None:
        self.record_at(self.path)


def at(workspace: Workspace) -> Folder:
    """Return a workspace's folder, to act in."""
    return Folder(Path(workspace.location))


def clone(project: Project, name: str, source: str = "main") -> Folder:
    """Make a workspace and return its folder, to act in."""
    (made,) = project.clone(source, name=name).workspaces
    return at(made)


def found_wrong(project: Project) -> list[str]:
    """Return what is not well in a project: what its doctor finds, what was begun and never ended, and what lies about."""
    live = [workspace.name for workspace in project.status(detail="names").workspaces if not workspace.is_main]
    folder = project.root / ".workspaces"
    there = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.is_dir() else []
    return [
        *(finding.message for finding in project.doctor().findings if not finding.ok),
        *(f"{operation.verb} never ended" for operation in project.log(10**6).operations if operation.state == "started"),
        *(f"{name} is there but unknown, or known but not there" for name in {*live} ^ {*there}),
        *(f"half made: {entry.name}" for entry in folder.glob(".new*")),
    ]


def timed(file: Path, over: str, there: Path) -> Path:
    """Write what guards a command, but for the clock by which it waits for that, and return it: that stands still until `over` is so, and then the
    time is over, however slow the machine is. `over` is Python, which may ask how many files there were `before` in a folder, when the command
    was started."""
    clock = (
        f"import os, sys, time; clock, before = time.monotonic, len(os.listdir({str(there)!r}))\n"
        f"waits = lambda: sys._getframe(2).f_code.co_name == '_awaited'\n"
        f"time.monotonic = lambda: clock() if not waits() else clock() + 1e6 if {over} else 0.0\n"
    )
    file.write_text(clock + Path(guard.__file__).read_text().replace("from __future__", "# from __future__"))
    return file


def written(*files: Path) -> str:
    """Return in Python that something stands in all these files."""
    return f"all(os.path.exists(each) and os.path.getsize(each) for each in {[*map(str, files)]})"


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
