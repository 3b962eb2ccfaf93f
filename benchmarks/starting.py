"""What a start costs: of commands, beside a Python that does nothing, and of a server until it told its tools, beside the SDK's with one tool.

In milliseconds by the clock, and of processor, of the process and of all that it started: those are nearly the same on a machine that is busy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from report import Row, row
from servers import NOOP, OURS
from timing import Cost, interleaved

from workspaces.project import Project

PROGRAM = OURS[0]
PASS = [sys.executable, "-c", "pass"]
COMMANDS = (["--version"], ["--help"], ["list"], ["status", "--json"])
CLONES = 3
AMONG_CLONES = (["list"], ["compare", "--json"])
SERVERS = (OURS, [str(Path(PROGRAM).with_name("mcp-workspaces"))])
_CLIENT = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
_ASKED = (
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _CLIENT},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
)


def measured(checkout: Path, rounds: int) -> list[Row]:
    """Measure commands and servers in a small repository, at first without workspaces."""
    project = Project.initialize(checkout)
    pairs = [*_pairs(checkout, rounds)]
    for made in project.clone(count=CLONES, name="agent").workspaces:
        Path(made.location, "changed.txt").write_text(f"{made.name}\n")
    pairs += [_pair(checkout, rounds, f"{' '.join(words)}, {CLONES} workspaces", [PROGRAM, *words]) for words in AMONG_CLONES]
    return [each for rows in zip(*pairs, strict=True) for each in rows]


def _pairs(checkout: Path, rounds: int) -> Iterator[tuple[Row, Row]]:
    yield _pair(checkout, rounds, "git status", ["git", "status"])
    for words in COMMANDS:
        yield _pair(checkout, rounds, " ".join(words), [PROGRAM, *words])
    for server in SERVERS:
        taken = interleaved([partial(_listed, server), partial(_listed, NOOP)], [checkout] * rounds)
        yield _rows(f"{' '.join([Path(server[0]).name, *server[1:]])}, until its tools are told", "the SDK's with one tool", taken)


def _pair(checkout: Path, rounds: int, name: str, command: Sequence[str]) -> tuple[Row, Row]:
    return _rows(name, "python -c pass", interleaved([partial(_ended, command), partial(_ended, PASS)], [checkout] * rounds))


def _rows(name: str, beside: str, taken: Sequence[Sequence[Cost]]) -> tuple[Row, Row]:
    """Return what was taken by the clock, and of processor."""
    clock, processor = ([[cost[at] for cost in costs] for costs in taken] for at in (0, 1))
    return row("Starts", name, beside, clock), row("Starts", name, beside, processor, "ms of processor")


def _ended(command: Sequence[str], folder: Path) -> Cost:
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        used = _used(started)
        return (time.perf_counter() - began) * 1000, used


def _listed(command: Sequence[str], folder: Path) -> Cost:
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdin and server.stdout
        server.stdin.write(b"".join(json.dumps(each).encode() + b"\n" for each in _ASKED))
        server.stdin.flush()
        while json.loads(server.stdout.readline()).get("id") != 2:
            pass
        taken = (time.perf_counter() - began) * 1000
        server.stdin.close()
        return taken, _used(server)


def _used(started: subprocess.Popen[bytes]) -> float:
    """Wait for a process and return the milliseconds of processor that it used."""
    _, status, usage = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    assert started.returncode == 0, f"{started.args!r}: {started.returncode}"
    return (usage.ru_utime + usage.ru_stime) * 1000
