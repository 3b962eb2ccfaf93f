"""Folders as workspaces on the file systems that people have: what is copied how, what it costs, and what happens when the disk is full."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest
from loops import mounted, used
from support import Repo, at, clone

from workspaces import Project
from workspaces.backend import find
from workspaces.errors import NoSpace, NotAllowed
from workspaces.model import Disk
from workspaces.store import Store

ROOT = Path(__file__).parents[1]
KINDS = {"ext4": "kernel copy", "xfs": "reflink", "btrfs": "reflink", "subvolume": "btrfs snapshot"}
BIG = 8 << 20
SHORT = {"btrfs": "test_clone.py or test_delete.py or test_interrupted_clones.py", "xfs": "test_clone.py"}
"""What of the published suite is run without `make published`."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def disk(kind: str, tmp_path: Path) -> Generator[Path]:
    with mounted("btrfs" if kind == "subvolume" else kind, tmp_path, 400) as point:
        yield point


@pytest.fixture
def data(kind: str, disk: Path) -> Repo:
    """A folder of data: small files, large ones, links, and what only copies of everything keep."""
    folder = disk / "data"
    if kind == "subvolume":
        subprocess.run(["btrfs", "subvolume", "create", str(folder)], check=True, capture_output=True)
    folder.mkdir(exist_ok=True)
    made = Repo(folder)
    for number in range(4):
        made.write(f"big/{number}.bin", os.urandom(BIG))
    for number in range(40):
        made.write(f"notes/{number}.md", f"# Note {number}\n" + "line\n" * number)
    with made.write("sparse.img", "start").open("r+b") as file:
        file.truncate(64 << 20)
    os.link(folder / "notes" / "1.md", folder / "notes" / "one.md")
    (folder / "empty" / "inside").mkdir(parents=True)
    (folder / "link").symlink_to("notes/2.md")
    os.setxattr(folder / "notes" / "3.md", "user.origin", b"\x00survey")
    os.utime(folder / "notes" / "4.md", ns=(1, 1_234_567_890_123_456_789))
    (folder / "notes" / "5.md").chmod(0o640)
    os.mkfifo(folder / "pipe")
    return made


def test_how_files_are_copied_is_found_by_trying(kind: str, data: Repo) -> None:
    described = Project.initialize(data.path).described()
    assert (described.backend, described.capabilities.copies_by) == ("directory", KINDS[kind])


def test_a_clone_has_all_that_a_folder_has(data: Repo) -> None:
    project = Project.initialize(data.path)
    made = project.clone(name="fix")
    fix = at(made.workspaces[0]).path
    assert listing(fix) == {path: what for path, what in listing(data.path).items() if path != "pipe"}
    assert "pipe (a pipe)" in " ".join(made.warnings)
    assert os.getxattr(fix / "notes" / "3.md", "user.origin") == b"\x00survey"
    assert (fix / "notes" / "1.md").samefile(fix / "notes" / "one.md")
    assert not (fix / "notes" / "1.md").samefile(data.path / "notes" / "1.md")
    assert (fix / "sparse.img").stat().st_blocks * 512 < 1 << 20
    again = clone(project, "again", "fix").path
    assert listing(again) == listing(fix)


