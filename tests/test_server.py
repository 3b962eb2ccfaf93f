"""The MCP face: tools in memory in both eras, and real servers on stdio and HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import jsonschema
import pytest
from conformance.forking import program
from dialogue import calls_in
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import CallToolResult, TextContent
from serving import sent, served
from support import WORKSPACES, Golden, Repo, fingerprint

from workspaces import Project
from workspaces.server.app import INSTRUCTIONS, Settings, create

TOOLS = ["initialize", "clone", "compare", "merge", "delete", "status", "check", "checkpoint", "restore"]
pytestmark = pytest.mark.anyio
Era = Literal["auto", "legacy"]
in_both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])
"""The 2026-07-28 protocol, and the one with a handshake."""


@asynccontextmanager
async def connected(repo: Repo, era: Era = "auto") -> AsyncGenerator[Client]:
    async with Client(create(Settings(repo.path, (repo.path,))), mode=era) as client:
        yield client


async def data(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that succeeds and return its structured result, which its text repeats."""
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, result.content
    (block,) = result.content
    assert isinstance(block, TextContent)
    found: Any = result.structured_content
    assert found == json.loads(block.text)
    assert len(found.get("next", [])) <= 3
    assert all(len([*calls_in(said, TOOLS)]) == 1 and said.endswith(")") for said in found.get("next", []))
    return dict[str, Any](found)


