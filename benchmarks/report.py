"""What came out: a row for each comparison, the machine that it was measured on, and both as tables and as JSON."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Unit = Literal["ms", "ms of processor", "calls/s", "MB of disk", "MB of memory"]


class Row(BaseModel):
    """One comparison. Samples are in the order in which they were taken; `other` is plain git, a tool for files, or a server that does nothing.

    `durable` is the other again, until all that it wrote was on the disk.
    """

    model_config = ConfigDict(frozen=True)

    subject: str
    operation: str
    against: str
    unit: Unit = "ms"
    ours: tuple[float, ...]
    other: tuple[float, ...]
    durable: tuple[float, ...] = ()
    ratio: float | None
    """None beside nothing: the other takes none, or has no samples for it does not do this, and `against` says why."""
    ratio_durable: float | None = None


class Machine(BaseModel):
    model_config = ConfigDict(frozen=True)

    cores: int
    system: str
    python: str
    git: str
    file_system: str
    load: float


class Report(BaseModel):
    model_config = ConfigDict(frozen=True)

    machine: Machine
    rows: tuple[Row, ...]
    left_out: tuple[str, ...] = ()
    """What could not be measured here, and why."""


def row(subject: str, operation: str, against: str, times: Sequence[Sequence[float]], unit: Unit = "ms") -> Row:
    """Return a comparison with its ratios, each of two medians. The samples are ours, the other's, and the durable other's if there are such."""
    ours, other, *durable = map(tuple, times)
    return Row(
        subject=subject,
        operation=operation,
        against=against,
        unit=unit,
        ours=ours,
        other=other,
        durable=durable[0] if durable else (),
        ratio=median(ours) / median(other) if any(other) else None,
        ratio_durable=median(ours) / median(durable[0]) if durable else None,
    )


def machine(folder: Path) -> Machine:
    """Describe the machine, and the file system that `folder` is on."""
    version = subprocess.run(["git", "version"], capture_output=True, check=True, text=True).stdout.split()[2]
    return Machine(
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        git=version,
        file_system=file_system(folder),
        load=os.getloadavg()[0],
    )


def file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return "unknown"
    types = {Path(words[1]): words[2] for words in (line.split() for line in mounts.read_text().splitlines())}
    return next(types[place] for place in (folder.resolve(), *folder.resolve().parents) if place in types)


def show(console: Console, report: Report) -> None:
    """Print a table for each thing that was measured."""
    about = report.machine
    console.print(
        f"{about.cores} cores, load {about.load:.1f}, {about.system}, git {about.git}, Python {about.python}, {about.file_system}. Medians; "
        "a ratio under 1 is in our favour for times and space, over 1 for calls/s.\n"
        "Ours is durable (core.fsync=all) and merges what is not committed; git by its default is not durable, and its change was committed before.\n"
        "The last two columns are the other made durable: git with core.fsync=all; a tool for files with a sync of the file system after it."
    )
    for (subject, _), rows in groupby(report.rows, key=lambda each: (each.subject, each.unit)):
        console.print(_table(subject, list(rows)))
    for reason in report.left_out:
        console.print(f"Left out: {reason}", markup=False)


def _table(subject: str, rows: Sequence[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD, title=f"{subject}, in {rows[0].unit}", title_justify="left", title_style="bold")
    durable = any(each.durable for each in rows)
    for heading in ("operation", "beside"):
        table.add_column(heading)
    for heading in ("rounds", "theirs", "ours", "ratio", *(("durable", "ratio") if durable else ())):
        table.add_column(heading, justify="right")
    for each in rows:
        table.add_row(each.operation, each.against, *_numbers(each))
    return table


def _numbers(each: Row) -> list[str]:
    theirs, ratio = f"{median(each.other):,.1f}" if each.other else "-", "-" if each.ratio is None else f"{each.ratio:.2f}"
    numbers = [str(len(each.ours)), theirs, f"{median(each.ours):,.1f}", ratio]
    if each.ratio_durable is not None:
        numbers += [f"{median(each.durable):,.1f}", f"{each.ratio_durable:.2f}"]
    return numbers
