"""Calls that their client cancels: each stops soon, leaves what the log says and nothing half, and the next call works."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import Any

import pytest
from support import Instead, Repo, clone
from talking import Era, checked_slowly, either, everywhere, talking

from workspaces import Project
from workspaces.locks import Locks

pytestmark = pytest.mark.anyio


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """The file for which something waits that a call needs."""
    return tmp_path / "go"


@pytest.fixture
def slow(repo: Repo, home: Path, go: Path) -> Repo:
    """The repository with a check that a person trusts and that waits, and an attempt that passes it."""
    return checked_slowly(repo, home, waits=f"until [ -e {go} ]; do sleep 0.02; done")


def let_wait(instead: Instead, go: Path) -> None:
    """Let every look of git's at a clone wait, but for that at the first."""
    instead(f'*status*) case "$PWD" in */shop|*/try-1) ;; *) until [ -e {go} ]; do sleep 0.02; done ;; esac')


def assert_whole(repo: Repo, *names: str) -> Project:
    """Make sure that there are these workspaces, that nothing is half and nothing else is left, and return the project."""
    project = Project.open(repo.path)
    assert [each.name for each in project.status(detail="names").workspaces] == ["main", *names]
    assert sorted(each.name for each in (repo.path / ".workspaces").iterdir() if not each.name.startswith(".")) == sorted(names)
    found = project.doctor()
    assert not [each for each in found.findings if not each.ok]
    assert not [each for each in project.log().operations if each.state == "started"]
    return project


@everywhere
async def test_clone(repo: Repo, instead: Instead, go: Path, era: Era, transport: str) -> None:
    repo.write(".gitattributes", "cart.py ident\n")  # so that git unpacks that in each clone
    repo.commit("ident")
    instead(f'*checkout-index*) mkdir "$TMPDIR/first" 2>/dev/null || until [ -e {go} ]; do sleep 0.02; done')
    async with talking(repo, era, transport) as talk:
        said = await talk.stop("clone", "cloned", go=go, count=16, name="fix")
        assert "It was stopped. Nothing was done." in said
        assert_whole(repo)
        assert (await talk.call("clone", name="fix-1"))["workspaces"][0]["name"] == "fix-1"


@either
async def test_compare(repo: Repo, instead: Instead, go: Path, era: Era, transport: str) -> None:
    names = [f"try-{number}" for number in range(1, 13)]
    project = Project.initialize(repo.path)
    for each in project.clone(name="try", count=len(names)).workspaces:
        Path(each.location, "cart.py").write_text(f"{each.name}\n")
    let_wait(instead, go)
    async with talking(repo, era, transport) as talk:
        said = await talk.stop("compare", "froze", go=go, workspaces=names)
        assert "It was stopped. Nothing was done." in said
        assert_whole(repo, *names)
        assert (await talk.call("compare", workspaces=names))["summary"].startswith(f"{len(names)} workspaces")


@either
async def test_delete(repo: Repo, era: Era, transport: str) -> None:
    names = [f"try-{number}" for number in range(1, 65)]
    Project.initialize(repo.path).clone(name="try", count=len(names))
    async with talking(repo, era, transport) as talk:
        with Locks(repo.path / ".git" / "workspaces" / "locks").change("shop.try-64"):
            said = await talk.stop("delete", "deleting", once=lambda: not (repo.path / ".workspaces" / "try-1").exists(), workspaces=names)
        left = [each["name"] for each in (await talk.call("status"))["workspaces"]][1:]
        gone = [name for name in names if name not in left]
        assert gone and left
        assert "What was done before that stays: delete of " in said
        told = re.findall(r"try-\d+", said)
        assert (len(told), {*told} <= {*gone}) == (min(5, len(gone)), True)
        assert_whole(repo, *left)
        assert len((await talk.call("delete", workspaces=names))["deleted"]) == len(left)
    assert_whole(repo)


