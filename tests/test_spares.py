"""Clones that lie prepared: whoever gets one gets just what it would have got without, and nobody sees those that nobody has."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from conformance.forking import program
from loops import mounted
from support import Instead, Repo, at, clone, fingerprint

from workspaces import Project
from workspaces.model import Finding

PATIENCE = 60.0
PREPARE = [sys.executable, "-P", "-m", "workspaces.beforehand"]


def spares(repo: Repo) -> list[Path]:
    """Return the spares that lie ready."""
    return sorted((repo.path / ".git/workspaces/spares").glob("[!.]*"))


def made(folder: Path) -> tuple[int, int]:
    """Return which file a `.gitignore` is: numbers are used again, times are not."""
    found = (folder / ".gitignore").stat()
    return found.st_ino, found.st_ctime_ns


@pytest.fixture
def one_each(repo: Repo) -> None:
    """Let a test be about spares of which each serves for one clone."""
    if Project.initialize(repo.path).described().capabilities.templates:
        pytest.skip("where the file system copies whole trees one serves for all clones: tests/test_templates.py tells the same of that")


def inodes(repo: Repo) -> set[tuple[int, int]]:
    """Return which file `.gitignore` is in the spares that lie ready."""
    return {made(spare / "tree") for spare in spares(repo)}


def is_of(found: set[tuple[int, int]], fix: Repo) -> bool:
    """Return whether a clone is one of the spares that were found."""
    return made(fix.path) in found


def listing(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return every path of a clone with its mode and contents."""
    return {
        str(path.relative_to(root)): (path.lstat().st_mode, os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes())
        for path in root.rglob("*")
        if (path.is_symlink() or path.is_file()) and path.name != ".git"
    }


@pytest.mark.usefixtures("one_each")
def test_a_clone_is_a_spare_that_was_moved_there(project: Project, repo: Repo) -> None:
    assert project.prepare(2) == 2
    found, (inside, _) = inodes(repo), spares(repo)
    assert listing(inside / "tree") == {
        name: about for name, about in listing(repo.path).items() if not name.startswith((".git/", ".work"))
    }
    fix = clone(project, "fix")
    assert is_of(found, fix)
    assert (fix.status(), fix.head) == ([], repo.head)
    assert fix.git("diff-files", "--name-only") == "", "git has to read nothing to see that nothing changed"
    assert fix.git("rev-parse", "--show-toplevel") == str(fix.path)
    assert len(spares(repo)) == 1
    assert project.compare(["fix"]).workspaces[0].files_changed == 0
    fix.write("cart.py", "mine\n")
    assert project.merge("fix").status == "merged"
    assert repo.read("cart.py") == "mine\n"


def everything(repo: Repo) -> None:
    """Have work of all kinds lie in a checkout."""
    repo.write("cart.py", "changed\n")
    repo.write("new.py", "untracked\n").chmod(0o755)
    (repo.path / "auth/api.py").unlink()
    (repo.path / "link").symlink_to("cart.py")
    repo.write("staged.py", "staged\n")
    repo.git("add", "staged.py")
    repo.write("staged.py", "and changed\n")
    repo.write("secret.log", "ignored\n")


def test_a_spare_gets_what_is_uncommitted(project: Project, repo: Repo) -> None:
    project.prepare(2)
    found = inodes(repo)
    everything(repo)
    before = fingerprint(repo)
    fix = clone(project, "fix")
    assert is_of(found, fix)
    assert fingerprint(repo) == before
    assert fix.status() == repo.status()
    assert not (fix.path / "secret.log").exists()
    (clean,) = project.clone(name="committed", include_uncommitted=False).workspaces
    assert is_of(found, at(clean)) and at(clean).status() == []


