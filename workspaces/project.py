"""The verbs that users know, on one open project. Every face calls these and nothing below them.

Verbs block, know no event loop and print nothing. `progress` is told at every safe point how far a call is, and may raise `Interrupted` there.
What the operating system refuses anywhere below leaves as an error of ours. Each verb loads its own part, so that one which needs little starts
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from workspaces import backend as backends
from workspaces import config, recovery, requests
from workspaces.access import Access
from workspaces.asked import Asked
from workspaces.audit import Audit
from workspaces.backend import Backend
from workspaces.core import Core, Progress, new_uid, silent
from workspaces.errors import BackendMissing, Exists, NoProject, NotAProject, Unsupported, WorkspacesError, as_ours, once_more
from workspaces.locks import PATIENCE, Locks
from workspaces.model import (
    MAIN,
    Calls,
    CheckDetail,
    Checked,
    Checkpointed,
    Children,
    Cloned,
    Collected,
    Comparison,
    Deleted,
    Detail,
    Diagnosis,
    History,
    Initialized,
    Log,
    MergeResult,
    OnConflict,
    Restored,
    Status,
    Trust,
    Undone,
    Workspace,
    now,
)
from workspaces.naming import project_name
from workspaces.store import ProjectRow, Store, held
from workspaces.telemetry import spanned
from workspaces.trust import Trusted
from workspaces.wording import begin, counted, plain

if TYPE_CHECKING:
    from workspaces.checks import Watch
    from workspaces.looking import Look
    from workspaces.overview import StatusDetail

NO_RULES: Mapping[str, str] = {}
_ANY = ("creating", "live", "deleting", "restoring", "deleted")


class Project:
    """One project with its workspaces. Any number of processes may have it open at once."""

    def __init__(
        self,
        row: ProjectRow,
        backend: Backend,
        actor: str = "",
        patience: float = PATIENCE,
        trust: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        durable = config.known(Path(row.root)).durable
        if not durable:
            backend.relax()
        trusted = Trusted(trust, backend.root)
        backend.trusted = trusted.fingerprint(backend.home)
        store, locks = Store(backend.home / "store.sqlite", durable, patience), Locks(backend.home / "locks", patience)
        self._core = Core(
            row, backend, store, locks, recovery.recover, actor=_named(actor), trusted=trusted, environment=dict(environment or {})
        )

    @classmethod
    @spanned
    @as_ours()
    def initialize(
        cls,
        path: Path,
        backend: str = "auto",
        name: str = "",
        actor: str = "",
        trust: Path | None = None,
        environment: Mapping[str, str] | None = None,
        adopts: bool = True,
    ) -> Project:
        """Make the folder that `path` is in a project, or open it if it is one. Changes no file of the user's. Where it `adopts` no folder, one that is
        no git repository has to be a project already.

        `trust` is the file in which a person's trust is remembered (`trust.place`); without it, no program of the repository's is run.
        `environment` is where checks find their tools (PATH, HOME …); what could open anything in it is not passed on.
        """
        _refuse_missing_kind(path)
        found = backends.choose(path, backend, adopts)
        _refuse_second_kind(found, path)
        found.initialize()
        store = Store(found.home / "store.sqlite")
        known = _known(store, found)
        lost = () if known else found.remains()
        named = lost[0].project if lost else project_name(name or found.root.name)
        project = cls(known or store.add_project(named, str(found.root), found.name), found, actor, trust=trust, environment=environment)
        project._remember_main(store)
        recovery.recover(project._core)
        if lost:
            from workspaces import adoption

            list(adoption.adopt(project._core))
        return project

    @classmethod
    @spanned
    @as_ours()
    def open(
        cls,
        path: Path,
        actor: str = "",
        patience: float = PATIENCE,
        trust: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Project:
        """Open the project that `path` is in. Raises `NoProject` when nobody has initialized it."""
        found = backends.find(path)
        store = Store(found.home / "store.sqlite")
        row = _known(store, found)
        if row is None:
            raise NoProject(f"{found.root} is not a project yet.", "Call initialize (workspaces init) first.")
        project = cls(row, found, actor, patience, trust, environment)
        project._remember_main(store)
        recovery.recover(project._core)
        return project

    def _remember_main(self, store: Store) -> None:
        """Let there be a `main`; whoever made the project may have died before there was."""
        core = self._core
        if store.workspaces(core.row.name, name=MAIN):
            return
        main = Workspace(
            uid=f"{core.row.name}-{MAIN}",
            id=f"{core.row.name}/{MAIN}",
            name=MAIN,
            project=core.row.name,
            location=core.row.root,
            backend=core.row.backend,
            isolation="none",
            state="ready",
            created=now(),
        )
        with core.locks.change(core.key(main)):
            if not store.workspaces(core.row.name, name=MAIN):
                store.save(main)

    def holding(self) -> AbstractContextManager[None]:
        """Keep connections to what is remembered for the time of a block."""
        return self._core.store.holding()

    def seen_by(self, access: Access) -> Project:
        """Return this project as somebody sees it, for calls in that name. What there is of it in another name stays as it was."""
        seen = copy(self)
        seen._core = replace(self._core, access=access, actor=_named(access.name) or self._core.actor)
        return seen

    def called(self, call: str) -> Project:
        """Return this project for one call that has that name; what it does is under it in the log."""
        seen = copy(self)
        seen._core = replace(self._core, call=call)
        return seen

    @property
    def name(self) -> str:
        return self._core.row.name

    @property
    def home(self) -> Path:
        """The folder in which all is that is remembered of it."""
        return self._core.backend.home

    @property
    def root(self) -> Path:
        return Path(self._core.row.root)

    @as_ours()
    def described(self) -> Initialized:
        """Return what `initialize` answers."""
        core = self._core
        core.access.authorise("describe")
        return Initialized(
            summary=f"{self.name} is a project at {core.row.root}, kept by the {core.row.backend} backend.",
            project=self.name,
            workspace=core.main(),
            backend=core.row.backend,
            capabilities=core.backend.capabilities,
            checks=tuple(config.known(self.root).checks),
            next=(begin(core.main().id),),
        )

    # -- the verbs

    @spanned
    @held
    @as_ours()
    def clone(
        self,
        source: str = MAIN,
        count: int = 1,
        name: str = "",
        task: str = "",
        labels: Sequence[str] = (),
        include_uncommitted: bool = True,
        progress: Progress = silent,
        lease_seconds: int = 0,
        request_key: str = "",
    ) -> Cloned:
        """Make private snapshots of a workspace. See `cloning.clone`, and `requests.once` for the key."""
        from workspaces import cloning

        asked = [source, count, name, task, labels, include_uncommitted, lease_seconds]

        def act(core: Core) -> Cloned:
            made = partial(cloning.clone, core, source, count, name, task, labels, include_uncommitted, lease_seconds, progress)
            return once_more(made)

        made = requests.once(self._ready("clone", source, strict=True), request_key, "clone", asked, Cloned, act, progress)
        self._prepare_more()
        self._write_out()
        return made

    @spanned
    @held
    @as_ours()
    def prepare(self, count: int | None = None, patience: float | None = None) -> int:
        """Have so many clones of `main` prepared, or as many as the project was seen to need. See `preparing.prepare`."""
        from workspaces import preparing

        return preparing.prepare(self._ready("prepare"), count, patience)

    @spanned
    @held
    @as_ours()
    def compare(
        self,
        workspaces: Sequence[str],
        base: str = "",
        detail: Detail = "summary",
        paths: Sequence[str] = (),
        cursor: str = "",
        max_chars: int = 20_000,
        progress: Progress = silent,
    ) -> Comparison:
        """Say what each workspace changed and what conflicts with what. See `comparison.compare`."""
        from workspaces import comparison

        return comparison.compare(self._ready("compare", *workspaces, base), workspaces, base, detail, paths, cursor, max_chars, progress)

    def merge(
        self,
        source: str | Sequence[str],
        target: str = "",
        on_conflict: OnConflict = "abort",
        history: History = "squash",
        message: str = "",
        paths: Sequence[str] = (),
        dry_run: bool = False,
        delete_source: bool = False,
        if_target: str = "",
        progress: Progress = silent,
        request_key: str = "",
        require: Sequence[str] = (),
        patience: float | None = None,
        rules: Mapping[str, str] = NO_RULES,
    ) -> MergeResult:
        """Bring one workspace's changes into another, or those of several, one after the other. See `Project.merge_as`."""
        asked = Asked(source, target, on_conflict, history, message, paths, dry_run, delete_source, if_target, require, rules)
        return self.merge_as(asked, progress, request_key, patience)

    @spanned
    @held
    @as_ours()
    def merge_as(self, asked: Asked, progress: Progress = silent, request_key: str = "", patience: float | None = None) -> MergeResult:
        """Merge what is asked for. See `merging.merge`, `landing.land`, and `requests.once` for the key."""
        from workspaces import landing, merging

        def act(core: Core) -> MergeResult:
            merge = merging.merge if isinstance(asked.source, str) else landing.land
            return merge(core, asked, progress, patience)

        ready = self._ready("merge", *asked.sources, asked.target, strict=True)
        merged = requests.once(ready, request_key, "merge", asked.words, MergeResult, act, progress)
        if merged.status == "merged" and merged.target == f"{self.name}/{MAIN}":
            self._prepare_more()
        return merged

    def _write_out(self) -> None:
        """Have the files of clones written out, beside what comes next. A process that ends waits for it; of one that is killed, another one does it."""
        if self._core.has_pending and self._core.backend.capabilities.defers:
            Thread(target=_quietly, args=(self._core.backend.write_out,), name="write-out").start()

    def _prepare_more(self) -> None:
        """Have what was prepared follow `main`, and be as many as are needed, after the call."""
        from workspaces import preparing

        with suppress(WorkspacesError, OSError):  # what the call did is done, whatever comes of this
            preparing.wake(self._core)

    @spanned
    @held
    @as_ours()
    def delete(
        self,
        workspaces: Sequence[str],
        discard_unmerged: bool = False,
        children: Children = "refuse",
        progress: Progress = silent,
        request_key: str = "",
    ) -> Deleted:
        """Set workspaces aside, restorable. See `removal.delete`, and `requests.once` for the key."""
        from workspaces import removal

        def act(core: Core) -> Deleted:
            return removal.delete(core, workspaces, discard_unmerged, children, progress)

        return requests.once(
            self._ready("delete", strict=True), request_key, "delete", [workspaces, discard_unmerged, children], Deleted, act, progress
        )

    @spanned
    @held
    @as_ours()
    def status(
        self,
        workspaces: Sequence[str] = (),
        detail: StatusDetail = "summary",
        include_deleted: bool = False,
        progress: Progress = silent,
    ) -> Status:
        """Return the tree of workspaces. See `overview.status`."""
        from workspaces import overview

        return overview.status(self._ready("status", *workspaces), workspaces, detail, include_deleted, progress)

    @spanned
    @held
    @as_ours()
    def check(
        self,
        workspaces: Sequence[str],
        names: Sequence[str] = (),
        wait: bool = True,
        timeout_seconds: float = 600,
        detail: CheckDetail = "summary",
        again: bool = False,
        progress: Progress = silent,
        watch: Watch | None = None,
    ) -> Checked:
        """Run the configured checks on frozen copies of workspaces. See `checks.check`."""
        from workspaces import checks

        core = self._ready("check", *workspaces, strict=True)
        return checks.check(core, workspaces, names, wait, timeout_seconds, detail, again, progress, watch)

    @spanned
    @held
    @as_ours()
    def beside(self, workspaces: Sequence[str], command: Sequence[str], watch: Watch | None = None) -> Checked:
        """Run a person's command on frozen copies of two workspaces, and say where its outputs differ. See `checks.beside`."""
        from workspaces import checks

        return checks.beside(self._ready("beside", *workspaces, strict=True), workspaces, command, watch)

    @as_ours()
    def unasked(self, asked: Asked | None = None) -> Trust | None:
        """Return what of `workspaces.toml` a person has yet to let run, if there is anything: what is shown, and its fingerprint. For a merge,
        only if that would run any of it."""
        from workspaces import merging, programs

        core = self._configured("trust_checks")
        found = programs.unasked(core)
        return found if found and (asked is None or merging.runs_something(core, asked)) else None

    @as_ours()
    def trust_checks(self, fingerprint: str) -> None:
        """Let exactly these checks run. For what a person answered who was shown them."""
        from workspaces import programs

        programs.trust_checks(self._configured("trust_checks"), fingerprint)

    def _configured(self, verb: str) -> Core:
        self._core.access.authorise(verb)
        return replace(self._core, config=config.load(self.root))

    @spanned
    @held
    @as_ours()
    def checkpoint(self, workspace: str, label: str = "", progress: Progress = silent) -> Checkpointed:
        """Keep a workspace as it is now. See `history.checkpoint`."""
        from workspaces import history

        return history.checkpoint(self._ready("checkpoint", workspace), workspace, label, progress)

    @spanned
    @held
    @as_ours()
    def restore(self, workspace: str, to: str = "", progress: Progress = silent) -> Restored:
        """Bring a workspace back. See `history.restore`."""
        from workspaces import history

        return history.restore(self._ready("restore", workspace), workspace, to, progress=progress)

    @spanned
    @held
    @as_ours()
    def lease(self, workspace: str, seconds: int) -> Workspace:
        """Take a workspace for so many seconds after each call that names it; 0 for ever. See `cloning.lease`."""
        from workspaces import cloning

        return cloning.lease(self._ready("lease"), workspace, seconds)

    @spanned
    @held
    @as_ours()
    def undo(self, operation: int = 0) -> Undone:
        """Take back an operation (its number in the log), or the last one that stands. See `undoing.undo`."""
        from workspaces import undoing

        return undoing.undo(self._ready("undo"), operation)

    @spanned
    @held
    @as_ours()
    def redo(self) -> Undone:
        """Do again what the last undo took back. See `undoing.redo`."""
        from workspaces import undoing

        return undoing.redo(self._ready("redo"))

    @spanned
    @held
    @as_ours()
    def gc(self, abandoned: bool = False, discard_unmerged: bool = False, dry_run: bool = False, progress: Progress = silent) -> Collected:
        """Remove for good what was deleted and whose term is over. See `collection.gc`."""
        from workspaces import collection

        return collection.gc(self._ready("gc", strict=True), abandoned, discard_unmerged, dry_run, progress)

    @as_ours()
    def log(self, limit: int = 50) -> Log:
        """Return what was done, newest first."""
        from workspaces import history

        self._core.access.authorise("log")
        return history.log(self._core, limit)

    @classmethod
    @as_ours()
    def home_of(cls, path: Path) -> Path | None:
        """Return the home of the project that `path` is in, without opening that; None where nobody has initialized it."""
        home = backends.find(path).home
        return home if Store(home / "store.sqlite").exists else None

    @as_ours()
    def calls(self, limit: int = 50) -> Calls:
        """Return what servers were called for, newest first."""
        self._core.access.authorise("calls")
        found = tuple(Audit(self.home).last(limit))
        return Calls(summary=f"{counted(len(found), 'call')}, newest first.", calls=found)

    @spanned
    @held
    @as_ours()
    def look(self) -> Look:
        """Return what shows the workspaces to those who only look, which is not to use them. See `looking.Look`."""
        from workspaces.looking import Look

        return Look(self._ready("status"))

    @as_ours()
    def doctor(self, repair: bool = False, quick: bool = False) -> Diagnosis:
        """Look whether everything is whole, and put right what is not. See `doctor.doctor`."""
        from workspaces import doctor

        return doctor.doctor(self._ready("doctor"), repair, quick)

    @classmethod
    @as_ours()
    def mend_store(cls, path: Path) -> str:
        """Make a damaged store of the project at `path` again, before anything can be opened. Returns what was done, or nothing if it was whole."""
        store = Store(backends.find(path).home / "store.sqlite")
        return store.repair() if store.exists and store.flaws() else ""

    @as_ours()
    def programs(self) -> Trust:
        """Return the programs that the project's own configuration names, and whether they may run. See `programs.programs`."""
        from workspaces import programs

        return programs.programs(self._configured("programs"))

    @as_ours()
    def trust(self, fingerprint: str) -> Trust:
        """Let exactly these programs run, or with an empty fingerprint none. For a person at a terminal, never for an agent."""
        from workspaces import programs

        return programs.trust(self._configured("trust"), fingerprint)

    @as_ours()
    def find(self, workspace: str) -> Workspace:
        """Return the workspace that an id, a name or a path means."""
        return self._core.find(workspace)

    @as_ours()
    def confine(self, workspace: str, network: bool, environment: Mapping[str, str]) -> dict[str, str]:
        """Confine the calling thread, and all that it starts, to a workspace, for good. Returns the environment for that. See `Backend.confine`."""
        self._core.access.authorise("confine")
        found = self._core.find(workspace)
        if found.is_main:
            raise Unsupported(
                f"{found.name} holds all the others, so nothing can be confined to it. Nothing was run.", "Name a clone of it."
            )
        return self._core.backend.confine(found, network, environment)

    @as_ours()
    def holds(self, workspace: str) -> bool:
        """Return whether an id, name or path means a workspace of this project, live or deleted, that the caller sees."""
        return self._core.holds(workspace)

    @as_ours()
    def revision(self) -> int:
        """Return a number that grows with everything that is written about this project."""
        return self._core.store.revision()

    def _ready(self, verb: str, *named: str, strict: bool = False) -> Core:
        """Return the project's core for one call that the caller may make. The leases of the workspaces that the call names are renewed.
        Settings that mean nothing are refused where the call is `strict`; looking and going back is possible all the same."""
        self._core.access.authorise(verb)
        self._core.backend.initialize()
        if self._core.trusted is not None:
            self._core.backend.trusted = self._core.trusted.fingerprint(self._core.backend.home)
        recovery.recover(self._core.whole)
        if self._core.access.holds("work"):
            self._core.use(named)
        return replace(self._core, call=self._core.call or new_uid(), config=config.load(self.root) if strict else config.known(self.root))


