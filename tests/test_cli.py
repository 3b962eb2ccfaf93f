"""The command line, as a person or a script runs it."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conformance.forking import program
from support import WORKSPACES, Repo, clone, fingerprint

from workspaces import Project
from workspaces.backend import find
from workspaces.model import now
from workspaces.store import Store

COMMANDS = "init clone list status compare diff merge delete restore checkpoint undo log path run serve doctor"


def run(repo: Repo, *args: str, status: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line and expect an exit status; no traceback ever."""
    done = subprocess.run([*program(), *args], cwd=cwd or repo.path, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done


def answer(repo: Repo, *args: str, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(repo, *args, "--json", status=status).stdout)
    return found


@pytest.fixture
def shop(repo: Repo) -> Repo:
    run(repo, "init")
    return repo


def test_the_project_is_what_is_asked_for_or_the_environment_names(shop: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Repo.create(tmp_path / "other")
    other.write("a.txt", "a\n")
    other.commit("start")
    run(other, "init")

    def project(*args: str) -> str:
        return str(answer(shop, *args, "list")["workspaces"][0]["project"])

    assert project() == "shop"
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(other.path))
    assert project() == "other"
    monkeypatch.setenv("WORKSPACES_PROJECT", str(shop.path))
    assert project() == "shop"
    assert project("--project", str(other.path)) == "other"


def test_a_folder_that_is_named_is_from_here(shop: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(shop.path))
    (tmp_path / "near").mkdir()
    for at, words, root in (
        (tmp_path / "near", ["init", "."], "near"),
        (tmp_path, ["-C", "near", "init", "."], "near"),
        (tmp_path, ["init"], "shop"),
    ):
        told = json.loads(run(shop, *words, "--json", cwd=at).stdout)
        assert told["workspace"]["location"] == str(tmp_path / root)


def test_the_loop_by_hand(repo: Repo) -> None:
    assert "✓" in run(repo, "init").stderr
    made = run(repo, "clone", "-n", "3", "--task", "Fix login race")
    assert re.findall(r"✓ (\S+)", made.stderr) == ["fix-login-race-1", "fix-login-race-2", "fix-login-race-3"]
    for number in (1, 2):
        (repo.path / f".workspaces/fix-login-race-{number}/cart.py").write_text(f"{number}\n")
    tree = run(repo).stdout
    assert re.search(r"^@ main +clean", tree, re.MULTILINE)
    assert re.search(r"├─ fix-login-race-1 +ready +1 \+1 -20", tree)
    ages = re.compile(r" (?:now|\d+[smhd]) ")
    assert ages.sub("", tree).split() == ages.sub("", run(repo, "list").stdout).split()
    compared = run(repo, "compare")
    assert "✓ merges" in compared.stdout
    assert "fix-login-race-1 and fix-login-race-2 conflict in cart.py" in compared.stdout
    assert "+1\n" in run(repo, "diff", "fix-login-race-1").stdout
    merged = run(repo, "merge", "fix-login-race-1", "-d").stderr
    assert "✓ Merged fix-login-race-1 into main: 1 file +1 -20" in merged
    assert "workspaces undo" in merged
    refused = run(repo, "merge", "fix-login-race-2", status=4).stderr
    assert "Not merged: 1 conflicting path" in refused
    assert "--on-conflict markers" in refused
    assert "unmerged work" in run(repo, "delete", "fix-login-race-2", status=5).stderr
    assert "undo" in run(repo, "delete", "--all", "--discard-unmerged").stderr
    run(repo, "undo")
    run(repo, "restore", "fix-login-race-1")
    assert "fix-login-race-1" in run(repo, "log").stdout
    looked = run(repo, "doctor")
    assert "all well" in looked.stdout
    assert "✓ journal: " in looked.stdout  # the answer, which a person may search


def test_json_is_the_model_of_the_tools(shop: Repo) -> None:
    made = answer(shop, "clone", "--name", "fix", "--task", "x")
    location = Path(made["workspaces"][0]["location"])
    (location / "cart.py").write_text("mine\n")
    assert answer(shop, "init")["project"] == "shop"
    assert answer(shop, "list") == answer(shop, "status")
    assert answer(shop, "status", "fix")["workspaces"][0]["files_changed"] == 1
    assert answer(shop, "compare", "fix")["workspaces"][0]["merge"] == "clean"
    assert answer(shop, "compare", "--files")["files"][0]["path"] == "cart.py"
    assert "+mine" in answer(shop, "diff", "fix")["diff"]
    assert answer(shop, "checkpoint", "fix")["restore_point"] == "fix@1"
    assert answer(shop, "path", "fix")["location"] == str(location)
    assert answer(shop, "merge", "fix", "--dry-run")["status"] == "would_merge"
    assert answer(shop, "merge", "fix")["status"] == "merged"
    assert answer(shop, "delete", "fix")["deleted"] == ["shop/fix"]
    assert answer(shop, "undo")["operations"][0]["verb"] == "delete"
    assert answer(shop, "restore", "main")["workspace"]["name"] == "main"
    assert answer(shop, "log", "-n", "1")["operations"][0]["verb"] == "restore"
    assert answer(shop, "doctor")["findings"][0]["ok"] is True


def test_the_tree_has_each_below_what_it_was_made_from(shop: Repo) -> None:
    project = Project.open(shop.path)
    for source, name in (("main", "above"), ("above", "below")):
        project.clone(source, name=name)
    project.delete(["below", "above"])
    for source, name in (("main", "above"), ("above", "beside")):
        project.clone(source, name=name)
    project.restore("below")
    tree = run(shop, "list", "--deleted").stdout
    assert sorted(re.findall(r"^([ │├└─]+)(\w+)", tree, re.MULTILINE)) == sorted(
        [("├─ ", "below"), ("├─ ", "above"), ("│  └─ ", "beside"), ("└─ ", "above")]
    )


@pytest.mark.parametrize(
    ("args", "status", "code"),
    [
        (["merge", "nope"], 3, "not_found"),
        (["merge", "main"], 2, "invalid_argument"),
        (["clone", "--name", "-rf"], 2, "invalid_name"),
        (["clone", "--name", "a/b"], 2, "invalid_name"),
        (["delete", "main"], 5, "protected"),
        (["path", "--", "--output=pwned"], 3, "not_found"),
        (["restore", "main"], 3, "not_found"),
        (["undo"], 3, "not_found"),
        (["delete"], 2, "invalid_argument"),
    ],
)
def test_errors_are_for_the_reader_and_for_scripts(shop: Repo, args: list[str], status: int, code: str) -> None:
    before = fingerprint(shop)
    spoken = run(shop, *args, status=status)
    assert spoken.stderr.startswith("✗ ")
    assert spoken.stdout == ""
    at = args.index("--") if "--" in args else len(args)
    found = json.loads(run(shop, *args[:at], "--json", *args[at:], status=status).stdout)["error"]
    assert found["code"] == code
    assert fingerprint(shop) == before


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("con", "a device on Windows"),
        ("LPT1", "a device on Windows"),
        ("a..b", "'..'"),
        ("x.lock", "'.lock'"),
        ("x.", "ends with '.'"),
        (".x", "begins with '.'"),
        ("a b", "' '"),
        ("a/b", "'/'"),
        ("x" * 64, "64 characters long"),
        ("main", "the project itself"),
    ],
)
def test_a_name_that_cannot_be_is_told_why(shop: Repo, name: str, rule: str) -> None:
    assert rule in run(shop, "clone", "--name", name, status=2).stderr.splitlines()[0]


