"""A backend for mcp-workspaces: every workspace is a whole plain copy of a folder of documents.

All that it keeps lies in `.workspaces/.plain` of the project: contents by their digest, the trash, and what calls at work put aside. Files are
compared and combined whole; a file that both sides changed is a conflict. Contents are never collected.
"""

from __future__ import annotations

import difflib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Literal

from workspaces.errors import (
    Exists,
    InvalidArgument,
    NotAllowed,
    NotFound,
    TargetMoved,
    Unsupported,
    WorkspaceGone,
    WorkspacesError,
    as_ours,
    translated,
)
from workspaces.model import (
    NONE,
    Capabilities,
    Change,
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
    path_bytes,
    path_shown,
    path_text,
)

from .combine import KINDS, Trees, combine, conflict, decided
from .folder import LINK, OURS, Entry, Objects, Tree, bring, differing, digest, freeze, pack, unpack

__all__ = ["PlainBackend"]
_HOME = f"{OURS}/.plain"


class PlainBackend:
    """See `workspaces.backend.Backend`."""

    name: ClassVar[str] = "plain"
    holds_store = True
    isolation = "copy"
    trusted = ""

    def __init__(self, root: Path, view: Path | None = None) -> None:
        self.root, self.home, self._view = root, root / _HOME, view
        lasting = self.home / "objects"
        self._objects = Objects(view, lasting) if view else Objects(lasting)
        self.capabilities = Capabilities(isolation=self.isolation, copies_by="plain copy", commits=False, merge_kinds=KINDS, max_clones=256)

    # -- the project

    @classmethod
    def find(cls, path: Path) -> PlainBackend | None:
        here = path.resolve()
        return next((cls(folder) for folder in (here, *here.parents) if (folder / _HOME).is_dir()), None)

    @classmethod
    def adopt(cls, path: Path) -> PlainBackend | None:
        return cls(path.resolve())

    def initialize(self) -> None:
        if self.home.parent.is_symlink():
            raise NotAllowed(f"{self.home.parent} is a link, so it could lead anywhere. Nothing was changed.", "Remove it and call again.")
        with as_ours():
            for name in ("objects", "trash", "made", "aside"):
                (self.home / name).mkdir(parents=True, exist_ok=True)
            self._clear_away()

    def _clear_away(self) -> None:
        """Remove what killed calls put aside, when no call is at work: each holds this lock together with the others."""
        with (self.home / "aside.lock").open("w") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in (self.home / "aside").iterdir():
                shutil.rmtree(leftover)

    # -- views

    @contextmanager
    def aside(self) -> Generator[PlainBackend]:
        with self._scratch() as folder:
            yield PlainBackend(self.root, folder)

    @contextmanager
    def _scratch(self) -> Generator[Path]:
        with (self.home / "aside.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            with tempfile.TemporaryDirectory(dir=self.home / "aside") as folder:
                yield Path(folder)

    @contextmanager
    def keep_all(self) -> Generator[None]:
        if self._view:
            with as_ours():
                self._objects.bring_in()
        yield

    def keep(self, *held: tuple[Workspace, str, Snapshot]) -> None:
        """Nothing that was made permanent is ever collected, so there is nothing to hold on to."""

    # -- snapshots: contents, and the snapshots that they descend from

    def snapshot(self, workspace: Workspace, lineage: Sequence[str] = (), committed: bool = False) -> Snapshot:
        with as_ours():
            tree, skipped = freeze(_folder(workspace), self._objects.put)
            made = self._write(tree, lineage)
        return made.model_copy(update={"skipped": tuple(map(_text, skipped))})

    def _write(self, tree: Tree, parents: Iterable[str]) -> Snapshot:
        contents = self._objects.put(pack(tree))
        return self._descending(contents, parents)

    def _descending(self, contents: str, parents: Iterable[str]) -> Snapshot:
        known = sorted({*parents} - {""})
        return Snapshot(id=self._objects.put(" ".join([contents, *known]).encode()), contents=contents)

    def load(self, snapshot: str) -> Snapshot:
        return Snapshot(id=snapshot, contents=self._read(snapshot)[0])

    def _read(self, snapshot: str) -> tuple[str, list[str]]:
        with as_ours():
            contents, *parents = self._objects.read(snapshot).decode().split()
        return contents, parents

    def _tree(self, contents: str) -> Tree:
        with as_ours():
            return unpack(self._objects.read(contents))

    def graft(self, contents: Snapshot, onto: str) -> Snapshot:
        return self._descending(contents.contents, [onto])

    def restrict(self, base: Snapshot, theirs: Snapshot, paths: Sequence[str]) -> Snapshot:
        before, after = self._tree(base.contents), self._tree(theirs.contents)
        wanted = {path: {each for each in differing(before, after) if f"{each}/".startswith(f"{_path(path)}/")} for path in paths}
        if idle := [path for path, changed in wanted.items() if not changed]:
            raise InvalidArgument(
                f"Not changed there: {', '.join(map(path_shown, idle[:5]))}. Nothing was merged.", "compare lists what it changed."
            )
        taken = {path for changed in wanted.values() for path in changed}
        kept = {path: entry for path, entry in before.items() if path not in taken}
        return self._write(kept | {path: entry for path, entry in after.items() if path in taken}, [base.id])

    def _ancestry(self, ids: Iterable[str]) -> set[str]:
        """Return these snapshots and all that they descend from."""
        found, waiting = set[str](), [*ids]
        while waiting:
            here = waiting.pop()
            if here and here not in found:
                found.add(here)
                waiting += self._read(here)[1]
        return found

    def _bases(self, ours: Iterable[str], theirs: Iterable[str]) -> list[str]:
        common = self._ancestry(ours) & self._ancestry(theirs)
        return sorted(common - self._ancestry(parent for each in common for parent in self._read(each)[1]))

    def base(self, ours: Snapshot, theirs: Snapshot, lineage: Sequence[str], recorded: Snapshot) -> Snapshot:
        found = self._bases([ours.id, *lineage], [theirs.id])
        return self.load(found[0]) if len(found) == 1 else recorded

    # -- comparing

    def diff(self, old: Snapshot, new: Snapshot) -> Diff:
        before, after = self._tree(old.contents), self._tree(new.contents)
        return Diff(changes=tuple(self._change(path, before.get(path), after.get(path)) for path in sorted(differing(before, after))))

    def _change(self, path: str, old: Entry | None, new: Entry | None) -> Change:
        texts = self._texts(old, new)
        lines = list(difflib.unified_diff(*texts, n=0))[2:] if texts else []
        return Change(
            path=_text(path),
            status=_status(old, new),
            insertions=sum(line.startswith("+") for line in lines),
            deletions=sum(line.startswith("-") for line in lines),
            binary=texts is None,
        )

    def _texts(self, old: Entry | None, new: Entry | None) -> tuple[list[str], list[str]] | None:
        """Return the lines of both sides; None where one is binary."""
        with as_ours():
            both = [self._objects.read(entry.blob) if entry else b"" for entry in (old, new)]
        if any(b"\0" in contents for contents in both):
            return None
        before, after = ([line + "\n" for line in contents.decode(errors="replace").removesuffix("\n").split("\n")] for contents in both)
        return (before if both[0] else []), (after if both[1] else [])

    def patch(self, old: Snapshot, new: Snapshot, paths: Sequence[str], limit: int) -> str:
        before, after = self._tree(old.contents), self._tree(new.contents)
        said = ""
        for path in sorted(differing(before, after)):
            if len(said) < limit and (not paths or any(f"{path}/".startswith(f"{_path(wanted)}/") for wanted in paths)):
                said += self._patch(path, before.get(path), after.get(path))
        return said[:limit]

    def _patch(self, path: str, old: Entry | None, new: Entry | None) -> str:
        a, b = (f"{side}/{_text(path)}" if entry else "/dev/null" for side, entry in (("a", old), ("b", new)))
        texts = self._texts(old, new)
        return "".join(difflib.unified_diff(*texts, a, b)) if texts else f"Binary files {a} and {b} differ\n"

    def contents(self, places: Sequence[tuple[Snapshot, str]], limit: int) -> Sequence[bytes | None]:
        entries = [self._tree(snapshot.contents).get(_path(path)) for snapshot, path in places]
        return [self._file(entry, limit) for entry in entries]

    def _file(self, entry: Entry | None, limit: int) -> bytes | None:
        found = self._objects.read(entry.blob) if entry and entry.mode != LINK else None
        return found if found is not None and len(found) <= limit else None

    # -- combining

    def merge(
        self,
        ours: Snapshot,
        theirs: Snapshot,
        lineage: Sequence[str] = (),
        on_conflict: Rest = "abort",
        labels: tuple[str, str] = ("ours", "theirs"),
        choices: Mapping[str, Choice] = NONE,
    ) -> Merge:
        base = self._common(self._bases([ours.id, *lineage], [theirs.id]))
        trees = Trees(base, self._tree(ours.contents), self._tree(theirs.contents))
        with as_ours():
            result, kinds = combine(trees, on_conflict, labels, self._objects)
            chosen = decided(trees, kinds, {_path(path): choice for path, choice in choices.items()}, self._objects)
            made = self._write({path: entry for path, entry in (result | chosen).items() if entry}, [])
            by_side = on_conflict in ("source", "target")
            met = [conflict(trees, path, kind, self._objects, _text) for path, kind in sorted(kinds.items())]
        settled = {_text(path) for path in chosen} if not by_side else {each.path for each in met}
        return Merge(
            contents=made.contents,
            conflicts=tuple(each for each in met if each.path not in settled),
            decided=tuple(each.path for each in met if each.path in settled),
            changes=self.diff(ours, made).changes,
        )

    def clashes(self, meetings: Sequence[Meeting]) -> Sequence[tuple[Conflict, ...]]:
        met = (self.merge(meeting.ours, meeting.theirs, meeting.lineage).conflicts for meeting in meetings)
        return [tuple(conflict.model_copy(update={"hunks": ()}) for conflict in conflicts) for conflicts in met]

    def _common(self, bases: Sequence[str]) -> Tree:
        """Return the one tree that both sides began with. Where there were several, it is what they have in common; where those conflict,
        nothing was agreed on."""
        if not bases:
            return {}
        first, *rest = bases
        tree = self._tree(self.load(first).contents)
        for other in rest:
            below = self._common(self._bases([first], [other]))
            tree, kinds = combine(Trees(below, tree, self._tree(self.load(other).contents)), "abort", ("", ""), self._objects)
            tree = {path: entry for path, entry in tree.items() if path not in kinds}
        return tree

    def read(self, snapshot: Snapshot, path: str, limit: int) -> bytes | None:
        found = self._tree(snapshot.contents).get(_path(path))
        return self._objects.read(found.blob)[:limit] if found and found.mode != LINK else None

    def series(self, ours: Snapshot, theirs: Snapshot, lineage: Sequence[str], paths: Sequence[str]) -> Sequence[Pick]:
        raise Unsupported("There are no commits here. Nothing was changed.", "Leave history out.")

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
        return Snapshot(id="", contents=merge.contents)

    def contains(self, workspace: Workspace, commit: str) -> bool:
        return not commit

    def ahead(self, old: Snapshot, new: Snapshot) -> int:
        return 0

    # -- moving a workspace

    def obstacles(self, workspace: Workspace, old: Snapshot, new: Snapshot) -> tuple[str, ...]:
        with as_ours():
            now, skipped = freeze(_folder(workspace), digest)
        before, after = self._tree(old.contents), self._tree(new.contents)
        moved = differing(before, after)
        strange = {path for path in moved if now.get(path) not in (before.get(path), after.get(path))}
        blocked = {
            each
            for each in skipped
            for path in moved
            if path in after and (f"{path}/".startswith(f"{each}/") or each.startswith(f"{path}/"))
        }
        return tuple(map(_text, sorted(strange | blocked)))

    def checkout(self, workspace: Workspace, old: Snapshot, new: Snapshot, reason: str, whole: bool = False) -> None:
        before, after = self._tree(old.contents), self._tree(new.contents)
        with as_ours():
            root = _folder(workspace)
            if freeze(root, digest)[0] != before:
                raise TargetMoved(f"{root} was changed while the call was at work. Nothing was changed.", "Call again.")
        moved = differing(before, after)
        try:
            self._bring(root, moved, after)
        except OSError as error:
            failure = translated(error)
            try:
                self._bring(root, differing(after, before), before)
            except OSError:
                failure.settled = False
            raise failure from error

    def settle(self, workspace: Workspace, old: Snapshot, new: Snapshot, reason: str, since: datetime, whole: bool = False) -> bool:
        """Go forward, as all contents are there. Where somebody changed one of the paths since, go back; what he has is left alone."""
        before, after = self._tree(old.contents), self._tree(new.contents)
        with as_ours():
            root = _folder(workspace)
            now, _ = freeze(root, digest)
            strange = {path for path in differing(before, after) if now.get(path) not in (before.get(path), after.get(path))}
            start, goal = (after, before) if strange else (before, after)
            self._bring(root, [path for path in differing(start, goal) if path not in strange and now.get(path) != goal.get(path)], goal)
        return not strange

    def _bring(self, root: Path, paths: Sequence[str], goal: Tree) -> None:
        with self._scratch() as drafts:
            bring(root, paths, goal, self._objects, drafts)

    def occupied(self, workspace: Workspace) -> str:
        return ""

    def programs(self) -> tuple[Program, ...]:
        return ()

    def untrusted(self, workspace: Workspace, paths: Sequence[str]) -> tuple[str, ...]:
        return ()

    def marked(self, workspace: Workspace, paths: Sequence[str]) -> tuple[str, ...]:
        return tuple(path for path in paths if _is_marked(Path(workspace.location, _path(path))))

    # -- workspaces

    def fork(self, snapshot: Snapshot, clone: Workspace, source: Workspace) -> tuple[str, ...]:
        location, tree = Path(clone.location), self._tree(snapshot.contents)
        with as_ours(), self._scratch() as drafts:
            staged = drafts / clone.uid
            staged.mkdir()
            bring(staged, tree, tree, self._objects, drafts)
            if os.path.lexists(location):
                raise Exists(f"{location} is there already and is no workspace. Nothing was made.", "Choose another name, or move it away.")
            # Which folder is ours, so that a purge never takes another that is in its place.
            self._made(clone).write_text(str(staged.stat().st_ino))
            staged.rename(location)
        return ()

    def _made(self, workspace: Workspace) -> Path:
        return self.home / "made" / workspace.uid

    def _trash(self, workspace: Workspace) -> Path:
        return self.home / "trash" / workspace.uid

    def retire(self, workspace: Workspace, snapshot: Snapshot | None) -> None:
        if snapshot:
            with self.keep_all():
                self.keep((workspace, "last", snapshot))
        with as_ours(), suppress(FileNotFoundError):
            Path(workspace.location).rename(self._trash(workspace))

    def revive(self, workspace: Workspace) -> tuple[str, ...]:
        location, kept = Path(workspace.location), self._trash(workspace)
        if os.path.lexists(kept) and os.path.lexists(location):
            raise Exists(f"{location} is in the way, so {workspace.id} stays in the trash.", "Move it away and call again.")
        with as_ours(), suppress(FileNotFoundError):
            kept.rename(location)
        if not os.path.lexists(location):
            raise NotFound(f"Nothing is left of {workspace.id} in the trash.", "Its folder was removed by other means.")
        return ()

    def remnant(self, workspace: Workspace, since: Snapshot) -> Snapshot | None:
        return None

    def is_placed(self, workspace: Workspace) -> bool:
        with suppress(FileNotFoundError):
            return self._made(workspace).read_text() == str(Path(workspace.location).lstat().st_ino)
        return False

    def purge(self, workspace: Workspace) -> None:
        location, made = Path(workspace.location), self._made(workspace)
        with as_ours():
            if self.is_placed(workspace):
                location.rename(self._trash(workspace))
            with suppress(FileNotFoundError):
                shutil.rmtree(self._trash(workspace))
            made.unlink(missing_ok=True)

    def confine(self, workspace: Workspace, network: bool, environment: Mapping[str, str]) -> dict[str, str]:
        raise Unsupported("The plain backend confines no commands. Nothing was run.", "Run it without --confined, or in a container.")

    def repoint(self, workspace: Workspace) -> None:
        """Nothing in a workspace names its location."""

    def weigh(self, workspace: Workspace) -> int:
        lies = self._trash(workspace) if workspace.state == "deleted" else _folder(workspace)
        return sum(file.lstat().st_blocks * 512 for file in lies.rglob("*"))

    def footprint(self, workspace: Workspace) -> Disk:
        """See `Backend.footprint`. Copies are plain, and share nothing."""
        return Disk(size=self.weigh(workspace), shared=0)

    def relax(self) -> None:
        """Nothing here is made durable step by step."""

    def mend(self, workspace: Workspace) -> Sequence[str]:
        _folder(workspace)
        return ()

    def remains(self) -> Sequence[Workspace]:
        """See `Backend.remains`. A folder alone does not say what it was copied from."""
        return ()

    def sweep(self, known: Sequence[Workspace]) -> Sequence[str]:
        return ()

    def inspect(self, workspaces: Sequence[Workspace], known: Sequence[Workspace], quick: bool = False) -> Iterator[Finding]:
        for workspace in workspaces:
            try:
                place = str(_folder(workspace))
                for snapshot in {workspace.origin, workspace.base} - {""}:
                    self._tree(self.load(snapshot).contents)
                yield Finding(check=workspace.id, ok=True, message=place)
            except WorkspacesError as missing:
                yield Finding(check=workspace.id, ok=False, message=missing.message, repair=missing.hint)


def _status(old: Entry | None, new: Entry | None) -> Literal["added", "modified", "deleted", "type_changed"]:
    if old is None or new is None:
        return "added" if old is None else "deleted"
    return "modified" if (old.mode == LINK) == (new.mode == LINK) else "type_changed"


def _text(path: str) -> str:
    return path_text(os.fsencode(path))


def _path(text: str) -> str:
    return os.fsdecode(path_bytes(text)).rstrip("/")


def _folder(workspace: Workspace) -> Path:
    """Return a workspace's folder. Raises `WorkspaceGone` when it is not there, or became a link that could lead anywhere."""
    place = Path(workspace.location)
    if place.is_symlink() or not place.is_dir() or (not workspace.is_main and place.parent.is_symlink()):
        raise WorkspaceGone(f"The folder of {workspace.id} is gone: {place}.", "Put the folder back, or delete the workspace.")
    return place


def _is_marked(file: Path) -> bool:
    if file.is_symlink() or not file.is_file():
        return False
    lines = file.read_bytes().splitlines()
    return any(line.startswith(b"<<<<<<< ") for line in lines) and any(line.startswith(b">>>>>>> ") for line in lines)
