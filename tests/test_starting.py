"""What a command loads and reads before it does anything: that is most of what it takes, and is told here by names and counts, never by a clock."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import WORKSPACES, Repo, clone

from workspaces import Project

STARTED = "import sys\nfrom workspaces.terminal.start import main\ntry: main()\nexcept SystemExit: pass\nprint({told}, file=sys.stderr)"
OTHERS = {
    *("annotated_doc", "shellingham", "typer"),
    *("annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"),
    *("git", "gitdb", "smmap"),
    *("reflink_copy", "rich"),
}
"""What others wrote that a command may load: what reads its words, models, git, what shares blocks, and of rich the widths of characters."""
DEAR = {"asyncio", "email.parser", "http", "multiprocessing", "rich.console", "rich.text", "ssl", "tomllib", "xml"}
ALWAYS = """access asked audit backend backends config core errors locks model naming places private project recovery requests starting starts
    store telemetry terminal threads trust wording""".split()  # noqa: SIM905 - words that are read
"""What of ours is loaded by everything that opens a project."""
BACK = {"aside", "gone", "history"}
MERGE = {"aside", "checks", "containment", "gone", "landing", "merging", "preparing", "programs", "removal", "replaying", "resolving"}
LOADED = {
    "list": {"containment", "gone", "overview"},
    "status --json": {"containment", "gone", "overview"},
    "path fix": set[str](),
    "clone --name more": {"aside", "cloning", "gone", "preparing"},
    "compare fix": {"comparison", "containment", "gone", "programs", "resolving"},
    "diff fix": {"comparison", "containment", "gone", "programs", "resolving"},
    "merge fix": MERGE,
    "delete fix --discard-unmerged": {"aside", "containment", "gone", "removal"},
    "checkpoint fix": BACK,
    "undo": BACK | {"containment", "removal", "undoing"},
    "log": BACK,
}
"""What of ours each command loads besides."""


def after(folder: Path, told: str, *args: str, before: str = "") -> list[str]:
    """Return, as words, what there is to tell in a process in which a command has ended, and before which something was set up."""
    script = f"{before}\n{STARTED.format(told=told)}"
    command = [sys.executable, "-c", script, *args]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return done.stderr.splitlines()[-1].split()


def loaded(folder: Path, *args: str) -> set[str]:
    """Return the modules that a command loads."""
    return {*after(folder, "*sys.modules", *args)}


def others(modules: set[str]) -> set[str]:
    """Return the packages that neither we nor Python's own authors wrote."""
    tops = {name.split(".")[0] for name in modules if not name.startswith(("_", "workspaces"))}
    return tops - sys.stdlib_module_names


def ours(modules: set[str]) -> set[str]:
    return {name.split(".")[1] for name in modules if name.startswith("workspaces.")}


@pytest.fixture
def shop(repo: Repo) -> Repo:
    """Return a project with a workspace in which something changed."""
    clone(Project.initialize(repo.path), "fix").write("cart.py", "total = 1\n")
    return repo


@pytest.mark.parametrize("command", LOADED)
def test_a_command_loads_no_more_than_it_needs(shop: Repo, command: str) -> None:
    found = loaded(shop.path, *command.split())
    assert ours(found) <= {*ALWAYS, *LOADED[command]}
    assert others(found) <= OTHERS
    assert not found & DEAR


def test_the_version_loads_next_to_nothing(tmp_path: Path) -> None:
    found = loaded(tmp_path, "--version")
    assert (ours(found), others(found)) == ({"starting", "terminal"}, set())


def test_help_opens_no_project(shop: Repo) -> None:
    found = loaded(shop.path, "--help")
    assert ours(found) == {"starting", "telemetry", "terminal"}
    assert not found & {"git", "pydantic"}


def test_a_command_loads_what_its_project_needs(shop: Repo, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    Project.initialize(tmp_path / "folder")
    asked = {"git", "workspaces.backends.directory", "workspaces.backends.worktree"}
    assert loaded(shop.path, "list") & asked == {"git", "workspaces.backends.worktree"}
    assert loaded(tmp_path / "folder", "list") & asked == {"workspaces.backends.directory"}


@pytest.mark.parametrize("words", ["list", "-C . list", "--project . list", "--project=. list"])
def test_only_the_command_that_is_named_is_made_ready(shop: Repo, words: str) -> None:
    ready = "*(each.name or each.callback.__name__ for each in sys.modules['workspaces_cli.cli'].app.registered_commands)"
    assert after(shop.path, ready, *words.split()) == ["list"]


@pytest.mark.parametrize("words", ["serve", "-C . serve", "--project . serve", "--project=. serve"])
def test_a_server_that_is_asked_for_without_options_loads_nothing_that_reads_them(shop: Repo, words: str) -> None:
    assert not loaded(shop.path, *words.split()) & {"argparse", "typer", "workspaces_cli.cli"}
    assert {"mcp", "typer"} <= loaded(shop.path, *words.split(), "--http=")


def test_what_packages_name_for_us_is_read_once(shop: Repo) -> None:
    hook = (
        "import sys\nread = []\n"
        "sys.addaudithook(lambda event, args: read.append(str(args[0])) if event == 'open' and 'entry_points.txt' in str(args[0]) else None)"
    )
    found = [Path(name) for name in after(shop.path, "*read", "list", before=hook)]
    (mine,) = {each for each in found if each.parent.name.startswith("mcp_workspaces-")}
    assert found.count(mine) <= 2  # pydantic reads all of them for its own plugins


def test_settings_are_made_ready_only_where_there_are_any(shop: Repo) -> None:
    ready = "sys.modules['workspaces.config'].Config.__pydantic_complete__"
    assert after(shop.path, ready, "list") == ["False"]
    shop.write("workspaces.toml", "[trash]\ndays = 3\n")
    assert after(shop.path, ready, "list") == ["True"]


def test_no_garbage_is_looked_for_at_the_end(tmp_path: Path) -> None:
    told = "sys.modules['gc'].get_freeze_count() > 0, sys.modules['gc'].get_threshold()[0] > 10_000"
    assert after(tmp_path, told, "--version") == ["True", "True"]


def test_no_garbage_is_looked_for_while_a_server_loads(shop: Repo) -> None:
    seen = "import gc\nlooks = []\ngc.callbacks.append(lambda phase, told: looks.append(gc.get_threshold()[0]))"
    looks = after(shop.path, "*looks", "serve", before=seen)
    assert looks
    assert {*looks} == {str(gc.get_threshold()[0])}


def test_what_is_piped_looks_as_on_a_terminal(shop: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for blanks at the ends of lines."""
    Project.open(shop.path).clone(name="wide", task="日本 ein\u0301s")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    piped = shown(shop)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "400")
    assert [line.rstrip() for line in re.sub(r"\x1b\[\d*m", "", shown(shop)).splitlines()] == piped.splitlines()
    assert "日本" in piped


def shown(repo: Repo) -> str:
    return subprocess.run([WORKSPACES, "compare"], cwd=repo.path, capture_output=True, text=True, check=True).stdout


def test_a_server_loads_verbs_when_they_are_called(shop: Repo) -> None:
    script = "import sys\nfrom workspaces.starting import server\nserver()\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=shop.path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    found = {*done.stderr.splitlines()[-1].split()}
    assert "mcp" in found
    assert not found & {"typer", "yaml", "pygments.lexers", "workspaces.server.fixtures", "workspaces.backends.directory"}
    assert not ours(found) & {"checks", "cloning", "comparison", "history", "looking", "merging", "outline", "overview", "removal"}
