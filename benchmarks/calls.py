"""Many clients on one server: calls a second, how long one takes, what they cost the server, and what its sessions weigh, beside the SDK's no-op.

The clients speak JSON-RPC and nothing else, all from one process, so what they cost themselves is the same on both sides.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Literal

import anyio
import httpx2
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import JsonValue
from report import Row, Unit, row
from servers import NOOP, OURS

from workspaces.project import Project

Way = Literal["stdio", "HTTP, sessions", "HTTP, stateless", "nginx before three, stateless"]
WAYS: tuple[Way, ...] = ("stdio", "HTTP, sessions", "HTTP, stateless", "nginx before three, stateless")
CLIENTS = (1, 16, 32, 64, 256)
MOST_PROCESSES = 32
"""Clients on stdio: each has a server of its own, of a hundred megabytes."""
FEWEST = 48
"""Calls of which one is measured, at least."""
SESSIONS = 256
TICK = 10.0
"""Milliseconds of processor in one tick of /proc (proc_pid_stat(5))."""
NAME = "localhost:9"
"""What nginx calls the servers: a name on this machine, which each of them is told of or takes anyway."""
_HANDSHAKE, _MODERN = "2025-11-25", "2026-07-28"
_WHO: dict[str, JsonValue] = {"name": "bench", "version": "1"}
_KINDS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
_NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    upstream replicas {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        location /mcp {{
            proxy_pass http://replicas; proxy_http_version 1.1; proxy_set_header Host {name}; proxy_buffering off; proxy_read_timeout 300s;
        }}
    }}
}}
"""
Call = Callable[[str, Mapping[str, JsonValue]], Awaitable[None]]
"""What makes a call of a tool and waits for its answer."""
Arguments = Callable[[], Mapping[str, JsonValue]]
"""What makes the arguments of the next call."""


@dataclass(frozen=True)
class Taken:
    """What some calls took: seconds of each, seconds of them all, and milliseconds of the servers' processor."""

    seconds: list[float]
    all: float
    processor: float

    @property
    def figures(self) -> dict[str, float]:
        ranks = quantiles(self.seconds, n=100, method="inclusive")
        each = len(self.seconds)
        return {
            "calls/s": each / self.all,
            "ms, median": ranks[49] * 1000,
            "ms, p99": ranks[98] * 1000,
            "ms of the server's processor": self.processor / each,
        }


def measured(checkout: Path, clients: Sequence[int]) -> Iterator[Row]:
    """Measure each call by each way with so many clients, then what sessions weigh."""
    project = Project.initialize(checkout)
    for each in project.clone(name="pair", count=2).workspaces:
        Path(each.location, "new.txt").write_text(each.name)
    names = (f"made-{number}" for number in count())
    for way in WAYS if shutil.which("nginx") else WAYS[:-1]:
        for number in clients if way != "stdio" else [each for each in clients if each <= MOST_PROCESSES]:
            print(f"{way}: {number} …", file=sys.stderr)
            yield from anyio.run(_together, way, number, checkout, names)
    yield anyio.run(_weighed, checkout)


async def _together(way: Way, clients: int, checkout: Path, names: Iterator[str]) -> list[Row]:
    async with crowd(way, clients, checkout, OURS) as ours, crowd(way, clients, checkout, NOOP) as noop:
        found: list[Row] = []
        for operation, arguments in _work(names).items():
            beside = (await noop.taken("noop", dict)).figures
            for unit, value in (await ours.taken(operation, arguments)).figures.items():
                found.append(_figure(f"{way}, {clients} at once: {unit}", operation, (value, beside[unit])))
        return found


def _work(names: Iterator[str]) -> dict[str, Callable[[], dict[str, JsonValue]]]:
    """Return the tools that are called, each with what makes arguments."""
    return {
        "status": lambda: {"detail": "names", "workspaces": ["pair-1", "pair-2"]},
        "compare": lambda: {"workspaces": ["pair-1", "pair-2"]},
        "clone": lambda: {"name": next(names)},
    }


