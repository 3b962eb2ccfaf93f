"""The MCP server: what it says of itself, how it refuses what it does not know, and how it is started on stdio or HTTP."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import anyio
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolResult,
    GetPromptResult,
    InputRequiredResult,
    ResourceTemplate,
    Tool,
)
from pydantic import AnyUrl, BaseModel, JsonValue, ValidationError

from workspaces import tokens
from workspaces.access import PERSON, Access
from workspaces.errors import ErrorBody, InvalidArgument, NoProject, WorkspacesError, likely
from workspaces.project import Project
from workspaces.server import prompts, resources, transports
from workspaces.server.admission import Admission
from workspaces.server.auditing import Auditing
from workspaces.server.callers import Who, bearer, nobody
from workspaces.server.calls import fitted, refused
from workspaces.server.desk import Desk
from workspaces.server.doors import Guard
from workspaces.server.ending import Ending
from workspaces.server.handshake import HandshakeTasks
from workspaces.server.hosting import AGENTCORE_HELP, ALONE, Hosting, hosting, told_elsewhere
from workspaces.server.icons import BRANCH, icon
from workspaces.server.keys import sealing
from workspaces.server.lasting import Jobs
from workspaces.server.reporting import cancelled
from workspaces.server.shelf import Shelf
from workspaces.server.tasks import Patience, Tasks, moment
from workspaces.server.tools import Tools
from workspaces.server.views import views
from workspaces.server.wire import Mending, holds_half
from workspaces.starting import settle
from workspaces.trust import place

INSTRUCTIONS = """\
Private workspaces for parallel work on one git repository or folder. Each is a full copy with its own folder; agents never share a \
working tree, and `main`, the user's own, changes only by merge.

The loop:
1. clone(count=3, task="Fix the login race") makes login-1 … login-3. Give each agent one `location`; it edits only there, with any tool, and \
need not commit. Uncommitted and untracked files are carried along.
2. compare(workspaces=[…]) says what each changed, whether it merges, and which pairs conflict. detail="outline", "files" or "diff" shows more; large \
answers come in pages (next_cursor).
   check(workspaces=[…]) runs the project's tests on frozen copies of them.
3. merge(source="login-1", delete_source=true) brings the winner into its parent (in git as one commit), all or nothing.
4. delete(workspaces=[…], discard_unmerged=true) removes the rest; restore brings one back for 14 days.

Conflicts are a result, not an error, and change nothing. Resolve in the copy: merge(source="main", target="login-2", on_conflict="markers"), \
edit the files there until no markers are left, then merge(source="login-2"). The same call without markers brings a copy up to date.

Safety: dry_run and if_target (a snapshot id) make a merge sure; every merge keeps a restore point, and restore(workspace="main") undoes the \
last one. A file that is dirty in main and that a merge would change is refused by name.

Workspaces are named by id (project/name), name or path, stay until deleted, and can be cloned again. Every result has `summary` and `next`; \
every error says what to do. A worktree isolates work, not hostile programs.
"""


P = TypeVar("P", bound=BaseModel)
Request = ServerRequestContext[object, object]


@dataclass(frozen=True)
class Settings:
    """How a server is started. `project` is a folder; `allowed` the folders that it may touch; `pinned` the one workspace that it is for."""

    project: Path | None
    allowed: tuple[Path, ...]
    http: str = ""
    actor: str = ""
    pinned: str = ""
    guard: Guard = field(default_factory=Guard)
    trust: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where checks find their tools; what could open anything in it is not passed on."""
    hosting: Hosting = ALONE
    conformance: bool = False
    """Offer what the official conformance suite calls, too."""

    @property
    def address(self) -> str:
        """Return where HTTP is served; nothing on stdio."""
        return self.hosting.address or self.http


