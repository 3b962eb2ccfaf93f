"""The worktree backend: every workspace is a linked worktree of the project's git repository, with a detached head."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, get_args

from workspaces.errors import BackendFailed, InvalidArgument, Limit, NoProject, WorkspaceGone, WorkspacesError, as_ours
from workspaces.model import (
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
from workspaces.starts import this_start

from .. import area, cachetree, combine, confinement, extents, matrix, sheaf, subvolume, tree, views
from ..crew import Crew
from ..diff import Moved, contents_of, moved_in_each, patch, steps
from ..git import OFF, Git
from ..matrix import Three
from ..mergetree import entries
from ..place import WORKSPACES, ignore_workspaces, located
from ..trash import places, weigh
from . import (
    apart,
    care,
    checkout,
    commits,
    descent,
    filling,
    gitlinks,
    keepsake,
    obstacles,
    own,
    packs,
    pending,
    preparing,
    registration,
    remains,
    replaying,
    repository,
    spares,
    submodules,
    trash,
)
from . import refs as names
from .checkout import Move
from .seen import Seen
from .snapshot import Found, freeze


class WorktreeBackend:
    """See `workspaces.backend.Backend`. Objects are written to the repository, or by an `aside` view to a folder that vanishes with it."""

    name: ClassVar[str] = "worktree"

    def __init__(self, found: repository.Repository, view: Path | None = None, trusted: str = "", crew: Crew | None = None) -> None:
        self._repository, self._view, self.trusted, self._crew = found, view, trusted, crew
        self._found: dict[str, Found] = {}
        self._doors: dict[Path, Git] = {}
        self._seen = Seen(remembers=view is not None)
        self._calm = packs.Calm.of(found.common_dir) if view else None
        self._keeps: list[Path] = []
        self._brings_found = False
        self.root, self.home = found.root, found.home
        self.holds_store = found.root in found.home.parents
        self.isolation = confinement.isolated("worktree")

    @classmethod
    def find(cls, path: Path) -> WorktreeBackend | None:
        found = repository.find(path.resolve())
        return None if found is None else cls(found)

    @classmethod
    def adopt(cls, path: Path) -> WorktreeBackend | None:
        return None

    def initialize(self) -> None:
        if not (self._repository.common_dir / "HEAD").exists():
            raise NoProject(
                f"The repository of {self.root} is gone: {self._repository.common_dir}. Nothing was made in its place.", "Put it back."
            )
        scratch = self._repository.scratch
        scratch.mkdir(parents=True, exist_ok=True)
        ignore_workspaces(self.root / WORKSPACES)
        views.clear(scratch)
        packs.forget_stale(self._shelf.packs)
        with suppress(WorkspacesError, OSError):  # nothing depends on it
            packs.tidy(self._repository.git, self._shelf, scratch)

    @cached_property
    def capabilities(self) -> Capabilities:
        kinds: tuple[ConflictKind, ...] = get_args(ConflictKind)
        return Capabilities(
            isolation=self.isolation,
            copies_by=tree.copies_by(self._repository.scratch),
            commits=True,
            merge_kinds=kinds,
            max_clones=256,
            spares=True,
            defers=bool(this_start()),
            foresees=True,
            templates=subvolume.can_be(self._repository.scratch),
        )

    # -- where git is pinned

    @property
    def _git(self) -> Git:
        """Return git at the project's own checkout, which nobody deletes."""
        return self._door(self._repository.git_dir)

    def _door(self, git_dir: Path) -> Git:
        """Return git at a git directory. What the configuration there defines is looked at in every call; a view lives for one call."""
        if self._view is None:
            return self._repository.git(git_dir, self.trusted)
        if git_dir not in self._doors:
            like = next((door for door in [*self._doors.values()] if door.alike), None)
            self._doors[git_dir] = replace(self._repository.git(git_dir, self.trusted, like), objects=self._view / "objects")
        return self._doors[git_dir]

    def _at(self, workspace: Workspace) -> Git:
        """Return git pinned to a workspace. Raises `WorkspaceGone` when its folder or its registration is gone."""
        location = self._located(workspace)
        self._refuse_gone(workspace)
        return replace(self._door(self._repository.admin_dir(workspace)), work_tree=location)

    def _located(self, workspace: Workspace) -> Path:
        """Return the folder of a workspace. Raises `WorkspaceGone` when it is not there, and says where it is if git knows."""
        try:
            return located(workspace)
        except WorkspaceGone:
            if there := None if workspace.is_main else registration.elsewhere(self._repository, workspace):
                raise WorkspaceGone(
                    f"The worktree of {workspace.id} was moved to {there}, where git alone knows it.",
                    "Move it back (git worktree move), or delete the workspace: the worktree stays where it is.",
                ) from None
            raise

    def _refuse_gone(self, workspace: Workspace) -> None:
        admin = self._repository.admin_dir(workspace)
        if not (admin / "HEAD").exists():
            raise WorkspaceGone(
                f"git no longer knows {workspace.id}: {admin} is gone. Its files in {workspace.location} are untouched.",
                "Copy what you need, then delete the workspace.",
            )

    @contextmanager
    def _told_apart(self, workspace: Workspace) -> Generator[None]:
        """Raise `WorkspaceGone` where a git failed in a workspace because somebody deleted that meanwhile."""
        try:
            yield
        except BackendFailed:
            self._refuse_gone(workspace)
            raise

    def _lasting(self, git: Git) -> Git:
        """Return the door as one that writes for good, from inside of a view too: what it refers to was brought in before."""
        return replace(git, objects=None)

    # -- views

    @contextmanager
    def aside(self) -> Generator[WorktreeBackend]:
        with views.view(self._repository.scratch) as folder, Crew() as crew:
            (folder / "objects").mkdir()
            yield WorktreeBackend(self._repository, folder, self.trusted, crew)

    @contextmanager
    def keep_all(self) -> Generator[None]:
        """Bring the objects in as one pack, kept by a `.keep` file until the block ends: a prune that runs meanwhile leaves it alone."""
        if self._view is None:
            yield
            return
        with self._shelf.held():
            self._brings_found = packs.is_collected(self._repository.common_dir)
            self._keeps += packs.bring_in(self._git, self._view / "objects", self._shelf, self._brings_found)
            try:
                yield
            finally:
                while self._keeps:
                    self._keeps.pop().unlink(missing_ok=True)

    @property
    def _shelf(self) -> packs.Shelf:
        return packs.Shelf(self._repository.common_dir / "objects" / "pack", self.home / "packs")

    def keep(self, *held: tuple[Workspace, str, Snapshot]) -> None:
        refs: dict[str, str] = {}
        for workspace, name, kept in held:
            ref = f"{trash.prefix(workspace)}{name}"
            refs |= {ref: kept.id} | ({f"{ref}-staged": kept.staged} if kept.staged else {})
        self.refer(refs)

    def refer(self, refs: Mapping[str, str]) -> None:
        if not refs:
            return
        common_dir = self._repository.common_dir
        if self._view and names.are_files(common_dir):
            self._secure(self._view)  # of a ref that names nothing, every git in the repository would complain
            names.write(common_dir, refs)
        else:
            self._refer_by_git(refs)
        self._git.sync_refs(*(common_dir / ref for ref in refs))
        if self._view:
            self._secure(self._view)

    def _refer_by_git(self, refs: Mapping[str, str]) -> None:
        """Let git write refs, which looks whether there is what they name."""
        lines = [f"update {ref} {value}\n" for ref, value in refs.items()]
        for ref in refs:  # nobody else writes under this label: the lock of it is that of a git that was killed
            (self._repository.common_dir / f"{ref}.lock").unlink(missing_ok=True)
        self._lasting(self._git).run("update-ref", "--stdin", stdin="".join(lines).encode())

    def _secure(self, view: Path) -> None:
        """See that what a view found in the repository is there to stay: a gc that began before there were refs to it may take it away."""
        if self._brings_found:
            return
        if packs.is_collected(self._repository.common_dir):
            self._brings_found = True
            self._keeps += packs.bring_found(self._git, view / "objects", self._shelf)
        elif self._calm and not self._calm.lasts():
            self._calm = packs.Calm.of(self._repository.common_dir)
            packs.look(self._git, view / "objects")

    # -- freezing and looking

    def snapshot(self, workspace: Workspace, lineage: Sequence[str] = (), committed: bool = False) -> Snapshot:
        # What the index of a clone says was found, whoever works there may have made up.
        kept = self._view if workspace.is_main else None
        with self._told_apart(workspace):
            git = self._at(workspace)
            made, found, paths = freeze(git, lineage, committed, self._scratch, kept)
            if worked := submodules.worked_in(git, paths, workspace.origin or made.head, self._scratch) if paths else ():
                made = made.model_copy(update={"left_out": tuple(sorted({*made.left_out, *map(path_text, worked)}))})
        if found:
            self._found[made.contents] = found
        return made

    def load(self, snapshot_id: str) -> Snapshot:
        return self._seen.snapshot(self._git, snapshot_id)

    def fork(self, snapshot: Snapshot, clone: Workspace, source: Workspace) -> tuple[str, ...]:
        with as_ours():
            at, main = self._at(source), self._git
            found = self._found.get(snapshot.contents) if at.own == main.own else None
            door = self._lasting(replace(main, settings=at.settings, filters=at.filters, checkout=at.checkout, own=at.own))
            fill = partial(filling.fill, contents=snapshot.contents, found=found, crew=self._crew)
            fits = "" if own.has_own(at) else spares.fitting(door, self.trusted)
            return registration.fork(self._repository, snapshot, clone, at, door, registration.Files(fits, fill, found is not None))

    def prepare(self, count: int) -> int:
        with as_ours():
            return preparing.prepare(self._repository, replace(self._git, work_tree=self.root), self.trusted, count)

    def write_out(self, age: float = 0.0) -> None:
        with as_ours():
            pending.write_out(self._repository.pending, self.root / WORKSPACES, age)

    def lost(self) -> Sequence[str]:
        return [each.file.name for each in pending.notes(self._repository.pending) if each.is_lost]

    def make_good(self, uid: str, workspace: Workspace | None) -> Sequence[str]:
        known = next((each for each in pending.notes(self._repository.pending) if each.file.name == uid), None)
        if known is None:
            return ()
        with as_ours():
            made: Sequence[bytes] = ()
            if workspace and self.is_placed(workspace):
                made = pending.make_good(self._at(workspace), known, self._scratch)
                if not registration.points(located(workspace), self._repository.admin_dir(workspace)):
                    registration.point(located(workspace), self._repository.admin_dir(workspace))
            known.file.unlink(missing_ok=True)
        return tuple(map(path_text, made))

    def base(self, ours: Snapshot, theirs: Snapshot, lineage: Sequence[str], recorded: Snapshot) -> Snapshot:
        found = self._bases(ours, theirs, lineage)
        return self.load(found[0]) if len(found) == 1 else recorded

    def _bases(self, ours: Snapshot, theirs: Snapshot, lineage: Sequence[str]) -> tuple[str, ...]:
        """Return all best common ancestors of two snapshots."""
        git, left = self._git, self._linked(ours, lineage)
        if lineage and not self._seen.knows(left, theirs.id):
            for base in filter(None, descent.common(git, [Meeting(ours=ours, theirs=theirs, lineage=tuple(lineage))])):
                self._seen.learn_base(left, theirs.id, base)
        return self._seen.bases(git, left, theirs.id)

    def foresee(self, meetings: Sequence[Meeting]) -> None:
        git = self._git
        if self._view and meetings:
            sheaf.join(self._view / "objects", len(meetings[0].theirs.contents))
        met = [(meeting, base) for meeting, base in zip(meetings, descent.common(git, meetings), strict=True) if base]
        for meeting, base in met:
            self._seen.learn_base(self._linked(meeting.ours, meeting.lineage), meeting.theirs.id, base)
        self._seen.learn_changes(
            git, ((self.load(base).contents, side.contents) for meeting, base in met for side in (meeting.ours, meeting.theirs))
        )

    def diff(self, old: Snapshot, new: Snapshot) -> Diff:
        return Diff(changes=self._seen.changes(self._git, old.contents, new.contents))

    def patch(self, old: Snapshot, new: Snapshot, paths: Sequence[str], limit: int) -> str:
        return patch(self._git, old.contents, new.contents, [path_bytes(path) for path in paths], limit, self._scratch)

    def contents(self, places: Sequence[tuple[Snapshot, str]], limit: int) -> Sequence[bytes | None]:
        return contents_of(self._git, [(snapshot.contents, path_bytes(path)) for snapshot, path in places], limit)

    def ahead(self, old: Snapshot, new: Snapshot) -> int:
        return descent.distance(self._git, old.head, new.head)

    # -- combining

    def restrict(self, base: Snapshot, theirs: Snapshot, paths: Sequence[str]) -> Snapshot:
        wanted = [path_bytes(path.rstrip("/")) for path in paths]
        moved = steps(self._git, base.contents, theirs.contents)
        kept = [step for step in moved if any(step.path == path or step.path.startswith(path + b"/") for path in wanted)]
        idle = [path_text(path) for path in wanted if not any(step.path == path or step.path.startswith(path + b"/") for step in kept)]
        if idle:
            raise InvalidArgument(
                f"Not changed there: {', '.join(path_shown(path) for path in idle[:5])}. Nothing was merged.",
                "compare with detail='files' lists what it changed.",
            )
        put = [step.put for step in kept]
        contents = self._git.tree(base.contents, put, self._scratch)
        return self.graft(Snapshot(id="", contents=contents), onto=base.id)

    def graft(self, contents: Snapshot, onto: str) -> Snapshot:
        made = Snapshot(id="", contents=contents.contents, head=onto)
        return commits.linked(self._git, made, "", [onto], commits.commit_of(self._git, onto).date)

    def merge(
        self,
        ours: Snapshot,
        theirs: Snapshot,
        lineage: Sequence[str] = (),
        on_conflict: Rest = "abort",
        labels: tuple[str, str] = ("ours", "theirs"),
        choices: Mapping[str, Choice] = NONE,
    ) -> Merge:
        git, bases = self._git, self._bases(ours, theirs, lineage)
        trees = [commits.tree_of(git, base) for base in bases]
        if trees == [ours.contents]:  # only theirs changed anything
            return Merge(contents=theirs.contents, changes=self._seen.changes(git, ours.contents, theirs.contents))
        if self._view and len(trees) == 1 and (done := apart.merge(git, self._seen, trees[0], ours.contents, theirs.contents)):
            return done
        left = self._linked(ours, lineage)
        return combine.merge(git, left, theirs.id, ours.contents, on_conflict, labels, self._scratch, choices, self._seen.changes)

    def clashes(self, meetings: Sequence[Meeting]) -> Sequence[tuple[Conflict, ...]]:
        git = self._git
        bases = descent.common(git, meetings)
        at = [number for number, base in enumerate(bases) if base]
        trees = {base: commits.tree_of(git, base) for base in bases if base}
        threes = [Three(trees[bases[each]], meetings[each].ours.contents, meetings[each].theirs.contents) for each in at]
        return matrix.settled(self, meetings, dict(zip(at, matrix.clashes(git, threes, self._scratch), strict=True)))

    def stack(self, meetings: Sequence[Meeting]) -> bool:
        git = self._git
        began = {commits.tree_of(git, base) if base else "" for base in descent.common(git, meetings)}
        base = began.pop()
        if began or not base:
            return False
        sides = (meetings[0].ours, *(each.theirs for each in meetings))
        return matrix.stack(git, base, self._moved(base, [side.contents for side in sides if side.contents != base]), self._scratch)

    def _moved(self, base: str, sides: Sequence[str]) -> list[Moved]:
        """Return what differs between a tree and others. Of what was looked at before, git is not asked again: there, nothing was renamed."""
        known = [self._seen.known_steps(base, side) for side in sides]
        if None not in known:
            return [Moved.of(each or (), renames=False) for each in known]
        asked = [*dict.fromkeys((base, side) for side in sides)]
        told = dict(zip(asked, moved_in_each(self._git, asked), strict=True))
        return [told[base, side] for side in sides]

    @property
    def _scratch(self) -> Path:
        return self._view or self._repository.scratch

    def _linked(self, ours: Snapshot, lineage: Sequence[str]) -> str:
        """Return a commit of `ours` that descends from the lineage too."""
        extra = [name for name in lineage if name not in (ours.id, ours.head)]
        if not extra and ours.id:
            return ours.id
        return self._seen.linked(self._git, ours.contents, (ours.id or ours.head, *extra))

    def read(self, snapshot: Snapshot, path: str, limit: int) -> bytes | None:
        name = path_bytes(path)
        found = entries(self._git, snapshot.contents, [name]).get(name)
        is_file = found is not None and found.mode.startswith("100")
        return self._git.head_of("cat-file", "blob", found.blob, limit=limit) if found and is_file else None

    def series(self, ours: Snapshot, theirs: Snapshot, lineage: Sequence[str], paths: Sequence[str]) -> Sequence[Pick]:
        """See `Backend.series`. To both sides of each commit is added what `ours` is known to contain, so that it brings nothing of that: not
        what was carried along, not what was merged before."""
        git, wanted = self._git, [path_bytes(path.rstrip("/")) for path in paths]
        steps = replaying.commits(git, ours.head, theirs.head, [self.load(name).head for name in lineage])
        sides = {name: self._completed(name, lineage) for step in steps for name in (step.id, step.parent) if name}
        pairs = [(step.id, step.subject, sides.get(step.parent, ""), sides[step.id]) for step in steps]
        if theirs.id != theirs.head:
            pairs.append(("", "", sides.get(theirs.head) or self._completed(theirs.head, lineage), self._completed(theirs.id, lineage)))
        return [replaying.pick(git, *pair, wanted, self._scratch) for pair in pairs if pair[2] != pair[3]]

    def _completed(self, name: str, lineage: Sequence[str]) -> str:
        """Return the tree of a commit with the lineage merged into it; where the two conflict, as the commit has it."""
        tree = commits.tree_of(self._git, name)
        for other in lineage:
            if not self._has(name, other):
                merged = self.merge(Snapshot(id=name, contents=tree), self.load(other), on_conflict="target")
                tree = merged.contents
                name = commits.write_commit(self._git, tree, [name, other], "completed", commits.identity())
        return tree

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
        """See `Backend.commit`. The commit gets what the merge changed on paths where `ours` has no uncommitted work; the rest stays so."""
        git = self._git
        if follow and history != "none" and self._has(theirs.head, ours.head):
            return Snapshot(id="", contents=merge.contents, head=theirs.head)
        if history == "none" or merge.conflicts or merge.contents == ours.contents:
            return Snapshot(id="", contents=merge.contents, head=ours.head)
        committed = commits.tree_of(self._git, ours.head)
        uncommitted = {step.path for step in steps(git, committed, ours.contents)} if ours.contents != committed else set[bytes]()
        moved = [step for step in self._seen.steps(git, ours.contents, merge.contents) if step.path not in uncommitted]
        put = [step.put for step in moved]
        contents = git.tree(committed, put, self._scratch) if uncommitted else merge.contents
        if contents == committed and history == "squash":
            return Snapshot(id="", contents=merge.contents, head=ours.head)
        if like:
            made = replaying.remade(git, like, contents, ours.head, self._identity("COMMITTER"))
            return Snapshot(id="", contents=merge.contents, head=made)
        side = [self._side(theirs, lineage, self._identity("AUTHOR"))] if history == "merge" else []
        made = commits.write_own(git, contents, [ours.head, *side], message)
        return Snapshot(id="", contents=merge.contents, head=made)

    def contains(self, workspace: Workspace, commit: str) -> bool:
        with self._told_apart(workspace):
            return commits.contains(Git(self._repository.admin_dir(workspace), self._repository.common_dir), commit)

    def _has(self, descendant: str, ancestor: str) -> bool:
        return commits.is_ancestor(self._git, ancestor, descendant)

    def _side(self, theirs: Snapshot, lineage: Sequence[str], author: str) -> str:
        """Return what a merge commit names as its second parent: their head, or a commit of their uncommitted work on top of it.

        What they only carried along from where they were cloned is not theirs, and stays out of history: where they committed it, their
        commits are brought as one, without it.
        """
        carried = next((base for base in map(self.load, lineage) if self._carried_into(base, theirs)), None)
        head = carried.head if carried else theirs.head
        committed = Snapshot(id=head, contents=commits.tree_of(self._git, head), head=head)
        own = self.merge(committed, theirs, lineage, "source").contents
        if own == committed.contents:
            return head
        return commits.write_commit(self._git, own, [head], "Uncommitted work" if head == theirs.head else "Work", author)

    def _carried_into(self, base: Snapshot, theirs: Snapshot) -> bool:
        """Return whether commits since a base touch the paths that were uncommitted in it."""
        carried = [step.path for step in steps(self._git, f"{base.head}^{{tree}}", base.contents)]
        return bool(carried) and bool(self._git.run("rev-list", "-1", theirs.head, f"^{base.head}", "--", *carried))

    def _identity(self, role: str) -> str:
        """Return who commits: the user as git knows him, or a name of ours where git knows none."""
        reply = self._git.ask("var", f"GIT_{role}_IDENT")
        if reply.status == 0:
            return reply.out.decode(errors="surrogateescape").strip()
        reply = replace(self._git, settings={**self._git.settings, **commits.NOBODY_KNOWN}).ask("var", f"GIT_{role}_IDENT")
        return reply.out.decode(errors="surrogateescape").strip()

    def obstacles(self, workspace: Workspace, old: Snapshot, new: Snapshot) -> tuple[str, ...]:
        git = self._at(workspace)
        moved = self._seen.steps(git, old.contents, new.contents)
        return tuple(map(path_text, obstacles.obstacles(git, moved, old, self._scratch)))

    def checkout(self, workspace: Workspace, old: Snapshot, new: Snapshot, reason: str, whole: bool = False) -> None:
        lasting = self._lasting(self._at(workspace))
        # What stays uncommitted would be in the repository, but nothing would refer to it: the next snapshot would find it there and not write it
        # again, and a prune at that moment take it away under the snapshot. What is committed is referred to when all files have arrived.
        self.refer({f"{trash.prefix(workspace)}result": new.head if commits.is_committed(lasting, new) else new.contents})
        moved = self._seen.steps(lasting, old.contents, new.contents)
        checkout.carry_out(self._move(workspace, old, new, reason, whole), moved)

    def settle(self, workspace: Workspace, old: Snapshot, new: Snapshot, reason: str, since: datetime, whole: bool = False) -> bool:
        return checkout.settle(self._move(workspace, old, new, reason, whole), since)

    def _move(self, workspace: Workspace, old: Snapshot, new: Snapshot, reason: str, whole: bool) -> Move:
        return Move(self._lasting(self._at(workspace)), old, new, reason, self._scratch, self._place(workspace), whole)

    def _place(self, workspace: Workspace) -> Path:
        """Return the file that says what the head of a workspace was when its last move began."""
        return self.home / "heads" / workspace.uid

    def occupied(self, workspace: Workspace) -> str:
        admin = self._repository.admin_dir(workspace)
        if (admin / "HEAD").exists() and (under_way := repository.under_way(self._repository, admin)):
            return under_way
        if cachetree.tree_of(admin / "index"):  # no tree can hold what is unmerged
            return ""
        return "its index is unmerged" if self._at(workspace).fields("ls-files", "-z", "--unmerged") else ""

    def programs(self) -> tuple[Program, ...]:
        return self._repository.git().programs()

    def untrusted(self, workspace: Workspace, paths: Sequence[str]) -> tuple[str, ...]:
        git = self._at(workspace)
        off = {
            key.removeprefix("filter.").removesuffix(".required")
            for key, value in git.settings.items()
            if key.startswith("filter.") and key.endswith(".required") and value == OFF
        }
        if not off:
            return ()
        asked = b"".join(path_bytes(path) + b"\0" for path in paths) if paths else git.run("ls-files", "-z")
        words = git.fields("check-attr", "-z", "--stdin", "filter", stdin=asked)
        return tuple(path_text(path) for path, value in zip(words[::3], words[2::3], strict=True) if os.fsdecode(value) in off)

    def marked(self, workspace: Workspace, paths: Sequence[str]) -> tuple[str, ...]:
        return combine.marked_files(Path(workspace.location), paths)

    # -- the trash

    def retire(self, workspace: Workspace, snapshot: Snapshot | None) -> None:
        self._drop_dead_locks(workspace)
        if (self._repository.pending / workspace.uid).exists():  # nobody looks for it in the trash
            self.write_out()
        with as_ours():
            at = trash.prefix(workspace)
            refs = {f"{at}last": snapshot.id} if snapshot else {}
            few = keepsake.few(self._repository, workspace)
            if few is not None and self._retired(workspace, refs | {f"{at}deleted-{number}": name for number, name in enumerate(few)}):
                return
            with nullcontext(self) if self._view else self.aside() as view:
                refs[f"{at}deleted"] = view.keepsake(workspace, snapshot)
                with view.keep_all():
                    view.refer(refs)
                    trash.retire(self._repository, workspace)

    def _retired(self, workspace: Workspace, refs: Mapping[str, str]) -> bool:
        """Move a workspace into the trash, when refs keep what git would forget of it; not where one of that is no object that there is."""
        with self.keep_all():
            try:
                self.refer(refs)
            except BackendFailed:
                return False
            trash.retire(self._repository, workspace)
            return True

    def keepsake(self, workspace: Workspace, snapshot: Snapshot | None) -> str:
        """Return a commit that holds what git would forget of a workspace while it is in the trash."""
        admin = self._repository.admin_dir(workspace)
        git: Git | None = None
        with suppress(Limit):
            git = self._door(admin) if (admin / "HEAD").exists() else None
        return keepsake.keepsake(self._git, self._repository, workspace, git, snapshot)

    def remnant(self, workspace: Workspace, since: Snapshot) -> Snapshot | None:
        with as_ours():
            home, _ = places(self._repository.home, workspace)
            there = [each for each in (self._repository.admin_dir(workspace), home / "admin") if (each / "HEAD").exists()]
            return keepsake.remnant(self._door(there[0]), since, self._scratch) if there else None

    def _drop_dead_locks(self, workspace: Workspace) -> None:
        """Remove the locks of a workspace's own refs: whoever calls this holds the workspace, so no git that made them lives."""
        for lock in (self._repository.common_dir / trash.prefix(workspace)).glob("**/*.lock"):
            lock.unlink(missing_ok=True)

    def revive(self, workspace: Workspace) -> tuple[str, ...]:
        self._drop_dead_locks(workspace)
        with as_ours():
            return trash.revive(self._repository, workspace)

    def purge(self, workspace: Workspace) -> None:
        self._drop_dead_locks(workspace)
        with as_ours():
            pending.forget(self._repository.pending, workspace.uid)
            self._place(workspace).unlink(missing_ok=True)
            gitlinks.forget_left(self._repository.admin_dir(workspace), self._repository.common_dir)
            trash.purge(self._repository, workspace)

    def is_placed(self, workspace: Workspace) -> bool:
        return registration.is_placed(self._repository, workspace)

    # -- looking after

    def weigh(self, workspace: Workspace) -> int:
        return weigh(self.home, workspace)

    def footprint(self, workspace: Workspace) -> Disk:
        with as_ours():
            return extents.footprint(located(workspace), self._repository.scratch, (".git", WORKSPACES) if workspace.is_main else ())

    def relax(self) -> None:
        tree.relax(self.root, self.home)

    def confine(self, workspace: Workspace, network: bool, environment: Mapping[str, str]) -> dict[str, str]:
        """See `Backend.confine`. A commit takes the objects that all share, and what is the worktree's own.

        What else is in the repository may be read as a whole: a rule for `packed-refs` or `config` would not hold for the file that git puts
        in its place.
        """
        common = self._repository.common_dir
        own = (located(workspace), self._at(workspace).git_dir, common / "objects", common / "lfs")
        reach = area.Area(own, shared=(common,), root=self.root, workspaces=self.root / WORKSPACES)
        return area.enter(workspace, reach, network, environment)

    def repoint(self, workspace: Workspace) -> None:
        registration.repoint(Path(workspace.location), self._repository.admin_dir(workspace))

    def inspect(self, workspaces: Sequence[Workspace], known: Sequence[Workspace], quick: bool = False) -> Iterator[Finding]:
        yield from care.look(self._repository, self._git, workspaces, known, quick)

    def mend(self, workspace: Workspace) -> Sequence[str]:
        self._drop_dead_locks(workspace)
        with as_ours():
            located(workspace)
            return [] if workspace.is_main else [*care.mend(self._repository, self._git, workspace, self.load(workspace.origin))]

    def remains(self) -> Sequence[Workspace]:
        with as_ours():
            return [*remains.remains(self._repository, self.isolation)]

    def sweep(self, known: Sequence[Workspace]) -> Sequence[str]:
        with as_ours():
            return [*care.sweep(self._repository, known)]
