"""How a server on HTTP ends: nobody new is let in, who only waits is answered at once, and what is at work is waited for."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LONG_LIVED = b"subscriptions/listen"
_MOST = 512
"""Calls at work at a time, those among them that are still being sent."""


class Ending:
    """Whether a server was told to end, and how many of its calls are not answered yet."""

    def __init__(self) -> None:
        self.asked, self.at_work = False, 0


class Drained(uvicorn.Server):
    """A server that ends when its calls are answered, or their grace is over. A second signal ends it at once."""

    def __init__(self, config: uvicorn.Config, ending: Ending, grace: float, close: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._close = close
        self._ending, self._grace, self._last, self._signal = ending, grace, 0.0, 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end. The rest is done by the next tick of the loop."""
        if self._ending.asked:
            super().handle_exit(sig, frame)
        self._ending.asked, self._signal, self._last = True, sig, time.monotonic() + self._grace

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what nobody waits for any more. After this the signal is raised anew, and ends the process where it is."""
        await self._close()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        if self._ending.asked and not self.should_exit:
            for listening in self.servers:
                listening.close()
            if not self._ending.at_work or time.monotonic() > self._last:
                super().handle_exit(self._signal, None)
        return await super().on_tick(counter)


class Counting:
    """Count the calls at work, and end each answer that is cut off, so that its client sees an end and not a broken connection."""

    def __init__(self, app: ASGIApp, ending: Ending) -> None:
        self._app, self._ending = app, ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._ending.asked:
            await _leaving()(scope, receive, send)
        elif self._ending.at_work >= _MOST:
            await _told_to_wait("The server has more calls than it can take.", close=False)(scope, receive, send)
        else:
            await self._answered(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer, counted = _Answer(send), int(scope["method"] == "POST" and (b"mcp-method", _LONG_LIVED) not in scope["headers"])
        self._ending.at_work += counted
        try:
            await self._app(scope, receive, answer)
        except asyncio.CancelledError:
            if not self._ending.asked:
                raise
        finally:
            self._ending.at_work -= counted
        if self._ending.asked and not answer.whole:
            await (answer.end() if answer.begun else _leaving()(scope, receive, send))


class _Answer:
    """What is sent, and how far it got."""

    def __init__(self, send: Send) -> None:
        self._send, self.begun, self.whole = send, False, False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        self.whole = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _leaving() -> JSONResponse:
    """Return the answer to who comes too late: nothing was done, and another server may do it."""
    return _told_to_wait("The server is ending.", close=True)


def _told_to_wait(why: str, close: bool) -> JSONResponse:
    error = {"code": -32000, "message": f"{why} Nothing was done; call again."}
    headers = {"Retry-After": "1", **({"Connection": "close"} if close else {})}
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, 503, headers)
