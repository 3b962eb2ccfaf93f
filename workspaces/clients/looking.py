"""Whether each client that has this server can start it: every one is started as the client would, from what is really written there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from workspaces.clients.installing import Installer, Scope
from workspaces.clients.known import CLIENTS, Client, Here, Start, started
from workspaces.clients.probing import Probe
from workspaces.doctor import diagnosis
from workspaces.errors import NoProject, NotAProject, WorkspacesError
from workspaces.model import Diagnosis, Finding


@dataclass(frozen=True)
class _Seen:
    """One place where a client has this server, or cannot be read. `start` is what may be started, `named` what is written there."""

    client: Client
    scope: Scope
    where: Path
    start: Start | None = None
    named: Start | None = None
    problem: str = ""
    repair: str = ""
    """What is to be done, where installing it would be refused."""

    def folder(self, here: Here) -> Path:
        """Return where the client starts it: in the project, or nowhere in particular."""
        return Path("/") if self.client.anywhere else here.folder

    def found(self, problem: str) -> Finding:
        scope = " --project" if self.scope == "project" else ""
        said = problem or "starts, and speaks MCP"
        install = f"workspaces install {self.client.key}{scope}"
        hint = f"{install} writes it anew; --undo takes it out."
        if self.named is not None and not self.named.is_ours:
            hint = f"It is another program, which {install} leaves alone: rename it there or take it out by hand, and call that."
        told = said if said.startswith(str(self.where)) else f"{self.where}: {said}"
        return Finding(check=self.client.title, ok=not problem, message=told, repair=(self.repair or hint) if problem else "")


def beside(project: Callable[[], Diagnosis], installer: Installer) -> Diagnosis:
    """Return what the doctor found of a project, and of the clients; of these alone where there is no project."""
    try:
        found = project()
    except (NoProject, NotAProject):
        clients = look(installer)
        if not clients:
            raise
        return diagnosis(clients)
    return diagnosis((*found.findings, *look(installer)), found.repaired)


def look(installer: Installer) -> tuple[Finding, ...]:
    """Say of each client that has this server whether it starts there, and what is wrong. Where none has, nothing is started."""
    seen = list(_everywhere(installer))
    probes = {each: Probe(each.start, installer.here.environment, each.folder(installer.here)) for each in seen if each.start}
    alike = list(dict.fromkeys(probes.values()))
    with ThreadPoolExecutor(max_workers=4) as pool:
        told = dict(zip(alike, pool.map(Probe.problem, alike), strict=True))
    return tuple(each.found(told[probes[each]] if each in probes else each.problem) for each in seen)


def _everywhere(installer: Installer) -> Iterator[_Seen]:
    scopes: tuple[Scope, ...] = ("user", "project")
    for client in CLIENTS:
        for scope in scopes:
            if scope == "user" or client.project:
                yield from _seen(installer, client, scope)


def _seen(installer: Installer, client: Client, scope: Scope) -> Iterator[_Seen]:
    place = client.place(installer.here) if scope == "user" else installer.here.folder / client.project
    try:
        file = installer.file(client, scope)
        entry = installer.entry(client, file)
    except (WorkspacesError, OSError) as error:
        if isinstance(error, WorkspacesError):
            yield _Seen(client, scope, place, problem=error.message.removesuffix(" Nothing was changed."), repair=error.hint)
        else:
            yield _Seen(client, scope, place, problem=f"cannot be read: {error.strerror}", repair="Make it readable, or move it away.")
        return
    if entry is None:
        return
    start = started(entry)
    if start is None:
        by_hand = f"Take it out by hand, and call workspaces install {client.key}."
        yield _Seen(client, scope, place, problem="its entry names no program", repair=by_hand)
    elif scope == "project" and not _harmless(start, installer.start):
        # Who wrote the project's files is not who runs the doctor: only this very program is started from them.
        yield _Seen(client, scope, place, named=start, problem=f"it names {start.command}, which is not this program: not started")
    else:
        yield _Seen(client, scope, place, start, start)


def _harmless(start: Start, ours: Start) -> bool:
    return not start.env and start.args == ours.args and Path(start.command).resolve() == Path(ours.command).resolve()