async def error(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that fails and return its error."""
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert result.is_error, result.structured_content
    found: Any = result.structured_content
    return dict[str, Any](found["error"])


@in_both_eras
async def test_the_whole_loop(repo: Repo, era: Era) -> None:
    async with connected(repo, era) as client:
        assert (await data(client, "initialize"))["project"] == "shop"
        made = await data(client, "clone", count=3, name="login", task="Fix login race")
        places = [Path(workspace["location"]) for workspace in made["workspaces"]]
        for number, place in enumerate(places):
            (place / "cart.py").write_text(f"attempt {number % 2}\n")
        compared = await data(client, "compare", workspaces=["login-1", "login-2", "login-3"])
        assert [workspace["merge"] for workspace in compared["workspaces"]] == ["clean"] * 3
        assert len(compared["pairs"]) == 2
        merged = await data(client, "merge", source="shop/login-1", delete_source=True)
        assert (merged["status"], merged["target"], merged["restore_point"]) == ("merged", "shop/main", "main@1")
        refused = await data(client, "merge", source=str(places[1]))
        assert (refused["status"], refused["conflicts"][0]["hunks"][0]["theirs"]) == ("conflicts", "attempt 1\n")
        deleted = await data(client, "delete", workspaces=["login-2", "login-3"], discard_unmerged=True)
        assert deleted["deleted"] == ["shop/login-2", "shop/login-3"]
        assert (await data(client, "restore", workspace="login-2"))["workspace"]["state"] == "ready"
        assert (await data(client, "checkpoint", workspace="login-2"))["restore_point"] == "login-2@1"
        names = [workspace["name"] for workspace in (await data(client, "status"))["workspaces"]]
        assert names == ["main", "login-2"]
    assert repo.read("cart.py") == "attempt 0\n"


async def test_results_say_first_what_happened_and_leave_out_what_is_absent(repo: Repo) -> None:
    async with connected(repo) as client:
        for tool, arguments in (("initialize", {}), ("clone", {"name": "fix"}), ("compare", {"workspaces": ["fix"]}), ("status", {})):
            result = await data(client, tool, **arguments)
            assert next(iter(result)) == "summary"
            assert "null" not in json.dumps(result)
            assert "uid" not in json.dumps(result)


@in_both_eras
async def test_the_tools_are_described_and_annotated(repo: Repo, era: Era) -> None:
    async with connected(repo, era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == TOOLS
    for tool in tools.values():
        assert tool.description and "\n" not in tool.description
        assert tool.output_schema
        result, failure = tool.output_schema["anyOf"]
        assert "summary" in result["required"]
        assert failure == {"required": ["error"]}
        assert all("description" in schema for schema in tool.input_schema["properties"].values())
    hints = {name: tool.annotations for name, tool in tools.items() if tool.annotations}
    assert {name for name, hint in hints.items() if hint.read_only_hint} == {"compare", "status"}
    assert {name for name, hint in hints.items() if hint.destructive_hint} == {"merge", "delete", "restore"}
    assert {name for name, hint in hints.items() if hint.idempotent_hint} == {"initialize", "compare", "delete", "status", "check"}
    inputs = sum(len(json.dumps([tool.name, tool.description, tool.input_schema])) for tool in tools.values())
    assert inputs < 12_000, "about 3,000 tokens"


async def test_what_clients_read_of_the_tools_is_what_was_meant(repo: Repo, golden: Golden) -> None:
    """Every word and every schema counts: a model acts by them, and other people's programs rely on them."""
    async with connected(repo) as client:
        tools = (await client.list_tools()).tools
    golden("tools.json", json.dumps([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools], indent=1) + "\n")


async def test_the_instructions_teach_the_loop(repo: Repo) -> None:
    async with connected(repo) as client:
        assert client.instructions == INSTRUCTIONS
    assert len(INSTRUCTIONS) <= 2000
    for tool in ("clone(", "compare(", "merge(", "delete(", "restore("):
        assert tool in INSTRUCTIONS


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "said"),
    [
        ("compare", {"workspace": ["fix"]}, "invalid_argument", "Did you mean 'workspaces'?"),
        ("clone", {"count": 300}, "invalid_argument", "count"),
        ("clone", {"name": "../up"}, "invalid_name", "'../up'"),
        ("merge", {}, "invalid_argument", "source"),
        ("merge", {"source": "nope"}, "not_found", "Open: main"),
        ("merge", {"source": "main"}, "invalid_argument", "no parent"),
        ("delete", {"workspaces": ["main"]}, "protected", "cannot be deleted"),
        ("initialize", {"path": "/"}, "not_allowed", "outside"),
        ("initialize", {"path": "../.."}, "not_allowed", "outside"),
        ("initialize", {"backend": "nope"}, "backend_missing", "worktree"),
        ("clone", {"source": "--output=pwned"}, "not_found", "No workspace"),
        ("restore", {"workspace": "main", "to": "main@7"}, "not_found", "no restore point"),
        ("status", {"wait_seconds": 1000}, "invalid_argument", "wait_seconds"),
    ],
)
@in_both_eras
async def test_bad_calls_are_explained_and_change_nothing(
    repo: Repo, era: Era, tool: str, arguments: dict[str, Any], code: str, said: str
) -> None:
    before = fingerprint(repo)
    async with connected(repo, era) as client:
        failed = await error(client, tool, **arguments)
    assert (failed["code"], said in failed["message"], bool(failed["hint"])) == (code, True, True)
    assert fingerprint(repo) == before


async def test_results_and_errors_fit_the_published_schema(repo: Repo) -> None:
    """Clients by the TypeScript SDK check the structured content of failed calls too."""
    async with connected(repo) as client:
        schemas = {tool.name: tool.output_schema or {} for tool in (await client.list_tools()).tools}
        good: dict[str, dict[str, Any]] = {
            "initialize": {},
            "clone": {"name": "fix"},
            "compare": {"workspaces": ["fix"]},
            "merge": {"source": "fix"},
        }
        good |= {"status": {}, "checkpoint": {"workspace": "fix"}, "restore": {"workspace": "fix"}, "delete": {"workspaces": ["fix"]}}
        for tool, arguments in good.items():
            jsonschema.validate(await data(client, tool, **arguments), schemas[tool])
            jsonschema.validate({"error": await error(client, tool, nonsense=1)}, schemas[tool])
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({"neither": 1}, schemas[tool])


@in_both_eras
async def test_an_unknown_tool_is_the_protocols_error(repo: Repo, era: Era) -> None:
    async with connected(repo, era) as client:
        with pytest.raises(MCPError, match="Did you mean 'merge'") as raised:
            await client.call_tool("merg", {})
        assert raised.value.error.code == -32602


