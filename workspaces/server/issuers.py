"""Tokens that somebody else issues: JWTs whose signature, issuer, audience and term are checked, by the keys that the issuer publishes.

OAuth 2.1 as MCP has it: the issuer's metadata is found by RFC 8414 (or OpenID Connect Discovery), its keys are a JWK set (RFC 7517), and a token
counts when it was issued for this very server (RFC 8707).
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
import urllib.request
from dataclasses import dataclass, field
from threading import Lock
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workspaces.errors import InvalidArgument
from workspaces.server.callers import Unreachable
from workspaces.server.hosting import is_loopback

logger = logging.getLogger(__name__)
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""By public keys only."""
_LEEWAY = 10
_TIMEOUT = 3
_PAUSE = 2.0
"""Seconds before an issuer that did not answer is asked again."""
_COOLDOWN = 1.0
"""Seconds before its keys are read again for a token that names none of them."""
_LARGEST = 1 << 20
_LONGEST = 16 << 10
_PLAIN = re.compile(r"[\x21-\x7e]{1,100}")


class Claims(BaseModel):
    """What a token says, as far as it matters here."""

    model_config = ConfigDict(frozen=True)

    issuer: str = Field(alias="iss")
    subject: str = Field(alias="sub", min_length=1)
    expires: int = Field(alias="exp")
    scope: str | list[str] = ""
    scp: str | list[str] = ""

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(word for said in (self.scope, self.scp) for word in (said.split() if isinstance(said, str) else said))

    @property
    def caller(self) -> str:
        """Who it is about, as the log and `owner` have it: a subject is somebody's only together with the issuer."""
        subject = self.subject if _PLAIN.fullmatch(self.subject) else "sha256-" + hashlib.sha256(self.subject.encode()).hexdigest()[:32]
        return f"oauth:{subject}@{self.issuer}"


class _Metadata(BaseModel):
    issuer: str
    jwks_uri: str


class _Keys(jwt.PyJWKClient):
    """The keys of an issuer, read anew after five minutes, and when a token names one that is not known. One that does not answer is not asked
    again at once: whoever sends tokens would decide how often."""

    _failed = -_PAUSE

    def __init__(self, place: str) -> None:
        super().__init__(place, timeout=_TIMEOUT, cooldown_duration=_COOLDOWN)

    def known(self, name: str) -> jwt.PyJWK | None:
        """Return a key that was read a short time ago; asks nobody, and waits for nobody who does."""
        read = self.jwk_set_cache.get() if self.jwk_set_cache else None
        return self.match_kid([key for key in read.keys if key.public_key_use in ("sig", None)], name) if read else None

    def fetch_data(self) -> object:
        if time.monotonic() - self._failed < _PAUSE:
            raise jwt.PyJWKClientConnectionError("it did not answer a moment ago")
        try:
            return super().fetch_data()
        except (jwt.PyJWTError, OSError, ValueError) as error:
            self._failed = time.monotonic()
            logger.warning("no keys can be read at %s: %s", self.uri, type(error).__name__)
            raise jwt.PyJWKClientConnectionError(type(error).__name__) from error


@dataclass
class Issuer:
    """One issuer whose tokens count here when they are for `audience`."""

    url: str
    audience: str
    _keys: _Keys | None = None
    _failed: float = -_PAUSE
    _turns: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(4))
    _finding: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        _refuse_unsafe(self.url)

    async def claims(self, token: str) -> Claims | None:
        """Return what a token says, or None where it does not count here. Raises `Unreachable` when the issuer would have to be asked and does not
        answer; who brings a token whose key is known does not wait for that."""
        if len(token) > _LONGEST or token.count(".") != 2:
            return None
        try:
            name = str(jwt.get_unverified_header(token).get("kid", ""))
            known = self._keys.known(name) if self._keys else None
            if known is None:
                known = await anyio.to_thread.run_sync(self._asked_for, name, limiter=self._turns)
            return self._read(token, known)
        except (jwt.PyJWTError, ValueError):
            return None

    def _read(self, token: str, key: jwt.PyJWK) -> Claims:
        read: object = jwt.decode(
            token,
            key,
            algorithms=_ALGORITHMS,
            audience=self.audience,
            issuer=self.url,
            leeway=_LEEWAY,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return Claims.model_validate(read)

    def _asked_for(self, name: str) -> jwt.PyJWK:
        try:
            return self._published().get_signing_key(name)
        except (jwt.PyJWKClientConnectionError, OSError):
            raise Unreachable from None

    def _published(self) -> _Keys:
        """Return the issuer's keys, by what it says of itself. Looked for once; the keys themselves are asked for anew when they change."""
        with self._finding:
            if self._keys is None:
                if time.monotonic() - self._failed < _PAUSE:
                    raise ConnectionError(self.url)
                found = next((read for place in _places(self.url) if (read := _read(place)) is not None and read.issuer == self.url), None)
                if found is None:
                    self._failed = time.monotonic()
                    logger.warning("the issuer %s publishes no metadata of its own", self.url)
                    raise ConnectionError(self.url)
                _refuse_unsafe(found.jwks_uri)
                self._keys = _Keys(found.jwks_uri)
            return self._keys


def _places(url: str) -> list[str]:
    """Return where an issuer's metadata may be (RFC 8414, 3; OpenID Connect Discovery 1.0, 4)."""
    parts = urlsplit(url)
    root, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return [f"{root}/.well-known/oauth-authorization-server{path}", f"{root}{path}/.well-known/openid-configuration"]


class _Straight(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else than it was sent."""

    def redirect_request(self, *args: object, **more: object) -> None:
        return None


def _read(place: str) -> _Metadata | None:
    try:
        with urllib.request.build_opener(_Straight()).open(place, timeout=_TIMEOUT) as answer:
            return _Metadata.model_validate(json.loads(answer.read(_LARGEST)))
    except (OSError, ValueError, ValidationError):
        return None


def _refuse_unsafe(url: str) -> None:
    """Raise for an address at which anybody on the way could answer in the issuer's place."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return
    raise InvalidArgument(f"{url!r} cannot be trusted to be the issuer's.", "Name an https:// address; http:// only on this machine.")
