"""Several workspaces merged in one call: each whole, on top of the ones before, and what does not fit is left out."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from workspaces import Project
from workspaces.errors import InvalidArgument, NotFound, TargetMoved

from .folders import Folder, Main, clone


def _three(project: Project) -> tuple[Folder, Folder, Folder]:
    """Make three workspaces of which the second conflicts with the first."""
    one, two, three = (clone(project, name) for name in ("one", "two", "three"))
    one.edit(9, "one")
    two.edit(9, "two")
    three.write("three.txt", "3\n")
    return one, two, three


def test_what_conflicts_is_left_out_and_the_others_land(project: Project, main: Main) -> None:
    _three(project)
    result = project.merge(["one", "two", "three"])
    assert [(each.source, each.status) for each in result.results] == [
        ("shop/one", "merged"),
        ("shop/two", "conflicts"),
        ("shop/three", "merged"),
    ]
    assert (result.status, result.target) == ("conflicts", "shop/main")
    assert "Left out: two" in result.summary
    assert result.results[1].conflicts[0].path == "cart.py"
    assert (main.read("cart.py").splitlines()[8], main.read("three.txt")) == ("one", "3\n")
    assert project.find("two").state == "ready"
    assert {project.find(name).state for name in ("one", "three")} == {"merged"}


def test_each_is_undone_alone_and_all_together(project: Project, main: Main) -> None:
    before = main.contents()
    _three(project)
    result = project.merge(["one", "three"])
    assert result.status == "merged"
    after = main.contents()
    project.undo()
    assert main.contents() == before
    project.redo()
    assert main.contents() == after
    project.restore("main", result.results[1].restore_point)
    assert not main.has("three.txt")
    assert main.read("cart.py").splitlines()[8] == "one"


def test_later_ones_are_merged_on_top_of_earlier_ones(project: Project, main: Main) -> None:
    one = clone(project, "one")
    one.write("one.txt", "1\n")
    two = clone(project, "two", "one")
    two.write("two.txt", "2\n")
    result = project.merge(["one", "two"], "main")
    assert [{change.path for change in each.files} for each in result.results] == [{"one.txt"}, {"two.txt"}]


def test_nobody_is_named_in_vain(project: Project, main: Main) -> None:
    _three(project)
    clone(project, "child", "one").write("x", "x\n")
    before = main.contents(times=True)
    with pytest.raises(NotFound):
        project.merge(["one", "nobody"])
    with pytest.raises(NotFound):
        project.merge(["one", "nobody"], "main")
    with pytest.raises(InvalidArgument):
        project.merge(["one", "child"])
    with pytest.raises(InvalidArgument):
        project.merge(["one", "shop/one"])
    with pytest.raises(InvalidArgument):
        project.merge(["one", "one"])
    assert main.contents(times=True) == before


def test_only_while_nobody_else_moved_the_target(project: Project, main: Main) -> None:
    _three(project)
    seen = project.compare(["one"]).base
    result = project.merge(["one", "three"], if_target=seen)
    assert [each.status for each in result.results] == ["merged", "merged"]
    clone(project, "four").write("four.txt", "4\n")
    late = project.merge(["four"], if_target=seen)
    assert (late.status, late.results[0].source) == ("refused", "shop/four")
    assert [*result.wire()][-2:] == ["results", "next"]
    with pytest.raises(TargetMoved):
        project.merge("four", if_target=seen)
    assert not main.has("four.txt")


def test_policies_hold_for_each(project: Project, main: Main) -> None:
    for name in ("one", "two"):
        clone(project, name).write("log.md", f"{name}\n")
    result = project.merge(["one", "two"], on_conflict="union", delete_source=True)
    assert result.status == "merged"
    assert main.read("log.md") == "one\ntwo\n"
    assert [workspace.name for workspace in project.status().workspaces] == ["main"]


def test_a_dry_run_of_several_changes_nothing(project: Project, main: Main) -> None:
    _three(project)
    before = main.contents(times=True)
    result = project.merge(["one", "two", "three"], dry_run=True)
    assert {each.status for each in result.results} == {"would_merge"}
    assert "each alone" in result.summary
    assert main.contents(times=True) == before


def _killed_after_the_first(root: Path, delete: bool) -> None:
    def die(done: int, total: int, message: str) -> None:
        if done == 1 and total == 2:
            os._exit(9)

    Project.open(root).merge(["one", "three"], delete_source=delete, request_key="land", progress=die)


@pytest.mark.parametrize("delete", [False, True])
def test_a_call_that_was_killed_between_two_goes_on(project: Project, main: Main, delete: bool) -> None:
    _three(project)
    child = multiprocessing.get_context("spawn").Process(target=_killed_after_the_first, args=(main.path, delete))
    child.start()
    child.join()
    assert child.exitcode == 9
    assert main.read("cart.py").splitlines()[8] == "one" and not main.has("three.txt")
    result = project.merge(["one", "three"], delete_source=delete, request_key="land")
    assert [each.status for each in result.results] == ["merged", "merged"]
    assert main.read("three.txt") == "3\n"
    assert sum(operation.verb == "merge" for operation in project.log().operations) == 2
    assert project.merge(["one", "three"], delete_source=delete, request_key="land") == result
