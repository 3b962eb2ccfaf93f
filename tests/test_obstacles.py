"""What keeps a merge from a checkout is seen from the index alone where git would say nothing, and only there."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Repo, clone, hidden

from workspaces import Project, WorkspacesError

MODULE = pkgutil.resolve_name("workspaces.backends.worktree.obstacles")
ASKS_GIT, LOOKS = (MODULE, "_dirty"), (MODULE, "_are_as_noted")


def never(*args: object) -> set[bytes]:
    raise AssertionError("git was asked")


def blind(*args: object) -> bool:
    return False


def edit_unseen(repo: Repo) -> None:
    """Change a file, so that neither its size nor its time tells of it."""
    file = repo.path / "lib/a.py"
    found = file.stat()
    file.write_text(file.read_text().upper())
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def move_folder(repo: Repo) -> None:
    (repo.path / "lib").rename(repo.path / "elsewhere")
    (repo.path / "lib").symlink_to("elsewhere")


def forget_the_look(repo: Repo) -> None:
    """Let the index say nothing of how a file was found, which was edited."""
    edit_unseen(repo)
    repo.git("update-index", "--add", "--cacheinfo", f"100644,{repo.git('rev-parse', 'HEAD:lib/a.py')},lib/a.py")


def leave_unmerged(repo: Repo) -> None:
    blob = repo.git("rev-parse", "HEAD:lib/a.py")
    lines = "".join(f"100644 {blob} {stage}\tlib/a.py\n" for stage in (1, 2, 3))
    told = f"0 {'0' * 40}\tlib/a.py\n{lines}".encode()
    subprocess.run(["git", "update-index", "--index-info"], cwd=repo.path, input=told, check=True)


def add_new(repo: Repo) -> None:
    repo.write("lib/new.py", "mine\n")
    repo.git("add", "-A")


def add_new_and_lose_it(repo: Repo) -> None:
    add_new(repo)
    (repo.path / "lib/new.py").unlink()


def stage(repo: Repo) -> None:
    repo.write("lib/a.py", "mine\n")
    repo.git("add", "-A")


def stage_and_restore(repo: Repo) -> None:
    stage(repo)
    repo.git("restore", "lib/a.py", "-s", "HEAD")


def hide(repo: Repo) -> None:
    hidden(repo, "lib/a.py")


def edit_hidden(repo: Repo) -> None:
    hide(repo)
    repo.write("lib/a.py", "mine\n")


def edit_skipped(repo: Repo) -> None:
    repo.git("update-index", "--skip-worktree", "lib/a.py")
    repo.write("lib/a.py", "mine\n")


def make_program(repo: Repo) -> None:
    (repo.path / "lib/a.py").chmod(0o755)


def make_program_that_is_none(repo: Repo) -> None:
    repo.git("config", "core.fileMode", "false")
    make_program(repo)


def make_link(repo: Repo) -> None:
    (repo.path / "lib/a.py").unlink()
    (repo.path / "lib/a.py").symlink_to("b.py")


def in_two_files(repo: Repo) -> None:
    add_new_and_lose_it(repo)
    repo.git("update-index", "--split-index")


def of_version_4(repo: Repo) -> None:
    add_new_and_lose_it(repo)
    repo.git("update-index", "--index-version=4")


STATES: dict[str, Callable[[Repo], object]] = {
    "as it was": Repo.status,
    "edited": lambda repo: repo.write("lib/a.py", "mine\n"),
    "edited unseen": edit_unseen,
    "edited, and nothing said of it": forget_the_look,
    "touched": lambda repo: os.utime(repo.path / "lib/a.py", (1, 1)),
    "staged": stage,
    "staged, and as it was": stage_and_restore,
    "hidden": hide,
    "hidden and edited": edit_hidden,
    "skipped and edited": edit_skipped,
    "a program": make_program,
    "a program where that says nothing": make_program_that_is_none,
    "removed": lambda repo: (repo.path / "lib/a.py").unlink(),
    "removed and staged": lambda repo: repo.git("rm", "-q", "lib/a.py"),
    "a link": make_link,
    "its folder elsewhere": move_folder,
    "unmerged": leave_unmerged,
    "the new one there": lambda repo: repo.write("lib/new.py", "mine\n"),
    "the new one staged": add_new,
    "the new one staged, and gone": add_new_and_lose_it,
    "the new one intended": lambda repo: (repo.write("lib/new.py", "mine\n"), repo.git("add", "-N", "lib/new.py")),
    "in two files": lambda repo: repo.git("update-index", "--split-index"),
    "in two files, the new one staged, and gone": in_two_files,
    "of version 4": lambda repo: repo.git("update-index", "--index-version=4"),
    "of version 4, the new one staged, and gone": of_version_4,
    "elsewhere": lambda repo: repo.write("notes.md", "mine\n"),
}
TOLD = {"as it was", "elsewhere"}
"""In which git need not be asked."""


def outcome(folder: Path, state: str) -> list[object]:
    """Return what comes of a merge into a checkout in some state, and what is there then."""
    repo = Repo.create(folder / "shop")
    for name in "abc":
        repo.write(f"lib/{name}.py", f"{name}\n" * 9)
    repo.commit("files")
    project = Project.initialize(repo.path)
    fix = clone(project, "fix")
    fix.write("lib/a.py", "theirs\n")
    fix.write("lib/new.py", "theirs\n")
    long_ago = time.time() - 60
    os.utime(repo.path / "lib/a.py", (long_ago, long_ago))
    repo.git("update-index", "--refresh")
    STATES[state](repo)
    said: str
    try:
        said = project.merge("fix").status
    except WorkspacesError as error:
        said = f"{error.code}: {error.message}"
    there = {path: (repo.path / path).read_bytes() for path in ("lib/a.py", "lib/new.py") if (repo.path / path).is_file()}
    return [said, repo.status(), repo.git("ls-files", "--stage"), there]


@pytest.mark.parametrize("state", STATES)
def test_it_is_what_git_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(*LOOKS, blind)
        wanted = outcome(tmp_path / "git", state)
    if state in TOLD:
        monkeypatch.setattr(*ASKS_GIT, never)
    assert outcome(tmp_path / "ours", state) == wanted
