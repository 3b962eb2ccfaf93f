"""What every verb needs: the project's workspaces by name, how they descend from each other, who holds which, and the journal."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from workspaces.access import PERSON, Access
from workspaces.backend import Backend
from workspaces.config import USUAL, Config, Limits
from workspaces.errors import Busy, Interrupted, NotFound, WorkspaceGone, likely
from workspaces.locks import Locks, Look, nothing
from workspaces.model import MAIN, Diff, Operation, RestorePoint, Snapshot, Workspace, now
from workspaces.store import MergeRow, ProjectRow, Store
from workspaces.trust import Trusted
from workspaces.wording import call, listed

Progress = Callable[[int, int, str], None]
"""Told at every safe point how far a call is: steps done, steps in all, what comes. Raises to stop the call there."""


PENDING = "pending"
"""The folder below `home` with a file for each clone whose files are not written out yet."""
_ATTEMPTS = 20
_LOOKED_BACK = 1000
"""Operations among which one is looked for that was done lately."""
_PAUSE = 0.25
_GLANCE = 2.0
"""Seconds that a call which only looks waits for whoever is at work."""


class Freeze(Protocol):
    """What freezes a workspace: see `Backend.snapshot`."""

    def __call__(self, workspace: Workspace, lineage: Sequence[str] = (), committed: bool = False) -> Snapshot: ...


def silent(done: int, total: int, message: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Agreement:
    """A snapshot that a workspace and its parent both contain; `head` is the commit by which the parent got it, if it made one.
    `merged` when it is the workspace's work that the parent got."""

    snapshot: str
    head: str = ""
    merged: bool = False


@dataclass
class Glance:
    """What a call that only looks has read: it looks once, at one time."""

    live: list[Workspace] = field(default_factory=list[Workspace])
    found: dict[tuple[str, str], list[Workspace]] = field(default_factory=dict[tuple[str, str], list[Workspace]])
    """What is there, by a column and its value: who names a few of a thousand reads these few."""
    above: dict[str, Workspace | None] = field(default_factory=dict[str, Workspace | None])
    merges: dict[str, list[MergeRow]] = field(default_factory=dict[str, list[MergeRow]])
    operations: list[Operation] = field(default_factory=list[Operation])


