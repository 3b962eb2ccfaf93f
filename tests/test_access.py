"""Who may what, over HTTP: tokens and roles as docs/security.md has them, and a foreign name that nobody can tell from an unknown one."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conformance.forking import program
from mcp import Client
from serving import routing
from support import Repo, at

from workspaces import Project
from workspaces.access import Access
from workspaces.errors import Exists, NotAllowed
from workspaces.server.app import Settings, create
from workspaces.tokens import Tokens, caller

DOCS = Path(__file__).parents[1] / "docs" / "security.md"
pytestmark = pytest.mark.anyio
COLUMNS = ("read", "work", "merge", "administer", "bound")
_META = "io.modelcontextprotocol/"
VERSION = "2026-07-28"


@dataclass(frozen=True)
class World:
    """A server with tokens: one for each column of the table, `other`, whose workspaces are foreign to all, and `eve`, who has none."""

    url: str
    repo: Repo
    home: Path
    secrets: Mapping[str, str]

    def call(self, who: str, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool as somebody, and return its structured result."""
        status, text = post(self.url, tool, arguments, self.secrets[who])
        assert status == 200, text
        return dict[str, Any](json.loads(text)["result"]["structuredContent"])

    def code(self, who: str, tool: str, **arguments: object) -> str:
        return str(self.call(who, tool, **arguments).get("error", {}).get("code", "yes"))


