"""What a long life leaves in the repository and in the store stays within bounds, and is nobody else's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import pytest
from support import Repo, at, clone

from workspaces import Project

MANY = 6


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