@dataclass(frozen=True)
class Core:
    """One open project. Holds no state that another process could change."""

    row: ProjectRow
    backend: Backend
    store: Store
    locks: Locks
    recover: Callable[[Core], None]
    """Ends what dead processes left."""
    config: Config = USUAL
    access: Access = PERSON
    """What the caller may see and change."""
    actor: str = ""
    call: str = ""
    """Names the call that is being served."""
    is_named: bool = False
    """Whether the caller gave it a key, so that it may come again and wants the same answer."""
    resumes: bool = False
    """Whether a process that is gone served the same call before, and may have done some of it."""
    trusted: Trusted | None = None
    """What a person trusts; without it, nothing is."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the person whose face this is: where tools are, and where temporary files go."""
    undoing: str = ""
    """The call that is being taken back, if one is."""
    redoing: str = ""
    """The undo that is being taken back, if one is."""
    glance: Glance | None = None
    """What was read already, in a call that only looks."""

    # -- names

    def seen(self, phases: Sequence[str] = ("live",)) -> list[Workspace]:
        """Return the workspaces that there are for the caller, in order of creation: what it names is one of these, or unknown."""
        known = self.live() if tuple(phases) == ("live",) else self.store.workspaces(self.row.name, phases)
        return [*filter(self.sees, known)]

    def sees(self, workspace: Workspace) -> bool:
        """Return whether a workspace is there for the caller."""
        return self.access.sees(workspace, (each.uid for each in self._upwards(workspace)))

    @property
    def limits(self) -> Limits | None:
        """What the caller may have, at most; None for the person at the machine."""
        return None if self.access.is_person else self.config.limits.of(self.access.role)

    @property
    def whole(self) -> Core:
        """The same with all of its workspaces, for what is not done in the caller's name."""
        return replace(self, access=PERSON, glance=None) if self.access.is_limited else self

    @property
    def copies(self) -> Path:
        """Where the copies lie in which checks run."""
        return self.backend.home / "checks"

    @property
    def has_pending(self) -> bool:
        """Whether it is noted of any clone that its files may not be on the disk yet (`Backend.write_out`)."""
        with suppress(FileNotFoundError):
            return bool(os.listdir(self.backend.home / PENDING))  # noqa: PTH208 - names alone, in every call
        return False

    def live(self) -> list[Workspace]:
        """Return `main` and the workspaces that are there, in order of creation, whoever sees them."""
        if self.glance is None:
            return list(map(self._as_it_is, self.store.workspaces(self.row.name)))
        self.glance.live = self.glance.live or list(map(self._as_it_is, self.store.workspaces(self.row.name)))
        return self.glance.live

    def _as_it_is(self, workspace: Workspace) -> Workspace:
        """Return a workspace with the isolation that it has here and now: it may have been made under another system."""
        isolation = "none" if workspace.is_main else self.backend.isolation
        return workspace if workspace.isolation == isolation else workspace.model_copy(update={"isolation": isolation})

    def find(self, name: str) -> Workspace:
        """Return the workspace that an id, a bare name or the absolute path of its folder means."""
        if found := self._meant(name):
            return self._as_it_is(found[0])
        if moving := self._meant(name, ("deleting", "restoring")):
            raise Busy(
                f"A delete or restore of {moving[0].name} was interrupted and could not be ended yet.", "workspaces doctor looks closer."
            )
        if gone := self.find_deleted(name):
            until = f", and is restorable until {gone.restorable_until:%d %b %Y}" if gone.restorable_until else ""
            raise NotFound(
                f"No workspace {name[:100]!r} in {self.row.name}. It was deleted{until}.",
                f"To bring it back: {call('restore', workspace=name)}.",
                workspace=name,
            )
        names = [workspace.name for workspace in self.seen()]
        near = likely(self._bare(name), names)
        raise NotFound(
            f"No workspace {name[:100]!r} in {self.row.name}. Open: {', '.join(names[:20])}{' …' if len(names) > 20 else ''}.{near}",
            "status lists them all.",
            workspace=name,
        )

    def holds(self, name: str, phases: Sequence[str] = ("live", "deleted")) -> bool:
        """Return whether an id, name or path means a workspace, there or deleted, that the caller sees."""
        return bool(self._meant(name, phases))

    def _bare(self, name: str) -> str:
        return name.removeprefix(f"{self.row.name}/")

    def _meant(self, name: str, phases: Sequence[str] = ("live",)) -> list[Workspace]:
        """Return the caller's workspaces that an id, a bare name or the absolute path of a folder means, in order of creation."""
        known = partial(self._known, phases)
        found = known("name", self._bare(name))
        if not found and name.startswith("/"):
            found = known("location", name) or known("location", os.path.realpath(name))
        return [*filter(self.sees, found)]

    def _known(self, phases: Sequence[str], column: str, value: str) -> list[Workspace]:
        if not _is_text(value):
            return []
        if self.glance is None or tuple(phases) != ("live",):
            return self.store.workspaces(self.row.name, phases, **{column: value})
        if (column, value) not in self.glance.found:
            self.glance.found[column, value] = self.store.workspaces(self.row.name, **{column: value})
        return self.glance.found[column, value]

    def find_ever(self, name: str) -> Workspace:
        """Return the workspace of that name; where a call resumes that may have deleted it, the one that was deleted last."""
        gone = self.find_deleted(name) if self.resumes else None
        try:
            return self.find(name)
        except NotFound:
            if gone is None:
                raise
            return gone

    def find_deleted(self, name: str) -> Workspace | None:
        """Return the workspace of that name, uid or folder that was deleted last."""
        return max(reversed(self.deleted(name)), key=lambda each: each.restorable_until or each.created, default=None)

    def find_leaving(self, name: str) -> Workspace | None:
        """Return the workspace of that name which somebody is deleting at this moment, or was when he died."""
        return next(iter(self._meant(name, ("deleting",))), None)

    def still(self, workspace: Workspace) -> Workspace | None:
        """Return a workspace that the caller holds as it is now; None where it was deleted meanwhile, whoever has its name since."""
        there = self.store.workspace(workspace.uid)
        return None if there is None or there.state == "deleted" else self.find(workspace.id)

    def deleted(self, name: str) -> list[Workspace]:
        """Return the workspaces of that name, uid or folder that were deleted and are restorable, in order of creation."""
        return self._meant(name, ("deleted",)) or [*filter(self.sees, self._known(("deleted",), "uid", self._bare(name)))]

    def known(self, uids: Iterable[str]) -> list[Workspace]:
        """Return the workspaces with these uids, there or not, without those of which nothing is remembered any more."""
        return [found for uid in uids if (found := self.store.workspace(uid))]

    def main(self) -> Workspace:
        return self.whole.find(MAIN)

    def use(self, names: Iterable[str]) -> None:
        """Renew the leases of the workspaces that a call names. One that was abandoned is whose call it is from now on."""
        named = [*filter(None, names)]
        if not named or not self.store.has_leases:
            return
        for workspace in {each.uid: each for name in named for each in self._meant(name)}.values():
            if workspace.lease_until is None:
                continue
            left, term = workspace.lease_until - now(), timedelta(seconds=workspace.lease_seconds)
            if left < 0.9 * term:
                holder = self.actor if left < timedelta() else workspace.owner
                self.store.lease(workspace.uid, workspace.lease_seconds, now() + term, holder)

    def shown(self, workspace: Workspace) -> Workspace:
        """Return a workspace as it is to be shown: one whose lease nobody renewed is abandoned, and the parent is one that is there. The id of
        a deleted one may be another's by now. What is shown is never stored: see `parent`."""
        lapsed = workspace.lease_until is not None and workspace.lease_until < now() and workspace.state != "deleted"
        above = workspace.parent if workspace.parent in ("", f"{self.row.name}/{MAIN}") else self.parent(workspace).id
        if above == workspace.parent and not lapsed:
            return workspace
        return workspace.model_copy(update={"parent": above, "state": "abandoned" if lapsed else workspace.state})

    def parent(self, workspace: Workspace) -> Workspace:
        """Return the workspace that this one was cloned from; where that was deleted, the nearest one above it that is there."""
        above = next((each for each in islice(self._upwards(workspace), 1, None) if each.state != "deleted"), None)
        return self._as_it_is(above) if above else self.main()

    def is_child(self, workspace: Workspace, parent: Workspace) -> bool:
        """Return whether a workspace was made from just that one, and not from another that had its name before."""
        above = self._above(workspace)
        return above is not None and above.uid == parent.uid

    def children(self, workspace: Workspace) -> list[Workspace]:
        return [child for child in map(self._as_it_is, self.store.children(workspace)) if self.is_child(child, workspace)]

    def depth(self, workspace: Workspace) -> int:
        """Return how many steps a workspace is from `main`."""
        return sum(1 for _ in self._upwards(workspace))

    def _upwards(self, workspace: Workspace) -> Iterator[Workspace]:
        """Yield a workspace and what it descends from, as far as that is there or restorable."""
        here: Workspace | None = workspace
        while here is not None:
            yield here
            here = self._above(here)

    # -- locks

    def key(self, workspace: Workspace) -> str:
        return f"{self.row.name}.{workspace.name}"

    @contextmanager
    def changing(
        self, *workspaces: Workspace, reading: Iterable[Workspace] = (), patience: float | None = None, look: Look = nothing
    ) -> Generator[None]:
        """Hold workspaces to change them, and others to read them, until the block ends.

        Whoever held them before may have died at it: what it left is ended first. Raises `Busy` when that is not done in time. `look` may
        stop the waiting.
        """
        read = list(reading)
        for workspace in workspaces:
            self._authorise_change(workspace)
        for _ in range(_ATTEMPTS):
            with self.locks.change(*map(self.key, workspaces), freeze=map(self.key, read), patience=patience, look=look):
                if not self._left_over({workspace.uid for workspace in (*workspaces, *read)}):
                    with self.told_apart(*workspaces, *read):
                        yield
                    return
            self.recover(self.whole)
            time.sleep(_PAUSE)
        names = ", ".join(workspace.name for workspace in (*workspaces, *read))
        raise Busy(
            f"An interrupted call on {names} could not be ended yet. Nothing was changed.", "workspaces doctor says what is in the way."
        )

    @contextmanager
    def told_apart(self, *workspaces: Workspace) -> Generator[None]:
        """Raise `NotFound` for a workspace whose folder is gone because somebody deleted it before it was held: then nothing is amiss."""
        try:
            yield
        except WorkspaceGone:
            for each in workspaces:
                there = self.store.workspace(each.uid)
                if there is None or there.state == "deleted":
                    replace(self, glance=None).find(each.id)
            raise

    def _authorise_change(self, workspace: Workspace) -> None:
        """Raise for a workspace that the caller may not change."""
        if not self.sees(workspace):
            raise NotFound(
                "The workspace that this would change is none of yours. Nothing was changed.",
                "Name one of yours as the target; status lists them.",
            )
        self.access.authorise_change(workspace)

    def reading(self, *workspaces: Workspace) -> AbstractContextManager[None]:
        """Hold workspaces to read them, together with other readers."""
        return self.changing(reading=workspaces)

    @contextmanager
    def looking(self, view: Backend, *workspaces: Workspace) -> Generator[Freeze]:
        """Hold workspaces for a call that only looks, and return what freezes one of them: `view.snapshot`, or where somebody else has been at
        work on them for too long (it may be stopped), the same of what they were before that."""
        with ExitStack() as held:
            freeze: Freeze = view.snapshot
            try:
                held.enter_context(self.changing(reading=workspaces, patience=_GLANCE))
            except Busy:
                freeze = partial(self._beside, view)
                held.enter_context(self.told_apart(*workspaces))
            yield freeze

    def _beside(self, view: Backend, workspace: Workspace, lineage: Sequence[str] = (), committed: bool = False) -> Snapshot:
        """Freeze a workspace that somebody else holds. The journal tells whether it is being moved, and what it was before."""
        last = self._last_move(workspace)
        if last is not None and last.state == "started" and (old := _before(last)):
            return old
        seen = view.snapshot(workspace, lineage, committed)
        after = self._last_move(workspace)
        meanwhile = _before(after) if after is not None and after.id != (last.id if last else 0) else None
        return meanwhile or seen

    def _last_move(self, workspace: Workspace) -> Operation | None:
        moved = self.store.past(self.row.name, "merge", "restore")
        return next((each for each in moved if workspace.uid in each.uids[-1:]), None)

    def recent(self) -> list[Operation]:
        """Return what was done lately, newest first."""
        if self.glance is None:
            return self.store.operations(self.row.name, limit=_LOOKED_BACK)
        self.glance.operations = self.glance.operations or self.store.operations(self.row.name, limit=_LOOKED_BACK)
        return self.glance.operations

    def _left_over(self, uids: set[str]) -> bool:
        """Return whether a workspace that the caller holds was being moved by an operation which was not ended: its process is dead. One that had
        the same name before it is another one.

        A clone moves none: it holds no workspace that anybody could name before it is whole.
        """
        started = self.store.started(self.row.name)
        return any(uids.intersection(each.uids[-1:]) for each in started if each.verb != "clone" and each.call != self.call)

    # -- descent

    def lineage(self, workspace: Workspace) -> list[str]:
        """Return the earlier snapshots that a snapshot of this workspace descends from: its own, and those of its parent and its clones
        that were merged into it. What came from elsewhere descends from states that this workspace never had, and is left out; and so is
        what it was on another line of history, since a commit is checked out that does not descend from where it began: there, only its head
        says what it has in common with others."""
        if workspace.is_main:
            return []
        rows, parent = self._merges(workspace.uid), self.parent(workspace)
        began = [workspace.origin] if self._descends(workspace, workspace.origin) else []
        # An earlier one of its own is in the history of the last, or of another line.
        own = next((row for row in reversed(rows) if row.source == workspace.uid and self._keeps(row, workspace)), None)
        kept = [row for row in rows if row == own or (self._has_all(row, workspace, parent) and self._keeps(row, workspace))]
        return list(dict.fromkeys([*began, *(row.snapshot for row in kept)]))

    def _has_all(self, row: MergeRow, workspace: Workspace, parent: Workspace) -> bool:
        """Return whether a merge brought a workspace all that its parent had, or a clone. Of a clone that began with what the workspace left since, it
        has only the clone's own work."""
        if row.source in (workspace.uid, parent.uid):
            return row.source == parent.uid
        source = self.store.workspace(row.source)
        return source is not None and self.is_child(source, workspace) and self._descends(workspace, source.origin)

    def _keeps(self, row: MergeRow, holder: Workspace) -> bool:
        """Return whether a workspace still has what it brought or got by a merge: what it was on a line of history that it left, it has no more."""
        return self._stands(row, holder) if row.target == holder.uid else self._descends(holder, row.snapshot)

    def _is_after(self, row: MergeRow, holder: Workspace) -> bool:
        """Return whether the head of a workspace is the one at which it got a merge that made no commit, or descends from that."""
        made = self.store.numbered(self.row.name, [row.operation]) if self.backend.capabilities.commits else {}
        new = made[row.operation].outcome.get("new") if made else None
        return new is None or self.backend.contains(holder, Snapshot.model_validate(new).head)

    def _descends(self, workspace: Workspace, snapshot: str) -> bool:
        """Return whether the head of a workspace is that of a snapshot, or descends from it."""
        head = self.backend.load(snapshot).head
        return not head or self.backend.contains(workspace, head)

    def contained(self, holder: Workspace, other: Workspace) -> list[str]:
        """Return snapshots that `holder` contains and `other` may descend from, though the holder's own history does not say so.

        Of one that `other` was cloned from, directly or through others, they are what it was then, and what was merged between the two
        since; not what it was on a line of history that it left. Siblings may have left their parent at different times: what one has of the
        other does not make it contain what the other began with, so for them there are none.
        """
        chain = self._chain(other, holder)
        if chain and not self.is_child(chain[-1], holder):
            return []
        began = [each.origin for each in chain[-1:] if self._descends(holder, each.origin)]
        merged = [row for row in self._between(holder, [*chain, other]) if self._keeps(row, holder)]
        return list(dict.fromkeys([*began, *(row.snapshot for row in merged if began or not chain or row.source == holder.uid)]))

    def granted(self, receiver: Workspace, bringer: Workspace) -> list[str]:
        """Return what a merge takes the receiver to contain: where the bringer left their common ancestor, and what of it came before.

        So only what the bringer did since then counts as its work, and not what it began with. From one that it descends from, the receiver gets
        all that it has not: also what it had itself, on a line of history that it left.
        """
        chain = self._chain(bringer, receiver)
        stands = self._stands if chain else self._keeps
        merged = (row.snapshot for row in self._between(receiver, [*chain, bringer]) if stands(row, receiver))
        return list(dict.fromkeys([*(each.origin for each in chain[-1:]), *merged]))

    def has_begun(self, receiver: Workspace, bringer: Workspace) -> bool:
        """Return whether the receiver's history has what the bringer began with, of which `granted` says that the receiver has it."""
        return all(self._descends(receiver, each.origin) for each in self._chain(bringer, receiver)[-1:])

    def _between(self, holder: Workspace, others: Sequence[Workspace]) -> list[MergeRow]:
        """Return the merges between a workspace and others, in their order. Not all that main had part in are looked through: those are nearly all
        there ever were."""
        uids = {workspace.uid for workspace in others}
        rows = {row for each in (others if holder.is_main else [holder]) for row in self._merges(each.uid)}
        between = [row for row in rows if holder.uid in (row.source, row.target) and uids & {row.source, row.target}]
        return sorted(between, key=lambda each: each.operation)

    def agreed(self, child: Workspace, states: Mapping[int, str] | None = None) -> Agreement:
        """Return where the workspace and its parent last agreed: when it was cloned, or when one was last merged into the other. `states` of
        operations are those that they are about to have."""
        parent = self.parent(child)
        for row in reversed(self.store.merges(child.uid, states) if states else self._merges(child.uid)):
            if parent.uid in (row.source, row.target) and self._stands(row, parent):
                received = row.target == parent.uid
                return Agreement(row.snapshot, row.head if received else "", received)
        return Agreement(child.origin)

    def brought(self, child: Workspace) -> list[tuple[str, str, str]]:
        """Return what each merge of the workspace into its parent that stands brought, as the snapshots before and after, oldest first, and the
        commit by which the parent got it, if it made one."""
        parent, before, found = self.parent(child), child.origin, list[tuple[str, str, str]]()
        for row in self._merges(child.uid):
            if parent.uid in (row.source, row.target) and self._stands(row, parent):
                found += [(before, row.snapshot, row.head)] if row.target == parent.uid else []
                before = row.snapshot
        return found

    def at_rest(self, workspace: Workspace, suspected: Sequence[str] = (), states: Mapping[int, str] | None = None) -> Workspace:
        """Return a workspace with the base and state that follow from the merges that stand and from its files, of which the `suspected`
        may hold conflict markers."""
        agreed = Agreement(workspace.base) if workspace.is_main else self.agreed(workspace, states)
        unresolved = self.backend.marked(workspace, list(dict.fromkeys([*workspace.unresolved, *suspected])))
        state = "conflicted" if unresolved else "merged" if agreed.merged else "ready"
        return workspace.model_copy(update={"base": agreed.snapshot, "unresolved": unresolved, "state": state})

    def _above(self, workspace: Workspace) -> Workspace | None:
        """Return what a workspace was made from, as far as that is there or restorable."""
        if self.glance is None:
            return self.store.above(workspace)
        if workspace.uid not in self.glance.above:
            self.glance.above[workspace.uid] = self.store.above(workspace)
        return self.glance.above[workspace.uid]

    def read_merges(self, workspaces: Iterable[Workspace]) -> None:
        """Read once what several workspaces were merged with; of main, that is nearly all that ever was."""
        if self.glance is not None:
            self.glance.merges |= self.store.merges_of_each([each.uid for each in workspaces if not each.is_main])

    def _merges(self, uid: str) -> list[MergeRow]:
        """Return the merges that a workspace had part in."""
        if self.glance is None:
            return self.store.merges(uid)
        if uid not in self.glance.merges:
            self.glance.merges[uid] = self.store.merges(uid)
        return self.glance.merges[uid]

    def _chain(self, workspace: Workspace, other: Workspace) -> list[Workspace]:
        """Return the workspace and its ancestors below the first that is also `other` or an ancestor of it."""
        above = {each.uid for each in self._upwards(other)}
        return list(takewhile(lambda each: each.uid not in above, self._upwards(workspace)))

    def _stands(self, row: MergeRow, holder: Workspace) -> bool:
        """Return whether the holder still has the merge: one that it received may have been reset away, and can then be made again."""
        if row.target != holder.uid:
            return True
        return self.backend.contains(holder, row.head) if row.head else self._is_after(row, holder)

    def observed(self, workspace: Workspace, snapshot: Snapshot, base: Snapshot, diff: Diff) -> Workspace:
        """Return the workspace as it is seen now: the size of its change, and a state that its contents have outgrown corrected."""
        unresolved = self.backend.marked(workspace, workspace.unresolved) if workspace.unresolved else ()
        state = workspace.state
        if state == "conflicted" and not unresolved:
            state = "ready"
        if state == "merged" and snapshot.contents != base.contents:
            state = "ready"
        seen = workspace.model_copy(
            update={
                "state": state,
                "unresolved": unresolved,
                "base": base.id,
                "files_changed": len(diff.changes),
                "insertions": diff.insertions,
                "deletions": diff.deletions,
            }
        )
        return self.shown(seen)

    def behind(self, view: Backend, agreed: Agreement, parent: Snapshot) -> int:
        """Return how many commits the parent has made since the two agreed."""
        since = view.load(agreed.snapshot)
        return view.ahead(since.model_copy(update={"head": agreed.head or since.head}), parent)

    # -- journal

    def begin(self, verb: str, *workspaces: Workspace, outcome: dict[str, JsonValue] | None = None, **arguments: JsonValue) -> Operation:
        """Journal an operation before it acts. `outcome` is what recovery needs to end it."""
        return self.store.begin(self.row.name, self._operation(verb, workspaces, outcome or {}, arguments))

    def begin_making(
        self,
        drafts: Sequence[Workspace],
        admit: Callable[[Sequence[Workspace]], None] | None,
        outcome: dict[str, JsonValue],
        all_or_none: bool,
        **arguments: JsonValue,
    ) -> tuple[Operation, list[Workspace]]:
        """Journal a clone before it acts, and as one with it claim the names. See `Store.begin_making`."""
        return self.store.begin_making(self.row.name, self._operation("clone", drafts, outcome, arguments), drafts, admit, all_or_none)

    def begin_as(
        self,
        phase: str,
        verb: str,
        workspace: Workspace,
        outcome: dict[str, JsonValue],
        others: Sequence[Workspace] = (),
        **arguments: JsonValue,
    ) -> Operation:
        """Journal an operation before it acts, and as one with it the phase that the workspace is in meanwhile, and what `others` are from now on."""
        operation = self._operation(verb, [workspace], outcome, arguments)
        return self.store.begin(self.row.name, operation, (workspace, phase), *((other, "live") for other in others))

    def _operation(
        self, verb: str, workspaces: Sequence[Workspace], outcome: dict[str, JsonValue], arguments: dict[str, JsonValue]
    ) -> Operation:
        noted: dict[str, JsonValue] = {name: value for name, value in arguments.items() if value}
        noted |= {word: call for word, call in (("undoes", self.undoing), ("redoes", self.redoing)) if call}
        return Operation(
            id=0,
            call=self.call,
            verb=verb,
            actor=self.actor,
            at=now(),
            workspaces=tuple(workspace.id for workspace in workspaces),
            arguments=noted,
            outcome={"uids": [workspace.uid for workspace in workspaces], **outcome},
            state="started",
        )

    def done_before(self, verb: str) -> list[Operation]:
        """Return what a dead process did of the call that is being served, oldest first; what was undone since, too."""
        if not self.resumes:
            return []
        done = self.store.operations_of(self.row.name, self.call)
        return [each for each in reversed(done) if each.verb == verb and each.state in ("done", "undone")]

    def stopped(self, error: Interrupted) -> Interrupted:
        """Return an interruption of the call that is being served, with what is done of it and stays done, if anything is."""
        done = [each for each in self.store.operations_of(self.row.name, self.call) if each.state == "done"]
        if not done:
            return error
        names: dict[str, list[str]] = {}
        for each in reversed(done):
            names.setdefault(each.verb, []).append(each.workspaces[0].rpartition("/")[2])
        told = "; ".join(f"{verb} of {listed(those)}" for verb, those in names.items())
        return Interrupted(
            f"It was stopped. What was done before that stays: {told}.",
            "The same call again does the rest; restore takes back what was done.",
        )

    def point(
        self,
        view: Backend,
        workspace: Workspace,
        snapshot: Snapshot,
        cause: str,
        label: str = "",
        after: str = "",
        committed: bool = False,
        brought: Sequence[tuple[Workspace, Snapshot]] = (),
    ) -> RestorePoint:
        """Keep a snapshot as the workspace's next restore point, and for others what is brought to it then. Whoever calls this holds the workspace
        and writes the point down."""
        number = self.store.next_number(workspace.uid)
        view.keep((workspace, f"at/{number}", snapshot), *((each, f"merged/{workspace.uid}-{number}", what) for each, what in brought))
        return RestorePoint.model_validate(
            {
                "name": f"{workspace.name}@{number}",
                "workspace": workspace.id,
                "number": number,
                "snapshot": snapshot,
                "after": after,
                "committed": committed,
                "label": label,
                "cause": cause,
                "at": now(),
            }
        )


def _before(operation: Operation) -> Snapshot | None:
    """Return what a workspace was before an operation moved it."""
    old = operation.outcome.get("old")
    return Snapshot.model_validate(old) if isinstance(old, dict) else None


def _is_text(value: str) -> bool:
    """Return whether something can be remembered at all: what a terminal could not decode, and half of a character, cannot."""
    try:
        return bool(value.encode())
    except UnicodeEncodeError:
        return False


def new_uid() -> str:
    return secrets.token_hex(4)
