"""Who may call over HTTP: the tokens that a person made, and the workspaces that were granted to somebody, in a file of the person's own.

Of a token only its hash is kept. It is 256 random bits, so that nobody guesses it, and a fast hash is as good as a slow one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workspaces import private
from workspaces.access import Access
from workspaces.errors import Exists, InvalidArgument, NotAllowed, NotFound, likely
from workspaces.model import Role, TokenShown, Workspace, now
from workspaces.trust import place as trust_place

PREFIX = "wsp_"
"""What every token begins with, so that one which leaked is found by who looks for such things."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST = timedelta(days=3660)


def place(environment: Mapping[str, str]) -> Path:
    """Return the file in the person's own configuration folder."""
    return trust_place(environment).with_name("tokens.json")


def caller(name: str) -> str:
    """Return who calls with the token of a name, as the log and `owner` have it."""
    return f"token:{name}"


class Token(BaseModel):
    """What is kept of a token."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    name: str
    digest: str
    role: Role
    projects: tuple[str, ...]
    created: datetime
    expires: datetime | None = None
    bound: str = Field(default="", description="uid of the one workspace that it is for")
    bound_id: str = ""

    @property
    def is_over(self) -> bool:
        return self.expires is not None and self.expires <= now()

    @property
    def shown(self) -> TokenShown:
        return TokenShown(
            name=self.name, role=self.role, projects=self.projects, created=self.created, expires=self.expires, workspace=self.bound_id
        )


class Book(BaseModel):
    """All that the file says. `granted` are uids of workspaces, by who may see and change them."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    tokens: tuple[Token, ...] = ()
    granted: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])

    def of(self, secret: str) -> Token | None:
        """Return the token that a secret is, unless it is over. It takes as long for every secret."""
        digest, found = _digest(secret), None
        for each in self.tokens:
            if hmac.compare_digest(each.digest, digest):
                found = each
        return None if found is None or found.is_over else found

    def access(self, token: Token) -> Access:
        """Return what who has a token may."""
        name = caller(token.name)
        bound = frozenset([token.bound] if token.bound else [])
        return Access(token.role, name, token.projects, self.granted_to(name), bound, token.bound_id)

    def granted_to(self, name: str) -> frozenset[str]:
        return frozenset(self.granted.get(name, ()))


@dataclass
class Tokens:
    """The file. What others change about it counts from the next look on."""

    file: Path
    _known: tuple[tuple[int, ...], Book] = field(default=((), Book()), repr=False)

    @property
    def exist(self) -> bool:
        """Whether any were ever made here."""
        return self.file.exists()

    def book(self) -> Book:
        """Return what the file says. Raises `NotAllowed` where it cannot be trusted, or makes no sense."""
        try:
            found = self.file.stat()
        except FileNotFoundError:
            return Book()
        seal = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
        if self._known[0] != seal:
            self._known = (seal, self._read())
        return self._known[1]

    def _read(self) -> Book:
        text = private.read(self.file)
        if text is None:
            raise NotAllowed(f"{self.file} could have been written by somebody else. Nothing was done.", "Make it yours, with mode 0600.")
        try:
            return Book.model_validate_json(text)
        except ValidationError:
            raise NotAllowed(f"{self.file} is damaged. Nothing was done.", "Mend it, or move it away and make new tokens.") from None

    def create(self, name: str, role: Role, projects: Sequence[str], days: float, bound: Workspace | None = None) -> tuple[Token, str]:
        """Make a token that is over after so many days, or with 0 never. Returns it, and the secret, which is nowhere else."""
        if not _NAME.fullmatch(name):
            raise InvalidArgument(
                f"{name[:70]!r} cannot name a token. Nothing was made.", "Use up to 64 letters, digits, '.', '_' and '-'."
            )
        if not 0 <= days <= _LONGEST.days:
            raise InvalidArgument(f"{days} days cannot be a term. Nothing was made.", f"It goes from 0 (for ever) to {_LONGEST.days}.")
        secret = PREFIX + secrets.token_urlsafe(32)
        made = Token(
            name=name,
            digest=_digest(secret),
            role=role,
            projects=tuple(projects),
            created=now(),
            expires=now() + timedelta(days=days) if days else None,
            bound=bound.uid if bound else "",
            bound_id=bound.id if bound else "",
        )
        with private.changing(self.file):
            book = self.book()
            if any(each.name == name for each in book.tokens):
                raise Exists(
                    f"There is a token named '{name}'. Nothing was made.", f"Choose another name, or first: workspaces token revoke {name}."
                )
            self._write(book.model_copy(update={"tokens": (*book.tokens, made)}))
        return made, secret

    def revoke(self, name: str) -> Token:
        """Remove a token; whoever has it is refused from the next call on. What was granted to that name stays with it."""
        with private.changing(self.file):
            book = self.book()
            gone = self._named(book, name)
            self._write(book.model_copy(update={"tokens": tuple(each for each in book.tokens if each is not gone)}))
        return gone

    def grant(self, name: str, uid: str, take_back: bool = False) -> None:
        """Let somebody see a workspace (or with `*` all), and change it as far as the role goes; or no longer. Granting it again changes nothing."""
        with private.changing(self.file):
            book = self.book()
            kept = [each for each in book.granted.get(name, ()) if each != uid]
            granted = {**book.granted, name: (*kept, *([] if take_back else [uid]))}
            self._write(book.model_copy(update={"granted": {who: uids for who, uids in granted.items() if uids}}))

    def named(self, name: str) -> Token:
        """Return the token of a name. Raises `NotFound`."""
        return self._named(self.book(), name)

    def _named(self, book: Book, name: str) -> Token:
        found = next((each for each in book.tokens if each.name == name), None)
        if found is None:
            names = [each.name for each in book.tokens]
            raise NotFound(
                f"There is no token {name[:70]!r}. There are: {', '.join(names) or 'none'}.{likely(name, names)}",
                "workspaces token list shows them.",
            )
        return found

    def _write(self, book: Book) -> None:
        private.write(self.file, book.model_dump_json(indent=1) + "\n")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
