"""The one place that every request passes: it notes who called, what, on which workspaces, and what came of it. That never fails a call."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeGuard
from urllib.parse import unquote

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS
from pydantic import BaseModel, ValidationError

from workspaces import telemetry
from workspaces.access import Access
from workspaces.audit import Audit
from workspaces.core import new_uid
from workspaces.errors import WorkspacesError
from workspaces.model import Call
from workspaces.project import Project
from workspaces.server.callers import Who
from workspaces.wording import plain

logger = logging.getLogger(__name__)
Request = ServerRequestContext[object, object]
_SILENT = frozenset(("initialize", "ping", "server/discover", "tools/list", "prompts/list", "resources/templates/list", "logging/setLevel"))
"""What is about no project."""
_POLLS = frozenset(("tasks/get", "tasks/result"))
"""What only asks after calls, which are noted themselves when they end."""
_NAMING = ("source", "target", "workspaces", "workspace", "base")
"""The arguments that name workspaces."""
_SCHEME, _PARTS = "workspace://", ("diff", "log", "checks", "files")
_MOST, _LONGEST = 32, 200
"""Names of one call, and characters of each."""


@dataclass
class Noted:
    """What is found out about a call while it is served: `home` is that of its project."""

    call: str
    home: Path | None = None


_current: ContextVar[Noted | None] = ContextVar("call", default=None)


def meant(project: Project) -> Project:
    """Note that the call which is being served is on this project, and return that for just this call."""
    if (noted := _current.get()) is None:
        return project
    noted.home = project.home
    return project.called(noted.call)


class Auditing:
    """Notes each request in its project's home. One on no project is told on stderr, and so is, once, that none can be written."""

    def __init__(self, who: Who, home: Callable[[Access | None], Path | None]) -> None:
        self._who, self._home = who, home
        self._audits: dict[Path, Audit] = {}
        self._failed = False

    async def __call__(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        if ctx.request_id is None or ctx.method in _SILENT | _POLLS:
            return await call_next(ctx)
        noted, at, began = Noted(new_uid()), datetime.now(UTC), time.perf_counter()
        outcome, before = "internal", _current.set(noted)
        try:
            result = await call_next(ctx)
            outcome = _outcome(result)
            return result
        except (MCPError, ValidationError) as error:
            outcome = str(error.error.code if isinstance(error, MCPError) else INVALID_PARAMS)
            raise
        except anyio.get_cancelled_exc_class():
            outcome = "cancelled"
            raise
        finally:
            _current.reset(before)
            self._note(ctx, noted, at, outcome, (time.perf_counter() - began) * 1000)

    def _note(self, ctx: Request, noted: Noted, at: datetime, outcome: str, ms: float) -> None:
        try:
            access = self._access(ctx)
            call = _told(ctx, access, noted, at, outcome, ms)
            self._write(noted.home or self._home(access), call)
            self._failed = False
        except Exception as error:
            if not self._failed:
                known = isinstance(error, OSError | WorkspacesError)
                logger.error("The log of calls cannot be written: %s", error, exc_info=None if known else error)
            self._failed = True

    def _access(self, ctx: Request) -> Access | None:
        try:
            return self._who(Context[object, object](request_context=ctx))
        except WorkspacesError:
            return None

    def _write(self, home: Path | None, call: Call) -> None:
        if home is None:
            logger.warning("A call on no project: %s", json.dumps(call.wire()))
        else:
            self._audits.setdefault(home, Audit(home)).note(call)


def _told(ctx: Request, access: Access | None, noted: Noted, at: datetime, outcome: str, ms: float) -> Call:
    return Call(
        at=at.replace(microsecond=at.microsecond // 1000 * 1000),
        call=noted.call,
        actor=_cut(access.name) if access else "",
        role="" if access is None else "person" if access.is_person else access.role,
        tool=_cut(_tool(ctx)),
        workspaces=tuple(_named(ctx)) or ((access.bound_id,) if access and access.bound_id else ()),
        outcome=outcome,
        cancelled=anyio.current_effective_deadline() == -math.inf,
        ms=round(ms, 1),
        request=_cut(str(ctx.request_id)),
        transport="stdio" if ctx.request is None else "http",
        trace=telemetry.trace(),
    )


def _tool(ctx: Request) -> str:
    name = (ctx.params or {}).get("name")
    if ctx.method == "tools/call" and isinstance(name, str):
        return name
    return " ".join([ctx.method, *(part for part in _resource(ctx)[2:3] if part in _PARTS)])


def _named(ctx: Request) -> Iterator[str]:
    """Yield the workspaces that a call names: in its arguments, or in the URI of a resource."""
    arguments, named = (ctx.params or {}).get("arguments"), _resource(ctx)[:2]
    if len(named) == 2 and named[1] != "tree":
        yield _cut(unquote("/".join(named)))
    if ctx.method == "tools/call":
        found = (name for argument in _NAMING for name in _texts(_at(arguments, argument)))
        yield from map(_cut, islice(found, _MOST))


def _resource(ctx: Request) -> list[str]:
    """Return project, workspace and part of the resource that a request is about, as far as it names them."""
    uri = (ctx.params or {}).get("uri")
    return uri.removeprefix(_SCHEME).split("/", 3) if isinstance(uri, str) and uri.startswith(_SCHEME) else []


def _texts(value: object) -> Iterator[str]:
    for each in value if _is_list(value) else (value,):
        if isinstance(each, str) and each:
            yield each


def _cut(text: str) -> str:
    return " ".join(plain(text[:_LONGEST]).split())


def _outcome(result: HandlerResult) -> str:
    """Return what came of a call that was answered, in one word."""
    data: object = result.model_dump(by_alias=True) if isinstance(result, BaseModel) else result
    content = _at(data, "structuredContent")
    if _at(data, "isError"):
        return _word(_at(_at(content, "error"), "code"), "error")
    kind = _word(_at(data, "resultType"), "complete")
    return _word(_at(content, "status"), "ok") if kind == "complete" else kind


def _at(data: object, key: str) -> object:
    return data.get(key) if _is_object(data) else None


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _word(value: object, otherwise: str) -> str:
    return value if isinstance(value, str) else otherwise
