"""The log of calls: each request on a server is one line, whoever made it and whatever came of it, and nothing private is in it."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest
from conformance.forking import program, python
from mcp import Client, MCPError
from serving import modern, routing, sent, served
from support import Repo, fingerprint

from workspaces import Project
from workspaces.access import Access
from workspaces.audit import Audit
from workspaces.locks import Locks
from workspaces.model import Call, Role, now
from workspaces.server.app import Server, Settings, create
from workspaces.tokens import Tokens, caller

pytestmark = pytest.mark.anyio
in_both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])


def server(repo: Repo) -> Server:
    return create(Settings(repo.path, (repo.path,), actor="ann"))


def place(repo: Repo) -> Path:
    return repo.path / ".git" / "workspaces" / "calls.jsonl"


def calls(repo: Repo) -> list[Call]:
    """Return what is told of the calls, oldest first."""
    return [*Project.open(repo.path).calls(1000).calls][::-1]


@in_both_eras
async def test_every_call_is_one_line(repo: Repo, era: str) -> None:
    async with Client(server(repo), mode=era) as client:
        await client.call_tool("clone", {"name": "fix", "task": "a task of mine", "request_key": "a-key-of-mine"})
        (repo.path / ".workspaces" / "fix" / "cart.py").write_text("theirs\n")
        repo.write("cart.py", "ours\n")
        repo.commit("ours")
        await client.call_tool("compare", {"workspaces": ["fix"], "paths": ["a-path-of-mine"]})
        await client.call_tool("merge", {"source": "fix", "target": "main", "message": "a message of mine"})
        await client.call_tool("delete", {"workspaces": ["shop/fix"]})
        await client.call_tool("status", {})
        await client.call_tool("compare", {"workspaces": ["nope"]})
        await client.call_tool("compare", {"workspace": "nope"})
        with pytest.raises(MCPError):
            await client.call_tool("merg", {"source": "fix"})
    told = calls(repo)
    assert [(each.tool, each.workspaces, each.outcome) for each in told] == [
        ("clone", (), "ok"),
        ("compare", ("fix",), "ok"),
        ("merge", ("fix", "main"), "conflicts"),
        ("delete", ("shop/fix",), "unmerged_changes"),
        ("status", (), "ok"),
        ("compare", ("nope",), "not_found"),
        ("compare", ("nope",), "invalid_argument"),
        ("merg", ("fix",), "-32602"),
    ]
    assert {(each.actor, each.role, each.transport, each.cancelled) for each in told} == {("ann", "person", "stdio", False)}
    assert all(each.ms > 0 and each.request for each in told)
    assert len({each.call for each in told}) == len({each.request for each in told}) == len(told)
    assert "of mine" not in place(repo).read_text() and "of-mine" not in place(repo).read_text()


async def test_what_a_call_did_is_in_the_log_of_operations_under_the_same_name(repo: Repo) -> None:
    async with Client(server(repo)) as client:
        await client.call_tool("clone", {"count": 2, "name": "fix"})
        await client.call_tool("status", {})
        await client.call_tool("delete", {"workspaces": ["fix-1", "fix-2"]})
    project = Project.open(repo.path)
    cloned, looked, deleted = calls(repo)
    operations = project.log().operations
    assert {each.call for each in operations if each.verb == "clone"} == {cloned.call}
    assert {each.call for each in operations if each.verb == "delete"} == {deleted.call}
    assert looked.call not in {each.call for each in operations}
    assert len(project.undo().operations) == 2


async def test_what_a_caller_sends_forges_no_line_and_draws_on_no_terminal(repo: Repo) -> None:
    evil = 'x"}\n{"at":"2026-01-01T00:00:00Z","call":"forged","tool":"merge"}\n\x1b[2J\u202egnp\x9b'
    Project.initialize(repo.path)
    async with Client(server(repo)) as client:
        await client.call_tool("compare", {"workspaces": [evil, "y" * 5000, *["z"] * 200]})
        with pytest.raises(MCPError):
            await client.call_tool(evil, {})
    text = place(repo).read_bytes()
    assert len(text.splitlines()) == 2 and len(text) < 20_000
    assert all(32 <= byte < 127 or byte == 10 for byte in text)
    assert "forged" not in {each.call for each in calls(repo)}
    assert max(len(name) for name in calls(repo)[0].workspaces) == 200
    shown = subprocess.run([*program(), "log", "--calls"], cwd=repo.path, capture_output=True, text=True, check=True).stdout
    assert shown.replace("\n", "").isprintable() and len(shown.splitlines()) == 3


def test_who_called_over_http_is_told_and_no_secret(repo: Repo, home: Path) -> None:
    Project.initialize(repo.path).seen_by(Access("work", caller("bob"))).clone(name="his")
    tokens = Tokens(home / ".config/mcp-workspaces/tokens.json")
    roles: dict[str, Role] = {"anna": "work", "ro": "read"}
    secrets = {name: tokens.create(name, role, [str(repo.path)], 1)[1] for name, role in roles.items()}
    mine = Project.open(repo.path).seen_by(Access("work", caller("anna"))).clone(name="mine").workspaces[0]
    secrets["only"] = tokens.create("only", "work", [str(repo.path)], 1, mine)[1]
    made: list[tuple[str, str, dict[str, object]]] = [
        ("anna", "compare", {"workspaces": ["his"]}),
        ("ro", "clone", {"name": "more"}),
        ("only", "compare", {"workspaces": []}),
        ("only", "compare", {}),
        ("anna", "merge", {"source": "mine"}),
    ]
    with served(repo) as it:
        for who, tool, arguments in made:
            assert sent(it.url, modern(tool, arguments), _headers(tool, arguments, secrets[who])).status == 200
        assert sent(it.url, modern("status", {}), _headers("status", {}, "wsp_wrong")).status == 401
    told = [(each.actor, each.role, each.tool, each.workspaces, each.outcome, each.transport) for each in calls(repo)]
    assert told == [
        ("token:anna", "work", "compare", ("his",), "not_found", "http"),
        ("token:ro", "read", "clone", (), "not_allowed", "http"),
        ("token:only", "work", "compare", ("shop/mine",), "invalid_argument", "http"),
        ("token:only", "work", "compare", ("shop/mine",), "ok", "http"),
        ("token:anna", "work", "merge", ("mine",), "not_allowed", "http"),
    ]
    text = place(repo).read_text()
    assert not any(secret in text for secret in secrets.values())


def _headers(tool: str, arguments: dict[str, object], secret: str) -> dict[str, str]:
    return {"MCP-Protocol-Version": "2026-07-28", **routing(tool, arguments), "Authorization": f"Bearer {secret}"}


@in_both_eras
async def test_a_call_that_its_client_gave_up_is_told_as_such(repo: Repo, era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Client(server(repo), mode=era) as client:
        await client.call_tool("status", {})
        begun = Project.open(repo.path).revision()
        revision = Project.revision
        with anyio.CancelScope() as gave_up, monkeypatch.context() as patch:

            def asked(self: Project) -> int:
                anyio.from_thread.run_sync(gave_up.cancel)
                return revision(self)

            patch.setattr(Project, "revision", asked)
            await client.call_tool("status", {"wait_seconds": 50})
        assert gave_up.cancelled_caught
        with anyio.fail_after(20):
            while len(calls(repo)) < 2:
                await anyio.sleep(0.05)
    assert (calls(repo)[1].tool, calls(repo)[1].outcome, calls(repo)[1].cancelled) == ("status", "cancelled", True)
    assert Project.open(repo.path).revision() == begun


async def test_each_project_has_the_calls_that_meant_it(repo: Repo, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = Repo.create(tmp_path / "other")
    other.write("a.txt", "a\n")
    other.commit("start")
    async with Client(create(Settings(None, (tmp_path,)))) as client:
        with caplog.at_level(logging.WARNING):
            await client.call_tool("status", {})
        assert '"tool": "status"' in caplog.text and "no_project" in caplog.text
        await client.call_tool("initialize", {"path": str(repo.path)})
        await client.call_tool("initialize", {"path": str(other.path)})
        await client.call_tool("clone", {"source": "other/main", "name": "there"})
        await client.call_tool("clone", {"name": "here"})
    assert [each.tool for each in calls(repo)] == ["initialize", "clone"]
    assert [(each.tool, each.workspaces) for each in calls(other)] == [("initialize", ()), ("clone", ("other/main",))]


@in_both_eras
async def test_what_is_read_is_told_with_its_workspace_and_no_path(repo: Repo, tmp_path: Path, era: str) -> None:
    other = Repo.create(tmp_path / "other")
    other.write("a-path-of-mine.txt", "a\n")
    other.commit("start")
    async with Client(create(Settings(repo.path, (tmp_path,))), mode=era) as client:
        await client.call_tool("initialize", {"path": str(other.path)})
        for uri in ("other/main/files/a-path-of-mine.txt", "other/main/diff", "other/main", "other/tree"):
            await client.read_resource(f"workspace://{uri}")
        with pytest.raises(MCPError):
            await client.read_resource("workspace://shop/nope")
        await client.get_prompt("tidy_up")
    read = [(each.tool, each.workspaces, each.outcome) for each in calls(other)[1:]]
    assert read == [
        ("resources/read files", ("other/main",), "ok"),
        ("resources/read diff", ("other/main",), "ok"),
        ("resources/read", ("other/main",), "ok"),
        ("resources/read", (), "ok"),
    ]
    refused, prompted = calls(repo)
    assert (refused.workspaces, refused.outcome.startswith("-32")) == (("shop/nope",), True)
    assert (prompted.tool, prompted.outcome) == ("prompts/get", "ok")
    assert "of-mine" not in place(other).read_text()


async def test_a_refusal_makes_no_project(repo: Repo) -> None:
    before = fingerprint(repo)
    async with Client(server(repo)) as client:
        await client.call_tool("clone", {"nonsense": 1})
    assert fingerprint(repo) == before and not place(repo).parent.exists()


def test_the_file_is_private_and_bounded(repo: Repo) -> None:
    home = Project.initialize(repo.path).home
    audit = Audit(home, largest=4000)
    for number in range(200):
        audit.note(Call(at=now(), call=f"{number:08}", tool="status"))
    files = sorted(home.glob("calls*"))
    assert files == [audit.older, audit.file] or files == [audit.older]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 and file.stat().st_size < 4200 for file in files)
    kept = [int(each.call) for each in audit.last(1000)]
    assert kept == [*range(199, 199 - len(kept), -1)] and len(kept) > 30


def test_processes_that_write_at_once_tear_no_line(repo: Repo) -> None:
    home = Project.initialize(repo.path).home
    writer = (
        "import sys; from pathlib import Path; from workspaces.audit import Audit; from workspaces.model import Call, Role, now\n"
        "audit = Audit(Path(sys.argv[1]), largest=200_000)\n"
        "for number in range(500): audit.note(Call(at=now(), call=f'{sys.argv[2]}-{number}', tool='x' * (number % 97), workspaces=('y',) * 3))"
    )
    processes = [subprocess.Popen([*python(), "-c", writer, str(home), str(which)]) for which in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    audit = Audit(home)
    lines = audit.older.read_bytes() + audit.file.read_bytes()
    found = [json.loads(line)["call"] for line in lines.splitlines()]
    assert len(found) == len({*found})
    for which in range(4):
        mine = [int(call.split("-")[1]) for call in found if call.startswith(f"{which}-")]
        assert mine == sorted(mine) and (not mine or mine[-1] == 499)


def test_who_finds_a_full_one_taken_away_goes_on(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit(Project.initialize(repo.path).home, largest=1)
    change = Locks.change

    def meanwhile(*args: Any, **named: Any) -> Any:
        audit.file.replace(audit.older)
        return change(*args, **named)

    monkeypatch.setattr(Locks, "change", meanwhile)
    audit.note(Call(at=now(), call="one", tool="status"))
    assert b'"one"' in audit.older.read_bytes()


async def test_what_cannot_be_written_fails_no_call_and_is_told_once(repo: Repo, caplog: pytest.LogCaptureFixture) -> None:
    async with Client(server(repo)) as client:
        await client.call_tool("status", {})
        place(repo).unlink()
        os.mkfifo(place(repo))
        for _ in range(3):
            assert not (await client.call_tool("status", {})).is_error
        assert caplog.text.count("cannot be written") == 1 and "Traceback" not in caplog.text
        place(repo).unlink()
        await client.call_tool("status", {})
    assert len(calls(repo)) == 1


async def test_a_link_in_the_place_of_the_file_is_not_followed(repo: Repo, tmp_path: Path) -> None:
    async with Client(server(repo)) as client:
        await client.call_tool("status", {})
        place(repo).unlink()
        place(repo).symlink_to(tmp_path / "victim")
        assert not (await client.call_tool("status", {})).is_error
    assert not (tmp_path / "victim").exists()


def test_a_full_disk_fails_no_call(repo: Repo) -> None:
    """What was cut off spoils no line that comes when there is room again."""
    home = Project.initialize(repo.path).home
    audit = Audit(home)
    audit.note(Call(at=now(), call="first", tool="status"))
    limit = audit.file.stat().st_size + 20
    done = _limited(home, limit)
    assert done.returncode == 0, done.stderr
    assert [each.call for each in audit.last(10)] == ["third", "first"]


def _limited(home: Path, size: int) -> subprocess.CompletedProcess[str]:
    """Write two calls: while no file may have more than so many bytes, and when it may again."""
    writer = (
        "import resource, signal, sys; from pathlib import Path; from workspaces.audit import Audit; from workspaces.model import Call, Role, now\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); audit = Audit(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1)); audit.note(Call(at=now(), call='second', tool='status'))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1)); audit.note(Call(at=now(), call='third', tool='status'))\n"
    )
    return subprocess.run([*python(), "-c", writer, str(home), str(size)], capture_output=True, text=True, check=False, timeout=60)


def test_a_person_reads_it(repo: Repo) -> None:
    project = Project.initialize(repo.path)
    Audit(project.home).note(
        Call(at=now(), call="abc", actor="token:anna", role="work", tool="merge", workspaces=("shop/fix",), outcome="conflicts")
    )
    shown = subprocess.run([*program(), "log", "--calls"], cwd=repo.path, capture_output=True, text=True, check=True).stdout
    assert all(word in shown for word in ("token:anna", "work", "merge", "fix", "conflicts", "abc"))
    told = subprocess.run(
        [*program(), "log", "--calls", "--json", "-n", "1"], cwd=repo.path, capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(told)["calls"][0]["actor"] == "token:anna"
