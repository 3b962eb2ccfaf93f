"""The folder of the workspaces ignores itself, whatever else somebody put in there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Repo, clone

from workspaces import Project


def link(draft: Path, mine: Path) -> None:
    draft.symlink_to(mine)


def another_name(draft: Path, mine: Path) -> None:
    draft.hardlink_to(mine)


def folder(draft: Path, mine: Path) -> None:
    draft.mkdir()


def pipe(draft: Path, mine: Path) -> None:
    os.mkfifo(draft)


def text(draft: Path, mine: Path) -> None:
    draft.write_text("precious\n")


@pytest.mark.parametrize("held", ["", "precious\n"])
@pytest.mark.parametrize("put", [link, another_name, folder, pipe, text], ids=lambda each: each.__name__)
def test_nothing_in_the_place_of_a_draft_is_written_to(
    project: Project, repo: Repo, tmp_path: Path, put: Callable[[Path, Path], None], held: str
) -> None:
    clone(project, "first")
    mine, ignore, draft = tmp_path / "mine", repo.path / ".workspaces" / ".gitignore", repo.path / ".workspaces" / ".gitignore.new"
    mine.write_text(held)
    ignore.unlink()
    put(draft, mine)
    before = draft.lstat()
    clone(project, "second")
    assert (mine.read_text(), ignore.read_text(), ignore.is_symlink()) == (held, "*\n", False)
    assert (draft.lstat().st_ino, draft.lstat().st_size) == (before.st_ino, before.st_size)
    assert repo.status() == []
    assert {each.name for each in ignore.parent.iterdir()} == {"first", "second", ".gitignore", ".gitignore.new"}


@pytest.mark.parametrize("written", ["", "*", "*\n"])
def test_a_draft_that_somebody_left_who_was_killed_is_completed(project: Project, repo: Repo, written: str) -> None:
    clone(project, "first")
    ignore = repo.path / ".workspaces" / ".gitignore"
    ignore.unlink()
    ignore.with_name(".gitignore.new").write_text(written)
    clone(project, "second")
    assert ignore.read_text() == "*\n"
    assert {each.name for each in ignore.parent.iterdir()} == {"first", "second", ".gitignore"}
