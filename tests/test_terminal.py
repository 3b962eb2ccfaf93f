"""What a person sees on a terminal: nothing that counts is cut, whatever fits, and what is printed can be typed."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import termios
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conformance.forking import program
from support import Repo, clone
from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

from workspaces import Project
from workspaces.asked import Asked
from workspaces.terminal import asking
from workspaces.terminal.typed import typed
from workspaces.wording import call

LONG = "fix-the-login-race-by-a-lock-in-the-session-store"


def seen(repo: Repo, columns: int, *args: str, status: int = 0) -> list[str]:
    """Return the lines that a person would see on a terminal so wide, where the terminal wraps as it does, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen([*program(), *args], cwd=repo.path, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        os.write(ours, b"n\n" if "trust" in args else b"")
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # Linux ends a terminal whose program is gone with EIO
            pass
        os.close(ours)
        assert process.wait() == status, shown
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r\n", "\n").splitlines()


@pytest.fixture
def shop(repo: Repo) -> Repo:
    Project.initialize(repo.path)
    return repo


# -- what is asked to be trusted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_what_is_to_be_trusted_is_shown_whole(shop: Repo, columns: int) -> None:
    hidden = f"pytest -q {'x' * 70}" + " " * 90 + "; touch /tmp/tripped\\r\\u001b[2K"
    shop.write("workspaces.toml", f'[checks.a-name-of-some-length]\nrun = "{hidden}"\n')
    shop.git("config", "filter.crypt.clean", "tr a-z n-za-m; touch /tmp/second")
    lines = seen(shop, columns, "trust", status=1)
    assert all(len(line) <= columns for line in lines if line.startswith("  │ "))
    whole = "".join(line.removeprefix("  │ ") for line in lines if line.startswith("  │ "))
    assert f"pytest -q {'x' * 70}{' ' * 90}; touch /tmp/tripped\\r\\x1b[2K" in whole
    assert "tr a-z n-za-m; touch /tmp/second" in whole
    assert "check a-name-of-some-length  run" in lines
    assert "filter crypt  clean" in lines


def test_a_command_of_several_lines_cannot_pose_as_several(shop: Repo) -> None:
    shop.write("workspaces.toml", '[checks.test]\nrun = "true\\ncheck lint  run\\n\\ttouch x"\n')
    for lines in (seen(shop, 80, "trust", status=1), plain(shop, "trust", status=1).stdout.splitlines()):
        assert "check test  run" in lines
        assert "check lint  run" not in lines
        assert "  │ true" in lines and "  │ check lint  run" in lines and "  │ \\ttouch x" in lines


def plain(repo: Repo, *args: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [*program(), *args]
    done = subprocess.run(command, cwd=repo.path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done


# -- tables -------------------------------------------------------------------------------------------------------------------------------


def cut(lines: list[str]) -> list[str]:
    """Return lines without what the tree draws, and one space where there are several."""
    return [" ".join(re.sub(r"[@│├└─]", " ", line).split()) for line in lines]


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120])
def test_numbers_ages_and_states_are_never_cut(shop: Repo, columns: int) -> None:
    project = Project.open(shop.path)
    for name in (f"{LONG}-1", f"{LONG}-2"):
        (made,) = project.clone(name=name, task="Fix the login race, which shows when two come at once").workspaces
        Path(made.location, "cart.py").write_text("1\n")
    for command in ("list", "status", "compare"):
        lines = seen(shop, columns, command)
        text = "\n".join(cut(lines))
        assert text.count("1 +1 -20") == 2, text
        assert command == "compare" or text.count("ready 1 +1 -20") == 2, text
        assert command == "compare" or len(re.findall(r"^.*ready.* (?:now|\d+[smhd])(?: .*)?$", text, re.MULTILINE)) == 2, text
        width = lines[0].index("State" if command != "compare" else "Changes")
        names = "".join(re.sub(r"[^a-z0-9-]", "", line[:width]) for line in lines[1:])
        assert f"{LONG}-1" in names and f"{LONG}-2" in names, names
        assert len(lines) < 30


def test_what_is_free_text_gives_way_and_says_so(shop: Repo) -> None:
    project = Project.open(shop.path)
    project.clone(name="fix", task="Fix the login race, which shows itself when two sessions begin at the same moment in time")
    wide, narrow, tiny = (seen(shop, columns, "list") for columns in (200, 80, 40))
    assert any(line.endswith("moment in time") for line in wide)
    assert any("Fix the login race" in line and line.endswith("…") and len(line) <= 80 for line in narrow)
    assert len(wide) == len(narrow) == len(tiny)
    assert "Task" not in tiny[0]


def test_the_log_keeps_the_number_that_undo_needs(shop: Repo) -> None:
    project = Project.open(shop.path)
    made = project.clone(count=4, name=LONG)
    project.delete([each.name for each in made.workspaces])
    numbers = [str(each.id) for each in project.log(30).operations]
    for columns in (40, 80, 100):
        lines = [line.split() for line in seen(shop, columns, "log")[1:]]
        assert [words[0] for words in lines if words[0].isdigit()] == numbers
        assert max(map(len, seen(shop, columns, "log"))) <= columns


def test_what_is_told_of_each_file_is_folded(shop: Repo) -> None:
    deep = "a-rather-long-folder-name/" * 4 + "file.txt"
    clone(Project.open(shop.path), "fix").write(deep, "x\n")
    lines = seen(shop, 80, "compare", "--files")
    at = next(number for number, line in enumerate(lines) if line.startswith("File"))
    width = lines[at].index("Change")
    assert deep in "".join(line[:width].strip() for line in lines[at + 1 :])
    assert any("added" in line and "+1 -0" in line for line in lines)


MANY = 700
"""Files whose names are longer than a page of a server's answer."""


@pytest.fixture
def many(shop: Repo) -> Repo:
    """Two attempts that made the same many files, each its own way."""
    project = Project.open(shop.path)
    for name in ("a", "b"):
        made = clone(project, name)
        for number in range(MANY):
            made.write(f"{'folder/' * 20}{number}.txt", f"{name}\n")
    return shop


def test_every_file_and_every_conflict_is_listed_where_a_person_reads(many: Repo) -> None:
    assert plain(many, "compare", "a", "--files").stdout.count("folder/0.txt") == 1
    assert sum("added" in line for line in plain(many, "compare", "a", "--files").stdout.splitlines()) == MANY
    shown = plain(many, "compare")
    assert "conflict in" in shown.stdout and shown.stdout.count("and more") == 1
    assert f"{MANY - 20} conflicts of pairs more, not listed: workspaces compare --conflicts lists all." in shown.stderr
    assert sum(line.endswith("add/add") for line in plain(many, "compare", "--conflicts").stdout.splitlines()) == MANY


def test_all_other_files_are_merged_however_many_they_are(many: Repo) -> None:
    many.write(f"{'folder/' * 20}0.txt", "mine\n")
    project = Project.open(many.path)
    done = asking.merge(project, Asked("a"), project.merge_as, lambda _question, letters: letters[0])
    assert done is not None and done.status == "merged"
    assert len(list((many.path / ("folder/" * 20)).iterdir())) == MANY


# -- what to do next ----------------------------------------------------------------------------------------------------------------------

TOOLS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "tools.json").read_text())


