"""Calls that outlast their requests, by real clients: tasks of 2026-07-28, which the server decides on, and of 2025-11-25, for which clients ask."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, Request, RequestParams, Result
from pydantic import ConfigDict
from serving import hello, sent, served
from support import Repo
from talking import checked_slowly, everywhere, talking

from workspaces import Project
from workspaces.server.app import Settings, create
from workspaces.server.handshake import VERSION
from workspaces.server.hosting import Hosting
from workspaces.server.lasting import MOST
from workspaces.server.tasks import LASTING, TASKS
from workspaces.tokens import Tokens
from workspaces.tokens import place as tokens_place
from workspaces.trust import place

pytestmark = pytest.mark.anyio
transports = pytest.mark.parametrize("transport", ["stdio", "http"])


@pytest.fixture
def slow(repo: Repo, home: Path) -> Repo:
    """The repository with a check that takes seconds and that a person trusts, and an attempt that passes it."""
    return checked_slowly(repo, home, waits="sleep 4")


class Begun(Result):
    """A task, as the answer to a call."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    ttl_ms: int
    poll_interval_ms: int


class Told(Result):
    """Whatever is told of a task."""

    model_config = ConfigDict(extra="allow")

    @property
    def said(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True)


class Named(RequestParams):
    task_id: str


class About(Request[Named, str]):
    """A request about a task."""

    name_param = "taskId"


class Able(ClientExtension):
    """A client that takes tasks, and follows them to their end."""

    identifier = TASKS

    def claims(self) -> list[ResultClaim[Begun]]:
        return [ResultClaim(result_type="task", model=Begun, resolve=self.followed)]

    async def followed(self, task: Begun, ctx: ClaimContext) -> CallToolResult:
        while True:
            told = (await ctx.session.send_request(About(method="tasks/get", params=Named(task_id=task.task_id)), Told)).said
            if told["status"] not in ("working", "input_required"):
                return CallToolResult.model_validate(told["result"], by_name=False)
            await anyio.sleep(told["pollIntervalMs"] / 1000)


async def begun(client: Client, tool: str, **arguments: object) -> Begun:
    """Call a tool and return the task that comes of it."""
    result = await client.session.call_tool(tool, arguments, allow_claimed=True)
    assert isinstance(result, Begun), result
    return result


async def about(client: Client, method: str, task: str) -> dict[str, Any]:
    return (await client.session.send_request(About(method=f"tasks/{method}", params=Named(task_id=task)), Told)).said


async def ended(client: Client, task: str) -> dict[str, Any]:
    with anyio.fail_after(60):
        while (told := await about(client, "get", task))["status"] == "working":
            await anyio.sleep(0.2)
    return told


# -- 2026-07-28 ---------------------------------------------------------------------------------------------------------------------------


@transports
async def test_what_takes_long_becomes_a_task(slow: Repo, transport: str) -> None:
    async with talking(slow, "auto", transport, Able()) as talk:
        quick = await talk.client.session.call_tool("clone", {"name": "more"}, allow_claimed=True)
        assert isinstance(quick, CallToolResult)
        task = await begun(talk.client, "merge", source="fix", require=["slow"])
        assert task.status == "working"
        told = await about(talk.client, "get", task.task_id)
        assert (told["status"], told["statusMessage"]) == ("working", "1 check running (0 of 1)")
        told = await ended(talk.client, task.task_id)
        assert (told["status"], told["result"]["structuredContent"]["status"]) == ("completed", "merged")
        assert told["statusMessage"] == told["result"]["structuredContent"]["summary"]
        assert slow.read("cart.py") == "good\n"
        checked = await talk.call("check", workspaces=["more"])
        assert checked["results"][0]["verdict"] == "fail"


@transports
async def test_a_task_is_cancelled_whole(slow: Repo, transport: str) -> None:
    before = slow.head
    async with talking(slow, "auto", transport, Able()) as talk:
        task = await begun(talk.client, "merge", source="fix", require=["slow"])
        await about(talk.client, "cancel", task.task_id)
        told = await ended(talk.client, task.task_id)
        assert told["status"] == "cancelled"
        assert "It was stopped. Nothing was done." in told["statusMessage"]
        assert "Nothing was done." in await talk.logged("merge (request")
        assert (slow.head, slow.status()) == (before, [])
        assert (await talk.call("merge", source="fix", require=["slow"]))["status"] == "merged"
        await about(talk.client, "cancel", task.task_id)