def listing(root: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Return every path with its mode, time and contents. The times of folders count too."""
    found: dict[str, tuple[int, int, int, bytes]] = {}
    for path in sorted(path for path in root.rglob("*") if ".workspaces" not in path.relative_to(root).parts):
        about = path.lstat()
        text = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (about.st_mode, about.st_mtime_ns, about.st_nlink if path.is_file() else 0, text)
    return found


def test_the_loop_brings_large_files_whole_and_takes_them_back(data: Repo) -> None:
    project = Project.initialize(data.path)
    before = listing(data.path)
    fix, other = clone(project, "fix"), clone(project, "other")
    with (fix.path / "big" / "0.bin").open("r+b") as file:
        file.write(b"a new start")
    (fix.path / "big" / "1.bin").rename(fix.path / "big" / "renamed.bin")
    fix.write("notes/1.md", "# Changed\n")
    (fix.path / "empty" / "more").mkdir()
    with (other.path / "big" / "0.bin").open("r+b") as file:
        file.write(b"something else")
    compared = project.compare(["fix"], detail="files")
    assert {(change.path, change.status) for change in compared.files} == {
        ("big/0.bin", "modified"),
        ("big/renamed.bin", "renamed"),
        ("notes/1.md", "modified"),
        ("notes/one.md", "modified"),
        ("empty/more/", "added"),
    }
    assert project.merge("fix").status == "merged"
    assert data.path.joinpath("notes", "1.md").samefile(data.path / "notes" / "one.md")
    merged = {path: what for path, what in listing(data.path).items() if path != "pipe"}
    assert {path: what[3] for path, what in merged.items()} == {path: what[3] for path, what in listing(fix.path).items()}
    (conflict,) = project.merge("other").conflicts
    assert (conflict.path, conflict.kind) == ("big/0.bin", "binary")
    project.undo()
    assert {path: what[3] for path, what in listing(data.path).items()} == {path: what[3] for path, what in before.items()}
    project.delete(["fix"], discard_unmerged=True)
    project.restore("fix")
    assert fix.path.joinpath("big", "0.bin").read_bytes().startswith(b"a new start")
    assert all(finding.ok for finding in project.doctor().findings)


def test_what_was_checkpointed_comes_back_beside_later_work(data: Repo) -> None:
    project = Project.initialize(data.path)
    fix = clone(project, "fix")
    fix.write("only here.bin", os.urandom(BIG))
    held = listing(fix.path)
    project.checkpoint("fix", "good")
    (fix.path / "only here.bin").unlink()
    fix.write("notes/0.md", "worse\n")
    clone(project, "from-worse", "fix")
    project.restore("fix", "good")
    assert {path: what[3] for path, what in listing(fix.path).items()} == {path: what[3] for path, what in held.items()}
    assert at(project.find("from-worse")).read("notes/0.md") == "worse\n"


def test_a_workspace_costs_what_it_changes(kind: str, data: Repo, disk: Path) -> None:
    if kind == "ext4":
        pytest.skip("ext4 shares no blocks: each copy costs its size")
    project = Project.initialize(data.path)
    clone(project, "first")
    before = used(disk)
    fix = clone(project, "fix")
    with (fix.path / "big" / "0.bin").open("r+b") as file:
        file.write(os.urandom(1 << 20))
    project.compare(["fix"])
    project.merge("fix")
    assert used(disk) - before < BIG


def test_status_says_what_of_a_workspace_is_shared(kind: str, data: Repo, disk: Path) -> None:
    project = Project.initialize(data.path)
    clone(project, "first")
    before = used(disk)
    fix = clone(project, "fix")
    subprocess.run(["sync", "-f", str(disk)], check=True)
    seen = taken(project)
    assert seen.size > 4 * BIG
    if kind == "ext4":
        assert (seen.shared, used(disk) - before > 4 * BIG) == (0, True)
        assert "share nothing" in project.status(["fix"], "full").summary
        return
    assert used(disk) - before < BIG > seen.own
    (fix.path / "big" / "0.bin").write_bytes(os.urandom(BIG))
    subprocess.run(["sync", "-f", str(disk)], check=True)
    assert BIG <= taken(project).own < 2 * BIG
    assert "of their own, beside what they share" in project.status(["fix"], "full").summary


def test_status_says_what_of_a_worktree_is_shared(kind: str, disk: Path) -> None:
    repo = Repo.create(disk / "repo")
    for number in range(4):
        repo.write(f"{number}.bin", os.urandom(BIG))
    repo.commit("start")
    project = Project.initialize(repo.path)
    before = used(disk)
    clone(project, "fix")
    grown, seen = used(disk) - before, taken(project)
    assert seen.size >= 4 * BIG
    assert (seen.shared == 0) == (kind == "ext4")
    assert abs(grown - seen.own) < BIG
    assert taken(project, "main").size < 5 * BIG, "neither the repository nor the workspaces are the files of main"


def taken(project: Project, name: str = "fix") -> Disk:
    (seen,) = project.status([name], "full").workspaces
    assert seen.disk
    return seen.disk


@pytest.mark.parametrize("backend", ["directory", "worktree"])
def test_what_is_removed_for_good_leaves_nothing_in_the_trash(kind: str, data: Repo, disk: Path, backend: str) -> None:
    made = data if backend == "directory" else Repo.create(disk / "repo")
    made.write("src/pkg/deep/er/file.txt", "x\n")
    made.write("src/other/file.txt", "x\n")
    if backend == "worktree":
        made.commit("start")
    project = Project.initialize(made.path)
    assert project.described().backend == backend
    clone(project, "first")
    before = used(disk)
    clone(project, "fix").write("src/pkg/large.bin", os.urandom(2 * BIG))
    project.delete(["fix"], discard_unmerged=True)
    home = find(made.path).home
    assert used(disk) - before > BIG and len([*home.glob("trash/*"), *made.path.glob(".workspaces/.trash/*")]) == 1
    make_old(made.path)
    assert [each.id for each in project.gc().freed] == [f"{made.path.name}/fix"]
    assert [*home.glob("trash/*"), *made.path.glob(".workspaces/.trash/*")] == []
    until = time.monotonic() + 30  # XFS frees blocks a moment later
    while used(disk) - before >= BIG and kind != "subvolume" and time.monotonic() < until:
        time.sleep(0.05)
    assert used(disk) - before < BIG or kind == "subvolume", "the blocks of a subvolume are freed within half a minute"
    assert all(finding.ok for finding in project.doctor().findings)


def make_old(root: Path) -> None:
    """Let the workspaces that are deleted have been so for longer than they can be restored."""
    store = Store(find(root).home / "store.sqlite")
    for row in store.workspaces(root.name, ("deleted",)):
        assert row.deleted and row.restorable_until
        month = timedelta(days=30)
        store.save(row.model_copy(update={"deleted": row.deleted - month, "restorable_until": row.restorable_until - month}), "deleted")


def test_what_has_no_place_in_a_frozen_tree(kind: str, data: Repo) -> None:
    if kind != "subvolume":
        pytest.skip("only whole trees are frozen there")
    project = Project.initialize(data.path)
    clone(project, "first")
    for number in range(40):
        data.write(f"notes/{number}.md", f"# Changed {number}\n")
    for folder in ("nest", "notes/nest"):
        subprocess.run(["btrfs", "subvolume", "create", str(data.path / folder)], check=True, capture_output=True)
        data.write(f"{folder}/inside/file", "in there\n")
    (data.path / "notes" / ".workspaces-moving").mkdir()
    fix = clone(project, "fix")
    assert fix.read("notes/nest/inside/file") == "in there\n"
    assert not (fix.path / "notes" / ".workspaces-moving").exists()
    fix.write("nest/new", "new\n")
    fix.write("notes/1.md", "# Better\n")
    assert project.merge("fix", paths=["notes/1.md"]).status == "merged"
    project.restore("main")
    assert data.read("notes/1.md") == "# Changed 1\n"
    assert at(project.clone("first", name="second").workspaces[0]).read("notes/1.md").startswith("# Note 1")
    assert all(finding.ok for finding in project.doctor().findings)


def test_on_a_system_without_the_calls_of_this_one(kind: str, data: Repo, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the extra `reflink` shares blocks where the file system can, and else everything is copied by hand."""
    if kind == "subvolume":
        pytest.skip("whole trees are frozen there, and no file is copied")
    monkeypatch.setattr("workspaces.backends.tree.KERNEL_COPIES", False)
    project = Project.initialize(data.path)
    assert project.described().capabilities.copies_by == ("plain copy" if kind == "ext4" else "reflink")
    first = clone(project, "first")
    before = used(disk)
    fix = clone(project, "fix")
    assert used(disk) - before < 2 * BIG or kind == "ext4"
    assert {path: what[3] for path, what in listing(fix.path).items()} == {path: what[3] for path, what in listing(first.path).items()}
    monkeypatch.setattr("workspaces.backends.tree.reflink", None)
    assert listing(clone(project, "by-hand").path) == listing(fix.path)


def test_a_full_disk_leaves_nothing_behind(kind: str, data: Repo, disk: Path) -> None:
    project = Project.initialize(data.path)
    clone(project, "first")
    filler = disk / "filler"
    room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    fix = clone(project, "fix")
    fix.write("new.bin", os.urandom(BIG))
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room - 4 * BIG)
    before = listing(data.path)
    refused: list[str] = []
    for name in ("a", "b", "c", "d", "e", "f"):
        try:
            made = clone(project, name, "fix").path
            (made / "more.bin").write_bytes(os.urandom(BIG))
            project.checkpoint(name)
        except (NoSpace, OSError) as error:
            assert isinstance(error, NoSpace) or error.errno == 28, error
            refused.append(name)
    assert refused
    filler.unlink()
    there = {entry.name for entry in (data.path / ".workspaces").iterdir() if not entry.name.startswith(".")}
    assert there == {each.name for each in project.status(detail="names").workspaces if not each.is_main}
    assert list((data.path / ".workspaces" / ".state" / "staging").iterdir()) == []
    assert listing(data.path) == before
    assert all(finding.ok for finding in project.doctor().findings)
    clone(project, "later")


