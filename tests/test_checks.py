"""Checks as a person at a terminal, or an agent over MCP, has them run; and who is asked before anything runs."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import pytest
from conformance.folders import PATIENCE, timed, written
from conformance.forking import program, python
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.types import CallToolResult, ElicitRequestFormParams, ElicitRequestParams, ElicitResult
from support import Repo, clone

from workspaces import Project
from workspaces.errors import InvalidArgument
from workspaces.server.app import Settings, create
from workspaces.trust import place

Era = Literal["auto", "legacy"]
in_both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])
CHECK = "[checks.test]\nrun = 'grep -q good cart.py'\n"


@pytest.fixture
def ledger(home: Path) -> Path:
    return place({"HOME": str(home)})


@pytest.fixture
def shop(repo: Repo) -> Repo:
    """The repository with a check, an attempt that passes and one that does not."""
    repo.write("workspaces.toml", CHECK)
    repo.commit("a check")
    project = Project.initialize(repo.path)
    clone(project, "done").write("cart.py", "good\n")
    clone(project, "idle")
    return repo


# -- at a terminal ------------------------------------------------------------------------------------------------------------------------


def run(repo: Repo, *args: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*program(), *args], cwd=repo.path, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done


def test_a_person_looks_trusts_and_checks(shop: Repo) -> None:
    refused = run(shop, "check", status=1).stderr
    assert "grep -q good cart.py" in refused and "workspaces trust" in refused
    assert "grep -q good cart.py" in run(shop, "trust", status=1).stdout
    run(shop, "trust", "--yes")
    seen = run(shop, "check", status=7)
    assert [line.split()[:3] for line in seen.stdout.splitlines()[1:]] == [
        ["done", "test", "✓"],
        ["idle", "test", "✗"],
        ["main", "test", "✗"],
    ]
    assert "1 of 2 pass: done test. 1 of 2 fail: idle test." in seen.stderr
    run(shop, "check", "done")
    told: dict[str, Any] = json.loads(run(shop, "check", "done", "--json").stdout)
    assert (told["results"][0]["verdict"], told["results"][0]["cached"]) == ("pass", True)
    assert "✓ test" in run(shop, "list").stdout


def test_a_merge_that_fails_its_checks_has_a_status_of_its_own(shop: Repo) -> None:
    run(shop, "trust", "--yes")
    clone(Project.open(shop.path), "half").write("notes.md", "half\n")
    assert "on the merged contents test fail. main is unchanged." in run(shop, "merge", "half", "--require", "test", status=7).stderr
    run(shop, "merge", "done", "--require", "test")
    assert shop.read("cart.py") == "good\n"


def test_checks_are_watched_live(shop: Repo) -> None:
    run(shop, "trust", "--yes")
    assert "done  test  ✓" in run(shop, "check", "done", "--watch").stderr
    leader, follower = pty.openpty()
    with subprocess.Popen([*program(), "check", "done", "--watch", "--again"], cwd=shop.path, stdout=follower, stderr=follower) as shown:
        os.close(follower)
        said = b""
        while part := _read(leader):
            said += part
    os.close(leader)
    assert shown.returncode == 0
    assert "running" not in said.decode() and "✓" in said.decode() and "…" in said.decode()


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 4096)
    except OSError:  # Linux: nobody has the other end any more
        return b""


def test_a_command_is_run_on_two_and_its_outputs_compared(shop: Repo) -> None:
    seen = run(shop, "run", "--compare", "done", "idle", "--", "cat", "cart.py", status=1)
    assert "-good\n" in seen.stdout and "+line 1\n" in seen.stdout
    run(shop, "run", "--compare", "done", "idle", "--", "cat", "notes.md")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("[checks.test]\nrun = 'true'\nprotekt = ['tests']", "Did you mean 'checks.test.protect'"),
        ("[checks.test]\nrun = 3", "checks.test.run"),
        ("[checks.test]\nrepeat = 2", "checks.test.run"),
        ("[check.test]\nrun = 'true'", "check.test"),
        ("[chekcs.test]\nrun = 'true'", "Did you mean 'check"),
        ("[merge]\nrequired = ['test']", "Did you mean 'merge.require'"),
    ],
)
def test_settings_that_mean_nothing_are_refused_with_what_was_likely_meant(shop: Repo, settings: str, said: str) -> None:
    shop.write("workspaces.toml", settings)
    with pytest.raises(InvalidArgument) as raised:
        Project.open(shop.path).check(["done"])
    assert said in raised.value.message


MANY = "".join(f"[checks.t{number}]\nrun = 'true'\n" for number in range(80))
SHORT_OF_DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
from workspaces import Project, WorkspacesError
project = Project.open(Path(sys.argv[1]), trust=Path(sys.argv[2]), environment=dict(os.environ))
project.trust(project.programs().fingerprint)
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 1000))
try:
    project.check(["main"])
except (WorkspacesError, OSError):
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
    print([each.verdict for each in project.check(["main"], ["t0"], timeout_seconds=20).results])
"""


