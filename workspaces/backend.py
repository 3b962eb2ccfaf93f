"""What a backend is, and how one is found.

A backend freezes, copies, compares and combines immutable snapshots, and puts one back into a workspace. The verbs that users know are
composed above it, the same for every backend. Backends are installed packages that name a class in the entry-point group
`workspaces.backends`; the built-in ones come through the same door. One that takes long to load may name a function in the group
`workspaces.signs`, too: it says of a folder whether the backend could find a project there, and the backend is loaded only if so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import ClassVar, Protocol, Self

from workspaces.errors import BackendMissing, InNoProject, NoProject, NotAProject, likely
from workspaces.model import (
    NONE,
    Capabilities,
    Choice,
    Conflict,
    Diff,
    Disk,
    Finding,
    History,
    Meeting,
    Merge,
    Pick,
    Program,
    Rest,
    Snapshot,
    Workspace,
)

GROUP = "workspaces.backends"
SIGNS = "workspaces.signs"
Sign = Callable[[Path], bool]
OURS = "workspaces"


class Backend(Protocol):
    """A way to keep isolated copies of one project. Methods block. Each does all of its work, or raises and leaves things as they were.

    The caller holds the locks of the workspaces that it names; a backend takes none. Paths in arguments and results are text in the form of
    `Change.path`; folders are `Path`.
    """

    name: ClassVar[str]
    root: Path
    """Where the project itself lives: the location of `main`."""
    home: Path
    """What is remembered: a folder on which every process agrees. `store.sqlite`, `locks/` and `trash/` lie in it."""
    capabilities: Capabilities
    isolation: str
    """What keeps its workspaces apart here and now. Costs nothing to ask."""
    trusted: str
    """The fingerprint (`model.fingerprint`) of the programs that a person trusts; only exactly these are run. Empty: none."""
    holds_store: bool
    """Whether `home` lies inside of `root`, so that the two are moved together."""

    @classmethod
    def find(cls, path: Path) -> Self | None:
        """Open the project that `path` is in, if it is of this kind. Raises `NotAProject` for one that cannot be worked with as it is."""
        ...

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """Return what `initialize` can make of a folder that is in no project of this kind yet; None where the kind must be there before."""
        ...

    def initialize(self) -> None:
        """Prepare `home`, and clear away what killed calls left. Twice changes nothing; nothing of the user's changes ever."""
        ...

    def aside(self) -> AbstractContextManager[Self]:
        """Open a view whose snapshots and merges vanish at its end, unless `keep_all` was called: looking writes nothing."""
        ...

    def keep_all(self) -> AbstractContextManager[None]:
        """Make what this view froze and combined permanent, and safe from any collection until the block ends: name it in there (`keep`)."""
        ...

    def keep(self, *held: tuple[Workspace, str, Snapshot]) -> None:
        """Hold on to snapshots, each under a label of its workspace, until that is purged, whatever is collected elsewhere."""
        ...

    def snapshot(self, workspace: Workspace, lineage: Sequence[str] = (), committed: bool = False) -> Snapshot:
        """Freeze what is there now, uncommitted and untracked included, or with `committed` only what its head has.

        `lineage` are earlier snapshots that this one descends from: so merge bases come out right. The workspace, its index and its stat
        cache stay as they are.
        """
        ...

    def fork(self, snapshot: Snapshot, clone: Workspace, source: Workspace) -> tuple[str, ...]:
        """Fill the clone's location from the snapshot, and with the ignored files of `source` that the project names. Returns warnings. What a call
        that was killed had begun of the same clone goes."""
        ...

    def prepare(self, count: int) -> int:
        """Have up to `count` clones of what `main` has committed prepared, so that `fork` is faster, and return how many there are; what is more,
        or fits no longer, goes. What is prepared is nobody's, and seen by nobody. Where the capability `spares` is missing, this is never called;
        where there is the capability `templates`, one serves for all, and there are no more."""
        ...

    def base(self, ours: Snapshot, theirs: Snapshot, lineage: Sequence[str], recorded: Snapshot) -> Snapshot:
        """Return the best common ancestor, `recorded` when there are several."""
        ...

    def write_out(self, age: float = 0.0) -> None:
        """Have the files written out of clones that were made so many seconds ago, and wait for that. Each has a file in the folder `pending` of
        `home` until then. Where the capability `defers` is missing, `fork` waits for it, and this, `lost` and `make_good` are never called."""
        ...

    def lost(self) -> Sequence[str]:
        """Return the uids of clones of whose files a power cut may have taken some, since they were not written out by then."""
        ...

    def make_good(self, uid: str, workspace: Workspace | None) -> Sequence[str]:
        """Make again what a power cut took of a clone's files, whose workspace is this one if it is still known, and return their paths. What somebody
        changed is left as it is. Twice changes nothing."""
        ...

    def foresee(self, meetings: Sequence[Meeting]) -> None:
        """Look together, in a view, at what `base`, `merge` and `diff` will be asked of each of the meetings. Where the capability `foresees` is
        missing, this is never called."""
        ...

    def stack(self, meetings: Sequence[Meeting]) -> bool:
        """Return, in a view, whether all `theirs` of meetings that have the same `ours` merge into that, each on top of the ones before and as one
        commit (`history="squash"`); False also where it takes these merges to tell. Where the capability `foresees` is missing, this is never called."""
        ...

    def load(self, snapshot: str) -> Snapshot:
        """Read a snapshot back by its id."""
        ...

    def diff(self, old: Snapshot, new: Snapshot) -> Diff:
        """Return paths, kinds and counts of all changes."""
        ...

    def patch(self, old: Snapshot, new: Snapshot, paths: Sequence[str], limit: int) -> str:
        """Return the changes as text (unified diff), its first `limit` characters."""
        ...

    def contents(self, places: Sequence[tuple[Snapshot, str]], limit: int) -> Sequence[bytes | None]:
        """Return what files hold, each named by a snapshot and a path: None for what is no file there, or has more than `limit` bytes, and for
        what is beyond `model.MOST_CONTENTS` bytes in all."""
        ...

    def graft(self, contents: Snapshot, onto: str) -> Snapshot:
        """Return a snapshot with the contents of one that descends from `onto` alone."""
        ...

    def restrict(self, base: Snapshot, theirs: Snapshot, paths: Sequence[str]) -> Snapshot:
        """Return `base` with only these paths (files, or folders with all in them) as `theirs` has them."""
        ...

    def merge(
        self,
        ours: Snapshot,
        theirs: Snapshot,
        lineage: Sequence[str] = (),
        on_conflict: Rest = "abort",
        labels: tuple[str, str] = ("ours", "theirs"),
        choices: Mapping[str, Choice] = NONE,
    ) -> Merge:
        """Combine in memory, in an `aside` view: touches no workspace. `lineage` are snapshots that `ours` is known to contain. A conflict is a value.

        `choices` decide paths that conflict, where they can (the lines of both is for texts only); `on_conflict` is for the rest.
        """
        ...

    def read(self, snapshot: Snapshot, path: str, limit: int) -> bytes | None:
        """Return the first `limit` bytes of a file in a snapshot; None when no file is there."""
        ...

    def series(self, ours: Snapshot, theirs: Snapshot, lineage: Sequence[str], paths: Sequence[str]) -> Sequence[Pick]:
        """Return what `theirs` adds to what `ours` has, commit by commit, oldest first, and its uncommitted work last: only in these paths, when
        some are named. Where the backend has commits; raises `Unsupported` for those that cannot stand one after the other."""
        ...

    def clashes(self, meetings: Sequence[Meeting]) -> Sequence[tuple[Conflict, ...]]:
        """Return the conflicts that `merge` would find in each of the meetings, all without hunks, in an `aside` view."""
        ...

    def commit(
        self,
        ours: Snapshot,
        theirs: Snapshot,
        merge: Merge,
        history: History,
        message: str,
        follow: bool,
        lineage: Sequence[str],
        like: str = "",
    ) -> Snapshot:
        """Return what `ours` becomes with the merge in it: its commit is made, nothing has moved yet.

        The commit is one `like` another: with its author, date and message, instead of `message`. With `follow` (a clone is brought up to
        date) the head of theirs is taken over when it has all of ours. A merge with conflicts is never committed.
        """
        ...

    def contains(self, workspace: Workspace, commit: str) -> bool:
        """Return whether the head of a workspace is a commit or descends from it."""
        ...

    def obstacles(self, workspace: Workspace, old: Snapshot, new: Snapshot) -> tuple[str, ...]:
        """Return the paths that differ between the snapshots and hold work which is in neither: uncommitted, untracked or ignored."""
        ...

    def checkout(self, workspace: Workspace, old: Snapshot, new: Snapshot, reason: str, whole: bool = False) -> None:
        """Bring the workspace from `old` to `new`: files and head; its index follows, or in a `whole` move is as `new` had it.

        Raises `TargetMoved` when it is not at `old`, changing nothing.
        """
        ...

    def settle(self, workspace: Workspace, old: Snapshot, new: Snapshot, reason: str, since: datetime, whole: bool = False) -> bool:
        """End a `checkout` that began at `since` and that a crash interrupted: True when the workspace is now at `new`, False when it is at `old`."""
        ...

    def occupied(self, workspace: Workspace) -> str:
        """Return the unfinished operation (rebase, merge, bisect …) that makes the workspace unfit as a target, or nothing."""
        ...

    def ahead(self, old: Snapshot, new: Snapshot) -> int:
        """Return how many commits `new` has that `old` has not."""
        ...

    def programs(self) -> tuple[Program, ...]:
        """Return the programs that the project's own configuration names for storing and merging contents."""
        ...

    def untrusted(self, workspace: Workspace, paths: Sequence[str]) -> tuple[str, ...]:
        """Return those of the paths (of all, when none are named) whose stored form is made by a program that nobody trusted yet."""
        ...

    def marked(self, workspace: Workspace, paths: Sequence[str]) -> tuple[str, ...]:
        """Return which of the paths still hold conflict markers."""
        ...

    def retire(self, workspace: Workspace, snapshot: Snapshot | None) -> None:
        """Move the workspace into the trash, whole, and hold on to a snapshot of it, made in this view, as its `last`. Twice changes nothing."""
        ...

    def revive(self, workspace: Workspace) -> tuple[str, ...]:
        """Move it back out of the trash, whole, and return warnings. Twice changes nothing. Raises `Exists` when something is in its place, and
        `NotFound` when its folder is neither there nor in the trash: then it can be retired and forked once more."""
        ...

    def remnant(self, workspace: Workspace, since: Snapshot) -> Snapshot | None:
        """Return, in a view, what is known of a workspace without its folder that was committed or staged since a snapshot of it, or nothing. Where the
        backend has no commits, this is never called."""
        ...

    def purge(self, workspace: Workspace) -> None:
        """Remove all that was ever kept for it, a half-made clone included. Purging again changes nothing."""
        ...

    def is_placed(self, workspace: Workspace) -> bool:
        """Return whether the folder that was made for a workspace is in its place, whole: somebody may have found it there."""
        ...

    def weigh(self, workspace: Workspace) -> int:
        """Return the bytes on disk that a workspace takes, there or deleted. What it shares with others (reflinks, snapshots) counts in full."""
        ...

    def footprint(self, workspace: Workspace) -> Disk:
        """Return the bytes on disk that the files of a workspace in its place take, and how many of them are shared. Dearer than `weigh`."""
        ...

    def relax(self) -> None:
        """Do from now on without making durable what is written: a power cut may then take what was acknowledged. A kill never does."""
        ...

    def confine(self, workspace: Workspace, network: bool, environment: Mapping[str, str]) -> dict[str, str]:
        """Confine the calling thread, and all that it starts, to a workspace, for good, and return the environment for that.

        What belongs to the workspace may be read and written, tools may be read; the rest of the project may not be written, nor the other
        workspaces be read. Without `network`, there is none. Raises `Unsupported`, confining nothing, where that cannot be had.
        """
        ...

    def repoint(self, workspace: Workspace) -> None:
        """Mend what names the location of a workspace in its files, after the project was moved."""
        ...

    def inspect(self, workspaces: Sequence[Workspace], known: Sequence[Workspace], quick: bool = False) -> Iterator[Finding]:
        """Look whether each of the workspaces is whole, whether something lies about that none of the `known` (in whatever phase) explains, and
        what else stands in the way of work. `quick` leaves out what takes as long as the project is large."""
        ...

    def mend(self, workspace: Workspace) -> Sequence[str]:
        """Put right what is wrong around a workspace's files, and return what was done. Raises `WorkspaceGone` when its files are not there."""
        ...

    def remains(self) -> Sequence[Workspace]:
        """Return the workspaces that lie here whole, in place or in the trash (`deleted`), as far as that alone tells: they are remembered again
        when all else that told of them was lost."""
        ...

    def sweep(self, known: Sequence[Workspace]) -> Sequence[str]:
        """Clear away what dead calls left that none of the `known` workspaces explains, losing nobody's work, and return what was done. Look at what there
        is first, and go through `known` then, which is what is remembered at that moment: a clone is, before anything of it is there."""
        ...