def test_the_conformance_suite(kind: str, disk: Path, pytestconfig: pytest.Config) -> None:
    if kind in ("ext4", "subvolume"):
        pytest.skip("the suite runs in ordinary folders, and on ext4 as part of the whole; the rest is tested above")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(disk / "tests"), "--pyargs"]
    done = subprocess.run(
        [*command, "workspaces.conformance", *([] if pytestconfig.getoption("--whole") else ["-k", SHORT[kind]])],
        cwd=disk,
        env={**os.environ, "CONFORMANCE_BACKEND": "directory"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_a_disk_that_gets_full_in_the_middle_of_a_merge_is_called_full(tmp_path: Path) -> None:
    """git says only that it could not write a file, and removes what it wrote of it."""
    with mounted("ext4", tmp_path, 60) as point:
        repo = Repo.create(point / "shop")
        repo.write("small", "small\n")
        repo.commit("start")
        project = Project.initialize(repo.path)
        clone(project, "fix").write("big", os.urandom(6 << 20))
        room = os.statvfs(point)
        (point / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize - (10 << 20)))  # room for the pack, and not for the file too
        with pytest.raises(NoSpace, match="is full. Nothing was changed"):
            project.merge("fix")
        assert repo.status() == []
        (point / "filler").unlink()
        assert project.merge("fix").status == "merged"


def test_a_file_system_that_may_only_be_read_is_called_so(tmp_path: Path) -> None:
    with mounted("ext4", tmp_path, 60) as point:
        repo = Repo.create(point / "shop")
        repo.write("small", "small\n")
        repo.commit("start")
        clone(Project.initialize(repo.path), "fix")
        until = time.monotonic() + 20  # the clone's files are still written out
        while subprocess.run(["mount", "-o", "remount,ro", str(point)], capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < until
            time.sleep(0.1)
        with pytest.raises(NotAllowed, match="read-only"):
            Project.open(repo.path).clone(name="other")
