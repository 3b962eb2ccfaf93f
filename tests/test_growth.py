"""What a long life leaves in the repository and in the store stays within bounds, and is nobody else's."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from support import Repo, at, clone

from workspaces import Project

MANY = 6
CROWD, MERGED = 60, 16
CONNECT = sqlite3.connect


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workspaces.backends.worktree.packs.MANY", MANY)


def packs(repo: Repo) -> set[str]:
    return {file.name for file in (repo.path / ".git" / "objects" / "pack").glob("*.pack")}


def live(project: Project, number: int) -> None:
    clone(project, f"fix-{number}").write(f"file-{number}.txt", f"{number}\n")
    assert project.merge(f"fix-{number}").status == "merged"
    project.delete([f"fix-{number}"])


def test_packs_of_ours_become_one_and_those_of_the_user_stay(project: Project, repo: Repo) -> None:
    repo.git("repack", "-q")
    repo.write("notes.md", "more\n")
    repo.commit("more")
    repo.git("repack", "-q")
    theirs = packs(repo)
    for number in range(8):
        live(project, number)
        assert len(packs(repo) - theirs) <= MANY + 3
    assert theirs <= packs(repo)
    assert not list((repo.path / ".git" / "objects" / "pack").glob("*.keep"))
    repo.git("fsck", "--strict")
    restored = [at(project.restore(f"fix-{number}").workspace).read(f"file-{number}.txt") for number in range(8)]
    assert restored == [f"{number}\n" for number in range(8)]


def test_packs_become_one_beside_a_collection_of_git(project: Project, repo: Repo) -> None:
    gc = ["sh", "-c", "while :; do git gc -q --prune=now || exit 1; done"]
    with subprocess.Popen(gc, cwd=repo.path, stderr=subprocess.PIPE, text=True, start_new_session=True) as collecting:
        for number in range(8):
            live(project, number)
        assert collecting.poll() is None, collecting.stderr and collecting.stderr.read()
        os.killpg(collecting.pid, signal.SIGKILL)  # else its last git would go on removing packs while they are looked through
    assert [repo.read(f"file-{number}.txt") for number in range(8)] == [f"{number}\n" for number in range(8)]
    subprocess.run(["git", "fsck", "--strict"], cwd=repo.path, check=True, capture_output=True)
    assert [finding for finding in project.doctor().findings if not finding.ok and finding.check != "locks of git"] == []


def test_packs_that_an_index_of_several_may_name_are_left_alone(project: Project, repo: Repo) -> None:
    for number in range(2):
        live(project, number)
    repo.git("multi-pack-index", "write")
    there = packs(repo)
    live(project, 2)
    assert there <= packs(repo)


def test_a_pack_that_a_kill_left_half_removed_is_removed(project: Project, repo: Repo) -> None:
    live(project, 0)
    (left,) = list((repo.path / ".git" / "objects" / "pack").glob("*.idx"))[:1]
    shutil.copy(left.with_suffix(".pack"), half := left.with_name(f"pack-{'0' * 40}.pack"))
    (repo.path / ".git" / "workspaces" / "packs" / half.stem).touch()
    for number in range(1, 4):
        live(project, number)
    assert not half.exists()
    assert len(packs(repo)) <= MANY + 3


# -- many workspaces ----------------------------------------------------------------------------------------------------------------------


class Work:
    """What calls have the store and git do: the steps of SQLite's machine, some for each row that is looked at, and the gits that are started."""

    def __init__(self) -> None:
        self._steps, self._gits, self.is_over = list[None](), list[None](), False

    def opened(
        self, file: Path | str, *, timeout: float = 5, isolation_level: None = None, check_same_thread: bool = True
    ) -> sqlite3.Connection:
        db = CONNECT(file, timeout=timeout, isolation_level=isolation_level, check_same_thread=check_same_thread)
        db.execute(
            "SELECT 1 FROM sqlite_master"
        ).fetchone()  # how many are opened is a matter of chance, and each reads what tables there are
        db.set_progress_handler(lambda: self._steps.append(None), 1)
        return db

    def hear(self, event: str, told: tuple[object, ...]) -> None:
        if event == "subprocess.Popen" and not self.is_over and "git" in (told[1] if isinstance(told[1], list) else ()):
            self._gits.append(None)

    def of(self, act: Callable[[], object]) -> tuple[int, int]:
        steps, gits = len(self._steps), len(self._gits)
        act()
        return len(self._steps) - steps, len(self._gits) - gits


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Generator[Work]:
    found = Work()
    monkeypatch.setattr("sqlite3.connect", found.opened)
    sys.addaudithook(found.hear)  # there is no way to take it back
    yield found
    found.is_over = True


def day(project: Project, work: Work, name: str) -> dict[str, tuple[int, int]]:
    """Do with a workspace what is done with one, and return what each call had the store and git do."""
    acts: dict[str, Callable[[], object]] = {
        "clone": lambda: project.clone(name=name),
        "edit": lambda: at(project.find(name)).write(f"{name}.txt", "mine\n"),
        "compare": lambda: project.compare([name]),
        "status": lambda: project.status([name]),
        "status by path": lambda: project.status([str(project.root / ".workspaces" / name)], "names"),
        "checkpoint": lambda: project.checkpoint(name),
        "merge": lambda: project.merge(name),
        "delete": lambda: project.delete([name]),
        "restore": lambda: project.restore(name),
        "delete, whatever is in it": lambda: project.delete([name], discard_unmerged=True),
    }
    return {verb: work.of(act) for verb, act in acts.items()}


def test_a_call_on_one_workspace_costs_the_same_however_many_others_there_are(project: Project, work: Work) -> None:
    day(project, work, "first")
    project.clone(name="leased", lease_seconds=600)
    few = day(project, work, "early")
    project.clone(name="live", count=CROWD, lease_seconds=600)
    gone = project.clone(name="gone", count=CROWD).workspaces
    project.delete([each.id for each in gone], discard_unmerged=True)
    many = day(project, work, "late")
    gits = {verb: started - few[verb][1] for verb, (_, started) in many.items()}
    assert max(gits.values()) < 4, f"but for packs that become one, and what two threads ask at once: {gits}"
    more = {verb: steps - few[verb][0] for verb, (steps, _) in many.items()}
    assert max(more.values()) < CROWD, f"but for what is remembered of main, into which was merged once more: {more}"
    assert work.of(lambda: project.status(detail="names")) > (CROWD, 0), "rows are seen"
    assert few["merge"][1] > 0, "gits are seen"


def test_a_call_costs_the_same_however_much_was_merged(project: Project, work: Work) -> None:
    live(project, 0)
    few = day(project, work, "early")
    for number in range(1, MERGED):
        live(project, number)
    many = day(project, work, "late")
    more = {verb: steps - few[verb][0] for verb, (steps, _) in many.items()}
    assert more.pop("merge") < 30 * MERGED, "the last restore points of main are written down again"
    assert max(more.values()) < MERGED, more