def test_a_spare_serves_for_the_clone_of_a_clone(project: Project, repo: Repo) -> None:
    project.prepare(2)
    found = inodes(repo)
    fix = clone(project, "fix")
    fix.write("notes.md", "changed\n")
    fix.commit("a commit of its own")
    fix.write("more.md", "untracked\n")
    child = clone(project, "child", "fix")
    assert is_of(found, child)
    assert (child.head, child.status(), child.read("more.md")) == (fix.head, fix.status(), "untracked\n")


def test_ignored_files_that_are_named_come_along(project: Project, repo: Repo) -> None:
    repo.write(".worktreeinclude", ".env\n")
    repo.write(".env", "KEY=1\n")
    repo.commit("named")
    project.prepare(1)
    found = inodes(repo)
    fix = clone(project, "fix")
    assert is_of(found, fix) and fix.read(".env") == "KEY=1\n"


@pytest.mark.usefixtures("one_each")
def test_they_follow_the_head(project: Project, repo: Repo) -> None:
    project.prepare(2)
    found = inodes(repo)
    repo.write("notes.md", "later\n")
    repo.git("rm", "-q", "auth/api.py")
    repo.commit("later")
    fix = clone(project, "before")  # they are behind: what changed since is brought in
    assert is_of(found, fix) and fix.status() == [] and fix.read("notes.md") == "later\n" and not (fix.path / "auth").exists()
    assert project.prepare(1) == 1
    (spare,) = spares(repo)
    assert inodes(repo) < found and (spare / "tree/notes.md").read_text() == "later\n" and not (spare / "tree/auth").exists()


def test_uncommitted_work_is_in_no_spare(project: Project, repo: Repo) -> None:
    everything(repo)
    project.prepare(1)
    (spare,) = spares(repo)
    assert (spare / "tree/cart.py").read_text() == repo.git("show", "HEAD:cart.py") + "\n"
    assert not any((spare / "tree" / name).exists() for name in ("new.py", "staged.py", "secret.log", "link"))


def test_nobody_sees_them(project: Project, repo: Repo) -> None:
    before, worktrees = fingerprint(repo), repo.git("worktree", "list")
    project.prepare(2)
    assert fingerprint(repo) == before
    assert repo.git("worktree", "list") == worktrees
    assert not (repo.path / ".workspaces").exists() or [*(repo.path / ".workspaces").iterdir()] == [repo.path / ".workspaces/.gitignore"]
    assert [each.name for each in project.status().workspaces] == ["main"]
    assert all(each.ok for each in project.doctor().findings)
    repo.git("gc", "-q", "--prune=now")
    repo.git("worktree", "prune")
    assert clone(project, "fix").status() == []
    repo.git("fsck", "--strict")


def attributes(repo: Repo) -> None:
    repo.write(".git/info/attributes", "*.md eol=crlf\n")


def more_attributes(repo: Repo) -> None:
    repo.write(".gitattributes", "*.md eol=crlf\n")
    repo.commit("attributes")


def crlf(repo: Repo) -> None:
    repo.git("config", "core.autocrlf", "true")


def filtered(repo: Repo) -> None:
    repo.git("config", "--global", "filter.loud.smudge", "tr a-z A-Z")
    repo.write(".git/info/attributes", "*.md filter=loud\n")


@pytest.mark.parametrize("change", [attributes, more_attributes, crlf, filtered])
def test_what_would_be_checked_out_otherwise_by_now_is_not_taken(project: Project, repo: Repo, change: Callable[[Repo], None]) -> None:
    project.prepare(1)
    found = inodes(repo)
    change(repo)
    fix = clone(project, "fix")
    assert not is_of(found, fix)
    plain = repo.path.parent / "plain"
    repo.git("worktree", "add", "-q", "--detach", str(plain))
    assert listing(fix.path) == listing(plain)
    assert project.prepare(1) == 1 and not inodes(repo) & found, "one that serves no more makes room for another"


def test_who_makes_files_for_a_group_gets_none_for_its_maker_alone(project: Project, repo: Repo) -> None:
    before = os.umask(0o077)
    try:
        project.prepare(1)
        os.umask(0o022)
        fix = clone(project, "fix")
    finally:
        os.umask(before)
    assert (fix.path / "cart.py").stat().st_mode & 0o777 == 0o644
    assert spares(repo) == []


