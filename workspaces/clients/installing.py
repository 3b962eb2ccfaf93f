"""Writing this server into a client's configuration, and taking it out: worked out first, shown, then done in one step, and undone byte for byte."""

from __future__ import annotations

import difflib
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from workspaces.backend import find
from workspaces.clients import spliced
from workspaces.clients.files import File, Record, Records, digest, missing
from workspaces.clients.known import CLIENTS, NAME, Client, Here, Start, client, started
from workspaces.clients.program import command
from workspaces.clients.spliced import Broken, Unfit
from workspaces.errors import Exists, InvalidArgument, NotAllowed, Unsupported, WorkspacesError
from workspaces.model import Noun
from workspaces.trust import place
from workspaces.wording import counted

Scope = Literal["user", "project"]
Action = Literal["add", "update", "remove", "none"]
_LONGEST_LINE = 200
_SECRET = re.compile(
    r"""((?:key|token|secret|password|auth\w*|credential\w*)["']?\s*[:=]\s*)("(?:\\.|[^"\\])*"|'[^']*'|[^\s,}]+)""", re.IGNORECASE
)


class Installation(Noun):
    """What is, would be or was changed for one client."""

    client: str
    title: str
    file: str
    scope: Scope = "user"
    found: bool = Field(default=False, description="whether the client seems to be installed here")
    action: Action = "none"
    done: bool = False
    command: tuple[str, ...] = ()
    diff: str = Field(default="", description="what changes in the file; what looks like a secret beside it is blanked")
    problem: str = ""


class Installations(Noun):
    """What is, would be or was changed."""

    summary: str
    clients: tuple[Installation, ...]
    warnings: tuple[str, ...] = ()
    next: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edit:
    """A change that was worked out and not made yet."""

    file: File
    after: bytes | None
    said: Installation
    record: Record | None = None
    """What is kept of it; without one, what was kept is forgotten."""
    emptied: tuple[Path, ...] = ()
    """Folders that go with the file, when nothing else is in them."""


