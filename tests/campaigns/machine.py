"""Do the verbs do what a simple model of contents says, in whatever order they come?

    python -m campaigns.machine --examples 200 --steps 40 --seed 1

The model is what every workspace holds, as a value. Each step says which workspaces it may change and what they hold then; all others must hold
what they held. Merges are foretold by `git merge-file` where a workspace and its parent have dealt with nobody else; where not, they are held
to what compare said, and to what both sides had. hypothesis chooses the steps, and makes a failure small.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, get_args

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from workspaces import Project, WorkspacesError
from workspaces.errors import HasChildren, TargetMoved, UnmergedChanges
from workspaces.model import MAIN, Children, History, MergeResult, OnConflict

from . import stage
from .contents import Contents, changed, contents, merged
from .invariants import broken
from .stage import KINDS, SHARED, Tally

PATHS = (SHARED, "src/part0/file0.py", "src/part1/file1.py", "src/part1/new.py", "new.txt", "deep/er/new.txt")
"""Where agents write. What the owner of a repository has not committed is not among them."""
ROWS = (0, 3, 4, 17)
MOST = 6
Names = st.integers(0, 1000)
"""Chooses among the workspaces that are there."""


@dataclass
class Known:
    """What the model knows of a workspace. `agreed` is what it and its parent last both contained, while nobody else came between them."""

    parent: str
    holds: Contents
    agreed: Contents | None


@dataclass(frozen=True)
class Done:
    """Something that undo takes back: what the workspaces that it changed held before; nothing, where there was none."""

    verb: str
    before: Mapping[str, Known | None]


@dataclass
class Counts:
    steps: int = 0
    foretold: int = 0
    by_verb: dict[str, int] = field(default_factory=dict[str, int])


class Machine(RuleBasedStateMachine):
    """One project, and what the model says of it."""

    kind: ClassVar[str] = "worktree"
    counts: ClassVar[Counts] = Counts()

    def __init__(self) -> None:
        super().__init__()
        self.scratch = Path(tempfile.mkdtemp(prefix="machine-")).resolve()
        self.root = self.scratch / "shop"
        self.project = stage.project(self.kind, self.root)
        self.known = {MAIN: Known("", contents(self.root), None)}
        self.deleted: dict[str, Known] = {}
        self.points: dict[str, tuple[str, Contents]] = {}
        self.done: list[Done] = []
        self.touched: set[str] = set()
        self.numbers = 0

    def teardown(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    # -- what holds after every step

    @invariant()
    def every_workspace_holds_what_the_model_says(self) -> None:
        there = {each.name: Path(each.location) for each in self.project.status(detail="names").workspaces}
        assert there.keys() == self.known.keys()
        for name, folder in there.items():
            assert changed(self.known[name].holds, contents(folder)) == set(), name
        type(self).counts.steps += 1

    @invariant()
    def all_is_whole(self) -> None:
        assert broken(self.root) == []

    # -- choosing

    def _one(self, number: int) -> str:
        return sorted(self.known)[number % len(self.known)]

    def _clone_of(self, number: int) -> str:
        clones = sorted(self.known.keys() - {MAIN})
        return clones[number % len(clones)]

    def _folder(self, name: str) -> Path:
        return self.root if name == MAIN else self.root / ".workspaces" / name

    def _children(self, name: str) -> list[str]:
        return [child for child, known in self.known.items() if known.parent == name]

    def _below(self, name: str) -> list[str]:
        return [name, *(each for child in self._children(name) for each in self._below(child))]

    def _count(self, verb: str) -> None:
        self.counts.by_verb[verb] = self.counts.by_verb.get(verb, 0) + 1

    def _look(self, name: str) -> Contents:
        """Take what a workspace holds now for what it should."""
        self.known[name].holds = contents(self._folder(name))
        return self.known[name].holds

    # -- agents and the owner at work

    @initialize()
    def first(self) -> None:
        self.clone(0)

    @precondition(lambda self: len(self.known) < MOST)
    @rule(source=Names)
    def clone(self, source: int) -> None:
        self._count("clone")
        origin, name = self._one(source), f"w{self.numbers}"
        self.numbers += 1
        (made,) = self.project.clone(origin, name=name).workspaces
        assert made.name == name
        self.known[name] = Known(origin, self.known[origin].holds, self.known[origin].holds)
        self.done.append(Done("clone", {name: None}))

    @rule(where=Names, path=st.sampled_from(PATHS), row=st.sampled_from(ROWS), text=st.sampled_from("abc"))
    def edit(self, where: int, path: str, row: int, text: str) -> None:
        """Change a line of a text, or write a new one."""
        self._count("edit")
        name = self._one(where)
        file = self._folder(name) / path
        if any(above.is_file() for above in file.parents) or file.is_dir():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = file.read_text().splitlines(keepends=True) if file.exists() else [f"{path} {number}\n" for number in range(20)]
        lines[row] = f"{text} by {name}\n"
        file.write_text("".join(lines))
        self._edited(name)

    @rule(where=Names, path=st.sampled_from(PATHS), to=st.sampled_from(PATHS), how=st.sampled_from(["remove", "rename", "make executable"]))
    def change(self, where: int, path: str, to: str, how: str) -> None:
        """Do something to a whole file."""
        self._count(how)
        name = self._one(where)
        old, new = self._folder(name) / path, self._folder(name) / to
        if not old.is_file():
            return
        if how == "remove":
            old.unlink()
        elif how == "make executable":
            old.chmod(0o755)
        elif not new.exists():
            new.parent.mkdir(parents=True, exist_ok=True)
            old.rename(new)
        self._edited(name)

    def _edited(self, name: str) -> None:
        """See what an edit gave. In a repository the owner commits what he does in main, but for his notes."""
        before = self.known[name].holds
        moved = changed(before, self._look(name))
        if name == MAIN and moved:
            self.touched |= moved
            if self.kind == "worktree":
                _git(self.root, "add", "-A", "--", *sorted(moved))
                _git(self.root, "commit", "-q", "-m", "the owner's")

    @rule(collect=st.booleans())
    def begin_anew(self, collect: bool) -> None:
        """Open the project again, in a repository after all that nobody refers to was collected."""
        self._count("open")
        if collect and self.kind == "worktree":
            _git(self.root, "gc", "-q", "--prune=now")
        self.project = Project.open(self.root)

    # -- merging

    @precondition(lambda self: len(self.known) > 1)
    @rule(child=Names, up=st.booleans(), on_conflict=st.sampled_from(get_args(OnConflict)), history=st.sampled_from(get_args(History)))
    def merge_up_or_down(self, child: int, up: bool, on_conflict: OnConflict, history: History) -> None:
        """Merge a workspace into its parent, or the other way round."""
        name = self._clone_of(child)
        parent = self.known[name].parent
        if parent in self.known:
            self._merge(name if up else parent, parent if up else name, on_conflict, history)

    @precondition(lambda self: len(self.known) > 1)
    @rule(giving=Names, taking=Names, on_conflict=st.sampled_from(get_args(OnConflict)), history=st.sampled_from(get_args(History)))
    def merge_anywhere(self, giving: int, taking: int, on_conflict: OnConflict, history: History) -> None:
        if self._one(giving) != self._one(taking):
            self._merge(self._one(giving), self._one(taking), on_conflict, history)

    def _merge(self, bringer: str, receiver: str, on_conflict: OnConflict, history: History) -> None:
        on_conflict = "abort" if receiver == MAIN and on_conflict == "markers" else on_conflict
        # What is left uncommitted in main stands in the way of later merges, and without commits there is nothing else than that.
        history = "squash" if (receiver == MAIN and history == "none") or self.kind == "directory" else history
        self._count("merge")
        foretold = self._foretold(bringer, receiver)
        compared = self.project.compare([bringer], base=receiver).workspaces[0]
        promised = self.project.merge(bringer, receiver, on_conflict, history, dry_run=True)
        assert promised.status == {"clean": "would_merge", "up_to_date": "up_to_date", "conflicts": promised.status}[compared.merge]
        before = {name: self.known[name] for name in (bringer, receiver)}
        before = {name: Known(known.parent, known.holds, known.agreed) for name, known in before.items()}
        result = self.project.merge(bringer, receiver, on_conflict, history, f"{bringer} into {receiver}")
        if compared.merge == "conflicts" and on_conflict == "abort":
            assert result.status == "conflicts"
            assert {each.path for each in result.conflicts} == {each.path for each in compared.conflicts} != set()
        elif compared.merge != "conflicts":
            assert result.status == {"clean": "merged", "up_to_date": "up_to_date"}[compared.merge]
        if foretold is not None:
            self._as_foretold(foretold, receiver, compared.merge)
        if result.status == "merged":
            self._receive(bringer, receiver, before, result)

    def _foretold(self, bringer: str, receiver: str) -> Callable[[str, Contents], None] | None:
        """Return a check of what the merge gives, where the model can say that."""
        child = bringer if self.known[bringer].parent == receiver else receiver
        if {self.known[child].parent, child} != {bringer, receiver} or (agreed := self.known[child].agreed) is None:
            return None
        expected = merged(agreed, self.known[receiver].holds, self.known[bringer].holds)
        if expected is None:
            return None
        ours = self.known[receiver].holds

        def check(verdict: str, now: Contents) -> None:
            self.counts.foretold += 1
            if expected.conflicts:
                assert verdict == "conflicts", expected.conflicts
            else:
                assert verdict == ("clean" if expected.contents != ours else "up_to_date")
                assert changed(expected.contents, now) == set()

        return check

    def _as_foretold(self, check: Callable[[str, Contents], None], receiver: str, verdict: str) -> None:
        check(verdict, contents(self._folder(receiver)))

    def _receive(self, bringer: str, receiver: str, before: Mapping[str, Known], result: MergeResult) -> None:
        """Hold what a merge gave to what both sides had, and note it."""
        ours, theirs = before[receiver].holds, before[bringer].holds
        now = self._look(receiver)
        told = {path for change in result.files for path in (change.path, change.old_path) if path}
        assert changed(ours, now) == told
        assert not [path for path in now if ours.get(path) == theirs.get(path) != now[path]]
        self.touched |= changed(ours, now) if receiver == MAIN else set()
        self._resolve(receiver, result)
        again = self.project.compare([bringer], base=receiver).workspaces[0]
        assert again.merge == "up_to_date" or result.conflicts, again
        self._agree(bringer, receiver)
        self.done.append(Done("merge", {receiver: before[receiver]}))

    def _resolve(self, receiver: str, result: MergeResult) -> None:
        """Edit markers away, as whoever asked for them has to."""
        for path in self.project.find(receiver).unresolved:
            (self._folder(receiver) / path).write_text("resolved\n")
        if result.conflicts:
            self._look(receiver)

    def _agree(self, bringer: str, receiver: str) -> None:
        """Note what a workspace and its parent both contain from now on. Whoever has dealt with others is not foretold any more."""
        for child, parent in ((bringer, receiver), (receiver, bringer)):
            if self.known[child].parent == parent:
                self.known[child].agreed = self.known[bringer].holds if self.known[child].agreed is not None else None
                return
        for name in (bringer, receiver):
            self._forget_agreements(name)

    def _forget_agreements(self, name: str) -> None:
        for each in (name, *self._children(name)):
            self.known[each].agreed = None

    # -- keeping and going back

    @rule(where=Names)
    def checkpoint(self, where: int) -> None:
        self._count("checkpoint")
        name = self._one(where)
        self.points[self.project.checkpoint(name).restore_point] = (name, self.known[name].holds)

    @precondition(lambda self: any(name in self.known and name != MAIN for name, _ in self.points.values()))
    @rule(which=Names)
    def restore(self, which: int) -> None:
        self._count("restore")
        points = sorted(point for point, (name, _) in self.points.items() if name in self.known and name != MAIN)
        point = points[which % len(points)]
        name, held = self.points[point]
        known = self.known[name]
        self.project.restore(name, point)
        self.known[name] = Known(known.parent, held, None)
        self._forget_agreements(name)
        self.done.append(Done("restore", {name: known}))

    @precondition(lambda self: len(self.known) > 1)
    @rule(where=Names, children=st.sampled_from(get_args(Children)), discard=st.booleans())
    def delete(self, where: int, children: Children, discard: bool) -> None:
        self._count("delete")
        name = self._clone_of(where)
        below = self._below(name)
        try:
            gone = self.project.delete([name], discard, children).deleted
        except HasChildren:
            assert children == "refuse" and len(below) > 1
            return
        except UnmergedChanges:
            assert not discard
            return
        going = below if children == "delete" else [name]
        assert {each.rpartition("/")[2] for each in gone} == set(going)
        before = {each: self.known[each] for each in going}
        for child in self._children(name) if children == "reparent" else ():
            self.known[child] = Known(self.known[name].parent, self.known[child].holds, None)
        self.deleted |= before
        self.known = {each: known for each, known in self.known.items() if each not in before}
        self.done.append(Done("delete", before))

    @precondition(lambda self: bool(self.deleted))
    @rule(which=Names)
    def bring_back(self, which: int) -> None:
        self._count("bring back")
        name = sorted(self.deleted)[which % len(self.deleted)]
        self.project.restore(name)
        self._back(name)

    def _back(self, name: str) -> None:
        """Note that a deleted workspace is there again, as it was."""
        known = self.deleted.pop(name)
        parent = self.project.find(name).parent.rpartition("/")[2]
        self.known[name] = Known(parent, known.holds, None)

    @precondition(lambda self: bool(self.done))
    @rule()
    def undo(self) -> None:
        """Take the last thing back. In main others may have built on it; elsewhere what was before is there again, exactly."""
        self._count("undo")
        last = self.done[-1]
        try:
            self.project.undo()
        except HasChildren:
            assert any(self._children(name) for name in last.before)
            return
        except TargetMoved:
            assert MAIN in last.before
            return
        self.done.pop()
        for name, before in last.before.items():
            self._taken_back(last.verb, name, before)

    def _taken_back(self, verb: str, name: str, before: Known | None) -> None:
        if verb == "clone":
            if name in self.known:
                self.deleted[name] = self.known.pop(name)
        elif verb == "delete":
            if name in self.deleted:
                self._back(name)
        elif before is not None and name in self.known:
            self._forget_agreements(name)
            if name == MAIN:
                self._look(name)
            else:
                self.known[name].holds = before.holds


def _git(root: Path, *args: str) -> None:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"git {args}: {done.stderr}"


def machine(kind: str, number: int | None = None) -> type[Machine]:
    """Return the machine for a kind of project, with a seed if one is given."""
    made = type(f"{kind.title()}Machine", (Machine,), {"kind": kind, "counts": Counts()})
    return made if number is None else seed(number)(made)


def run(made: type[Machine], examples: int, steps: int, deterministic: bool = False) -> None:
    """Try so many orders of at most so many steps. Raises AssertionError with the smallest that breaks."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=deterministic,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
    )
    run_state_machine_as_test(made, settings=chosen)


def main() -> None:
    options = argparse.ArgumentParser(description="The verbs in any order, against a model of contents.")
    options.add_argument("--examples", type=int, default=100, help="how many orders of steps, for each kind of project (100)")
    options.add_argument("--steps", type=int, default=30, help="how many steps at most in each (30)")
    options.add_argument("--kind", choices=KINDS, help="only this kind of project")
    options.add_argument("--seed", type=int, default=os.getpid(), help="repeats the orders")
    asked = options.parse_args()
    print(f"seed {asked.seed}")
    whole = Tally()
    with stage.stage():
        for kind in [asked.kind] if asked.kind else KINDS:
            made, begun = machine(kind, asked.seed), time.monotonic()
            try:
                run(made, asked.examples, asked.steps)
            except (AssertionError, WorkspacesError, ExceptionGroup) as error:
                whole.broke.append(f"{kind}: {error!r} {getattr(error, '__notes__', [])}")
            counts = made.counts
            whole.tried += counts.steps
            print(
                f"{kind}: {counts.steps} steps, {counts.foretold} merges foretold, {counts.by_verb}, {time.monotonic() - begun:.0f} s",
                flush=True,
            )
    whole.end("model")


if __name__ == "__main__":
    main()
