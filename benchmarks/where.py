"""Where does the time of a server go that many clients call at once? Its processor by kind of work, verb by verb, as a sampler saw it.

The sampler is py-spy, which has to be installed aside and named (`--spy`). It stops the server for each sample, so what a call costs is measured
before, without it.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import anyio
from calls import Arguments, Crowd, crowd, processor
from pydantic import JsonValue
from repositories import checkout, generated
from servers import NOOP, OURS

from workspaces.project import Project

FILES, RATE = 100, 100
"""Files of the repository, and samples a second."""
CALLS = {"noop": 2_000, "status": 800, "compare": 64, "clone": 64, "merge": 64, "delete": 64}
"""How many calls of each are sampled, at least."""
RUNS, HELD, SERVES = "", "--gil", "--idle"
"""What is sampled, by py-spy's option: threads that run, the one that holds the interpreter's lock, and those that do the work of a call, waiting
or not."""
WORK = {
    "starting gits": r"/subprocess\.py|/git/\w+\.py|/backends/(git|confinement|landlock|seccomp)\.py|/tempfile\.py",
    "hearing gits": r"/backends/(bounds|processes)\.py",
    "locks and store": r"/workspaces/(locks|store/\w+)\.py|/sqlite3/",
    "who calls, limits, log": r"/workspaces/(audit|access|tokens|telemetry|server/\w+)\.py",
    "pydantic, JSON": r"/(pydantic\w*|json|jsonschema\w*|referencing)/",
    "SDK, HTTP, event loop": r"/(mcp|starlette|uvicorn|h11|httptools|sse_starlette|asyncio|anyio|opentelemetry)/",
    "own work": r"/(workspaces|backends)/",
}
"""What a thread that runs is at: the first of these that one of its functions is of, from the innermost outwards."""
WAITS = {
    "a turn": r"/workspaces/locks\.py",
    "the store": r"/workspaces/store/",
    "gits": r"/backends/(git|confinement|bounds)\.py",
    "its own work, or a processor for it": r"/(workspaces|backends)/",
}
"""What a call spends its time on, in the same way."""
OTHER = "threads, other"
_FILES = re.compile(r"\(([^();]*?):\d+\)(?:;|$)")
_OURS = re.compile(r"/(workspaces|backends)/")
_LOOP, _CONFINED, _WAITING = "/asyncio/base_events.py", "/backends/confinement.py", "/concurrent/futures/"


@dataclass(frozen=True)
class Seen:
    """Milliseconds of a call: of processor, the server's own and that of what it started; and by the clock. Then samples by what was sampled, and the
    share of time in which the interpreter's lock was held."""

    own: float
    children: float
    clock: float
    samples: dict[str, Counter[str]]
    held: float


def main() -> None:
    parser = argparse.ArgumentParser(description="Tell where the time of a server goes that many clients call, over HTTP with sessions.")
    parser.add_argument("--spy", required=True, help="the program py-spy")
    parser.add_argument("--clients", type=int, default=16, help="how many call at once (16)")
    parser.add_argument("--keep", type=Path, help="a folder that gets the samples, a stack a line, as flame graphs are drawn from")
    asked = parser.parse_args()
    os.environ["WORKSPACES_SPARES"] = "0"  # what prepares clones beside would be seen too
    with tempfile.TemporaryDirectory() as folder:
        place = checkout(generated(Path(folder, "origin.git"), FILES), Path(folder, "checkout"))
        found = anyio.run(_measured, place, asked.clients, asked.spy, asked.keep or Path(folder))
        print("\n".join(_table(found)), flush=True)


async def _measured(place: Path, clients: int, spy: str, kept: Path) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    work = _work(place)
    for command, tools in ((NOOP, ["noop"]), (OURS, [*work][1:])):
        async with crowd("HTTP, sessions", clients, place, command) as many:
            for tool in tools:
                found[tool] = await _seen(many, tool, work[tool], spy, kept)
    return found


