"""The ways in which agents reach a project: a server of their own behind a real MCP client, commands, and a process that calls `Project`.

Each is a process that can be killed. Who was asked and died gives no answer: whether it was done is then for the next one to find out.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Literal

import anyio
import anyio.abc
from anyio.streams.text import TextReceiveStream
from mcp import Client, MCPError, StdioServerParameters
from pydantic import JsonValue, TypeAdapter

from .calls import Answer, Call

Kind = Literal["server", "command", "direct"]
WORKSPACES = str(Path(sys.executable).with_name("workspaces"))
DIED = Answer()
_NAMING = 'echo $$ > "$0"; exec "$@"'
"""A shell that writes its process id into a file and becomes the program: the MCP client does not say which process it started."""
_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class Face(ABC):
    """One way to reach the project. `pid` is the process that serves the call under way, which leads a group of its own; 0 when none does."""

    pid = 0
    asked = False

    @abstractmethod
    async def ask(self, call: Call) -> Answer:
        """Have a call carried out."""

    def signal(self, number: signal.Signals, children_too: bool = False) -> bool:
        """Send a signal to the process, or to its git children as well; return whether there was one."""
        if not self.pid:
            return False
        with suppress(ProcessLookupError):
            (os.killpg if children_too else os.kill)(self.pid, number)
            return True
        return False


class _Server(Face):
    def __init__(self, client: Client, pid: int) -> None:
        self._client, self.pid = client, pid

    async def ask(self, call: Call) -> Answer:
        try:
            with anyio.fail_after(120):
                answer = await self._client.call_tool(call.verb, call.model_dump(mode="json", exclude={"verb"}))
        except (MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream):
            return DIED
        return read(_OBJECT.validate_python(answer.structured_content or {}))


class _Direct(Face):
    def __init__(self, process: anyio.abc.Process, answers: TextReceiveStream) -> None:
        self._process, self._answers, self.pid = process, answers, process.pid

    async def ask(self, call: Call) -> Answer:
        assert self._process.stdin
        text = ""
        try:
            await self._process.stdin.send(call.model_dump_json().encode() + b"\n")
            while not text.endswith("\n"):
                text += await self._answers.receive()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            return DIED
        return Answer.model_validate_json(text)


class _Command(Face):
    def __init__(self, root: Path) -> None:
        self._root = root

    async def ask(self, call: Call) -> Answer:
        command = [WORKSPACES, "--project", str(self._root), call.verb, *call.typed(), "--json"]
        async with await anyio.open_process(command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, start_new_session=True) as process:
            assert process.stdout
            self.pid = process.pid
            try:
                text = "".join([part async for part in TextReceiveStream(process.stdout)])
                await process.wait()
            finally:
                self.pid = 0
        return read(_OBJECT.validate_json(text)) if text.endswith("\n") else DIED


def read(found: dict[str, JsonValue]) -> Answer:
    """Return the answer that a server's structured content or a command's JSON is."""
    error = found.get("error")
    if isinstance(error, dict):
        return Answer(refused=str(error["code"]), said=str(error["message"]))
    return Answer(result=found)


@asynccontextmanager
async def opened(kind: Kind, root: Path, scratch: Path) -> AsyncGenerator[Face]:
    """Start what serves one agent. `scratch` is a folder for the agent alone."""
    if kind == "command":
        yield _Command(root)
    elif kind == "direct":
        async with _worker(root) as face:
            yield face
    else:
        async with _server(root, scratch / "pid") as face:
            yield face


@asynccontextmanager
async def _worker(root: Path) -> AsyncGenerator[Face]:
    command = [sys.executable, "-m", "campaigns.worker", str(root)]
    process = await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=None, env=environment(), start_new_session=True)
    async with process:
        assert process.stdout
        try:
            yield _Direct(process, TextReceiveStream(process.stdout))
        finally:
            with suppress(ProcessLookupError):
                process.kill()


@asynccontextmanager
async def _server(root: Path, note: Path) -> AsyncGenerator[Face]:
    command = StdioServerParameters(
        command="sh", args=["-c", _NAMING, str(note), WORKSPACES, "--project", str(root), "serve"], cwd=root, env=dict(os.environ)
    )
    async with Client(command) as client:
        yield _Server(client, int(note.read_text()))


def environment() -> Mapping[str, str]:
    """Return the environment in which a child of ours finds this package."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def text(value: JsonValue) -> str:
    """Return JSON as one line, for a report."""
    return json.dumps(value)[:400]
