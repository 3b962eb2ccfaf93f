"""What every test stands on: an empty home, and real git repositories in a temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from support import Golden, Instead, Repo

from workspaces import Project

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts this in the background has it, and all that it starts, ignore Ctrl-C; what is stopped here has to hear of it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="the published suite whole, where the default is its short form")
    parser.addoption(
        "--renew-golden", action="store_true", help="write the files of tests/golden anew, to be looked at before they are committed"
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the person's own configuration out, and give git an identity."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / ".gitconfig").write_text("[user]\n\tname = Ann\n\temail = ann@example.com\n[init]\n\tdefaultBranch = trunk\n")
    mine = [name for name in os.environ if name.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG_"))]
    for name in ("XDG_CONFIG_HOME", "WORKSPACES_PROJECT", "CLAUDE_PROJECT_DIR", "WORKSPACES_ACTOR", *mine):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("WORKSPACES_SPARES", "0")  # what prepares them works on when a test has ended
    return folder


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(Path(__file__).parent / "golden", bool(request.config.getoption("--renew-golden")))


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A repository with a few files and one commit."""
    made = Repo.create(tmp_path / "shop")
    made.write("cart.py", "".join(f"line {number}\n" for number in range(1, 21)))
    made.write("auth/api.py", "def login():\n    return True\n")
    made.write("notes.md", "# Notes\n")
    made.write(".gitignore", ".env\n*.log\nbuild/\n")
    made.commit("start")
    return made


@pytest.fixture
def project(repo: Repo) -> Project:
    return Project.initialize(repo.path)


@pytest.fixture
def instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instead:
    """Return what lets a script see git's arguments first; `real` is git itself there."""

    def put(script: str) -> None:
        program = tmp_path / "bin" / "git"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nreal={shutil.which("git")}\ncase "$*" in\n{script} ;;\nesac\nexec $real "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return put


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that servers and clients run on."""
    return "asyncio"
