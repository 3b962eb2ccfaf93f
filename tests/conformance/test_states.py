"""What is remembered of a workspace follows what is done to it, taken back and done again."""

from __future__ import annotations

import os
import subprocess

import pytest

from workspaces import Project

from .folders import Main, clone
from .forking import python

DIES_AFTER_THE_END = """
import os, sys
from pathlib import Path
from workspaces import Project
from workspaces.store import Store
finish = Store.finish
def die(self, *args, **named):
    finish(self, *args, **named)
    os._exit(9)
Store.finish = die
project = Project.open(Path(sys.argv[1]))
{}
"""


def states(project: Project, name: str) -> tuple[str, str]:
    """Return a workspace's state as it is remembered, and as it is seen."""
    (seen,) = project.status([name]).workspaces
    return project.find(name).state, seen.state


def test_a_merge_that_is_done_again_is_merged_again(project: Project) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    before = project.find("fix").base
    project.merge("fix")
    merged = project.find("fix").base
    assert (states(project, "fix"), merged != before) == (("merged", "merged"), True)
    project.undo()
    assert (states(project, "fix"), project.find("fix").base) == (("ready", "ready"), before)
    project.redo()
    assert (states(project, "fix"), project.find("fix").base) == (("merged", "merged"), merged)
    project.undo()
    assert states(project, "fix") == ("ready", "ready")


def test_a_merge_into_a_clone_that_is_done_again_is_merged_again(project: Project) -> None:
    clone(project, "fix")
    clone(project, "below", "fix").edit(3, "mine")
    project.merge("below")
    project.undo()
    assert states(project, "below") == ("ready", "ready")
    project.redo()
    assert states(project, "below") == ("merged", "merged")


def test_an_update_that_is_taken_back_and_done_again_moves_the_base(project: Project, main: Main) -> None:
    clone(project, "fix").edit(10, "mine")
    before = project.find("fix").base
    main.edit(10, "theirs")
    main.record()
    project.merge("main", "fix", on_conflict="markers")
    updated = project.find("fix")
    assert (updated.state, updated.base != before) == ("conflicted", True)
    project.undo()
    back = project.find("fix")
    assert (back.state, back.unresolved, back.base) == ("ready", (), before)
    project.redo()
    again = project.find("fix")
    assert (again.state, again.unresolved, again.base) == ("conflicted", updated.unresolved, updated.base)


@pytest.mark.parametrize("kept", ["merged", "conflicted"])
def test_what_is_remembered_is_written_with_the_end_of_a_restore(project: Project, main: Main, kept: str) -> None:
    """The process dies right after the operation was ended: nobody comes to write the rest."""
    clone(project, "fix").edit(10, "mine")
    if kept == "conflicted":
        main.edit(10, "theirs")
        main.record()
    before = project.find("fix").base
    if kept == "conflicted":
        project.merge("main", "fix", on_conflict="markers")
    else:
        project.merge("fix")
    assert project.find("fix").state == kept
    command = [*python(), "-c", DIES_AFTER_THE_END.format("project.undo()"), str(main.path)]
    assert subprocess.run(command, env=dict(os.environ), check=False).returncode == 9
    found = Project.open(main.path).find("fix")
    assert (found.state, found.unresolved, found.base) == ("ready", (), before)


def test_a_merge_taken_back_by_restoring_and_done_again_by_restoring(project: Project) -> None:
    clone(project, "fix").edit(3, "mine")
    project.merge("fix")
    undone = project.restore("main").restore_point
    assert states(project, "fix") == ("ready", "ready")
    redone = project.restore("main", undone).restore_point
    assert states(project, "fix") == ("merged", "merged")
    project.restore("main", redone)
    assert states(project, "fix") == ("ready", "ready")
    assert project.merge("fix").status == "merged"


def test_a_deleted_one_comes_back_in_the_state_that_it_was_in(project: Project, main: Main) -> None:
    clone(project, "done").edit(3, "mine")
    clone(project, "open").edit(3, "other")
    project.merge("done")
    project.merge("main", "open", on_conflict="markers")
    project.delete(["done"])
    project.delete(["open"], discard_unmerged=True)
    assert project.restore("done").workspace.state == "merged"
    assert project.restore("open").workspace.state == "conflicted"
    assert (states(project, "done"), states(project, "open")) == (("merged", "merged"), ("conflicted", "conflicted"))


def test_what_was_cloned_from_a_deleted_one_is_not_taken_for_a_clone_of_its_namesake(project: Project) -> None:
    clone(project, "above")
    clone(project, "below", "above")
    project.delete(["below", "above"])
    clone(project, "above")
    clone(project, "beside", "above")
    project.restore("below")
    shown = {each.name: each.parent for each in project.status().workspaces}
    assert shown == {"main": "", "above": "shop/main", "beside": "shop/above", "below": "shop/main"}
    assert {each.name: each.parent for each in project.status(detail="names").workspaces} == shown
    assert [each.parent for each in project.compare(["below", "beside"]).workspaces] == ["shop/main", "shop/above"]


def test_status_says_what_the_files_of_a_workspace_take(project: Project) -> None:
    fix = clone(project, "fix")
    (before,) = project.status(["fix"], "full").workspaces
    (fix.path / "big.bin").write_bytes(os.urandom(1 << 20))
    result = project.status(["fix"], "full")
    (after,) = result.workspaces
    assert before.disk and after.disk
    assert after.disk.size - before.disk.size >= 1 << 20
    assert 0 <= after.disk.own <= after.disk.size
    assert "on disk" in result.summary
    assert project.status(["fix"]).workspaces[0].disk is None
