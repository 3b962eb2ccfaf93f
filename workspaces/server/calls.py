"""How a tool runs on the blocking core: in a worker thread, and with one envelope for what it answers."""

from __future__ import annotations

import asyncio
import logging
import secrets
from bisect import bisect_right
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import accumulate
from typing import TypeVar

import anyio
import anyio.to_thread
import pydantic_core
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent
from pydantic import JsonValue

from workspaces.errors import Busy, ErrorBody, Limit, WorkspacesError, translated
from workspaces.locks import stepping
from workspaces.model import Noun
from workspaces.server.reporting import Reporter

logger = logging.getLogger(__name__)
T = TypeVar("T")

_THREADS, _WAITING = 64, 512
_LARGEST = 350_000
"""Bytes of the largest answer."""
_ROOM = 200
"""Of them, for saying that some rows are left out."""
_limiter: anyio.CapacityLimiter | None = None


async def answer(ctx: Context[object, object], call: Callable[[Reporter], Noun]) -> CallToolResult:
    """Run a call and return its result, or its error, in the form in which every tool answers. What came of one that was cancelled is logged."""
    reporter = Reporter(ctx)
    try:
        data = (await in_thread(partial(reporter.run, call))).wire()
        reporter.end(str(data.get("summary", "")))
        return wrapped(data)
    except WorkspacesError as error:
        reporter.end(error.message, error)
        return refused(error.body)
    except OSError as error:
        logger.exception("refused by the operating system")
        return refused(translated(error).body)
    except Exception:
        reference = secrets.token_hex(4)
        logger.exception("internal error %s", reference)
        hint = f"Report it with the server's log around reference {reference}; workspaces doctor says whether all is whole."
        return refused(
            ErrorBody(code="internal", message="The server failed in an unforeseen way.", hint=hint, details={"reference": reference})
        )


def fitted(result: CallToolResult, largest: int) -> CallToolResult:
    """Return a result that is no larger than it may be for who asked."""
    data: dict[str, JsonValue] | None = result.structured_content
    if result.is_error or data is None or sum(len(block.text) for block in result.content if isinstance(block, TextContent)) * 4 <= largest:
        return result
    return wrapped(data, largest)


def wrapped(data: dict[str, JsonValue], largest: int = _LARGEST) -> CallToolResult:
    """Return data as structured content, and as compact JSON text for clients that read only that."""
    text = pydantic_core.to_json(data).decode()
    if len(text.encode()) > largest:
        # The answer goes out twice, as data and as text, and clients hang up on an event of a megabyte. What was done must still be told.
        data = _fitting(_shortened(data), largest)
        text = pydantic_core.to_json(data).decode()
    if len(text.encode()) > largest:
        raise Limit(
            f"The answer has {len(text):,} characters, more than clients take.",
            "Ask for less: a smaller max_chars, fewer workspaces, or paths.",
        )
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=data)


def _shortened(data: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a result without what can be asked for again: lists of files and conflicts, and long tasks."""
    kept = {key: value for key, value in data.items() if key not in ("files", "conflicts")}
    workspaces = kept.get("workspaces")
    if isinstance(workspaces, list):
        kept["workspaces"] = [_without_task(each) for each in workspaces]
    warnings = kept.get("warnings")
    told = warnings if isinstance(warnings, list) else []
    return {
        **kept,
        "warnings": [*told, "Files, conflicts and long tasks are left out: the answer was too long. compare shows them in pages."],
    }


def _fitting(data: dict[str, JsonValue], largest: int) -> dict[str, JsonValue]:
    """Return a list of workspaces with as many of them as fit, where it is nothing but that: each can be asked for by its name."""
    rows, warnings = data.get("workspaces"), data.get("warnings")
    if not isinstance(rows, list) or not isinstance(warnings, list) or data.keys() & {"diff", "pairs"}:
        return data
    left = largest - len(pydantic_core.to_json({**data, "workspaces": []})) - _ROOM
    ends = [*accumulate(len(pydantic_core.to_json(row)) + 1 for row in rows)]
    if not rows or ends[-1] <= left or ends[0] > left:
        return data
    shown = bisect_right(ends, left)
    cut = f"{shown} of {len(rows)} workspaces are shown: name others to see them. resources/list has all, in pages."
    return {**data, "workspaces": rows[:shown], "warnings": [*warnings, cut]}


def _without_task(workspace: JsonValue) -> JsonValue:
    return (
        {key: value for key, value in workspace.items() if key not in ("task", "conflicts")} if isinstance(workspace, dict) else workspace
    )


def refused(error: ErrorBody) -> CallToolResult:
    """Return an error in its envelope; the text alone says all that a model needs."""
    line = " ".join(f"{error.message} {error.hint}".split())
    return CallToolResult(
        content=[TextContent(type="text", text=line)], structured_content={"error": error.model_dump(mode="json")}, is_error=True
    )


async def in_thread(call: Callable[[], T]) -> T:
    """Run blocking code in a thread of its own pool. A cancelled call is waited for: it stops at its next safe point.

    Raises `Busy` at once where so many wait already that this one would for too long.
    """
    global _limiter
    if _limiter is None:
        _limiter = anyio.CapacityLimiter(_THREADS)
    if _limiter.statistics().tasks_waiting >= _WAITING:
        raise Busy("The server has more calls than it can take. Nothing was done.", "Call again in a second.", retry_after_seconds=1)
    before = stepping.set(partial(_aside, asyncio.get_running_loop(), _limiter))
    try:
        return await anyio.to_thread.run_sync(call, limiter=_limiter)
    finally:
        stepping.reset(before)


@contextmanager
def _aside(loop: asyncio.AbstractEventLoop, limiter: anyio.CapacityLimiter) -> Generator[None]:
    """Let another call be served in the place of this one, which waits: many that wait for one workspace keep nobody from another."""
    with suppress(RuntimeError):  # the server is ending
        loop.call_soon_threadsafe(_resize, limiter, 1)
    try:
        yield
    finally:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_resize, limiter, -1)


def _resize(limiter: anyio.CapacityLimiter, by: int) -> None:
    limiter.total_tokens += by
