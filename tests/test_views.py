"""The view of a comparison: what the server says of it, and what a real browser makes of it in a host as small as one can be."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import TextResourceContents
from serving import Raw, calling, sent, served
from support import Repo, clone

from workspaces import Project
from workspaces.server.app import Settings, create
from workspaces.server.views import COMPARE, page

in_both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
in_a_browser = pytest.mark.skipif(not BROWSER, reason="there is no Chromium (apt-get install chromium)")
DEFAULT = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'none'"
)
"""The policy that a host puts on views, which this one's own is stricter than."""


@pytest.mark.anyio
@in_both_eras
async def test_the_view_is_offered_with_its_kind_and_no_network(repo: Repo, era: str) -> None:
    async with Client(create(Settings(repo.path, (repo.path,))), mode=era) as client:
        tools = {tool.name: tool.meta for tool in (await client.list_tools()).tools}
        read = (await client.read_resource(COMPARE)).contents[0]
    assert {name: meta for name, meta in tools.items() if meta and "ui" in meta} == {"compare": {"ui": {"resourceUri": COMPARE}}}
    assert isinstance(read, TextResourceContents)
    assert (read.uri, read.mime_type) == (COMPARE, "text/html;profile=mcp-app")
    assert read.meta
    assert read.meta["ui"]["csp"] == {"connectDomains": [], "resourceDomains": [], "frameDomains": [], "baseUriDomains": []}
    assert read.text == page()


