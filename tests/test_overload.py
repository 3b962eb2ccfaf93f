"""More than a server can take: who comes is told at once, with when to come again, and nothing queues without bound."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping

import anyio
import pytest
from serving import VERSION, calling, hello, sent, served
from support import Repo

from workspaces import Project
from workspaces.backend import find
from workspaces.locks import Locks

pytestmark = pytest.mark.anyio
AT_WORK, WAITING, AT_ALL = 64, 512, 1000
"""Calls that a server works on, that wait for their turn, and that it lets come in."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def posted(url: str, message: Mapping[str, object], left_out: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Post a message, or all of it but the end, on a connection of its own."""
    place = url.removeprefix("http://").removesuffix("/mcp")
    host, port = place.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(message).encode()
    head = [
        "POST /mcp HTTP/1.1",
        f"Host: {place}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"MCP-Protocol-Version: {VERSION}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    writer.write("\r\n".join([*head, "", ""]).encode() + body[: len(body) - left_out])
    await writer.drain()
    return reader, writer


async def test_what_waits_is_bounded_and_who_is_too_much_is_told_so_at_once(repo: Repo) -> None:
    """Somebody holds a workspace, and all that are called for it wait for a turn: the rest is refused while they do."""
    Project.initialize(repo.path).clone(name="fix")
    told: list[dict[str, object]] = []

    async def call(url: str, tasks: anyio.CancelScope) -> None:
        reader, writer = await posted(url, calling("restore", {"workspace": "fix"}))
        said = re.search(rb'"structuredContent":(\{.*?\}\})', (await reader.read()).replace(b"\\n", b" "))
        writer.close()
        if said:
            told.append(json.loads(said[1])["error"])
        if len(told) >= 24:
            tasks.cancel()

    with served(repo, "--stateless") as server, Locks(find(repo.path).home / "locks").change("shop.fix"):
        sent(server.url, hello(), {})
        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                for _ in range(AT_WORK + WAITING + 24):
                    tasks.start_soon(call, server.url, tasks.cancel_scope)
    assert {each["code"] for each in told} == {"busy"} and all(each["retryable"] for each in told)
    assert all("more calls than it can take" in str(each["message"]) for each in told), told


async def test_who_does_not_get_in_is_told_when_to_come_again(repo: Repo) -> None:
    with served(repo, "--stateless") as server:
        begun = await asyncio.gather(*(posted(server.url, hello(), left_out=1) for _ in range(AT_ALL)))
        with anyio.fail_after(30):
            while (answer := await anyio.to_thread.run_sync(sent, server.url, hello(), {})).status == 200:
                pass
        began = time.monotonic()
        answer = await anyio.to_thread.run_sync(sent, server.url, hello(), {})
        assert (answer.status, answer.headers["retry-after"], "Nothing was done" in answer.body) == (503, "1", True)
        assert time.monotonic() - began < 1
        for _, writer in begun:
            writer.close()
        with anyio.fail_after(30):
            while (await anyio.to_thread.run_sync(sent, server.url, hello(), {})).status == 503:
                pass