def test_one_that_lost_what_it_was_made_of_is_not_taken(project: Project, repo: Repo) -> None:
    repo.write("notes.md", "to be forgotten\n")
    repo.commit("forgotten")
    project.prepare(1)
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    fix = clone(project, "fix")
    assert (fix.status(), fix.read("notes.md")) == ([], "# Notes\n")
    repo.git("fsck", "--strict")


def made_by(repo: Repo, name: str) -> Repo:
    subprocess.run([*program(), "clone", "--name", name], cwd=repo.path, check=True, capture_output=True)
    return Repo(repo.path / ".workspaces" / name)


@pytest.mark.usefixtures("one_each")
def test_none_is_handed_out_twice(project: Project, repo: Repo) -> None:
    project.prepare(5)
    found, _ = inodes(repo), program()
    with ThreadPoolExecutor(10) as pool:
        fixes = [*pool.map(partial(made_by, repo), [f"agent-{number}" for number in range(10)])]
    assert sum(is_of(found, each) for each in fixes) == 5
    assert len({made(each.path) for each in fixes}) == 10
    assert all(each.status() == [] for each in fixes)
    assert spares(repo) == []
    assert len(repo.git("worktree", "list").splitlines()) == 11


def changed(repo: Repo, spare: Path) -> str:
    """Return what git finds in a spare that is not as it was committed."""
    places = {"GIT_DIR": str(spare), "GIT_COMMON_DIR": str(repo.path / ".git"), "GIT_WORK_TREE": str(spare / "tree")}
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    return subprocess.run(command, env={**os.environ, **places}, check=True, capture_output=True, text=True).stdout


