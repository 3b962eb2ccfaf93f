"""How fast are workspaces, beside plain git, the tools for files, and a server that does nothing? Everything in one run; only the ratios travel.

Nothing outside of a temporary directory is written, and that is removed in the end, with the file systems that were mounted in it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import calls
import clones
import disk
import durability
import folders
import growth
import matrix
import pairs
import peers
import repositories
import servers
import starting
import verbs
import volumes
from report import Report, Row, machine, show
from rich.console import Console
from trees import Tree
from volumes import Volume

SMALL = 100
WIDTH = 130
"""Columns of a table that goes into a file."""
PARTS = ("repositories", "verbs", "clones", "durability", "folders", "servers", "matrix", "growth", "starts", "calls", "disk")
ASKED_FOR = ("peers",)
"""Measured only when named: other projects are installed for it, from npm and PyPI."""
BIG = 100
"""Files of a tree of big files."""
UNITS = {"M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Options:
    repo: Path | None
    parts: tuple[str, ...]
    sizes: tuple[int, ...]
    folders: tuple[int, ...]
    big: int
    on: tuple[str, ...]
    rounds: int
    attempts: tuple[int, ...]
    grown: growth.Size
    clients: tuple[int, ...]

    @property
    def trees(self) -> list[Tree]:
        return [*(Tree(files) for files in self.folders), *([Tree(BIG, self.big // BIG)] if self.big else [])]

    json: Path | None
    keep: bool


def options() -> Options:
    parser = argparse.ArgumentParser(
        description="Measure workspaces beside plain git and the tools for files, in interleaved rounds on this machine."
    )
    parser.add_argument("--repo", type=Path, help="a repository to measure on instead of generated ones; it is cloned and not touched")
    parser.add_argument(
        "--sizes",
        type=_sizes,
        default=(100, 5_000, 50_000),
        help="files of the generated repositories (100,5000,50000); the largest takes 25 GB for a while",
    )
    parser.add_argument("--folders", type=_sizes, default=(5_000,), help="files of the generated folders (5000)")
    parser.add_argument(
        "--big",
        type=_bytes,
        default=_bytes("1G"),
        help=f"bytes of a folder of {BIG} files (1G), or 0; takes twenty times as much for a while",
    )
    parser.add_argument(
        "--on",
        type=_some(volumes.KINDS),
        default=(*volumes.KINDS,),
        help=f"file systems to make for folders, clones, disk and peers ({','.join(volumes.KINDS)})",
    )
    parser.add_argument(
        "--parts",
        type=_some([*PARTS, *ASKED_FOR]),
        default=PARTS,
        help=f"what is measured ({','.join(PARTS)}), or {','.join(ASKED_FOR)}, for which other projects are installed",
    )
    parser.add_argument("--rounds", type=_positive, default=9, help="how often each is done (9); a large repository takes a third")
    parser.add_argument(
        "--attempts", type=_sizes, default=(64,), help="attempts of which every two are compared (64); 256 take half an hour"
    )
    parser.add_argument(
        "--grown",
        type=_grown,
        default=growth.Size(live=1_000, trash=10_000, refs=10_000, commits=100_000),
        metavar="LIVE,TRASH,REFS,COMMITS",
        help="how large a project has grown (1000,10000,10000,100000), which takes some minutes and 10 GB, or 1 where files are shared (XFS, btrfs)",
    )
    parser.add_argument(
        "--clients",
        type=_sizes,
        default=calls.CLIENTS,
        help="clients at once (1,16,32,64,256; on stdio no more than 32); 256 make as many clones by each way",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--keep", action="store_true", help="leave the temporary directory")
    return Options(**vars(parser.parse_args()))


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(map(_positive, text.split(","))))


def _grown(text: str) -> growth.Size:
    return growth.Size(*map(int, text.split(",")))


def _bytes(text: str) -> int:
    return int(float(text.rstrip("MG")) * UNITS.get(text[-1:], 1))


def _some(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Return what reads a list of known names."""

    def names(text: str) -> tuple[str, ...]:
        if not set(found := tuple(text.split(","))) <= set(known):
            raise ValueError
        return found

    return names


