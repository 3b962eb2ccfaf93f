"""More than a server can take: who comes is told at once, with when to come again, and nothing queues without bound."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping

import anyio
import pytest
from mcp import Client
from mcp.types import JSONRPCResponse
from pydantic import JsonValue
from serving import Answer, hello, sent, served
from support import Repo, clone

from workspaces import Project
from workspaces.locks import PATIENCE, Locks
from workspaces.server.replay import Replay

pytestmark = pytest.mark.anyio
AT_WORK = 512
"""Calls over HTTP at a time."""
THREADS = 64
"""In which a server works."""


async def begin(url: str, message: Mapping[str, object]) -> asyncio.StreamWriter:
    """Post all of a message but the end, on a connection of its own."""
    place = url.removeprefix("http://").removesuffix("/mcp")
    host, port = place.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(message).encode()
    head = ["POST /mcp HTTP/1.1", f"Host: {place}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    writer.write("\r\n".join([*head, "", ""]).encode() + body[:-1])
    await writer.drain()
    return writer


async def test_who_does_not_get_in_is_told_when_to_come_again(repo: Repo) -> None:
    """Calls of which half was sent are at work too. Who hangs up then is no error, and leaves no trace of one."""
    with served(repo, "--stateless") as server:

        async def greeted() -> Answer:
            nothing: dict[str, str] = {}
            return await anyio.to_thread.run_sync(sent, server.url, hello(), nothing)

        begun = await asyncio.gather(*(begin(server.url, hello()) for _ in range(AT_WORK)))
        try:
            with anyio.fail_after(60):
                while (answer := await greeted()).status == 200:
                    pass
            assert (answer.status, answer.headers["retry-after"], "Nothing was done" in answer.body) == (503, "1", True)
            with anyio.fail_after(60):
                while await seconds(greeted) >= 1:  # who waits for a place waits for it each time
                    pass
        finally:
            for each in begun:
                each.close()
        with anyio.fail_after(60):
            while (await greeted()).status == 503:
                pass
        server.process.terminate()
        assert server.ended() == ""


async def test_many_that_wait_for_one_workspace_keep_nobody_from_another(project: Project, repo: Repo) -> None:
    """There are more of them than threads; somebody else holds what they want for as long as they wait."""
    clone(project, "fix").write("cart.py", "mine\n")
    with served(repo) as server:
        async with Client(server.url) as client, anyio.create_task_group() as waiting:
            with Locks(project.home / "locks").change("shop.main"), anyio.fail_after(PATIENCE / 2):
                for _ in range(THREADS + 16):  # a client has a hundred connections
                    waiting.start_soon(client.call_tool, "merge", {"source": "fix"})
                for _ in range(3):
                    assert not (await client.call_tool("compare", {"workspaces": ["fix"], "base": "fix"})).is_error
    assert repo.read("cart.py") == "mine\n"


async def seconds(call: Callable[[], Awaitable[Answer]]) -> float:
    began = time.monotonic()
    assert (await call()).status == 503
    return time.monotonic() - began


async def test_answers_that_are_kept_weigh_no_more_than_they_may() -> None:
    most = 1 << 20
    rows: list[dict[str, JsonValue]] = [{"id": f"shop/fix-{number}", "state": "ready", "task": "a task"} for number in range(50)]
    tracemalloc.start()
    try:
        kept, before = Replay(most), tracemalloc.get_traced_memory()[0]
        for number in range(600):
            await kept.store_event("1", JSONRPCResponse(jsonrpc="2.0", id=number, result={"workspaces": [{**row} for row in rows]}))
        assert most // 2 < tracemalloc.get_traced_memory()[0] - before < 2 * most
    finally:
        tracemalloc.stop()
