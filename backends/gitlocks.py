"""git's lock files, which a git that is killed leaves behind: which one is in the way, since when, and which living process may need it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from workspaces.errors import Busy, readable

from . import processes, tree
from .place import WORKSPACES

_PROCESSES = Path("/proc")
_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_SLACK = 1.0
"""Seconds by which the clock of a file system, or what is told of a start, may be off."""
_PACKED = "packed-refs.lock"
_OF_A_CHECKOUT = ("index.lock", "HEAD.lock")
"""Locks in the git directory of the main checkout that no git at work in another one makes."""
_LONGEST = 4096
_WAIT = "Wait until that is done, then call again."


@dataclass(frozen=True)
class Ground:
    """A checkout, and the repository that it is of: where the gits are at work that may make its locks."""

    git_dir: Path
    common_dir: Path
    work_tree: Path | None = None

    def has(self, lock: Path, folder: Path) -> bool:
        """Return whether a git that is at work in a folder may make a lock: one of this checkout, or one that all of the repository share."""
        if lock.parent == self.git_dir and (self.git_dir != self.common_dir or lock.name in _OF_A_CHECKOUT):
            own = [self.git_dir, *self._tree_of(self.git_dir)]
            others = (place / name for place in own for name in (WORKSPACES, "workspaces", "worktrees"))
            return _is_in(folder, own) and not _is_in(folder, others)
        return self._home not in lock.parents and _is_in(folder, self._all())

    @property
    def _home(self) -> Path:
        """Where only gits of ours write, each by itself."""
        return self.common_dir / "workspaces"

    def _all(self) -> Iterator[Path]:
        """Yield the git directories and the work trees of the repository."""
        for git_dir in (self.git_dir, self.common_dir, *(self.common_dir / "worktrees").glob("*")):
            yield git_dir
            yield from self._tree_of(git_dir)

    def _tree_of(self, git_dir: Path) -> Iterator[Path]:
        if git_dir == self.git_dir and self.work_tree:
            yield self.work_tree
        elif git_dir.name == ".git":
            yield git_dir.parent
        with suppress(OSError):
            yield Path(os.fsdecode(tree.start_of(git_dir / "gitdir", _LONGEST)).strip()).parent


@dataclass(frozen=True)
class Living:
    """The living processes by which a lock may be: those that have it open, and other gits that may have made it."""

    openers: tuple[str, ...] = ()
    gits: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.openers or self.gits)


def living(lock: Path, ground: Ground | None = None) -> Living:
    """Return which processes may still need a lock, as far as the system tells. Without a ground, only those that have it open.

    git has its lock open only while it writes it: beside an editor, or while it writes `packed-refs.new`, it is known by where it is at work.
    """
    openers = dict(_openers(lock))
    gits = dict(_gits(lock, ground)) if ground else {}
    return Living(tuple(openers.values()), tuple(said for process, said in gits.items() if process not in openers))


def kept(lock: Path, ground: Ground) -> Busy | None:
    """Return the error for a lock that a living process may need; None for one that was left behind."""
    who = living(lock, ground)
    return Busy(f"Another git process keeps this repository: {_said(lock, who)}.", _WAIT, lock=str(lock)) if who else None


def in_the_way(lock: Path, ground: Ground | None = None) -> Busy:
    """Return the error for a lock that was not let go in time."""
    who = living(lock, ground)
    left = f"If no git is at work in there, one that was killed left it: remove it (rm {shlex.quote(str(lock))}) and call again."
    return Busy(
        f"Another git process keeps this repository, or left it locked: {_said(lock, who)}. Nothing was changed.",
        _WAIT if who else left,
        lock=str(lock),
    )


def described(lock: Path, ground: Ground) -> str:
    """Say since when there is a lock, and which process may need it, as far as the system tells."""
    return _said(lock, living(lock, ground))


def remove(lock: Path) -> None:
    """Remove a lock that was left behind, and first what git had begun to fill under it, which it would never overwrite."""
    for file in reversed(_filled(lock)):
        file.unlink(missing_ok=True)


def _filled(lock: Path) -> tuple[Path, ...]:
    """Return the files that git fills when it has a lock: mostly that itself."""
    return (lock, lock.with_suffix(".new")) if lock.name == _PACKED else (lock,)


def _said(lock: Path, who: Living) -> str:
    if who.openers:
        said = f"{', '.join(who.openers[:3])} {'has' if len(who.openers) == 1 else 'have'} it open"
    elif who.gits:
        said = f"it may be that of {', '.join(who.gits[:3])}, at work there"
    else:
        said = (
            "no process has it open, as far as can be seen" if _PROCESSES.is_dir() else "whether a process has it open cannot be seen here"
        )
    return f"there is {lock}{_since(lock)}; {said}"


def _since(lock: Path) -> str:
    with suppress(OSError):
        made = lock.lstat().st_mtime
        seconds = max(1, int(datetime.now(UTC).timestamp() - made))
        number, unit = next((seconds // size, unit) for size, unit in _UNITS if seconds >= size)
        age = f"{number} {unit}{'' if number == 1 else 's'}"
        return f" since {datetime.fromtimestamp(made, UTC):%d %b %Y %H:%M} UTC ({age})"
    return ""


def _openers(lock: Path) -> Iterator[tuple[str, str]]:
    """Yield the processes that have open what git fills when it has a lock (proc_pid_fd(5)). Those of other users are not seen."""
    wanted = {os.path.realpath(file) for file in _filled(lock)}
    for process in _PROCESSES.glob("[0-9]*"):
        with suppress(OSError), os.scandir(process / "fd") as opened:
            if any(_target(entry) in wanted for entry in opened):
                yield process.name, f"process {process.name} ({_name(process)})"


def _target(entry: os.DirEntry[str]) -> str:
    with suppress(OSError):
        return str(Path(entry.path).readlink())
    return ""


def _name(process: Path) -> str:
    return readable((process / "comm").read_text(errors="replace").strip())


def _gits(lock: Path, ground: Ground) -> Iterator[tuple[str, str]]:
    """Yield the gits, of any user, that may have made a lock: they were there before it was last written, and are at work on that ground."""
    with suppress(FileNotFoundError):
        found = lock.lstat()
        for process in _PROCESSES.glob("[0-9]*"):
            with suppress(OSError):
                name = _name(process)
                if (name == "git" or name.startswith("git-")) and _may_have_made(process, lock, found, ground):
                    yield process.name, f"process {process.name} ({name})"


def _may_have_made(process: Path, lock: Path, found: os.stat_result, ground: Ground) -> bool:
    since = processes.started(int(process.name))
    if since is None or since > found.st_mtime + _SLACK:
        return False
    try:
        folder = (process / "cwd").readlink()
    except PermissionError:  # somebody else's: it may be at work anywhere, but makes files that are his
        return process.stat().st_uid == found.st_uid
    return ground.has(lock, folder)


def _is_in(folder: Path, places: Iterable[Path]) -> bool:
    return any(place == folder or place in folder.parents for place in (Path(os.path.realpath(each)) for each in places))
