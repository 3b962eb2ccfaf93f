"""A real server, a real client of either era on either transport, and what the server writes into its log."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import IO, Any, Literal

import anyio
import anyio.to_thread
import pytest
from mcp import Client
from mcp.client.extension import ClientExtension
from mcp.client.stdio import stdio_client
from mcp.types import CallToolResult
from serving import served, stdio
from support import Repo, clone

from workspaces import Project
from workspaces.trust import place

Era = Literal["auto", "legacy"]
everywhere = pytest.mark.parametrize(("era", "transport"), list(product(["auto", "legacy"], ["stdio", "http"])))
"""The 2026-07-28 protocol and the one with a handshake, over stdio and HTTP."""
either = pytest.mark.parametrize(("era", "transport"), [("auto", "http"), ("legacy", "stdio")])
"""Each protocol and each transport once: for what comes after a call was told to stop, which `everywhere` shows."""


def checked_slowly(repo: Repo, home: Path, waits: str) -> Repo:
    """Give a repository a check that waits for so long and that a person trusts, and an attempt that passes it."""
    repo.write("workspaces.toml", f"[checks.slow]\nrun = '{waits}; grep -q good cart.py'\n")
    repo.commit("a check")
    project = Project.initialize(repo.path, trust=place({"HOME": str(home)}))
    project.trust(project.programs().fingerprint)
    clone(project, "fix").write("cart.py", "good\n")
    return repo


@dataclass(frozen=True)
class Talk:
    """A client that is connected to a server, and the log of that."""

    client: Client
    log: IO[str]

    async def logged(self, words: str) -> str:
        """Return the next line of the log with these words in it; it comes, or the test hangs until its patience is over."""
        with anyio.fail_after(60):
            while words not in (line := await anyio.to_thread.run_sync(self.log.readline, abandon_on_cancel=True)):
                assert line, "the log ended"
        return line

    async def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool that succeeds and return its result."""
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        assert not result.is_error, result.content
        return dict[str, Any](result.structured_content or {})

    async def stop(self, tool: str, at: str, once: Callable[[], bool] = lambda: True, go: Path | None = None, **arguments: object) -> str:
        """Call a tool, cancel the call when its progress says `at` and `once` is so, and return the line of the log about it. What the call needs
        may wait for the file `go`: that is made when the server has heard of the end, however late the client or the server gets to that."""
        try:
            with anyio.fail_after(60), anyio.CancelScope() as scope:

                async def hear(progress: float, total: float | None, message: str | None) -> None:
                    if at in (message or ""):
                        while not once():
                            await anyio.sleep(0.01)
                        scope.cancel()

                await self.client.call_tool(tool, arguments, progress_callback=hear)
            assert scope.cancelled_caught
            await self.call("status", detail="names")  # the server reads what it is sent in order
        finally:
            if go:
                go.touch()
        return await self.logged(f"{tool} (request")


@asynccontextmanager
async def talking(repo: Repo, era: Era, transport: str, *extensions: ClientExtension) -> AsyncGenerator[Talk]:
    """Start a server and connect to it."""
    if transport == "http":
        with served(repo) as server:
            assert server.process.stderr
            async with Client(server.url, mode=era, extensions=extensions) as client:
                yield Talk(client, server.process.stderr)
        return
    reading, writing = os.pipe()
    with os.fdopen(reading) as log, os.fdopen(writing, "w") as errors:
        async with Client(stdio_client(stdio(repo.path), errlog=errors), mode=era, extensions=extensions) as client:
            yield Talk(client, log)