async def test_a_link_that_leads_out_of_the_roots_is_refused(repo: Repo, tmp_path: Path) -> None:
    other = Repo.create(tmp_path / "other")
    other.write("a.txt", "a\n")
    other.commit("start")
    (repo.path / "link").symlink_to(other.path)
    async with connected(repo) as client:
        assert (await error(client, "initialize", path="link"))["code"] == "not_allowed"
    assert not (other.path / ".git" / "workspaces").exists()


async def test_a_repository_that_reaches_out_of_the_roots_is_refused(repo: Repo) -> None:
    async with Client(create(Settings(None, (repo.path / "auth",)))) as client:
        assert (await error(client, "initialize", path=str(repo.path / "auth")))["code"] == "not_allowed"
    assert not (repo.path / ".git" / "workspaces").exists()


async def test_without_a_repository_there_is_no_project(tmp_path: Path) -> None:
    async with Client(create(Settings(None, (tmp_path,)))) as client:
        assert (await error(client, "status"))["code"] == "no_project"
        made = Repo.create(tmp_path / "later")
        made.write("a.txt", "a\n")
        made.commit("start")
        await data(client, "initialize", path=str(made.path))
        assert (await data(client, "status"))["workspaces"][0]["id"] == "later/main"


@in_both_eras
async def test_the_loop_on_a_folder(tmp_path: Path, era: Era) -> None:
    """A server that is started in a folder has no project until it is told to make it one."""
    folder = Repo(tmp_path / "survey")
    folder.write("table.csv", "1,2\n")
    async with connected(folder, era) as client:
        made = await data(client, "initialize", path=str(folder.path))
        assert (made["backend"], made["capabilities"].get("commits", False)) == ("directory", False)
        one, two = (await data(client, "clone", count=2, name="try"))["workspaces"]
        for number, workspace in enumerate((one, two)):
            Path(workspace["location"], "table.csv").write_text(f"{number}\n")
        assert [pair["conflicts"][0]["path"] for pair in (await data(client, "compare", workspaces=["try-1", "try-2"]))["pairs"]] == [
            "table.csv"
        ]
        merged = await data(client, "merge", source="try-1")
        assert (merged["status"], merged.get("commit"), folder.read("table.csv")) == ("merged", None, "0\n")
        again = await data(client, "merge", source="try-2", if_target=merged["snapshot"])
        assert (again["status"], again["conflicts"][0]["hunks"][0]["theirs"]) == ("conflicts", "1\n")
        await data(client, "restore", workspace="main")
        await data(client, "delete", workspaces=["try-2"], discard_unmerged=True)
        assert folder.read("table.csv") == "1,2\n"
        assert (await error(client, "clone", include_uncommitted=False))["code"] == "unsupported"


async def test_two_projects_on_one_server(repo: Repo, tmp_path: Path) -> None:
    other = Repo.create(tmp_path / "other")
    other.write("a.txt", "a\n")
    other.commit("start")
    async with Client(create(Settings(repo.path, (tmp_path,)))) as client:
        await data(client, "initialize", path=str(other.path))
        assert (await data(client, "clone", source="other/main", name="there"))["workspaces"][0]["project"] == "other"
        assert (await data(client, "clone", name="here"))["workspaces"][0]["project"] == "shop"
        assert (await data(client, "compare", workspaces=["there"]))["workspaces"][0]["id"] == "other/there"
        assert "different projects" in (await error(client, "compare", workspaces=["there", "here"]))["message"]


async def test_two_projects_of_one_name(tmp_path: Path) -> None:
    places: list[Path] = []
    for parent in ("one", "two"):
        made = Repo.create(tmp_path / parent / "app")
        made.write("a.txt", "a\n")
        made.commit("start")
        places.append(made.path)
    Project.initialize(places[1])
    async with Client(create(Settings(places[0], (tmp_path,)))) as client:
        await data(client, "clone", name="fix")
        second = await data(client, "initialize", path=str(places[1]))
        assert str(places[1]) in second["next"][0]
        assert (await data(client, "clone", source=str(places[1]), name="fix"))["workspaces"][0]["location"].startswith(str(places[1]))
        for ambiguous in ("fix", "app/fix"):
            assert "several projects" in (await error(client, "delete", workspaces=[ambiguous]))["message"]
        assert (await data(client, "delete", workspaces=[str(places[1] / ".workspaces" / "fix")]))["deleted"] == ["app/fix"]
        assert (await data(client, "status", workspaces=[str(places[0] / ".workspaces" / "fix")]))["workspaces"][0]["name"] == "fix"


