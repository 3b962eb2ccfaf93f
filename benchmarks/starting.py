"""What a start costs: of commands, beside a Python that does nothing, and of a server until it told its tools, beside the SDK's with one tool.

In milliseconds of processor, of the process and of all that it started: those are the same on a machine that is busy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from report import Row, row
from servers import NOOP, OURS
from timing import interleaved

from workspaces.project import Project

PROGRAM = OURS[0]
PASS = [sys.executable, "-c", "pass"]
COMMANDS = (["--version"], ["--help"], ["list"], ["status", "--json"])
SERVERS = (OURS, [str(Path(PROGRAM).with_name("mcp-workspaces"))])
_CLIENT = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
_ASKED = (
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _CLIENT},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
)


def measured(checkout: Path, rounds: int) -> Iterator[Row]:
    """Measure commands and servers in a small repository without workspaces."""
    Project.initialize(checkout)
    turns = [checkout] * rounds
    for words in COMMANDS:
        taken = interleaved([partial(_command, [PROGRAM, *words]), partial(_command, PASS)], turns)
        yield row("command line", " ".join(words), "python -c pass", taken, "ms of processor")
    for server in SERVERS:
        taken = interleaved([partial(_listed, server), partial(_listed, NOOP)], turns)
        name = " ".join([Path(server[0]).name, *server[1:]])
        yield row("stdio server", f"{name}, until its tools are told", "the SDK's with one tool", taken, "ms of processor")


def _command(command: Sequence[str], folder: Path) -> float:
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        return _used(started)


def _listed(command: Sequence[str], folder: Path) -> float:
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdin and server.stdout
        server.stdin.write(b"".join(json.dumps(each).encode() + b"\n" for each in _ASKED))
        server.stdin.flush()
        while json.loads(server.stdout.readline()).get("id") != 2:
            pass
        server.stdin.close()
        return _used(server)


def _used(started: subprocess.Popen[bytes]) -> float:
    """Wait for a process and return the milliseconds of processor that it used."""
    _, status, usage = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    assert started.returncode == 0, f"{started.args!r}: {started.returncode}"
    return (usage.ru_utime + usage.ru_stime) * 1000
