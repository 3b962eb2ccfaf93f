"""Where a campaign plays: an empty home, projects of either kind to work in, and the tally that it ends with."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support import Repo

from workspaces import Project

KINDS = ("worktree", "directory")
LINES = 40
SHARED = "shared.txt"
"""A text that many edit, so that some of them conflict."""
UNCOMMITTED = "notes.md"
"""In a repository: what its owner has not committed, and what nobody may touch."""

ASIDE = ".aside"
"""A folder in a workspace that git is told to ignore, for what agents have not finished."""


@dataclass
class Tally:
    """How many points were tried, and what broke at which."""

    tried: int = 0
    broke: list[str] = field(default_factory=list[str])

    def told(self, campaign: str) -> str:
        """Return the last line of a campaign."""
        return "\n".join([*(f"  BROKE {each}" for each in self.broke), f"{campaign}: {self.tried} points tried, {len(self.broke)} broke"])

    def end(self, campaign: str) -> None:
        """Print the last line, and leave with a status that says whether all held."""
        print(self.told(campaign), flush=True)
        sys.exit(bool(self.broke))


@contextmanager
def stage(keep: bool = False, memory: bool = False) -> Generator[Path]:
    """Return a temporary folder to play in, with a home of its own, so that nobody's configuration takes part. It stays, if asked for.

    `memory`: where the machine has room for files in memory, it is there, so that no time goes into writing to a disk which nobody looks at.
    """
    folder = Path(tempfile.mkdtemp(prefix="campaign-", dir=in_memory() if memory else None)).resolve()
    try:
        home = folder / "home"
        home.mkdir()
        (home / ".gitconfig").write_text("[user]\n\tname = Ann\n\temail = ann@example.com\n[init]\n\tdefaultBranch = trunk\n")
        os.environ["HOME"] = str(home)
        for name in ("XDG_CONFIG_HOME", "WORKSPACES_PROJECT", "CLAUDE_PROJECT_DIR", "WORKSPACES_ACTOR"):
            os.environ.pop(name, None)
        yield folder
    finally:
        if keep:
            print(f"left in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def in_memory() -> str | None:
    """Return a folder in memory with 4 GB to spare; None where there is none."""
    shared = Path("/dev/shm")  # noqa: S108 - only looked at; what is made there has a name of its own
    return str(shared) if shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 4 << 30 else None


def project(kind: str, root: Path) -> Project:
    """Make a project of a kind with a few files in it."""
    root.mkdir(parents=True)
    repo = Repo(root)
    repo.write(SHARED, "".join(f"line {number}\n" for number in range(LINES)))
    repo.write(UNCOMMITTED, "# Notes\n")
    for number in range(20):
        repo.write(f"src/part{number % 4}/file{number}.py", f"value = {number}\n" * 20)
    if kind == "worktree":
        repo.git("init", "-q")
        repo.write(".git/info/exclude", f"{ASIDE}/\n")
        repo.commit("start")
        repo.write(UNCOMMITTED, "# Notes\nnot committed yet\n")
    return Project.initialize(root, backend=kind)
