"""Where a server runs that others reach: behind a platform that says who may call, and beside servers on other nodes."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address

from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import CallToolResult, InputRequiredResult
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from workspaces.errors import ErrorBody, InvalidArgument
from workspaces.server.calls import refused

_AGENTCORE = "0.0.0.0:8000"
AGENTCORE_HELP = (
    f"serve as the runtime of AWS Bedrock AgentCore asks, on {_AGENTCORE}; platform: its inbound authorization decides who calls; "
    "tokens: ours do (workspaces token), or an --issuer's"
)


@dataclass(frozen=True)
class Hosting:
    """Where a server runs. `node` is told where a workspace may live on another one."""

    address: str = ""
    """The address that a platform asks for, under names of its own."""
    by_platform: bool = False
    """Whether it decides who may call."""
    stateless: bool = False
    node: str = ""


ALONE = Hosting()
UNNAMED = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""Behind a platform: the Host header is its own, and tells nothing."""


class _Failed(BaseModel):
    model_config = ConfigDict(defer_build=True)

    error: ErrorBody = Field(default_factory=lambda: ErrorBody(code="", message=""))


def hosting(http: str, stateless: bool, agentcore: str) -> Hosting:
    """Return where a server runs: alone, one of several of which any answers any call, or in the runtime of AWS Bedrock AgentCore.

    That runtime reaches the server from outside of this machine, so whoever starts it says who decides about callers.
    """
    if not agentcore:
        return Hosting(stateless=stateless, node=socket.gethostname() if stateless else "")
    if http:
        raise InvalidArgument(f"--agentcore serves on {_AGENTCORE}: its runtime asks for that.", "Leave --http out.")
    if agentcore not in ("platform", "tokens"):
        raise InvalidArgument(
            f"--agentcore {agentcore!r} does not say who decides which calls come in: on {_AGENTCORE} others reach this server.",
            "--agentcore platform: AgentCore's inbound authorization decides, and nothing else reaches the port; tokens: our tokens do.",
        )
    return Hosting(_AGENTCORE, by_platform=agentcore == "platform", stateless=True, node=socket.gethostname())


def told_elsewhere(result: CallToolResult | InputRequiredResult, where: Hosting) -> CallToolResult | InputRequiredResult:
    """Return a result. An error about an unknown workspace says where was looked: a workspace lives on the node that made it."""
    if not where.node or not isinstance(result, CallToolResult) or not result.is_error:
        return result
    error = _Failed.model_validate(result.structured_content or {}).error
    if error.code != "not_found" or "workspace" not in error.details:
        return result
    told = f"{error.message} This is node {where.node}, and no other was asked."
    hint = f"A workspace lives on the node that made it, with its files: it may be on another. {error.hint}"
    return refused(error.model_copy(update={"message": told, "hint": hint, "details": {**error.details, "node": where.node}}))


class NoBrowsers:
    """Refuse what a web page sends. Behind a platform the Host header is the platform's, and tells nothing; an Origin is a page's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "origin" in Headers(scope=scope):
            await PlainTextResponse("Invalid Origin header", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine and cannot be reached from others."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
