"""The Tasks extension (SEP-2663, 2026-07-28): a call that takes long answers with a task, by which its client asks how far it is and what came of it.

https://modelcontextprotocol.github.io/ext-tasks/specification/2026-07-28/tasks.html. The server decides which calls become tasks: of those who
declared the extension, the ones that have not ended after a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding, RequestHandler
from mcp.server.mcpserver import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    SERVER_INFO_META_KEY,
    RequestParams,
)
from pydantic import BaseModel, JsonValue
from starlette.datastructures import Headers

from workspaces.server.lasting import Job, Jobs

TASKS = "io.modelcontextprotocol/tasks"
LASTING = frozenset({"initialize", "clone", "compare", "merge", "delete", "check", "checkpoint", "restore"})
"""Tools whose calls may take long; one of status that waits is meant to."""
Request = ServerRequestContext[Any, Any]
_MODERN = frozenset({"2026-07-28"})
_MOMENT = 2.0
"""Seconds after which a call becomes a task."""
POLL = 1000
"""Milliseconds after which a client may look again."""


class Named(RequestParams):
    task_id: str


class _Update(Named):
    input_responses: dict[str, JsonValue]


Patience = Callable[[str, bool], float | None]
"""Returns after how many seconds a call of a tool becomes a task, if it may; told is, too, whether it comes with answers to questions."""


def moment(tool: str, answers: bool) -> float | None:
    """Return after how many seconds a call becomes a task, if it may."""
    return _MOMENT if tool in LASTING else None


class Tasks(Extension):
    """Tasks of one server. `owner` says whose a request is, and `stamp` what is said of the server in each answer; both are given once that is
    there, and `around` stands around what serves calls then."""

    identifier = TASKS

    def __init__(self, jobs: Jobs, patience: Patience = moment) -> None:
        self.jobs, self._patience = jobs, patience
        self.owner: Callable[[Request], str] = lambda ctx: ""
        self.stamp: dict[str, JsonValue] = {}

    def methods(self) -> Sequence[MethodBinding]:
        bound: list[tuple[str, type[BaseModel], RequestHandler]] = [
            ("tasks/get", Named, self._get),
            ("tasks/update", _Update, self._update),
            ("tasks/cancel", Named, self._cancel),
        ]
        return [MethodBinding(method, params, handler, _MODERN) for method, params, handler in bound]

    async def around(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        """Serve a call of a tool; one that takes longer than a moment is answered with a task, where its client takes those."""
        may = ctx.method == "tools/call" and ctx.protocol_version in _MODERN and _declared(ctx)
        params = ctx.params or {}
        seconds = self._patience(str(params.get("name")), "inputResponses" in params) if may else None
        job = self.jobs.begin(self.owner(ctx), partial(_served, ctx, call_next)) if seconds is not None else None
        if job is None or seconds is None:
            return await call_next(ctx)
        if seconds:
            await job.wait(seconds)
        if job.ended.is_set():
            self.jobs.forget(job)
            return job.outcome()
        job.course.is_answered = True
        return {**self._told(job, "task"), "_meta": {SERVER_INFO_META_KEY: self.stamp}}

    def _told(self, job: Job, kind: str) -> dict[str, JsonValue]:
        """Return a task as clients see it."""
        told: dict[str, JsonValue] = {
            "resultType": kind,
            "taskId": job.id,
            "status": job.status,
            "createdAt": job.created.isoformat(),
            "lastUpdatedAt": job.updated.isoformat(),
            "ttlMs": job.kept_ms,
            "pollIntervalMs": POLL,
        }
        return told | ({"statusMessage": job.course.said} if job.course.said else {})

    def _detailed(self, job: Job) -> dict[str, JsonValue]:
        """Return a task with its result, its error, or what it waits for."""
        told = self._told(job, "complete")
        if job.status == "completed":
            told["result"] = job.payload()
        if job.status == "failed":
            told["error"] = job.fault.model_dump(mode="json", exclude_none=True)
            told["statusMessage"] = job.fault.message
        if job.status == "input_required":
            told["inputRequests"] = {**job.asked}
        return told

    def _job(self, ctx: Request, params: Named) -> Job:
        require_client_extension(ctx, TASKS)
        headers: object = getattr(ctx.request, "headers", None)
        if isinstance(headers, Headers) and headers.get("mcp-name") != params.task_id:
            raise MCPError(code=HEADER_MISMATCH, message="Mcp-Name is not the task's id.")
        return self.known(ctx, params)

    def known(self, ctx: Request, params: Named) -> Job:
        """Return the caller's job of that id. A foreign one is answered like an unknown one."""
        if job := self.jobs.of(self.owner(ctx), params.task_id):
            return job
        raise MCPError(
            code=INVALID_PARAMS,
            message=f"Unknown task: {params.task_id[:100]!a}. What ended over an hour ago is forgotten, and all of them when the server ends. "
            "To learn what came of the call, make it again, with its request_key if it had one: nothing is done twice then.",
        )

    async def _get(self, ctx: Request, params: Named) -> HandlerResult:
        return self._detailed(self._job(ctx, params))

    async def _update(self, ctx: Request, params: _Update) -> HandlerResult:
        self._job(ctx, params).hear(params.input_responses)
        return {"resultType": "complete"}

    async def _cancel(self, ctx: Request, params: Named) -> HandlerResult:
        await stop(self._job(ctx, params))
        return {"resultType": "complete"}


async def stop(job: Job) -> None:
    """Stop a job at its next safe point; who asks for that is answered when it is stopped, or after a moment."""
    job.scope.cancel()
    with anyio.move_on_after(_MOMENT):
        await job.ended.wait()


def _declared(ctx: Request) -> bool:
    able = ctx.session.client_capabilities
    return able is not None and TASKS in (able.extensions or {})


async def _served(ctx: Request, call_next: CallNext, job: Job) -> HandlerResult:
    """Serve a call; what it asks, once it is a task, its client is asked there."""
    result = await call_next(ctx)
    while isinstance(result, dict) and result.get("resultType") == "input_required" and job.course.is_answered:
        said = await job.ask(result.get("inputRequests") or {})
        again = {**(ctx.params or {}), "inputResponses": said, "requestState": result.get("requestState")}
        result = await call_next(replace(ctx, params={name: value for name, value in again.items() if value is not None}))
    return result
