"""A merge brings all of a workspace's work, or nothing changes."""

from __future__ import annotations

import os

import pytest

from workspaces import Project
from workspaces.errors import InvalidArgument, NotFound, TargetMoved, Unsupported, WorkspacesError
from workspaces.model import Capabilities

from .folders import Main, at, clone


def test_every_kind_of_change_arrives(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "changed")
    fix.write("new/added.sh", "#!/bin/sh\n", 0o755)
    fix.write("new/data.bin", bytes(range(256)) * 100)
    fix.write("empty", "")
    fix.remove("auth/deep/er/keys.txt")
    fix.link("notes.md", "cart.py")
    fix.link("dangling", "no/where")
    fix.move("auth/api.py", "login/api.py")
    (fix.path / "tool.sh").chmod(0o644)
    result = project.merge("fix")
    assert result.status == "merged"
    assert main.contents() == fix.contents()
    assert (result.source, result.target) == ("shop/fix", "shop/main")
    assert {"cart.py", "new/added.sh", "new/data.bin", "notes.md", "dangling", "tool.sh"} <= {change.path for change in result.files}
    assert project.find("fix").state == "merged"
    assert project.compare(["fix"]).workspaces[0].files_changed == 0


def test_odd_names_arrive(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    for name in ("with\nnewline", "-dash", "*?[x]", "a:b", '"quoted"', "naïve ✓", "caf\udce9"):
        fix.write(f"odd {name}/{name}", "x\n")
    assert project.merge("fix").status == "merged"
    assert main.contents() == fix.contents()


def test_a_folder_takes_the_place_of_a_file_and_back(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.remove("notes.md")
    fix.write("notes.md/first.txt", "1\n")
    fix.remove("auth/deep/er/keys.txt")
    (fix.path / "auth/deep/er").rmdir()
    fix.write("auth/deep/er", "a file now\n")
    assert project.merge("fix").status == "merged"
    assert main.contents() == fix.contents()
    project.restore("main")
    assert main.read("notes.md") == "# Notes\n"
    assert main.read("auth/deep/er/keys.txt") == "keys\n"


def test_only_the_difference_of_the_two_is_touched(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("new.py", "new\n")
    before = main.contents(times=True)
    project.merge("fix")
    after = main.contents(times=True)
    assert {path: after[path] for path in before} == before


def test_work_of_both_is_kept(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("auth/api.py", "theirs\n")
    fix.remove("notes.md")
    main.edit(18, "ours")
    main.write("ours.txt", "ours\n")
    main.record()
    assert project.merge("fix").status == "merged"
    assert main.read("auth/api.py") == "theirs\n"
    assert not main.has("notes.md")
    assert (main.read("ours.txt"), main.read("cart.py").splitlines()[17]) == ("ours\n", "ours")


def test_the_same_change_on_both_sides_is_no_conflict(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    for folder in (fix, main):
        folder.edit(3, "the same")
        folder.write("new.py", "the same\n")
        folder.remove("notes.md")
    main.record()
    assert project.merge("fix").status == "up_to_date"


def test_lines_apart_in_one_file_are_combined_or_conflict(project: Project, main: Main) -> None:
    """Whether lines are merged is the backend's choice. Losing one of them is not."""
    fix = clone(project, "fix")
    fix.edit(2, "theirs")
    main.edit(19, "ours")
    main.record()
    before = main.contents()
    result = project.merge("fix")
    if result.status == "conflicts":
        assert [(conflict.path, conflict.kind) for conflict in result.conflicts] == [("cart.py", "content")]
        assert main.contents() == before
    else:
        assert result.status == "merged"
        assert (main.read("cart.py").splitlines()[1], main.read("cart.py").splitlines()[18]) == ("theirs", "ours")


def test_contents_and_permission_of_one_file_are_combined(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    (fix.path / "cart.py").chmod(0o755)
    main.edit(3, "ours")
    main.record()
    assert project.merge("fix").status == "merged"
    assert (main.path / "cart.py").stat().st_mode & 0o100
    assert "ours\n" in main.read("cart.py")


def test_nothing_to_bring(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    before = main.contents(times=True)
    assert project.merge("fix").status == "up_to_date"
    fix.edit(3, "mine")
    project.merge("fix")
    assert project.merge("fix").status == "up_to_date"
    assert project.merge("main", "fix").files == ()
    fix.edit(3, "line 3")
    assert project.merge("fix").status == "merged"
    assert {path: what.rsplit(" ", 1)[0] for path, what in before.items()} == main.contents()


@pytest.mark.parametrize("case", ["plain", "paths", "all paths", "clones", "sibling", "uncommitted", "target wins", "idle"])
def test_a_dry_run_says_when_the_source_would_stay(project: Project, main: Main, case: str) -> None:
    fix, _ = clone(project, "fix"), clone(project, "other")
    if case != "idle":
        fix.edit(3, "mine")
        fix.write("new.txt", "x\n")
    if case == "clones":
        clone(project, "below", "fix")
    if case == "target wins":
        other = clone(project, "another")
        other.edit(3, "theirs")
        project.merge("another")

    def merge(dry_run: bool) -> bool:
        paths = {"paths": ["new.txt"], "all paths": ["new.txt", "cart.py"]}.get(case, [])
        done = project.merge(
            "fix",
            target="other" if case == "sibling" else "",
            on_conflict="target" if case == "target wins" else "abort",
            history="none" if case == "uncommitted" else "squash",
            paths=paths,
            dry_run=dry_run,
            delete_source=True,
        )
        assert done.status in ("merged", "would_merge", "up_to_date")
        return any("not deleted: " in each or "not be deleted: " in each for each in done.warnings)

    foretold = merge(dry_run=True)
    assert (project.find("fix").state, merge(dry_run=False)) == ("ready", foretold)
    assert project.holds("fix")
    assert foretold == any(each.name == "fix" for each in project.status(detail="names").workspaces)


def test_a_dry_run_promises_and_does_nothing(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    before = main.contents(times=True)
    promised = project.merge("fix", dry_run=True)
    assert promised.status == "would_merge"
    assert main.contents(times=True) == before
    done = project.merge("fix", if_target=promised.snapshot)
    assert (done.status, done.files) == ("merged", promised.files)


def test_only_while_the_target_is_as_it_was_seen(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    seen = project.compare(["fix"]).base
    main.write("notes.md", "moved on\n")
    main.record()
    before = main.contents()
    with pytest.raises(TargetMoved) as refused:
        project.merge("fix", if_target=seen)
    assert main.contents() == before
    assert project.merge("fix", if_target=str(refused.value.details["snapshot"])).status == "merged"


@pytest.mark.parametrize("target", ["main", "two"])
def test_a_file_that_was_only_touched_is_no_obstacle(project: Project, main: Main, target: str) -> None:
    fix, two = clone(project, "fix"), clone(project, "two")
    fix.edit(3, "mine")
    folder = main if target == "main" else two
    os.utime(folder.path / "cart.py", (1, 1))
    assert project.merge("fix", target).status == "merged"
    assert folder.contents() == fix.contents()
    os.utime(folder.path / "cart.py", (1, 1))
    project.restore(target)
    assert folder.read("cart.py").splitlines()[2] == "line 3"


@pytest.mark.parametrize("target", ["main", "two"])
def test_what_is_written_to_the_target_meanwhile_is_not_lost(project: Project, main: Main, target: str) -> None:
    fix, two = clone(project, "fix"), clone(project, "two")
    fix.edit(3, "mine")
    fix.write("notes.md", "mine\n")
    folder = main if target == "main" else two

    def meddle(done: int, total: int, message: str) -> None:
        if done == 1:
            folder.edit(3, "meanwhile")

    with pytest.raises(WorkspacesError):
        project.merge("fix", target, progress=meddle)
    assert (folder.read("cart.py").splitlines()[2], folder.read("notes.md")) == ("meanwhile", "# Notes\n")
    folder.edit(3, "line 3")
    assert project.merge("fix", target).status == "merged"


def test_an_empty_folder_is_not_in_the_way(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("thing", "a file\n")
    (main.path / "thing" / "empty" / "below").mkdir(parents=True)
    assert project.merge("fix").status == "merged"
    assert main.read("thing") == "a file\n"


def test_the_answer_names_what_the_target_is_now(project: Project, main: Main) -> None:
    one, two = clone(project, "one"), clone(project, "two")
    one.write("one.txt", "1\n")
    two.write("two.txt", "2\n")
    now = project.merge("one").snapshot
    assert project.merge("two", if_target=now).status == "merged"
    assert (main.read("one.txt"), main.read("two.txt")) == ("1\n", "2\n")


def test_only_some_paths(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    fix.write("new/a.txt", "a\n")
    fix.write("new/b.txt", "b\n")
    fix.remove("notes.md")
    assert {change.path for change in project.merge("fix", paths=["new", "notes.md"]).files} == {"new/a.txt", "new/b.txt", "notes.md"}
    assert main.read("cart.py") == at(project.find("fix")).read("cart.py").replace("mine", "line 3")
    with pytest.raises(InvalidArgument):
        project.merge("fix", paths=["auth"])
    assert {change.path for change in project.merge("fix").files} == {"cart.py"}
    assert main.contents() == fix.contents()


def test_deleting_the_source_with_it(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    assert project.merge("fix", delete_source=True).status == "merged"
    assert not fix.path.exists()
    assert "mine\n" in main.read("cart.py")
    project.restore("fix")
    assert "mine\n" in fix.read("cart.py")


def test_what_cannot_be_asked(project: Project, main: Main) -> None:
    clone(project, "fix").edit(3, "mine")
    before = main.contents(times=True)
    for source, target in (("main", ""), ("fix", "fix")):
        with pytest.raises(InvalidArgument):
            project.merge(source, target)
    with pytest.raises(InvalidArgument):
        project.merge("fix", on_conflict="markers")
    with pytest.raises(NotFound):
        project.merge("nobody")
    assert main.contents(times=True) == before


def test_merge_commits(project: Project, main: Main, capabilities: Capabilities) -> None:
    clone(project, "fix").edit(3, "mine")
    if not capabilities.commits:
        before = main.contents(times=True)
        with pytest.raises(Unsupported):
            project.merge("fix", history="merge")
        assert main.contents(times=True) == before
    assert project.merge("fix", history="merge" if capabilities.commits else "squash").status == "merged"
    assert "mine\n" in main.read("cart.py")


def test_leaving_it_uncommitted(project: Project, main: Main) -> None:
    clone(project, "fix").edit(3, "mine")
    result = project.merge("fix", history="none")
    assert (result.status, result.commit) == ("merged", "")
    assert "mine\n" in main.read("cart.py")


# -- back and forth, and sideways ---------------------------------------------------------------------------------------------------------


def test_a_clone_is_brought_up_to_date_and_then_merges_cleanly(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("auth/api.py", "mine\n")
    main.edit(3, "from main")
    main.write("notes.md", "from main\n")
    main.record()
    assert {change.path for change in project.merge("main", "fix").files} == {"cart.py", "notes.md"}
    assert fix.read("notes.md") == "from main\n"
    assert project.compare(["fix"]).workspaces[0].files_changed == 1
    assert {change.path for change in project.merge("fix").files} == {"auth/api.py"}
    assert main.contents() == fix.contents()


def test_back_and_forth_reports_nothing_twice(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    for turn in range(3):
        fix.edit(3, f"fix {turn}")
        assert {change.path for change in project.merge("fix").files} == {"cart.py"}
        main.edit(3, f"main {turn}")
        main.write("notes.md", f"{turn}\n")
        main.record()
        assert project.compare(["fix"]).workspaces[0].merge == "up_to_date"
        assert {change.path for change in project.merge("main", "fix").files} == {"cart.py", "notes.md"}
        assert project.compare(["fix"]).workspaces[0].files_changed == 0
        assert fix.contents() == main.contents()
    assert project.merge("fix").status == "up_to_date"


def test_siblings_through_their_parent(project: Project, main: Main) -> None:
    one, two = clone(project, "one"), clone(project, "two")
    one.edit(2, "one")
    two.write("notes.md", "two\n")
    assert project.merge("one").status == project.merge("two").status == "merged"
    assert project.merge("main", "one").status == "merged"
    assert one.contents() == main.contents()
    assert (main.read("notes.md"), main.read("cart.py").splitlines()[1]) == ("two\n", "one")


def test_siblings_directly(project: Project, main: Main) -> None:
    one, two = clone(project, "one"), clone(project, "two")
    one.write("one.txt", "1\n")
    two.write("two.txt", "2\n")
    assert {change.path for change in project.merge("one", "two").files} == {"one.txt"}
    assert project.compare(["two"]).workspaces[0].files_changed == 2
    assert {change.path for change in project.merge("two").files} == {"one.txt", "two.txt"}
    assert project.merge("one").status == "up_to_date"
    assert main.contents() == two.contents()


def test_a_grandchild_through_its_parent_and_directly(project: Project, main: Main) -> None:
    one = clone(project, "one")
    one.write("one.txt", "1\n")
    two = clone(project, "two", "one")
    two.write("two.txt", "2\n")
    assert {change.path for change in project.merge("two").files} == {"two.txt"}
    assert one.contents() == two.contents()
    assert not main.has("two.txt")
    two.write("three.txt", "3\n")
    assert {change.path for change in project.merge("two", "main").files} >= {"three.txt"}
    assert main.read("three.txt") == "3\n"
    assert project.merge("one").status in ("merged", "up_to_date")
    assert (main.read("one.txt"), main.read("two.txt")) == ("1\n", "2\n")


def test_a_child_of_a_changed_parent_brings_only_its_own(project: Project, main: Main) -> None:
    one = clone(project, "one")
    one.edit(3, "one")
    two = clone(project, "two", "one")
    two.write("two.txt", "2\n")
    one.edit(3, "one, again")
    assert {change.path for change in project.merge("two").files} == {"two.txt"}
    assert "one, again\n" in one.read("cart.py")
    assert project.merge("one").status == "merged"
    assert main.contents() == one.contents()