async def _seen(many: Crowd, tool: str, work: Callable[[int], Arguments], spy: str, kept: Path) -> Seen:
    calls = -(-CALLS[tool] // len(many.calls)) * len(many.calls)
    arguments, before = work(calls), processor(many.servers)
    taken = await many.taken(tool, arguments, calls)
    own, children = ((after - was) / calls for after, was in zip(processor(many.servers), before, strict=True))
    samples: dict[str, Counter[str]] = {}
    seconds = dict[str, float]()
    for option in (RUNS, HELD, SERVES):
        arguments, file = work(calls), kept / f"{tool}-{len(many.calls)}{option}.txt"
        with _sampled(spy, many.servers[0], file, option):
            seconds[option] = (await many.taken(tool, arguments, calls)).all
        samples[option] = _grouped(file, option)
    clock = sum(taken.seconds) * 1000 / calls
    return Seen(own, children, clock, samples, samples[HELD].total() / RATE / seconds[HELD])


@contextmanager
def _sampled(spy: str, server: int, file: Path, option: str) -> Generator[None]:
    command = [
        spy,
        "record",
        "--pid",
        str(server),
        "--rate",
        str(RATE),
        "--format",
        "raw",
        "--full-filenames",
        "--nonblocking",
        "--output",
        str(file),
    ]
    with subprocess.Popen([*command, *filter(None, [option])], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as sampler:
        if not any("Sampling" in line for line in sampler.stdout or ()):
            raise RuntimeError(f"{spy} cannot look into process {server}.")
        yield
        sampler.send_signal(signal.SIGINT)
        sampler.communicate()


def _grouped(file: Path, option: str) -> Counter[str]:
    """Return how many samples are of each group."""
    groups = WAITS if option == SERVES else WORK
    found = Counter[str]()
    for line in file.read_text().splitlines():
        stack, _, number = line.rpartition(" ")
        names = _FILES.findall(stack)
        if option != SERVES or _serves(names):
            found[_group(names, groups)] += int(number)
    return found


def _serves(names: list[str]) -> bool:
    """Return whether a thread does the work of a call. Of two of which one waits for the other, the one that works counts; for a git, the one that
    waits."""
    ours = [name for name in names if _OURS.search(name)]
    if not ours or any(name.endswith(_LOOP) for name in names) or ours[0].endswith(_CONFINED):
        return False
    return ours[-1].endswith(_CONFINED) or not any(_WAITING in name for name in names[names.index(ours[-1]) :])


def _group(names: list[str], groups: dict[str, str]) -> str:
    for name in reversed(names):
        for group, pattern in groups.items():
            if re.search(pattern, name):
                return group
    return OTHER


# -- what is called -----------------------------------------------------------------------------------------------------------------------


def _work(place: Path) -> dict[str, Callable[[int], Arguments]]:
    """Return for each tool what prepares so many calls of it, and gives what makes their arguments."""
    project, number, merged = Project.initialize(place), count(), list[str]()
    pair = [_changed(project, f"pair-{each}") for each in "ab"]

    def merges(calls: int) -> Arguments:
        names = [_changed(project, f"merged-{next(number)}") for _ in range(calls)]
        merged.extend(names)
        return _each({"source": name} for name in names)

    def deletes(calls: int) -> Arguments:
        while len(merged) < calls:
            merged.append(_changed(project, f"merged-{next(number)}"))
            project.merge(merged[-1])
        return _each({"workspaces": [merged.pop()]} for _ in range(calls))

    return {
        "noop": lambda _: dict,
        "status": lambda _: lambda: {"detail": "names", "workspaces": [*pair]},
        "compare": lambda _: lambda: {"workspaces": [*pair]},
        "clone": lambda calls: _each({"name": f"made-{next(number)}"} for _ in range(calls)),
        "merge": merges,
        "delete": deletes,
    }


def _each(arguments: Iterator[dict[str, JsonValue]]) -> Arguments:
    return lambda: next(arguments)


def _changed(project: Project, name: str) -> str:
    made = project.clone(name=name).workspaces[0]
    Path(made.location, f"{name}.txt").write_text(name)
    return name


# -- what came out ------------------------------------------------------------------------------------------------------------------------


def _table(found: dict[str, Seen]) -> Iterator[str]:
    """Yield a table, as Markdown."""
    yield f"| | {' | '.join(found)} |"
    yield f"|---|{'---:|' * len(found)}"
    yield _line("a call, by the clock, ms", [f"{seen.clock:,.1f}" for seen in found.values()])
    yield _line("the server's own processor, ms", [f"{seen.own:.2f}" for seen in found.values()])
    for group in [*WORK, OTHER]:
        yield _line(f"… {group}", [_part(seen.samples[RUNS], group, seen.own) for seen in found.values()])
    yield _line("its gits' processor, ms", [f"{seen.children:.1f}" for seen in found.values()])
    yield _line("the interpreter is held", [f"{seen.held:.0%}" for seen in found.values()])
    for group in WAITS:
        yield _line(f"time in {group}", [_share(seen.samples[SERVES], group) for seen in found.values()])
    yield _line("samples", ["/".join(str(each.total()) for each in seen.samples.values()) for seen in found.values()])


def _line(head: str, cells: list[str]) -> str:
    return f"| {head} | {' | '.join(cells)} |"


def _part(samples: Counter[str], group: str, own: float) -> str:
    share = samples[group] / samples.total() if samples else 0.0
    return f"{share * own:.2f} ({share:.0%})" if share else ""


def _share(samples: Counter[str], group: str) -> str:
    return f"{samples[group] / samples.total():.0%}" if samples[group] else ""


if __name__ == "__main__":
    main()
