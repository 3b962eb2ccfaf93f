"""Restore points, and taking back what was done."""

from __future__ import annotations

import pytest

from workspaces import Project
from workspaces.errors import NotFound, WorkspacesError

from .folders import Main, clone


def test_a_merge_is_taken_back(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    fix.write("new/deep.txt", "new\n")
    fix.remove("notes.md")
    before = main.contents()
    point = project.merge("fix").restore_point
    assert point == "main@1"
    project.restore("main")
    assert main.contents() == before
    assert project.compare(["fix"]).workspaces[0].merge == "clean"
    assert project.merge("fix").status == "merged"
    assert main.contents() == fix.contents()


def test_a_merge_is_taken_back_under_later_ones(project: Project, main: Main) -> None:
    one, two = clone(project, "one"), clone(project, "two")
    one.edit(3, "one")
    one.write("one.txt", "1\n")
    two.write("two.txt", "2\n")
    point = project.merge("one").restore_point
    project.merge("two")
    project.restore("main", point)
    assert not main.has("one.txt")
    assert (main.read("two.txt"), main.read("cart.py").splitlines()[2]) == ("2\n", "line 3")


def test_what_others_built_on_is_not_torn_out(project: Project, main: Main) -> None:
    one = clone(project, "one")
    one.edit(3, "one")
    point = project.merge("one").restore_point
    two = clone(project, "two")
    two.edit(3, "one, then two")
    project.merge("two")
    before = main.contents()
    with pytest.raises(WorkspacesError):
        project.restore("main", point)
    assert main.contents() == before


def test_undo_goes_back_step_by_step(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    before = main.contents()
    project.merge("fix")
    project.delete(["fix"])
    assert project.undo().operations[0].verb == "delete"
    assert "mine\n" in fix.read("cart.py")
    assert project.undo().operations[0].verb == "merge"
    assert main.contents() == before
    assert project.undo().operations[0].verb == "clone"
    assert not fix.path.exists()
    with pytest.raises(NotFound):
        project.undo()


def test_a_restore_is_taken_back_too(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    project.merge("fix")
    merged = main.contents()
    kept = project.restore("main").restore_point
    project.restore("main", kept)
    assert main.contents() == merged


@pytest.mark.parametrize("name", ["fix", "main"])
def test_back_to_a_checkpoint_by_name_label_and_number(project: Project, main: Main, name: str) -> None:
    fix = clone(project, "fix")
    folder = main if name == "main" else fix
    folder.write("first.txt", "1\n")
    first = folder.contents()
    point = project.checkpoint(name, "first step").restore_point
    assert point == f"{name}@1"
    folder.write("second.txt", "2\n")
    folder.remove("first.txt")
    folder.edit(3, "later")
    second = folder.contents()
    for to in (point, "first step", "1"):
        back = project.restore(name, to).restore_point
        assert folder.contents() == first
        project.restore(name, back)
        assert folder.contents() == second
    with pytest.raises(NotFound):
        project.restore(name, "no such label")
    assert folder.contents() == second


def test_the_last_checkpoint_without_a_name(project: Project) -> None:
    fix = clone(project, "fix")
    with pytest.raises(NotFound):
        project.restore("fix")
    fix.write("first.txt", "1\n")
    project.checkpoint("fix")
    fix.write("first.txt", "2\n")
    project.restore("fix")
    assert fix.read("first.txt") == "1\n"


def test_a_checkpoint_changes_nothing_and_outlives_its_objects_elsewhere(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("only here.bin", bytes(range(256)) * 4000)
    before = (main.contents(times=True), fix.contents(times=True))
    project.checkpoint("fix")
    assert (main.contents(times=True), fix.contents(times=True)) == before
    fix.remove("only here.bin")
    clone(project, "other")
    project.delete(["other"])
    project.restore("fix")
    assert fix.contents() == {path: what.rsplit(" ", 1)[0] for path, what in before[1].items()}


def test_a_restored_clone_merges_as_if_nothing_had_been(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("kept.txt", "kept\n")
    project.checkpoint("fix", "good")
    fix.write("dropped.txt", "dropped\n")
    project.restore("fix", "good")
    assert {change.path for change in project.merge("fix").files} == {"kept.txt"}
    assert not main.has("dropped.txt")


def test_the_log_tells_what_was_done_newest_first(project: Project) -> None:
    clone(project, "fix").edit(3, "mine")
    project.checkpoint("fix", "good")
    project.merge("fix")
    project.delete(["fix"])
    done = project.log().operations
    assert [operation.verb for operation in done] == ["delete", "merge", "checkpoint", "clone"]
    assert done[1].workspaces == ("shop/fix", "shop/main")
    project.restore("main")
    assert [(operation.verb, operation.state) for operation in project.log().operations][:3] == [
        ("restore", "done"),
        ("delete", "done"),
        ("merge", "undone"),
    ]


def test_status_tells_the_tree_and_the_size_of_each(project: Project, main: Main) -> None:
    fix = clone(project, "a")
    fix.edit(3, "mine")
    fix.write("new.txt", "1\n2\n")
    clone(project, "b")
    clone(project, "a-child", "a").remove("notes.md")
    found = project.status()
    assert [workspace.name for workspace in found.workspaces] == ["main", "a", "a-child", "b"]
    sizes = {each.name: (each.files_changed, each.insertions, each.deletions) for each in found.workspaces}
    assert sizes == {"main": (0, 0, 0), "a": (2, 3, 1), "a-child": (1, 0, 1), "b": (0, 0, 0)}
    assert {workspace.parent for workspace in found.workspaces} == {"", "shop/main", "shop/a"}
    assert found.workspaces[0].location == str(main.path)
    assert [workspace.name for workspace in project.status(["a-child"]).workspaces] == ["a-child"]
    with pytest.raises(NotFound):
        project.status(["nobody"])


def test_status_of_some_says_nothing_of_the_others(project: Project) -> None:
    for name in ("a", "b", "c", "d"):
        clone(project, name)
    project.delete(["c", "d"])
    found = project.status(["a", "shop/a", "main"])
    assert ([each.name for each in found.workspaces], "besides" in found.summary) == (["main", "a"], False)
    found = project.status(["a"], include_deleted=True)
    assert ([each.name for each in found.workspaces], "deleted" in found.summary) == (["a"], False)
    found = project.status(["c"], include_deleted=True)
    assert ([(each.name, each.state) for each in found.workspaces], "restore" in found.next[0]) == ([("c", "deleted")], True)
    clone(project, "c")
    assert [each.state for each in project.status(["c"], include_deleted=True).workspaces] == ["ready", "deleted"]
    with pytest.raises(NotFound):
        project.status(["d"])