def installed() -> dict[str, type[Backend]]:
    """Return the installed backends by name: the built-in ones first, so that what others install never takes a folder from them unasked."""
    return {name: _kind(name) for name in _points()}


@cache
def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(_by_group()[GROUP], key=_rank)}


@cache
def _by_group() -> Mapping[str, Sequence[EntryPoint]]:
    """Return what installed packages name for us. To find that takes reading what each of them names, which is done once."""
    named = entry_points()
    return {group: tuple(named.select(group=group)) for group in (GROUP, SIGNS)}


def _rank(point: EntryPoint) -> tuple[bool, str]:
    return point.module.partition(".")[0] != OURS, point.name


@cache
def _kind(name: str) -> type[Backend]:
    kind: type[Backend] = _points()[name].load()
    return kind


@cache
def _signs() -> dict[str, Sign]:
    return {point.name: point.load() for point in _by_group()[SIGNS]}


def around(path: Path) -> Iterator[type[Backend]]:
    """Yield the kinds of projects that `path` may be in."""
    signs = _signs()
    for name in _points():
        if name not in signs or signs[name](path):
            yield _kind(name)


def find(path: Path) -> Backend:
    """Open the project that `path` is in, the innermost one. Raises `NotAProject` when no backend knows the path."""
    found = _found(path, around(path))
    if found is None:
        raise InNoProject(
            f"{path} is in no project. Nothing was changed.", "Call initialize (workspaces init) for it, or name another path."
        )
    return found