def test_the_page_holds_itself_alone() -> None:
    text = page()
    policy = re.findall('http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert len(policy) == 1 and policy[0].startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy[0]
    assert not re.search(r"https?:|//cdn|src=|@import|url\(|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|\sstyle=", text)
    assert len(text) < 40_000


@dataclass
class Host:
    """Serves a host page, the view, and a real server's answers; and hears what came of it."""

    repo: Repo
    agent: Raw
    setup: Mapping[str, object]
    asked: list[str] = field(default_factory=list[str])
    called: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    said: dict[str, Any] = field(default_factory=dict[str, Any])
    ended: threading.Event = field(default_factory=threading.Event)

    def got(self, path: str) -> tuple[str, bytes]:
        self.asked.append(path)
        files = {"/": ("text/html", Path(__file__).with_name("host.html").read_text()), "/app.html": ("text/html", page())}
        kind, text = files.get(path, ("application/json", json.dumps(self.setup)))
        return kind, text.encode()

    def posted(self, path: str, body: dict[str, Any]) -> object:
        if path == "/call":
            self.called.append(body)
            return sent(self.agent.url, calling(body["name"], body["arguments"]), self.agent.headers).message["result"]
        self.said = body
        self.ended.set()
        return {}


@contextmanager
def hosting(host: Host) -> Generator[str]:
    """Serve on a free port and give the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(*host.got(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer("application/json", json.dumps(host.posted(self.path, body)).encode())

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            if self.path == "/app.html":
                self.send_header("Content-Security-Policy", DEFAULT)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def seen(repo: Repo, tmp_path: Path, steps: str, asks: bool = True, **arguments: object) -> Host:
    """Let a browser show what `compare` answers, take steps in the view, and return the host with what these found."""
    setup = {"steps": steps, "theme": "dark", "asks": asks, "call": {"name": "compare", "arguments": arguments}}
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
    ]
    with served(repo) as server:
        agent = Raw(server.url)
        agent.greet()
        host = Host(repo, agent, setup)
        with hosting(host) as address:
            command = [BROWSER, *options, f"--user-data-dir={tmp_path / 'profile'}", "--remote-debugging-port=0", address]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
                try:
                    assert host.ended.wait(120), f"the view came to no end; asked for: {host.asked}, called: {host.called}"
                finally:
                    browser.terminate()
    assert "failed" not in host.said, host.said["failed"]
    return host


HOSTILE = '</script><img src="/leak" onerror="parent.pwned=1">'


@pytest.fixture
def attempts(repo: Repo) -> Project:
    """Three attempts: two that conflict, and one that tries to be more than text."""
    project = Project.initialize(repo.path)
    for name, text in (("fix-1", "one"), ("fix-2", "two")):
        made = clone(project, name)
        made.write("cart.py", made.read("cart.py").replace("line 5\n", f"line {text}\n"))
    Repo(repo.path / ".workspaces" / "fix-1").write("icon.png", b"\x89PNG\0")
    evil = clone(project, "fix-3")
    evil.write("<img src=x onerror=alert(1)>.txt", f"{HOSTILE}\n\u202egnp.exe\n")
    evil.write('say "x"', "quoted\n")
    evil.write("long.txt", "".join(f"row {number}\n" for number in range(4000)))
    return project


@in_a_browser
def test_attempts_conflicts_and_a_diff(attempts: Project, repo: Repo, tmp_path: Path) -> None:
    host = seen(
        repo,
        tmp_path,
        """
        await until(() => text(".matrix button").length);
        const rows = text(".attempts tbody tr"), summary = text("h1")[0], theme = shown().documentElement.dataset.theme;
        press(".matrix button");
        const pair = text(".list li"), label = shown().querySelector(".matrix button").getAttribute("aria-label");
        press(".attempts button");
        await until(() => text("table.code").length);
        const unified = text(".code tr"), at = shown().activeElement.id;
        press('[data-key="l split"]');
        const beside = [...shown().querySelectorAll(".code tr")].map((row) => [...row.children].map((cell) => cell.textContent));
        const paths = text("details .path"), notes = text("details .note");
        return { rows, summary, theme, pair, label, unified, beside, at, paths, notes, current: text('tr[aria-current="true"] button') };
        """,
        workspaces=["fix-1", "fix-2", "fix-3"],
    )
    found = host.said["found"]
    assert found["summary"].startswith("3 workspaces: 3 merge cleanly")
    assert [row.startswith(name) and "✓ merges" in row for row, name in zip(found["rows"], ("fix-1", "fix-2", "fix-3"), strict=True)] == [
        True
    ] * 3
    assert (found["theme"], found["pair"]) == ("dark", ["cart.py content"])
    assert found["label"] == "fix-1 and fix-2 conflict in cart.py"
    assert "5- line 5" in found["unified"] and "5+ line one" in found["unified"]
    assert ["5", "line 5", "5", "line one"] in found["beside"]
    assert (found["at"], found["current"]) == ("changes", ["fix-1"])
    assert (found["paths"], found["notes"]) == (["cart.py", "icon.png"], ["binary, lock or generated: not shown"])
    assert host.called[1]["arguments"] == {"workspaces": ["shop/fix-1"], "detail": "diff", "max_chars": 100_000}


@in_a_browser
def test_what_an_attempt_holds_stays_text_and_large_diffs_stay_bounded(attempts: Project, repo: Repo, tmp_path: Path) -> None:
    host = seen(
        repo,
        tmp_path,
        """
        await until(() => text(".attempts button").length === 3);
        press('[data-key="a shop/fix-3"]');
        await until(() => text("details.file").length === 3);
        const open = [...shown().querySelectorAll("details.file")].map((each) => each.open);
        press("details.file:not([open]) summary");
        await until(() => text(".more button").length);
        const before = shown().querySelectorAll(".code tr").length;
        press(".more button");
        await until(() => shown().querySelectorAll(".code tr").length > before);
        return { open, before, paths: text(".path"), marks: text(".mark"), code: text(".code td").join("\\n"),
          elements: shown().querySelectorAll("img, iframe, link, object").length, scripts: shown().scripts.length, pwned: window.pwned || 0 };
        """,
        workspaces=["fix-1", "fix-2", "fix-3"],
    )
    found = host.said["found"]
    assert found["paths"] == ["<img src=x onerror=alert(1)>.txt", "long.txt", '"say \\"x\\""']
    assert HOSTILE in found["code"] and found["marks"] == ["U+202E"]
    assert (found["elements"], found["scripts"], found["pwned"]) == (0, 1, 0)
    assert found["open"] == [True, False, True] and found["before"] < 1600
    assert not [path for path in host.asked if "leak" in path]


@in_a_browser
def test_more_pages_come_through_the_host(attempts: Project, repo: Repo, tmp_path: Path) -> None:
    host = seen(
        repo,
        tmp_path,
        """
        await until(() => text("details.file").length);
        const before = text("details.file .size");
        press('[data-key="more"]');
        await until(() => text(".size").join() !== before.join());
        return { before, after: text("details.file .size") };
        """,
        workspaces=["fix-3"],
        detail="diff",
        max_chars=2000,
    )
    first, second = host.called[0]["arguments"], host.called[1]["arguments"]
    assert second.pop("cursor") and second == first
    assert host.said["found"]["before"] != host.said["found"]["after"]


@in_a_browser
def test_of_many_attempts_the_table_is_read(repo: Repo, tmp_path: Path) -> None:
    project = Project.initialize(repo.path)
    for each in project.clone(count=20, name="try").workspaces:
        Repo(Path(each.location)).write("new.txt", f"{each.name}\n")
    host = seen(
        repo,
        tmp_path,
        """
        await until(() => text(".attempts tbody tr").length === 20);
        press(".attempts button");
        await until(() => text("table.code").length);
        return { head: text(".attempts th"), first: text(".attempts tbody tr:first-child td"), code: text(".code .add") };
        """,
        workspaces=[f"try-{number}" for number in range(1, 21)],
    )
    found = host.said["found"]
    assert found["first"][:4] == ["try-1", "1", "+1", ""]
    assert "+ try-1" in found["code"] and "Clashes" in found["head"]


@in_a_browser
def test_a_host_that_passes_no_calls_on_shows_what_there_is(attempts: Project, repo: Repo, tmp_path: Path) -> None:
    steps = """
        await until(() => text(".attempts button").length === 3);
        return { disabled: [...shown().querySelectorAll(".attempts button")].every((each) => each.disabled), heard };
    """
    host = seen(repo, tmp_path, steps, asks=False, workspaces=["fix-1", "fix-2", "fix-3"])
    assert host.said["found"]["disabled"] and "ui/notifications/size-changed" in host.said["found"]["heard"]
    assert len(host.called) == 1