def test_status_tells_people_and_scripts_what_a_workspace_takes(shop: Repo) -> None:
    run(shop, "clone", "--name", "fix")
    assert "shared" in run(shop, "status", "fix", "--detail", "full").stdout
    assert "shared" not in run(shop, "status", "fix").stdout
    found = answer(shop, "status", "fix", "--detail", "full")
    assert found["workspaces"][0]["disk"]["size"] > 0


def test_a_comparison_of_none_is_a_model_too(shop: Repo) -> None:
    for words in ([], ["--ranking"], ["--files"]):
        found = answer(shop, "compare", *words)
        assert found["summary"].startswith("No workspaces yet")
        assert "workspaces" not in found


@pytest.mark.parametrize(
    "args",
    [
        ["run", "main", "--"],
        ["log", "-n", "99999999999999999999"],
        ["undo", "99999999999999999999"],
        ["clone", "--lease", "99999999999999999999"],
        ["lease", "main", "99999999999999999999"],
        ["token", "create", "ann", "--days", "1e300"],
    ],
)
def test_what_is_out_of_range_is_a_matter_of_usage(shop: Repo, args: list[str]) -> None:
    said = run(shop, *args, status=2).stderr
    assert "bug" not in said


def test_folders_can_be_named_as_they_are_printed(shop: Repo) -> None:
    for name in ("fix", "other"):
        run(shop, "clone", "--name", name)
        (shop.path / f".workspaces/{name}/cart.py").write_text(f"{name}\n")
    fix, other = (str(shop.path / ".workspaces" / name) for name in ("fix", "other"))
    assert run(shop, "path", ".workspaces/fix").stdout.strip() == fix
    assert run(shop, "path", "fix/", cwd=shop.path / ".workspaces").stdout.strip() == fix
    assert run(shop, "path", "../other", cwd=Path(fix)).stdout.strip() == other
    assert run(shop, "path", "../..", cwd=Path(fix)).stdout.strip() == str(shop.path)
    assert "+fix" in run(shop, "diff", ".workspaces/fix").stdout
    assert "+fix" in run(shop, "diff", ".", "../other", cwd=Path(fix)).stdout
    shown = answer(shop, "compare", ".workspaces/fix", ".workspaces/other")
    assert len(shown["workspaces"]) == 2
    assert [each["name"] for each in json.loads(run(shop, "status", ".", "--json", cwd=Path(fix)).stdout)["workspaces"]] == ["fix"]
    (shop.path / "shop" / "other").mkdir(parents=True)
    assert run(shop, "path", "shop/other").stdout.strip() == other, "an id is no folder"
    assert "✓ Merged fix" in run(shop, "merge", ".", cwd=Path(fix)).stderr
    assert "auth" in run(shop, "path", "./auth", status=3).stderr
    run(shop, "delete", ".workspaces/fix", ".workspaces/other", "--discard-unmerged")


