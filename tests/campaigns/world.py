"""A small project with something of everything, put back in its place before each attack, and all that can be seen of it afterwards."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from workspaces import Project, WorkspacesError

from .tripwire import apart

LINES = "".join(f"line {number}\n" for number in range(1, 21))
_NOT_THEIRS = (".workspaces/", ".git/workspaces/", ".git/worktrees/", ".git/objects/", ".git/logs/", ".git/refs/")
_LOOKED_INTO = (".git/index", ".git/packed-refs", ".git/COMMIT_EDITMSG", ".git/ORIG_HEAD")
"""What git says of these counts, and not their bytes, which hold times."""
_ABANDONED = 2.1
"""Seconds after which a lock of a git that may be dead is taken away."""
_TOLD = ("merge", "restore", "checkpoint")
"""What of the journal is looked at."""


class Seen(BaseModel):
    """What there is: `whole` must be that of before or of after, and `times` stay where nothing was to move."""

    whole: dict[str, str]
    times: dict[str, str]


@dataclass(frozen=True)
class World:
    """A project of one backend at a fixed place, since git's worktrees name it. A `blank` one was never initialized; in one with `spares`, clones
    lie prepared."""

    folder: Path
    backend: str
    blank: bool = False
    spares: bool = False

    @property
    def root(self) -> Path:
        return self.folder / "shop"

    @property
    def _pristine(self) -> Path:
        return self.folder / f"{self.backend}-{'blank' if self.blank else 'spares' if self.spares else 'full'}"

    def open(self) -> Project:
        return Project.open(self.root)

    def reset(self) -> None:
        """Put the project back as it was before any attack."""
        if not self._pristine.is_dir():
            shutil.rmtree(self.root, ignore_errors=True)
            if said := apart(self._built):
                raise RuntimeError(said)
            _copied(self.root, self._pristine)
        _copied(self._pristine, self.root)

    def _built(self) -> str:
        _furnish(self.root, self.backend == "worktree")
        if not self.blank:
            _populate(Project.initialize(self.root, backend=self.backend), self._committed)
        if self.spares:
            self.open().prepare(1)
        return ""

    def _committed(self) -> None:
        if self.backend == "worktree":
            git(self.root, "add", "cart.py")
            git(self.root, "commit", "-q", "-m", "theirs")

    # -- looking

    def settle(self) -> None:
        """Wait until the locks that a dead git left are old enough to be taken for what they are."""
        with suppress(FileNotFoundError):
            newest = max((self.root / ".git" / place).stat().st_mtime for place in [*_locks(self.root / ".git")] or ["HEAD"])
            time.sleep(max(0.0, min(_ABANDONED, newest + _ABANDONED - time.time())))

    def seen(self) -> Seen:
        """Return all that there is to see, of the project's own and of each workspace."""
        seen = Seen(whole={}, times={})
        self._look(seen, "main", self.root)
        with suppress(WorkspacesError):
            self._look_closer(seen, self.open())
        return seen

    def _look_closer(self, seen: Seen, project: Project) -> None:
        for workspace in project.status(detail="names", include_deleted=True).workspaces:
            seen.whole.setdefault(f"{workspace.name}:state", workspace.state)  # one that is there comes before a deleted one
            if not workspace.is_main and workspace.state != "deleted":
                self._look(seen, workspace.name, Path(workspace.location))
        told = Counter(f"log:{each.verb} {each.state}" for each in project.log(10**6).operations if each.verb in _TOLD)
        seen.whole |= {what: str(times) for what, times in told.items() if not what.endswith("failed")}

    def _look(self, seen: Seen, area: str, folder: Path) -> None:
        for place, file in _files(folder):
            found = file.lstat()
            if place not in _LOOKED_INTO:
                seen.whole[f"{area}/{place}"] = _told(file, found)
            if not stat.S_ISDIR(found.st_mode):
                seen.times[f"{area}/{place}"] = f"{found.st_mtime_ns} {_told(file, found)}"
        if self.backend == "worktree":
            seen.whole |= {f"{area}:{name}": said for name, said in _in_git(folder)}
            if area == "main":
                seen.whole |= {f"main/{place}": "a lock" for place in _locks(folder / ".git")}


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for at, folders, names in os.walk(folder):
        here = Path(at).relative_to(folder)
        folders[:] = [name for name in folders if not f"{here / name}/".startswith(_NOT_THEIRS)]
        for name in [*folders, *names]:
            place = str(here / name)
            if not (place == ".git" and (folder / place).is_file()):  # a worktree's names its git directory, by a random name
                yield place, folder / place