async def test_projects_of_one_name_that_are_made_at_once_have_names_of_their_own(tmp_path: Path) -> None:
    places = [tmp_path / parent / "app" for parent in ("one", "two", "three")]
    for place in places:
        made = Repo.create(place)
        made.write("a.txt", "a\n")
        made.commit("start")
    async with Client(create(Settings(None, (tmp_path,)))) as client:
        told = await asyncio.gather(*(data(client, "initialize", path=str(place)) for place in [*places, *places]))
        names = [each["project"] for each in told]
        assert (sorted(names[:3]), names[3:]) == (["app", "app-2", "app-3"], names[:3])


async def test_an_answer_that_clients_cannot_take_is_not_sent(repo: Repo) -> None:
    with serving(repo) as url:
        async with Client(url, mode="legacy") as client:
            await data(client, "clone", name="fix")
            (repo.path / ".workspaces" / "fix" / "big").write_text("\x01\x02" * 120_000)
            assert (await error(client, "compare", workspaces=["fix"], detail="diff", max_chars=100_000))["code"] == "limit"
            assert (await data(client, "compare", workspaces=["fix"], detail="diff", max_chars=10_000))["truncated"]
            assert (await error(client, "merge", source="fix", paths=["x" * 4000] * 900))["code"] == "invalid_argument"


async def test_what_was_done_is_told_however_long_the_answer(repo: Repo) -> None:
    async with connected(repo) as client:
        made = await data(client, "clone", count=180, name="fix", task="x" * 2000, include_uncommitted=False)
        assert len(made["workspaces"]) == 180
        assert "left out" in made["warnings"][0]


async def test_a_thousand_conflicts_are_counted(repo: Repo) -> None:
    project = Project.initialize(repo.path)
    fix = Repo(Path(project.clone(name="fix").workspaces[0].location))
    for number in range(1000):
        fix.write(f"many/{number}.txt", "theirs\n")
        repo.write(f"many/{number}.txt", "ours\n")
    repo.commit("ours")
    async with connected(repo) as client:
        found = await data(client, "merge", source="fix")
    assert "1000 conflicting paths" in found["summary"]
    assert len(found["conflicts"]) == 100
    assert "900 conflicts more" in found["warnings"][0]


@pytest.mark.parametrize("arguments", [{"task": "\ud800"}, {"labels": ["\ud800"]}, {"name": "\ud800"}])
async def test_half_characters_are_refused(repo: Repo, arguments: dict[str, Any]) -> None:
    async with connected(repo) as client:
        server = create(Settings(repo.path, (repo.path,)))
        result = await server.call_tool("clone", arguments)
        assert isinstance(result, CallToolResult)
        assert result.is_error
        assert len((await data(client, "status"))["workspaces"]) == 1


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("initialize", {"path": "{}"}),
        ("initialize", {"backend": "{}"}),
        ("compare", {"workspaces": ["{}"]}),
        ("merge", {"source": "fix", "if_target": "{}"}),
        ("restore", {"workspace": "main", "to": "{}"}),
        ("clone", {"name": "{}"}),
    ],
)
async def test_what_a_caller_names_draws_on_no_terminal(repo: Repo, tool: str, arguments: dict[str, Any]) -> None:
    """Errors are shown to people: escapes, and what turns the direction of writing, are told and not sent."""
    evil = "\x1b[2J\u202egnp\x7f"
    given = json.loads(json.dumps(arguments).replace("{}", json.dumps(evil)[1:-1]))
    async with connected(repo) as client:
        await data(client, "clone", name="fix")
        said = await error(client, tool, **given)
    assert (said["message"] + said.get("hint", "")).isprintable()