def parsed(line: str) -> tuple[str, dict[str, object]]:
    """Return the command that a line means, and what it is given, as the program itself reads it. Fails for one that it does not know."""
    program, name, *words = shlex.split(line)
    top = get_command(import_module("workspaces_cli.cli").app)
    assert isinstance(top, TyperGroup)
    assert program == "workspaces"
    found = top.get_command(Context(top), name)
    assert found, name
    with found.make_context(name, words) as context:
        return name, {key: value for key, value in context.params.items() if value not in (None, "", False, [])}


def examples(name: str, schema: dict[str, Any]) -> list[str | int | list[str]]:
    """Return values that an argument of a tool may have."""
    kinds = schema.get("anyOf", [schema])
    allowed: list[str | int | list[str]] = [value for kind in kinds for value in kind.get("enum", ())]
    types = [kind.get("type") for kind in kinds]
    values: dict[str, list[str | int | list[str]]] = {
        "boolean": [True, False],
        "integer": [7],
        "number": [7],
        "array": [["shop/it's"], ["shop/a b", "shop/c"]] if name != "paths" else [['"caf\\351"', "it's"]],
        "string": ["shop/it's" if name in ("source", "target", "workspace", "base") else 'it\'s a "word"'],
    }
    return allowed or [value for kind in types for value in values.get(kind, [])]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: str(tool["name"]))
def test_whatever_a_hint_calls_can_be_typed(tool: dict[str, Any]) -> None:
    """Every argument that a tool has, alone and with the one that names a workspace, is a command that the program takes."""
    arguments: dict[str, Any] = tool["inputSchema"]["properties"]
    required = {name: examples(name, arguments[name])[0] for name in tool["inputSchema"].get("required", ())}
    for name, schema in arguments.items():
        for value in examples(name, schema):
            said = call(tool["name"], "so", **required | {name: value})
            if not said.endswith("()"):
                parsed(typed(said).removeprefix("so: "))