@everywhere
async def test_merge_with_checks(slow: Repo, go: Path, era: Era, transport: str) -> None:
    before = slow.head
    async with talking(slow, era, transport) as talk:
        said = await talk.stop("merge", "1 check running", source="fix", require=["slow"])
        assert "It was stopped. Nothing was done. Not waited for any more: 1 check running" in said
        assert (slow.head, slow.status()) == (before, [])
        assert_whole(slow, "fix")
        go.touch()
        assert (await talk.call("merge", source="fix", require=["slow"]))["status"] == "merged"


@either
async def test_check(slow: Repo, go: Path, era: Era, transport: str) -> None:
    async with talking(slow, era, transport) as talk:
        said = await talk.stop("check", "running", workspaces=["fix"])
        go.touch()
        assert "that goes on, and what comes of it is remembered" in said
        checked = await talk.call("check", workspaces=["fix"])
        assert [each["verdict"] for each in checked["results"]] == ["pass", "fail"]
    assert_whole(slow, "fix")


@either
async def test_status(repo: Repo, instead: Instead, go: Path, era: Era, transport: str) -> None:
    names = [f"try-{number}" for number in range(1, 17)]
    Project.initialize(repo.path).clone(name="try", count=len(names))
    let_wait(instead, go)
    async with talking(repo, era, transport) as talk:
        assert "Nothing was done." in await talk.stop("status", "looked at", go=go)
        assert_whole(repo, *names)


@either
async def test_who_waits_for_another(repo: Repo, era: Era, transport: str) -> None:
    """A call that waits for its turn stops too, long before its patience is over."""
    project = Project.initialize(repo.path)
    clone(project, "fix").write("cart.py", "good\n")
    locks = Locks(repo.path / ".git" / "workspaces" / "locks")
    async with talking(repo, era, transport) as talk:
        calls: dict[str, dict[str, Any]] = {
            "merge": {"source": "fix"},
            "checkpoint": {"workspace": "fix"},
            "restore": {"workspace": "fix"},
        }
        for tool, arguments in calls.items():
            with locks.change("shop.fix", "shop.main"):
                said = await talk.stop(tool, "ing ", **arguments)
            assert "It was stopped. Nothing was done." in said
        assert (await talk.call("merge", source="fix"))["status"] == "merged"


@either
async def test_who_waits_for_what_all_keep(repo: Repo, era: Era, transport: str) -> None:
    """The same where somebody is alone with the packs, which no call says that it waits for."""
    project = Project.initialize(repo.path)
    clone(project, "fix").write("cart.py", "good\n")
    async with talking(repo, era, transport) as talk:
        calls: dict[str, dict[str, Any]] = {"clone": {"name": "new"}, "merge": {"source": "fix"}, "checkpoint": {"workspace": "fix"}}
        for tool, arguments in calls.items():
            packs = os.open(project.home / "packs", os.O_RDONLY)
            fcntl.flock(packs, fcntl.LOCK_EX)
            said = await talk.stop(tool, "waiting for its turn", **arguments)
            os.close(packs)
            assert "It was stopped. Nothing was done." in said
            assert_whole(repo, "fix")
        assert (await talk.call("merge", source="fix"))["status"] == "merged"


@either
async def test_what_is_too_late_is_finished(repo: Repo, instead: Instead, go: Path, era: Era, transport: str) -> None:
    """A merge that is done, and has only to delete its source, is not stopped any more."""
    project = Project.initialize(repo.path)
    clone(project, "fix").write("new.txt", "new\n")
    instead(f"*status*) if [ -e {repo.path}/new.txt ]; then until [ -e {go} ]; do sleep 0.02; done; fi")
    async with talking(repo, era, transport) as talk:
        said = await talk.stop("merge", "merged", go=go, source="fix", delete_source=True)
        assert "was cancelled: it was finished all the same. Merged fix" in said
        assert repo.read("new.txt") == "new\n"
        assert_whole(repo)
