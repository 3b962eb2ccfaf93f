"""Carrying the protocol: one agent on stdio, or many on Streamable HTTP."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer

from workspaces.errors import InvalidArgument
from workspaces.server.doors import Guard
from workspaces.server.ending import Counting, Drained, Ending
from workspaces.server.hosting import UNNAMED, Hosting, NoBrowsers
from workspaces.server.replay import RETRY, Replay, Sessions
from workspaces.server.wire import MendingBodies

_GRACE = 5.0
"""Seconds that calls at work have to end after a signal."""
_CONNECTIONS = 2000
"""Connections and calls at a time; who comes when there are more is told so (503) at once."""


async def stdio(server: MCPServer[object]) -> None:
    """Serve until the client closes stdin, or a signal comes. What a signal interrupts is put right by the next call on the project."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_on_signal)
        await server.run_stdio_async()
        tasks.cancel_scope.cancel()


async def _end_on_signal() -> None:
    """End at once: a thread that reads stdin cannot be woken, and every operation of ours survives a kill."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            sys.stderr.flush()
            os._exit(128 + number)


async def http(
    server: MCPServer[object], address: str, guard: Guard, where: Hosting, ending: Ending, close: Callable[[], Awaitable[None]]
) -> None:
    """Serve at http://HOST:PORT/mcp until a signal comes; port 0 takes a free one. The address is printed on stderr once it is open."""
    host, port = _parsed(address)
    if not where.by_platform:
        guard.refuse_unsafe(host, is_called_by_others=bool(where.address))
    with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512) as listener:
        # asyncio switches Nagle's delay off only for sockets that name their protocol; with it, every answer takes 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound = listener.getsockname()[1]
        shown = f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
        security = UNNAMED if where.address else guard.security(host, bound)
        inside = server.streamable_http_app(
            transport_security=security, host=host, stateless_http=where.stateless, event_store=Replay(), retry_interval=RETRY
        )
        called = Sessions(guard.door(MendingBodies(inside), security, shown))
        app = Counting(NoBrowsers(called) if where.address else called, ending)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, lifespan="on", limit_concurrency=_CONNECTIONS
        )
        print(f"Serving on {shown}/mcp{', for who has a token' if guard.asks else ''}", file=sys.stderr, flush=True)  # noqa: T201 - stderr is this program's narration
        await Drained(config, ending, _GRACE, close).serve(sockets=[listener])


def _parsed(address: str) -> tuple[str, int]:
    """Return host and port of `[HOST:]PORT`."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise InvalidArgument(f"{address!r} is no address to serve on.", "Use [HOST:]PORT, for example 127.0.0.1:8765.")
    return ("127.0.0.1" if host == "localhost" else host), int(port)
