"""Does anything grow that should not, while agents go through the whole life of workspaces again and again?

    SECONDS=3600 python -m campaigns.soak

Each agent has a server that lives as long as the campaign. Looked at regularly: open files and memory of the servers, processes that they
started, files in the scratch folder, and how long a call takes. The first third of the time is for warming up; what then grows is a leak.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import anyio

from .beliefs import BY_DESIGN
from .calls import Call, Clone, Compare, Delete, Merge
from .faces import Face, opened
from .stage import KINDS, LINES, SHARED, Tally, project, stage

PROC = Path("/proc")
SAMPLES = 30
LIVES = 3
"""Of each agent at least, however slow the machine is."""


@dataclass(frozen=True)
class Sample:
    """What was seen at a moment: of the servers' files and memory (MB) the most, of the rest the sum; since the last sample
    the `ms` that a call took, and of these what the servers and their children worked (`cpu`), whatever else the machine does."""

    files: int
    memory: float
    children: int
    zombies: int
    scratch: int
    ms: float
    cpu: float
    packs: int
    calls: int

    def shown(self, seconds: float) -> str:
        about = f"{self.files:4} files {self.memory:7.1f} MB {self.children:3} children {self.zombies:2} zombies {self.scratch:4} scratch"
        return f"  {seconds:6.0f} s {about} {self.ms:7.1f} ms a call ({self.cpu:.1f} of work) {self.packs:3} packs {self.calls:6} calls"


@dataclass
class Soak:
    root: Path
    agents: int
    seconds: float
    until: float = 0.0
    ready: anyio.Event = field(default_factory=anyio.Event)
    servers: set[Face] = field(default_factory=set[Face])
    times: list[float] = field(default_factory=list[float])
    samples: list[Sample] = field(default_factory=list[Sample])
    faults: list[str] = field(default_factory=list[str])
    calls: int = 0
    worked: dict[int, float] = field(default_factory=dict[int, float])

    async def begin(self, face: Face) -> None:
        """Wait until all servers are there: the time counts from then on, however long they took to start."""
        self.servers.add(face)
        if len(self.servers) == self.agents:
            self.until = time.monotonic() + self.seconds
            self.ready.set()
        await self.ready.wait()

    async def ask(self, face: Face, call: Call) -> None:
        begun = time.monotonic()
        answer = await face.ask(call)
        self.times.append((time.monotonic() - begun) * 1000)
        self.calls += 1
        if answer.result is None and answer.refused not in BY_DESIGN:
            self.faults.append(f"{call}: {answer.refused or 'no answer'} {answer.said}")


async def agent(soak: Soak, number: int, scratch: Path) -> None:
    """Live through workspace after workspace with one server."""
    scratch.mkdir()
    async with opened("server", soak.root, scratch) as face:
        await soak.begin(face)
        life = 0
        while time.monotonic() < soak.until or life < LIVES:
            life += 1
            await _live(soak, face, f"agent-{number}-{life}", life % LINES)
        soak.servers.discard(face)


async def _live(soak: Soak, face: Face, name: str, row: int) -> None:
    """Clone, edit, compare, merge, delete."""
    await soak.ask(face, Clone(source="main", name=name))
    folder = soak.root / ".workspaces" / name
    lines = (folder / SHARED).read_text().splitlines(keepends=True)
    (folder / SHARED).write_text("".join([*lines[:row], f"{name}\n", *lines[row + 1 :]]))
    (folder / "src" / f"{name.rpartition('-')[0]}.py").write_text(f"name = '{name}'\n")
    await soak.ask(face, Compare(workspaces=(name,)))
    await soak.ask(face, Merge(source=name, target="main", message=name, on_conflict="source"))
    await soak.ask(face, Delete(workspaces=(name,)))


# -- looking --------------------------------------------------------------------------------------------------------------------------------


async def watch(soak: Soak) -> None:
    """Take samples regularly, and print them."""
    await soak.ready.wait()
    begun = time.monotonic()
    while True:
        await anyio.sleep(soak.seconds / SAMPLES)
        if soak.servers and soak.times:
            soak.samples.append(sample(soak))
            print(soak.samples[-1].shown(time.monotonic() - begun), flush=True)


def sample(soak: Soak) -> Sample:
    servers = [face.pid for face in soak.servers]
    times, soak.times = soak.times, []
    worked, soak.worked = soak.worked, {pid: _worked(pid) for pid in servers}
    states = [state for state, parent in _processes() if parent in servers]
    return Sample(
        files=max(len(list((PROC / str(pid) / "fd").iterdir())) for pid in servers),
        memory=max(_memory(pid) for pid in servers),
        children=len(states),
        zombies=states.count("Z"),
        scratch=len(left_in_scratch(soak.root)),
        ms=median(times),
        cpu=sum(ms - worked.get(pid, 0) for pid, ms in soak.worked.items()) / len(times),
        packs=len(list((soak.root / ".git" / "objects" / "pack").glob("*.pack"))),
        calls=soak.calls,
    )


def _processes() -> list[tuple[str, int]]:
    """Return the state and the parent of every process."""
    found: list[tuple[str, int]] = []
    for folder in PROC.iterdir():
        if folder.name.isdecimal():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            found.append((state, int(parent)))
    return found


def _memory(pid: int) -> float:
    pages = int((PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _worked(pid: int) -> float:
    """Return the milliseconds that a process and the children that it waited for have worked (proc_pid_stat(5), utime to cstime)."""
    ticks = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[11:15]
    return sum(map(int, ticks)) * 1000 / os.sysconf("SC_CLK_TCK")


def left_in_scratch(root: Path) -> list[Path]:
    """Return what lies in the folders where calls prepare things."""
    homes = (root / ".git" / "workspaces", root / ".workspaces" / ".state")
    return [entry for home in homes for part in ("tmp", "new", "staging") for entry in (home / part).glob("*")]


def leaks(samples: Sequence[Sample], seconds: float) -> list[str]:
    """Return what grew from the second third of the time to the last: more than it sways by itself. Below a minute, times only sway."""
    third = len(samples) // 3
    before, after = samples[third : 2 * third], samples[2 * third :]
    if not before:
        return [f"only {len(samples)} samples were taken"]
    limits: dict[str, tuple[Callable[[Sample], float], float, float]] = {
        "open files": (lambda each: each.files, 1.1, 3),
        "MB of memory": (lambda each: each.memory, 1.1, 8),
        "child processes": (lambda each: each.children, 1.5, 6),
        "zombies": (lambda each: each.zombies, 1, 2),
        "files in the scratch folder": (lambda each: each.scratch, 1.5, 12),
        "ms a call": (lambda each: each.ms, 1.6 if seconds > 60 else 100, 40),
        "ms of work a call": (lambda each: each.cpu, 1.25 if seconds > 60 else 100, 10),
        "packs in the repository": (lambda each: each.packs, 1.2, 16),
    }
    return [
        f"{name} grew from {was:.1f} to {now:.1f}"
        for name, (of, times, plus) in limits.items()
        if (now := median(map(of, after))) > (was := median(map(of, before))) * times + plus
    ]


# -- the campaign ---------------------------------------------------------------------------------------------------------------------------


def missing() -> str:
    """Return why this cannot look at processes here; nothing, when it can."""
    return "" if (PROC / "self" / "statm").exists() else "there is no /proc to look at processes"


async def _all(soak: Soak, folder: Path) -> None:
    async with anyio.create_task_group() as beside:
        beside.start_soon(watch, soak)
        async with anyio.create_task_group() as tasks:
            for number in range(soak.agents):
                tasks.start_soon(agent, soak, number, folder / f"agent-{number}")
        beside.cancel_scope.cancel()


def run(kind: str, folder: Path, agents: int, seconds: float) -> Tally:
    """Let agents work for so long; return what leaks, and what was left behind when all had gone."""
    root = folder / "shop"
    project(kind, root)
    soak = Soak(root, agents, seconds)
    anyio.run(_all, soak, folder)
    left = [f"{entry} was left" for entry in left_in_scratch(root)]
    return Tally(soak.calls, [*soak.faults, *leaks(soak.samples, seconds), *left])


def main() -> None:
    options = argparse.ArgumentParser(description="The whole life of workspaces, again and again, looking for what grows.")
    options.add_argument("--agents", type=int, default=6, help="how many, each with a server (6)")
    options.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS", "3600")), help="how long (SECONDS, else 3600)")
    options.add_argument("--kind", choices=KINDS, help="only this kind of project; else half of the time for each")
    asked = options.parse_args()
    if reason := missing():
        print(f"skipped: {reason}")
        return
    kinds = [asked.kind] if asked.kind else KINDS
    whole = Tally()
    for kind in kinds:
        print(kind)
        with stage() as folder:
            tally = run(kind, folder, asked.agents, asked.seconds / len(kinds))
        whole.tried += tally.tried
        whole.broke += [f"{kind}: {each}" for each in tally.broke]
    whole.end("soak")


if __name__ == "__main__":
    main()
