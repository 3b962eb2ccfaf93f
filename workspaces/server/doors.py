"""The door of the HTTP server: which addresses may be served, to whom, under which names, and who is let in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from workspaces.errors import InvalidArgument, NotAllowed
from workspaces.server.callers import SCOPES, Unreachable, Verifier
from workspaces.server.hosting import is_loopback
from workspaces.tokens import Tokens

_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound


_URL = TypeAdapter(AnyHttpUrl, config=ConfigDict(url_preserve_empty_path=True, defer_build=True))
"""An issuer is compared letter by letter: no slash may be added to it."""


@dataclass
class Guard:
    """Who is asked for a token: everybody, as soon as there is a file of tokens or an issuer, and from then on. `public` is the address that
    clients use."""

    tokens: Path | None = None
    issuer: str = ""
    public: str = ""
    _asked: bool = False

    @property
    def asks(self) -> bool:
        self._asked = self._asked or bool(self.issuer) or (self.tokens is not None and self.tokens.exists())
        return self._asked

    def refuse_unsafe(self, host: str, is_called_by_others: bool = False) -> None:
        """Raise `NotAllowed` for an address that may not be served. Behind a platform it is called by names that are not ours."""
        if self.public and (urlsplit(self.public).scheme not in ("http", "https") or not urlsplit(self.public).netloc):
            raise InvalidArgument(f"{self.public!r} is no address of a server.", "Give --public-url as https://HOST[:PORT].")
        if self.tokens is not None:
            Tokens(self.tokens).book()
        if is_loopback(host):
            return
        if not self.asks:
            raise NotAllowed(
                f"{host} is not a loopback address, and without tokens this server cannot tell who connects.",
                "Make one with workspaces token create, or name an --issuer; or use 127.0.0.1, and a tunnel for other machines.",
            )
        if host in _ANYWHERE and not self.public and (self.issuer or not is_called_by_others):
            raise NotAllowed(f"{host} is every address of this machine, and none that clients use.", "Name that with --public-url.")

    def security(self, host: str, port: int) -> TransportSecuritySettings:
        """Return under which names the server may be called, and from pages of which origins."""
        shown = f"[{host}]" if ":" in host else host
        names = [f"{name}:{port}" for name in dict.fromkeys(("127.0.0.1", "localhost", "[::1]", shown))]
        origins = [f"http://{name}" for name in names]
        if self.public:
            parts = urlsplit(self.public)
            names, origins = [*names, parts.netloc], [*origins, f"{parts.scheme}://{parts.netloc}"]
        return TransportSecuritySettings(allowed_hosts=names, allowed_origins=origins)

    def door(self, app: ASGIApp, security: TransportSecuritySettings, address: str) -> Door:
        """Return the app behind its door. `address` is where it is served."""
        resource = f"{self.public.rstrip('/') or address}/mcp"
        return Door(app, security, self, AnyHttpUrl(resource))

    def verifier(self, resource: str) -> TokenVerifier:
        """Return what tells whose a token is."""
        tokens = Tokens(self.tokens or Path(os.devnull))
        if not self.issuer:
            return Verifier(tokens)
        from workspaces.server.issuers import Issuer

        return Verifier(tokens, Issuer(self.issuer, resource))


class Door:
    """Lets in who calls under a name of this server, from nowhere or a page of its own, and where there are tokens with one: on every path."""

    def __init__(self, app: ASGIApp, security: TransportSecuritySettings, guard: Guard, resource: AnyHttpUrl) -> None:
        self._app, self._guard, self._names = app, guard, TransportSecurityMiddleware(security)
        place = build_resource_metadata_url(resource) if guard.issuer else None
        asking = AuthContextMiddleware(RequireAuthMiddleware(app, SCOPES[:1], place))
        self._asking = AuthenticationMiddleware(asking, backend=BearerAuthBackend(guard.verifier(str(resource))))
        self._place = urlsplit(str(place)).path if place else ""
        issuers = [_URL.validate_python(guard.issuer)] if guard.issuer else []
        self._metadata = Router(create_protected_resource_routes(resource, issuers, SCOPES) if issuers else [])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None
        if refusal := await self._names.validate_request(Request(scope)):
            return await refusal(scope, receive, send)
        if scope["path"] == self._place:
            return await self._metadata(scope, receive, send)
        if not self._guard.asks:
            return await self._app(scope, receive, send)
        try:
            return await self._asking(scope, receive, send)
        except Unreachable:
            return await _unknowable()(scope, receive, send)


def _unknowable() -> JSONResponse:
    """Return the answer where nobody can say now whether a token counts: it may, so it is not refused."""
    error = {
        "code": -32000,
        "message": "The issuer of the token does not answer, so it cannot be checked now. Nothing was done; call again.",
    }
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, 503, {"Retry-After": "3"})
