"""The clients of a person: installing at the command line, the doctor that starts servers as they would, and Claude Code's hooks."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from conformance.forking import program
from support import Repo, clone

from workspaces import Project
from workspaces.clients.installing import Installer
from workspaces.clients.known import Here, Start, client
from workspaces.clients.looking import look
from workspaces.clients.probing import Probe
from workspaces.clients.worktrees import answer
from workspaces.errors import InvalidArgument, Protected
from workspaces.model import Finding

WORKSPACES = Path(sys.executable).with_name("workspaces")
GREETING = '{"jsonrpc": "2.0", "id": 1, "result": {"serverInfo": {"name": "%s", "version": "%s"}}}'


def run(folder: Path, *args: str, status: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*program(), *args], cwd=folder, input=stdin, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture
def here(home: Path, repo: Repo) -> Here:
    return Here({"HOME": str(home), "PATH": os.environ["PATH"]}, "linux", repo.path)


def configure(here: Here, key: str, start: Start) -> None:
    """Let a client have a server of ours that starts like this."""
    asked = client(key)
    file = asked.place(here)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        json.dumps({asked.section: {"workspaces": {"command": start.command, "args": list(start.args), "env": dict(start.env)}}})
    )


def script(folder: Path, *lines: str) -> Start:
    """Make a program, as a server that is not as it should be."""
    file = folder / f"server-{len(list(folder.iterdir()))}"
    file.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    file.chmod(0o755)
    return Start(str(file))


def test_install_shows_asks_writes_and_undoes(repo: Repo, home: Path) -> None:
    (home / ".cursor").mkdir()
    file = home / ".cursor" / "mcp.json"
    file.write_text('{"mcpServers": {}}\n')
    assert "cursor" in run(repo.path, "install").stdout
    assert "nobody to ask" in run(repo.path, "install", "cursor", status=2).stderr
    assert file.read_text() == '{"mcpServers": {}}\n'
    done = json.loads(run(repo.path, "install", "cursor", "--yes", "--json").stdout)
    assert (done["action"], done["done"], done["command"]) == ("add", True, [str(WORKSPACES), "serve"])
    run(repo.path, "install", "--undo", "cursor", "--yes")
    assert file.read_text() == '{"mcpServers": {}}\n'
    assert "Known:" in run(repo.path, "install", "emacs", status=3).stderr


def test_who_says_no_is_left_as_before(repo: Repo, home: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen([*program(), "install", "cursor"], cwd=repo.path, stdin=theirs, stdout=theirs, stderr=theirs) as asking:
        os.close(theirs)
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(ours, 65536)
        os.write(ours, b"n\n")
        assert asking.wait() == 1
    assert b"bug" not in shown + os.read(ours, 65536)
    os.close(ours)
    assert not (home / ".cursor").exists()


def test_the_doctor_starts_what_was_really_written(repo: Repo, home: Path) -> None:
    run(repo.path, "-C", str(repo.path), "install", "claude-code", "--project", "--yes")
    assert json.loads((repo.path / ".mcp.json").read_text())["mcpServers"]["workspaces"]["args"] == ["--project", str(repo.path), "serve"]
    run(repo.path, "init")
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text("[mcp_servers.workspaces]\ncommand = '/gone/workspaces'\n")
    told = json.loads(run(repo.path, "-C", str(repo.path), "doctor", "--json", status=1).stdout)["findings"]
    found = {each["check"]: each for each in told}
    assert (found["Claude Code"].get("ok", False), "speaks MCP" in found["Claude Code"]["message"]) == (True, True)
    assert "the program /gone/workspaces is gone" in found["Codex"]["message"]
    assert "workspaces install codex" in found["Codex"]["repair"]


def test_where_no_client_has_it_nothing_is_started(here: Here) -> None:
    assert look(Installer(here)) == ()


def test_what_is_wrong_with_a_server_is_said(here: Here, tmp_path: Path) -> None:
    folder = tmp_path / "servers"
    folder.mkdir()
    crash = script(folder, "echo starting >&2", "echo 'no module named mcp' >&2", "exit 3")
    servers = {
        "claude-desktop": crash,
        "cursor": script(folder, "echo 'Welcome!'", "cat"),
        "vscode": script(folder, "read asked", f"echo '{GREETING % ('workspaces', '0.0.1')}'", "cat"),
        "gemini": script(folder, "read asked", f"echo '{GREETING % ('filesystem', '1')}'", "cat"),
        "zed": Start(str(folder)),
    }
    for key, start in servers.items():
        configure(here, key, start)
    found = {each.check: each for each in look(Installer(here))}
    assert not any(each.ok for each in found.values())
    said = {
        "Claude Desktop": "it ended with status 3: no module named mcp",
        "Cursor": "it writes to stdout what is not the protocol: 'Welcome!'",
        "VS Code": "it is version 0.0.1, and this is",
        "Gemini CLI": "it is another server: 'filesystem'",
        "Zed": "is not executable",
    }
    assert {title: part for title, part in said.items() if part not in found[title].message} == {}


def test_what_the_doctor_proposes_is_not_refused(here: Here, home: Path) -> None:
    configure(here, "claude-desktop", Start("/gone/other"))
    configure(here, "cursor", Start("/gone/workspaces"))
    (home / ".gemini").mkdir()
    (home / ".gemini" / "settings.json").write_text('{"mcpServers": []}')
    found = {each.check: each for each in look(Installer(here))}
    assert "by hand" in found["Claude Desktop"].repair and "writes it anew" not in found["Claude Desktop"].repair
    assert "writes it anew" in found["Cursor"].repair
    broken = found["Gemini CLI"]
    assert (broken.message.count("settings.json"), "by hand" in broken.repair) == (1, True)


def test_a_server_that_says_nothing_is_not_waited_for(here: Here, tmp_path: Path) -> None:
    folder = tmp_path / "servers"
    folder.mkdir()
    assert "did not answer" in Probe(script(folder, "exec sleep 60"), here.environment, folder, 0.2).problem()
    assert "closed its stdout" in Probe(script(folder, "exec cat >/dev/null 2>&1", ""), here.environment, folder).problem()


def test_what_a_projects_own_file_names_is_not_started(here: Here, repo: Repo, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for entry in (
        {"command": "/bin/sh", "args": ["-c", f"touch {touched}"]},
        {"command": str(WORKSPACES), "args": ["serve"], "env": {"A": "b"}},
    ):
        repo.write(".cursor/mcp.json", json.dumps({"mcpServers": {"workspaces": entry}}))
        (found,) = look(Installer(here))
        assert (found.ok, "not started" in found.message) == (False, True)
    assert not touched.exists()


def test_a_file_that_cannot_be_read_is_told(here: Here, repo: Repo) -> None:
    repo.write(".vscode/mcp.json", "{")
    (found,) = look(Installer(here))
    assert isinstance(found, Finding)
    assert ("broken at line 1" in found.message, found.ok) == (True, False)


# -- Claude Code's hooks ------------------------------------------------------------------------------------------------------------------


def asked(event: str, folder: Path, **said: str) -> str:
    """Return what Claude Code sends, as code.claude.com/docs/en/hooks documents it."""
    common = {"session_id": "abc123", "transcript_path": "/home/ann/.claude/projects/shop/00893aaf.jsonl", "cwd": str(folder)}
    return json.dumps({**common, "hook_event_name": event, **said})


def hook(event: str, folder: Path, **said: str) -> str:
    """Answer a hook in this process, and return what goes to stdout."""
    return answer(asked(event, folder, **said), Project.initialize, folder)[0]


def test_a_subagents_worktree_is_a_workspace(repo: Repo) -> None:
    repo.write("notes.md", "uncommitted\n")
    made = run(repo.path, "hook", stdin=asked("WorktreeCreate", repo.path, name="bold-oak-a3f2")).stdout
    location = Path(made.removesuffix("\n"))
    assert (location.is_absolute(), location.name) == (True, "bold-oak-a3f2")
    assert (location / "notes.md").read_text() == "uncommitted\n"
    assert hook("WorktreeCreate", repo.path, name="bold-oak-a3f2") == str(location)
    nested = hook("WorktreeCreate", location, name="feature/login")
    assert Project.open(repo.path).find(nested).parent == "shop/bold-oak-a3f2"
    hook("WorktreeRemove", repo.path, worktree_path=nested)
    assert not Path(nested).exists()


def test_what_a_subagent_did_outlasts_its_worktree(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    told = run(repo.path, "hook", stdin=asked("WorktreeRemove", repo.path, worktree_path=str(fix.path)), status=5)
    assert ("unmerged" in told.stderr, told.stdout, fix.read("cart.py")) == (True, "", "mine\n")
    project.merge("fix")
    hook("WorktreeRemove", repo.path, worktree_path=str(fix.path))
    assert not fix.path.exists()


def test_a_hook_never_gives_out_or_removes_the_users_own_checkout(project: Project, repo: Repo) -> None:
    assert hook("WorktreeCreate", repo.path, name="main") not in ("", project.find("main").location)
    with pytest.raises(Protected):
        hook("WorktreeRemove", repo.path, worktree_path=str(repo.path))
    assert (repo.path / "cart.py").exists()


@pytest.mark.parametrize("stdin", ["", "[]", '{"hook_event_name": "Stop"}', '{"hook_event_name": "WorktreeRemove"}'])
def test_a_hook_that_is_not_understood_makes_nothing(repo: Repo, stdin: str) -> None:
    with pytest.raises(InvalidArgument):
        answer(stdin, Project.initialize, repo.path)