def known() -> list[str]:
    """Return the names of the installed backends, which are not loaded for that."""
    return [*_points()]


def choose(path: Path, wanted: str = "auto", adopts: bool = True) -> Backend:
    """Return the backend by which `path` is, or can become, a project: the one that is named, else one that finds a project there, else, if it
    `adopts`, one that makes a folder a project. Raises `BackendMissing` for an unknown name."""
    names = known()
    if wanted != "auto" and wanted not in names:
        raise BackendMissing(
            f"No backend '{wanted}' is installed. Installed: {', '.join(names) or 'none'}.{likely(wanted, names)}",
            "Leave `backend` out, or install it.",
        )
    meant = names if wanted == "auto" else [wanted]
    kinds = around(path) if wanted == "auto" else [_kind(wanted)]
    found = _found(path, kinds)
    if found is None and not adopts:
        raise NoProject(
            f"{path} is in no git repository, and no project. Nothing was made.",
            "workspaces init makes the folder one, with all that is in it.",
        )
    found = found or next((made for name in meant if (made := _kind(name).adopt(path)) is not None), None)
    if found is None:
        raise NotAProject(
            f"{path} cannot be a project of the {wanted} backend. Nothing was changed.", "Leave `backend` out, or name another path."
        )
    return found


def _found(path: Path, kinds: Iterable[type[Backend]]) -> Backend | None:
    """Return the innermost project that one of these kinds finds around a path; of two in the same place, the first kind's."""
    if "\0" in str(path) or not path.is_dir():
        raise InNoProject(f"{path} is not a folder. Nothing was changed.", "Name an existing folder.")
    found: list[Backend] = []
    refused: NotAProject | None = None
    for kind in kinds:
        try:
            project = kind.find(path)
        except NotAProject as error:
            refused = error
            continue
        found += [project] if project is not None else []
    if not found and refused is not None:
        raise refused
    return max(found, key=lambda project: len(project.root.parts), default=None)
