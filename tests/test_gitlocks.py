"""A lock of git's is somebody's as long as the git lives that may have made it, and nobody's afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conformance.forking import python
from support import Instead, Repo, clone, deleted_at

from workspaces import Project
from workspaces.errors import Busy, TargetMoved

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what other processes are at")

DIES = """
import os, sys
from pathlib import Path
from workspaces import Project
import workspaces.backends.worktree.checkout as checkout
def die(*args, **keywords):
    os._exit(9)
checkout._switch = checkout._updated_head = die
Project.open(Path(sys.argv[1])).merge("fix")
"""
WAITS = """#!/bin/sh
{when}
touch {begun}
while [ ! -e {go} ]; do sleep 0.02; done
"""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a lock be old as soon as it is there."""
    monkeypatch.setattr("workspaces.backends.worktree.checkout._ABANDONED", 0.0)


def until(there: Callable[[], bool]) -> None:
    late = time.monotonic() + 60
    while not there():
        assert time.monotonic() < late
        time.sleep(0.005)


@contextmanager
def started(folder: Repo, *command: str, **environment: str) -> Generator[subprocess.Popen[bytes]]:
    """Let what a person started be at work until the block ends."""
    with subprocess.Popen(
        command, cwd=folder.path, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def committing(folder: Repo, aside: Path) -> Generator[subprocess.Popen[bytes]]:
    """Let a person write a message, while git holds the index and has no file of it open. It is written when there is `go`."""
    editor, begun = aside / "editor", aside / "begun"
    editor.write_text(WAITS.format(when="", begun=begun, go=aside / "go") + 'echo mine > "$1"\n')
    editor.chmod(0o755)
    begun.unlink(missing_ok=True)
    with started(folder, "git", "commit", "-q", "-a", GIT_EDITOR=str(editor)) as process:
        until(begun.exists)
        yield process


def slow_transactions(repo: Repo, aside: Path) -> None:
    """Let gits that take refs away wait for `go` while they hold the packed ones."""
    hook = repo.path / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(WAITS.format(when='[ "$1" = prepared ] || exit 0', begun=aside / "begun", go=aside / "go"))
    hook.chmod(0o755)


def killed_merge(repo: Repo) -> Path:
    """Leave a merge into main unfinished, and return where the lock of its index is, or was."""
    assert subprocess.run([*python(), "-c", DIES, str(repo.path)], check=False).returncode == 9
    lock = repo.path / ".git" / "index.lock"
    lock.unlink(missing_ok=True)
    return lock


def states(repo: Repo) -> list[str]:
    return [each.state for each in Project.open(repo.path).log(1).operations]


def test_the_index_of_a_person_who_writes_a_message_is_left_to_his_git(project: Project, repo: Repo, tmp_path: Path) -> None:
    clone(project, "fix").write("cart.py", "changed\n")
    lock = killed_merge(repo)
    repo.write("notes.md", "# mine\n")
    with committing(repo, tmp_path) as commit:
        assert states(repo) == ["started"]
        assert lock.exists()
        (tmp_path / "go").touch()
        assert commit.wait() == 0
    assert repo.git("show", "--format=%s", "--name-only", "HEAD").split() == ["mine", "notes.md"]
    assert states(repo) == ["failed"]
    assert repo.status() == []
    assert project.merge("fix").status == "merged"


def test_the_lock_of_a_git_that_was_killed_meanwhile_is_removed(project: Project, repo: Repo, tmp_path: Path) -> None:
    clone(project, "fix").write("cart.py", "changed\n")
    lock = killed_merge(repo)
    repo.write("notes.md", "# mine\n")
    with committing(repo, tmp_path) as commit:
        os.killpg(commit.pid, signal.SIGKILL)
        until(lambda: os.waitid(os.P_PID, commit.pid, os.WEXITED | os.WNOWAIT) is not None)
        assert lock.exists()
        assert states(repo) == ["failed"], "what has ended does not live, though nobody has taken note of that yet"
    assert not lock.exists()
    assert repo.status() == [" M notes.md"]


def test_a_git_in_a_clone_has_no_lock_of_main(project: Project, repo: Repo, tmp_path: Path) -> None:
    clone(project, "fix").write("cart.py", "changed\n")
    other = clone(project, "other")
    other.write("notes.md", "# mine\n")
    lock = killed_merge(repo)
    with committing(other, tmp_path) as commit:
        lock.touch()
        assert states(repo) == ["failed"]
        assert not lock.exists()
        (tmp_path / "go").touch()
        assert commit.wait() == 0
    assert other.status() == []


def test_who_waits_is_told_for_whom(project: Project, repo: Repo, tmp_path: Path) -> None:
    clone(project, "fix").write("cart.py", "changed\n")
    repo.write("notes.md", "# mine\n")
    with committing(repo, tmp_path) as commit:
        said = rf"index\.lock since .*; it may be that of process {commit.pid} \(git\), at work there"
        with pytest.raises(Busy, match=said) as refused:
            project.merge("fix")
        assert refused.value.hint.startswith("Wait")
        (finding,) = (each for each in project.doctor(quick=True).findings if not each.ok)
        assert f"it may be that of process {commit.pid} (git)" in finding.message


def test_the_doctor_leaves_the_lock_of_a_living_git_in_a_clone(
    project: Project, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workspaces.backends.worktree.care._DEAD", 0.0)
    fix = clone(project, "fix")
    fix.write("cart.py", "changed\n")
    (admin,) = (repo.path / ".git" / "worktrees").iterdir()
    (admin / "HEAD.lock").touch()
    os.utime(admin / "HEAD.lock", (1, 1))
    with committing(fix, tmp_path) as commit:
        assert project.doctor(repair=True).repaired == (f"removed {admin / 'HEAD.lock'}, which is old",)
        assert (admin / "index.lock").exists()
        (tmp_path / "go").touch()
        assert commit.wait() == 0


def gone_long_ago(project: Project, repo: Repo, *names: str) -> None:
    """Delete workspaces whose term is over."""
    for name in names:
        clone(project, name)
    project.delete(names, discard_unmerged=True)
    for name in names:
        deleted_at(repo, name, 30)


@contextmanager
def stopped_packing(repo: Repo) -> Generator[subprocess.Popen[bytes]]:
    """Let a git stand still that has the packed refs, and has read only some of the others: one is a pipe to which nobody wrote."""
    slow, lock = repo.path / ".git" / "refs" / "heads" / "slow", repo.path / ".git" / "packed-refs.lock"
    os.mkfifo(slow)
    with started(repo, "git", "pack-refs", "--all") as packing:
        until(lock.exists)
        with slow.open("w") as pipe:
            packing.send_signal(signal.SIGSTOP)
            slow.unlink()
            slow.write_text(f"{repo.head}\n")
            pipe.write(f"{repo.head}\n")
        yield packing


def test_packed_refs_are_left_to_a_git_that_stands_still(project: Project, repo: Repo) -> None:
    """It goes on with what it had read, and would forget the branches that another one packed meanwhile."""
    gone_long_ago(project, repo, "fix", "other")
    lock = repo.path / ".git" / "packed-refs.lock"
    with stopped_packing(repo) as packing:
        kept = project.gc().kept
        assert [*kept] == ["shop/fix", "shop/other"]
        assert all(f"{lock} since" in why and f"it may be that of process {packing.pid} (git)" in why for why in kept.values())
        assert lock.exists()
        repo.git("branch", "precious")
        repo.git("pack-refs", "--all", check=False)
        clone(project, "new").write("cart.py", "mine\n")
        assert project.merge("new").status == "merged"
        assert project.delete(["new"]).deleted == ("shop/new",)
        packing.send_signal(signal.SIGCONT)
        assert packing.wait() == 0
    assert repo.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split() == ["precious", "slow", "trunk"]
    assert [each.name for each in Project.open(repo.path).status(include_deleted=True).workspaces if each.state == "deleted"] == ["new"]


def test_who_fills_packed_refs_is_met_though_he_has_closed_the_lock(project: Project, repo: Repo) -> None:
    gone_long_ago(project, repo, "fix")
    lock = repo.path / ".git" / "packed-refs.lock"
    lock.touch()
    with lock.with_suffix(".new").open("w"):
        assert f"process {os.getpid()} (" in project.gc().kept["shop/fix"]
    assert states(repo) == ["done"]
    assert not lock.exists()


def test_packed_refs_of_a_git_that_waits_for_a_hook_are_its_own_until_it_is_killed(project: Project, repo: Repo, tmp_path: Path) -> None:
    gone_long_ago(project, repo, "fix")
    repo.git("branch", "b0")
    repo.git("pack-refs", "--all")
    slow_transactions(repo, tmp_path)
    lock = repo.path / ".git" / "packed-refs.lock"
    with started(repo, "git", "branch", "-D", "b0") as removing:
        until((tmp_path / "begun").exists)
        assert [*project.gc().kept] == ["shop/fix"]
        assert lock.exists()
        os.killpg(removing.pid, signal.SIGKILL)
        removing.wait()
    assert (lock.exists(), lock.with_suffix(".new").exists()) == (True, True)
    assert states(repo) == ["done"]
    assert (lock.exists(), lock.with_suffix(".new").exists()) == (False, False)
    assert repo.git("for-each-ref", "refs/workspaces") == ""


def test_the_lock_of_a_living_git_outlives_a_killed_one_of_ours(project: Project, repo: Repo, tmp_path: Path, instead: Instead) -> None:
    clone(project, "fix").write("cart.py", "changed\n")
    other = clone(project, "other")
    repo.git("branch", "b0")
    repo.git("pack-refs", "--all")
    slow_transactions(repo, tmp_path)
    lock, killed = repo.path / ".git" / "packed-refs.lock", repo.path / ".git" / "killed"
    removes = f"while [ ! -e {killed} ]; do sleep 0.02; done; exec git branch -q -D b0"
    with started(other, "sh", "-c", removes) as removing:
        instead(f'*update-ref*HEAD*) touch "$GIT_DIR/HEAD.lock" {killed}; while [ ! -e {tmp_path}/begun ]; do sleep 0.02; done; kill -9 $$')
        with pytest.raises(TargetMoved):
            project.merge("fix")
        assert (lock.exists(), (repo.path / ".git" / "HEAD.lock").exists()) == (True, False)
        (tmp_path / "go").touch()
        assert removing.wait() == 0
