"""What a server answers about resources: which there are, what one holds, what would complete a name, and who is told of changes."""

from __future__ import annotations

from collections.abc import Callable

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.types import CompleteRequestParams, CompleteResult, ListResourcesResult, PaginatedRequestParams

from workspaces.server import completion, resources
from workspaces.server.callers import Who
from workspaces.server.calls import in_thread
from workspaces.server.desk import Desk
from workspaces.server.ending import Ending
from workspaces.server.resources import Projects
from workspaces.server.updates import Answers, Updates
from workspaces.server.views import SCHEME

Request = ServerRequestContext[object, object]


class Shelf:
    """The resources of one server, over the projects on its desk; `who` says who asks."""

    def __init__(self, desk: Desk, who: Who, ending: Ending, bus: InMemorySubscriptionBus) -> None:
        self._desk, self._who = desk, who
        self._updates = Updates(self._projects, ending, bus)

    def register(self, server: MCPServer[object], answers: Answers, has_sessions: bool) -> None:
        """Offer the resources."""
        resources.register(server)
        self._standing = server.list_resources
        answers.answer("resources/list", PaginatedRequestParams, self.listed)
        answers.answer("completion/complete", CompleteRequestParams, self.complete)
        self._updates.register(answers, has_sessions)
        server.middleware.insert(0, self._updates)  # outside of what traces a message: a session lasts

    async def listed(self, ctx: Request, params: PaginatedRequestParams) -> ListResourcesResult:
        """Return what there is for a caller, but for views: hosts find these by their tools."""
        projects, before = self._projects(ctx), [each for each in await self._standing() if not each.uri.startswith(SCHEME)]
        found, uris = await in_thread(lambda: resources.page(before, projects(), params.cursor or ""))
        self._updates.listed(ctx, uris)
        return found

    async def read(self, ctx: Context[object, object], uri: str) -> list[ReadResourceContents]:
        """Return what a resource of ours holds."""
        return await resources.read(self._projects(ctx.request_context), uri, ctx.protocol_version)

    async def complete(self, ctx: Request, params: CompleteRequestParams) -> CompleteResult:
        """Return what completes an argument."""
        access = self._who(Context(request_context=ctx))
        return CompleteResult(completion=await completion.completed(self._projects(ctx), lambda: self._desk.project(access), params))

    def _projects(self, ctx: Request) -> Callable[[], Projects]:
        access = self._who(Context(request_context=ctx))
        return lambda: self._desk.projects(access)
