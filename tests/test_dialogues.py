"""Conversations with a real server, in which only what the last answer says is done: it works to the letter, takes few calls and characters, and
is just what the golden files say."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from dialogue import Reader
from lossy import Lossy, losing
from mcp import Client, MCPError
from mcp.client import ClientRequestContext
from mcp.types import ElicitRequestParams, ElicitResult
from serving import served
from support import Golden, Repo

pytestmark = pytest.mark.anyio
Era = Literal["auto", "legacy"]
in_both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])


@asynccontextmanager
async def reading(repo: Repo, era: Era) -> AsyncGenerator[Reader]:
    with served(repo) as server:
        async with Client(server.url, mode=era) as client:
            yield Reader(client, repo.path.parent)


def edit(workspace: dict[str, Any], number: int, text: str) -> None:
    """Change a line of the cart, as an agent does in its location."""
    file = Path(workspace["location"], "cart.py")
    lines = file.read_text().splitlines()
    lines[number - 1] = text
    file.write_text("\n".join(lines) + "\n")


@in_both_eras
async def test_fan_out(repo: Repo, era: Era, golden: Golden) -> None:
    """Three attempts: looked at closer and closer, the first that fits is merged, the rest deleted, and one of these wanted back."""
    async with reading(repo, era) as reader:
        await reader.call("initialize")
        made = (await reader.follow("clone", "with a task", task="Fix the login race"))["workspaces"]
        edit(made[0], 3, "first")
        edit(made[1], 8, "second")
        edit(made[2], 8, "third")
        assert len((await reader.follow("compare"))["pairs"]) == 1
        assert all(each["outline"] for each in (await reader.follow("compare", "to look closer"))["workspaces"])
        assert "third" in (await reader.follow("compare", "to look closer"))["diff"]
        assert (await reader.follow("merge"))["status"] == "merged"
        kept = await reader.call("delete", workspaces=[each["id"] for each in made[1:]])
        assert len((await reader.follow("compare", "unmerged"))["pairs"]) == 1
        assert len((await reader.follow("delete", "not wanted", kept))["deleted"]) == 2
        assert (await reader.follow("restore", "undo"))["workspace"]["state"] == "ready"
        await reader.follow("compare")
    golden("fan-out.txt", reader.transcript(calls=11, characters=15_000))
    assert repo.read("cart.py").splitlines()[2] == "first"


@in_both_eras
async def test_conflict(repo: Repo, era: Era, golden: Golden) -> None:
    async with reading(repo, era) as reader:
        one, two = (await reader.call("clone", count=2, name="fix", task="Round prices"))["workspaces"]
        edit(one, 3, "one")
        edit(two, 3, "two")
        compared = await reader.follow("compare")
        await reader.follow("compare", "to look closer")
        await reader.follow("compare", "to look closer")
        await reader.follow("merge", told=compared)
        assert (await reader.call("merge", source=two["id"]))["status"] == "conflicts"
        marked = await reader.follow("merge", "to resolve in fix-2")
        assert two["location"] in marked["summary"]
        assert two["location"] in await reader.refused("merge", source=two["id"])
        Path(two["location"], "cart.py").write_text("both\n")
        assert (await reader.follow("merge", "when they are resolved", marked))["status"] == "merged"
        await reader.follow("restore", "undo")
        await reader.follow("restore", "undo")
    golden("conflict.txt", reader.transcript(calls=11, characters=10_000))
    assert repo.read("cart.py") == "both\n"


async def test_a_conflict_of_two_clones_is_resolved_in_the_target(repo: Repo) -> None:
    async with reading(repo, "auto") as reader:
        one, two = (await reader.call("clone", count=2, name="fix"))["workspaces"]
        edit(one, 3, "one")
        edit(two, 3, "two")
        await reader.call("merge", source="fix-2", target="fix-1")
        await reader.follow("merge", "to resolve in fix-1")
        Path(one["location"], "cart.py").write_text("both\n")
        assert (await reader.follow("merge", "when they are resolved"))["target"] == "shop/main"
    assert repo.read("cart.py") == "both\n"


async def test_a_conflict_with_main_is_resolved_in_the_clone_that_was_to_be_brought_up_to_date(repo: Repo) -> None:
    async with reading(repo, "auto") as reader:
        (one,) = (await reader.call("clone", name="fix"))["workspaces"]
        edit(one, 3, "one")
        repo.write("cart.py", "main's\n")
        repo.commit("meanwhile")
        assert (await reader.call("merge", source="main", target="fix"))["status"] == "conflicts"
        await reader.follow("merge", "to resolve in fix")
        Path(one["location"], "cart.py").write_text("both\n")
        assert (await reader.follow("merge", "when they are resolved"))["target"] == "shop/main"
    assert repo.read("cart.py") == "both\n"


@in_both_eras
async def test_lost_answer(repo: Repo, era: Era, golden: Golden) -> None:
    """The connection breaks after the server acted. The same call with its key gives the answer that was lost, and nothing is done twice."""
    async with losing() as lossy, AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{lossy.port}"
        server = stack.enter_context(served(repo, "--public-url", url))
        lossy.server = int(server.url.removesuffix("/mcp").rpartition(":")[2])
        reader = Reader(await stack.enter_async_context(Client(f"{url}/mcp", mode=era)), repo.path.parent)
        cloning = {"name": "fix", "request_key": "k1"}
        await lost(lossy, era, "clone", cloning)
        (made,) = (await reader.call("clone", **cloning))["workspaces"]
        edit(made, 3, "fixed")
        merging = {"source": "fix", "delete_source": True, "request_key": "k2"}
        await lost(lossy, era, "merge", merging)
        commit = repo.head
        assert (await reader.call("merge", **merging))["commit"] == commit
        await reader.follow("restore", "undo")
        await reader.follow("restore", "undo")
        await reader.call("restore", workspace="fix")
        await reader.follow("compare")
    golden("lost-answer.txt", reader.transcript(calls=6, characters=3_000))
    assert (repo.head, repo.git("rev-list", "--count", "HEAD")) == (commit, "2")


async def lost(lossy: Lossy, era: Era, tool: str, arguments: dict[str, Any]) -> None:
    """Make a call that is carried out and whose answer does not come. A client of the SDK ends with its connection."""
    failed = False
    try:
        async with Client(f"http://127.0.0.1:{lossy.port}/mcp", mode=era) as client:
            lossy.loses = True
            await client.call_tool(tool, arguments)
    except* (MCPError, httpx2.TransportError):
        failed = True
    assert (failed, lossy.loses) == (True, False)


@in_both_eras
async def test_wrong_name(repo: Repo, era: Era, golden: Golden) -> None:
    """Who errs is told what was likely meant; said so, it works."""
    async with reading(repo, era) as reader:
        made = (await reader.call("clone", count=2, name="login"))["workspaces"]
        await reader.mistaken("compare", workspaces=["logn-1"])
        await reader.mistaken("compare", workspace=["login-1"])
        edit(made[0], 3, "fixed")
        await reader.mistaken("merge", source="login-1", target="man")
        await reader.follow("restore", "undo")
        await reader.call("delete", workspaces=["login-2"])
        await reader.mistaken("restore", workspace="logn-2")
        await reader.refused("restore", workspace="elsewhere")
        assert len((await reader.follow("status"))["workspaces"]) == 3
        compared = await reader.follow("compare")
        await reader.follow("compare", "to look closer", compared)
        assert "'login-1' is taken" in await reader.refused("clone", name="login-1")
        await reader.refused("merge", source="login-1", target="main", on_conflict="markers")
        told = reader.said()
        await reader.follow("merge", told=told)
        await reader.follow("merge", "then", told=told)
        await reader.follow("restore", "undo")
        await reader.follow("restore", "undo")
        await reader.follow("merge", told=compared)
        with pytest.raises(MCPError, match="Did you mean 'merge'"):
            await reader.client.call_tool("mrge", {})
    golden("wrong-name.txt", reader.transcript(calls=22, characters=10_000))


@in_both_eras
async def test_restore(repo: Repo, era: Era, golden: Golden) -> None:
    """What was done is undone, and done again, by what the answers say."""
    async with reading(repo, era) as reader:
        (made,) = (await reader.call("clone", name="fix", task="Round prices"))["workspaces"]
        edit(made, 3, "fixed")
        await reader.call("checkpoint", workspace="fix", label="first")
        kept = reader.said()
        edit(made, 4, "spoilt")
        await reader.follow("restore", "to come back to it", kept)
        await reader.call("merge", source="fix", on_conflict="source", delete_source=True, message="Round all", dry_run=True)
        await reader.follow("merge")
        assert repo.read("cart.py").splitlines()[2] == "fixed"
        await reader.follow("restore", "undo")
        assert repo.read("cart.py").splitlines()[2] == "line 3"
        await reader.follow("restore", "undo")
        await reader.call("restore", workspace="fix")
        assert (await reader.follow("compare"))["workspaces"][0]["merge"] == "up_to_date"
    golden("restore.txt", reader.transcript(calls=9, characters=4_500))
    assert (repo.read("cart.py").splitlines()[2:4], repo.git("log", "-1", "--format=%s")) == (["fixed", "line 4"], "Round all")


async def test_several_at_once_are_undone_one_after_the_other(repo: Repo) -> None:
    async with reading(repo, "auto") as reader:
        one, two = (await reader.call("clone", count=2, name="fix"))["workspaces"]
        edit(one, 3, "one")
        edit(two, 18, "two")
        merged = await reader.call("merge", source=["fix-1", "fix-2"])
        assert repo.read("cart.py").splitlines()[2::15] == ["one", "two"]
        await reader.follow("restore", "undo", merged)
        await reader.follow("restore", "the one before", merged)
    assert repo.read("cart.py").splitlines()[2::15] == ["line 3", "line 18"]


async def test_work_that_was_taken_back_is_brought_again(repo: Repo) -> None:
    async with reading(repo, "auto") as reader:
        (made,) = (await reader.call("clone", name="fix"))["workspaces"]
        edit(made, 3, "fixed")
        await reader.call("merge", source="fix")
        repo.git("revert", "--no-edit", "HEAD")
        assert (await reader.call("merge", source="fix"))["status"] == "up_to_date"
        await reader.follow("merge", "to bring it again")
    assert repo.read("cart.py").splitlines()[2] == "fixed"


async def test_checks_that_run_on_are_waited_for(repo: Repo) -> None:
    repo.write("workspaces.toml", "[checks.test]\nrun = 'grep -q fixed cart.py'\n")
    repo.commit("checks")
    with served(repo) as server:
        async with Client(server.url, elicitation_callback=allow) as client:
            reader = Reader(client, repo.path.parent)
            made = (await reader.call("clone", count=2, name="fix"))["workspaces"]
            edit(made[0], 3, "fixed")
            told = await reader.call("check", workspaces=["fix-1", "fix-2"], wait=False)
            while any(each["verdict"] == "running" for each in told["results"]):
                await reader.follow("status", "to wait", told)
                told = await reader.follow("check", "then", told)
            assert [each["verdict"] for each in told["results"] if not each.get("control")] == ["pass", "fail"]
            ranked = await reader.call("compare", workspaces=["fix-1", "fix-2"], detail="ranking")
            await reader.follow("compare", told=ranked)
            assert (await reader.follow("merge", told=ranked))["status"] == "merged"
            edit(made[1], 9, "two")
            assert (await reader.call("merge", source="fix-2", require=["test"]))["status"] == "merged"


async def allow(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="accept", content={"allow": True})


async def test_what_one_project_is_told_to_undo_is_its_own(repo: Repo, tmp_path: Path) -> None:
    """Several projects are served by one server: the calls that it proposes say which is meant."""
    other = Repo.create(tmp_path / "other")
    other.write("cart.py", "line\n")
    start = other.commit("start")
    with served(repo, "--allow", str(tmp_path)) as server:
        async with Client(server.url) as client:
            reader = Reader(client, tmp_path)
            (here,) = (await reader.call("clone", name="fix"))["workspaces"]
            edit(here, 3, "fixed")
            await reader.call("merge", source="fix")
            before = repo.head
            await reader.call("initialize", path=str(other.path))
            made = (await reader.follow("clone", name="fix"))["workspaces"]
            edit(made[0], 1, "other's")
            await reader.follow("compare")
            assert (await reader.follow("merge"))["target"] == "other/main"
            await reader.follow("restore", "undo")
    assert (repo.head, other.head) == (before, start)
