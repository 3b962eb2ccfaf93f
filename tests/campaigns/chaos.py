"""Does anything that was acknowledged get lost, when many work on one project at once and are killed and stopped at random?

    python -m campaigns.chaos --agents 64 --minutes 10 --seed 1

Agents reach the project as servers, commands and plain processes, and do random things to their own and each other's workspaces. Their
processes are killed, alone or with their git children, or stopped for a while; plain git runs beside. After each round, when nobody is at work,
the project is compared with what was acknowledged. A seed repeats what each agent wants, not the moments at which it comes to it.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import anyio
import anyio.to_thread

from workspaces.model import MAIN, History, OnConflict

from .beliefs import PARTS, TOKENS, Beliefs, beside, contradicted, unrestorable, written
from .calls import Call, Checkpoint, Clone, Compare, Delete, Merge, Restore, Undo
from .faces import DIED, Face, Kind, opened, text
from .stage import ASIDE, KINDS, LINES, SHARED, Tally, project, stage

FACES: tuple[Kind, ...] = ("server", "direct", "command")


@dataclass
class Field:
    """Where all of them play: the project, what is believed of it, and who is there to be killed."""

    kind: str
    root: Path
    scratch: Path
    seed: str
    aside: Path
    """Where agents make what they put into workspaces: on the same file system."""
    durable: bool = False
    """Whether agents write what they edit to the disk before they go on."""
    beliefs: Beliefs = field(default_factory=Beliefs)
    faces: set[Face] = field(default_factory=set[Face])
    counts: Counter[str] = field(default_factory=Counter[str])
    numbers: int = 0
    trace: list[str] = field(default_factory=list[str])

    def note(self, line: str) -> int:
        """Write down what happens, for whoever looks into a failure; return the number of the line."""
        self.trace.append(f"[{len(self.trace)}] {time.monotonic():.3f} {line}")
        return len(self.trace) - 1

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def folder(self, workspace: str) -> Path:
        return self.root / ".workspaces" / workspace


class Agent:
    """One who works on the project in random ways, and on its own workspaces only but for merges."""

    def __init__(self, place: Field, number: int) -> None:
        self._place, self._name = place, f"a{number}"
        self._chance = random.Random(f"{place.seed} {number}")
        self._face: Kind = FACES[number % len(FACES)]
        self._scratch, self._aside = place.scratch / self._name, place.aside / f"{self._name}-aside"
        for folder in (self._scratch, self._aside):
            folder.mkdir(exist_ok=True)

    async def play(self, steps: int) -> None:
        """Do so many things, with a new process whenever one has died."""
        while steps > 0:
            async with opened(self._face, self._place.root, self._scratch) as face:
                self._place.faces.add(face)
                try:
                    while steps > 0 and await self._step(face):
                        steps -= 1
                    steps -= 1
                finally:
                    self._place.faces.discard(face)

    async def _step(self, face: Face) -> bool:
        """Do one thing; return whether somebody is still there to ask."""
        call = self._wanted()
        if call is None:
            return True
        beliefs, counts = self._place.beliefs, self._place.counts
        number = self._place.note(f"{self._name} asks as {self._face}: {call.model_dump_json()}")
        beliefs.ask(number, call)
        face.asked = True
        answer = await face.ask(call)
        face.asked = False
        beliefs.answer(number, answer)
        self._place.note(f"{self._name} is answered [{number}]: {text(answer.result) if answer.result else answer.refused or 'nothing'}")
        counts[f"{call.verb} {'unanswered' if answer == DIED else answer.refused or 'acknowledged'}"] += 1
        if isinstance(call, Merge) and call.on_conflict == "markers" and answer.result is not None:
            with suppress(FileNotFoundError):
                self._rewrite(call.target)
        return answer != DIED or self._face == "command"

    # -- what it wants

    def _wanted(self) -> Call | None:
        mine = [name for name in self._place.beliefs.live() if name.startswith(f"{self._name}-")]
        if not mine or (len(mine) < 3 and self._chance.random() < 0.15):
            return self._clone()
        own = self._chance.choice(mine)
        wants = {
            self._edit: 5,
            self._merge: 5,
            self._compare: 2,
            self._checkpoint: 1,
            self._restore: 0.5,
            self._delete: 0.8,
            self._undo: 0.15,
        }
        (want,) = self._chance.choices(list(wants), list(wants.values()))
        return want(own)

    def _clone(self) -> Call:
        gone = [name for name, fate in self._place.beliefs.fate.items() if fate == "deleted" and name.startswith(f"{self._name}-")]
        if gone and self._chance.random() < 0.3:
            return Restore(workspace=self._chance.choice(gone))
        source = self._other() if self._chance.random() < 0.3 else MAIN
        return Clone(source=source, name=f"{self._name}-{self._place.number()}")

    def _other(self) -> str:
        return self._chance.choice(self._place.beliefs.live())

    def _edit(self, own: str) -> None:
        """Put a token there, or change a line that others change too. Somebody's undo or delete may have taken the folder away."""
        with suppress(FileNotFoundError):
            self._rewrite(own) if self._chance.random() < 0.3 else self._put(own, f"t{self._place.number()}")

    def _beside(self, own: str) -> Path:
        """Return a folder from which it is a rename into a workspace. Into one that is a subvolume it is none but from inside."""
        folder = self._place.folder(own)
        if folder.stat().st_dev == self._aside.stat().st_dev:
            return self._aside
        inside = folder / ASIDE / self._name
        inside.mkdir(parents=True, exist_ok=True)
        return inside

    def _put(self, own: str, token: str) -> None:
        """Put a token there by one rename."""
        aside = self._beside(own) / token
        aside.mkdir()
        for part in PARTS:
            (aside / part).write_text(written(token, part))
        place = self._place.folder(own) / TOKENS
        place.mkdir(exist_ok=True)
        aside.rename(place / token)
        if self._place.durable:
            for each in (*(place / token / part for part in PARTS), place / token, place, place.parent):
                sync(each)
        self._place.beliefs.put(own, token)
        self._place.note(f"{self._name} puts {token} into {own}")

    def _rewrite(self, own: str) -> None:
        """Change a line of the shared text, and leave no markers in it."""
        lines = [f"line {number}\n" for number in range(LINES)]
        lines[self._chance.randrange(LINES)] = f"{self._name} {self._place.number()}\n"
        aside = self._beside(own) / SHARED
        aside.write_text("".join(lines))
        if self._place.durable:
            sync(aside)
        aside.rename(self._place.folder(own) / SHARED)

    def _merge(self, own: str) -> Call:
        message = f"m{self._place.number()}"
        resolved: OnConflict = self._chance.choice(get_args(OnConflict))
        way = self._chance.random()
        if way < 0.25:
            return Merge(source=MAIN, target=own, message=message, on_conflict=resolved)
        if way < 0.4 and (other := self._other()) not in (own, MAIN):
            return Merge(source=other, target=own, message=message, on_conflict=resolved)
        target = self._place.beliefs.parent.get(own, MAIN) if way < 0.6 else MAIN
        policy: OnConflict = self._chance.choice(["abort", "source", "target"])
        commits: History = "merge" if self._place.kind == "worktree" and self._chance.random() < 0.3 else "squash"
        return Merge(source=own, target=target, message=message, on_conflict=policy, history=commits)

    def _compare(self, own: str) -> Call:
        return Compare(workspaces=tuple({own: None, self._other(): None}))

    def _checkpoint(self, own: str) -> Call:
        return Checkpoint(workspace=own)

    def _restore(self, own: str) -> Call | None:
        points = [point for point, (name, _) in self._place.beliefs.points.items() if name == own]
        return Restore(workspace=own, to=self._chance.choice(points)) if points else None

    def _delete(self, own: str) -> Call:
        return Delete(workspaces=(own,), children=self._chance.choice(["refuse", "reparent", "reparent", "delete"]))

    def _undo(self, own: str) -> Call | None:
        return Undo() if self._face != "server" else Checkpoint(workspace=own)


