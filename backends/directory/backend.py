"""The directory backend: every workspace is a folder of its own, a copy of all that is in the project, sharing what the file system can share.

Snapshots are manifests (`manifest`) in an archive; contents are read and kept only where something changed. git's own merge decides over sparse
trees of the changed paths (`sparse`), in a repository that lives as long as one call.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import ClassVar, get_args

from workspaces.errors import BackendFailed, Busy, InvalidArgument, NotAllowed, NotAProject, Unsupported, WorkspaceGone, as_ours
from workspaces.model import (
    MOST_CONTENTS,
    NONE,
    Capabilities,
    Choice,
    Conflict,
    ConflictKind,
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
    path_bytes,
    path_shown,
    path_text,
)

from .. import area, combine, confinement, extents, matrix, subvolume, trash, tree, views
from ..bounds import Clock
from ..place import WORKSPACES, ignore_workspaces, located, prepare_folder, put_in_place, refuse_taken
from . import filling, freezing, frozen, lineages, moving, results
from .archive import Archive, Live, Record
from .freezing import Index
from .keeping import Records
from .manifest import Manifest, above, differing, is_private, within
from .meetings import named, threes
from .scan import MOVING, UNSURE, written
from .sparse import Sparse, needed

_STATE = ".state"
_TRIES = 3
_HISTORY = ("HEAD", "refs/heads", "refs/stash")
"""Where in a git directory it shows that somebody committed."""


@dataclass
class View:
    """What one call saw of folders, and how much time it has for that. `folder` vanishes with it."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    without_contents: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    frozen: dict[str, freezing.Frozen] = field(default_factory=dict[str, freezing.Frozen])
    locks: defaultdict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))
    lock: Lock = field(default_factory=Lock)


