"""Being told of changes: on a stream of its own (2026-07-28) and on the session (before), on stdio and over HTTP, whoever made the change."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
import httpx2
import pytest
from conformance.forking import program
from mcp import Client, MCPError, StdioServerParameters
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent, Subscription
from mcp.server.mcpserver import MCPServer
from mcp.types import (
    EmptyResult,
    ResourceListChangedNotification,
    ResourceUpdatedNotification,
    SubscribeRequest,
    SubscribeRequestParams,
    UnsubscribeRequest,
    UnsubscribeRequestParams,
)
from serving import served, stdio
from support import Repo, clone

from workspaces import Project
from workspaces.access import Access
from workspaces.server.app import Settings, create
from workspaces.tokens import Tokens, caller

pytestmark = pytest.mark.anyio
Era = Literal["auto", "legacy"]
in_both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])
everywhere = pytest.mark.parametrize("where", ["stdio", "http"])
Next = Callable[[], Awaitable[ServerEvent]]
_PATIENCE = 60


def run(repo: Repo, *command: str) -> None:
    """Do something in another process."""
    subprocess.run([*program(), *command], cwd=repo.path, check=True, capture_output=True, timeout=60)


class Heard:
    """What a client was told on its session."""

    def __init__(self) -> None:
        self._events, self._more = list[ServerEvent](), anyio.Event()

    async def __call__(self, message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            self._events.append(ResourceUpdated(message.params.uri))
        elif isinstance(message, ResourceListChangedNotification):
            self._events.append(ResourcesListChanged())
        self._more.set()

    async def next(self) -> ServerEvent:
        with anyio.fail_after(_PATIENCE):
            while not self._events:
                self._more = anyio.Event()
                await self._more.wait()
        return self._events.pop(0)


async def until(told: Next, *awaited: ServerEvent) -> set[ServerEvent]:
    """Wait until all of these were told, and return all that was: what is told twice says no more than once."""
    heard: set[ServerEvent] = set()
    while not heard.issuperset(awaited):
        heard.add(await told())
    return heard


async def subscribe(client: Client, uri: str) -> None:
    await client.session.send_request(SubscribeRequest(params=SubscribeRequestParams(uri=uri)), EmptyResult)


async def unsubscribe(client: Client, uri: str) -> None:
    await client.session.send_request(UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri)), EmptyResult)


Server = MCPServer[object] | StdioServerParameters | Transport | str


@asynccontextmanager
async def subscribed(server: Server, era: Era, uris: list[str], listed: bool = False) -> AsyncGenerator[tuple[Client, Next]]:
    """Be a client that is told of resources, and of the list of them."""
    heard = Heard()
    async with Client(server, mode=era, message_handler=heard) as client:
        if era == "auto":
            async with client.listen(resource_subscriptions=uris, resources_list_changed=listed) as stream:
                yield client, partial(_next, stream)
            return
        if listed:
            await client.list_resources()
        for uri in uris:
            await subscribe(client, uri)
        yield client, heard.next


async def _next(stream: Subscription) -> ServerEvent:
    with anyio.fail_after(_PATIENCE):
        return await anext(aiter(stream))


@contextmanager
def running(repo: Repo, where: str) -> Generator[Server]:
    """Offer a real server."""
    if where == "stdio":
        yield stdio(repo.path)
        return
    with served(repo) as server:
        yield server.url


# -- who is told --------------------------------------------------------------------------------------------------------------------------


@everywhere
@in_both_eras
async def test_what_another_process_does_is_told(repo: Repo, era: Era, where: str) -> None:
    clone(Project.initialize(repo.path), "fix")
    log, one = "workspace://shop/fix/log", "workspace://shop/fix"
    with running(repo, where) as server:
        async with subscribed(server, era, [log, one, "workspace://guide"], listed=True) as (client, told):
            run(repo, "checkpoint", "fix")
            assert await until(told, ResourceUpdated(log)) == {ResourceUpdated(log)}
            run(repo, "clone", "--name", "other")
            assert ResourceUpdated(one) not in await until(told, ResourcesListChanged())
            assert len((await client.list_resources()).resources) == 5
            run(repo, "delete", "fix")
            await until(told, ResourceUpdated(log), ResourceUpdated(one), ResourcesListChanged())
            with pytest.raises(MCPError):
                await client.read_resource(one)


@in_both_eras
async def test_what_is_not_there_yet_is_told_when_it_is(repo: Repo, era: Era) -> None:
    project = Project.initialize(repo.path)
    wanted = "workspace://shop/later/diff"
    async with subscribed(create(Settings(repo.path, (repo.path,))), era, [wanted]) as (client, told):
        project.clone(name="sooner")
        await client.call_tool("clone", {"name": "later"})
        assert await told() == ResourceUpdated(wanted)


async def test_a_session_that_unsubscribes_is_told_no_longer(repo: Repo) -> None:
    project = Project.initialize(repo.path)
    project.clone(name="one")
    project.clone(name="two")
    one, two = "workspace://shop/one/log", "workspace://shop/two/log"
    async with subscribed(create(Settings(repo.path, (repo.path,))), "legacy", [one, two]) as (client, told):
        await unsubscribe(client, one)
        await unsubscribe(client, one)
        project.checkpoint("one")
        project.checkpoint("two")
        assert await told() == ResourceUpdated(two)


async def test_who_watches_keeps_no_lease_and_writes_nothing(repo: Repo) -> None:
    project = Project.initialize(repo.path)
    project.clone(name="fix", lease_seconds=3600)
    uris = [f"workspace://shop/fix{part}" for part in ("", "/diff", "/log")]
    async with subscribed(create(Settings(repo.path, (repo.path,))), "auto", [*uris, "workspace://shop/tree"]) as (_, told):
        project.checkpoint("fix")
        before = project.revision()
        assert await told() == ResourceUpdated(uris[2])
        assert project.revision() == before


@in_both_eras
async def test_nobody_is_told_of_what_is_not_theirs(repo: Repo, home: Path, era: Era) -> None:
    project = Project.initialize(repo.path)
    tokens = Tokens(home / ".config/mcp-workspaces/tokens.json")
    secret = tokens.create("eve", "work", [str(repo.path)], 1)[1]
    theirs, own = (project.seen_by(Access("work", caller(name))) for name in ("other", "eve"))
    theirs.clone(name="zebra")
    own.clone(name="mine")
    uris = [f"workspace://shop/{name}" for name in ("zebra", "zebra/log", "tree", "mine/log", "main/log")]
    with served(repo) as server:
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {secret}"}, timeout=60) as http:
            transport = streamable_http_client(server.url.rstrip(","), http_client=http)
            async with subscribed(transport, era, uris, listed=True) as (client, told):
                theirs.checkpoint("zebra")
                theirs.clone(name="tapir")
                theirs.delete(["zebra"], discard_unmerged=True)
                own.checkpoint("mine")
                own_log = ResourceUpdated("workspace://shop/mine/log")
                assert await until(told, own_log) == {own_log}
                listed = [each.uri for each in (await client.list_resources()).resources]
                assert listed == ["workspace://guide", *(f"workspace://shop/{name}" for name in ("tree", "main", "mine"))]


# -- the end, and bounds ------------------------------------------------------------------------------------------------------------------


async def test_a_server_that_ends_ends_its_streams_whole(repo: Repo) -> None:
    Project.initialize(repo.path)
    with served(repo) as server:
        async with Client(server.url) as client, client.listen(resources_list_changed=True) as stream:
            server.process.terminate()
            with anyio.fail_after(_PATIENCE):
                assert [event async for event in stream] == []


async def test_too_much_at_once_is_refused(repo: Repo) -> None:
    Project.initialize(repo.path)
    uris = [f"workspace://shop/w{number}" for number in range(101)]
    async with Client(create(Settings(repo.path, (repo.path,)))) as client:
        with pytest.raises(MCPError, match="Too much at once"):
            async with client.listen(resource_subscriptions=uris):
                raise AssertionError("not reached")
    async with Client(create(Settings(repo.path, (repo.path,))), mode="legacy") as client:
        for uri in uris[:100]:
            await subscribe(client, uri)
        with pytest.raises(MCPError, match="100 resources at most"):
            await subscribe(client, uris[100])


@in_both_eras
async def test_without_sessions_nothing_is_promised_on_one(repo: Repo, era: Era) -> None:
    Project.initialize(repo.path)
    with served(repo, "--stateless") as server:
        async with Client(server.url, mode=era) as client:
            resources = client.server_capabilities.resources
            assert resources and bool(resources.subscribe) is bool(resources.list_changed) is (era == "auto")
            if era == "legacy":
                with pytest.raises(MCPError, match="Method not found"):
                    await subscribe(client, "workspace://shop/tree")
