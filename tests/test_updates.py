"""Being told of changes: on a stream of its own (2026-07-28) and on the session (before), on stdio and over HTTP, whoever made the change."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent
from mcp.types import ResourceListChangedNotification, ResourceUpdatedNotification
from serving import WORKSPACES, served
from support import Repo, at, clone

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


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def run(repo: Repo, *command: str) -> None:
    """Do something in another process."""
    subprocess.run([WORKSPACES, *command], cwd=repo.path, check=True, capture_output=True, timeout=60)


class Heard:
    """What a client was told on its session."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[ServerEvent](100)

    async def __call__(self, message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            self._send.send_nowait(ResourceUpdated(message.params.uri))
        elif isinstance(message, ResourceListChangedNotification):
            self._send.send_nowait(ResourcesListChanged())

    async def next(self) -> ServerEvent:
        with anyio.fail_after(_PATIENCE):
            return await self._receive.receive()

    def nothing(self) -> bool:
        return self._receive.statistics().current_buffer_used == 0


@asynccontextmanager
async def subscribed(server: object, era: Era, uris: list[str], listed: bool = False) -> AsyncGenerator[tuple[Client, Next]]:
    """Be a client that is told of resources, and of the list of them."""
    heard = Heard()
    async with Client(server, mode=era, message_handler=heard, cache=None) as client:  # type: ignore[arg-type]
        if era == "auto":
            async with client.listen(resource_subscriptions=uris, resources_list_changed=listed) as stream:
                yield client, partial(_next, stream.__aiter__().__anext__)
            return
        if listed:
            await client.list_resources()
        for uri in uris:
            await client.subscribe_resource(uri)
        yield client, heard.next


async def _next(call: Next) -> ServerEvent:
    with anyio.fail_after(_PATIENCE):
        return await call()