class DirectoryBackend:
    """See `workspaces.backend.Backend`."""

    name: ClassVar[str] = "directory"

    def __init__(self, root: Path, view: View | None = None, archive: Archive | None = None) -> None:
        self.root, self.home, self.holds_store = root, root / WORKSPACES / _STATE, True
        self.isolation = confinement.isolated("private-gitdir" if (root / ".git").exists() else "private-folder")
        self.trusted = ""
        self._archive, self._view = archive or Archive(self.home), view
        self._records = Records(self._archive, view.folder if view else None)

    @classmethod
    def find(cls, path: Path) -> DirectoryBackend | None:
        """See `Backend.find`. Inside of a workspace it is the project of that: what a workspace contains does not decide."""
        real = path.resolve()
        around = [folder for folder in (real, *real.parents) if _has_state(folder)]
        holders = [folder for folder in around if (folder / WORKSPACES) in real.parents]
        found = holders[-1] if holders else next(iter(around), None)
        return cls(found) if found else None

    @classmethod
    def adopt(cls, path: Path) -> DirectoryBackend | None:
        root = path.resolve()
        if root.parent == root:
            raise NotAProject(f"{root} is the whole file system. Nothing was changed.", "Name a folder in it.")
        try:
            str(root).encode()
        except UnicodeEncodeError:
            raise NotAProject("The path of the folder is not UTF-8. Nothing was changed.", "Rename the folder.") from None
        return cls(root)

    def initialize(self) -> None:
        with as_ours():
            if not self.root.is_dir():
                raise WorkspaceGone(f"The project's folder is gone: {self.root}. Nothing was made in its place.", "Put it back.")
            if any(folder.is_symlink() for folder in (self.home, self.home.parent)):
                raise NotAllowed(
                    f"{self.home.parent} became a link, so it could lead anywhere. Nothing was changed.", "Put the folder back."
                )
            frozen.prepare(self.root)
            ignore_workspaces(self.root / WORKSPACES)
            self._scratch.mkdir(parents=True, exist_ok=True)
            views.clear(self._scratch)

    @cached_property
    def capabilities(self) -> Capabilities:
        kinds: tuple[ConflictKind, ...] = get_args(ConflictKind)
        return Capabilities(
            isolation=self.isolation,
            copies_by="btrfs snapshot" if frozen.serve(self.root) else tree.copies_by(self._scratch),
            commits=False,
            merge_kinds=tuple(kind for kind in kinds if kind != "submodule"),
            max_clones=256,
        )

    @property
    def _scratch(self) -> Path:
        return self.home / "tmp"

    # -- views

    @contextmanager
    def aside(self) -> Generator[DirectoryBackend]:
        with as_ours(), self._archive.looked_at(), views.view(self._scratch) as folder:
            yield DirectoryBackend(self.root, View(folder), self._archive)

    @contextmanager
    def keep_all(self) -> Generator[None]:
        with as_ours(), self._archive.held():
            if self._view:
                self._archive.pool.bring_in(self._records.pool)
            yield

    def keep(self, *held: tuple[Workspace, str, Snapshot]) -> None:
        with as_ours():
            for workspace, name, kept in held:
                self._archive.keep(workspace.uid, name, self._records.keep(kept, self.root, self._scratch))

    # -- freezing and looking

    def _index(self, workspace: Workspace) -> Path:
        return self.home / "index" / workspace.uid

    def snapshot(self, workspace: Workspace, lineage: Sequence[str] = (), committed: bool = False) -> Snapshot:
        """See `Backend.snapshot`. Without commits, `committed` makes no difference."""
        location = located(workspace)
        for attempt in range(1, _TRIES + 1):
            seen = self._frozen(workspace, again=attempt > 1)
            live = Live(location, self._index(workspace), seen.index.keys, seen.manifest)
            record = Record.of(seen.manifest, list(dict.fromkeys(lineage)), (live,))
            try:
                self._records.hold(record, None if workspace.is_main else self._clock)
            except Busy:
                if attempt < _TRIES:
                    continue
                raise
            return self._noted(workspace, record, seen)
        raise Busy(f"{location} is being changed all the time.", "Call again.")

    def _frozen(self, workspace: Workspace, again: bool) -> freezing.Frozen:
        """Freeze a workspace, in a view just once: a call sees it as it was at one time."""
        known = self._view.frozen if self._view else {}
        with self._view.locks[workspace.uid] if self._view else nullcontext(), as_ours():
            if again or workspace.uid not in known:
                archive, index = self._archive, self._index(workspace)
                clock, room = self._bounds(workspace)
                try:
                    known[workspace.uid] = freezing.freeze(
                        located(workspace), index, self._records.pool, archive, archive.is_empty, clock, room
                    )
                finally:
                    if workspace.is_main:
                        self._clock.skip()
            return known[workspace.uid]

    @property
    def _clock(self) -> Clock:
        return self._view.clock if self._view else Clock()

    def _bounds(self, workspace: Workspace) -> tuple[Clock, float]:
        """Return the clock for looking at a workspace, and how many paths it may have, by what it was made from. Main has a clock of its own."""
        if workspace.is_main:
            clock = Clock.of_main(self._index(workspace))
            return clock, clock.room(0)
        return self._clock, self._clock.room(max(self._archive.weight(name) for name in (workspace.origin, workspace.base)))

    def _noted(self, workspace: Workspace, record: Record, seen: freezing.Frozen) -> Snapshot:
        self._records.remember(record)
        if self._view:
            self._view.without_contents[workspace.uid] = tuple(seen.skipped)
        return Snapshot(
            id=record.id,
            contents=record.manifest.contents,
            ahead=self._ahead(workspace, record),
            skipped=tuple(f"{_shown(path)} ({reason})" for path, reason in sorted(seen.skipped.items())),
            unsteady=tuple(map(_shown, seen.unsteady)),
        )

    def _ahead(self, workspace: Workspace, record: Record) -> tuple[str, ...]:
        """Return the repositories inside of a clone whose branches or head are not what they were when it was made."""
        if workspace.is_main or not self._archive.holds(workspace.origin):
            return ()
        origin = self._archive.load(workspace.origin).manifest
        moved = (f"/{path}/".partition("/.git/") for path in differing(origin, record.manifest, private=True) if is_private(path))
        return tuple(sorted({folder.lstrip("/") or "." for folder, _, path in moved if within(path.rstrip("/"), _HISTORY)}))

    def load(self, snapshot: str) -> Snapshot:
        return self._records.load(snapshot)

    # -- comparing and combining

    @cached_property
    def _sparse(self) -> Sparse:
        if self._view is None:
            raise BackendFailed("Nothing can be compared outside of a view.", "This is a bug.")
        return Sparse.create(self._view.folder / "git", self._view.clock)

    def _sides(self, records: Sequence[Record], parents: Sequence[Sequence[int]], paths: set[str]) -> list[str]:
        """Write commits of the records, with these paths, and return their ids."""
        sides = [(record.manifest, self._records.source(record), before) for record, before in zip(records, parents, strict=True)]
        with self._view.lock if self._view else nullcontext():
            return self._sparse.commits(sides, paths)

    def prepare(self, count: int) -> int:
        return 0

    def write_out(self, age: float = 0.0) -> None:
        """Do nothing: what is acknowledged is durable."""

    def lost(self) -> Sequence[str]:
        return ()

    def make_good(self, uid: str, workspace: Workspace | None) -> Sequence[str]:
        return ()

    def foresee(self, meetings: Sequence[Meeting]) -> None:
        """Do nothing: what is asked is told as fast."""

    def stack(self, meetings: Sequence[Meeting]) -> bool:
        """Leave it to one merge after the other."""
        return False

    def base(self, ours: Snapshot, theirs: Snapshot, lineage: Sequence[str], recorded: Snapshot) -> Snapshot:
        bases = lineages.bases({ours.id, *lineage}, theirs.id, self._records.parents)
        return self.load(bases[0]) if len(bases) == 1 else recorded

    def diff(self, old: Snapshot, new: Snapshot) -> Diff:
        before, after = self._records.find(old), self._records.find(new)
        changed = set(differing(before.manifest, after.manifest))
        if not changed:
            return Diff()
        one, other = self._sides([before, after], [(), ()], changed)
        return Diff(changes=results.changes(self._sparse.git, one, other, before.manifest, after.manifest))

    def patch(self, old: Snapshot, new: Snapshot, paths: Sequence[str], limit: int) -> str:
        before, after = self._records.find(old), self._records.find(new)
        changed = set(differing(before.manifest, after.manifest))
        with self._view.lock if self._view else nullcontext():
            one, other = self._trees([before, after], needed([before.manifest, after.manifest], changed))
        return results.patch(self._sparse, one, other, paths, limit)

    def contents(self, places: Sequence[tuple[Snapshot, str]], limit: int) -> Sequence[bytes | None]:
        read: list[bytes | None] = []
        left = MOST_CONTENTS
        for snapshot, path in places:
            read.append(self._records.contents(snapshot, os.fsdecode(path_bytes(path)), min(limit, left)))
            left -= len(read[-1] or b"")
        return read

    def ahead(self, old: Snapshot, new: Snapshot) -> int:
        return int(old.contents != new.contents)

    def restrict(self, base: Snapshot, theirs: Snapshot, paths: Sequence[str]) -> Snapshot:
        before, after = self._records.find(base), self._records.find(theirs)
        wanted = [os.fsdecode(path_bytes(path.rstrip("/"))) for path in paths]
        moved = differing(before.manifest, after.manifest)
        if idle := [path for path in wanted if not any(within(step, [path]) for step in moved)]:
            raise InvalidArgument(
                f"Not changed there: {', '.join(path_shown(_shown(path)) for path in idle[:5])}. Nothing was merged.",
                "compare with detail='files' lists what it changed.",
            )
        made = results.with_paths(before.manifest, after.manifest, [path for path in moved if within(path, wanted)])
        record = self._records.remember(Record.of(made, [base.id], (*before.live, *after.live)))
        return Snapshot(id=record.id, contents=made.contents)

    def graft(self, contents: Snapshot, onto: str) -> Snapshot:
        found = self._records.find(contents)
        record = self._records.remember(Record.of(found.manifest, [onto] if onto else [], found.live))
        return Snapshot(id=record.id, contents=contents.contents)

    def merge(
        self,
        ours: Snapshot,
        theirs: Snapshot,
        lineage: Sequence[str] = (),
        on_conflict: Rest = "abort",
        labels: tuple[str, str] = ("ours", "theirs"),
        choices: Mapping[str, Choice] = NONE,
    ) -> Merge:
        left, right = self._records.find(ours), self._records.find(theirs)
        graph = lineages.graph([left.id, *lineage], right.id, self._records.parents, self._records.made)
        records = [*(self._records.find(self.load(name)) for name in graph.nodes), left, right]
        base = records[graph.best].manifest
        changed = {path for one in records for path in differing(base, one.manifest)}
        ids = self._sides(records, graph.parents, needed([record.manifest for record in records], changed))
        sparse = self._sparse
        ours_tree = sparse.git.line("rev-parse", f"{ids[-2]}^{{tree}}")
        merged = combine.merge(sparse.git, ids[-2], ids[-1], ours_tree, on_conflict, labels, sparse.door.git_dir.parent, choices)
        sides = results.Sides(base, left.manifest, right.manifest)
        manifest, merge = results.applied(sparse, self._records.pool, sides, ours_tree, merged, _decider(choices, on_conflict))
        self._records.remember(Record.of(manifest, [left.id, right.id], (*left.live, *right.live)))
        return merge

    def clashes(self, meetings: Sequence[Meeting]) -> Sequence[tuple[Conflict, ...]]:
        with self._view.lock if self._view else nullcontext():
            found = threes(self._records, meetings, self._trees)
        conflicts = matrix.clashes(self._sparse.git, list(found.values()), self._sparse.door.git_dir.parent)
        return matrix.settled(self, meetings, {at: named(self._sparse, each) for at, each in zip(found, conflicts, strict=True)})

    def _trees(self, records: Sequence[Record], paths: Iterable[str]) -> list[str]:
        """Write trees of the records, with these paths, and return their ids."""
        commits = self._sparse.commits([(record.manifest, self._records.source(record), ()) for record in records], paths)
        return self._sparse.git.run("rev-parse", *(f"{commit}^{{tree}}" for commit in commits)).decode().split()

    def read(self, snapshot: Snapshot, path: str, limit: int) -> bytes | None:
        record = self._records.find(snapshot)
        found = record.manifest.at(os.fsdecode(path_bytes(path)))
        if found is None or found.kind != "f":
            return None
        with os.fdopen(self._records.source(record)(found.content), "rb") as file:
            return file.read(limit)

    def series(self, ours: Snapshot, theirs: Snapshot, lineage: Sequence[str], paths: Sequence[str]) -> Sequence[Pick]:
        raise Unsupported(f"{self.root} has no commits. Nothing was changed.", "Leave history out.")

    # -- moving a workspace

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
        """See `Backend.commit`. There are no commits: it is what the merge gave."""
        record = self._records.find(Snapshot(id="", contents=merge.contents))
        return Snapshot(id=record.id, contents=merge.contents)

    def contains(self, workspace: Workspace, commit: str) -> bool:
        return True

    def obstacles(self, workspace: Workspace, old: Snapshot, new: Snapshot) -> tuple[str, ...]:
        """See `Backend.obstacles`. All files are in a snapshot, so only what has no contents can be in the way: sockets, pipes, mount points."""
        without = self._view.without_contents.get(workspace.uid, ()) if self._view else ()
        moved = {*differing(self._records.find(old).manifest, self._records.find(new).manifest)} if without else set[str]()
        near = moved | above(moved)
        for folder in sorted(above(without)):  # the outermost first
            if folder.rpartition("/")[0] in moved:
                moved.add(folder)
        return tuple(_shown(path) for path in without if path in near or path.rpartition("/")[0] in moved)

    def checkout(self, workspace: Workspace, old: Snapshot, new: Snapshot, reason: str, whole: bool = False) -> None:
        location, index = located(workspace), Index.load(self._index(workspace), self._archive)
        if index.manifest.contents != old.contents:
            raise moving.changed(location)
        self.keep((workspace, f"result/{new.id}", new))
        move = self._move(workspace, old, new, whole)
        moving.carry_out(move)
        # What came is as the plan says; its keys are not known, so the next look reads it.
        moved = {path for path in move.old.how.keys() | move.new.how.keys() if move.old.how.get(path) != move.new.how.get(path)}
        keys = {**index.keys, **dict.fromkeys([*differing(move.old, move.new, private=True), *moved], UNSURE)}
        try:
            Index(move.new, written(keys), self._archive).save(self._index(workspace))
        except OSError:  # the move is done; an index only saves work
            self._index(workspace).unlink(missing_ok=True)

    def _move(self, workspace: Workspace, old: Snapshot, new: Snapshot, whole: bool) -> moving.Move:
        before, after = self._records.find(old), self._records.find(new)
        return moving.Move(
            label=f"{before.id} {after.id}",
            location=Path(workspace.location),
            aside=self._aside(workspace),
            done=self.home / "moves" / f"{workspace.uid}.done",
            scratch=self._scratch,
            old=before.manifest,
            new=after.manifest,
            keys=Index.load(self._index(workspace), self._archive).keys,
            source=self._records.source(after),
            pool=self._archive.pool,
            clock=self._view.clock if self._view and not whole else None,
            private=whole,
        )

    def _aside(self, workspace: Workspace) -> Path:
        """Return the folder where moves of a workspace are prepared: from there to its place it must be a rename, which no other subvolume allows."""
        location = Path(workspace.location)
        if location.is_dir() and location.stat().st_dev != self.home.stat().st_dev:
            return location / MOVING
        return self.home / "moves" / workspace.uid

    def settle(self, workspace: Workspace, old: Snapshot, new: Snapshot, reason: str, since: datetime, whole: bool = False) -> bool:
        if not all(self._archive.holds(each.id) for each in (old, new)):
            return False  # it was killed before anything was moved
        with as_ours():
            return moving.settle(self._move(workspace, old, new, whole))

    def occupied(self, workspace: Workspace) -> str:
        return ""

    def programs(self) -> tuple[Program, ...]:
        return ()

    def untrusted(self, workspace: Workspace, paths: Sequence[str]) -> tuple[str, ...]:
        return ()

    def marked(self, workspace: Workspace, paths: Sequence[str]) -> tuple[str, ...]:
        return combine.marked_files(Path(workspace.location), paths)

    # -- making and removing

    def fork(self, snapshot: Snapshot, clone: Workspace, source: Workspace) -> tuple[str, ...]:
        record, location = self._records.find(snapshot), Path(clone.location)
        staged = self._staged(clone)
        prepare_folder(location.parent)
        refuse_taken(location)
        with as_ours():
            staged.parent.mkdir(parents=True, exist_ok=True)
            subvolume.remove(staged)
            keys = self._fill(record, staged)
            staged.chmod(stat.S_IMODE(located(source).stat().st_mode))
            freezing.remember(self._index(clone), keys, self._standing(record), self._archive)
            self._mine(clone).write_text(str(staged.stat().st_ino))
            tree.sync_all(staged)
            put_in_place(staged, location)
        return ()

    def _fill(self, record: Record, staged: Path) -> dict[str, str]:
        """Make a folder that holds what a record does, and return the keys of its paths."""
        kept = self._archive.load(record.id) if self._archive.holds(record.id) else None
        if kept and self._archive.tree(kept.manifest.root).exists():
            return frozen.fork(self._archive, kept, staged, self._records.source(record))
        staged.mkdir()
        return filling.fill(record.manifest, staged, self._records.source(record))

    def _standing(self, record: Record) -> Manifest:
        """Return a record's manifest as one that stands on a snapshot, if it was written whole."""
        return record.manifest.standing(record.id) if self._archive.is_whole(record.id) else record.manifest

    def _staged(self, clone: Workspace) -> Path:
        return self.home / "staging" / clone.uid

    def _mine(self, clone: Workspace) -> Path:
        """Return the file that says which folder was made for a clone, by its inode."""
        return self._index(clone).with_suffix(".inode")

    def retire(self, workspace: Workspace, snapshot: Snapshot | None) -> None:
        if snapshot:
            with self.keep_all():
                self.keep((workspace, "last", snapshot))
        with as_ours():
            self._mine(workspace).unlink(missing_ok=True)
            tree.sync(*trash.put_away(workspace, *trash.places(self.home, workspace)))

    def revive(self, workspace: Workspace) -> tuple[str, ...]:
        with as_ours():
            home, beside = trash.places(self.home, workspace)
            if (kept := trash.in_trash(workspace, home, beside)) is not None:
                trash.bring_back(workspace, kept)
            trash.forget_places(home, beside)
        return ()

    def remnant(self, workspace: Workspace, since: Snapshot) -> Snapshot | None:
        return None

    def purge(self, workspace: Workspace) -> None:
        with as_ours():
            staged, location, places = self._staged(workspace), Path(workspace.location), trash.places(self.home, workspace)
            if self.is_placed(workspace):
                tree.refuse_mounts(location)
                location.rename(staged)
            self._mine(workspace).unlink(missing_ok=True)  # first, so that what is in its place from now on is not taken for it
            for place in (staged, *places, self.home / "moves" / workspace.uid):
                subvolume.remove(place / "tree")
                subvolume.remove(place)
            for file in (self._index(workspace), self.home / "moves" / f"{workspace.uid}.done"):
                file.unlink(missing_ok=True)
            self._archive.forget(workspace.uid)
            self._archive.collect()

    def is_placed(self, workspace: Workspace) -> bool:
        elsewhere = (self._staged(workspace), *(place / "tree" for place in trash.places(self.home, workspace)))
        try:
            is_mine = Path(workspace.location).lstat().st_ino == int(self._mine(workspace).read_text())
        except (*tree.ABSENT, ValueError):
            return False
        return is_mine and not any(map(os.path.lexists, elsewhere))  # every subvolume has the same inode

    # -- looking after

    def weigh(self, workspace: Workspace) -> int:
        return trash.weigh(self.home, workspace)

    def footprint(self, workspace: Workspace) -> Disk:
        with as_ours():
            return extents.footprint(located(workspace), self._scratch, (WORKSPACES,) if workspace.is_main else ())

    def relax(self) -> None:
        tree.relax(self.root, self.home)

    def confine(self, workspace: Workspace, network: bool, environment: Mapping[str, str]) -> dict[str, str]:
        reach = area.Area((located(workspace),), shared=(), root=self.root, workspaces=self.root / WORKSPACES)
        return area.enter(workspace, reach, network, environment)

    def repoint(self, workspace: Workspace) -> None:
        """Nothing in a folder names its location."""

    def inspect(self, workspaces: Sequence[Workspace], known: Sequence[Workspace], quick: bool = False) -> Iterator[Finding]:
        for workspace in workspaces:
            try:
                yield Finding(check=workspace.id, ok=True, message=str(located(workspace)))
            except WorkspaceGone as missing:
                yield Finding(check=workspace.id, ok=False, message=missing.message, repair=missing.hint)
        if not quick:
            yield self._snapshots({name for workspace in workspaces for name in (workspace.origin, workspace.base) if name})
        yield trash.look(self.home, self.root / WORKSPACES, known)
        left, folders = self._half_made(known), self._unknown_folders(known)
        names = ", ".join(_shown(str(path)) for path in [*left, *folders][:5])
        repair = "workspaces doctor --repair clears it away." if left else "Move what you need out of it, then remove it."
        yield Finding(
            check="strays",
            ok=not names,
            message=f"no workspace that is remembered, and no call, explains {names}" if names else "nothing lies about that nobody knows",
            repair=repair if names else "",
        )

    def _snapshots(self, named: set[str]) -> Finding:
        lost = self._archive.missing(named)
        return Finding(
            check="snapshots",
            ok=not lost,
            message=f"snapshots are missing or not whole: {', '.join(lost)}"
            if lost
            else "all snapshots that workspaces descend from are whole",
            repair="Copy the work out of the workspaces that descend from them, and delete these." if lost else "",
        )

    def _half_made(self, known: Sequence[Workspace]) -> list[Path]:
        """Return what calls that nobody knows of left of clones and moves that they had not finished."""
        there = [place for part in ("staging", "moves") for place in (self.home / part).glob("*")]
        uids = {workspace.uid for workspace in known}
        return [place for place in there if place.stem not in uids]

    def _unknown_folders(self, known: Sequence[Workspace]) -> list[Path]:
        folder = self.root / WORKSPACES
        locations = (Path(workspace.location) for workspace in known)
        names = {location.name for location in locations if location.parent == folder} | {_STATE, ".gitignore", ".trash"}
        return [entry for entry in folder.iterdir() if entry.name not in names] if folder.is_dir() else []

    def mend(self, workspace: Workspace) -> Sequence[str]:
        """See `Backend.mend`. Nothing is around a workspace's files but an index, which only saves work."""
        located(workspace)
        return []

    def remains(self) -> Sequence[Workspace]:
        """See `Backend.remains`. A folder alone does not say what it was copied from."""
        return ()

    def sweep(self, known: Sequence[Workspace]) -> Sequence[str]:
        with as_ours():
            left = self._half_made(known)
            for place in left:
                subvolume.remove(place)
        return [f"removed {place}, which was half made" for place in left]


def _has_state(folder: Path) -> bool:
    state = folder / WORKSPACES / _STATE
    return state.is_dir() and not state.is_symlink() and not state.parent.is_symlink()


def _decider(choices: Mapping[str, Choice], rest: Rest) -> Callable[[str], Rest]:
    """Return what says who decides over what git does not see of a path."""

    def decide(path: str) -> Rest:
        match choices.get(path):
            case "source":
                return "source"
            case "target":
                return "target"
            case _:
                return rest

    return decide


def _shown(path: str) -> str:
    return path_text(os.fsencode(path))
