"""Other projects, as they are installed for a comparison: into a temporary folder, and at these versions."""

from __future__ import annotations

import platform
import sys
from functools import cached_property
from pathlib import Path

from programs import run

_MACHINES = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_PROGRAM = f"@nekocode/agent-worktree-{platform.system().lower()}-{_MACHINES.get(platform.machine(), 'unknown')}"
PACKAGES = "treehouse-worktree@1.1.0", f"{_PROGRAM}@0.13.6", "sandfs==0.8.0"
"""What is installed. The second is the program of agent-worktree, without the Node.js that its other package puts before it."""


class Unable(Exception):
    """Says in a few words why a contestant does not do what is asked."""


class Tools:
    """Other projects, installed below a folder. Raises `Unable` for one that cannot be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def treehouse(self) -> Path:
        """The folder of its programs."""
        self._npm(PACKAGES[0])
        return self._folder / "node_modules" / ".bin"

    @cached_property
    def nekocode(self) -> Path:
        self._npm(PACKAGES[1])
        return self._folder / "node_modules" / _PROGRAM / "bin" / "wt"

    @cached_property
    def sandfs(self) -> Path:
        """The Python that has it."""
        place = self._folder / "sandfs"
        _installed(sys.executable, "-m", "venv", place)
        _installed(place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGES[2])
        return place / "bin" / "python"

    def _npm(self, package: str) -> None:
        _installed("npm", "install", "--prefix", self._folder, "--ignore-scripts", "--no-audit", "--no-fund", "--silent", package)


def _installed(*command: str | Path) -> None:
    try:
        run(*command)
    except (OSError, RuntimeError) as error:
        raise Unable(f"could not be installed: {' '.join(str(error).split())[:100]}") from error
