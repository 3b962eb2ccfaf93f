"""Calls that their client cancels: each stops soon, leaves what the log says and nothing half, and the next call works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import Repo, clone
from talking import Era, checked_slowly, either, everywhere, talking

from workspaces import Project
from workspaces.locks import Locks

pytestmark = pytest.mark.anyio


@pytest.fixture
def slow(repo: Repo, home: Path) -> Repo:
    """The repository with a check that takes a second and that a person trusts, and an attempt that passes it."""
    return checked_slowly(repo, home, seconds=1)


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
async def test_clone(repo: Repo, era: Era, transport: str) -> None:
    async with talking(repo, era, transport) as talk:
        said = await talk.stop("clone", "cloned", count=128, name="fix")
        assert "It was stopped. Nothing was done." in said
        assert_whole(repo)
        assert (await talk.call("clone", name="fix-1"))["workspaces"][0]["name"] == "fix-1"


@either
async def test_compare(repo: Repo, era: Era, transport: str) -> None:
    names = [f"try-{number}" for number in range(1, 13)]
    project = Project.initialize(repo.path)
    for each in project.clone(name="try", count=len(names)).workspaces:
        Path(each.location, "cart.py").write_text(f"{each.name}\n")
    async with talking(repo, era, transport) as talk:
        said = await talk.stop("compare", "froze", workspaces=names)
        assert "It was stopped. Nothing was done." in said
        assert_whole(repo, *names)
        assert (await talk.call("compare", workspaces=names))["summary"].startswith(f"{len(names)} workspaces")


@either
async def test_delete(repo: Repo, era: Era, transport: str) -> None:
    names = [f"try-{number}" for number in range(1, 65)]
    Project.initialize(repo.path).clone(name="try", count=len(names))
    async with talking(repo, era, transport) as talk:
        said = await talk.stop("delete", "deleted", workspaces=names)
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
async def test_merge_with_checks(slow: Repo, era: Era, transport: str) -> None:
    before = slow.head
    async with talking(slow, era, transport) as talk:
        said = await talk.stop("merge", "1 check running", source="fix", require=["slow"])
        assert "It was stopped. Nothing was done. Not waited for any more: 1 check running" in said
        assert (slow.head, slow.status()) == (before, [])
        assert_whole(slow, "fix")
        assert (await talk.call("merge", source="fix", require=["slow"]))["status"] == "merged"


@either
async def test_check(slow: Repo, era: Era, transport: str) -> None:
    async with talking(slow, era, transport) as talk:
        said = await talk.stop("check", "running", workspaces=["fix"])
        assert "that goes on, and what comes of it is remembered" in said
        checked = await talk.call("check", workspaces=["fix"])
        assert [each["verdict"] for each in checked["results"]] == ["pass", "fail"]
    assert_whole(slow, "fix")


@either
async def test_status(repo: Repo, era: Era, transport: str) -> None:
    names = [f"try-{number}" for number in range(1, 17)]
    Project.initialize(repo.path).clone(name="try", count=len(names))
    async with talking(repo, era, transport) as talk:
        assert "Nothing was done." in await talk.stop("status", "looked at")
        assert_whole(repo, *names)


@either
async def test_who_waits_for_another(repo: Repo, era: Era, transport: str) -> None:
    """A call that waits for its turn stops too, long before its patience is over."""
    project = Project.initialize(repo.path)
    clone(project, "fix").write("cart.py", "good\n")
    locks = Locks(repo.path / ".git" / "workspaces" / "locks")
    async with talking(repo, era, transport) as talk:
        for tool, arguments in {
            "merge": {"source": "fix"},
            "checkpoint": {"workspace": "fix"},
            "restore": {"workspace": "fix"},
        }.items():
            with locks.change("shop.fix", "shop.main"):
                said = await talk.stop(tool, "ing ", **arguments)
            assert "It was stopped. Nothing was done." in said
        assert (await talk.call("merge", source="fix"))["status"] == "merged"


@either
async def test_what_is_too_late_is_finished(repo: Repo, era: Era, transport: str) -> None:
    """A merge that is done, and has only to delete its source, is not stopped any more."""
    project = Project.initialize(repo.path)
    source = clone(project, "fix")
    for number in range(2000):
        source.write(f"many/{number}.txt", f"{number}\n")
    async with talking(repo, era, transport) as talk:
        said = await talk.stop("merge", "merged", source="fix", delete_source=True)
        assert "was cancelled: it was finished all the same. Merged fix" in said
        assert repo.read("many/7.txt") == "7\n"
        assert_whole(repo)
