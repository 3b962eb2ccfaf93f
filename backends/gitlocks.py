"""git's lock files, which a git that is killed leaves behind: which one is in the way, since when, and who holds it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from workspaces.errors import Busy

_PROCESSES = Path("/proc")
_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def in_the_way(lock: Path) -> Busy:
    """Return the error for a lock that was not let go in time."""
    holders = list(_holders(lock))
    if holders:
        hint = "Wait until that is done, then call again."
    else:
        hint = f"If no git is at work in there, one that was killed left it: remove it (rm {shlex.quote(str(lock))}) and call again."
    return Busy(
        f"Another git process keeps this repository, or left it locked: {described(lock)}. Nothing was changed.", hint, lock=str(lock)
    )


def described(lock: Path) -> str:
    """Say since when there is a lock, and whether a process has it open, as far as the system tells."""
    holders = list(_holders(lock))
    if holders:
        who = f"{', '.join(holders[:3])} {'has' if len(holders) == 1 else 'have'} it open"
    else:
        who = (
            "no process has it open, as far as can be seen" if _PROCESSES.is_dir() else "whether a process has it open cannot be seen here"
        )
    return f"there is {lock}{_since(lock)}; {who}"


def _since(lock: Path) -> str:
    with suppress(OSError):
        made = lock.lstat().st_mtime
        seconds = max(1, int(datetime.now(UTC).timestamp() - made))
        number, unit = next((seconds // size, unit) for size, unit in _UNITS if seconds >= size)
        age = f"{number} {unit}{'' if number == 1 else 's'}"
        return f" since {datetime.fromtimestamp(made, UTC):%d %b %Y %H:%M} UTC ({age})"
    return ""


def _holders(lock: Path) -> Iterator[str]:
    """Yield the processes that have a file open (proc_pid_fd(5)). Those of other users are not seen."""
    wanted = os.path.realpath(lock)
    for process in _PROCESSES.glob("[0-9]*"):
        with suppress(OSError), os.scandir(process / "fd") as opened:
            if any(_target(entry) == wanted for entry in opened):
                yield f"process {process.name} ({(process / 'comm').read_text().strip()})"


def _target(entry: os.DirEntry[str]) -> str:
    with suppress(OSError):
        return str(Path(entry.path).readlink())
    return ""
