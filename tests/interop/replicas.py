"""Three servers for one project behind nginx, which sends each call to the next of them, whoever it is from."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
import urllib.error
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from outside import need_nginx
from serving import Answer, Raw, Served, calling, sent, served
from support import Repo

AGENTS = 16
NAME = "workspaces.example"
_CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    upstream replicas {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 4m;
        location /mcp {{
            proxy_pass http://replicas;
            proxy_http_version 1.1;
            proxy_set_header Host {name};
            proxy_buffering off;
            proxy_read_timeout 120s;
        }}
    }}
}}
"""


@contextmanager
def balanced(program: str, servers: list[Served], folder: Path) -> Generator[str]:
    """Run nginx before servers and give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = [server.url.removeprefix("http://").removesuffix("/mcp") for server in servers]
    text = _CONFIGURATION.format(folder=folder, port=port, name=NAME, servers=" ".join(f"server {name};" for name in names))
    (folder / "nginx.conf").write_text(text)
    with subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.PIPE, text=True) as nginx:
        try:
            _until_open(port, nginx)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            nginx.terminate()


def _until_open(port: int, nginx: subprocess.Popen[str]) -> None:
    last = time.monotonic() + 20
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", port)) != 0:
            assert nginx.poll() is None and time.monotonic() < last, nginx.stderr and nginx.stderr.read()


@dataclass
class Agent(Raw):
    """A raw client that repeats a call, with its key, when no answer came or the server was busy."""

    repeats: int = 0

    def sure(self, tool: str, **arguments: object) -> dict[str, Any]:
        for _ in range(30):
            result = self._tried(tool, arguments)
            if result is not None:
                return result
            self.repeats += 1
        raise AssertionError(f"{tool} was never answered")

    def _tried(self, tool: str, arguments: dict[str, object]) -> dict[str, Any] | None:
        try:
            answer = sent(self.url, calling(tool, arguments), self.headers)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError):
            return None
        return _told(answer)


def _told(answer: Answer) -> dict[str, Any] | None:
    """Return the result of a call, or nothing where it is to be repeated."""
    if answer.status in (502, 503, 504) or not answer.body.strip():
        return None
    message = answer.message
    if "result" not in message:
        return None
    found: dict[str, Any] = message["result"]["structuredContent"]
    failed = found.get("error", {})
    assert not failed or failed["retryable"], failed
    return None if failed else found


def _loop(agent: Agent, name: str, begun: Event) -> None:
    """Clone, work, look, merge and clean up, as an agent does."""
    (made,) = agent.sure("clone", name=name, task=name, request_key=f"clone {name}")["workspaces"]
    begun.set()
    Path(made["location"], f"{name}.txt").write_text(f"{name}\n")
    (seen,) = agent.sure("compare", workspaces=[name])["workspaces"]
    assert (seen["merge"], seen["files_changed"]) == ("clean", 1)
    assert agent.sure("merge", source=name, request_key=f"merge {name}")["status"] == "merged"
    assert agent.sure("delete", workspaces=[name], request_key=f"delete {name}")["deleted"] == [f"shop/{name}"]


def _played(url: str, kind: str, killed: Served | None) -> int:
    """Let sixteen agents work at once; when the first of them has its workspace, kill a server. Return how many calls were repeated."""
    begun = Event()
    agents = [Agent(url, {"MCP-Protocol-Version": "2025-06-18"}) for _ in range(AGENTS)]
    with ThreadPoolExecutor(AGENTS) as pool:
        loops = [pool.submit(_loop, agent, f"{kind}-{number}", begun) for number, agent in enumerate(agents)]
        if killed:
            assert begun.wait(120)
            killed.process.kill()
        for loop in loops:
            loop.result()
    return sum(agent.repeats for agent in agents)


def test_sixteen_agents_on_three_servers_and_on_two_when_one_is_killed(repo: Repo, tmp_path: Path) -> None:
    """Calls without an answer are repeated with their key, and act once."""
    program, folder = need_nginx(), tmp_path / "nginx"
    folder.mkdir()
    with ExitStack() as stack:
        servers = [stack.enter_context(served(repo, "--stateless", "--public-url", f"http://{NAME}")) for _ in range(3)]
        url = stack.enter_context(balanced(program, servers, folder))
        assert _played(url, "whole", None) == 0
        assert _played(url, "killed", servers[1]) > 0
        agent = Raw(url)
        agent.greet()
        assert [each["name"] for each in agent.call("status")["workspaces"]] == ["main"]
    assert repo.git("rev-list", "--count", "HEAD") == str(1 + 2 * AGENTS)
    assert repo.status() == []
    names = [f"{kind}-{number}.txt" for kind in ("whole", "killed") for number in range(AGENTS)]
    assert all(repo.read(name) == f"{name.removesuffix('.txt')}\n" for name in names)
