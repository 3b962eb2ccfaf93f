"""Clones where the file system copies a whole tree at once: one lies prepared for all, and each gets just what it would have got without."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from conformance.forking import program
from loops import mounted, used
from support import Instead, Repo, at, clone, deleted_at, fingerprint
from test_spares import PREPARE, changed, everything, listing, made_by, preparers, spares, wait_for

from workspaces import Project
from workspaces.errors import WorkspacesError

TOP = 256
"""The inode number of the root of a subvolume (btrfs-subvolume(8))."""
SIZE = 4 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Path]:
    with mounted("btrfs", tmp_path, 400) as point:
        yield point


@pytest.fixture
def repo(disk: Path) -> Repo:
    """A repository of which nothing is a subvolume, as people have them."""
    made = Repo.create(disk / "shop")
    made.write("cart.py", "total = 0\n")
    made.write("notes.md", "# Notes\n")
    made.write("auth/api.py", "def login(): ...\n").chmod(0o755)
    made.write("data.bin", os.urandom(SIZE))
    made.write(".gitignore", "*.log\n")
    (made.path / "current").symlink_to("auth/api.py")
    made.commit("start")
    return made


@pytest.fixture
def project(repo: Repo) -> Project:
    return Project.initialize(repo.path)


def is_snapshot(fix: Repo) -> bool:
    return fix.path.stat().st_ino == TOP


def test_one_serves_for_any_number(project: Project, repo: Repo, disk: Path) -> None:
    before, worktrees = fingerprint(repo), repo.git("worktree", "list")
    assert project.prepare(3) == 1
    assert (fingerprint(repo), repo.git("worktree", "list")) == (before, worktrees)
    (template,) = spares(repo)
    full = used(disk)
    fixes = [clone(project, "one"), clone(project, "two"), *map(at, project.clone(count=4).workspaces)]
    assert used(disk) - full < SIZE
    assert spares(repo) == [template]
    for fix in fixes:
        assert is_snapshot(fix) and (fix.head, fix.status()) == (repo.head, [])
        assert fix.git("diff-files", "--name-only") == "", "git has to read nothing to see that nothing changed"
        assert fix.git("rev-parse", "--show-toplevel") == str(fix.path)
        fix.write("cart.py", f"total = '{fix.path.name}'\n")
        fix.write("data.bin", fix.path.name)
    assert [fix.read("data.bin") for fix in fixes] == [fix.path.name for fix in fixes]
    assert len((repo.path / "data.bin").read_bytes()) == SIZE and repo.status() == []
    assert changed(repo, template) == ""
    assert project.merge("one").status == "merged" and repo.read("cart.py") == "total = 'one'\n"
    assert len(repo.git("worktree", "list").splitlines()) == 7
    assert all(each.ok for each in project.doctor().findings)
    repo.git("fsck", "--strict")


def test_a_clone_has_what_is_uncommitted_and_no_more(project: Project, repo: Repo) -> None:
    project.prepare(1)
    everything(repo)
    before = fingerprint(repo)
    fix = clone(project, "fix")
    assert is_snapshot(fix) and fingerprint(repo) == before
    assert fix.status() == repo.status() and not (fix.path / "secret.log").exists()
    (clean,) = project.clone(name="committed", include_uncommitted=False).workspaces
    assert is_snapshot(at(clean)) and at(clean).status() == []
    fix.write("more.md", "untracked\n")
    fix.commit("all of it")
    child = clone(project, "child", "fix")
    assert is_snapshot(child) and (child.head, child.status(), child.read("more.md")) == (fix.head, [], "untracked\n")


def test_it_follows_the_head(project: Project, repo: Repo) -> None:
    project.prepare(1)
    (old,) = spares(repo)
    tree = (old / "tree/data.bin").stat().st_ino
    repo.write("notes.md", "later\n")
    repo.git("rm", "-q", "auth/api.py")
    repo.commit("later")
    fix = clone(project, "before")  # it is behind: what changed since is brought in, and it stays as it is
    assert is_snapshot(fix) and fix.status() == [] and fix.read("notes.md") == "later\n" and not (fix.path / "auth").exists()
    assert spares(repo) == [old] and (old / "tree/notes.md").read_text() == "# Notes\n"
    assert project.prepare(1) == 1
    (new,) = spares(repo)
    assert new.name != old.name, "who was copying the old one sees that it went"
    assert (new / "tree/data.bin").stat().st_ino == tree, "it was brought there, not made anew"
    assert (new / "tree/notes.md").read_text() == "later\n"
    assert clone(project, "after").status() == []


def test_a_clone_is_deleted_restored_and_removed_for_good(project: Project, repo: Repo, disk: Path) -> None:
    project.prepare(1)
    full = used(disk)
    fix = clone(project, "fix")
    fix.write("big.log", os.urandom(SIZE))
    project.delete(["fix"], discard_unmerged=True)
    assert not fix.path.exists()
    project.restore("fix")
    assert is_snapshot(fix) and len((fix.path / "big.log").read_bytes()) == SIZE
    subprocess.run(["btrfs", "subvolume", "create", str(fix.path / "inner")], check=True, capture_output=True)
    (fix.path / "inner/file").write_text("in there\n")
    (fix.path / "more/deep/er").mkdir(parents=True)
    for name in ("frozen", "more/deep/er/frozen"):
        subprocess.run(["btrfs", "subvolume", "snapshot", "-r", "inner", name], cwd=fix.path, check=True, capture_output=True)
    project.delete(["fix"], discard_unmerged=True)
    assert all(each.ok for each in project.doctor().findings)
    deleted_at(repo, "fix", 15)
    project.gc()
    assert [*(repo.path / ".git/workspaces/trash").glob("*")] == []
    subprocess.run(["btrfs", "subvolume", "sync", str(disk)], check=True, capture_output=True)
    assert used(disk) - full < SIZE


def test_what_something_is_mounted_in_is_not_removed(project: Project, repo: Repo) -> None:
    project.prepare(1)
    fix = clone(project, "fix")
    (fix.path / "mnt").mkdir()
    project.delete(["fix"], discard_unmerged=True)
    (kept,) = (repo.path / ".git/workspaces/trash").glob("*/tree")
    subprocess.run(["mount", "--bind", str(repo.path / "auth"), str(kept / "mnt")], check=True)
    try:
        deleted_at(repo, "fix", 15)
        with suppress(WorkspacesError):
            project.gc()
        assert (kept / "cart.py").exists() and (kept / "mnt/api.py").exists()
    finally:
        subprocess.run(["umount", str(kept / "mnt")], check=True)


MAKES_AND_DELETES = """
import json, sys
from pathlib import Path
from workspaces import Project
project = Project.initialize(Path(sys.argv[1]))
prepared, made = project.prepare(2), project.clone(count=2, name="fix").workspaces
places = [Path(each.location) for each in made]
print(json.dumps([prepared, *(each.stat().st_ino for each in places)]))
(places[0] / "more/deep/er").mkdir(parents=True)
(places[0] / "more/deep/big.log").write_bytes(bytes(1 << 20))
project.delete([each.name for each in made], discard_unmerged=True)
"""
REMOVES = """
import sys
from pathlib import Path
from workspaces import Project
project = Project.open(Path(sys.argv[1]))
project.gc()
project.prepare(0)
"""


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed, so nothing can be run without a right")
def test_it_needs_no_rights(repo: Repo) -> None:
    """Who owns a subvolume may copy it, and remove it when it is empty; for more it takes rights, or a mount option."""
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    refused = subprocess.run(
        [*bare, "sh", "-c", "btrfs subvolume create x && btrfs subvolume delete x"], cwd=repo.path, capture_output=True, check=False
    )
    assert refused.returncode != 0 and (repo.path / "x").is_dir()
    (repo.path / "x").rmdir()
    done = subprocess.run([*bare, sys.executable, "-c", MAKES_AND_DELETES, str(repo.path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [1, TOP, TOP]
    for number in (1, 2):
        deleted_at(repo, f"fix-{number}", 15)
    subprocess.run([*bare, sys.executable, "-c", REMOVES, str(repo.path)], check=True)
    assert [*(repo.path / ".git/workspaces/trash").glob("*")] == [] == [*(repo.path / ".git/workspaces/spares").glob("*")]
    assert subprocess.run(["btrfs", "subvolume", "list", str(repo.path)], capture_output=True, check=True).stdout == b""


@pytest.fixture
def awake(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """Return a repository in which clones are prepared, as for everybody who does not switch that off."""
    monkeypatch.delenv("WORKSPACES_SPARES")
    return repo


def made_at_once(repo: Repo, count: int) -> list[Repo]:
    done = subprocess.run([*program(), "clone", "-n", str(count), "--json"], cwd=repo.path, check=True, capture_output=True)
    return [Repo(Path(each["location"])) for each in json.loads(done.stdout)["workspaces"]]


def test_a_call_that_makes_several_prepares_one_itself(awake: Repo) -> None:
    everything(awake)
    fixes = made_at_once(awake, 5)
    assert all(is_snapshot(each) and each.status() == awake.status() for each in fixes)
    assert len(spares(awake)) == 1
    wait_for(lambda: not preparers(awake))
    assert len(spares(awake)) == 1


def test_after_the_first_clone_one_lies_prepared(awake: Repo) -> None:
    assert not is_snapshot(made_by(awake, "first"))
    wait_for(lambda: len(spares(awake)) == 1 and not preparers(awake))
    (template,) = spares(awake)
    assert is_snapshot(made_by(awake, "second"))
    wait_for(lambda: not preparers(awake))
    assert spares(awake) == [template]


def test_nothing_is_prepared_where_that_is_switched_off(awake: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    awake.write("workspaces.local.toml", "[clone]\nspares = 0\n")
    assert not any(map(is_snapshot, made_at_once(awake, 2)))
    (awake.path / "workspaces.local.toml").unlink()
    monkeypatch.setenv("WORKSPACES_SPARES", "0")
    assert not any(map(is_snapshot, made_at_once(awake, 2)))
    assert spares(awake) == []
    Project.open(awake.path).clone(count=2)
    assert spares(awake) == [], "a program that uses the library leaves nothing about unasked"


def test_none_is_copied_while_it_is_brought_to_another_commit(project: Project, repo: Repo, instead: Instead) -> None:
    project.prepare(1)
    repo.write("notes.md", "changed\n")
    repo.commit("later")
    here, there = repo.path / ".git/objects/here", repo.path / ".git/objects/there"  # what git starts may write there
    once = repo.path / ".git/objects/once"
    instead(f"*read-tree*-u*) if mkdir {once}; then touch {here}; while [ ! -e {there} ]; do sleep 0.01; done; fi")
    with ThreadPoolExecutor(1) as other:
        preparing = other.submit(Project.open(repo.path).prepare, 1)
        try:
            wait_for(here.exists)
            fix = clone(project, "fix")
            assert not is_snapshot(fix) and (fix.status(), fix.read("notes.md")) == ([], "changed\n")
        finally:
            there.touch()
        assert preparing.result() == 1
    assert is_snapshot(clone(project, "after"))


COPIES = """
import sys
from pathlib import Path
from workspaces.backends.worktree import templates
print(templates.copy(*map(Path, sys.argv[1:])))
"""


def test_what_lost_its_name_while_it_was_copied_is_no_copy(disk: Path) -> None:
    template, renewed, origin, admin, files = (disk / name for name in ("template", "renewed", "origin", "admin", "files"))
    template.mkdir()
    os.mkfifo(template / "index")
    subprocess.run(["btrfs", "subvolume", "create", str(origin)], check=True, capture_output=True)
    copies = [sys.executable, "-c", COPIES]
    with subprocess.Popen([*copies, *map(str, (template, origin, admin, files))], stdout=subprocess.PIPE, text=True) as copying:
        with (template / "index").open("wb") as index:  # who copies has opened it, too
            template.rename(renewed)
            index.write(b"DIRC")
        assert copying.communicate()[0] == "False\n"
    assert not files.exists() and not admin.exists()
    (renewed / "index").unlink()
    (renewed / "index").write_bytes(b"DIRC")
    done = subprocess.run([*copies, *map(str, (renewed, origin, admin, files))], capture_output=True, text=True, check=True)
    assert (done.stdout, files.stat().st_ino, (admin / "index").read_bytes()) == ("True\n", TOP, b"DIRC")


PREPARES_WHEN_TOLD = """
import sys
from pathlib import Path
from workspaces import Project
for line in sys.stdin:
    print(Project.open(Path(sys.argv[1])).prepare(1), flush=True)
