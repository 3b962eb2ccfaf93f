"""An index that is as young as its files: git reads all of them once more, and then not at each look."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import Instead, Repo, clone

from workspaces import Project

FILES = 150


@pytest.fixture
def young(project: Project, repo: Repo) -> Repo:
    """A project whose index is of the same second as all its files, as `git clone` leaves it, and was not looked at since."""
    for number in range(FILES):
        repo.write(f"src/{number}.txt", f"{number}\n")
    repo.commit("files")
    then = int(time.time()) - 60
    for file in (repo.path / "src").iterdir():
        os.utime(file, (then, then))
    repo.git("update-index", "-q", "--refresh", check=False)
    os.utime(repo.path / ".git" / "index", (then, then))
    return repo


@pytest.fixture
def looks(tmp_path: Path, instead: Instead) -> Callable[[], int]:
    """Return how often git looked at all files for their own sake."""
    instead('*update-index*--refresh*) echo >> "$TMPDIR/looks"; exec $real "$@"')
    told = tmp_path / "shop" / ".git" / "workspaces" / "tmp" / "looks"
    return lambda: told.read_text().count("\n") if told.exists() else 0


def index_of(repo: Repo) -> tuple[bytes, int]:
    index = repo.path / ".git" / "index"
    return index.read_bytes(), index.stat().st_mtime_ns


def kept(repo: Repo) -> list[Path]:
    return [*(repo.path / ".git" / "workspaces" / "index").glob("*")]


def settled(repo: Repo) -> Project:
    """Have the project looked at until an index is kept: that takes a second that is none of its files'."""
    until, project = time.monotonic() + 20, Project.open(repo.path)
    while not kept(repo) and time.monotonic() < until:
        assert project.compare(["main"]).workspaces[0].files_changed == 0
    assert len(kept(repo)) == 1
    return project


def test_files_as_young_as_the_index_are_read_once(young: Repo, looks: Callable[[], int]) -> None:
    before = index_of(young)
    settled(young)
    once = looks()
    assert once > 0
    for _ in range(3):
        Project.open(young.path).compare(["main"])
    assert looks() == once
    assert index_of(young) == before
    kept(young)[0].unlink()
    Project.open(young.path).compare(["main"])
    assert looks() == once + 1


def test_what_changes_behind_the_kept_index_is_seen(young: Repo) -> None:
    project = settled(young)
    file = young.path / "src" / "7.txt"
    then = file.stat()
    file.write_text("x\n")  # as long as before
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    young.write("src/new.txt", "new\n")
    (young.path / "src" / "8.txt").unlink()
    young.write(".gitignore", "*.log\n")
    young.write("src/a.log", "ignored\n")
    fix = clone(project, "fix")
    assert sorted(fix.status()) == sorted(young.status())
    assert fix.read("src/7.txt") == "x\n"
    young.git("add", "src/new.txt")
    assert sorted(clone(project, "other").status()) == sorted(young.status())


def test_a_file_of_the_same_second_that_differs_is_seen(young: Repo) -> None:
    """What git cannot tell by times, it reads."""
    index, file = young.path / ".git" / "index", young.path / "src" / "7.txt"
    then = int(index.stat().st_mtime)

    def written(text: str) -> int:
        file.write_text(text)
        os.utime(file, (then, then))
        return int(file.stat().st_ctime)

    def is_of_one_second() -> bool:
        before = written("7\n")
        young.git("update-index", "-q", "--refresh")
        return written("x\n") == before

    if not any(is_of_one_second() for _ in range(50)):
        pytest.skip("git never looked within the second of a write")
    os.utime(index, (then, then))
    for name in ("one", "two"):
        assert clone(Project.open(young.path), name).read("src/7.txt") == "x\n"


def test_many_may_look_at_once(young: Repo) -> None:
    project = settled(young)

    def look(_: int) -> int:
        for each in kept(young):
            each.unlink(missing_ok=True)
        return project.compare(["main"]).workspaces[0].files_changed

    with ThreadPoolExecutor(16) as pool:
        assert {*pool.map(look, range(96))} == {0}