def _told(file: Path, found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return f"-> {file.readlink()}"
    if stat.S_ISDIR(found.st_mode):
        return f"folder {found.st_mode:o}"
    return f"{found.st_mode:o} {hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"


def _in_git(folder: Path) -> Iterator[tuple[str, str]]:
    yield "index", git(folder, "ls-files", "--stage")
    yield "status", git(folder, "status", "--porcelain")
    yield "history", git(folder, "log", "--format=%T %s")
    yield "HEAD", git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    yield "refs", git(folder, "for-each-ref", "--format=%(refname) %(tree)", "refs/heads", "refs/tags", "refs/stash")


def _locks(git_dir: Path) -> Iterator[str]:
    """Yield what a dead git left in the way of others. Nobody but us writes what is ours."""
    for lock in git_dir.rglob("*.lock"):
        place = str(lock.relative_to(git_dir))
        if not place.startswith(("workspaces/", "refs/workspaces/")):
            yield place


def git(folder: Path, *args: str) -> str:
    """Run git as a person does, but for what it would write on the way; what it refuses is an answer too."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(["git", *args], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else f"{done.returncode}: {done.stderr.strip()}"


def _copied(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)


# -- making -------------------------------------------------------------------------------------------------------------------------------


def write(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _furnish(root: Path, with_git: bool) -> None:
    for name, text in (("cart.py", LINES), ("auth/api.py", "def login(): ...\n"), ("docs/old.md", "# Old\n"), ("notes.md", "# Notes\n")):
        write(root, name, text)
    (root / "tool.sh").write_text("#!/bin/sh\n")
    (root / "tool.sh").chmod(0o755)
    (root / "link").symlink_to("cart.py")
    if with_git:
        write(root, ".gitignore", ".env\n")
        write(root, ".worktreeinclude", ".env\n")
        _version(root)
    write(root, ".env", "SECRET=1\n")
    write(root, "notes.md", "# Notes\nuncommitted\n")


def _version(root: Path) -> None:
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"], ["tag", "first"]):
        git(root, *args)
    write(root, "cart.py", "stashed\n")
    git(root, "stash")
    write(root, ".git/hooks/pre-commit", "#!/bin/sh\nexit 0\n")
    write(root, ".git/info/exclude", "*.tmp\n")


def _populate(project: Project, commit: Callable[[], None]) -> None:
    """Make workspaces for all that is attacked: one to merge, one to bring up to date, one to go back, one in the trash; last a merge to undo."""
    root = project.root
    fix = _clone(project, "fix")
    write(fix, "cart.py", LINES.replace("line 3\n", "line three\n"))
    write(fix, "new/deep/file.txt", "new\n")
    (fix / "docs/old.md").unlink()
    write(fix, ".env", "SECRET=fix\n")
    stale = _clone(project, "stale")
    write(stale, "cart.py", LINES.replace("line 10\n", "line mine\n"))
    write(stale, "mine.txt", "mine\n")
    spot = _clone(project, "spot")
    write(spot, "first.txt", "first\n")
    project.checkpoint("spot", "kept")
    (spot / "first.txt").unlink()
    write(spot, "auth/api.py", "later\n")
    write(spot, "later/more.txt", "later\n")
    gone = _clone(project, "gone")
    write(gone, "gone.txt", "gone\n")
    project.delete(["gone"], discard_unmerged=True)
    write(root, "cart.py", LINES.replace("line 10\n", "line theirs\n"))
    commit()
    past = _clone(project, "past")
    write(past, "past/one.txt", "past\n")
    write(past, "tool.sh", "#!/bin/sh\necho past\n")
    project.merge("past")


def _clone(project: Project, name: str) -> Path:
    (made,) = project.clone(name=name).workspaces
    return Path(made.location)
