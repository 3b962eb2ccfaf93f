"""`workspaces merge -i`: a person at a terminal is asked where a merge would stop; nobody else ever is."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest
from conformance.forking import program
from support import Repo, clone, fingerprint

from workspaces import Project


@pytest.fixture
def both(project: Project, repo: Repo) -> Repo:
    """A clone of which two files conflict with main's."""
    fix = clone(project, "fix")
    for folder, text in ((fix, "theirs"), (repo, "ours")):
        folder.write("cart.py", f"total = '{text}'\n")
        folder.write("notes.md", f"# {text}\n")
    fix.write("new.txt", "new\n")
    repo.commit("ours")
    return fix


def _answering(repo: Repo, answers: str, *args: str) -> tuple[int, str]:
    """Run a command at a terminal on which a person types, and return its exit status and all that was shown."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    with subprocess.Popen([*program(), *args], cwd=repo.path, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        os.write(ours, answers.encode())
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # Linux ends a terminal whose program is gone with EIO
            pass
        os.close(ours)
        return process.wait(), shown.decode(errors="replace")


def test_each_conflict_is_shown_and_decided(both: Repo, repo: Repo) -> None:
    status, shown = _answering(repo, "s\nu\n", "merge", "fix", "-i")
    assert status == 0
    assert "total = 'theirs'" in shown and "[s]ource" in shown
    assert (repo.read("cart.py"), repo.read("notes.md"), repo.read("new.txt")) == ("total = 'theirs'\n", "# ours\n# theirs\n", "new\n")
    assert repo.status() == []


@pytest.mark.parametrize("answers", ["q\n", "s\nq\n", "what?\nq\n", "\x04"])
def test_giving_up_changes_nothing(both: Repo, repo: Repo, answers: str) -> None:
    before = fingerprint(repo)
    status, shown = _answering(repo, answers, "merge", "fix", "-i")
    assert (status, "Nothing was merged" in shown) == (1, True)
    assert fingerprint(repo) == before


def test_markers_are_written_where_they_belong(project: Project, both: Repo, repo: Repo) -> None:
    before = fingerprint(repo)
    status, shown = _answering(repo, "m\nt\n", "merge", "fix", "-i")
    assert status == 0 and "edit the files" in shown
    assert fingerprint(repo) == before
    assert "<<<<<<< fix\n" in both.read("cart.py")
    assert both.read("notes.md") == "# ours\n"
    both.write("cart.py", "total = 'both'\n")
    assert project.merge("fix").status == "merged"
    assert (repo.read("cart.py"), repo.read("notes.md")) == ("total = 'both'\n", "# ours\n")


def test_work_in_the_way_is_asked_about(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("notes.md", "# theirs\n")
    fix.write("new.txt", "new\n")
    repo.write("notes.md", "# half done\n")
    status, shown = _answering(repo, "o\n", "merge", "fix", "-i")
    assert status == 0 and "notes.md" in shown
    assert (repo.read("notes.md"), repo.read("new.txt")) == ("# half done\n", "new\n")


def test_a_clean_merge_asks_nothing(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("new.txt", "new\n")
    status, shown = _answering(repo, "", "merge", "fix", "-i")
    assert (status, "[q]uit" in shown) == (0, False)


def test_without_a_terminal_nobody_is_asked(both: Repo, repo: Repo) -> None:
    before = fingerprint(repo)
    done = subprocess.run([*program(), "merge", "fix", "-i"], cwd=repo.path, input="s\ns\n", capture_output=True, text=True, check=False)
    assert (done.returncode, "[s]ource" in done.stderr) == (4, False)
    assert fingerprint(repo) == before


def test_odd_names_are_decided_by_their_very_name(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    names = ("a*[x]?.txt", "#hash ", "!not.txt", "with\\back.txt")
    for folder, text in ((fix, "theirs"), (repo, "ours")):
        for name in (*names, "axx.txt"):
            folder.write(name, f"{text}\n")
    repo.commit("ours")
    result = project.merge("fix", on_conflict="target", rules=dict.fromkeys(names, "source"))
    assert result.status == "merged"
    assert {Path(name).name: repo.read(name) for name in names} == dict.fromkeys(names, "theirs\n")
    assert repo.read("axx.txt") == "ours\n"


def test_several_sources(project: Project, repo: Repo) -> None:
    for name in ("one", "two", "three"):
        clone(project, name).write("same.txt" if name != "three" else "other.txt", f"{name}\n")
    done = subprocess.run([*program(), "merge", "one", "--also", "two", "--also", "three"], cwd=repo.path, capture_output=True, text=True)
    assert done.returncode == 4
    assert "Left out: two" in done.stderr
    assert (repo.read("same.txt"), repo.read("other.txt")) == ("one\n", "three\n")