@transports
async def test_before_it_is_a_task_a_call_is_cancelled_as_any(slow: Repo, transport: str) -> None:
    before = slow.head
    async with talking(slow, "auto", transport, Able()) as talk:
        assert "Nothing was done." in await talk.stop("merge", "1 check running", source="fix", require=["slow"])
        assert slow.head == before


async def test_a_client_that_knows_no_tasks_gets_none(slow: Repo) -> None:
    async with Client(create(Settings(slow.path, (slow.path,)))) as client:
        with pytest.raises(MCPError) as refused:
            await about(client, "get", "x")
        assert refused.value.error.code == -32021
        assert isinstance(await client.call_tool("clone", {}), CallToolResult)


async def test_tasks_are_offered_where_every_call_comes_back_to_this_server(repo: Repo) -> None:
    async with Client(create(Settings(repo.path, (repo.path,)))) as client:
        assert TASKS in (client.server_capabilities.extensions or {})
    async with Client(create(Settings(repo.path, (repo.path,), hosting=Hosting(stateless=True)))) as client:
        assert TASKS not in (client.server_capabilities.extensions or {})


async def test_a_foreign_task_is_answered_like_an_unknown_one(slow: Repo, home: Path) -> None:
    tokens, secrets = Tokens(tokens_place({"HOME": str(home)})), list[str]()
    for name in ("ann", "bob"):
        secrets.append(tokens.create(name, "administer", [str(slow.path)], 1)[1])
    with served(slow) as server:
        url = server.url.rstrip(",")
        async with bearing(url, secrets[0]) as ann, bearing(url, secrets[1]) as bob:
            task = await begun(ann, "merge", source="fix", require=["slow"])
            said: list[str] = []
            for method, name in (("get", task.task_id), ("cancel", task.task_id), ("get", "x" * len(task.task_id))):
                with pytest.raises(MCPError) as unknown:
                    await about(bob, method, name)
                assert unknown.value.error.code == -32602
                said.append(unknown.value.error.message.replace(name, "it"))
            assert len(set(said)) == 1
            assert (await ended(ann, task.task_id))["result"]["structuredContent"]["status"] == "merged"


@asynccontextmanager
async def bearing(url: str, secret: str) -> AsyncGenerator[Client]:
    """Connect as whoever has a token."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {secret}"}, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), extensions=[Able()]) as client,
    ):
        yield client


async def test_after_a_restart_the_call_is_made_again(slow: Repo) -> None:
    arguments = {"source": "fix", "require": ["slow"], "request_key": "once"}
    async with talking(slow, "auto", "http", Able()) as talk:
        task = await begun(talk.client, "merge", **arguments)
        await ended(talk.client, task.task_id)
    async with talking(slow, "auto", "http", Able()) as talk:
        with pytest.raises(MCPError, match="request_key") as unknown:
            await about(talk.client, "get", task.task_id)
        assert unknown.value.error.code == -32602
        assert (await talk.call("merge", **arguments))["status"] == "merged"
    assert slow.git("rev-list", "--count", "HEAD") == "3"


@transports
async def test_what_goes_on_when_the_server_ends_is_stopped_whole(slow: Repo, transport: str) -> None:
    before = slow.head
    async with talking(slow, "auto", transport, Able()) as talk:
        await begun(talk.client, "merge", source="fix", require=["slow"])
    assert slow.head == before or slow.read("cart.py") == "good\n"
    project = Project.open(slow.path)
    assert not [each for each in project.log().operations if each.state == "started"]
    assert all(each.ok for each in project.doctor().findings)


async def test_nobody_has_tasks_without_end(slow: Repo, home: Path) -> None:
    settings = Settings(slow.path, (slow.path,), trust=place({"HOME": str(home)}))
    kinds: list[object] = []
    async with Client(create(settings), extensions=[Able()]) as client:

        async def call() -> None:
            kinds.append(await client.session.call_tool("check", {"workspaces": ["fix"]}, allow_claimed=True))

        async with anyio.create_task_group() as tasks:
            for _ in range(MOST + 2):
                tasks.start_soon(call)
        made = [each for each in kinds if isinstance(each, Begun)]
        assert len(made) == MOST
        assert len([each for each in kinds if isinstance(each, CallToolResult)]) == 2
        for each in made:
            assert (await ended(client, each.task_id))["status"] == "completed"


# -- 2025-11-25 ---------------------------------------------------------------------------------------------------------------------------


@dataclass
class Handshaken:
    """A client after a handshake that knows nothing but JSON-RPC: the SDK's own takes no tasks of that time."""

    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def greet(self) -> dict[str, Any]:
        """Shake hands, and return what the server is able to."""
        answer = sent(self.url, hello(VERSION), {})
        self.headers = {"MCP-Protocol-Version": VERSION, "Mcp-Session-Id": answer.headers["mcp-session-id"]}
        assert sent(self.url, {"jsonrpc": "2.0", "method": "notifications/initialized"}, self.headers).status == 202
        found: dict[str, Any] = answer.message["result"]["capabilities"]
        return found

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Send a request and return its result, or its error."""
        message = sent(self.url, {"jsonrpc": "2.0", "id": 2, "method": method, "params": params}, self.headers).message
        found: dict[str, Any] = message.get("result") or message["error"]
        return found

    def begin(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool as a task, and return that, or the error."""
        answer = self.ask("tools/call", name=tool, arguments=arguments, task={"ttl": 60_000})
        found: dict[str, Any] = answer.get("task", answer)
        return found


