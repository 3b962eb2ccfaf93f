"""What is small where it is kept and endless where it is looked at: it is refused by name, within bounds, and can be deleted."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
from support import Repo, clone

from workspaces import Project
from workspaces.errors import BackendFailed, Limit, UnmergedChanges, WorkspacesError
from workspaces.model import History

MOST = 400
"""Megabytes that the largest process of a call may have; the bound of a child and a server's own come to less."""


def tree_of_a_billion(repo: Repo) -> str:
    """Return a tree of 10⁹ files that is a few hundred bytes of objects."""
    blob = written(repo, "blob", b"x\n")
    made = written(repo, "tree", b"".join(b"100644 f%d\0" % number + bytes.fromhex(blob) for number in range(10)))
    for _ in range(8):
        made = written(repo, "tree", b"".join(b"40000 d%d\0" % number + bytes.fromhex(made) for number in range(10)))
    return made


def written(repo: Repo, kind: str, contents: bytes) -> str:
    command = ["git", "hash-object", "-t", kind, "-w", "--stdin"]
    return subprocess.run(command, cwd=repo.path, input=contents, capture_output=True, check=True).stdout.decode().strip()


def index_of(repo: Repo) -> Path:
    return Path(repo.git("rev-parse", "--absolute-git-dir")) / "index"


def rows_of(index: Path) -> list[bytes]:
    """Return the entries of an index of version 2 (gitformat-index(5))."""
    data, at, rows = index.read_bytes(), 12, list[bytes]()
    for _ in range(struct.unpack(">I", data[8:12])[0]):
        length = (data.index(b"\0", at + 62) - at + 8) // 8 * 8
        rows.append(data[at : at + length])
        at += length
    return rows


def write_index(index: Path, version: int, rows: list[bytes], extension: bytes) -> None:
    body = b"DIRC" + struct.pack(">II", version, len(rows)) + b"".join(rows) + extension
    index.write_bytes(body + hashlib.sha1(body, usedforsecurity=False).digest())


def head_at_a_billion(fix: Repo) -> None:
    made = fix.git("-c", "user.name=x", "commit-tree", tree_of_a_billion(fix), "-p", "HEAD", "-m", "bomb")
    fix.git("update-ref", "--no-deref", "HEAD", made)


def index_that_claims_a_billion(fix: Repo) -> None:
    """The extension that remembers the trees of an index is believed by git, whatever the entries say."""
    index = index_of(fix)
    rows = rows_of(index)
    said = b"\0%d 0\n" % len(rows) + bytes.fromhex(tree_of_a_billion(fix))
    write_index(index, 2, rows, b"TREE" + struct.pack(">I", len(said)) + said)


def index_with_a_folder_of_a_billion(fix: Repo) -> None:
    """A sparse index has folders as entries, which git expands."""
    index, name = index_of(fix), b"zzz/"
    stat = bytes(24) + struct.pack(">I", 0o40000) + bytes(12)
    row = stat + bytes.fromhex(tree_of_a_billion(fix)) + struct.pack(">HH", 0x4000 | len(name), 0x4000) + name
    write_index(index, 3, [*rows_of(index), row + bytes(8 - len(row) % 8)], b"sdir" + bytes(4))


def file_of_a_terabyte(fix: Repo) -> None:
    with (fix.path / "disk.img").open("wb") as file:
        file.truncate(1 << 40)


def endless_patterns(fix: Repo) -> None:
    fix.write(".gitignore", "**/a/" * 12 + "b\n" + "*a" * 20 + "b\n")
    deep = "a/" * 50
    for number in range(50):
        fix.write(f"{deep}{'a' * 150}{number}", "x\n")


def blob_of_zeros(fix: Repo) -> None:
    """600 MB that are less than one in the repository; what is checked out in its place is hidden from git."""
    with (fix.path / ".git-zeros").open("wb") as file:
        file.truncate(600 << 20)
    fix.git("-c", "core.bigFileThreshold=1m", "-c", "pack.compression=1", "add", ".git-zeros")
    (fix.path / ".git-zeros").unlink()
    blob = fix.git("ls-files", "--stage", ".git-zeros").split()[1]
    fix.git("update-index", "--force-remove", ".git-zeros")
    fix.git("update-index", "--cacheinfo", f"100644,{blob},cart.py")
    fix.git("-c", "user.name=x", "commit", "-qm", "zeros")
    (fix.path / "cart.py").unlink()
    fix.git("update-index", "--skip-worktree", "cart.py")


def message_without_end(fix: Repo) -> None:
    head = f"tree {fix.git('rev-parse', 'HEAD^{tree}')}\nparent {fix.head}\nauthor x <x> 1 +0000\ncommitter x <x> 1 +0000\n\n"
    fix.git("update-ref", "--no-deref", "HEAD", written(fix, "commit", head.encode() + b"x" * (100 << 20)))


