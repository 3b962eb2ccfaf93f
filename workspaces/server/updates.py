"""Telling clients that what they read has changed, whoever changed it: on a stream that they ask for (2026-07-28), or on their session (before).

Who is told is looked for: the store of a project counts what is written about it, by any process. When it has gone on, what somebody is subscribed
to is read once more in that caller's name, and told of when it is not what it was. So nobody learns of what they may not see, and what is not there
for them never changes. Files that are only edited are not watched.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
)
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    EmptyResult,
    InitializeResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel

from workspaces.errors import NotFound, WorkspacesError
from workspaces.server.calls import in_thread
from workspaces.server.ending import Ending
from workspaces.server.resources import SCHEME, Projects, shown, uris

Request = ServerRequestContext[object, object]
P = TypeVar("P", bound=BaseModel)
Tell = Callable[[ServerEvent], Awaitable[None]]
_PAUSE, _GLANCE, _REST = 1.0, 0.2, 5
"""Seconds between two looks, and until an end is seen; and how many times as long as a look what comes after it takes at least."""
_MOST_STREAMS, _MOST_URIS = 512, 100
_INITIALIZED = "notifications/initialized"


class Answers(Protocol):
    """A server that can be told who answers which requests."""

    def answer(
        self, method: str, params: type[P], handler: Callable[[Request, P], Awaitable[HandlerResult]], lasts: bool = False
    ) -> None: ...


@dataclass
class Wanted:
    """What one client is told of, each with what it was when it was last looked at."""

    seals: dict[str, str] = field(default_factory=dict[str, str])
    listed: tuple[str, ...] | None = None
    """Of the list of resources; None while nobody asked for it."""

    @property
    def is_empty(self) -> bool:
        return not self.seals and self.listed is None


class Updates:
    """Who is told of what, by one server. `projects` are those that there are for whoever makes a request."""

    def __init__(self, projects: Callable[[Request], Callable[[], Projects]], ending: Ending, shared: InMemorySubscriptionBus) -> None:
        self._projects, self._ending, self._shared = projects, ending, shared
        self._streams, self._sessions = 0, dict[int, Wanted]()
        self._one = anyio.Lock()

    def register(self, server: Answers, has_sessions: bool) -> None:
        """Answer those who subscribe. Where no session is kept, nobody can be told on one."""
        server.answer("subscriptions/listen", SubscriptionsListenRequestParams, self.listen, lasts=True)
        if has_sessions:
            server.answer("resources/subscribe", SubscribeRequestParams, self.subscribe)
            server.answer("resources/unsubscribe", UnsubscribeRequestParams, self.unsubscribe)

    # -- 2026-07-28: a stream is the answer to the request for it

    async def listen(self, ctx: Request, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Tell of what a client asks for until it hangs up or the server ends."""
        asked = params.notifications
        wanted = Wanted(dict.fromkeys(asked.resource_subscriptions or (), ""), () if asked.resources_list_changed else None)
        if len(wanted.seals) > _MOST_URIS or self._streams >= _MOST_STREAMS:
            raise MCPError(
                INVALID_REQUEST, f"Too much at once: {_MOST_URIS} resources a stream, {_MOST_STREAMS} streams. Nothing was subscribed."
            )
        stream = _Stream(self._shared)
        handler = ListenHandler(stream)
        self._streams += 1
        try:
            seen = await self._revisions(ctx)
            await self._looked(ctx, wanted)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, ctx, wanted, seen, stream.publish, handler.close)
                await handler(ctx, params)
                tasks.cancel_scope.cancel()
        finally:
            self._streams -= 1
        return SubscriptionsListenResult(_meta={SUBSCRIPTION_ID_META_KEY: ctx.request_id})

    # -- before: what a session subscribed to, and its list as soon as it has read that

    async def __call__(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        """Say at the handshake what is told of, and watch for each session as long as it lasts."""
        result = await call_next(ctx)
        if ctx.method == "initialize" and isinstance(result, dict):
            return _announced(InitializeResult.model_validate(result, by_name=False))
        if ctx.method == _INITIALIZED and (key := _session(ctx)):
            wanted = self._sessions.setdefault(key, Wanted())
            try:
                await self._watch(ctx, wanted, (), _on_session(ctx), lambda: None)
            finally:
                self._sessions.pop(key, None)
        return result

    async def subscribe(self, ctx: Request, params: SubscribeRequestParams) -> EmptyResult:
        """Tell a session of a resource from now on."""
        if (wanted := self._sessions.get(_session(ctx))) is None:
            raise MCPError(INVALID_REQUEST, f"Send {_INITIALIZED} first. Nothing was subscribed.")
        if len(wanted.seals) >= _MOST_URIS:
            raise MCPError(INVALID_PARAMS, f"A session subscribes to {_MOST_URIS} resources at most. Unsubscribe from others first.")
        wanted.seals[params.uri] = await self._seal(ctx, params.uri)
        return EmptyResult()

    async def unsubscribe(self, ctx: Request, params: UnsubscribeRequestParams) -> EmptyResult:
        """Tell a session of a resource no longer. Twice changes nothing."""
        if wanted := self._sessions.get(_session(ctx)):
            wanted.seals.pop(params.uri, None)
        return EmptyResult()

    def listed(self, ctx: Request, found: tuple[str, ...]) -> None:
        """Tell a session that reads its list when that changes."""
        if wanted := self._sessions.get(_session(ctx)):
            wanted.listed = found

    # -- looking

    async def _watch(self, ctx: Request, wanted: Wanted, seen: tuple[int, ...], tell: Tell, end: Callable[[], None]) -> None:
        """Tell of changes until this is cancelled or the server ends."""
        pause = _PAUSE
        while await self._rested(pause):
            began, pause = time.monotonic(), _PAUSE
            now = () if wanted.is_empty else await self._revisions(ctx)
            if now == seen:
                continue
            events, seen = await self._looked(ctx, wanted), now
            pause = max(_PAUSE, _REST * (time.monotonic() - began))
            for event in events:
                await tell(event)
        end()

    async def _rested(self, seconds: float) -> bool:
        """Wait, and return whether the server still runs."""
        until = time.monotonic() + seconds
        while not self._ending.asked and time.monotonic() < until:
            await anyio.sleep(_GLANCE)
        return not self._ending.asked

    async def _revisions(self, ctx: Request) -> tuple[int, ...]:
        """Return what grows when anything is written about a caller's projects."""
        projects = self._projects(ctx)
        try:
            return await in_thread(lambda: tuple(project.revision() for project in projects().values()))
        except WorkspacesError:
            return ()

    async def _looked(self, ctx: Request, wanted: Wanted) -> list[ServerEvent]:
        """Look at all that is wanted, and return what is not as it was. Only one look is under way at a time, whoever it is for."""
        events: list[ServerEvent] = []
        async with self._one:
            for uri, before in list(wanted.seals.items()):
                seal = await self._seal(ctx, uri)
                if uri in wanted.seals and seal != before:
                    wanted.seals[uri] = seal
                    events.append(ResourceUpdated(uri))
            if wanted.listed is not None and (found := await self._list(ctx, wanted.listed)) != wanted.listed:
                wanted.listed = found
                events.append(ResourcesListChanged())
        return events

    async def _seal(self, ctx: Request, uri: str) -> str:
        """Return what tells whether a resource is as it was; of what is not there for a caller, nothing."""
        if not uri.startswith(SCHEME):
            return ""
        projects = self._projects(ctx)
        try:
            content = (await in_thread(lambda: shown(projects(), uri))).content
        except NotFound:
            return ""
        except WorkspacesError as error:
            return error.code
        return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()

    async def _list(self, ctx: Request, before: tuple[str, ...]) -> tuple[str, ...]:
        projects = self._projects(ctx)
        with suppress(WorkspacesError):
            return await in_thread(lambda: uris(projects()))
        return before


class _Stream(InMemorySubscriptionBus):
    """What one stream is told: what is published for it alone, and what is for everybody."""

    def __init__(self, shared: InMemorySubscriptionBus) -> None:
        super().__init__()
        self._everybody = shared

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        ends = [super().subscribe(listener), self._everybody.subscribe(listener)]
        return lambda: _all(ends)


def _all(calls: Iterable[Callable[[], None]]) -> None:
    for call in calls:
        call()


def _session(ctx: Request) -> int:
    """Return what tells sessions apart: what a client said of itself at the handshake is one object as long as the session lasts."""
    return id(ctx.session.client_params) if ctx.session.client_params else 0


def _on_session(ctx: Request) -> Tell:
    async def tell(event: ServerEvent) -> None:
        if isinstance(event, ResourceUpdated):
            await ctx.session.send_resource_updated(event.uri)
        else:
            await ctx.session.send_resource_list_changed()

    return tell


def _announced(said: InitializeResult) -> HandlerResult:
    """Return the answer to a handshake, with what the SDK has no words for: that changes of the list are told to those who may subscribe."""
    resources = said.capabilities.resources
    if resources and resources.subscribe:
        told = resources.model_copy(update={"list_changed": True})
        said = said.model_copy(update={"capabilities": said.capabilities.model_copy(update={"resources": told})})
    return said.model_dump(by_alias=True, mode="json", exclude_unset=True)