@pytest.mark.parametrize(
    ("hint", "command"),
    [
        ("delete(workspaces=['shop/login-2'], discard_unmerged=true)", "workspaces delete login-2 --discard-unmerged"),
        ("merge(source='shop/main', target='shop/a', on_conflict='markers')", "workspaces merge main a --on-conflict markers"),
        ("status(include_deleted=true)", "workspaces status --deleted"),
        ("status(wait_seconds=50)", "workspaces status"),
        ("compare(workspaces=['shop/a'], detail='diff')", "workspaces diff a"),
        ("compare(workspaces=['shop/a', 'shop/b'], detail='files')", "workspaces compare a b --files"),
        ("merge(source=['shop/a', 'shop/b'], paths=['x y'], delete_source=true)", "workspaces merge a --also b --path 'x y' --delete"),
        ("clone(source='shop/main', count=3)", "workspaces clone main --count 3"),
        ("checkpoint(workspace='shop/a', label='so')", "workspaces checkpoint a --label so"),
        ("call with children='delete', or", "call with --children delete, or"),
        ("delete again with discard_unmerged=true (restorable)", "delete again with --discard-unmerged (restorable)"),
        ("repeat it with if_target='abc'.", "repeat it with --if-target abc."),
        ("decided by on_conflict=source", "decided by --on-conflict source"),
        ("Leave include_uncommitted out.", "Leave --committed out."),
        ("No workspace 'dry_run', no file x/dry_run.py", "No workspace 'dry_run', no file x/dry_run.py"),
        ("merge(source='shop/a', paths=['dry_run', 'a]b'])", "workspaces merge a --path dry_run --path 'a]b'"),
        ("initialize(path='-x', name='y')", "workspaces init --name y -- -x"),
        ("3 more: detail='conflicts' lists all.", "3 more: workspaces compare --conflicts lists all."),
        ("compare with detail='files' lists them", "workspaces compare --files lists them"),
    ],
)
def test_a_call_is_told_as_what_a_person_types(hint: str, command: str) -> None:
    assert typed(hint) == command


@pytest.mark.parametrize(
    "text",
    [
        "Look at 'merge(source=[x])'.",
        "Look at 'delete(workspaces=[\"a\"], discard_unmerged=true)'.",
        "merge(source=[x])",
        "merge(source=[1])",
        r"merge(source='\x')",
        r"restore(workspace='\N{no}')",
        "merge(source='a\nb')",
        f"merge(source={'9' * 5000})",
    ],
)
def test_names_that_look_like_calls_are_names(text: str) -> None:
    assert typed(text) == text


def test_a_file_that_is_called_like_a_call_hides_no_result(shop: Repo) -> None:
    shop.write("merge(source=[x])", "1\n")
    shop.commit("before")
    project = Project.open(shop.path)
    clone(project, "fix").write("merge(source=[x])", "2\n")
    shop.write("merge(source=[x])", "3\n")
    shop.commit("theirs")
    assert "decided by --on-conflict union: 'merge(source=[x])'." in plain(shop, "merge", "fix", "--on-conflict", "union").stderr


def test_what_the_command_line_says_to_do_can_be_done(shop: Repo) -> None:
    project = Project.open(shop.path)
    clone(project, "fix").write("cart.py", "mine\n")
    clone(project, "child", "fix").write("notes.md", "mine\n")
    shop.write("cart.py", "ours\n")
    shop.commit("ours")
    failed = [
        (["delete", "fix"], 5),
        (["delete", "child"], 5),
        (["merge", "fix", "--on-conflict", "markers"], 2),
        (["merge", "fix", "--if-target", "0" * 40], 1),
        (["merge", "fix", "--path", "nope"], 2),
        (["restore", "nope"], 3),
        (["merge", "fix", "--dry-run"], 4),
    ]
    for words, status in failed:
        said = plain(shop, *words, status=status).stderr
        assert not re.search(r"\w\(\w+=|\w=(?:true|'|\[)|[a-z]_[a-z]+=", said), said
    assert "workspaces delete child --discard-unmerged" in plain(shop, "delete", "child", status=5).stderr
    plain(shop, "delete", "child", "--discard-unmerged")
    assert "workspaces status --deleted" in plain(shop, "restore", "nope", status=3).stderr
    assert "workspaces merge main fix --on-conflict markers" in plain(shop, "merge", "fix", "--on-conflict", "markers", status=2).stderr
