"""Kills and failing calls at every point of every primitive: `make faults`.

A point is the k-th system call that changes files (for EMFILE: that opens something) of the whole process tree of one call (`tripwire`). After each,
what must hold is looked at in fresh processes: the project is as before the call, or as after it; the next call ends what was begun, even when
that is killed in turn; what was acknowledged happened; what failed said so in our words; and the same call works again.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from traceback import format_exc
from typing import ClassVar, Literal

from pydantic import BaseModel

import workspaces
from workspaces import Project, WorkspacesError
from workspaces.backend import installed
from workspaces.errors import NoProject, NotAProject
from workspaces.model import Noun

from .invariants import broken
from .tripwire import KINDS, Fault, Kind, Outcome, apart, is_kind, missing, watched
from .world import Seen, World

Step = Callable[[World], str]
"""Makes a call on a world and returns the summary of its result."""


class Partly(WorkspacesError):
    """The call said that a part of it was not done."""

    code: ClassVar[str] = "partly"


@dataclass(frozen=True)
class Primitive:
    """A call to attack. `whiles` are states that it may leave on its way; `moves` the places that it changes, `deletes` the workspace that has to
    come back from the trash as it was."""

    act: Step
    whiles: tuple[Step, ...] = ()
    moves: tuple[str, ...] = ()
    deletes: str = ""
    blank: bool = False
    spares: bool = False


def _initialize(world: World) -> str:
    return Project.initialize(world.root, backend=world.backend).described().summary


def _clone(world: World, *names: str) -> str:
    return " ".join(world.open().clone(name=name).summary for name in names)


def _clones(world: World) -> str:
    made = world.open().clone(name="new", count=2)
    if made.failed:
        raise Partly(str(made.failed))
    return made.summary


def _merge_and_delete(world: World) -> str:
    merged = world.open().merge("fix", delete_source=True)
    if merged.warnings:
        raise Partly(str(merged.warnings))
    return merged.summary


def _merge(world: World) -> str:
    return world.open().merge("fix").summary


PRIMITIVES: Mapping[str, Primitive] = {
    "initialize": Primitive(_initialize, blank=True),
    "clone": Primitive(lambda world: _clone(world, "new"), moves=("new",)),
    "clones": Primitive(
        _clones,
        (lambda world: _clone(world, "new-1"), lambda world: _clone(world, "new-2"), lambda world: _clone(world, "new-1", "new-2")),
        moves=("new-1", "new-2"),
    ),
    "prepare": Primitive(lambda world: str(world.open().prepare(2))),
    "clone-spare": Primitive(lambda world: _clone(world, "new"), moves=("new",), spares=True),
    "merge": Primitive(_merge, moves=("main",)),
    "update": Primitive(lambda world: world.open().merge("main", "stale", on_conflict="markers").summary, moves=("stale",)),
    "merge-delete": Primitive(_merge_and_delete, (_merge,), moves=("main",), deletes="fix"),
    "delete": Primitive(lambda world: world.open().delete(["spot"], discard_unmerged=True).summary, deletes="spot"),
    "revive": Primitive(lambda world: world.open().restore("gone").summary),
    "restore": Primitive(lambda world: world.open().restore("spot", "spot@1").summary, moves=("spot",)),
    "checkpoint": Primitive(lambda world: world.open().checkpoint("fix", "here").summary),
    "undo": Primitive(lambda world: world.open().undo().summary, moves=("main",)),
    "compare": Primitive(lambda world: world.open().compare(["fix", "stale"], detail="diff").summary),
    "status": Primitive(lambda world: world.open().status().summary),
}


class Answer(BaseModel):
    """What a call answered; `killed` when it did not come to that."""

    state: Literal["done", "refused", "crashed", "killed"] = "killed"
    said: str = ""

    @property
    def claims_nothing(self) -> bool:
        """Whether the answer says that all is as it was."""
        return self.state == "refused" and ("Nothing was changed" in self.said or "Nothing was m" in self.said)


def answered(step: Step, world: World) -> str:
    try:
        return Answer(state="done", said=step(world)).model_dump_json()
    except WorkspacesError as error:
        return Answer(state="refused", said=f"{error.code}: {error.message} {error.hint}").model_dump_json()
    except Exception:
        return Answer(state="crashed", said=format_exc()).model_dump_json()


def _read(text: str) -> Answer:
    return Answer.model_validate_json(text) if text.startswith("{") else Answer(state="crashed" if text else "killed", said=text)


class Look(BaseModel):
    """What was found in a world, and what of it is wrong in any case."""

    seen: Seen
    wrong: list[str]


def _looked(world: World) -> str:
    wrong: list[str] = []
    with suppress(*((NoProject, NotAProject) if world.blank else ())):
        wrong = broken(world.root)
    return Look(seen=world.seen(), wrong=wrong).model_dump_json()


def look(world: World) -> Look:
    """Look at a world in a fresh process, which ends what dead ones began."""
    text = apart(partial(_looked, world))
    return Look.model_validate_json(text) if text.startswith("{") else Look(seen=Seen(whole={}, times={}), wrong=[f"the look {text}"])


def _seen(world: World) -> Seen:
    return Seen.model_validate_json(apart(lambda: world.seen().model_dump_json()))


# -- one point ----------------------------------------------------------------------------------------------------------------------------


_SAME_POINTS: Mapping[Kind, Kind] = {"orphan": "kill", "EIO": "kill"}


@dataclass(frozen=True)
class Campaign:
    """The attacks on one primitive of one backend, in a folder of their own."""

    name: str
    primitive: Primitive
    world: World
    seed: int = 0
    counted: dict[Kind, int] = field(default_factory=dict[Kind, int])

    @cached_property
    def stages(self) -> list[Seen]:
        """Return the states that are right: as before, those on the way, and last as after the call."""
        return [self._stage(step) for step in (None, *self.primitive.whiles, self.primitive.act)]

    def _stage(self, step: Step | None) -> Seen:
        self.world.reset()
        answer = _read(apart(partial(answered, step, self.world))) if step else Answer(state="done")
        found = look(self.world)
        if answer.state != "done" or found.wrong:
            raise RuntimeError(f"{self.name} does not work without a fault: {answer.said} {found.wrong}")
        return found.seen

    def points(self, kind: Kind) -> int:
        """Return how many points the call has for a kind of fault."""
        same = _SAME_POINTS.get(kind, kind)
        if same not in self.counted:
            self.world.reset()
            self.counted[same] = self._act(Fault(same, 0)).points
        return self.counted[same]

    def _act(self, fault: Fault) -> Outcome:
        return watched(partial(answered, self.primitive.act, self.world), fault)

    def attacked(self, fault: Fault) -> tuple[Outcome, list[str]]:
        """Let a fault happen, and return what came of it and all that is wrong then."""
        expected = self._expected
        self.world.reset()
        outcome = self._act(fault)
        if not outcome.hit:
            return outcome, []
        self.world.settle()
        answer = _read(outcome.answer)
        wrong = [f"the call {answer.state}: {answer.said}"] if answer.state == "crashed" or outcome.hung else []
        wrong += self._harassed(fault)
        first = look(self.world)
        wrong += first.wrong
        wrong += _differing("the second recovery changed", first.seen, _seen(self.world))
        stage = self._stage_of(first.seen)
        if stage is None:
            wrong += [f"neither as before nor as after: {_nearest(first.seen, expected)}"]
        else:
            wrong += self._judged(answer, stage, first.seen)
            wrong += self._again(stage == 0)
        return outcome, wrong

    def _harassed(self, fault: Fault) -> Iterator[str]:
        """Let recovery be killed too, or meet the same error."""
        chance = random.Random(f"{self.name} {fault} {self.seed}")
        deadly = fault.kind in ("kill", "orphan", "child")
        for _ in range(2 if deadly else 1):
            again = Fault("kill", chance.randint(1, 40)) if deadly else Fault(fault.kind, chance.randint(1, 20), True)
            answer = _read(watched(partial(answered, _recover, self.world), again).answer)
            if answer.state == "crashed":
                yield f"recovery under {again} crashed: {answer.said}"

    @cached_property
    def _expected(self) -> list[dict[str, str]]:
        return [self._counted(stage.whole) for stage in self.stages]

    def _counted(self, whole: dict[str, str]) -> dict[str, str]:
        """Return what counts: a clone that was taken back may lie in the trash."""
        idle = {f"{name}:state" for name in self.primitive.moves}
        return {place: what for place, what in whole.items() if not (place in idle and what == "deleted")}

    def _stage_of(self, seen: Seen) -> int | None:
        whole = self._counted(seen.whole)
        return next((number for number, stage in enumerate(self._expected) if whole == stage), None)

    def _judged(self, answer: Answer, stage: int, seen: Seen) -> Iterator[str]:
        last = self._expected[-1]
        if answer.state == "done" and self._expected[stage] != last:
            yield f"it was acknowledged and did not happen: {answer.said}"
        if answer.claims_nothing and self._expected[stage] != self._expected[0]:
            yield f"it happened, and the answer says that nothing did: {answer.said}"
        wanted = self.stages[stage].times
        for place, what in seen.times.items():
            if place.split("/")[0] not in self.primitive.moves and wanted.get(place) != what:
                yield f"{place} was touched: {wanted.get(place)} -> {what}"

    def _again(self, is_as_before: bool) -> Iterator[str]:
        """Make the same call once more, and see that it works, or that it is refused in our words where it was made already."""
        answer = _read(apart(partial(answered, self.primitive.act, self.world)))
        if answer.state != "done" and (is_as_before or answer.state != "refused" or self.primitive.blank):
            yield f"the same call again is {answer.state}: {answer.said}"
        found = look(self.world)
        yield from (f"after the call was made again: {what}" for what in found.wrong)
        if is_as_before and self._stage_of(found.seen) != self._expected.index(self._expected[-1]):
            yield f"the same call again did not do it: {_nearest(found.seen, self._expected[-1:])}"
        if self.primitive.deletes and found.seen.whole[f"{self.primitive.deletes}:state"] == "deleted":
            yield from self._brought_back(self.primitive.deletes)

    def _brought_back(self, name: str) -> Iterator[str]:
        answer = _read(apart(partial(answered, lambda world: world.open().restore(name).summary, self.world)))
        found, before = _seen(self.world), self.stages[0]
        if answer.state != "done":
            yield f"{name} cannot be restored: {answer.said}"
        for there, was in ((found.whole, before.whole), (found.times, before.times)):
            lost = {place for place in was if place.startswith(f"{name}/") and there.get(place) != was[place]}
            yield from (f"{place} did not come back: {there.get(place)}" for place in sorted(lost))


def _recover(world: World) -> str:
    with suppress(*((NoProject, NotAProject) if world.blank else ())):
        return world.open().status(detail="names").summary
    return ""


def _differing(what: str, one: Seen, other: Seen) -> Iterator[str]:
    for place in sorted(one.whole.keys() | other.whole.keys()):
        if one.whole.get(place) != other.whole.get(place):
            yield f"{what} {place}: {one.whole.get(place)} -> {other.whole.get(place)}"


def _nearest(seen: Seen, stages: Sequence[dict[str, str]]) -> str:
    """Return how a state differs from the one that it is most like."""
    ways = [";".join(_differing("", Seen(whole=stage, times={}), seen)) for stage in stages]
    return min(ways, key=lambda way: way.count(";"))[:2000]


# -- many points --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """One thing to try."""

    primitive: str
    backend: str
    fault: Fault

    @property
    def row(self) -> str:
        return f"{self.backend:9} {self.primitive:12} {_spelt(self.fault)}"

    def command(self, seed: int) -> str:
        """Return the command line that tries this point once more."""
        chosen = f"--primitives {self.primitive} --backends {self.backend} --fault {_spelt(self.fault)}"
        return f"make faults ARGS='{chosen} --only {self.fault.at} --seed {seed}'"


def _spelt(fault: Fault) -> str:
    return f"{fault.kind}{'+' if fault.lasting else ''}"


@dataclass(frozen=True)
class Plan:
    """What to try: every point, every n-th, a number of them by chance, or just one; in an order by chance when time is bounded."""

    primitives: Sequence[str]
    backends: Sequence[str]
    faults: Sequence[str]
    every: int = 1
    sample: int = 0
    only: int = 0
    budget: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Report:
    """How many points there are, were tried and broke, by row; and what broke."""

    there: Counter[str]
    tried: Counter[str]
    broke: Counter[str]
    wrong: list[str]

    def __str__(self) -> str:
        rows = [f"{row:32} {self.there[row]:6} {self.tried[row]:6} {self.broke[row]:6}" for row in self.there]
        head = f"{'backend   primitive    fault':32} points  tried  broke"
        return "\n".join([head, *rows, f"{self.tried.total()} points tried of {self.there.total()}, {self.broke.total()} broke"])


def _say(text: str) -> None:
    print(text, flush=True)


def run(plan: Plan, folder: Path, say: Callable[[str], None] = _say) -> Report:
    """Try the points of a plan, and say each that breaks as soon as it does."""
    load()
    campaigns = {
        (name, backend): Campaign(
            name, PRIMITIVES[name], World(folder, backend, PRIMITIVES[name].blank, PRIMITIVES[name].spares), plan.seed
        )
        for backend in plan.backends
        for name in plan.primitives
    }
    report, deadline = Report(Counter(), Counter(), Counter(), []), time.monotonic() + (plan.budget or 1e9)
    for point in _points(plan, campaigns, report):
        if report.tried and time.monotonic() > deadline:
            break
        outcome, wrong = campaigns[point.primitive, point.backend].attacked(point.fault)
        if outcome.hit:
            report.tried[point.row] += 1
        if wrong:
            report.broke[point.row] += 1
            report.wrong.append(f"{point.command(plan.seed)}\n  at {outcome.hit}\n  " + "\n  ".join(wrong))
            say(report.wrong[-1])
    return report


def _points(plan: Plan, campaigns: Mapping[tuple[str, str], Campaign], report: Report) -> Iterator[Point]:
    chance = random.Random(plan.seed)
    points: list[Point] = []
    for (name, backend), campaign in campaigns.items():
        for word in plan.faults:
            kind, lasting = word.removesuffix("+"), word.endswith("+")
            assert is_kind(kind)
            there = campaign.points(kind)
            # Threads take turns as they like, so a run may have more points than were counted. One that never comes does not count.
            chosen = [plan.only] if plan.only else range(1, there + there // 20 + 2, plan.every)
            if plan.sample:
                chosen = sorted(chance.sample(range(1, there + 1), min(plan.sample, there)))
            fresh = [Point(name, backend, Fault(kind, at, lasting)) for at in chosen]
            if fresh:
                report.there[fresh[0].row] = there
            points += fresh
    if plan.budget:
        chance.shuffle(points)
    return iter(points)


def load() -> None:
    """Load what calls load when they first need it: what is read once is read before the first fork, so that no point lies in that."""
    installed()
    import_module("git")
    for found in iter_modules(workspaces.__path__, "workspaces."):
        if found.name not in ("workspaces.server", "workspaces.terminal", "workspaces.clients"):
            import_module(found.name)
    for noun in Noun.__subclasses__():
        noun.model_rebuild()


def main() -> int:
    logging.disable()
    plan = _plan()
    if reason := missing():
        print(f"Nothing was tried: {reason}.")
        return 2
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        os.environ["HOME"] = folder
        Path(folder, ".gitconfig").write_text("[user]\n\tname = Ann\n\temail = ann@example.com\n[init]\n\tdefaultBranch = trunk\n")
        report = run(plan, Path(folder))
    print(report)
    return int(bool(report.wrong))


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    faults = [word for kind in KINDS for word in ((kind,) if kind in ("kill", "orphan", "child") else (kind, f"{kind}+"))]
    for option, words in (("primitives", [*PRIMITIVES]), ("backends", ["worktree", "directory"]), ("fault", faults)):
        parser.add_argument(f"--{option}", default=",".join(words), help=f"of {','.join(words)}")
    parser.add_argument("--every", type=int, default=1, help="only every n-th point")
    parser.add_argument("--sample", type=int, default=0, help="so many points of each kind, by chance")
    parser.add_argument("--only", type=int, default=0, help="this point alone")
    parser.add_argument("--budget", type=float, default=0.0, help="stop after so many seconds; the order is by chance then")
    parser.add_argument("--seed", type=int, default=0, help="what chance goes by")
    said = parser.parse_args()
    return Plan(
        said.primitives.split(","),
        said.backends.split(","),
        said.fault.split(","),
        said.every,
        said.sample,
        said.only,
        said.budget,
        said.seed,
    )


if __name__ == "__main__":
    sys.exit(main())
