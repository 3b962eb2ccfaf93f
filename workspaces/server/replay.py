"""Answers kept for handshake clients whose connection broke: they come back with the id of the last event that they saw (2025-11-25)."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import JSONRPCMessage, jsonrpc_message_adapter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

RETRY = 500
"""Milliseconds after which a client may come back."""
_MOST = 8 << 20
_ABOUT = 500
"""Bytes that an event takes beside its text."""
_HEADER = "mcp-session-id"


@dataclass
class _Session:
    id: str = ""


@dataclass(frozen=True)
class _Event:
    """What was told on a stream, as the text that went out: as an object it would weigh many times as much."""

    session: _Session
    stream: str
    text: str

    @property
    def size(self) -> int:
        return _ABOUT + len(self.text)


_session: ContextVar[_Session | None] = ContextVar("session", default=None)


class Sessions:
    """Make known to the store whose request it is. A session's own tasks are children of the request that opened it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        session = _Session(Headers(scope=scope).get(_HEADER, ""))
        _session.set(session)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and not session.id:
                session.id = Headers(raw=message["headers"]).get(_HEADER, "")
            await send(message)

        await self._app(scope, receive, watched)


class Replay(EventStore):
    """The last events of all sessions, up to some megabytes; nobody gets those of another session."""

    def __init__(self, most: int = _MOST) -> None:
        self._events: OrderedDict[str, _Event] = OrderedDict()
        self._most, self._size = most, 0

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        text = message.model_dump_json(by_alias=True, exclude_unset=True) if message else ""
        event = secrets.token_urlsafe(16)
        self._events[event] = kept = _Event(_session.get() or _Session(), stream_id, text)
        self._size += kept.size
        while self._size > self._most:
            _, oldest = self._events.popitem(last=False)
            self._size -= oldest.size
        return event

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        last, session = self._events.get(last_event_id), _session.get()
        if last is None or session is None or not session.id or last.session.id != session.id:
            return None
        ids = list(self._events)
        for event in ids[ids.index(last_event_id) + 1 :]:
            kept = self._events.get(event)
            if kept and kept.text and (kept.session.id, kept.stream) == (session.id, last.stream):
                await send_callback(EventMessage(jsonrpc_message_adapter.validate_json(kept.text, by_name=False), event))
        return last.stream
