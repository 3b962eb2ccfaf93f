"""What a person sees on a terminal: nothing that counts is cut, whatever fits, and what is printed can be typed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from conformance.forking import program
from support import Repo, clone

from workspaces import Project

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