def sync(path: Path) -> None:
    """Have what is in a file or a folder written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- what is done to them -------------------------------------------------------------------------------------------------------------------


async def killer(place: Field, chance: random.Random) -> None:
    """Kill or stop, now and then, a process that has been asked for something."""
    while True:
        await anyio.sleep(chance.uniform(0.05, 1.2))
        faces = [face for face in place.faces if face.asked and face.pid]
        if faces:
            await _strike(place, chance, chance.choice(faces))


async def _strike(place: Field, chance: random.Random, face: Face) -> None:
    how = chance.random()
    if how < 0.35:
        place.note(f"kill {face.pid} with its children")
        place.counts["killed with children"] += face.signal(signal.SIGKILL, children_too=True)
    elif how < 0.7:
        place.note(f"kill {face.pid} alone")
        place.counts["killed alone"] += face.signal(signal.SIGKILL)
    else:
        place.counts["stopped"] += face.signal(signal.SIGSTOP, children_too=how > 0.85)
        try:
            await anyio.sleep(chance.uniform(0.05, 1.0))
        finally:
            face.signal(signal.SIGCONT, children_too=True)


async def bystander(place: Field) -> None:
    """Use plain git beside them."""
    while True:
        if said := await anyio.to_thread.run_sync(beside, place.root):
            place.beliefs.faults.append(said)
        place.counts["plain git"] += 1
        await anyio.sleep(0.2)


async def turmoil(place: Field, agents: list[Agent], steps: int, chance: random.Random, strikers: int) -> None:
    """Let all of them work and be struck until each has had its turns."""
    async with anyio.create_task_group() as trouble:
        for _ in range(strikers):
            trouble.start_soon(killer, place, random.Random(chance.random()))
        if place.kind == "worktree":
            trouble.start_soon(bystander, place)
        async with anyio.create_task_group() as work:
            for agent in agents:
                work.start_soon(agent.play, steps)
        trouble.cancel_scope.cancel()


# -- rounds ---------------------------------------------------------------------------------------------------------------------------------


def rounds(place: Field, agents: int, steps: int, until: float, strikers: int) -> Tally:
    """Go on in rounds until the time is over, at least once, and look after each."""
    project(place.kind, place.root)
    crew = [Agent(place, number) for number in range(agents)]
    chance, tally = random.Random(f"{place.seed} trouble"), Tally()
    while not tally.tried or (time.monotonic() < until and not tally.broke):
        anyio.run(turmoil, place, crew, steps, chance, strikers)
        tally.broke += contradicted(place.beliefs, place.root)
        tally.tried = place.counts.total()
        print(f"  {place.kind}: {tally.tried} calls and strikes so far, {len(tally.broke)} broke", flush=True)
    if not tally.broke:
        tally.broke += unrestorable(place.beliefs, place.root, 20)
        tally.broke += contradicted(place.beliefs, place.root)
    return tally


def main() -> None:
    options = argparse.ArgumentParser(description="Many agents on one project, killed and stopped at random.")
    options.add_argument("--agents", type=int, default=24, help="how many, each with a process of its own (24; at most 64)")
    options.add_argument("--steps", type=int, default=12, help="what each does in a round (12)")
    options.add_argument("--minutes", type=float, default=5, help="how long, for each kind of project (5)")
    options.add_argument("--strikers", type=int, default=2, help="how many kill and stop at once (2)")
    options.add_argument("--kind", choices=KINDS, help="only this kind of project")
    options.add_argument("--seed", default=str(os.getpid()), help="repeats what the agents want")
    options.add_argument("--keep", action="store_true", help="leave the projects, and a trace of what happened")
    asked = options.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it is surprised by the end of processes that were killed
    print(f"seed {asked.seed}")
    whole = Tally()
    for kind in [asked.kind] if asked.kind else KINDS:
        with stage(asked.keep) as folder:
            place = Field(kind, folder / "shop", folder, f"{asked.seed} {kind}", folder)
            tally = rounds(place, asked.agents, asked.steps, time.monotonic() + asked.minutes * 60, asked.strikers)
            print(f"{kind}: {dict(sorted(place.counts.items()))}", flush=True)
            (folder / "trace.txt").write_text("\n".join(place.trace))
        whole.tried += tally.tried
        whole.broke += [f"{kind}: {each}" for each in tally.broke]
    whole.end("chaos")


if __name__ == "__main__":
    main()