class Server(MCPServer[object]):
    """The server. A call that it does not understand is refused with what was likely meant."""

    who: Who = staticmethod(nobody)
    """Says who makes a call."""
    admission = Admission(None)
    """Says how much at once."""
    hosting = ALONE
    shelf: Shelf | None = None

    jobs: Jobs | None = None
    """Calls that outlast their requests, where there are such."""

    @cached_property
    def ending(self) -> Ending:
        """What tells calls that only wait that the server ends."""
        return Ending()

    def last(self, tasks: Tasks) -> None:
        """Let calls outlast their requests."""

        def owner(ctx: ServerRequestContext[Any, Any]) -> str:
            return self.who(Context[object, object](request_context=ctx, mcp_server=self)).caller

        tasks.owner, tasks.stamp = owner, self._lowlevel_server.server_info_stamp
        # Around all that serves calls, so that what serves one sees it end when it does.
        self.middleware.extend((tasks.around, HandshakeTasks(tasks)))

    async def list_tools(self) -> list[Tool]:
        """Return the tools, their schemas without what pydantic adds and no reader needs."""
        return [
            tool.model_copy(update={"input_schema": _terse(tool.input_schema), "output_schema": _or_error(_terse(tool.output_schema))})
            for tool in await super().list_tools()
        ]

    async def run_stdio_async(self) -> None:
        async with stdio_server() as (reading, writing):
            try:
                await self._lowlevel_server.run(Mending(reading), writing, self._lowlevel_server.create_initialization_options())
            finally:
                await self.close()

    async def close(self) -> None:
        """End what goes on without anybody waiting for it."""
        with anyio.CancelScope(shield=True):
            if self.jobs:
                await self.jobs.close()

    def answer(self, method: str, params: type[P], handler: Callable[[Request, P], Awaitable[HandlerResult]], lasts: bool = False) -> None:
        """Let requests be answered, as far as a caller's are not too much; one that lasts counts only when it comes."""

        async def answered(ctx: Request, asked: P) -> HandlerResult:
            try:
                with self.admission.admitted(self.who(Context(request_context=ctx)), len(asked.model_dump_json())):
                    if not lasts:
                        return await handler(ctx, asked)
                return await handler(ctx, asked)
            except WorkspacesError as error:
                raise resources.failed(error) from None

        self._lowlevel_server.add_request_handler(method, params, answered)

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        return [*resources.templates(), *await super().list_resource_templates()]

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[object, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """Read a resource: one of ours, or one that was registered. What is not there is said in the words of the client's protocol."""
        asked = context or Context()
        try:
            if self.shelf is None or resources.matched(str(uri)) is None:
                return await super().read_resource(uri, context)
            with self.admission.admitted(self.who(asked), len(str(uri))):
                return await self.shelf.read(asked, str(uri))
        except ResourceNotFoundError:
            raise resources.unknown(str(uri), asked.protocol_version) from None
        except WorkspacesError as error:
            raise resources.failed(error) from None

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[object, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        prompts = await self.list_prompts()
        known = {prompt.name: [each.name for each in prompt.arguments or ()] for prompt in prompts}
        needed = {prompt.name: [each.name for each in prompt.arguments or () if each.required] for prompt in prompts}
        if name not in known:
            raise MCPError(code=INVALID_PARAMS, message=f"Unknown prompt: {name}.{likely(name, known)}")
        for argument in arguments or {}:
            if argument not in known[name]:
                raise MCPError(code=INVALID_PARAMS, message=f"{name} has no argument '{argument}'.{likely(argument, known[name])}")
        if missing := [each for each in needed[name] if not (arguments or {}).get(each)]:
            raise MCPError(code=INVALID_PARAMS, message=f"{name} needs {', '.join(missing)}.")
        return await super().get_prompt(name, arguments, context)

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[object, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        known = {tool.name: tool for tool in await super().list_tools()}  # as registered: what readers are shown is made for them only
        if name not in known:
            raise MCPError(code=INVALID_PARAMS, message=f"Unknown tool: {name}.{likely(name, known)}")
        try:
            done = await self._admitted(name, arguments, list(known[name].input_schema["properties"]), context)
            return told_elsewhere(done, self.hosting)
        except WorkspacesError as error:
            return refused(error.body)
        except anyio.get_cancelled_exc_class():
            cancelled(context or Context(), "it was stopped before it began. Nothing was done.")
            raise
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                return refused(_misfit(name, error.__cause__).body)
            raise

    async def _admitted(
        self, name: str, arguments: dict[str, Any], known: Sequence[str], context: Context[object, Any] | None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool for whoever calls, as far as that is not too much."""
        access = self.who(context or Context())
        text = json.dumps(arguments, ensure_ascii=False)
        with self.admission.admitted(access, len(text.encode(errors="replace"))) as limits:
            _refuse_unknown(name, arguments, text, known)
            meant = _PINNED.get(name, _as_it_is)(arguments, access.bound_id)
            result = await super().call_tool(name, meant, context)
            return fitted(result, limits.answer_kb << 10) if limits and isinstance(result, CallToolResult) else result


def _terse(schema: JsonValue) -> JsonValue:
    """Return a JSON schema without titles made from names, and without defaults that mean absence."""
    if isinstance(schema, list):
        return [_terse(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: value for key, value in schema.items() if not (key == "title" and isinstance(value, str)) and (key, value) != ("default", None)
    }
    return {
        key: {name: _terse(part) for name, part in value.items()} if _is_named(value, key) else _terse(value) for key, value in kept.items()
    }


def _or_error(schema: JsonValue) -> JsonValue:
    """Return the schema of a result as one that admits the error envelope too: some clients check the answer of a failed call as well, and
    would show what the schema misses instead of what went wrong."""
    if not isinstance(schema, dict) or not isinstance(properties := schema.get("properties"), dict):
        return schema
    either: list[JsonValue] = [{"required": schema.get("required", [])}, {"required": ["error"]}]
    kept = {key: value for key, value in schema.items() if key != "required"}
    return {**kept, "properties": {**properties, "error": _error_schema()}, "anyOf": either}


@cache
def _error_schema() -> JsonValue:
    return _terse(ErrorBody.model_json_schema())


def _is_named(value: JsonValue, key: str) -> TypeGuard[dict[str, JsonValue]]:
    """Return whether the keys of a schema's part are names of ours, not words of JSON Schema."""
    return key in ("properties", "$defs") and isinstance(value, dict)


def _refuse_unknown(tool: str, arguments: dict[str, Any], text: str, known: Sequence[str]) -> None:
    if holds_half(text):
        raise InvalidArgument(f"{tool}: an argument holds half of a character (a lone surrogate). Nothing was done.", "Send valid Unicode.")
    for argument in arguments:
        if argument not in known:
            raise InvalidArgument(
                f"{tool} has no argument '{argument[:100]}'.{likely(argument, known)} Nothing was done.",
                f"It takes: {', '.join(known) or 'none'}.",
            )


_KINDS = ("constrained-", "list[")
"""Words of pydantic's, in the place of a value, for the kind that it was taken for."""


def _misfit(tool: str, error: ValidationError) -> InvalidArgument:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    # Of what may be of several kinds, pydantic says of each why it is not: that it is of another kind says the least.
    of_one = [each for each in found if each["loc"][:1] == found[0]["loc"][:1]]
    first = next((each for each in of_one if each["type"] not in ("string_type", "list_type")), of_one[0])
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith(_KINDS))
    return InvalidArgument(f"{tool}: {where}: {first['msg']}. Nothing was done.", "See the tool's input schema.", argument=where)


def _as_it_is(arguments: dict[str, Any], bound: str) -> dict[str, Any]:
    return arguments


def _with(name: str, many: bool = False) -> Callable[[dict[str, Any], str], dict[str, Any]]:
    """Return what fills an argument that was left out with the one workspace that a client is bound to, if it is to one."""
    return lambda arguments, bound: {name: [bound] if many else bound, **arguments} if bound else arguments


_PINNED = {
    "clone": _with("source"),
    "compare": _with("workspaces", many=True),
    "merge": _with("source"),
    "check": _with("workspaces", many=True),
    "checkpoint": _with("workspace"),
    "restore": _with("workspace"),
}
Kind = TypeVar("Kind", bound=Server)
_SAME = CacheHint(ttl_ms=3_600_000, scope="public")
_FRESH: Mapping[CacheableMethod, CacheHint] = {
    **dict.fromkeys(("server/discover", "tools/list", "prompts/list", "resources/templates/list"), _SAME),
    "resources/list": CacheHint(ttl_ms=2_000, scope="private"),
    "resources/read": CacheHint(ttl_ms=0, scope="private"),
}
"""How long clients may keep an answer: what is the same for everybody an hour, a list of what is there until it may have changed."""


def create(settings: Settings) -> Server:
    """Return the server with all its tools, ready to run on any transport."""
    if settings.conformance:
        from workspaces.server.fixtures import furnished

        return furnished(settings)
    return built(settings, Server)


def built(settings: Settings, kind: type[Kind], patience: Patience = moment) -> Kind:
    """Return a server of a kind, with the tools."""
    ending, bus = Ending(), InMemorySubscriptionBus()
    # Tasks are in this process's memory: where any of several servers answers, another would not know them.
    tasks = None if settings.hosting.stateless else Tasks(Jobs(ending), patience)
    server = kind(
        name="workspaces",
        title="Workspaces",
        description="Private snapshots of one repository or folder for parallel agents: clone, compare, merge, delete",
        instructions=INSTRUCTIONS,
        version=version("mcp-workspaces"),
        icons=[icon(BRANCH)],
        log_level="WARNING",
        cache_hints=_FRESH,
        subscriptions=bus,
        request_state_security=sealing(settings.trust.parent if settings.trust else None),
        extensions=[views(), tasks] if tasks else [views()],
    )
    server.ending, server.jobs = ending, tasks.jobs if tasks else None
    server.who, server.admission, server.hosting = _who(settings), Admission(settings.project), settings.hosting
    desk = Desk(settings.project, settings.allowed, settings.actor, settings.trust, settings.environment)
    if tasks:
        server.last(tasks)
    server.middleware.append(Auditing(server.who, desk.home))
    tools = Tools(desk, server.who, server.ending)
    tools.register(server)
    prompts.register(server)
    server.shelf = Shelf(desk, server.who, server.ending, bus)
    server.shelf.register(server, server, not settings.hosting.stateless)
    return server


def _who(settings: Settings) -> Who:
    """Return what says who makes a call: the bearer of a token where the server asks for one, else always the person who started it."""
    person = replace(PERSON, name=settings.actor)

    def who(ctx: Context[object, object]) -> Access:
        return bearer(ctx) if settings.address and settings.guard.asks else person

    if not settings.pinned:
        return who
    only = Project.initialize(settings.project or Path(), trust=settings.trust).find(settings.pinned)
    return lambda ctx: who(ctx).bound_to(only)


def serve(settings: Settings) -> None:
    """Run until the client hangs up (stdio) or a signal comes. stdout carries nothing but the protocol; everything else goes to stderr."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, force=True)
    server = create(settings)
    settle()
    if settings.address:
        anyio.run(transports.http, server, settings.address, settings.guard, settings.hosting, server.ending, server.close)
    else:
        anyio.run(transports.stdio, server)


def settings_from(
    project: str,
    allow: Sequence[str],
    http: str = "",
    actor: str = "",
    pinned: str = "",
    guard: Guard | None = None,
    where: Hosting = ALONE,
    conformance: bool = False,
) -> Settings:
    """Work out the settings: the project is what was asked for, else what the environment names, else the working directory.

    Over HTTP, a working directory that is no project is none that callers may make one of.
    """
    asked = project or os.environ.get("WORKSPACES_PROJECT") or os.environ.get("CLAUDE_PROJECT_DIR") or ""
    try:
        folder = Path(asked or ".").resolve()
    except FileNotFoundError:
        raise NoProject(
            "The working directory is gone.", "Start the server in a folder that is there, or name one with --project."
        ) from None
    found = _root(folder)
    if asked and found is None:
        raise InvalidArgument(f"{folder} is in no project.", "Run workspaces init there first, or name another with --project.")
    allowed = tuple(Path(path).resolve() for path in allow) or ((found,) if found else () if http or where.address else (folder,))
    return Settings(found, allowed, http, actor, pinned, guard or guarded(where), place(os.environ), os.environ, where, conformance)


def guarded(where: Hosting = ALONE, issuer: str = "", public: str = "") -> Guard:
    """Return who is asked for a token: nobody where a platform decides who calls."""
    return Guard() if where.by_platform else Guard(tokens.place(os.environ), issuer, public)


def _root(folder: Path) -> Path | None:
    from workspaces.backend import find

    try:
        return find(folder).root
    except WorkspacesError:
        return None


def main() -> None:
    """Start the server: `mcp-workspaces` is `workspaces serve`."""
    import argparse

    parser = argparse.ArgumentParser(prog="mcp-workspaces", description="Workspaces as an MCP server, on stdio or HTTP.")
    parser.add_argument(
        "--project", default="", help="the repository or folder to work on (default: WORKSPACES_PROJECT, CLAUDE_PROJECT_DIR, here)"
    )
    parser.add_argument("--allow", action="append", default=[], metavar="PATH", help="a folder that may be touched (default: the project)")
    parser.add_argument("--http", default="", metavar="[HOST:]PORT", help="speak Streamable HTTP at /mcp instead of stdio")
    parser.add_argument("--workspace", default="", metavar="ID", help="the one workspace to serve, with what is cloned from it")
    parser.add_argument(
        "--issuer", default="", metavar="URL", help="whose access tokens count over HTTP (OAuth 2.1), beside those of workspaces token"
    )
    parser.add_argument(
        "--public-url", default="", metavar="URL", help="the address that HTTP clients use, where it is another than [HOST:]PORT"
    )
    parser.add_argument("--stateless", action="store_true", help="keep no sessions: any server for the project answers any call")
    parser.add_argument("--agentcore", default="", metavar="platform|tokens", help=AGENTCORE_HELP)
    parser.add_argument("--version", action="version", version=version("mcp-workspaces"))
    asked = parser.parse_args()
    try:
        where = hosting(asked.http, asked.stateless, asked.agentcore)
        guard = guarded(where, asked.issuer, asked.public_url)
        serve(settings_from(asked.project, asked.allow, asked.http, pinned=asked.workspace, guard=guard, where=where))
    except WorkspacesError as error:
        sys.exit(f"mcp-workspaces: {error.message} {error.hint}")
