"""Servers that many reach: sessions and none, several for one project, behind a platform, and how they end."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from conformance.forking import program
from mcp import Client
from mcp.types import CallToolResult
from serving import Raw, calling, hello, sent, served
from support import Repo

pytestmark = pytest.mark.anyio
in_both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])


def at_once(*jobs: Callable[[], None]) -> None:
    """Run jobs in threads and let the first failure out."""
    failed: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def test_two_raw_agents_on_one_server_never_see_each_others_state(repo: Repo) -> None:
    """Their calls cross, with the same numbers: each hears only its own answers, and cannot use what the other was sent."""
    with served(repo) as server:
        one, two = Raw(server.url), Raw(server.url)
        at_once(lambda: _loop(one, "one"), lambda: _loop(two, "two"))
        assert one.headers["Mcp-Session-Id"] != two.headers["Mcp-Session-Id"]
        assert sent(server.url, None, one.headers, "DELETE").status == 200
        assert sent(server.url, calling("status", {}), one.headers).status == 404
        assert len(two.call("status", detail="names")["workspaces"]) == 5


def _loop(agent: Raw, name: str) -> None:
    assert "serverInfo" in agent.greet().body
    for number in range(2):
        (made,) = agent.call("clone", name=f"{name}-{number}", task=name)["workspaces"]
        assert (made["name"], made["task"]) == (f"{name}-{number}", name)
        Path(made["location"], f"{name}.txt").write_text(f"{number}\n")
        (shown,) = agent.call("compare", workspaces=[made["id"]])["workspaces"]
        assert (shown["name"], shown["files_changed"]) == (made["name"], 1)


def test_an_answer_is_sent_again_to_its_own_session_only(repo: Repo) -> None:
    with served(repo) as server:
        one, two = Raw(server.url), Raw(server.url)
        for agent in (one, two):
            agent.headers["MCP-Protocol-Version"] = "2025-11-25"
            agent.headers["Mcp-Session-Id"] = sent(server.url, hello("2025-11-25"), {}).headers["mcp-session-id"]
        answer = sent(server.url, calling("status", {}), one.headers)
        first = next(line.removeprefix("id: ") for line in answer.body.splitlines() if line.startswith("id: "))
        assert answer.message["result"]["structuredContent"]["workspaces"][0]["id"] == "shop/main"
        sent(server.url, calling("status", {}), two.headers)
        assert '"id":"shop/main"' in _resumed(server.url, {**one.headers, "Last-Event-ID": first})
        assert "shop/main" not in _resumed(server.url, {**two.headers, "Last-Event-ID": first})


def _resumed(url: str, headers: dict[str, str]) -> str:
    """Return what comes on a stream that is taken up again, until it is open and nothing more comes for a moment."""
    host, port = url.removeprefix("http://").removesuffix("/mcp").split(":")
    lines = [
        "GET /mcp HTTP/1.1",
        f"Host: {host}:{port}",
        "Accept: text/event-stream",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    with socket.create_connection((host, int(port)), timeout=60) as stream:
        stream.sendall("\r\n".join([*lines, "", ""]).encode())
        heard = b""
        try:
            while chunk := stream.recv(65536):
                heard += chunk
                stream.settimeout(3)
        except TimeoutError:
            pass
    assert heard.startswith(b"HTTP/1.1 200"), heard
    return heard.decode().replace('\\"', '"')


def test_any_server_answers_any_call_where_none_keeps_sessions(repo: Repo) -> None:
    with served(repo, "--stateless") as one, served(repo, "--stateless") as two:
        agent = Raw(one.url)
        assert "mcp-session-id" not in agent.greet().headers
        assert agent.call("clone", name="fix")["workspaces"][0]["id"] == "shop/fix"
        agent.url = two.url
        agent.headers["Mcp-Session-Id"] = "made-by-somebody-else"
        assert agent.call("compare", workspaces=["fix"])["workspaces"][0]["merge"] == "up_to_date"
        said = sent(two.url, calling("compare", {"workspaces": ["gone"]}), agent.headers).message["result"]["structuredContent"]["error"]
        assert (said["code"], said["details"]["node"]) == ("not_found", socket.gethostname())
        assert "another" in said["hint"]


def test_a_question_of_one_server_is_answered_at_another(repo: Repo) -> None:
    """On 2026-07-28 a client carries the state of an open question to whichever server takes its next call."""
    repo.write("workspaces.toml", '[checks.test]\nrun = "true"\n')
    repo.commit("checks")
    with served(repo) as one, served(repo) as two:
        asked = _modern(one.url, "check", {"workspaces": ["main"]})
        (question,) = asked["inputRequests"]
        assert "test" in asked["inputRequests"][question]["params"]["message"]
        said = {question: {"action": "accept", "content": {"allow": True}}}
        done = _modern(two.url, "check", {"workspaces": ["main"]}, inputResponses=said, requestState=asked["requestState"])
        assert done["structuredContent"]["results"][0]["check"] == "test"


def _modern(url: str, tool: str, arguments: dict[str, object], **more: object) -> dict[str, Any]:
    """Call a tool as 2026-07-28 has it, without a handshake, for a client that can ask its user."""
    version = "2026-07-28"
    prefix = "io.modelcontextprotocol/"
    able: dict[str, object] = {"elicitation": {"form": {}}}
    meta: dict[str, object] = {f"{prefix}protocolVersion": version, f"{prefix}clientCapabilities": able}
    message = calling(tool, arguments)
    params: dict[str, object] = {"name": tool, "arguments": arguments, "_meta": meta, **more}
    answer = sent(url, {**message, "params": params}, {"MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": tool})
    found: dict[str, Any] = answer.message["result"]
    return found


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--agentcore", "yes"], 2, "who decides which calls come in"),
        (["--agentcore", "tokens"], 1, "without tokens this server cannot tell who connects"),
        (["--agentcore", "platform", "--http", "9000"], 2, "Leave --http out"),
    ],
)
def test_who_decides_about_callers_is_said_before_others_can_reach_the_server(
    repo: Repo, options: list[str], status: int, said: str
) -> None:
    done = subprocess.run([*program(), "serve", *options], cwd=repo.path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (status, True, False), done.stderr


def test_the_contract_of_agentcores_runtime(repo: Repo) -> None:
    """0.0.0.0:8000/mcp, without sessions, under the platform's Host and with its session id; a page of a browser is not let in."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if probe.connect_ex(("127.0.0.1", 8000)) == 0:
            pytest.skip("something else is served on port 8000 of this machine, which is the one that the contract asks for")
    with served(repo, "--agentcore", "platform", address="") as server:
        assert server.url == "http://0.0.0.0:8000/mcp"
        platform = {"Host": "runtime.example.com", "Mcp-Session-Id": "8f4b0c7e-platform", "X-Amzn-Request-Id": "1"}
        agent = Raw("http://127.0.0.1:8000/mcp", dict(platform))
        assert "mcp-session-id" not in agent.greet().headers
        assert agent.call("clone", name="fix")["workspaces"][0]["id"] == "shop/fix"
        assert sent(agent.url, calling("status", {}), {**platform, "Origin": "https://evil.example"}).status == 403


@in_both_eras
async def test_who_waits_is_answered_when_the_server_ends(repo: Repo, era: Literal["auto", "legacy"]) -> None:
    """A signal ends what only waits, with an answer; nothing is said that nobody needs."""
    answers: list[CallToolResult] = []
    said: list[str] = []
    with served(repo) as server:
        async with Client(server.url, mode=era) as client, anyio.create_task_group() as tasks:
            await client.call_tool("status", {})

            async def wait() -> None:
                answer = await client.call_tool("status", {"wait_seconds": 50})
                assert isinstance(answer, CallToolResult)
                answers.append(answer)

            tasks.start_soon(wait)
            await client.call_tool("status", {})  # what was asked before has reached the server when this is answered
            server.process.send_signal(signal.SIGTERM)
            with anyio.fail_after(30):
                said.append(await anyio.to_thread.run_sync(server.ended, abandon_on_cancel=True))
    assert (said, server.process.returncode) == ([""], -signal.SIGTERM)
    assert [answer.is_error for answer in answers] == [False]