def post(
    url: str, tool: str, arguments: Mapping[str, object], secret: str = "", headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Call a tool as a client that knows nothing but JSON-RPC does; return the status, and the body or the challenge."""
    meta = {f"{_META}protocolVersion": VERSION, f"{_META}clientInfo": {"name": "raw", "version": "1"}, f"{_META}clientCapabilities": {}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments, "_meta": meta}}
    sent = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": VERSION,
        **routing(tool, arguments),
        **({"Authorization": f"Bearer {secret}"} if secret else {}),
        **(headers or {}),
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(message).encode(), sent), timeout=60) as answer:
            text = answer.read().decode()
            lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
            return answer.status, lines[-1] if lines else text
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.headers.get("WWW-Authenticate") or refused.read().decode()


@contextmanager
def serving(home: Path, cwd: Path, *options: str) -> Generator[str]:
    """Run a real HTTP server and give its address; what it says at its end is in `home`/said."""
    command = [*program(), "serve", "--http", "127.0.0.1:0", *options]
    with (
        (home / "said").open("w+") as said,
        subprocess.Popen(command, cwd=cwd, stderr=-1, stdout=-1, text=True, env=environment(home)) as process,
    ):
        assert process.stderr and process.stdout
        line = process.stderr.readline()
        found = re.search(r"http://\S+/mcp", line)
        try:
            assert found, line + process.stderr.read()
            yield found[0]
        finally:
            process.terminate()
            said.write(line + process.stderr.read() + process.stdout.read())


def environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "WORKSPACES_SPARES": "0"}


def run(home: Path, cwd: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*program(), *command], cwd=cwd, env=environment(home), capture_output=True, text=True, check=False, timeout=60)


def made(project: Project, who: str, name: str) -> None:
    """Let somebody have a workspace, with work and a restore point in it."""
    mine = project.seen_by(Access("work", caller(who)))
    (workspace,) = mine.clone(name=name, task=f"{name}-task").workspaces
    at(workspace).write("cart.py", f"{name}\n")
    mine.checkpoint(name)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    home = tmp_path_factory.mktemp("access")
    (home / ".gitconfig").write_text("[user]\n\tname = Ann\n\temail = ann@example.com\n[init]\n\tdefaultBranch = trunk\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        repo = Repo.create(home / "shop")
        repo.write("cart.py", "line\n")
        repo.write("workspaces.toml", '[checks.unit]\nrun = "true"\n')
        repo.commit("start")
        project = Project.initialize(repo.path, trust=home / ".config/mcp-workspaces/trust.json")
        asked = project.unasked()
        assert asked
        project.trust_checks(asked.fingerprint)
        tokens, root = Tokens(home / ".config/mcp-workspaces/tokens.json"), [str(repo.path)]
        for who in COLUMNS:
            made(project, who, f"{who}-own")
        made(project, "other", "zebra")
        made(project, "other", "tapir")
        made(project, "other", "okapi")
        project.delete(["okapi"], discard_unmerged=True)
        secrets = {who: tokens.create(who, who, root, 1)[1] for who in ("read", "work", "merge", "administer")}
        secrets |= {who: tokens.create(who, "work", root, 1)[1] for who in ("other", "eve")}
        secrets["bound"] = tokens.create("bound", "work", root, 1, project.find("bound-own"))[1]
    with serving(home, repo.path) as url:
        yield World(url, repo, home, secrets)


# -- the table ----------------------------------------------------------------------------------------------------------------------------


def calls(who: str) -> dict[tuple[str, str], dict[str, object]]:
    """Return what each row of the table means for somebody, in an order in which each can be tried."""
    own = f"{who}-own"
    return {
        ("status", "-"): {},
        ("compare", "own"): {"workspaces": [own]},
        ("compare", "own, against main"): {"workspaces": [own], "base": "main"},
        ("compare", "another's"): {"workspaces": ["tapir"]},
        ("clone", "main"): {"source": "main", "name": f"{who}-main"},
        ("clone", "own"): {"source": own, "name": f"{who}-again"},
        ("clone", "another's"): {"source": "tapir", "name": f"{who}-foreign"},
        ("check", "own"): {"workspaces": [own]},
        ("check", "another's"): {"workspaces": ["tapir"]},
        ("checkpoint", "own"): {"workspace": own},
        ("checkpoint", "main"): {"workspace": "main"},
        ("checkpoint", "another's"): {"workspace": "tapir"},
        ("merge", "main into own"): {"source": "main", "target": own, "on_conflict": "target"},
        ("merge", "another's into own"): {"source": "tapir", "target": own, "on_conflict": "target"},
        ("merge", "own into another's"): {"source": own, "target": "tapir", "on_conflict": "target"},
        ("merge", "own into main"): {"source": own, "target": "main", "on_conflict": "source"},
        ("restore", "main"): {"workspace": "main"},
        ("delete", "own"): {"workspaces": [own], "discard_unmerged": True, "children": "delete"},
        ("delete", "another's"): {"workspaces": ["tapir"], "discard_unmerged": True, "children": "delete"},
        ("restore", "own, deleted"): {"workspace": own},
        ("initialize", "its project"): {},
        ("initialize", "a folder in it"): {"path": "sub"},
    }


def table() -> dict[tuple[str, str], dict[str, str]]:
    """Return the table of docs/security.md."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in DOCS.read_text().splitlines() if line.startswith("|")]
    assert tuple(rows[0][2:]) == COLUMNS
    return {(row[0], row[1]): dict(zip(COLUMNS, row[2:], strict=True)) for row in rows[2:]}


@pytest.mark.parametrize("who", COLUMNS)
def test_each_role_may_what_the_table_says(world: World, who: str) -> None:
    wanted = {row: cells[who] for row, cells in table().items()}
    tried = calls(who)
    assert list(wanted) == list(tried)
    world.repo.path.joinpath("sub").mkdir(exist_ok=True)
    refusals = ("not_found", "not_allowed")
    found = {row: world.code(who, row[0], **arguments) for row, arguments in tried.items()}
    assert {row: code if code in refusals else "yes" for row, code in found.items()} == wanted
    assert {code for row, code in found.items() if wanted[row] == "yes"} == {"yes"}


def test_what_is_for_the_person_at_the_machine_is_for_nobody_else(project: Project) -> None:
    seen = project.seen_by(Access("merge", "token:anna"))
    for forbidden in (
        seen.undo,
        seen.redo,
        seen.gc,
        seen.log,
        seen.doctor,
        seen.programs,
        seen.unasked,
        partial(seen.trust, ""),
        partial(seen.trust_checks, ""),
        partial(seen.lease, "main", 0),
        partial(seen.beside, ["main", "main"], ["true"]),
        partial(seen.confine, "main", False, {}),
    ):
        with pytest.raises(NotAllowed):
            forbidden()


# -- a foreign name ---------------------------------------------------------------------------------------------------------------------------

NAMED: list[tuple[str, dict[str, object]]] = [
    ("status", {"workspaces": ["NAME"]}),
    ("status", {"workspaces": ["shop/NAME"], "detail": "names"}),
    ("status", {"workspaces": ["PLACE/NAME"]}),
    ("status", {"workspaces": ["GONE"], "include_deleted": True}),
    ("compare", {"workspaces": ["NAME"]}),
    ("compare", {"workspaces": ["eve-own", "NAME"]}),
    ("compare", {"workspaces": ["eve-own"], "base": "NAME"}),
    ("compare", {"workspaces": ["eve-own"], "base": "NAME@1"}),
    ("clone", {"source": "NAME"}),
    ("clone", {"source": "PLACE/NAME"}),
    ("merge", {"source": "NAME"}),
    ("merge", {"source": "eve-own", "target": "NAME"}),
    ("merge", {"source": ["eve-own", "NAME"], "target": "eve-own"}),
    ("delete", {"workspaces": ["NAME"]}),
    ("delete", {"workspaces": ["GONE"]}),
    ("check", {"workspaces": ["NAME"]}),
    ("checkpoint", {"workspace": "NAME"}),
    ("restore", {"workspace": "NAME"}),
    ("restore", {"workspace": "GONE"}),
    ("restore", {"workspace": "eve-own", "to": "NAME@1"}),
    ("initialize", {"path": "PLACE/NAME"}),
]


def test_a_foreign_name_is_answered_like_an_unknown_one(world: World) -> None:
    world.call("eve", "clone", name="eve-own")
    place = world.repo.path / ".workspaces"
    for tool, template in NAMED:
        answers: list[str] = []
        for name, gone in (("zebra", "okapi"), ("zebrb", "okapj")):
            asked = json.dumps(template).replace("NAME", name).replace("GONE", gone).replace("PLACE", str(place))
            told = post(world.url, tool, json.loads(asked), world.secrets["eve"])[1]
            answers.append(told.replace(name, "NAME").replace(gone, "GONE"))
        assert answers[0] == answers[1], (tool, template)
        assert '"isError":true' in answers[0] or "refused" in answers[0] or tool == "status", answers[0]


def test_nothing_that_somebody_is_told_speaks_of_others(world: World) -> None:
    conflicting = world.call("eve", "clone", name="eve-by")["workspaces"][0]["location"]
    merged = world.call("other", "clone", name="okapi-by")["workspaces"][0]["location"]
    for place in (conflicting, merged):
        Path(place, "by.txt").write_text(f"{Path(place).name[:3]}\n")
    assert world.call("administer", "merge", source="okapi-by")["status"] == "merged"
    told = [
        world.call("eve", tool, **arguments)
        for tool, arguments in (
            ("status", {"include_deleted": True}),
            ("status", {"detail": "names"}),
            ("clone", {"name": "eve-two", "count": 2}),
            ("compare", {"workspaces": ["eve-two-1", "eve-two-2"], "detail": "files"}),
            ("merge", {"source": "eve-two-1", "target": "eve-two-2"}),
            ("checkpoint", {"workspace": "eve-two-1"}),
            ("restore", {"workspace": "eve-two-1"}),
            ("delete", {"workspaces": ["eve-two-2"]}),
            ("merge", {"source": "main", "target": "eve-by"}),
            ("compare", {"workspaces": ["eve-by"], "detail": "conflicts"}),
            ("initialize", {}),
            ("restore", {"workspace": "zebr"}),
        )
    ]
    world.call("administer", "clone", source="eve-two-1", name="tapir-below")
    told += [world.call("eve", "delete", workspaces=["eve-two-1"], children=what) for what in ("refuse", "delete", "reparent")]
    assert {each["error"]["code"] for each in told[-3:]} == {"has_children"}
    text = json.dumps(told)
    assert "eve-two-1" in text and '"theirs_by": {"workspace": "shop/main"' in text
    assert not re.search("zebra|okapi|tapir|token:(?!eve)", text), text


def test_request_keys_are_each_callers_own(world: World) -> None:
    world.call("other", "clone", name="mine", request_key="same")
    assert world.call("eve", "clone", name="eves", request_key="same")["workspaces"][0]["name"] == "eves"
    assert world.call("other", "clone", name="mine", request_key="same")["workspaces"][0]["name"] == "mine"


def test_whoever_makes_a_workspace_owns_it_and_the_log_says_so(world: World) -> None:
    world.call("eve", "clone", name="owned")
    shown = world.call("administer", "status", workspaces=["owned"])["workspaces"][0]
    assert shown["owner"] == "token:eve"
    log = json.loads(run(world.home, world.repo.path, "log", "--json").stdout)
    assert {"token:eve", "token:other"} <= {each.get("actor") for each in log["operations"]}


def test_what_is_granted_is_seen_until_it_is_taken_back(world: World) -> None:
    assert run(world.home, world.repo.path, "token", "grant", "eve", "zebra").returncode == 0
    assert world.code("eve", "compare", workspaces=["zebra"]) == "yes"
    assert run(world.home, world.repo.path, "token", "grant", "eve", "zebra", "--take-back").returncode == 0
    assert world.code("eve", "compare", workspaces=["zebra"]) == "not_found"


def test_who_is_bound_to_a_workspace_means_it_where_none_is_named(world: World) -> None:
    world.call("administer", "clone", source="zebra", name="pinned")
    secret = json.loads(run(world.home, world.repo.path, "token", "create", "tied", "--workspace", "pinned", "--json").stdout)["secret"]

    def call(tool: str, **arguments: object) -> dict[str, Any]:
        return dict[str, Any](json.loads(post(world.url, tool, arguments, secret)[1])["result"]["structuredContent"])

    assert call("clone", name="below")["workspaces"][0]["parent"] == "shop/pinned"
    assert [each["name"] for each in call("compare")["workspaces"]] == ["pinned"]
    assert [each["name"] for each in call("status")["workspaces"]] == ["pinned", "below"]
    assert call("merge", source="below")["target"] == "shop/pinned"
    assert call("checkpoint")["restore_point"].startswith("pinned@")
    assert call("merge")["error"]["code"] == "not_found"


# -- tokens -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["", "wsp_", "wsp_" + "A" * 43, "nonsense", "a.b.c"])
def test_without_a_token_that_counts_nothing_is_answered(world: World, secret: str) -> None:
    for path in ("/mcp", "/", "/.well-known/oauth-protected-resource/mcp"):
        status, challenge = post(world.url.removesuffix("/mcp") + path, "status", {}, secret)
        assert (status, challenge[:6]) == (401, "Bearer")


def test_a_token_is_made_listed_and_revoked(world: World) -> None:
    told = run(world.home, world.repo.path, "token", "create", "tmp", "--role", "read")
    secret = told.stdout.strip()
    file = world.home / ".config/mcp-workspaces/tokens.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret.startswith("wsp_") and secret not in file.read_text() and secret not in told.stderr
    assert post(world.url, "status", {}, secret)[0] == 200
    assert secret[4:] not in (listed := run(world.home, world.repo.path, "token", "list").stdout)
    assert "tmp  read" in listed
    with pytest.raises(Exists):
        Tokens(file).create("tmp", "read", [str(world.repo.path)], 1)
    assert run(world.home, world.repo.path, "token", "revoke", "tmp").returncode == 0
    assert post(world.url, "status", {}, secret)[0] == 401


def test_a_token_counts_until_its_time_is_over(world: World) -> None:
    """In a session that was begun in time, too."""
    tokens = Tokens(world.home / ".config/mcp-workspaces/tokens.json")
    secret = tokens.create("brief", "read", [str(world.repo.path)], 8 / 86_400)[1]
    bearing = {"Authorization": f"Bearer {secret}"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    status, session, _ = handshaken(world.url, "initialize", hello, bearing)
    assert status == 200
    within = bearing | {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-06-18"}
    deadline = time.monotonic() + 60
    while (status := handshaken(world.url, "tools/call", {"name": "status", "arguments": {"detail": "names"}}, within)[0]) == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (status, post(world.url, "status", {}, secret)[0]) == (401, 401)


def test_a_name_that_somebody_else_has_is_taken_and_no_more_is_said(world: World) -> None:
    world.call("eve", "clone", name="eves-own")
    own, foreign = (world.call("eve", "clone", name=name)["error"] for name in ("eves-own", "zebra"))
    assert own["code"] == "exists" and own["details"] == foreign["details"]
    assert json.dumps(own).replace("eves-own", "zebra") == json.dumps(foreign)


def test_a_session_is_its_makers_alone(world: World) -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    status, session, _ = handshaken(world.url, "initialize", hello, {"Authorization": f"Bearer {world.secrets['other']}"})
    assert status == 200
    within = {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-06-18"}
    asked = {"name": "status", "arguments": {"detail": "names"}}
    own = handshaken(world.url, "tools/call", asked, within | {"Authorization": f"Bearer {world.secrets['other']}"})
    assert own[0] == 200 and "zebra" in own[2]
    assert handshaken(world.url, "tools/call", asked, within | {"Authorization": f"Bearer {world.secrets['eve']}"})[0] == 404
    assert handshaken(world.url, "tools/call", asked, within)[0] == 401


def handshaken(url: str, method: str, params: Mapping[str, object], headers: Mapping[str, str]) -> tuple[int, str, str]:
    """Post one message of a client with a handshake; return the status, the session and the body."""
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(message).encode(), sent), timeout=60) as answer:
            return answer.status, str(answer.headers.get("Mcp-Session-Id")), answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, "", refused.read().decode()


@pytest.mark.parametrize("header", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
@pytest.mark.parametrize("path", ["/mcp", "/", "/.well-known/oauth-protected-resource/mcp"])
def test_foreign_hosts_and_origins_are_refused_on_every_path(world: World, header: dict[str, str], path: str) -> None:
    address = world.url.removesuffix("/mcp") + path
    assert post(address, "status", {}, world.secrets["eve"], header)[0] in (403, 421)


# -- where it may listen, and for what ----------------------------------------------------------------------------------------------------


def test_another_address_than_loopback_needs_tokens_and_a_name(world: World, tmp_path: Path) -> None:
    def refused(home: Path) -> str:
        done = run(home, world.repo.path, "serve", "--http", "0.0.0.0:0")
        assert done.returncode == 1 and "Traceback" not in done.stderr
        return done.stderr

    assert "--public-url" in refused(world.home)
    (tmp_path / ".config/mcp-workspaces").mkdir(parents=True)
    loose = tmp_path / ".config/mcp-workspaces/tokens.json"
    loose.write_text("{}")
    loose.chmod(0o666)
    assert "somebody else" in refused(tmp_path)


def test_a_server_started_in_no_project_serves_only_the_projects_of_tokens(world: World, tmp_path: Path) -> None:
    Repo.create(tmp_path / "else")
    with serving(world.home, Path("/")) as url:
        told = json.loads(post(url, "status", {"detail": "names"}, world.secrets["eve"])[1])["result"]["structuredContent"]
        assert told["workspaces"][0]["location"] == str(world.repo.path)
        for who in ("eve", "administer"):
            answer = post(url, "initialize", {"path": str(tmp_path / "else")}, world.secrets[who])[1]
            assert json.loads(answer)["result"]["structuredContent"]["error"]["code"] == "not_allowed"


def test_without_tokens_a_server_started_in_no_project_makes_none_and_with_the_first_token_it_asks_for_one(tmp_path: Path) -> None:
    other = Repo.create(tmp_path / "else")
    with serving(tmp_path, Path("/")) as url:
        answer = json.loads(post(url, "initialize", {"path": str(other.path)})[1])
        assert not (other.path / ".git/workspaces").exists()
        tokens = Tokens(tmp_path / ".config/mcp-workspaces/tokens.json")
        secret = tokens.create("first", "read", [str(other.path)], 1)[1]
        assert post(url, "status", {})[0] == 401
        assert post(url, "status", {}, secret)[0] == 200
        tokens.file.unlink()
        assert post(url, "status", {})[0] == 401
    assert answer["result"]["structuredContent"]["error"]["code"] == "not_allowed"


async def test_a_server_for_one_workspace_serves_no_other_on_stdio_either(project: Project, repo: Repo) -> None:
    project.clone(name="mine")
    project.clone(name="theirs")
    async with Client(create(Settings(repo.path, (repo.path,), pinned="mine"))) as client:

        async def code(tool: str, **arguments: object) -> str:
            result = await client.call_tool(tool, dict(arguments))
            found: Any = result.structured_content
            return str(found.get("error", {}).get("code", "yes"))

        assert [await code("compare"), await code("clone", name="below"), await code("merge", source="below")] == ["yes"] * 3
        assert [await code("compare", workspaces=[name]) for name in ("theirs", "main", "nobody")] == ["not_found"] * 3
        assert [await code("merge"), await code("initialize"), await code("delete", workspaces=["theirs"])] == [
            "not_found",
            "not_allowed",
            "not_found",
        ]
        known: Any = (await client.call_tool("status", {})).structured_content
        assert [each["name"] for each in known["workspaces"]] == ["mine", "below"]


def test_secrets_are_written_nowhere(world: World) -> None:
    for who in world.secrets:
        world.call(who, "status")
    files = [Path(folder, name) for folder, _, names in os.walk(world.home) for name in names]
    assert len(files) > 100
    kept = [file.read_bytes() for file in files if file.is_file()]
    assert [who for who, secret in world.secrets.items() if any(secret[4:].encode() in text for text in kept)] == []


# -- limits -------------------------------------------------------------------------------------------------------------------------------


@contextmanager
def limited(world: World, settings: str) -> Generator[None]:
    """Let the project's settings have limits until the block ends."""
    file = world.repo.path / "workspaces.toml"
    before = file.read_text()
    file.write_text(f"{before}\n{settings}\n")
    try:
        yield
    finally:
        file.write_text(before)


def test_nobody_has_more_workspaces_than_it_may(world: World) -> None:
    secret = Tokens(world.home / ".config/mcp-workspaces/tokens.json").create("many", "work", [str(world.repo.path)], 1)[1]

    def clone(number: int) -> str:
        told = json.loads(post(world.url, "clone", {"name": f"many-{number}"}, secret)[1])["result"]["structuredContent"]
        return str(told.get("error", {}).get("code", "yes"))

    with limited(world, "[limits.work]\nworkspaces = 2"):
        with ThreadPoolExecutor(5) as pool:
            told = [*pool.map(clone, range(5))]
        assert told.count("yes") <= 2 and {*told} <= {"yes", "limit"}
        told += [clone(number) for number in range(5, 8)]
        assert told.count("yes") == 2
        assert world.code("administer", "clone", count=3, name="more") == "yes"
    with limited(world, "[limits]\nmax_gb = 0.000001"):
        assert clone(8) == "limit"
    assert clone(9) == "yes"


def test_who_calls_too_often_is_told_when_to_come_again(world: World) -> None:
    with limited(world, "[limits]\ncalls_per_second = 0.01"):
        told = [world.call("eve", "status", detail="names") for _ in range(2)]
        assert world.code("other", "status") == "yes"
    errors = [each["error"] for each in told if "error" in each]
    assert [each["code"] for each in errors] == ["limit"]
    assert errors[0]["retryable"] and 0 < errors[0]["details"]["retry_after_seconds"] <= 100
    deadline = time.monotonic() + 30
    while world.code("eve", "status", detail="names") != "yes":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_who_has_too_many_calls_under_way_is_told_at_once(world: World) -> None:
    def wait() -> dict[str, Any]:
        while "error" in (told := world.call("eve", "status", wait_seconds=50)):
            pass
        return told

    refused: list[float] = []
    with limited(world, "[limits]\ncalls_at_once = 1"), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        while min(refused, default=1.0) >= 1 and not waiting.done():
            began = time.monotonic()
            if world.code("eve", "status", detail="names") == "busy":
                refused.append(time.monotonic() - began)
        while not waiting.done():
            world.call("other", "clone")
    assert min(refused) < 1


def test_sizes_and_checks_are_bounded(world: World) -> None:
    for name in ("big-1", "big-2"):
        made = world.call("eve", "clone", name=name)["workspaces"][0]
        Path(made["location"], "cart.py").write_text(f"{name} is large\n" * 1000)
    with limited(world, "[limits]\nrequest_kb = 1\nanswer_kb = 4\nchecks = 1"):
        assert world.code("eve", "clone", task="x" * 1500) == "limit"
        assert world.code("eve", "compare", workspaces=["big-1"], detail="diff") == "limit"
        assert world.call("eve", "check", workspaces=["big-1", "big-2"])["error"]["retryable"]
    assert world.code("eve", "check", workspaces=["big-1", "big-2"]) == "yes"


def test_a_list_that_is_too_long_is_cut_and_says_so(world: World) -> None:
    world.call("eve", "clone", name="many", count=24)
    there = len(world.call("eve", "status", detail="names")["workspaces"])
    with limited(world, "[limits]\nanswer_kb = 4"):
        told = world.call("eve", "status", detail="names")
    assert 0 < len(told["workspaces"]) < there
    assert f"{len(told['workspaces'])} of {there} workspaces are shown" in told["warnings"][-1]
    world.call("eve", "delete", workspaces=[f"many-{number}" for number in range(1, 25)])


def test_a_body_without_end_is_not_read_to_its_end(world: World) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * (1 << 20)

    host, port = world.url.removeprefix("http://").removesuffix("/mcp").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    headers = {"Authorization": f"Bearer {world.secrets['eve']}", "Content-Type": "application/json", "Accept": "application/json"}
    with closing(connection):
        with suppress(ConnectionError):
            connection.request("POST", "/mcp", endless(), headers, encode_chunked=True)
        assert connection.getresponse().status == 413


def test_names_are_completed_for_who_sees_them(world: World) -> None:
    world.call("eve", "clone", name="zulu")
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    asked = {"ref": {"type": "ref/prompt", "name": "pick_winner"}, "argument": {"name": "workspaces", "value": "z"}}
    told: dict[str, str] = {}
    for who in ("eve", "other"):
        bearing = {"Authorization": f"Bearer {world.secrets[who]}"}
        session = handshaken(world.url, "initialize", hello, bearing)[1]
        within = bearing | {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-06-18"}
        told[who] = handshaken(world.url, "completion/complete", asked, within)[2]
    assert '"values":["zulu"]' in told["eve"] and '"values":["zebra"]' in told["other"]
