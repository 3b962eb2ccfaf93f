"""What every test here stands on: an empty home, and a project of each installed kind, which must be all well at the test's end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from workspaces import Project
from workspaces.backend import choose, installed
from workspaces.model import Capabilities

from .folders import START, Main, found_wrong

GROUP = "workspaces.conformance"
CHOSEN = "CONFORMANCE_BACKEND"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", _kinds())


def _kinds() -> list[str]:
    chosen, known = os.environ.get(CHOSEN, ""), list(installed())
    if chosen and chosen not in known:
        raise pytest.UsageError(f"{CHOSEN} is {chosen!r}. Installed: {', '.join(known)}")
    return [chosen] if chosen else known


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the person's own configuration out."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("XDG_CONFIG_HOME", "WORKSPACES_PROJECT", "CLAUDE_PROJECT_DIR", "WORKSPACES_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("WORKSPACES_SPARES", "0")  # what prepares them works on when a test has ended
    return folder


@pytest.fixture
def tally() -> Iterator[Path]:
    """A folder outside of everything, to which a confined command may write too: there runs are counted."""
    shared = Path("/dev", "shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def main(tmp_path: Path, kind: str) -> Main:
    """A folder of files that can be a project of the kind, and is none yet."""
    folder = tmp_path / "shop"
    folder.mkdir()
    made = Main(folder, _recorder(kind))
    for name, contents in START.items():
        made.write(name, contents, 0o755 if name.endswith(".sh") else 0o644)
    made.record()
    return made


def _recorder(kind: str) -> Callable[[Path], None]:
    """Return what the backend says makes a folder's files its project's own; nothing, where it says nothing."""
    for point in entry_points(group=GROUP, name=kind):
        record: Callable[[Path], None] = point.load()
        return record
    return _nothing


def _nothing(folder: Path) -> None:
    """Leave a folder as it is: writing a file is all that there is to it."""


@pytest.fixture
def project(main: Main, kind: str) -> Iterator[Project]:
    """A project of the kind. Whatever a test did to it, it ends in order."""
    made = Project.initialize(main.path, backend=kind)
    yield made
    assert found_wrong(Project.open(main.path)) == []


@pytest.fixture
def capabilities(main: Main, kind: str) -> Capabilities:
    return choose(main.path, kind).capabilities
