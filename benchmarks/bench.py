"""How fast are workspaces, beside plain git and beside a server that does nothing? Everything in one run; only the ratios travel.

Nothing outside of a temporary directory is written, and that is removed in the end.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pairs
import repositories
import servers
from report import Report, Row, machine, show
from rich.console import Console

SMALL = 100
WIDTH = 130
"""Columns of a table that goes into a file."""


@dataclass(frozen=True)
class Options:
    repo: Path | None
    sizes: tuple[int, ...]
    rounds: int
    json: Path | None
    keep: bool


def options() -> Options:
    parser = argparse.ArgumentParser(description="Measure workspaces beside plain git, in interleaved rounds on this machine.")
    parser.add_argument("--repo", type=Path, help="a repository to measure on instead of generated ones; it is cloned and not touched")
    parser.add_argument(
        "--sizes",
        type=_sizes,
        default=(100, 5_000, 50_000),
        help="files of the generated repositories (100,5000,50000); the largest takes 25 GB for a while",
    )
    parser.add_argument("--rounds", type=_positive, default=9, help="how often each is done (9); a large repository takes a third")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--keep", action="store_true", help="leave the temporary directory")
    return Options(**vars(parser.parse_args()))


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(map(_positive, text.split(","))))


def measured(asked: Options, folder: Path) -> Iterator[Row]:
    """Measure repository by repository, small before large, then the servers."""
    for label, origin in _origins(asked, folder):
        print(f"{label} …", file=sys.stderr)
        yield from pairs.measured(pairs.prepared(origin, label, origin.with_name(f"{origin.name}-contest"), asked.rounds))
    print("servers …", file=sys.stderr)
    small = repositories.checkout(repositories.generated(folder / "small.git", SMALL), folder / "small")
    yield from servers.measured(small, asked.rounds)


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
    folder = Path(tempfile.mkdtemp(prefix="workspaces-bench-"))
    try:
        about = machine(folder)
        report = Report(machine=about, rows=tuple(measured(asked, folder)))
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
