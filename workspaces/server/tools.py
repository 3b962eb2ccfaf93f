"""The tools: what a model reads of each, and the one call on the core that it makes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, Literal

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field, JsonValue

from workspaces.asked import Asked
from workspaces.errors import WorkspacesError
from workspaces.model import (
    MAIN,
    MAX_LEASE,
    CheckDetail,
    Checked,
    Checkpointed,
    Children,
    Cloned,
    Comparison,
    Deleted,
    Detail,
    History,
    Initialized,
    MergeResult,
    OnConflict,
    Restored,
    Status,
)
from workspaces.project import Project
from workspaces.server.callers import Who
from workspaces.server.calls import answer, in_thread
from workspaces.server.consent import Answer, AnswerToMerge, Shown, ShownToMerge, ask_for, take
from workspaces.server.desk import Desk
from workspaces.server.ending import Ending
from workspaces.server.reporting import Reporter, longest
from workspaces.server.views import SHOWN

Ctx = Context[object, object]
Name = Annotated[str, Field(description="id, bare name or absolute path of a workspace", max_length=4096)]
_ROUTED: dict[str, JsonValue] = {"x-mcp-header": "Workspace"}
"""Since 2026-07-28 clients repeat such an argument in the header `Mcp-Param-Workspace`, by which a gateway can find the node of a workspace, and
the SDK refuses a request in which the two differ. Only for arguments that are one text: merge's source may be several, so there it is the target."""
One = Annotated[str, Field(description="id, bare name or absolute path of a workspace", max_length=4096, json_schema_extra=_ROUTED)]
Names = Annotated[list[Name], Field(description="ids or names", min_length=1, max_length=256)]
Paths = Annotated[
    list[Annotated[str, Field(max_length=4096)]], Field(description="files or folders, relative to the workspace", max_length=1000)
]
Text = Annotated[str, Field(max_length=10_000)]
Key = Annotated[str, Field(description="any string; repeated with it, the call returns its first result and does nothing", max_length=200)]

_ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_CHANGES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False)
_MAKES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_REMOVES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)


_JUDGES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
_ANSWER = 45.0
"""Seconds after which a call answers that has to wait for checks: clients give up after 60."""


