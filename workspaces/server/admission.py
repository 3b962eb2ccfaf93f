"""How much at once: calls of one caller a second and at a time, and sizes of what is asked and answered. What is too much is refused at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from workspaces import config
from workspaces.access import Access
from workspaces.config import USUAL, Limits
from workspaces.errors import Busy, Limit, TooFast

_MOST = 10_000
"""Callers that are remembered; a full bucket says nothing, so the ones that were not seen for longest go first."""


_Seal = tuple[tuple[int, ...], ...]


@dataclass
class _Bucket:
    """What is left of a caller's calls (a token bucket), and how many are under way."""

    left: float
    at: float
    under_way: int = 0

    def take(self, limits: Limits, now: float) -> float:
        """Take one call, or return after how many seconds there is one."""
        self.left = min(_burst(limits), self.left + (now - self.at) * limits.calls_per_second)
        self.at = now
        if self.left < 1:
            return (1 - self.left) / limits.calls_per_second
        self.left -= 1
        return 0.0


@dataclass
class Admission:
    """What callers with tokens may have by the settings of their project; the person at the machine has no limits. For one event loop."""

    default: Path | None
    clock: Callable[[], float] = time.monotonic
    _buckets: dict[tuple[str, str], _Bucket] = field(default_factory=dict[tuple[str, str], _Bucket])
    _known: dict[str, tuple[_Seal, config.Config]] = field(default_factory=dict[str, tuple[_Seal, config.Config]])

    @contextmanager
    def admitted(self, access: Access, size: int) -> Generator[Limits | None]:
        """Let a call of so many bytes happen. Raises `Limit` or `Busy` when it is too much, with the time after which it is not."""
        if access.is_person:
            yield None
            return
        root = access.projects[0] if access.projects else str(self.default or "")
        limits = self._limits(access, root)
        if size > limits.request_kb << 10:
            raise Limit(
                f"The arguments have {size:,} bytes, and may have {limits.request_kb << 10:,}. Nothing was done.", "Ask for less at once."
            )
        bucket = self._bucket(access.name, root, limits)
        _take(bucket, limits, self.clock())
        bucket.under_way += 1
        try:
            yield limits
        finally:
            bucket.under_way -= 1

    def _bucket(self, name: str, root: str, limits: Limits) -> _Bucket:
        """Return a caller's bucket, the one that was used last now."""
        bucket = self._buckets.pop((name, root), None) or _Bucket(_burst(limits), self.clock())
        idle = (key for key, each in self._buckets.items() if not each.under_way)
        while len(self._buckets) >= _MOST and (oldest := next(idle, None)):
            del self._buckets[oldest]
            idle = (key for key, each in self._buckets.items() if not each.under_way)
        self._buckets[(name, root)] = bucket
        return bucket

    def _limits(self, access: Access, root: str) -> Limits:
        """Return the limits of a caller's role by the settings of a project, which are read when their files changed."""
        if not root:
            return USUAL.limits
        seal = tuple(_seal(Path(root, name)) for name in config.FILES)
        if root not in self._known or self._known[root][0] != seal:
            self._known[root] = (seal, config.known(Path(root)))
        return self._known[root][1].limits.of(access.role)


def _seal(file: Path) -> tuple[int, ...]:
    try:
        found = file.lstat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _burst(limits: Limits) -> float:
    return max(1.0, 2 * limits.calls_per_second)


def _take(bucket: _Bucket, limits: Limits, now: float) -> None:
    if bucket.under_way >= limits.calls_at_once:
        raise Busy(
            f"You have {bucket.under_way} calls under way, and may have {limits.calls_at_once}. Nothing was done.",
            "Call again when one of them is answered.",
            retry_after_seconds=1,
        )
    if seconds := bucket.take(limits, now):
        raise TooFast(
            f"You called more than {limits.calls_per_second:g} times a second. Nothing was done.",
            f"Call again in {seconds:.2f} seconds.",
            retry_after_seconds=round(seconds + 0.005, 2),
        )