"""


def test_copies_are_whole_while_others_move_what_they_are_made_of(project: Project, repo: Repo) -> None:
    """One process brings the template from commit to commit, others make clones."""
    for number in range(200):
        repo.write(f"many/{number}.txt", "0\n")
    repo.commit("many")
    project.prepare(1)
    command = [sys.executable, "-c", PREPARES_WHEN_TOLD, str(repo.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other, ThreadPoolExecutor(2) as pool:
        assert other.stdin and other.stdout
        for turn in range(1, 7):
            for number in range(200):
                repo.write(f"many/{number}.txt", f"{turn}\n")
            repo.commit(f"turn {turn}")
            other.stdin.write("go\n")
            other.stdin.flush()
            for fix in pool.map(partial(clone, project), [f"fix-{turn}-{number}" for number in range(4)]):
                assert fix.status() == [] and {fix.read(f"many/{number}.txt") for number in range(200)} == {f"{turn}\n"}
            assert other.stdout.readline() == "1\n"
        other.stdin.close()
    assert changed(repo, *spares(repo)) == ""


def test_whoever_is_killed_while_preparing_leaves_nothing_half(project: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed later each time, from its start on until it has time to end."""
    monkeypatch.setenv("WORKSPACES_SPARES", "4")
    before = listing(Path(project.clone(count=2).workspaces[0].location))
    ended, after = False, 0.2
    while not ended:
        preparing = subprocess.Popen([*PREPARE, str(repo.path)], cwd="/")
        try:
            ended = preparing.wait(after) == 0
        except subprocess.TimeoutExpired:
            preparing.send_signal(signal.SIGKILL)
            preparing.wait()
        for template in spares(repo):
            assert changed(repo, template) == ""
        fix = clone(project, f"fix-{after:.2f}")
        assert (fix.status(), listing(fix.path)) == ([], before), after
        after += 0.1
    project.prepare(1)
    assert [each.name[:1] for each in (repo.path / ".git/workspaces/spares").iterdir()] != ["."]
    assert all(each.ok for each in project.doctor().findings)


