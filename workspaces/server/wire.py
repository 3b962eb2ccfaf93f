r"""Reading what the SDK's parser cannot: half of a character (`"\ud800"`, a lone surrogate) is JSON (RFC 8259, 8.2) and no text, and the call that
holds one would get no answer at all. In its place comes `HALF`, by which the call is known and refused."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Self

import pydantic_core
from mcp.server.transport_security import DEFAULT_MAX_REQUEST_BODY_SIZE
from mcp.shared._stream_protocols import ReadStream
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter
from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LARGEST = DEFAULT_MAX_REQUEST_BODY_SIZE
HALF = "\ufdd0"
"""A code point that is no character (Unicode, 23.7) and of no use in an interchange."""
_ESCAPE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL)


def holds_half(text: str) -> bool:
    """Return whether a text holds half of a character, or what came in its place."""
    return re.search(f"[\ud800-\udfff{HALF}]", text) is not None


def mended(text: bytes) -> bytes:
    r"""Return JSON with `HALF` in the place of each escape that stands for half of a character. It is as long as it was."""
    return _ESCAPE.sub(lambda found: rb"\ufdd0" if found[1] else found[0], text)


class Mending:
    """A stream of messages, in which those that could not be read for half a character can."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception]) -> None:
        self._stream = stream

    async def receive(self) -> SessionMessage | Exception:
        return _read(await self._stream.receive())

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        return _read(await anext(self._stream))

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(exc_type, exc_val, exc_tb)


def _read(item: SessionMessage | Exception) -> SessionMessage | Exception:
    if not isinstance(item, ValidationError):
        return item
    line = item.errors(include_url=False)[0]["input"]
    if not isinstance(line, str) or (text := mended(line.encode())) == line.encode():
        return item
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(text, by_name=False))
    except ValidationError as error:
        return error


class MendingBodies:
    """The same for what is posted over HTTP. Each body is read whole, as the SDK does anyway; who hangs up before its end has asked nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif (body := await _mended_body(receive))["type"] == "http.request":
            await self._app(scope, _first(body, receive), send)


async def _mended_body(receive: Receive) -> Message:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if len(body) > _LARGEST:
            return {"type": "http.request", "body": body, "more_body": False}  # more than the SDK takes: it refuses it
        if not message.get("more_body", False):
            return {"type": "http.request", "body": _readable(body), "more_body": False}


def _first(message: Message, receive: Receive) -> Receive:
    waiting = [message]

    async def receive_after() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_after


def _readable(body: bytes) -> bytes:
    try:
        pydantic_core.from_json(body)
    except ValueError:
        return mended(body)
    return body
