"""Tasks of the protocol with a handshake (2025-11-25, experimental there): the client asks for one with each call that shall be a task.

https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks. The SDK has the shapes and serves none of it, so this stands around
its handlers. Not offered: lists of tasks, notifications of their status, and questions to the person while one goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND
from pydantic import JsonValue

from workspaces.server.lasting import MOST, Job
from workspaces.server.tasks import LASTING, POLL, Named, Tasks

VERSION = "2025-11-25"
_RELATED = "io.modelcontextprotocol/related-task"
_ABLE: JsonValue = {"cancel": {}, "requests": {"tools": {"call": {}}}}
Request = ServerRequestContext[Any, Any]
Answer = Callable[[Request, CallNext], Awaitable[HandlerResult]]


class HandshakeTasks:
    """Stand around the handlers of a server, and answer for its tasks."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._answers: dict[str, Answer] = {
            "tools/list": self._listed,
            "tools/call": self._called,
            "tasks/get": self._get,
            "tasks/result": self._result,
            "tasks/cancel": self._cancel,
        }

    async def __call__(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        if ctx.method == "initialize":
            return _able(await call_next(ctx))
        answer = self._answers.get(ctx.method) if ctx.protocol_version == VERSION else None
        return await (answer(ctx, call_next) if answer else call_next(ctx))

    async def _listed(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        found = await call_next(ctx)
        tools: list[dict[str, JsonValue]] = found["tools"] if isinstance(found, dict) else []
        for tool in tools:
            if tool["name"] in LASTING:
                tool["execution"] = {"taskSupport": "optional"}
        return found

    async def _called(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        params = ctx.params or {}
        if "task" not in params:
            return await call_next(ctx)
        if params.get("name") not in LASTING:
            raise MCPError(code=METHOD_NOT_FOUND, message="No call of this tool can be a task. Nothing was done; call it without.")
        job = self._tasks.jobs.begin(self._tasks.owner(ctx), lambda job: call_next(ctx), can_ask=False)
        if job is None:
            raise MCPError(
                code=INTERNAL_ERROR, message=f"You have {MOST} tasks under way. Nothing was done; call again when one has ended."
            )
        job.course.is_answered = True
        return {"task": self._told(job)}

    def _told(self, job: Job) -> dict[str, JsonValue]:
        told: dict[str, JsonValue] = {
            "taskId": job.id,
            "status": job.status,
            "createdAt": job.created.isoformat(),
            "lastUpdatedAt": job.updated.isoformat(),
            "ttl": job.kept_ms,
            "pollInterval": POLL,
        }
        return told | ({"statusMessage": job.course.said} if job.course.said else {})

    def _job(self, ctx: Request) -> Job:
        return self._tasks.known(ctx, Named.model_validate(ctx.params or {}, by_name=False))

    async def _get(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        return self._told(self._job(ctx))

    async def _result(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        """Return what the call itself would have returned, when it is there."""
        job = self._job(ctx)
        await job.ended.wait()
        job.outcome()
        if job.result is None:
            raise MCPError(code=INVALID_PARAMS, message="The task was cancelled before it began. Nothing was done.")
        return {**job.payload(), "_meta": {_RELATED: {"taskId": job.id}}}

    async def _cancel(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        """Stop a task, and tell what became of it: too late for that, it is completed."""
        job = self._job(ctx)
        if job.ended_at:
            raise MCPError(code=INVALID_PARAMS, message=f"The task has ended already: it is {job.status}.")
        job.scope.cancel()
        await job.ended.wait()
        return self._told(job)


def _able(greeting: HandlerResult) -> HandlerResult:
    """Return the answer to a handshake with the tasks in it, where the version that was agreed on knows them."""
    if isinstance(greeting, dict) and greeting.get("protocolVersion") == VERSION:
        greeting["capabilities"]["tasks"] = _ABLE
    return greeting