@dataclass(frozen=True)
class Installer:
    """Installing on one machine. `project` names one that the server is always to work on."""

    here: Here
    project: str = ""

    @property
    def records(self) -> Records:
        return Records(place(self.here.environment).with_name("installed"))

    @property
    def start(self) -> Start:
        return command(self.here.environment, self.project)

    def known(self, name: str) -> Client:
        """Return the client of that name. Raises `NotFound`."""
        return client(name)

    def file(self, client: Client, scope: Scope) -> File:
        """Read the file in which a client keeps the servers of a scope. Raises `InvalidArgument` for a scope that it has not."""
        if scope == "user":
            return File.read(client.place(self.here))
        if not client.project:
            raise InvalidArgument(
                f"{client.title} has no configuration for a project. Nothing was changed.", "Install it without --project."
            )
        return File.read(self.here.folder / client.project, within=self.here.folder)

    def entry(self, client: Client, file: File) -> JsonValue:
        """Return what a file says of this server; nothing when it does not. Raises `InvalidArgument` for a file that is broken."""
        with _readable(client, file):
            return spliced.servers(client.form.parse(file.text), client.section).get(NAME)

    def install(self, client: Client, scope: Scope = "user") -> Edit:
        """Work out how the server gets into a client's configuration."""
        file, start = self.file(client, scope), self.start
        old = self.entry(client, file)
        before = started(old)
        if old is not None and (before is None or not before.is_ours):
            raise Exists(
                f"{file.path} has a server '{NAME}' already, which is another program. Nothing was changed.",
                "Rename that one there, and call again.",
            )
        entry = {**(old if isinstance(old, dict) else {}), **client.entry(start.command, start.args)}
        said = self._said(client, scope, file, "none" if entry == old else "update" if old else "add")
        if entry == old:
            return Edit(file, file.data, said, self.records.of(file))
        with _readable(client, file):
            after = spliced.put(client.form, file.text, client.section, NAME, entry).encode()
        return Edit(file, after, said.model_copy(update={"diff": _diff(file, after)}), self._recorded(file, after))

    def uninstall(self, client: Client, scope: Scope = "user") -> Edit:
        """Work out how it gets out again: a file that nobody changed since becomes what it was, byte for byte; of another just ours is taken out."""
        file = self.file(client, scope)
        old = self.entry(client, file)
        if old is None:
            return Edit(file, file.data, self._said(client, scope, file, "none"))
        before = started(old)
        if before is None or not before.is_ours:
            raise NotAllowed(f"The server '{NAME}' in {file.path} is another program. Nothing was changed.", "Remove it there by hand.")
        after, emptied = self._without(client, file)
        said = self._said(client, scope, file, "remove").model_copy(update={"diff": _diff(file, after)})
        return Edit(file, after, said, emptied=emptied)

    def carry_out(self, edit: Edit) -> Installation:
        """Make a change that was worked out. Raises `TargetMoved` when the file is not any more as it was then."""
        if edit.record is not None and edit.said.action != "none":
            self.records.keep(edit.record, edit.file)
        if edit.said.action != "none":
            edit.file.replace(edit.after)
        if edit.record is None:
            self.records.forget(edit.file)
        for folder in edit.emptied:
            _gone(folder)
        return edit.said.model_copy(update={"done": edit.said.action != "none"})

    def look(self, scope: Scope = "user") -> Installations:
        """Say of every client that has the scope whether it is here, and what installing would change."""
        seen = tuple(self._seen(client, scope) for client in CLIENTS if scope == "user" or client.project)
        here = [each for each in seen if each.found]
        has = sum(each.action == "none" and not each.problem for each in here)
        calls = tuple(f"workspaces install {each.client}" for each in here if each.action != "none")
        return Installations(summary=f"{counted(len(here), 'client')} found here; {has} with this server.", clients=seen, next=calls[:3])

    def _seen(self, client: Client, scope: Scope) -> Installation:
        try:
            said = self.install(client, scope).said
        except WorkspacesError as error:
            said = Installation(
                client=client.key, title=client.title, file=str(client.place(self.here)), scope=scope, problem=error.message
            )
        return said.model_copy(update={"found": client.found(self.here)})

    def _said(self, client: Client, scope: Scope, file: File, action: Action) -> Installation:
        words = (self.start.command, *self.start.args)
        return Installation(
            client=client.key, title=client.title, file=str(file.path), scope=scope, found=True, action=action, command=words
        )

    def _recorded(self, file: File, after: bytes) -> Record:
        """Return what to keep: of a file that is as the last installing left it, what it was before that."""
        last = self.records.of(file)
        if last and last.after == digest(file.data):
            return last.model_copy(update={"after": digest(after)})
        before = None if file.data is None else file.text
        made = tuple(map(str, missing(file.target.parent)))
        return Record(file=str(file.path), before=before, after=digest(after), made=made)

    def _without(self, client: Client, file: File) -> tuple[bytes | None, tuple[Path, ...]]:
        record = self.records.of(file)
        with _readable(client, file):
            had = client.form.parse(record.before or "") if record else None
            if record and record.after == digest(file.data) and NAME not in spliced.servers(had or {}, client.section):
                made = tuple(Path(each) for each in reversed(record.made))
                return (None, made) if record.before is None else (record.before.encode(), ())
            whole = had is not None and client.section not in had
            return spliced.drop(client.form, file.text, client.section, NAME, whole).encode(), ()


@contextmanager
def _readable(client: Client, file: File) -> Generator[None]:
    """Let a file that is broken, or in a form that cannot be edited, leave as an error that says where, and what to do by hand."""
    try:
        yield
    except Broken as error:
        hint = f"{client.title} cannot read it either: mend it, and call again."
        raise InvalidArgument(f"{file.path} is broken at {error}. Nothing was changed.", hint) from error
    except Unfit as error:
        raise Unsupported(
            f"{file.path} is written so that '{client.section}' cannot be changed with all else kept. Nothing was changed.",
            "Change it by hand: docs/clients.md says what belongs there.",
        ) from error


def root(folder: Path) -> Path:
    """Return the folder of the project that a folder is in, and outside of projects the folder."""
    try:
        return find(folder).root
    except WorkspacesError:
        return folder


def _gone(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


def _diff(file: File, after: bytes | None) -> str:
    """Return what changes, line by line, without the secrets that stand beside it."""
    old, new = (file.data or b"").decode().splitlines(), (after or b"").decode().splitlines()
    return "\n".join(_shown(difflib.unified_diff(old, new, "before", "after", lineterm="", n=2)))


def _shown(lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number > 1:
            safe = _SECRET.sub(r"\1…", line)
            yield safe if len(safe) <= _LONGEST_LINE else f"{safe[:_LONGEST_LINE]}…"