def measured(asked: Options, folder: Path, trials: Sequence[folders.Trial]) -> Iterator[Row]:
    """Measure clones, then repository by repository, small before large, then folder by folder, then the servers."""
    real = {"clones"} if asked.repo else set[str]()  # else they are made on the file systems themselves
    origins = list(_origins(asked, folder)) if {"repositories", "verbs", "durability", "disk", "peers", *real} & {*asked.parts} else []
    for each in _clones(asked, folder, origins if asked.repo else []) if "clones" in asked.parts else ():
        print(f"clones of {each.subject} …", file=sys.stderr)
        yield from clones.measured(each, folder)
    for label, origin in origins if "repositories" in asked.parts else ():
        print(f"{label} …", file=sys.stderr)
        yield from pairs.measured(pairs.prepared(origin, label, origin.with_name(f"{origin.name}-contest"), asked.rounds))
    for label, origin in origins if "verbs" in asked.parts else ():
        print(f"{label}, verb by verb …", file=sys.stderr)
        yield from verbs.measured(origin, label, origin.with_name(f"{origin.name}-verbs"), asked.rounds)
    for label, origin in origins if "durability" in asked.parts else ():
        print(f"{label}, durable or not …", file=sys.stderr)
        yield from durability.measured(origin, label, origin.with_name(f"{origin.name}-durability"), asked.rounds)
    for label, origin in origins if "peers" in asked.parts else ():
        for place in _places(asked, folder):
            print(f"{label} on {place.label}, beside others …", file=sys.stderr)
            yield from peers.measured(origin, label, place, asked.rounds, folder)
    for space in _disks(asked, folder, origins) if "disk" in asked.parts else ():
        print(f"disk, {space.label} on {space.place.label} …", file=sys.stderr)
        yield from disk.measured(space, folder)
    for trial in trials:
        print(f"{trial.subject} …", file=sys.stderr)
        yield from folders.measured(trial, folder)
    for attempts in asked.attempts if "matrix" in asked.parts else ():
        print(f"every pair of {attempts} attempts …", file=sys.stderr)
        yield from matrix.measured(folder / f"matrix-{attempts}", attempts)
    if "growth" in asked.parts:
        yield from growth.measured(folder / "growth", asked.grown, asked.rounds)
    small_ones: dict[str, Callable[[Path], Iterable[Row]]] = {
        "starts": partial(starting.measured, rounds=asked.rounds),
        "servers": partial(servers.measured, rounds=asked.rounds),
        "calls": partial(calls.measured, clients=asked.clients),
    }
    for part, measure in small_ones.items():
        if part in asked.parts:
            print(f"{part} …", file=sys.stderr)
            small = repositories.checkout(repositories.generated(folder / f"{part}.git", SMALL), folder / part)
            yield from measure(small)


def _clones(asked: Options, folder: Path, real: Sequence[tuple[str, Path]]) -> list[clones.Trial]:
    places = _places(asked, folder)
    if real:
        return [clones.trial_of(place, label, origin, asked.rounds) for place in places for label, origin in real]
    return [clones.trial(place, files, asked.rounds) for place in places for files in asked.sizes]


def _places(asked: Options, folder: Path) -> list[Volume]:
    """Return the file systems for repositories, to which a subvolume makes no difference."""
    return folders.places([kind for kind in asked.on if kind != "subvolume"], folder)[0]


def _disks(asked: Options, folder: Path, origins: Sequence[tuple[str, Path]]) -> list[disk.Trial]:
    """Return what is measured of space: nothing on a file system that is in use."""
    found = [place for place in folders.places(asked.on, folder)[0] if place.mkfs]
    return [disk.Trial(place, label, origin, asked.rounds) for label, origin in origins for place in found]


def _origins(asked: Options, folder: Path) -> Iterator[tuple[str, Path]]:
    if asked.repo:
        yield asked.repo.resolve().name, repositories.checkout(asked.repo.resolve(), folder / "origin")
        return
    for files in asked.sizes:
        yield "generated", repositories.generated(folder / f"{files}.git", files)


def main() -> None:
    asked = options()
    # Without this a SIGTERM would leave servers and files behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    os.environ["WORKSPACES_SPARES"] = (
        "0"  # what prepares clones beside would take the processor from all; prepared ones are measured by name
    )
    folder = Path(tempfile.mkdtemp(prefix="workspaces-bench-"))
    try:
        about = machine(folder)
        trials, left_out = folders.planned(asked.on, asked.trees, asked.rounds, folder) if "folders" in asked.parts else ([], [])
        left_out += folders.places(asked.on, folder)[1] if {"disk", "peers"} & set(asked.parts) else []
        report = Report(machine=about, rows=tuple(measured(asked, folder, trials)), left_out=tuple(dict.fromkeys(left_out)))
        show(Console() if sys.stdout.isatty() else Console(width=WIDTH), report)
        if asked.json:
            asked.json.write_text(report.model_dump_json(indent=1) + "\n")
    finally:
        if asked.keep:
            print(f"Kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
