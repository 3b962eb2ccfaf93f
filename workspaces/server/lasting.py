"""Calls that outlast their requests: each is a job of whoever made it, goes on until it has ended, and is kept for a while after that.

They are in this process's memory: after a restart nobody knows them. What they did is done, and a repeated call with its key says what.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

import anyio
from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, ErrorData
from pydantic import BaseModel, JsonValue, ValidationError

from workspaces.server.ending import Ending
from workspaces.server.reporting import NOTHING, Course, course

logger = logging.getLogger(__name__)

KEPT = timedelta(hours=1)
"""How long a job is kept after its end."""
MOST = 16
"""Jobs of one caller. Those that ended longest ago make room for new ones."""
_MOST_OF_ALL = 256
_GRACE = 10.0
"""Seconds that stopped jobs have to take back what they began, when the server ends."""
Status = Literal["working", "input_required", "completed", "failed", "cancelled"]


@dataclass
class Job:
    """A call that goes on by itself. It asks its client where its tool does, until nothing more is to be asked."""

    owner: str
    course: Course
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    status: Status = "working"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    result: HandlerResult = None
    error: Exception | None = None
    asked: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    said: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def updated(self) -> datetime:
        return self.ended_at or datetime.now(UTC)

    @property
    def kept_ms(self) -> int:
        """How long it is kept, counted from its beginning."""
        return int((self.updated - self.created + KEPT) / timedelta(milliseconds=1))

    @property
    def fault(self) -> ErrorData:
        """The error of the protocol with which it ended."""
        if isinstance(self.error, ValidationError):
            return ErrorData(code=INVALID_PARAMS, message="Invalid request parameters")
        return self.error.error if isinstance(self.error, MCPError) else ErrorData(code=INTERNAL_ERROR, message="Internal server error")

    def outcome(self) -> HandlerResult:
        """Return what came of it, or raise that."""
        if self.error:
            raise self.error
        return self.result

    def payload(self) -> dict[str, JsonValue]:
        """Return its result as it goes over the wire."""
        if isinstance(self.result, BaseModel):
            return self.result.model_dump(mode="json", by_alias=True, exclude_none=True)
        return dict(self.result or {})

    async def run(self, serve: Callable[[Job], Awaitable[HandlerResult]]) -> None:
        """Serve the call to its end, whatever that is."""
        course.set(self.course)
        status: Status = "cancelled"
        try:
            with self.scope:
                self.result = await serve(self)
                status = "cancelled" if self.course.is_stopped else "completed"
        except Exception as error:
            if not isinstance(error, MCPError | ValidationError):
                logger.exception("a call failed that outlasts its request")
            self.error, status = error, "failed"
        finally:
            self.status, self.ended_at = status, datetime.now(UTC)
            if status == "cancelled" and not self.course.is_stopped:
                self.course.said = NOTHING
            self.ended.set()

    async def wait(self, seconds: float) -> None:
        """Wait for its end, at most so long. Whoever is cancelled meanwhile ends it too."""
        try:
            with anyio.move_on_after(seconds):
                await self.ended.wait()
        except asyncio.CancelledError:
            self.scope.cancel()
            with anyio.CancelScope(shield=True):
                await self.ended.wait()
            raise

    async def ask(self, requests: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Wait until each of the requests is answered."""
        self.asked, self.said, self.status = dict(requests), {}, "input_required"
        while self.asked:
            self.heard.clear()
            await self.heard.wait()
        self.status = "working"
        return self.said

    def hear(self, responses: Mapping[str, JsonValue]) -> None:
        """Take the answers to what was asked; others are passed over."""
        for key in self.asked.keys() & responses.keys():
            self.said[key] = responses[key]
            del self.asked[key]
        self.heard.set()


class Jobs:
    """The jobs of one server."""

    def __init__(self, ending: Ending) -> None:
        self._ending = ending
        self._jobs: dict[str, Job] = {}

    def begin(self, owner: str, serve: Callable[[Job], Awaitable[HandlerResult]], can_ask: bool = True) -> Job | None:
        """Begin to serve a call, or return nothing where its caller has as many under way as it may."""
        if not self._has_room([each for each in self._jobs.values() if each.owner == owner], MOST):
            return None
        if not self._has_room([*self._jobs.values()], _MOST_OF_ALL):
            return None
        job = Job(owner, Course(can_ask))
        self._jobs[job.id] = job
        self._ending.at_work += 1
        job.task = asyncio.create_task(job.run(serve), context=contextvars.copy_context())
        job.task.add_done_callback(self._left)
        return job

    def _left(self, task: asyncio.Task[None]) -> None:
        self._ending.at_work -= 1

    def _has_room(self, among: list[Job], most: int) -> bool:
        """Return whether there is room for one more, after those have gone that ended longest ago."""
        done = sorted((each for each in among if each.ended_at), key=lambda each: each.updated)
        for job in done[: max(0, len(among) - most + 1)]:
            self.forget(job)
        return len(among) - len(done) < most

    def of(self, owner: str, name: str) -> Job | None:
        """Return a caller's job of that id, if there is one and its time is not over."""
        job = self._jobs.get(name)
        if job is None or job.owner != owner or (job.ended_at and job.ended_at + KEPT < datetime.now(UTC)):
            return None
        return job

    def forget(self, job: Job) -> None:
        self._jobs.pop(job.id, None)

    async def close(self) -> None:
        """Stop all that go on, and give them a moment to take back what they began."""
        going = [each.task for each in self._jobs.values() if each.task and not each.task.done()]
        for job in self._jobs.values():
            job.scope.cancel()
        if going:
            await asyncio.wait(going, timeout=_GRACE)