class Tools:
    """The tools of one server, over the projects on its desk; `who` says who makes a call."""

    def __init__(self, desk: Desk, who: Who, ending: Ending) -> None:
        self._desk, self._who, self._ending = desk, who, ending

    def register(self, server: MCPServer[object]) -> None:
        """Offer the tools in the order in which they are used."""
        ask_for(server, self.at)
        offered: list[tuple[Callable[..., object], str, ToolAnnotations]] = [
            (self.initialize, "Make a folder a project", _MAKES),
            (self.clone, "Clone private workspaces", _ADDS),
            (self.compare, "Compare workspaces", _READS),
            (self.merge, "Merge a workspace", _CHANGES),
            (self.delete, "Delete workspaces", _REMOVES),
            (self.status, "Show the workspaces", _READS),
            (self.check, "Run the checks", _JUDGES),
            (self.checkpoint, "Keep a restore point", _ADDS),
            (self.restore, "Restore a workspace", _CHANGES),
        ]
        for tool, title, hints in offered:
            meta = SHOWN if tool == self.compare else None
            server.add_tool(tool, title=title, description=" ".join((tool.__doc__ or "").split()), annotations=hints, meta=meta)

    async def initialize(
        self,
        ctx: Ctx,
        path: Annotated[
            str, Field(description="a git repository, or any other folder; relative to the server's project", max_length=4096)
        ] = ".",
        backend: Annotated[str, Field(description="auto (git: worktree, else: directory), or an installed one", max_length=100)] = "auto",
        name: Annotated[str, Field(description="name of the project; default: its folder's", max_length=100)] = "",
    ) -> Annotated[CallToolResult, Initialized]:
        """Make a git repository or a folder a project and return its main workspace. Changes no file; calling it again returns the same project.
        Needed only for a folder, and for another repository than the one that the server was started for."""
        access = self._who(ctx)
        return await answer(ctx, lambda report: self._desk.initialize(access, path, backend, name, report))

    async def clone(
        self,
        ctx: Ctx,
        source: Annotated[Name, Field(description="workspace to copy: main, or any other", json_schema_extra=_ROUTED)] = MAIN,
        count: Annotated[int, Field(description="how many", ge=1, le=256)] = 1,
        name: Annotated[str, Field(description="name; with count > 1 name-1 … name-N; default: made from the task", max_length=100)] = "",
        task: Annotated[str, Field(description="what the work is for; becomes the commit's subject when merged", max_length=2000)] = "",
        labels: Annotated[list[Annotated[str, Field(max_length=100)]], Field(description="free tags", max_length=20)] = [],  # noqa: B006 - never changed; a schema default
        include_uncommitted: Annotated[bool, Field(description="take along what is uncommitted and untracked")] = True,
        lease_seconds: Annotated[
            int, Field(description="abandoned when no call names it for so long; never deleted by itself; 0: never", ge=0, le=MAX_LEASE)
        ] = 0,
        request_key: Key = "",
    ) -> Annotated[CallToolResult, Cloned]:
        """Make private copies of a workspace, one for each agent or attempt. Edit only inside of the returned `location`; no commit is
        needed. Uncommitted and untracked files are carried along, and the ignored ones that .worktreeinclude names. A workspace is kept
        until it is deleted; its id stays valid across sessions."""
        return await self._run(
            ctx,
            lambda at, report: at.clone(source, count, name, task, labels, include_uncommitted, report, lease_seconds, request_key),
            source,
        )

    async def compare(
        self,
        ctx: Ctx,
        workspaces: Names,
        base: Annotated[Name, Field(description="compare with this workspace or restore point (name@N) instead of the parent")] = "",
        detail: Annotated[Detail, Field(description="summary first, then the next; ranking: which to take, and why")] = "summary",
        paths: Annotated[
            Paths, Field(description="only these files, or folders with all in them (no patterns); not for summary and ranking")
        ] = [],  # noqa: B006
        cursor: Annotated[str, Field(description="next_cursor of the page before", max_length=100)] = "",
        max_chars: Annotated[
            int,
            Field(
                description="size of a page as JSON; longer only where one item, or what the first page says of each workspace, is",
                ge=500,
                le=100_000,
            ),
        ] = 20_000,
    ) -> Annotated[CallToolResult, Comparison]:
        """Show what workspaces changed since their base and whether each merges into its parent; of several, also which pairs conflict,
        which are identical and which go together. Reads only: files, index and history stay as they are. A against B is
        compare(workspaces=[A], base=B)."""
        names = [*workspaces, *([base.partition("@")[0]] if base else [])]
        return await self._run(ctx, lambda at, report: at.compare(workspaces, base, detail, paths, cursor, max_chars, report), *names)

    async def merge(
        self,
        ctx: Ctx,
        shown: ShownToMerge,
        consent: AnswerToMerge,
        source: Annotated[
            Name | Names,
            Field(description="workspace whose changes are brought; of several, each on top of the ones before, with a result each"),
        ],
        target: Annotated[
            Name, Field(description="workspace that receives them; default: the source's parent", json_schema_extra=_ROUTED)
        ] = "",
        on_conflict: Annotated[
            OnConflict,
            Field(
                description="abort: report and change nothing; source or target: that side wins; union: the lines of both; markers: write them, not into main"
            ),
        ] = "abort",
        history: Annotated[
            History,
            Field(description="squash: one commit; merge: a merge commit; rebase: the source's commits replayed; none: leave uncommitted"),
        ] = "squash",
        message: Annotated[Text, Field(description="commit message; default: the source's task")] = "",
        paths: Annotated[Paths, Field(description="bring only these files or folders")] = [],  # noqa: B006
        dry_run: Annotated[bool, Field(description="only tell what would happen")] = False,
        delete_source: Annotated[bool, Field(description="delete the source when merged (restorable)")] = False,
        if_target: Annotated[str, Field(description="snapshot id that the target must still have", max_length=100)] = "",
        require: Annotated[list[Annotated[str, Field(max_length=64)]], Field(description="checks that the merged contents must pass")] = [],  # noqa: B006
        request_key: Key = "",
    ) -> Annotated[CallToolResult, MergeResult]:
        """Bring a workspace's changes, committed and uncommitted, into its parent or another target: all of them or nothing. Conflicts are
        a result (status "conflicts"), with hunks. To resolve: merge(source=parent, target=workspace, on_conflict="markers"), edit the
        files there, merge again. The same call parent into child brings a workspace up to date. Undo with restore."""
        asked = Asked(source, target, on_conflict, history, message, paths, dry_run, delete_source, if_target, require)
        names, patience = [*asked.sources, *([target] if target else [])], longest(_ANSWER)

        def run(at: Project, report: Reporter) -> MergeResult:
            take(at, shown, consent)
            return at.merge_as(asked, report, request_key, patience)

        return await self._run(ctx, run, *names)

    async def delete(
        self,
        ctx: Ctx,
        workspaces: Names,
        discard_unmerged: Annotated[bool, Field(description="also those with work that is not merged")] = False,
        children: Annotated[Children, Field(description="what happens to clones of a deleted workspace")] = "refuse",
        request_key: Key = "",
    ) -> Annotated[CallToolResult, Deleted]:
        """Remove workspaces. Unmerged work is refused unless discard_unmerged is true. Whatever was there, ignored files included, can be
        brought back with restore until the date in the answer."""
        return await self._run(ctx, lambda at, report: at.delete(workspaces, discard_unmerged, children, report, request_key), *workspaces)

    async def status(
        self,
        ctx: Ctx,
        workspaces: Annotated[list[Name], Field(description="only these; default: all", max_length=256)] = [],  # noqa: B006
        detail: Annotated[
            Literal["names", "summary", "full"],
            Field(description="names: what is remembered, at once; summary: sizes of changes too; full: and bytes on disk, shared or not"),
        ] = "summary",
        include_deleted: Annotated[bool, Field(description="also those that restore can bring back")] = False,
        wait_seconds: Annotated[
            float, Field(description="wait so long for a change, and answer earlier when there is one", ge=0, le=50)
        ] = 0,
    ) -> Annotated[CallToolResult, Status]:
        """Show the tree of workspaces: state, location, task, size of change, how far behind the parent."""
        if wait_seconds:
            with suppress(WorkspacesError):  # what cannot be watched cannot be shown either, and the same is said of it
                at = partial(self.at(ctx), *workspaces)
                await self._changed(at, lambda: at().status(workspaces, "names", include_deleted).revision, wait_seconds)
        return await self._run(ctx, lambda at, report: at.status(workspaces, detail, include_deleted, report), *workspaces)

    async def check(
        self,
        ctx: Ctx,
        shown: Shown,
        consent: Answer,
        workspaces: Names,
        checks: Annotated[list[Annotated[str, Field(max_length=64)]], Field(description="default: all", max_length=64)] = [],  # noqa: B006
        wait: Annotated[bool, Field(description="false: answer at once")] = True,
        timeout_seconds: Annotated[float, Field(description="to wait; more than 45 only as a task", ge=0)] = 600,
        detail: Annotated[CheckDetail, Field(description="diff: where outputs of one check on two workspaces differ")] = "summary",
    ) -> Annotated[CallToolResult, Checked]:
        """Run the project's checks (workspaces.toml) on frozen copies, protected paths as in the base, and the base beside them. Verdicts are
        remembered by contents. What takes longer is "running" and goes on: call status(wait_seconds=50), then check again."""

        seconds = min(timeout_seconds, longest(_ANSWER) or timeout_seconds)

        def run(at: Project, report: Reporter) -> Checked:
            take(at, shown, consent)
            return at.check(workspaces, checks, wait, seconds, detail, progress=report)

        return await self._run(ctx, run, *workspaces)

    async def checkpoint(
        self, ctx: Ctx, workspace: One, label: Annotated[str, Field(description="what to call it", max_length=200)] = ""
    ) -> Annotated[CallToolResult, Checkpointed]:
        """Keep a workspace as it is now as a restore point, named workspace@N."""
        return await self._run(ctx, lambda at, report: at.checkpoint(workspace, label, report), workspace)

    async def restore(
        self,
        ctx: Ctx,
        workspace: One,
        to: Annotated[str, Field(description="restore point name@N; default: the last one", max_length=300)] = "",
    ) -> Annotated[CallToolResult, Restored]:
        """Undo the last merge into a workspace, bring it back to a restore point, or bring a deleted workspace back. What is replaced
        becomes a restore point itself."""
        return await self._run(ctx, lambda at, report: at.restore(workspace, to, report), workspace)

    async def _run(self, ctx: Ctx, call: Callable[[Project, Reporter], Result], *names: str) -> CallToolResult:
        at = self.at(ctx)
        return await answer(ctx, lambda report: call(at(*names), report))

    def at(self, ctx: Ctx) -> Callable[..., Project]:
        """Return what opens the project of some workspaces for whoever makes this call."""
        return partial(self._desk.project, self._who(ctx))

    async def _changed(self, at: Callable[[], Project], seen: Callable[[], int], seconds: float) -> None:
        """Wait until something is written about a project since it was `seen`, or the server ends, at most so long; no thread is held meanwhile."""
        with anyio.move_on_after(seconds):
            before = await in_thread(seen)
            while not self._ending.asked and await in_thread(lambda: at().revision()) == before:
                await anyio.sleep(0.2)


Result = Initialized | Checked | Cloned | Comparison | MergeResult | Deleted | Status | Checkpointed | Restored
