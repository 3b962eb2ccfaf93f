"""Doing with git and files what people and agents do."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from workspaces import Project
from workspaces.model import Workspace, now
from workspaces.store import Store

Instead = Callable[[str], None]
"""Lets a script see git's arguments first."""

REFS_WRITTEN = "workspaces.backends.worktree.refs:write"
"""What gives what is to stay its names."""

WORKSPACES = str(Path(sys.executable).with_name("workspaces"))
"""The program, as it is installed."""


@dataclass(frozen=True)
class Repo:
    """A checkout to act on, as a person would."""

    path: Path

    @classmethod
    def create(cls, path: Path, *options: str) -> Repo:
        path.mkdir(parents=True)
        made = cls(path)
        made.git("init", "-q", *options)
        return made

    def git(self, *args: str, check: bool = True) -> str:
        # For this git alone: ours does not obey such a variable, and is started by one more program where there is one that it has to drop.
        environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", *args], cwd=self.path, env=environment, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"git {args}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def raw(self, *args: str, given: bytes = b"") -> bytes:
        """Return what git answers to this, byte for byte."""
        return subprocess.run(["git", *args], cwd=self.path, input=given, capture_output=True, check=True).stdout

    def write(self, name: str, text: str | bytes) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def read(self, name: str) -> str:
        return (self.path / name).read_bytes().decode()

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def status(self) -> list[str]:
        done = subprocess.run(["git", "status", "--porcelain"], cwd=self.path, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")


OLD_MODES = {"040000": "40000", "40755": "40000", "100664": "100644", "100600": "100644", "100775": "100755", "120777": "120000"}
"""Modes that old gits and other programs wrote into trees, and what git takes them for (git-fsck(1), zeroPaddedFilemode)."""


def with_old_modes(repo: Repo, odd: str) -> str:
    """Commit what is there once more, with a mode of other times on all in the outermost folder that it fits; and return the commit."""
    if not (repo.path / "way").is_symlink():
        (repo.path / "way").symlink_to("notes.md")
        repo.write("tool", "#!/bin/sh\n").chmod(0o755)
        repo.commit("with a link and a program")
    head = repo.head
    rows = [row.split(b" ", 2) for row in repo.raw("ls-tree", "-z", "HEAD").split(b"\0") if row]
    tree = b""
    for mode, _, rest in rows:
        blob, _, name = rest.partition(b"\t")
        usual = mode.decode().removeprefix("0")
        tree += (odd if usual == OLD_MODES[odd] else usual).encode() + b" " + name + b"\0" + bytes.fromhex(blob.decode())
    made = repo.raw("hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=tree).decode().strip()
    repo.git("reset", "-q", "--hard", repo.git("commit-tree", made, "-p", head, "-m", "of other times"))
    return repo.head


@dataclass(frozen=True)
class Golden:
    """What a test is to find word for word, in files that are written anew only when somebody asks for it."""

    folder: Path
    renews: bool

    def __call__(self, name: str, text: str) -> None:
        if self.renews:
            (self.folder / name).write_text(text)
        assert text == (self.folder / name).read_text(), "meant? pytest --renew-golden, and look at the difference"


def at(workspace: Workspace) -> Repo:
    """Return a workspace's folder, to act in."""
    return Repo(Path(workspace.location))


def clone(project: Project, name: str, source: str = "main") -> Repo:
    """Make a workspace and return its folder, to act in."""
    (made,) = project.clone(source, name=name).workspaces
    return at(made)


def hidden(repo: Repo, path: str) -> None:
    """Let git pass a file over when it looks for changes: then a checkout is frozen by adding all that is there, as where anything else is odd."""
    repo.git("update-index", "--assume-unchanged", path)


def fingerprint(repo: Repo) -> dict[str, str]:
    """Return all that is the user's: every file of the checkout and of its git directory but what is ours, with modes and link targets.

    Objects may be added (they are what git keeps, not what it says), so they are left out.
    """
    ours = (".workspaces/", ".git/workspaces/", ".git/worktrees/", ".git/objects/", ".git/refs/workspaces/")
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(repo.path):
        for name in [*files, *folders]:
            path = Path(folder, name)
            place = str(path.relative_to(repo.path))
            if f"{place}/".startswith(ours):
                continue
            if path.is_symlink():
                found[place] = f"-> {path.readlink()}"
            elif path.is_file():
                found[place] = f"{path.stat().st_mode:o} {path.stat().st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            else:
                found[place] = f"{path.stat().st_mode:o}"
    found[".git/refs"] = repo.git(
        "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags", "refs/stash", "refs/remotes"
    )
    return {
        place: what for place, what in found.items() if place not in (".git/workspaces", ".git/worktrees", ".workspaces", ".git/objects")
    }


def deleted_at(repo: Repo, name: str, days: float) -> Workspace:
    """Let a workspace have been deleted so many days ago."""
    store = Store(repo.path / ".git" / "workspaces" / "store.sqlite")
    (row,) = [each for each in store.workspaces("shop", ("deleted",)) if each.name == name]
    at = now() - timedelta(days=days)
    aged = row.model_copy(update={"deleted": at, "restorable_until": at + timedelta(days=14)})
    store.save(aged, "deleted")
    return aged
