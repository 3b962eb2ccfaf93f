"""The loop of one agent, and a fan-out, beside other projects that can be installed here: command line beside command line, and a server that runs
on beside theirs, all in one run. Whether the work was done is looked at each time; who does not do it is named with the reason."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import repositories
import timing
from others import GIT, NEKOCODE, OURS, OURS_SERVED, SANDFS, TREEHOUSE, TREEHOUSE_SERVED, Made, made, makers
from report import Row, row
from sides import Contestant
from tools import Tools, Unable
from volumes import SPARE, Volume, mounted

AGENTS = 16
WHO = 7
CHANGED = 3
LARGE = 20_000
"""Files from which on a repository is large: nobody makes sixteen attempts then, and a third of the rounds has to do."""
BESIDE = {OURS: (GIT, TREEHOUSE, NEKOCODE), OURS_SERVED: (GIT, TREEHOUSE_SERVED, SANDFS)}
"""Who is shown beside our command line, and beside our server."""
_NOISE = re.compile(r"\x1b\[\d*m|\S*/")
"""Colours and folders in what somebody says."""

Action = Callable[[Contestant, str], None]
Samples = Mapping[str, Sequence[float] | str]
"""What each took in milliseconds, or why it does not do the work."""


@dataclass(frozen=True)
class Step:
    """One thing that is measured, how git does it, and how it shows that it was done: raising, or with a folder that is there or not."""

    operation: str
    git: str
    action: Action
    stem: str = "work"
    leaves: bool = True


def measured(origin: Path, label: str, place: Volume, rounds: int, scratch: Path) -> Iterator[Row]:
    """Measure each step with all who take part, in interleaved rounds, on a fresh file system."""
    git, files = repositories.weights(origin)
    copies = rounds + 1 + AGENTS * max(1, rounds // 3)
    size = SPARE + 2 * WHO * (git + files * (1 + copies))
    with mounted(place, scratch, size) as folder, ExitStack() as held:
        who = {
            name: _entered(each, origin, folder / str(number)) for number, (name, each) in enumerate(makers(Tools(folder), held).items())
        }
        files = repositories.size(_present(who)[GIT].checkout)
        rounds = timing.rounds(rounds, files >= LARGE)
        rows: list[Row] = []
        for step in _steps(who, rounds, files < LARGE):
            print(f"  {step.operation} …", file=sys.stderr)
            rows += _rows(f"{label}, {files:,} files on {place.label}", step, _taken(who, step, rounds))
        yield from sorted(rows, key=lambda each: each.subject)


def _entered(maker: Made, origin: Path, place: Path) -> Contestant | str:
    """Return a contestant that did everything once, or why there is none."""
    try:
        entered = made(maker, origin, place)
        entered.clone("warm")
    except (Unable, RuntimeError) as error:
        return _said(error)
    return entered


def _present(who: Mapping[str, Contestant | str]) -> dict[str, Contestant]:
    return {name: each for name, each in who.items() if not isinstance(each, str)}


def _steps(who: Mapping[str, Contestant | str], rounds: int, fan_out: bool) -> Iterator[Step]:
    """Yield the steps in the order of a working day, and do between them what is not measured."""
    present = _present(who).values()
    yield Step("make one attempt", "worktree add --detach", lambda each, name: each.clone(name))
    if fan_out:
        git = "worktree add, two at a time"
        yield Step(f"make {AGENTS} attempts", git, lambda each, name: each.fan_out(_fleet(name)), "agent")
    for number, each in product(range(rounds), present):
        if each.holds(f"work-{number}"):
            each.edit(f"work-{number}", each.files[number * CHANGED : (number + 1) * CHANGED])
    yield Step("see what one changed", "diff --stat", lambda each, name: each.compare(name))
    for number, each in product(range(rounds), present):
        if each.holds(f"work-{number}"):
            each.commit(f"work-{number}")
    yield Step("merge one into main", "merge --squash, commit", lambda each, name: each.merge(name))
    yield Step("delete one", "worktree remove", lambda each, name: each.delete(name), leaves=False)


def _fleet(name: str) -> list[str]:
    return [f"{name}-{number}" for number in range(1, AGENTS + 1)]


def _taken(who: Mapping[str, Contestant | str], step: Step, rounds: int) -> Samples:
    wanted = max(1, rounds // 3) if step.stem == "agent" else rounds
    names = [f"{step.stem}-{number}" for number in range(wanted)]
    found: dict[str, Sequence[float] | str] = {name: each for name, each in who.items() if isinstance(each, str)}
    present = _present(who)
    times = timing.interleaved([partial(_timed, each, step) for each in present.values()], names)
    for name, samples in zip(present, times, strict=True):
        failed = [each for each in samples if isinstance(each, str)]
        found[name] = failed[0] if failed else [each for each in samples if not isinstance(each, str)]
    return found


def _timed(each: Contestant, step: Step, name: str) -> float | str:
    try:
        time = timing.settled(partial(step.action, each, name))
        _look(each, step, name)
    except (Unable, RuntimeError, OSError) as error:
        return _said(error)
    return time


def _look(each: Contestant, step: Step, name: str) -> None:
    """Raise `Unable` when what should be done is not. The first fleet is looked at by its own tool too: whether it knows all that it made."""
    fleet = [name] if step.stem == "work" else _fleet(name)
    if wrong := [one for one in fleet if each.holds(one) is not step.leaves]:
        raise Unable(f"{'there is nothing' if step.leaves else 'something is left'} of {', '.join(wrong)}")
    for one in fleet if name == "agent-0" else ():
        each.compare(one)
    if step.operation.startswith("merge"):
        done = repositories.run(each.checkout, "log", "--max-count=1", "--format=%B", "--stat").stdout.decode()
        if f" {CHANGED} files changed" not in done:
            raise Unable("the change did not arrive in main")


def _said(error: Exception) -> str:
    return _NOISE.sub("", " ".join(str(error).split()))[-120:]


def _rows(subject: str, step: Step, found: Samples) -> Iterator[Row]:
    for ours, others in BESIDE.items():
        how = "a server that runs on" if ours == OURS_SERVED else "command line"
        mine = found[ours]
        if isinstance(mine, str):
            raise RuntimeError(f"{step.operation}: {mine}")
        for name in others:
            theirs = found[name]
            against = f"git {step.git}" if name == GIT else name
            if isinstance(theirs, str):
                yield row(f"{subject}, {how}", step.operation, f"{against}: {theirs}", [mine, []])
            else:
                yield row(f"{subject}, {how}", step.operation, against, [mine, theirs])
