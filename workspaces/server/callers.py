"""Who a call comes from: the person who started the server, or whoever a bearer token stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context
from starlette.requests import HTTPConnection

from workspaces.access import ROLES, Access
from workspaces.errors import NotAllowed, WorkspacesError
from workspaces.model import Role
from workspaces.tokens import PREFIX, Tokens

if TYPE_CHECKING:
    from workspaces.server.issuers import Issuer

Who = Callable[[Context[object, object]], Access]
_SCOPE = "workspaces:"
SCOPES = [f"{_SCOPE}{role}" for role in ROLES]


class Held(AccessToken):
    """A verified token, with what who has it may."""

    access: Access


class Unreachable(Exception):
    """The issuer does not answer, so nobody can say whether a token counts."""


def nobody(ctx: Context[object, object]) -> Access:
    """Refuse: a server that was not told who may call it serves nobody."""
    raise NotAllowed("This server does not know who calls. Nothing was done.", "Call with a bearer token.")


def bearer(ctx: Context[object, object]) -> Access:
    """Return what the bearer of this very request's token may; a session says nothing about who calls."""
    request = ctx.request_context.request
    user = request.scope.get("user") if isinstance(request, HTTPConnection) else None
    held = user.access_token if isinstance(user, AuthenticatedUser) else None
    return held.access if isinstance(held, Held) else nobody(ctx)


@dataclass(frozen=True)
class Verifier:
    """Tells whose a bearer token is: one of a person's own making, or of an issuer whom the person trusts."""

    tokens: Tokens
    issuer: Issuer | None = None

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            return self._own(token) if token.startswith(PREFIX) else await self._issued(token)
        except (WorkspacesError, OSError):
            return None

    def _own(self, secret: str) -> Held | None:
        book = self.tokens.book()
        if (token := book.of(secret)) is None:
            return None
        access = book.access(token)
        expires = int(token.expires.timestamp()) if token.expires else None
        return Held(token="", client_id=access.name, scopes=_scopes(access.role), expires_at=expires, access=access)

    async def _issued(self, token: str) -> Held | None:
        claims = await self.issuer.claims(token) if self.issuer else None
        if claims is None or self.issuer is None:
            return None
        role = _role(claims.scopes)
        access = Access(role or "read", claims.caller, granted=self.tokens.book().granted_to(claims.caller))
        return Held(
            token="",
            client_id=access.name,
            scopes=_scopes(role) if role else [],
            expires_at=claims.expires,
            subject=claims.subject,
            claims={"iss": self.issuer.url},
            access=access,
        )


def _role(scopes: tuple[str, ...]) -> Role | None:
    """Return the strongest role that scopes name."""
    return next((role for role in reversed(ROLES) if f"{_SCOPE}{role}" in scopes), None)


def _scopes(role: Role) -> list[str]:
    return SCOPES[: ROLES.index(role) + 1]
