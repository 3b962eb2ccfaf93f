"""Starts of the machine: what was on its way to the disk under an earlier one may not have got there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_START = Path("/proc/sys/kernel/random/boot_id")
"""What names a start of the machine (random(4))."""


@cache
def this_start() -> str:
    """Return the name of this start of the machine; nothing where it has none: there, what must not be lost is waited for."""
    try:
        return _START.read_text().strip()
    except OSError:
        return ""
