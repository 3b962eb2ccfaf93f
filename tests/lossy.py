"""A connection on which an answer is lost after the server acted."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
from anyio.abc import ByteStream, SocketAttribute

_CALLED, _ANSWERED = b'"tools/call"', b"structuredContent"


@dataclass
class Lossy:
    """What lies between a client and a server on this machine; `loses` is true until the next answer to a call is lost."""

    port: int
    loses: bool = False
    server: int = 0

    async def carry(self, client: ByteStream) -> None:
        """Carry one connection. Of a call whose answer is lost, the client sees nothing but the end of the connection."""
        asked = bytearray()
        async with client, await anyio.connect_tcp("127.0.0.1", self.server) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(self._asked, client, server, asked)
            await self._answered(server, client, asked)
            tasks.cancel_scope.cancel()

    async def _asked(self, client: ByteStream, server: ByteStream, asked: bytearray) -> None:
        with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for chunk in client:
                asked += chunk
                await server.send(chunk)

    async def _answered(self, server: ByteStream, client: ByteStream, asked: bytearray) -> None:
        held = b""
        with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for chunk in server:
                held += chunk
                is_held = self.loses and _CALLED in asked
                if is_held and _ANSWERED in held:
                    self.loses = False
                    return
                if not is_held:
                    await client.send(held)
                    held = b""


@asynccontextmanager
async def losing() -> AsyncGenerator[Lossy]:
    """Listen for clients. Where the server is comes later: it has to be told by which address it is called."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        lossy = Lossy(listener.extra(SocketAttribute.local_port))  # noqa: S610 - no Django here
        tasks.start_soon(listener.serve, lossy.carry)
        yield lossy
        tasks.cancel_scope.cancel()