STOPPED = """import os, signal, sys
class Stop:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "{module}": os.kill(os.getpid(), signal.SIGINT)
sys.argv[1:] = {words!r}
from workspaces.{entry} import {function}
sys.meta_path.insert(0, Stop)
{function}()"""
"""A program to which Ctrl-C comes while it loads something."""


@pytest.mark.parametrize(
    ("words", "module"),
    [
        *((["list"], module) for module in ("typer", "workspaces.telemetry", "workspaces.terminal.screen", "workspaces.errors")),
        (["compare"], "pydantic"),
        (["compare"], "workspaces.overview"),
        (["serve"], "workspaces.terminal.failures"),
        (["serve"], "workspaces.server.app"),
        (["serve"], "anyio"),
        (["--http", "127.0.0.1:0"], "mcp"),
    ],
)
def test_a_command_that_is_stopped_while_it_loads_shows_no_traceback(shop: Repo, words: list[str], module: str) -> None:
    entry, function = ("starting", "server") if words[0] == "--http" else ("terminal.start", "main")
    script = STOPPED.format(module=module, words=words, entry=entry, function=function)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=shop.path, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    assert done.returncode in (-signal.SIGINT, 130), done
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize("program", [["workspaces", "serve"], ["mcp-workspaces"]])
def test_a_server_that_is_stopped_has_nothing_to_say_of_it(shop: Repo, program: list[str]) -> None:
    command = [str(Path(WORKSPACES).with_name(program[0])), *program[1:], "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=shop.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr
        while not (told := re.search(rb"http://([\d.]+):(\d+)", process.stderr.readline())):
            assert process.poll() is None
        with socket.create_connection((told[1].decode(), int(told[2])), timeout=60) as asked:
            asked.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert asked.recv(1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert b"What was begun" not in said
    assert b"Traceback" not in said
    assert process.returncode in (0, 130)


def test_usage_is_explained(shop: Repo) -> None:
    assert run(shop, "nope", status=2).stdout == ""
    assert run(shop, "clone", "-n", "0", status=2).stdout == ""
    assert run(shop, "--version").stdout.strip()
    top = run(shop, "--help").stdout
    for command in COMMANDS.split():
        assert f" {command} " in top
        assert "Usage" in run(shop, command, "--help").stdout


def test_a_folder_by_hand(tmp_path: Path) -> None:
    folder = Repo(tmp_path / "survey")
    folder.write("table.csv", "1,2\n")
    assert "no project" in run(folder, "list", status=3).stderr
    refused = run(folder, "clone", "--json", status=3)
    assert json.loads(refused.stdout)["error"]["code"] == "no_project"
    assert "workspaces init" in run(folder, "clone", status=3).stderr
    assert not (folder.path / ".workspaces").exists()
    assert "directory backend" in run(folder, "init").stderr
    run(folder, "clone", "--name", "fix")
    (folder.path / ".workspaces/fix/table.csv").write_text("3,4\n")
    assert "✓ merges" in run(folder, "compare").stdout
    run(folder, "merge", "fix", "-d")
    assert folder.read("table.csv") == "3,4\n"
    run(folder, "undo")
    assert folder.read("table.csv") == "1,2\n"
    assert "backend" in run(folder, "init", "--backend", "wroktree", status=1).stderr


def test_outside_of_a_project(tmp_path: Path, repo: Repo) -> None:
    assert "in no project" in run(repo, "list", status=3, cwd=tmp_path).stderr
    assert "workspaces init" in run(repo, "list", status=3).stderr
    assert "✗" in run(repo, "-C", str(tmp_path / "missing"), "list", status=3).stderr


def test_the_project_is_found_from_everywhere(shop: Repo, tmp_path: Path) -> None:
    run(shop, "clone", "--name", "fix")
    folder = shop.path / ".workspaces" / "fix"
    assert run(shop, "path", "fix", cwd=folder / "auth").stdout.strip() == str(folder)
    assert run(shop, "-C", str(shop.path), "path", "shop/fix", cwd=tmp_path).stdout.strip() == str(folder)
    assert run(shop, "path", str(folder)).stdout.strip() == str(folder)


def test_run_works_in_the_workspace(shop: Repo) -> None:
    run(shop, "clone", "--name", "fix")
    folder = shop.path / ".workspaces" / "fix"
    said = run(shop, "run", "fix", "--", "sh", "-c", "pwd; echo $WORKSPACE; exit 7", status=7)
    assert said.stdout.split() == [str(folder), "shop/fix"]
    assert run(shop, "run", "fix", "--", "git", "status", "-sb").stdout.startswith("## HEAD")
    (folder / ".git").unlink()
    assert "not a git repository" in run(shop, "run", "fix", "--", "git", "status", status=128).stderr
    assert "was found" in run(shop, "run", "fix", "--", "no-such-program", status=3).stderr


def test_names_from_files_cannot_steer_the_terminal(shop: Repo) -> None:
    run(shop, "clone", "--name", "fix", "--task", "\x1b[31mred [bold]x[/bold]")
    (shop.path / ".workspaces" / "fix" / "evil\x1b]0;pwned\x07.txt").write_text("\x1b[2J\n")
    for args in (["compare", "--files"], ["list"], ["diff", "fix"], ["merge", "fix", "--dry-run"]):
        shown = _on_a_terminal(shop, *args)
        assert b"\x1b[2J" not in shown
        assert b"\x1b]0;" not in shown
        assert b"\x07" not in shown
    assert b"[bold]x[/bold]" in _on_a_terminal(shop, "list")


def _on_a_terminal(repo: Repo, *args: str) -> bytes:
    """Return what a person would see on a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    with subprocess.Popen([*program(), *args], cwd=repo.path, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = _until_its_end(ours)
        assert process.wait() == 0
    return shown


def _until_its_end(terminal: int) -> bytes:
    shown = b""
    with suppress(OSError):  # Linux ends a terminal whose program is gone with EIO
        while chunk := os.read(terminal, 65536):
            shown += chunk
    os.close(terminal)
    return shown


def test_colour_only_on_a_terminal(shop: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    run(shop, "clone", "--name", "fix")
    assert "\x1b" not in run(shop, "list").stdout
    assert b"\x1b[" in _on_a_terminal(shop, "list")
    monkeypatch.setenv("NO_COLOR", "1")
    assert b"\x1b[3" not in _on_a_terminal(shop, "list")


def test_a_diff_side_by_side(shop: Repo) -> None:
    run(shop, "clone", "--name", "fix")
    made = shop.path / ".workspaces" / "fix"
    (made / "auth" / "api.py").write_text("def login():\n    return '\x1b]0;gone\x07'\n")
    beside = _plain(_on_a_terminal(shop, "diff", "fix")).splitlines()
    assert any("return True" in line and "return '\\x1b]0;gone\\x07'" in line for line in beside)
    below = _plain(_on_a_terminal(shop, "diff", "fix", "--unified")).splitlines()
    assert "-    return True" in below
    assert "-    return True\n+    return '\x1b]0;gone\x07'\n" in run(shop, "diff", "fix").stdout


def test_a_long_diff_goes_through_the_persons_pager(shop: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(shop, "clone", "--name", "fix")
    (shop.path / ".workspaces" / "fix" / "long.txt").write_text("".join(f"row {number}\n" for number in range(500)))
    monkeypatch.setenv("PAGER", f"cat > {tmp_path / 'paged'}")
    assert b"row 7" not in _on_a_terminal(shop, "diff", "fix")
    assert "row 499" in (tmp_path / "paged").read_text()
    assert "row 499" in run(shop, "diff", "fix").stdout
    monkeypatch.setenv("PAGER", "no-such-program")
    assert b"row 499" in _on_a_terminal(shop, "diff", "fix")


def _plain(shown: bytes) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


def test_a_conflict_is_resolved_by_what_is_said(shop: Repo) -> None:
    """Into main, in the clone, from which it is merged then; of a clone that is brought up to date, right there."""
    run(shop, "clone", "--name", "login-1")
    Repo(shop.path / ".workspaces" / "login-1").write("cart.py", "theirs\n")
    shop.write("cart.py", "ours\n")
    shop.commit("ours")
    for words, said, again in (
        (("merge", "login-1"), "workspaces merge main login-1 --on-conflict markers", ", workspaces merge login-1"),
        (("merge", "main", "login-1"), "workspaces merge main login-1 --on-conflict markers", ""),
    ):
        (line,) = [line for line in run(shop, *words, status=4).stderr.splitlines() if "resolve:" in line]
        assert line == f"  resolve: {said}, edit the files{again}"
    run(shop, *shlex.split(said)[1:])


def test_who_conflicts_with_whom_as_a_matrix(shop: Repo) -> None:
    run(shop, "clone", "-n", "4", "--name", "try")
    for number in (1, 2, 3):
        (shop.path / ".workspaces" / f"try-{number}" / "cart.py").write_text(f"{number}\n")
    shown = run(shop, "compare").stdout
    assert "  1 try-1     ✗  ✗\n" in shown
    assert "try-1 and try-3 conflict in cart.py" in shown
    assert "cart.py: " in run(shop, "compare", "--outline").stdout


def test_names_are_completed(shop: Repo, tmp_path: Path) -> None:
    run(shop, "clone", "--name", "login")
    run(shop, "clone", "--name", "logout")
    assert completed(shop.path, "merge", "log") == {"login", "logout"}
    assert completed(tmp_path, "-C", str(shop.path), "path", "login") == {"login"}
    assert completed(tmp_path, f"--project={shop.path}", "merge", "login", "logo") == {"logout"}
    run(shop, "delete", "login")
    assert completed(shop.path, "merge", "log") == {"logout"}
    assert completed(shop.path, "restore", "log") == {"login", "logout"}


def completed(folder: Path, *words: str) -> set[str]:
    """Return what a shell is offered for the last of these words."""
    asked = {"COMP_WORDS": shlex.join(["workspaces", *words]), "COMP_CWORD": str(len(words)), "_WORKSPACES_COMPLETE": "complete_bash"}
    done = subprocess.run(program(), cwd=folder, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    return {*done.stdout.split()}


def test_a_broken_pipe_is_quiet(shop: Repo) -> None:
    with subprocess.Popen([WORKSPACES, "list"], cwd=shop.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_bug(shop: Repo, closed: str) -> None:
    clone(Project.open(shop.path), "fix").write("cart.py", "mine\n")
    for words in (["diff", "fix"], ["list"], ["trust"], ["run", "fix", "--", "true"], ["merge", "fix", "-i"]):
        command = f"{WORKSPACES} {shlex.join(words)} {closed}"
        done = subprocess.run(["bash", "-c", command], cwd=shop.path, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, "bug" in done.stderr) == (0, False), (words, done.stderr)


@pytest.mark.parametrize("away", ["2>&-", "2>/dev/full", "2>/dev/null"])
def test_narration_that_nobody_hears_fails_nothing(shop: Repo, away: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = ["bash", "-c", f"{WORKSPACES} clone --name fix {away}"]
    done = subprocess.run(command, cwd=shop.path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0
    assert (shop.path / ".workspaces" / "fix").is_dir()


def test_bytes_that_are_no_text(shop: Repo) -> None:
    odd = b"caf\xe9".decode(errors="surrogateescape")
    run(shop, "clone", "--name", "fix", "--task", f"about {odd}")
    (shop.path / ".workspaces" / "fix" / odd).write_text("mine\n")
    assert answer(shop, "merge", "fix", "-p", odd)["files"][0]["path"] == '"caf\\351"'
    shown = subprocess.run(
        [WORKSPACES, "list"], cwd=shop.path, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False
    )
    assert shown.returncode == 0


def test_a_working_directory_that_is_gone(shop: Repo, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"mkdir {tmp_path}/x; cd {tmp_path}/x; rmdir ../x; {WORKSPACES} list"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "working directory" in done.stderr) == (3, True)


def test_nothing_is_cut_off_in_a_pipe(shop: Repo) -> None:
    run(shop, "clone", "--name", "fix")
    long = "a-rather-long-folder-name/" * 4 + "file.txt"
    file = shop.path / ".workspaces" / "fix" / long
    file.parent.mkdir(parents=True)
    file.write_text("x\n")
    assert long in run(shop, "compare", "--files").stdout


def test_an_answer_that_cannot_be_written_is_a_failure(shop: Repo) -> None:
    for command in ("list", "list --json", "path main"):
        done = subprocess.run(
            ["bash", "-c", f"{WORKSPACES} {command} >/dev/full"], cwd=shop.path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr


def lapse(repo: Repo, name: str) -> None:
    """Let a lease have ended an hour ago."""
    project = Project.open(repo.path)
    Store(find(repo.path).home / "store.sqlite").lease(project.find(name).uid, 60, now() - timedelta(hours=1), "")


def test_a_comparison_of_all_leaves_what_is_abandoned_so(shop: Repo) -> None:
    assert "No workspaces yet" in run(shop, "compare").stderr
    run(shop, "clone", "--name", "fix", "--lease", "60")
    lapse(shop, "fix")
    assert "fix" in run(shop, "compare").stdout
    assert answer(shop, "status")["workspaces"][1]["state"] == "abandoned"
    run(shop, "compare", "fix")
    assert answer(shop, "status")["workspaces"][1]["state"] == "ready"


def test_what_destroys_says_how_to_undo_it(shop: Repo) -> None:
    run(shop, "clone", "--name", "fix", "--lease", "60")
    there = fingerprint(Repo(shop.path / ".workspaces/fix"))
    lapse(shop, "fix")
    commands = [["gc", "--abandoned", "--yes"], ["delete", "fix"], ["merge", "fix", "-d"]]
    for command in commands:
        assert "↳ workspaces undo" in run(shop, *command).stderr
        assert not (shop.path / ".workspaces/fix").exists()
        run(shop, "undo")
        assert fingerprint(Repo(shop.path / ".workspaces/fix")) == there
    run(shop, "delete", "fix")
    assert "↳ workspaces undo" in run(shop, "restore", "fix").stderr
    run(shop, "undo")
    assert not (shop.path / ".workspaces/fix").exists()
    assert "↳" not in run(shop, "gc", "--abandoned", "--dry-run").stderr


def test_gc_tells_before_it_asks_and_a_program_in_json_alone(shop: Repo) -> None:
    run(shop, "clone", "--name", "fix")
    run(shop, "delete", "fix")
    (gone,) = (store := Store(find(shop.path).home / "store.sqlite")).workspaces("shop", ("deleted",))
    month = timedelta(days=-30)
    store.save(gone.model_copy(update={"deleted": now() + month, "restorable_until": now() + month}), "deleted")
    assert "fix" in run(shop, "gc", status=2).stdout
    assert "cannot be undone" in answer(shop, "gc", status=2)["error"]["message"]
    for options in (["--dry-run"], ["--yes"]):
        assert [each["id"] for each in answer(shop, "gc", *options)["freed"]] == ["shop/fix"]


def test_a_merge_that_only_deletes_says_so(shop: Repo) -> None:
    run(shop, "clone", "--name", "fix")
    said = run(shop, "merge", "fix", "-d").stderr
    assert "= main has all of fix already. Nothing was merged. Deleted fix (restorable until" in said
    run(shop, "clone", "--name", "fix")
    assert "Nothing was changed." in run(shop, "merge", "fix").stderr


def test_on_a_terminal_it_is_said_at_once_that_a_call_is_stopped(shop: Repo) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*program(), "clone", "-n", "40", "--name", "many"], cwd=shop.path, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        while not list((shop.path / ".workspaces").glob("many-*")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        shown = _until_its_end(ours)
        assert process.wait() == 130
    assert shown.index(b"stopping ...") < shown.index(b"Stopped. What was begun")


def test_a_call_that_is_stopped_says_what_becomes_of_it(shop: Repo) -> None:
    command = [*program(), "clone", "-n", "40", "--name", "many", "--json"]
    with subprocess.Popen(command, cwd=shop.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list((shop.path / ".workspaces").glob("many-*")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["error"]["code"]) == (130, "interrupted"), said
    assert [each["name"] for each in answer(shop, "status")["workspaces"]] == ["main"]
    assert "all well" in run(shop, "doctor").stdout