def _quietly(act: Callable[[], None]) -> None:
    """Do what is done again later where it fails."""
    with suppress(WorkspacesError, OSError):
        act()


def _named(actor: str) -> str:
    """Return who acts as one short line of text."""
    return " ".join(plain(actor).split())[:200]


def _refuse_missing_kind(path: Path) -> None:
    """Raise `BackendMissing` when the folder is a project of a backend that is not installed, as far as that keeps its home where the workspaces are."""
    for folder in (path, *path.parents) if "\0" not in str(path) else ():
        homes = [*folder.glob(".workspaces/.*/store.sqlite")]
        for file in homes:
            row = Store(file).project_at(str(folder.resolve()))
            if row is not None and row.backend not in backends.known():
                raise BackendMissing(
                    f"{folder} is a project of the {row.backend} backend, which is not installed. Nothing was changed.",
                    "Install that first.",
                )
        if homes or (folder / ".git").exists():
            return


def _refuse_second_kind(wanted: Backend, path: Path) -> None:
    """Raise `Exists` when the folder is a project of another backend that has workspaces, there or restorable: the two would share a place for
    theirs."""
    for kind in backends.around(path):
        other = None
        with suppress(NotAProject):
            other = kind.find(path) if kind.name != wanted.name else None
        if other is None:
            continue
        store = Store(other.home / "store.sqlite")
        row = store.project_at(str(wanted.root))
        others = [each for each in store.workspaces(row.name, _ANY) if not each.is_main] if row is not None else []
        if others:
            which = "deleted" if all(each.state == "deleted" for each in others) else "its"
            raise Exists(
                f"{wanted.root} is a project of the {other.name} backend already, with {which} workspaces. Nothing was changed.",
                f"Leave `backend` out to go on with it. {wanted.name} can be chosen when none is there or restorable: workspaces gc removes deleted "
                "ones for good when their time is over.",
            )


def _known(store: Store, found: Backend) -> ProjectRow | None:
    """Return what is remembered of a project. One whose folder was moved, with its store in it, is followed to where it is now."""
    row = store.project_at(str(found.root))
    lost = store.lost_project(found.name) if row is None else None
    if lost is None or not found.holds_store:
        return row
    known = store.workspaces(lost.name, _ANY)
    moved = [each.model_copy(update={"location": str(found.root / Path(each.location).relative_to(lost.root))}) for each in known]
    for workspace in moved:
        found.repoint(workspace)
    return store.relocate(lost, str(found.root), moved)