def test_a_call_that_is_killed_leaves_nothing(project: Project, repo: Repo, instead: Instead) -> None:
    project.prepare(1)
    repo.write("notes.md", "changed\n")
    here, there = repo.path / ".git/objects/here", repo.path / ".git/objects/there"
    instead(f"*read-tree*-u*) touch {here}; while [ ! -e {there} ]; do sleep 0.01; done; exit 1")
    with subprocess.Popen([*program(), "clone", "--name", "fix"], cwd=repo.path, stderr=subprocess.PIPE) as cloning:
        try:
            wait_for(here.exists)
        finally:
            cloning.kill()
    there.touch()
    left = partial(lambda: [*(repo.path / ".workspaces").glob(".new-*"), *(repo.path / ".git/workspaces/new").glob("*")])
    wait_for(lambda: [each.name for each in Project.open(repo.path).status().workspaces] == ["main"] and not left())
    assert clone(project, "fix").read("notes.md") == "changed\n" and len(spares(repo)) == 1


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


def test_what_it_shares_is_told(project: Project, repo: Repo, disk: Path) -> None:
    project.prepare(1)
    clone(project, "fix").write("auth/more.bin", os.urandom(SIZE))
    used(disk)
    (fix,) = project.status(["fix"], "full").workspaces
    assert fix.disk and fix.disk.shared and fix.disk.size > 2 * SIZE and SIZE <= fix.disk.own < SIZE + (16 << 10)
    said = next(each.message for each in project.doctor().findings if each.check == "spares")
    assert re.fullmatch(r"a template for any number of clones lies prepared, and takes 0\.\d MB", said)