BOMBS: list[Callable[[Repo], None]] = [
    head_at_a_billion,
    index_that_claims_a_billion,
    index_with_a_folder_of_a_billion,
    message_without_end,
    blob_of_zeros,
    file_of_a_terabyte,
    endless_patterns,
]


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Remove what would be too deep, or too much, for whoever clears away after the tests."""
    yield
    subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bombs that take for ever need not take long here."""
    monkeypatch.setattr("workspaces.backends.bounds.PATIENCE", 0.7)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_answered_and_deleted(project: Project, repo: Repo, bomb: Callable[[Repo], None]) -> None:
    fix = clone(project, "fix")
    bomb(fix)
    before = repo.status()
    calls: list[Callable[[], object]] = [
        lambda: project.compare(["fix"], detail="diff"),
        lambda: project.merge("fix"),
        lambda: project.clone("fix", name="two"),
        lambda: project.clone("fix", name="three", include_uncommitted=False),
    ]
    for call in calls:
        try:
            call()
        except WorkspacesError as error:
            assert error.code == "limit", error.message
            assert "too large" in error.message
    project.status()
    project.delete(["fix"], discard_unmerged=True, children="reparent")
    assert repo.status() == before


STARTER = """
import os, resource, sys
os.waitpid(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print('', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, sep=chr(10), end='')
"""
"""Starts a program and tells how large it became. What it is started from counts too until it is another program, so that has to be small."""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a parent bound the memory of a child that runs")
@pytest.mark.parametrize("bomb", [index_that_claims_a_billion, index_with_a_folder_of_a_billion])
def test_a_bomb_does_not_fill_the_memory(project: Project, repo: Repo, bomb: Callable[[Repo], None]) -> None:
    fix = clone(project, "fix")
    bomb(fix)
    command = Path(sys.executable).with_name("workspaces")
    for call in (
        ["compare", "fix"],
        ["clone", "fix"],
        ["status"],
        ["delete", "fix", "--discard-unmerged", "--children", "delete"],
    ):
        starter = [sys.executable, "-IS", "-c", STARTER, str(command), "-C", str(repo.path), *call]
        done = subprocess.run(starter, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        said, _, kilobytes = done.stdout.rpartition(b"\n")
        assert b"Traceback" not in said
        assert int(kilobytes) / 1024 < MOST, (call, said)
    assert not fix.path.exists()


@pytest.mark.parametrize("name", ["HEAD", "index", "logs/HEAD", "note"])
@pytest.mark.parametrize("what", ["pipe", "device", "hole"])
def test_what_never_ends_in_a_git_directory_is_not_read(project: Project, repo: Repo, name: str, what: str) -> None:
    fix = clone(project, "fix")
    other = clone(project, "other")
    place = index_of(fix).parent / name
    place.unlink(missing_ok=True)
    place.parent.mkdir(exist_ok=True)
    match what:
        case "pipe":
            os.mkfifo(place)
        case "device":
            place.symlink_to("/dev/zero")
        case _:
            with place.open("wb") as file:
                file.truncate(1 << 40)
    other.write("cart.py", "other\n")
    assert project.merge("other").status == "merged"
    project.doctor()
    if name == "index":
        with pytest.raises((BackendFailed, Limit)):
            project.compare(["fix"])
    project.delete(["fix"], discard_unmerged=True)
    assert not fix.path.exists()


@pytest.mark.parametrize("name", ["cart.py", ".git", ".gitattributes", ".worktreeinclude"])
def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(project: Project, repo: Repo, name: str) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    repo.write("cart.py", "ours\n")
    repo.commit("ours")
    project.merge("main", "fix", on_conflict="markers")
    (fix.path / name).unlink(missing_ok=True)
    os.mkfifo(fix.path / name)
    project.status()
    project.doctor()
    with suppress(BackendFailed, Limit):
        project.compare(["fix"])
    with suppress(BackendFailed, Limit):
        clone(project, "two", "fix")
    project.delete(["fix"], discard_unmerged=True, children="delete")
    assert not fix.path.exists()


@pytest.mark.parametrize("history", [*get_args(History)])
def test_a_pipe_that_git_reads_while_it_moves_a_checkout_holds_nobody_up(
    project: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch, history: History
) -> None:
    fix = clone(project, "fix")
    repo.write("cart.py", "ours\n")
    repo.commit("ours")
    os.mkfifo(fix.path / ".gitattributes")
    before = fix.head, fix.read("cart.py"), fix.status()
    monkeypatch.setattr("workspaces.backends.bounds.STANDSTILL", 0.5)
    monkeypatch.setattr("workspaces.backends.bounds.PATIENCE", 0.3)
    with pytest.raises(Limit):
        project.merge("main", "fix", history=history)
    (fix.path / ".gitattributes").unlink()
    project.status()
    assert (fix.head, fix.read("cart.py"), fix.status()) == before
    assert project.merge("main", "fix", history=history).status == "merged"
    assert (fix.read("cart.py"), fix.status()) == ("ours\n", [] if history != "none" else [" M cart.py"])


def test_folders_deeper_than_any_path_are_no_obstacle(project: Project) -> None:
    fix = clone(project, "fix")
    here = os.open(fix.path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    project.compare(["fix"])
    project.delete(["fix"], discard_unmerged=True)
    assert not fix.path.exists()


def test_any_number_of_repositories_without_a_commit_is_left_out(project: Project) -> None:
    fix = clone(project, "fix")
    for number in range(12):
        Repo.create(fix.path / f"inside-{number}")
    fix.write("cart.py", "mine\n")
    compared = project.compare(["fix"])
    assert compared.workspaces[0].files_changed == 1
    assert "and 7 more" in compared.warnings[0]
    assert project.merge("fix").status == "merged"


# -- folders ------------------------------------------------------------------------------------------------------------------------------


def deepest(folder: Path) -> None:
    """1,500 levels, a file in each of the last hundred: what is done per level and file must not look at all levels again."""
    here = os.open(folder, os.O_RDONLY)
    for level in range(1500):
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        if level >= 1400:
            os.close(os.open("file", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=here))
    os.close(here)


def countless(folder: Path) -> None:
    for number in range(8000):
        (folder / f"{number}.txt").touch()


def repositories_without_number(folder: Path) -> None:
    for number in range(1000):
        (folder / f"inside-{number}" / ".git").mkdir(parents=True)
        (folder / f"inside-{number}" / ".git" / "HEAD").touch()


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A folder that is no repository. It is removed at the end: pytest's own way of doing that fails on a deep tree."""
    folder = tmp_path / "survey"
    folder.mkdir()
    (folder / "notes.md").write_text("# Survey\n")
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def test_fifteen_hundred_levels_cost_no_more_than_as_many_folders(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workspaces.backends.bounds.PATIENCE", 3.0)
    project = Project.initialize(data)
    deepest(clone(project, "fix").path)
    assert project.compare(["fix"]).workspaces[0].files_changed == 100
    project.clone("fix", name="two")
    assert project.merge("fix").status == "merged"


def of_few_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workspaces.backends.bounds.MOST", 1000)


def of_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATIENCE", "STEP", "PER_PATH"):
        monkeypatch.setattr(f"workspaces.backends.bounds.{name}", 1e-6)


@pytest.mark.parametrize(
    ("bomb", "bound"),
    [(countless, of_few_paths), (repositories_without_number, of_few_paths), (deepest, of_few_paths), (deepest, of_no_time)],
)
def test_a_folder_that_is_too_large_is_refused_and_deleted(
    data: Path, bomb: Callable[[Path], None], bound: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.initialize(data)
    fix = clone(project, "fix")
    bomb(fix.path)
    with monkeypatch.context() as bounded:
        bound(bounded)
        calls: list[Callable[[], object]] = [
            lambda: project.compare(["fix"]),
            lambda: project.clone("fix"),
            lambda: project.checkpoint("fix"),
            lambda: project.merge("fix"),
        ]
        for call in calls:
            with pytest.raises(Limit, match="too large"):
                call()
        project.delete(["fix"], discard_unmerged=True)
    assert not fix.path.exists()
    assert [entry.name for entry in data.iterdir() if entry.name != ".workspaces"] == ["notes.md"]
    assert all(finding.ok for finding in project.doctor().findings)


def test_honest_files_are_time_enough_for_themselves(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little a call may use for nothing: a whole project comes into a small one, as git would bring it."""
    monkeypatch.setattr("workspaces.backends.bounds.PATIENCE", 0.1)
    project = Project.initialize(data)
    fix = clone(project, "fix")
    for number in range(2000):
        fix.write(f"{number % 40}/{number}.txt", f"{number}\n")
    assert project.compare(["fix"]).workspaces[0].files_changed == 2000
    assert len(project.merge("fix").files) > 0
    assert (data / "7" / "47.txt").read_text() == "47\n"


def test_a_repository_in_a_copy_is_told_among_many(data: Path) -> None:
    project = Project.initialize(data)
    repositories_without_number(data)
    fix = clone(project, "fix")
    (fix.path / "inside-7" / ".git" / "HEAD").write_text("elsewhere\n")
    with pytest.raises(UnmergedChanges, match="inside-7"):
        project.delete(["fix"])