@pytest.mark.usefixtures("one_each")
def test_whoever_is_killed_while_preparing_leaves_nothing_half(project: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed later each time, from its start on until it has time to end."""
    monkeypatch.setenv("WORKSPACES_SPARES", "4")
    before = listing(Path(project.clone(count=4).workspaces[0].location))
    ended, after = False, 0.2
    while not ended:
        preparing = subprocess.Popen([*PREPARE, str(repo.path)], cwd="/")
        try:
            ended = preparing.wait(after) == 0
        except subprocess.TimeoutExpired:
            preparing.send_signal(signal.SIGKILL)
            preparing.wait()
        for spare in spares(repo):
            assert changed(repo, spare) == ""
        fix = clone(project, f"fix-{after:.2f}")
        assert (fix.status(), listing(fix.path)) == ([], before), after
        after += 0.1
    assert len(spares(repo)) >= 3
    project.prepare(1)
    assert [each.name[:1] for each in (repo.path / ".git/workspaces/spares").iterdir()] != ["."]
    assert all(each.ok for each in project.doctor().findings)


def test_a_clone_that_is_killed_with_a_spare_in_hand_leaves_nothing(project: Project, repo: Repo, instead: Instead) -> None:
    project.prepare(1)
    repo.write("notes.md", "changed\n")
    here, there = repo.path / ".git/objects/here", repo.path / ".git/objects/there"  # what git starts may write there
    instead(f"*read-tree*-u*) touch {here}; while [ ! -e {there} ]; do sleep 0.01; done; exit 1")
    with subprocess.Popen([*program(), "clone", "--name", "fix"], cwd=repo.path, stderr=subprocess.PIPE) as cloning:
        try:
            wait_for(here.exists)
        finally:
            cloning.kill()
    there.touch()
    wait_for(lambda: [each.name for each in Project.open(repo.path).status().workspaces] == ["main"] and not left(repo))
    assert clone(project, "fix").read("notes.md") == "changed\n"


def left(repo: Repo) -> list[Path]:
    """Return what lies about where clones are made."""
    return [*(repo.path / ".workspaces").glob(".new-*"), *(repo.path / ".git/workspaces/new").glob("*")]


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.05)


def preparers(repo: Repo) -> list[str]:
    """Return who is preparing spares of a repository."""
    found: list[str] = []
    for about in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [about.parent.name] if b"workspaces.beforehand\0" + os.fsencode(repo.path) in about.read_bytes() else []
    return found


@pytest.fixture
def awake(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """Return a repository of which spares are prepared, as for everybody who does not switch that off."""
    monkeypatch.delenv("WORKSPACES_SPARES")
    return repo


@pytest.mark.usefixtures("one_each")
def test_as_many_are_prepared_as_were_made_at_once(awake: Repo) -> None:
    for name in ("one", "two"):
        made_by(awake, name)
    subprocess.run([*program(), "clone", "-n", "3", "--name", "more"], cwd=awake.path, check=True, capture_output=True)
    wait_for(lambda: len(spares(awake)) == 5 and not preparers(awake))
    found = inodes(awake)
    assert is_of(found, made_by(awake, "prepared"))
    wait_for(lambda: len(spares(awake)) == 6 and not preparers(awake))


def test_a_merge_brings_them_along(awake: Repo) -> None:
    fix = made_by(awake, "fix")
    wait_for(lambda: len(spares(awake)) == 1 and not preparers(awake))
    fix.write("notes.md", "merged\n")
    subprocess.run([*program(), "merge", "fix"], cwd=awake.path, check=True, capture_output=True)
    wait_for(lambda: [(spare / "tree/notes.md").read_text() for spare in spares(awake)] == ["merged\n"] and not preparers(awake))


@pytest.mark.usefixtures("one_each")
def test_they_can_be_switched_off(awake: Repo) -> None:
    made_by(awake, "fix")
    wait_for(lambda: len(spares(awake)) == 1 and not preparers(awake))
    awake.write("workspaces.local.toml", "[clone]\nspares = 0\n")
    made_by(awake, "last")
    made_by(awake, "none")
    assert spares(awake) == [] and preparers(awake) == []


def test_a_program_that_uses_the_library_gets_no_process_unasked(awake: Repo) -> None:
    clone(Project.initialize(awake.path), "fix")
    assert preparers(awake) == [] and spares(awake) == []


def test_what_was_made_does_not_fail_for_what_cannot_be_started_then(repo: Repo) -> None:
    project = Project.initialize(repo.path, environment={"PATH": "/nowhere"})
    assert clone(project, "fix").status() == []


def test_those_that_nobody_needs_are_collected(project: Project, repo: Repo) -> None:
    lying = project.prepare(2)
    project.gc(dry_run=True)
    assert len(spares(repo)) == lying > 0
    project.gc()
    assert spares(repo) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_there_are_none_where_the_disk_is_short(tmp_path: Path) -> None:
    with mounted("ext4", tmp_path, 40) as disk:
        repo = Repo.create(disk / "shop")
        repo.write("data.bin", os.urandom(3 << 20))
        repo.commit("start")
        project = Project.initialize(repo.path)
        assert project.prepare(3) == 0
        assert clone(project, "fix").status() == []
        assert spares(repo) == []


def test_the_doctor_tells_what_lies_prepared_and_of_a_switch_that_says_nothing(project: Project, repo: Repo) -> None:
    def found(check: str, **environment: str) -> Finding:
        findings = Project.open(repo.path, environment=environment).doctor().findings
        return next(each for each in findings if each.check == check)

    assert found("spares").message == "no clone lies prepared"
    lie = {1: "a template for any number of clones lies prepared, and takes", 2: "2 clones lie prepared, and take"}[project.prepare(2)]
    assert re.fullmatch(rf"{lie} 0\.\d MB", found("spares").message)
    assert found("settings", WORKSPACES_SPARES="0").ok
    assert "WORKSPACES_SPARES is 'none'" in found("settings", WORKSPACES_SPARES="none").message