def _figure(subject: str, operation: str, values: tuple[float, float]) -> Row:
    unit: Unit = "calls/s" if subject.endswith("calls/s") else "MB of memory" if subject.endswith("memory") else "ms"
    return row(subject, operation, "the SDK's no-op tool", [[value] for value in values], unit)


# -- clients ------------------------------------------------------------------------------------------------------------------------------


@dataclass
class Crowd:
    """So many clients that are connected, and the processes that serve them."""

    calls: Sequence[Call]
    servers: Sequence[int]

    async def taken(self, tool: str, arguments: Arguments, fewest: int = FEWEST) -> Taken:
        """Let each client call one tool again and again, all of them at once, equally often and so often in all at least."""
        seconds: list[float] = []
        rounds = max(1, -(-fewest // len(self.calls)))
        before, start = processor(self.servers), time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for call in self.calls:
                tasks.start_soon(partial(_repeated, call, tool, arguments, rounds, seconds))
        taken = time.perf_counter() - start
        return Taken(seconds, taken, sum(processor(self.servers)) - sum(before))


async def _repeated(call: Call, tool: str, arguments: Arguments, rounds: int, seconds: list[float]) -> None:
    for _ in range(rounds):
        start = time.perf_counter()
        await call(tool, arguments())
        seconds.append(time.perf_counter() - start)


def processor(servers: Sequence[int]) -> tuple[float, float]:
    """Return the milliseconds of processor of processes, and those of the children that they waited for (proc_pid_stat(5))."""
    stats = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in servers]
    own, children = (TICK * sum(int(ticks) for stat in stats for ticks in stat[at : at + 2]) for at in (11, 13))
    return own, children


@asynccontextmanager
async def crowd(way: Way, clients: int, checkout: Path, command: Sequence[str]) -> AsyncGenerator[Crowd]:
    """Connect so many clients to a server of their way."""
    async with AsyncExitStack() as held:
        if way == "stdio":
            pairs = [await held.enter_async_context(_own(command, checkout)) for _ in range(clients)]
            yield Crowd([each.call for each in pairs], [each.process.pid for each in pairs])
            return
        alone = way == "HTTP, sessions"
        number, options = (
            (3 if way.startswith("nginx") else 1),
            ([] if alone or command is NOOP else ["--stateless", "--public-url", f"http://{NAME}"]),
        )
        url, servers = held.enter_context(_served([*command, *options], checkout, number))
        # Servers close what is idle for five seconds, and a call that is just then on its way gets no answer.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=2)
        http = await held.enter_async_context(httpx2.AsyncClient(timeout=300, limits=limits))
        talks = [Talk(http, url, {} if alone else {"MCP-Protocol-Version": _MODERN}) for _ in range(clients)]
        for talk in talks if alone else ():
            await talk.greet()
        yield Crowd([talk.call for talk in talks], servers)


@dataclass
class Talk:
    """One client on HTTP."""

    http: httpx2.AsyncClient
    url: str
    headers: dict[str, str]

    async def greet(self) -> None:
        """Open a session."""
        answer = await self.http.post(self.url, json=_hello(), headers=_KINDS)
        self.headers = {"MCP-Protocol-Version": _HANDSHAKE, "Mcp-Session-Id": answer.headers["mcp-session-id"]}
        await self.http.post(self.url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=_KINDS | self.headers)

    async def call(self, tool: str, arguments: Mapping[str, JsonValue]) -> None:
        told = {} if "Mcp-Session-Id" in self.headers else {"Mcp-Method": "tools/call", "Mcp-Name": tool}
        answer = await self.http.post(self.url, json=_called(tool, arguments, bool(told)), headers=_KINDS | self.headers | told)
        if answer.status_code != 200:
            raise RuntimeError(f"{tool}: {answer.status_code} {answer.text}")
        lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
        _settle(json.loads(lines[-1] if lines else answer.text))


@dataclass
class Own:
    """One client on stdio, with a server of its own."""

    process: Process
    lines: BufferedByteReceiveStream
    numbers: Iterator[int] = field(default_factory=lambda: count(2))

    async def send(self, message: Mapping[str, JsonValue]) -> None:
        assert self.process.stdin
        await self.process.stdin.send(json.dumps(message).encode() + b"\n")

    async def heard(self, number: JsonValue) -> dict[str, JsonValue]:
        while (message := json.loads(await self.lines.receive_until(b"\n", 1 << 22))).get("id") != number:
            pass
        return dict[str, JsonValue](message)

    async def call(self, tool: str, arguments: Mapping[str, JsonValue]) -> None:
        message = {**_called(tool, arguments, False), "id": next(self.numbers)}
        await self.send(message)
        _settle(await self.heard(message["id"]))


@asynccontextmanager
async def _own(command: Sequence[str], checkout: Path) -> AsyncGenerator[Own]:
    async with await anyio.open_process([*command], cwd=checkout, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        own = Own(process, BufferedByteReceiveStream(process.stdout))
        await own.send(_hello())
        await own.heard(1)
        await own.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield own
        process.terminate()


def _hello() -> dict[str, JsonValue]:
    params: dict[str, JsonValue] = {"protocolVersion": _HANDSHAKE, "capabilities": {}, "clientInfo": _WHO}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}


def _called(tool: str, arguments: Mapping[str, JsonValue], modern: bool) -> dict[str, JsonValue]:
    said: dict[str, JsonValue] = {"protocolVersion": _MODERN, "clientInfo": _WHO, "clientCapabilities": {}}
    meta: dict[str, JsonValue] = {f"io.modelcontextprotocol/{name}": value for name, value in said.items()} if modern else {}
    params: dict[str, JsonValue] = {"name": tool, "arguments": dict(arguments), **({"_meta": meta} if meta else {})}
    return {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}


def _settle(message: Mapping[str, JsonValue]) -> None:
    """Raise where a call failed: nothing may be busy, or be given up."""
    result = message.get("result")
    if not isinstance(result, dict) or result.get("isError"):
        raise RuntimeError(f"A call failed: {message}")


# -- servers ------------------------------------------------------------------------------------------------------------------------------


@contextmanager
def _served(command: Sequence[str], checkout: Path, number: int) -> Generator[tuple[str, list[int]]]:
    """Have servers run, behind nginx if they are several; give the address and their process ids."""
    with ExitStack() as held:
        running = [held.enter_context(_server(command, checkout)) for _ in range(number)]
        addresses = [address for address, _ in running]
        url = addresses[0] if number == 1 else held.enter_context(_balanced(addresses))
        yield f"{url}/mcp", [process for _, process in running]


@contextmanager
def _server(command: Sequence[str], checkout: Path) -> Generator[tuple[str, int]]:
    with subprocess.Popen(
        [*command, "--http", "127.0.0.1:0"], cwd=checkout, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        found = next(found for line in process.stderr or () if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        try:
            yield found[0], process.pid
        finally:
            process.terminate()


@contextmanager
def _balanced(addresses: Sequence[str]) -> Generator[str]:
    """Run nginx before servers: each call goes to the next of them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with ExitStack() as held:
        folder = Path(held.enter_context(TemporaryDirectory()))
        servers = " ".join(f"server {each.removeprefix('http://')};" for each in addresses)
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port, name=NAME, servers=servers))
        nginx = held.enter_context(subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]))
        held.callback(nginx.terminate)
        while not _answers(port):
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _weighed(checkout: Path) -> Row:
    """Return what many sessions add to the memory of a server."""
    found: list[float] = []
    for command, tool, arguments in ((OURS, "status", {"detail": "names"}), (NOOP, "noop", {})):
        async with crowd("HTTP, sessions", SESSIONS, checkout, command) as many:
            await many.taken(tool, partial(dict[str, JsonValue], arguments))
            found.append(_memory(many.servers[0]))
    return _figure(f"HTTP: {SESSIONS} sessions, MB of memory", "one call of each", (found[0], found[1]))


def _memory(process: int) -> float:
    """Return the megabytes that a process has in memory (proc_pid_status(5))."""
    line = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1000
