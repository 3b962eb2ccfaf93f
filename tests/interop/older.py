"""A client by an SDK of the generation before, over stdio and HTTP."""

from __future__ import annotations

import json
import subprocess

import pytest
from outside import OLDER, need_older
from serving import served
from support import WORKSPACES, Repo

CLIENT = """
import asyncio, json, pathlib, sys
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

async def main(where):
    http = where[0].startswith("http")
    opened = streamable_http_client(where[0]) if http else stdio_client(StdioServerParameters(command=where[0], args=where[1:]))
    async with opened as streams, ClientSession(streams[0], streams[1]) as session:
        hello = await session.initialize()
        heard = []
        async def hear(done, total, message):
            heard.append(done)
        made = await session.call_tool("clone", {"count": 2, "name": "fix"}, progress_callback=hear)
        for each in made.structuredContent["workspaces"]:
            pathlib.Path(each["location"], each["name"]).write_text("x")
        merged = await session.call_tool("merge", {"source": "fix-1", "delete_source": True})
        refused = await session.call_tool("merge", {"source": "gone"})
        tools = (await session.list_tools()).tools
    told = [merged.structuredContent["status"], refused.isError, refused.structuredContent["error"]["code"]]
    print(json.dumps([hello.protocolVersion, len(tools), heard[-1:], *told]))

asyncio.run(main(sys.argv[1:]))
"""

TASKS = (
    CLIENT.partition("        heard = []")[0]
    + """
        begun = await session.experimental.call_tool_as_task("clone", {"count": 8, "name": "fix"}, ttl=60000)
        said = [begun.task.status]
        async for each in session.experimental.poll_task(begun.task.taskId):
            said.append(each.status)
        result = await session.experimental.get_task_result(begun.task.taskId, CallToolResult)
    able = hello.capabilities.tasks
    print(json.dumps([said[0], said[-1], len(result.structuredContent["workspaces"]), able.requests.tools.call is not None]))

from mcp.types import CallToolResult
asyncio.run(main(sys.argv[1:]))
"""
)


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_an_older_sdk(repo: Repo, transport: str) -> None:
    need_older()
    if transport == "stdio":
        said = _run([WORKSPACES, "--project", str(repo.path), "serve"])
    else:
        with served(repo) as server:
            said = _run([server.url])
    assert said == ["2025-11-25", 9, [2.0], "merged", True, "not_found"]
    assert repo.read("fix-1") == "x"


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_tasks_of_an_older_sdk(repo: Repo, transport: str) -> None:
    """Those of 2025-11-25, which the SDK of today has no client for."""
    need_older()
    if transport == "stdio":
        said = _run([WORKSPACES, "--project", str(repo.path), "serve"], TASKS)
    else:
        with served(repo) as server:
            said = _run([server.url], TASKS)
    assert said == ["working", "completed", 8, True]


def _run(where: list[str], program: str = CLIENT) -> object:
    done = subprocess.run([str(OLDER), "-c", program, *where], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
