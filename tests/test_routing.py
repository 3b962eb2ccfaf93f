"""The header by which a gateway finds the node of a workspace: clients repeat the argument in it, and what does not agree is refused."""

from __future__ import annotations

from typing import Literal

import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, Tool
from serving import ROUTED, modern, routing, sent, served, stdio
from support import Repo, clone

from workspaces import Project

pytestmark = pytest.mark.anyio
Era = Literal["auto", "legacy"]
VERSION = {"MCP-Protocol-Version": "2026-07-28"}


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_clients_that_know_the_header_call_as_before(repo: Repo, era: Era) -> None:
    made = clone(Project.initialize(repo.path), "fix")
    made.write("cart.py", "better\n")
    with served(repo) as server:
        async with Client(server.url, mode=era) as client:
            for tool, arguments in (
                ("clone", {"source": "fix", "name": "other"}),
                ("clone", {"name": "third"}),
                ("checkpoint", {"workspace": str(made.path)}),
                ("merge", {"source": "fix", "target": "other"}),
                ("merge", {"source": "fix"}),
                ("restore", {"workspace": "main"}),
            ):
                result = await client.call_tool(tool, arguments)
                assert isinstance(result, CallToolResult)
                assert not result.is_error, (tool, result.content)


@pytest.mark.parametrize(
    ("tool", "arguments", "header"),
    [
        ("checkpoint", {"workspace": "fix"}, {"Mcp-Param-Workspace": "other"}),
        ("checkpoint", {"workspace": "fix"}, {"Mcp-Param-Workspace": ""}),
        ("restore", {"workspace": "fix"}, {"Mcp-Param-Workspace": "=?base64?b3RoZXI=?="}),
        ("merge", {"source": "fix"}, {"Mcp-Param-Workspace": "other"}),
        ("clone", {"source": "fix"}, {"Mcp-Param-Workspace": "main"}),
        ("clone", {}, {"Mcp-Param-Workspace": "fix"}),
        ("checkpoint", {"workspace": "fix"}, {}),
    ],
)
def test_what_does_not_agree_is_refused_and_changes_nothing(
    repo: Repo, tool: str, arguments: dict[str, object], header: dict[str, str]
) -> None:
    project = Project.initialize(repo.path)
    clone(project, "fix").write("cart.py", "better\n")
    before = project.revision()
    with served(repo) as server:
        named = {"Mcp-Method": "tools/call", "Mcp-Name": tool}
        answer = sent(server.url, modern(tool, arguments), {**VERSION, **named, **header})
    assert (answer.status, answer.message["error"]["code"]) == (400, -32020)
    assert "Mcp-Param-Workspace" in answer.message["error"]["message"]
    assert project.revision() == before


def test_what_agrees_is_done(repo: Repo) -> None:
    Project.initialize(repo.path).clone(name="fix")
    with served(repo) as server:
        for tool, arguments, more in (
            ("checkpoint", {"workspace": "fix"}, {}),
            ("checkpoint", {"workspace": "fix"}, {"Mcp-Param-Workspace": "=?base64?Zml4?="}),
            ("merge", {"source": "fix"}, {}),
        ):
            answer = sent(server.url, modern(tool, arguments), {**VERSION, **routing(tool, arguments), **more})
            assert (answer.status, answer.message["result"].get("isError", False)) == (200, False)


async def test_the_tools_are_the_same_for_every_connection(repo: Repo) -> None:
    command = stdio(repo.path)
    eras: tuple[Era, ...] = ("auto", "legacy")
    with served(repo) as server:
        for era in eras:
            lists = [await _tools(where, era) for where in (server.url, server.url, command)]
            assert lists[0] == lists[1] == lists[2]
            properties = {tool.name: dict[str, dict[str, object]](tool.input_schema["properties"]) for tool in lists[0]}
            headed = [(name, each) for name, schemas in properties.items() for each, schema in schemas.items() if "x-mcp-header" in schema]
            assert dict(headed) == ROUTED


async def _tools(where: str | StdioServerParameters, era: Era) -> list[Tool]:
    async with Client(where, mode=era) as client:
        return (await client.list_tools()).tools