def test_checks_that_could_not_all_begin_are_not_under_way(repo: Repo, ledger: Path) -> None:
    """A copy of each of them is held: that takes room on the disk, and open files."""
    repo.write("workspaces.toml", MANY)
    Project.initialize(repo.path)
    done = subprocess.run([*python(), "-c", SHORT_OF_DESCRIPTORS, str(repo.path), str(ledger)], capture_output=True, text=True, check=True)
    assert done.stdout == "['pass']\n"
    assert [each.name for each in (repo.path / ".git/workspaces/checks").iterdir()] == ["logs"]


def test_no_project_waits_for_what_keeps_the_checks_of_another(shop: Repo, ledger: Path, tmp_path: Path) -> None:
    other = Repo.create(tmp_path / "other")
    other.write("workspaces.toml", CHECK)
    other.commit("start")
    projects = [Project.initialize(each.path, trust=ledger, environment=dict(os.environ)) for each in (shop, other)]
    for each in projects:
        each.trust(each.programs().fingerprint)
    kept, free = (Thread(target=each.check, args=(["main"],), daemon=True) for each in projects)
    packs = os.open(shop.path / ".git/workspaces/packs", os.O_RDONLY)
    try:
        fcntl.flock(packs, fcntl.LOCK_EX)  # as whoever makes packs one holds it
        kept.start()
        free.start()
        free.join(PATIENCE / 4)
        assert (kept.is_alive(), free.is_alive()) == (True, False)
    finally:
        os.close(packs)
    kept.join(PATIENCE)
    assert not kept.is_alive()


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_guard_ends_a_group_at_its_limit_on_any_system(tmp_path: Path, platform: str) -> None:
    alive, report = os.pipe(), os.pipe()
    both = written(tmp_path / "one", tmp_path / "two")
    source = f"import sys; sys.platform = {platform!r}\n" + timed(tmp_path / "guard.py", both, tmp_path).read_text()
    command = ["sh", "-c", f"echo $$ > {tmp_path}/one; sh -c 'echo $$ > {tmp_path}/two; sleep 1000' & sleep 1000"]
    words = [sys.executable, "-I", "-S", "-c", source, str(alive[0]), str(report[1]), str(alive[0]), "1.5", *command]
    with subprocess.Popen(words, pass_fds=(alive[0], report[1]), start_new_session=True, stdin=subprocess.DEVNULL):
        os.close(report[1])
        with os.fdopen(report[0]) as said:
            assert said.read() == "timeout\n"
    os.close(alive[0])
    os.close(alive[1])
    deadline = time.monotonic() + 60
    while any(_is_there(int((tmp_path / name).read_text())) for name in ("one", "two")):
        assert time.monotonic() < deadline  # who was killed is there until its new parent, the system's first process, has seen it
        time.sleep(0.01)