@in_both_eras
async def test_progress_of_a_long_call(repo: Repo, era: Era) -> None:
    heard: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total))

    async with connected(repo, era) as client:
        await client.call_tool("clone", {"count": 4, "name": "fix"}, progress_callback=hear)
    assert heard[-1] == (4, 4)


async def test_a_cancelled_clone_leaves_nothing(repo: Repo) -> None:
    async with connected(repo) as client:
        with anyio.CancelScope() as scope:

            async def hear(progress: float, total: float | None, message: str | None) -> None:
                scope.cancel()

            await client.call_tool("clone", {"count": 200, "name": "fix"}, progress_callback=hear)
        assert scope.cancel_called
        with anyio.fail_after(60):
            while (await data(client, "status", detail="names"))["workspaces"][1:] or list((repo.path / ".workspaces").glob("f*")):
                await anyio.sleep(0.1)
    assert Project.open(repo.path).clone(name="fix-1").workspaces


async def test_status_waits_for_a_change(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(repo) as client, connected(repo) as other:
        await data(client, "status")
        asked: list[int] = []
        revision = Project.revision

        def counted(self: Project) -> int:
            asked.append(found := revision(self))
            return found

        monkeypatch.setattr(Project, "revision", counted)
        with anyio.fail_after(40):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(data, client, "status")

                async def waiting() -> None:
                    names = ["main"]
                    while names == ["main"]:  # the first change is that a clone was begun
                        found = await data(client, "status", wait_seconds=50, detail="names")
                        names = [workspace["name"] for workspace in found["workspaces"]]
                    assert names == ["main", "new"]

                tasks.start_soon(waiting)
                while len(asked) < 2:  # then it waits
                    await anyio.sleep(0.01)
                await data(other, "clone", name="new")


# -- real servers -------------------------------------------------------------------------------------------------------------------------


@contextmanager
def serving(repo: Repo) -> Generator[str]:
    """Run a real HTTP server and give its address."""
    with served(repo) as server:
        yield server.url


async def test_http_in_both_eras_on_one_url(repo: Repo) -> None:
    with serving(repo) as url:
        async with Client(url) as modern, Client(url, mode="legacy") as legacy:
            await data(modern, "clone", name="one")
            await data(legacy, "clone", name="two")
            for client in (modern, legacy):
                names = [workspace["name"] for workspace in (await data(client, "status"))["workspaces"]]
                assert names == ["main", "one", "two"]


async def test_sixteen_clients_at_once_over_http(repo: Repo) -> None:
    async def one(url: str, number: int) -> None:
        async with Client(url, mode="legacy" if number % 2 else "auto") as client:
            made = await data(client, "clone", name=f"agent-{number}")
            (Path(made["workspaces"][0]["location"]) / f"{number}.txt").write_text("x\n")
            assert (await data(client, "merge", source=f"agent-{number}", delete_source=True))["status"] == "merged"

    with serving(repo) as url:
        async with anyio.create_task_group() as tasks:
            for number in range(16):
                tasks.start_soon(one, url, number)
    assert repo.git("rev-list", "--count", "HEAD") == "17"
    assert repo.status() == []


def _post(url: str, message: dict[str, Any], headers: dict[str, str]) -> tuple[int, Mapping[str, str], str]:
    answer = sent(url, message, headers)
    return answer.status, answer.headers, answer.body


def test_a_raw_client_with_a_session_and_one_without(repo: Repo) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
    }
    call: dict[str, Any] = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "status", "arguments": {}}}
    with serving(repo) as url:
        code, headers, text = _post(url, hello, {})
        assert code == 200 and '"serverInfo"' in text
        session = {"Mcp-Session-Id": headers["mcp-session-id"], "MCP-Protocol-Version": "2025-06-18"}
        assert _post(url, {"jsonrpc": "2.0", "method": "notifications/initialized"}, session)[0] == 202
        assert "shop/main" in _post(url, call, session)[2]
        assert _post(url, call, {**session, "Mcp-Session-Id": "foreign"})[0] == 404