def test_a_task_that_a_client_asks_for(slow: Repo) -> None:
    with served(slow) as server:
        client = Handshaken(server.url)
        assert client.greet()["tasks"] == {"cancel": {}, "requests": {"tools": {"call": {}}}}
        tools = {tool["name"]: tool.get("execution", {}).get("taskSupport") for tool in client.ask("tools/list")["tools"]}
        assert {name for name, support in tools.items() if support == "optional"} == LASTING
        task = client.begin("merge", source="fix", require=["slow"])
        assert (task["status"], task["ttl"] >= 60_000) == ("working", True)
        assert client.ask("tasks/get", taskId=task["taskId"])["status"] == "working"
        result = client.ask("tasks/result", taskId=task["taskId"])
        assert result["structuredContent"]["status"] == "merged"
        assert result["_meta"] == {"io.modelcontextprotocol/related-task": {"taskId": task["taskId"]}}
        assert client.ask("tasks/get", taskId=task["taskId"])["status"] == "completed"
        assert client.ask("tools/call", name="status", arguments={})["structuredContent"]["workspaces"]
        assert client.begin("status")["code"] == client.begin("nonsense")["code"] == -32601
        assert client.ask("tasks/get", taskId="x")["code"] == -32602
        failed = client.begin("merge", source="fix", sauce="x")
        assert client.ask("tasks/result", taskId=failed["taskId"])["structuredContent"]["error"]["code"] == "invalid_argument"


def test_a_task_that_a_client_asks_for_is_cancelled(slow: Repo) -> None:
    before = slow.head
    with served(slow) as server:
        client = Handshaken(server.url)
        client.greet()
        task = client.begin("merge", source="fix", require=["slow"])
        told = client.ask("tasks/cancel", taskId=task["taskId"])
        assert (told["status"], slow.head) == ("cancelled", before)
        assert "Nothing was done." in told["statusMessage"]
        assert "ended already" in client.ask("tasks/cancel", taskId=task["taskId"])["message"]
        result = client.ask("tasks/result", taskId=task["taskId"])
        assert (result["isError"], result["structuredContent"]["error"]["code"]) == (True, "interrupted")


@everywhere
async def test_a_call_keeps_its_client_awake(slow: Repo, era: Literal["auto", "legacy"], transport: str) -> None:
    """Progress grows with every notification, through all that a call does."""
    heard: list[tuple[float, float]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total or 0))

    async with talking(slow, era, transport) as talk:
        await talk.client.call_tool("merge", {"source": "fix", "require": ["slow"]}, progress_callback=hear)
    assert [done for done, _ in heard] == sorted({done for done, _ in heard})
    assert heard[-1] == (3, 3) and len(heard) >= 3
    assert all(done <= total for done, total in heard)