def _is_there(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


# -- over MCP -----------------------------------------------------------------------------------------------------------------------------

Reply = Callable[[str], ElicitResult]


@asynccontextmanager
async def connected(repo: Repo, era: Era, ledger: Path | None, reply: Reply | None = None) -> AsyncGenerator[Client]:
    async def asked(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        assert reply is not None
        return reply(params.message)

    server = create(Settings(repo.path, (repo.path,), trust=ledger, environment=os.environ))
    async with Client(server, mode=era, elicitation_callback=asked if reply else None) as client:
        yield client


async def check(client: Client, *workspaces: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("check", {"workspaces": workspaces, **arguments})
    assert isinstance(result, CallToolResult)
    found: Any = result.structured_content
    return dict[str, Any](found["error"] if result.is_error else found)


@in_both_eras
@pytest.mark.anyio
async def test_a_client_asks_the_person_once_and_for_exactly_what_runs(shop: Repo, era: Era, ledger: Path) -> None:
    asked: list[str] = []

    def allow(message: str) -> ElicitResult:
        asked.append(message)
        return ElicitResult(action="accept", content={"allow": True})

    async with connected(shop, era, ledger, allow) as client:
        assert [each["verdict"] for each in (await check(client, "done", "idle"))["results"]] == ["pass", "fail", "fail"]
        assert (await check(client, "done"))["results"][0]["cached"] is True
        assert len(asked) == 1 and "test run: grep -q good cart.py" in asked[0]
        shop.write("workspaces.toml", CHECK.replace("good", "better"))
        assert (await check(client, "done"))["results"][0]["verdict"] == "fail"
        assert len(asked) == 2 and "grep -q better" in asked[1] and "changed" in asked[1]
    assert Project.open(shop.path, trust=ledger).programs().trusted


@in_both_eras
@pytest.mark.anyio
async def test_a_merge_asks_the_person_only_when_it_would_run_something(shop: Repo, era: Era, ledger: Path) -> None:
    asked: list[str] = []
    replies = [ElicitResult(action="decline"), ElicitResult(action="accept", content={"allow": True})]

    def reply(message: str) -> ElicitResult:
        asked.append(message)
        return replies[len(asked) - 1]

    async def merge(client: Client, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool("merge", {"source": "done", **arguments})
        assert isinstance(result, CallToolResult)
        found: Any = result.structured_content
        return dict[str, Any](found["error"] if result.is_error else found)

    async with connected(shop, era, ledger, reply) as client:
        assert ((await merge(client, dry_run=True))["status"], asked) == ("would_merge", [])
        assert (await merge(client, require=["test"]))["code"] == "untrusted_config"
        assert len(asked) == 1 and "test run: grep -q good cart.py" in asked[0]
        merged = await merge(client, require=["test"])
        assert (merged["status"], merged["checks"][0]["verdict"], len(asked)) == ("merged", "pass", 2)


@in_both_eras
@pytest.mark.anyio
async def test_a_merge_asks_for_what_decides_a_conflict(shop: Repo, era: Era, ledger: Path) -> None:
    asked: list[str] = []

    def allow(message: str) -> ElicitResult:
        asked.append(message)
        return ElicitResult(action="accept", content={"allow": True})

    shop.write("workspaces.toml", "[merge.paths]\n'cart.py' = { regenerate = 'echo both > cart.py' }\n")
    shop.write("notes.md", "main\n")
    shop.commit("settings")
    async with connected(shop, era, ledger, allow) as client:
        before: Any = (await client.call_tool("merge", {"source": "done", "dry_run": True})).structured_content
        assert (before["status"], asked) == ("would_merge", [])
        shop.write("cart.py", "main\n")
        shop.commit("both changed it")
        merged: Any = (await client.call_tool("merge", {"source": "done"})).structured_content
        assert (merged["status"], shop.read("cart.py"), len(asked)) == ("merged", "both\n", 1)
        assert "cart.py regenerate: echo both" in asked[0]


@in_both_eras
@pytest.mark.parametrize(
    "answer",
    [ElicitResult(action="decline"), ElicitResult(action="cancel"), ElicitResult(action="accept", content={"allow": False})],
    ids=["declined", "cancelled", "not allowed"],
)
@pytest.mark.anyio
async def test_what_the_person_does_not_allow_is_not_run(shop: Repo, era: Era, ledger: Path, answer: ElicitResult) -> None:
    async with connected(shop, era, ledger, lambda _: answer) as client:
        assert (await check(client, "done"))["code"] == "untrusted_config"
    assert not ledger.exists()


@in_both_eras
@pytest.mark.anyio
async def test_what_changed_while_the_person_was_asked_is_not_run(shop: Repo, era: Era, ledger: Path) -> None:
    asked: list[str] = []

    def swap(message: str) -> ElicitResult:
        asked.append(message)
        if len(asked) == 1:
            shop.write("workspaces.toml", "[checks.test]\nrun = 'touch ran'\n")
            return ElicitResult(action="accept", content={"allow": True})
        return ElicitResult(action="decline")

    async with connected(shop, era, ledger, swap) as client:
        assert (await check(client, "done"))["code"] in ("untrusted_config", "target_moved")
    assert not ledger.exists()


@in_both_eras
@pytest.mark.anyio
async def test_a_client_that_cannot_ask_is_told_who_can(shop: Repo, era: Era, ledger: Path) -> None:
    async with connected(shop, era, ledger) as client:
        refused = await check(client, "done")
        assert (refused["code"], refused["details"]["checks"]) == ("untrusted_config", ["test: grep -q good cart.py"])
        assert "workspaces trust" in refused["hint"]
        several = await client.call_tool("merge", {"source": ["done", "idle"], "require": ["test"]})
        assert isinstance(several, CallToolResult) and several.structured_content
        assert several.structured_content["error"]["code"] == "untrusted_config"
        mine = Project.open(shop.path, trust=ledger)
        mine.trust(mine.programs().fingerprint)
        assert (await check(client, "done"))["results"][0]["verdict"] == "pass"
        begun = await check(client, "idle", wait=False)
        assert begun["results"][0]["verdict"] in ("running", "fail")
        assert (await check(client, "idle", timeout_seconds=40))["results"][0]["verdict"] == "fail"
        merged = await client.call_tool("merge", {"source": "done", "require": ["test"]})
        assert isinstance(merged, CallToolResult)
        found: Any = merged.structured_content
        assert (found["status"], found["checks"][0]["verdict"]) == ("merged", "pass")
