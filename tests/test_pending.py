"""A clone is there before its files are on the disk: what a power cut takes of them is made again, and nothing that anybody did is undone."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conformance.forking import python
from support import Repo, clone

from workspaces import Project

CLONES = """
import os, sys
from pathlib import Path
from workspaces import Project
project = Project.open(Path(sys.argv[1]))
project._write_out = lambda: None
project.clone(name="fix")
os._exit(0)
"""
"""A process that dies before it has the files written out."""
FILES = 60
TEXT = "".join(f"line {number} of a text that takes some blocks\n" for number in range(100))


@pytest.fixture
def large(project: Project, repo: Repo) -> Repo:
    for number in range(FILES):
        repo.write(f"src/part-{number % 7}/file-{number}.txt", f"{number}\n{TEXT}")
    (repo.path / "src/link").symlink_to("part-0/file-0.txt")
    repo.write("src/run.sh", f"#!/bin/sh\n{TEXT}").chmod(0o755)
    repo.commit("many")
    return repo


def notes(repo: Repo) -> list[Path]:
    folder = repo.path / ".git" / "workspaces" / "pending"
    return [*folder.iterdir()] if folder.exists() else []


def written_out() -> None:
    """Wait for what this process does beside."""
    for thread in threading.enumerate():
        if thread.name == "write-out":
            thread.join()


def left_pending(repo: Repo) -> Repo:
    """Return a clone whose process died before its files were written out."""
    subprocess.run([*python(), "-c", CLONES, str(repo.path)], env=dict(os.environ), check=True)
    assert len(notes(repo)) == 1
    return Repo(repo.path / ".workspaces" / "fix")


def power_cut(repo: Repo) -> None:
    """Let the machine be another start's from now on."""
    (note,) = notes(repo)
    contents, made, _ = json.loads(note.read_text())
    note.write_text(json.dumps([contents, made, "the start before"]))


def part(repo: Repo, name: str, text: bytes) -> None:
    """Let a file have been written out only so far."""
    before = (repo.path / name).stat()
    repo.write(name, text)
    os.utime(repo.path / name, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_clone_is_written_out_beside_what_comes_next(project: Project, large: Repo) -> None:
    clone(project, "fix")
    written_out()
    assert notes(large) == []


def test_what_a_power_cut_took_is_made_again(project: Project, large: Repo) -> None:
    large.write("src/part-1/file-1.txt", "uncommitted\n")
    large.write("new/file.txt", "untracked\n")
    fix = left_pending(large)
    before = {str(file.relative_to(fix.path)): file.read_bytes() for file in fix.path.rglob("*") if file.is_file()}
    status = fix.status()
    whole = fix.read("src/part-4/file-4.txt").encode()
    for name in ("cart.py", "src/part-2/file-2.txt", "new/file.txt", "src/link"):
        (fix.path / name).unlink()
    part(fix, "src/part-3/file-3.txt", b"")
    part(fix, "src/part-4/file-4.txt", whole[:512])
    part(fix, "src/part-5/file-5.txt", bytes(512) + fix.read("src/part-5/file-5.txt").encode()[512:])
    part(fix, "src/run.sh", b"")
    fix.write(".git", "")
    power_cut(large)
    assert [each.name for each in Project.open(large.path).status().workspaces] == ["main", "fix"]
    assert {str(file.relative_to(fix.path)): file.read_bytes() for file in fix.path.rglob("*") if file.is_file()} == before
    assert fix.status() == status
    assert os.access(fix.path / "src/run.sh", os.X_OK)
    assert notes(large) == []
    assert project.merge("fix").status == "up_to_date"


def test_what_was_done_since_then_stays(project: Project, large: Repo) -> None:
    fix = left_pending(large)
    fix.write("cart.py", "mine\n")
    fix.write("src/new.txt", "new\n")
    part(fix, "src/part-2/file-2.txt", b"brought with an old time\n")
    (fix.path / "src/part-3/file-3.txt").unlink()
    (fix.path / "src/part-3/file-3.txt").symlink_to("elsewhere")
    before = fix.status()
    power_cut(large)
    Project.open(large.path)
    assert (fix.read("cart.py"), fix.read("src/new.txt")) == ("mine\n", "new\n")
    assert fix.read("src/part-2/file-2.txt") == "brought with an old time\n"
    assert (fix.path / "src/part-3/file-3.txt").readlink() == Path("elsewhere")
    assert fix.status() == before


def test_a_folder_that_became_a_link_is_not_followed(project: Project, large: Repo, tmp_path: Path) -> None:
    fix = left_pending(large)
    (tmp_path / "outside").mkdir()
    (fix.path / "src/part-3").rename(tmp_path / "moved")
    (fix.path / "src/part-3").symlink_to(tmp_path / "outside")
    power_cut(large)
    Project.open(large.path)
    assert list((tmp_path / "outside").iterdir()) == []


def test_files_of_a_process_that_died_are_written_out_by_another(project: Project, large: Repo) -> None:
    left_pending(large)
    Project.open(large.path)
    (note,) = notes(large)
    long_ago = time.time() - 60
    os.utime(note, (long_ago, long_ago))
    Project.open(large.path)
    assert notes(large) == []


def test_a_disk_that_writes_nothing_out_at_the_moment_stops_no_call(
    project: Project, large: Repo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fix = left_pending(large)

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("workspaces.backends.worktree.pending.write_out", fails)
    assert [each.name for each in Project.open(large.path).status().workspaces] == ["main", "fix"]
    assert "cannot be written out yet" in caplog.text
    assert len(notes(large)) == 1
    monkeypatch.undo()
    (note,) = notes(large)
    os.utime(note, (0, 0))
    Project.open(large.path)
    assert notes(large) == []
    assert fix.status() == []


def test_a_note_that_another_process_takes_back_meanwhile_is_no_obstacle(
    project: Project, large: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_pending(large)
    (note,) = notes(large)
    read = json.loads

    def taken_back(text: bytes) -> object:
        note.unlink(missing_ok=True)
        return read(text)

    monkeypatch.setattr("workspaces.backends.worktree.pending.json.loads", taken_back)
    assert [each.name for each in Project.open(large.path).status().workspaces] == ["main", "fix"]


def test_a_delete_waits_for_what_is_pending(project: Project, large: Repo) -> None:
    fix = left_pending(large)
    project.delete(["fix"])
    assert notes(large) == []
    project.restore("fix")
    assert fix.status() == []


def test_what_was_never_acknowledged_is_set_aside(project: Project, large: Repo) -> None:
    """Of a clone that lost files it cannot be told whether somebody worked in it."""
    script = CLONES.replace(
        "project.clone", "from workspaces.store import Store\nStore.finish = lambda *a, **b: os._exit(9)\nproject.clone"
    )
    assert subprocess.run([*python(), "-c", script, str(large.path)], env=dict(os.environ), check=False).returncode == 9
    (large.path / ".workspaces/fix/cart.py").unlink()
    power_cut(large)
    told = Project.open(large.path).status(include_deleted=True).workspaces
    assert [(each.name, each.state) for each in told] == [("main", "ready"), ("fix", "deleted")]
    assert notes(large) == []
    Project.open(large.path).restore("fix")
    assert Repo(large.path / ".workspaces" / "fix").status() == []
