"""Asking the person, through the client, whether what `workspaces.toml` names may run: where the client can, else the call says who can be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated
from weakref import WeakKeyDictionary

from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, MCPServer, Resolve
from pydantic import BaseModel, Field

from workspaces.asked import Asked
from workspaces.errors import WorkspacesError
from workspaces.model import Trust
from workspaces.project import Project
from workspaces.server.calls import in_thread
from workspaces.server.reporting import can_ask

Ctx = Context[object, object]
Opened = Callable[[Ctx], Callable[..., Project]]
"""What opens, for whoever makes a call, the project of the workspaces that it names."""
_opened: WeakKeyDictionary[MCPServer[object], Opened] = WeakKeyDictionary()
_NOTHING = Trust(summary="")
_MOST = 2000


class Consent(BaseModel):
    """What a person answers."""

    allow: bool = Field(description="let exactly these commands run, until one of them changes")


def ask_for(server: MCPServer[object], opened: Opened) -> None:
    """Let calls to a server ask for the projects that are opened for them."""
    _opened[server] = opened


async def shown(ctx: Ctx, workspaces: list[str]) -> Trust:
    """Return what the person is to be shown: nothing where nothing is to be asked, or nobody can be."""
    return await _shown(ctx, workspaces, None)


async def shown_to_merge(ctx: Ctx, source: str | list[str], target: str, require: list[str]) -> Trust:
    """Return what the person is to be shown before a merge that would run it."""
    asked = Asked(source, target, require=require)
    return await _shown(ctx, [*asked.sources, *([target] if target else [])], asked)


async def _shown(ctx: Ctx, workspaces: Sequence[str], asked: Asked | None) -> Trust:
    capabilities = ctx.client_capabilities
    if capabilities is None or capabilities.elicitation is None or not can_ask():
        return _NOTHING
    try:
        at = _opened[ctx.mcp_server](ctx)
        return await in_thread(lambda: at(*workspaces).unasked(asked) or _NOTHING)
    except WorkspacesError:
        return _NOTHING  # the call itself says what is wrong


async def answered(it: Annotated[Trust, Resolve(shown)]) -> Consent | Elicit[Consent]:
    return _question(it)


async def answered_to_merge(it: Annotated[Trust, Resolve(shown_to_merge)]) -> Consent | Elicit[Consent]:
    return _question(it)


def _question(it: Trust) -> Consent | Elicit[Consent]:
    """Ask, with all that would run in the question: an answer holds for the very question that was shown."""
    if not it.fingerprint:
        return Consent(allow=False)
    lines = [f"{each.name} {each.setting}: {ascii(each.command)[1:-1]}" for each in it.programs]
    text = "\n".join(lines)
    if len(text) > _MOST:
        return Consent(allow=False)
    again = " They changed since they were last allowed." if it.changed else ""
    return Elicit(f"{it.summary}{again} Let exactly these run?\n{text}\n(fingerprint {it.fingerprint[:16]})", Consent)


Shown = Annotated[Trust, Resolve(shown)]
Answer = Annotated[ElicitationResult[Consent], Resolve(answered)]
ShownToMerge = Annotated[Trust, Resolve(shown_to_merge)]
AnswerToMerge = Annotated[ElicitationResult[Consent], Resolve(answered_to_merge)]


def take(at: Project, shown: Trust, answer: ElicitationResult[Consent]) -> None:
    """Let run what the person was shown, if that is what was answered."""
    if shown.fingerprint and isinstance(answer, AcceptedElicitation) and answer.data.allow:
        at.trust_checks(shown.fingerprint)
