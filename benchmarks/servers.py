"""How many calls a second a server of ours answers, beside one that does nothing, both in processes of their own."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters
from report import Row, row

from workspaces.project import Project

CLONES = 3
WARM = 5
CALLS = {"names": 100, "summary": 10}
"""How many calls make a sample."""

OURS = [str(Path(sys.executable).with_name("workspaces")), "serve"]
NOOP = [sys.executable, str(Path(__file__).with_name("noop.py"))]


def measured(checkout: Path, rounds: int) -> list[Row]:
    """Measure `status` on a project with a few clones, over both transports."""
    Project.initialize(checkout).clone(count=CLONES, name="agent")
    return [found for transport in ("stdio", "HTTP") for found in anyio.run(partial(_measured, checkout, transport, rounds))]


async def _measured(checkout: Path, transport: str, rounds: int) -> list[Row]:
    async with _client(OURS, checkout, transport) as ours, _client(NOOP, checkout, transport) as noop:
        return [await _row(ours, noop, transport, detail, rounds) for detail in CALLS]


async def _row(ours: Client, noop: Client, transport: str, detail: str, rounds: int) -> Row:
    rates: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        rates[0].append(await _rate(ours, "status", {"detail": detail}, CALLS[detail]))
        rates[1].append(await _rate(noop, "noop", {}, CALLS["names"]))
    subject = f"Tool calls, {CLONES + 1} workspaces of 100 files"
    return row(subject, f"status {detail}, {transport}", "the SDK's no-op tool", rates, unit="calls/s")


async def _rate(client: Client, tool: str, arguments: dict[str, str], calls: int) -> float:
    """Return calls a second of one client that waits for each answer."""
    await _call(client, tool, arguments, WARM)
    start = time.perf_counter()
    await _call(client, tool, arguments, calls)
    return calls / (time.perf_counter() - start)


async def _call(client: Client, tool: str, arguments: dict[str, str], calls: int) -> None:
    for _ in range(calls):
        result = await client.call_tool(tool, dict(arguments))
        if result.is_error:
            raise RuntimeError(f"{tool}: {result.content}")


@asynccontextmanager
async def _client(command: Sequence[str], folder: Path, transport: str) -> AsyncGenerator[Client]:
    if transport == "stdio":
        async with Client(StdioServerParameters(command=command[0], args=[*command[1:]], cwd=folder)) as client:
            yield client
        return
    with _served([*command, "--http", "127.0.0.1:0"], folder) as url:
        async with Client(url) as client:
            yield client


@contextmanager
def _served(command: Sequence[str], folder: Path) -> Generator[str]:
    """Have a server run, at the address that it prints on stderr."""
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield _address(process)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[str]) -> str:
    for line in process.stderr or ():
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return f"{found[0]}/mcp"
    raise RuntimeError("The server ended without an address.")
