"""Is all that was acknowledged still there, and whole, when the power goes at any moment?

    python -m campaigns.powercut --minutes 10 --seed 1          as root, for loop devices

Agents work on a project on a file system of its own. At random moments the disk is copied as it is; later each copy is mounted, which replays its
journal, and compared with what had been acknowledged when it was taken.

What it models: everything that the file system only held in memory is lost, and what it sent to the disk is there, at one moment, in the order in
which it was sent. What it does not: a disk that reorders or loses what it was sent before it was asked to flush, torn sectors, and disks that
lie. That the file system asks to flush where it must is taken for granted. Agents sync what they edit, for what they do not is theirs to lose.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import anyio

from workspaces.model import MAIN, Operation
from workspaces.store import Store

from .beliefs import Beliefs, contradicted
from .chaos import Agent, Field, bystander
from .disks import FORMATS, Disk, disk, missing
from .stage import KINDS, Tally, project, stage


async def _session(place: Field, crew: list[Agent], made: Disk, cuts: int, chance: random.Random) -> list[tuple[Path, Beliefs]]:
    """Let agents work, and return copies of the disk from random moments, each with what was believed then.

    Copies are taken in the thread that asks and hears the answers, so that nothing is acknowledged meanwhile.
    """
    taken: list[tuple[Path, Beliefs]] = []
    async with anyio.create_task_group() as tasks:
        for agent in crew:
            tasks.start_soon(agent.play, 10**6)
        if place.kind == "worktree":
            tasks.start_soon(bystander, place)
        await anyio.sleep(1)
        for number in range(cuts):
            await anyio.sleep(chance.uniform(0.1, 1.5))
            believed = place.beliefs.as_if_all_died()
            taken.append((made.cut(number), believed))
        tasks.cancel_scope.cancel()
    return taken


def cuts(kind: str, form: str, folder: Path, agents: int, many: int, seed: str) -> Tally:
    """Work on a new disk, cut its power many times, and look at what is left each time."""
    tally = Tally()
    with disk(form, folder) as made:
        place = Field(kind, made.point / "shop", folder, f"{seed} {kind} {form}", made.point, durable=True)
        with made.mounted(made.image):
            project(kind, place.root)
            if (
                kind == "worktree"
            ):  # else the owner's own `git gc` loses branches, on xfs at least: git syncs no packed references by default
                subprocess.run(["git", "config", "core.fsync", "all"], cwd=place.root, check=True)
            subprocess.run(["sync", "-f", str(made.point)], check=True)
            crew = [Agent(place, number) for number in range(agents)]
            taken = anyio.run(_session, place, crew, made, many, random.Random(place.seed))
        tally.broke += place.beliefs.faults
        for image, believed in taken:
            tally.tried += 1
            with made.mounted(image):
                start_anew(place.root)
                if kind == "worktree":
                    _drop_owners_locks(place.root / ".git")
                tally.broke += [f"{image.name}: {each}" for each in contradicted(believed, place.root)]
            if not tally.broke:
                image.unlink()
    print(f"  {kind} on {form}: {tally.tried} cuts among {place.counts.total()} calls, {len(tally.broke)} broke", flush=True)
    return tally


BEFORE = "the start before"


def start_anew(root: Path) -> None:
    """Let the machine have been started anew since the power went: what was on its way to the disk is noted under the name of the start before."""
    for note in (root / ".git" / "workspaces" / "pending").glob("[!.]*"):
        contents, made, _ = json.loads(note.read_text())
        note.write_text(json.dumps([contents, made, BEFORE]))
    for start in [root / home / "store.start" for home in (".git/workspaces", ".workspaces/.state")]:
        if start.exists():
            start.write_text(BEFORE)


def _drop_owners_locks(folder: Path) -> None:
    """Remove what the owner's own `git gc` and `git status` left, as git tells him to: what no call that the power stopped can have made.

    `folder`: the project's `.git`. What such a call may have left is for the program to clear away, and stays.
    """
    store = Store(folder / "workspaces" / "store.sqlite")
    store.revision()  # by looking, it is made sure of
    with closing(sqlite3.connect(store.file)) as db:
        stopped = [
            Operation.model_validate_json(record) for (record,) in db.execute("SELECT record FROM operations WHERE state = 'started'")
        ]
    moved = [each.at.timestamp() for each in stopped if each.verb in ("merge", "restore") and each.moves.endswith(f"/{MAIN}")]
    since = min(moved, default=float("inf"))
    for name in ("packed-refs.lock", "index.lock", "HEAD.lock"):
        with suppress(FileNotFoundError):
            if (lock := folder / name).stat().st_mtime < since:
                lock.unlink()


def main() -> None:
    options = argparse.ArgumentParser(description="Power cuts while agents work, on disks in images.")
    options.add_argument("--agents", type=int, default=6, help="how many at once (6)")
    options.add_argument("--cuts", type=int, default=12, help="how many on each disk (12)")
    options.add_argument("--minutes", type=float, default=0, help="go on with new disks for so long, at least once with each kind")
    options.add_argument("--on", choices=FORMATS, help="only this file system")
    options.add_argument("--kind", choices=KINDS, help="only this kind of project")
    options.add_argument("--seed", default=str(os.getpid()), help="repeats what the agents want and how long the power lasts")
    options.add_argument("--keep", action="store_true", help="leave the images")
    asked = options.parse_args()
    print(f"seed {asked.seed}")
    whole, until, number = Tally(), time.monotonic() + asked.minutes * 60, 0
    while not number or (time.monotonic() < until and not whole.broke):
        for form in [asked.on] if asked.on else FORMATS:
            if reason := missing(form):
                print(f"  skipped: {reason}")
                continue
            for kind in [asked.kind] if asked.kind else KINDS:
                with stage(asked.keep, memory=True) as folder:
                    tally = cuts(kind, form, folder, asked.agents, asked.cuts, f"{asked.seed} {number}")
                whole.tried += tally.tried
                whole.broke += [f"{kind} on {form}, disk {number}: {each}" for each in tally.broke]
        number += 1
    whole.end("powercut")


if __name__ == "__main__":
    main()
