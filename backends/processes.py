"""What a process has used so far, and whether it waits for what may never come: as proc_pid_stat(5) tells it, where the system has that."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_ASLEEP = "SITtZ"
"""States in which a process neither runs, nor waits for a processor or a disk."""
_ENDED = "ZX"
"""States of one that has ended, which nobody has taken note of."""


@dataclass(frozen=True)
class Used:
    """Seconds of processor that processes used, those that they waited for included; and whether all of them are asleep."""

    seconds: float
    asleep: bool


def is_there() -> bool:
    """Return whether the system says what processes use."""
    return by(os.getpid()) is not None


def by(pid: int) -> Used | None:
    """Return what one process used; None where the system does not say."""
    with suppress(OSError, IndexError, ValueError):
        words = _stat(str(pid))
        return Used(sum(map(int, words[11:15])) * _TICK, words[0] in _ASLEEP)
    return None


def by_group(leader: int) -> Used | None:
    """Return what the processes of a group used; None where the system does not say."""
    found: list[list[str]] = []
    for process in _PROC.glob("[0-9]*") if by(leader) else ():
        with suppress(OSError, IndexError):  # it ended
            if (words := _stat(process.name))[2] == str(leader):
                found.append(words)
    if not found:
        return None
    return Used(sum(int(word) for words in found for word in words[11:15]) * _TICK, all(words[0] in _ASLEEP for words in found))


def started(pid: int) -> float | None:
    """Return when a process was started, by the clock and at most a second too early. None for one that has ended, and where the system does not say."""
    with suppress(OSError, IndexError, ValueError):
        words = _stat(str(pid))
        return None if words[0] in _ENDED else _booted() + int(words[19]) * _TICK
    return None


def _booted() -> int:
    """Return when the system was started, in whole seconds (proc_stat(5))."""
    lines = (_PROC / "stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("btime "))


def _stat(pid: str) -> list[str]:
    """Return the fields after the name, which may hold anything: state, parent, group and so on."""
    return (_PROC / pid / "stat").read_bytes().rpartition(b")")[2].decode().split()
