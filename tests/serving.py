"""Real servers on HTTP, and a client that knows nothing but JSON-RPC."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.forking import program
from mcp import StdioServerParameters
from support import Repo

VERSION = "2025-06-18"


@dataclass
class Served:
    """A server at work."""

    url: str
    process: subprocess.Popen[str]

    def ended(self) -> str:
        """Wait for its end and return what it said on stderr."""
        assert self.process.stderr
        said = self.process.stderr.read()
        self.process.wait(timeout=30)
        return said


def stdio(folder: Path, *arguments: str) -> StdioServerParameters:
    """Return what a client starts for a server on stdio."""
    command, *before = program()
    return StdioServerParameters(command=command, args=[*before, *(arguments or ("serve",))], cwd=folder, env=dict(os.environ))


@contextmanager
def served(repo: Repo, *options: str, address: str = "127.0.0.1:0") -> Generator[Served]:
    """Run a real HTTP server until the block ends. stdout must stay empty."""
    command = [*program(), "--project", str(repo.path), "serve", *(["--http", address] if address else []), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr and process.stdout
        line = process.stderr.readline()
        found = re.search(r"http://\S+/mcp", line)
        try:
            assert found, line + process.stderr.read()
            yield Served(found[0], process)
        finally:
            process.terminate()
            assert process.stdout.read() == ""
            process.stderr.read()


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the headers, and the one message in the body."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def message(self) -> dict[str, Any]:
        lines = [line.removeprefix("data: ") for line in self.body.splitlines() if line.startswith("data: {")]
        found: dict[str, Any] = json.loads(lines[-1] if lines else self.body)
        return found


def sent(url: str, message: Mapping[str, object] | None, headers: Mapping[str, str], method: str = "POST") -> Answer:
    """Send a message and return the answer, whatever it is."""
    kinds = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    data = json.dumps(message).encode() if message is not None else None
    request = urllib.request.Request(url, data, {**kinds, **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read().decode())
    except urllib.error.HTTPError as refused:
        with refused:
            return Answer(refused.code, {name.lower(): value for name, value in refused.headers.items()}, refused.read().decode())


def hello(version: str = VERSION) -> dict[str, object]:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}


ROUTED = {"clone": "source", "merge": "target", "checkpoint": "workspace", "restore": "workspace"}
"""Of each tool the argument that a header repeats, since 2026-07-28."""


def routing(tool: str, arguments: Mapping[str, object]) -> dict[str, str]:
    """Return the headers that 2026-07-28 asks for beside a call."""
    value = arguments.get(ROUTED.get(tool, ""))
    return {"Mcp-Method": "tools/call", "Mcp-Name": tool, **({"Mcp-Param-Workspace": value} if isinstance(value, str) else {})}


def modern(tool: str, arguments: Mapping[str, object]) -> dict[str, object]:
    """Return a call as 2026-07-28 has it, without a handshake."""
    prefix = "io.modelcontextprotocol/"
    who: dict[str, object] = {f"{prefix}clientInfo": {"name": "raw", "version": "1"}, f"{prefix}clientCapabilities": {}}
    meta: dict[str, object] = {f"{prefix}protocolVersion": "2026-07-28", **who}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments, "_meta": meta}}


def calling(tool: str, arguments: Mapping[str, object], number: int = 2) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


@dataclass
class Raw:
    """A client that takes `Mcp-Session-Id` from the answer to its first request, echoes it, and calls tools."""

    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def greet(self) -> Answer:
        answer = sent(self.url, hello(), self.headers)
        assert answer.status == 200, answer.body
        self.headers["MCP-Protocol-Version"] = VERSION
        if session := answer.headers.get("mcp-session-id"):
            self.headers["Mcp-Session-Id"] = session
        assert sent(self.url, {"jsonrpc": "2.0", "method": "notifications/initialized"}, self.headers).status == 202
        return answer

    def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool that succeeds and return its result."""
        answer = sent(self.url, calling(tool, arguments), self.headers)
        assert answer.status == 200, answer.body
        result = answer.message["result"]
        assert not result.get("isError"), result
        found: dict[str, Any] = result["structuredContent"]
        return found
