"""Making a folder a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from workspaces import Project
from workspaces.backend import find, installed
from workspaces.errors import NoProject, NotAProject
from workspaces.model import Capabilities

from .folders import Main, clone


def test_twice_gives_the_same_project_and_changes_no_file(main: Main, kind: str) -> None:
    before = main.contents(times=True)
    first = Project.initialize(main.path, backend=kind)
    assert main.contents(times=True) == before
    first.clone(name="fix")
    again = Project.initialize(main.path, backend=kind)
    assert again.described() == first.described()
    assert again.status(detail="names") == first.status(detail="names")
    assert main.contents(times=True) == before


def test_it_is_kept_by_the_backend_that_was_named(project: Project, main: Main, kind: str) -> None:
    described = project.described()
    assert (described.backend, described.project, described.workspace.id) == (kind, "shop", "shop/main")
    assert described.workspace.location == str(main.path)
    assert find(main.path).name == kind == installed()[kind].name


def test_auto_opens_it_again(project: Project, main: Main, kind: str) -> None:
    assert Project.initialize(main.path).described().backend == kind
    assert project.root == main.path


def test_it_is_opened_from_anywhere_inside_and_from_its_workspaces(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    for place in (main.path / "auth" / "deep", fix.path, fix.path / "auth"):
        assert Project.open(place).root == main.path


def test_what_nobody_initialized_is_not_opened(main: Main, tmp_path: Path) -> None:
    with pytest.raises((NoProject, NotAProject)):
        Project.open(main.path)
    with pytest.raises(NotAProject):
        Project.open(tmp_path / "nowhere")


def test_it_says_what_it_can(capabilities: Capabilities) -> None:
    assert {"content", "add_add", "modify_delete"} <= {*capabilities.merge_kinds}
    assert capabilities.max_clones >= 1
    assert capabilities.isolation and capabilities.copies_by


def test_a_project_that_was_moved_keeps_its_workspaces(project: Project, main: Main, kind: str) -> None:
    clone(project, "fix").edit(3, "mine")
    moved = Main(main.path.rename(main.path.with_name("moved")), main.record_at)
    assert moved.read("cart.py") != ""
    there = Project.initialize(moved.path, backend=kind)
    assert there.merge("fix").status == "merged"
    assert "mine\n" in moved.read("cart.py")
    moved.path.rename(main.path)
    Project.initialize(main.path, backend=kind)