@pytest.mark.parametrize("header", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_foreign_hosts_and_origins_are_refused(repo: Repo, header: dict[str, str]) -> None:
    with serving(repo) as url:
        assert _post(url, {"jsonrpc": "2.0", "id": 1, "method": "ping"}, header)[0] in (403, 421)


@pytest.mark.parametrize(("address", "said"), [("0.0.0.0:0", "loopback"), ("example.com:80", "loopback"), ("127.0.0.1:x", "address")])
def test_only_loopback_is_served(repo: Repo, address: str, said: str) -> None:
    done = subprocess.run([*program(), "serve", "--http", address], cwd=repo.path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_cannot_start_says_the_same_with_options_and_without(tmp_path: Path) -> None:
    def said(*options: str) -> tuple[int, str, str]:
        command = [*program(), "--project", "nowhere", "serve", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout, done.stderr

    assert said() == said("--http=") == (2, "", said()[2])
    assert said()[2].startswith(f"✗ {tmp_path / 'nowhere'} is in no project.\n")


HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
}


async def test_stdio_carries_only_the_protocol(repo: Repo) -> None:
    command = StdioServerParameters(command=str(Path(WORKSPACES).with_name("mcp-workspaces")), cwd=repo.path, env=dict(os.environ))
    async with Client(command) as client:
        assert (await data(client, "clone", name="fix"))["workspaces"][0]["id"] == "shop/fix"
    lines = [HELLO, {"jsonrpc": "2.0", "method": "notifications/initialized"}, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}]
    with subprocess.Popen([WORKSPACES, "serve"], cwd=repo.path, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
        process.stdin.flush()
        assert [json.loads(process.stdout.readline())["id"] for _ in range(2)] == [1, 2]
        process.stdin.close()
        assert (process.stdout.read(), process.stderr.read(), process.wait()) == ("", "", 0)


@pytest.mark.parametrize("variable", ["WORKSPACES_PROJECT", "CLAUDE_PROJECT_DIR"])
async def test_the_project_is_what_the_environment_names(repo: Repo, tmp_path: Path, variable: str) -> None:
    first, *more = program()
    command = StdioServerParameters(command=first, args=[*more, "serve"], cwd="/", env={**os.environ, variable: str(repo.path)})
    async with Client(command) as client:
        assert (await data(client, "status"))["workspaces"][0]["location"] == str(repo.path)


HALVES = ["fix\ud800", "\udfff fix", "\ud83dA"]
WHOLE = ["\U0001f600 fine", r"a path \ud800 in words"]


def cloning(number: int, task: str) -> dict[str, object]:
    params = {"name": "clone", "arguments": {"task": task, "name": f"made-{number}"}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def told_of(answer: str) -> str:
    """Return the code of the error that an answer is, or nothing."""
    return str(json.loads(answer)["result"]["structuredContent"].get("error", {}).get("code", ""))


def test_half_a_character_is_refused_on_stdio(repo: Repo) -> None:
    lines = [HELLO, *(cloning(number, task) for number, task in enumerate([*HALVES, *WHOLE], 2))]
    answers: list[str] = []
    with subprocess.Popen([*program(), "serve"], cwd=repo.path, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin and process.stdout
        for line in lines:
            process.stdin.write(json.dumps(line) + "\n")
            process.stdin.flush()
            answers.append(process.stdout.readline())
        process.stdin.close()
    assert [told_of(answer) for answer in answers[1:]] == ["invalid_argument"] * len(HALVES) + [""] * len(WHOLE)


def test_half_a_character_is_refused_over_http(repo: Repo) -> None:
    with serving(repo) as url:
        session = {"Mcp-Session-Id": _post(url, HELLO, {})[1]["mcp-session-id"], "MCP-Protocol-Version": "2025-06-18"}
        said = [_post(url, cloning(number, task), session)[2] for number, task in enumerate([*HALVES, *WHOLE], 2)]
    answers = [next(line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")) for text in said]
    assert [told_of(answer) for answer in answers] == ["invalid_argument"] * len(HALVES) + [""] * len(WHOLE)
