"""Work that was merged, and that a person took out of the parent again by other means: it is not thrown away unasked."""

from __future__ import annotations

import pytest

from workspaces import Project
from workspaces.errors import UnmergedChanges
from workspaces.model import Capabilities

from .folders import Main, clone


def test_work_that_main_took_back_is_not_deleted_unasked(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    fix.write("new.txt", "new\n")
    project.merge("fix")
    main.edit(3, "line 3")
    main.remove("new.txt")
    main.record()
    with pytest.raises(UnmergedChanges, match=r"main has taken its work back since in cart.py, new.txt"):
        project.delete(["fix"])
    kept = project.merge("fix", delete_source=True)
    assert (kept.status, "taken its work back" in kept.warnings[-1], fix.path.exists()) == ("up_to_date", True, True)
    seen, compared = project.status(["fix"]), project.compare(["fix"])
    assert [(each.workspaces[0].state, "taken its work back" in each.warnings[0]) for each in (seen, compared)] == [("ready", True)] * 2
    assert project.gc(abandoned=True).deleted == ()
    project.delete(["fix"], discard_unmerged=True)


def test_a_part_that_was_taken_back_counts_beside_other_work_in_the_file(project: Project, main: Main) -> None:
    """Where files are merged by lines. Who merges whole files cannot tell which part is whose."""
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    fix.edit(18, "mine too")
    other = clone(project, "other")
    other.edit(10, "other")
    project.merge("fix")
    by_lines = project.merge("other", dry_run=True).status == "would_merge"
    main.edit(3, "line 3")
    main.edit(18, "line 18")
    main.edit(10, "of main")
    main.record()
    if by_lines:
        with pytest.raises(UnmergedChanges, match="taken its work back"):
            project.delete(["fix"])
    else:
        assert project.delete(["fix"]).deleted == ("shop/fix",)


def test_work_that_main_went_on_with_is_still_in_there(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("changed.txt", "".join(f"changed {number}\n" for number in range(20)))
    fix.edit(3, "mine")
    project.merge("fix")
    main.edit(3, "mine, and better")
    main.edit(19, "of main")
    main.write("changed.txt", "changed\n")
    main.record()
    assert project.status(["fix"]).workspaces[0].state == "merged"
    assert project.delete(["fix"]).deleted == ("shop/fix",)


def test_work_that_main_moved_elsewhere_is_still_in_there(project: Project, main: Main, capabilities: Capabilities) -> None:
    """Where renames are found. Elsewhere it is not thrown away unasked."""
    fix = clone(project, "fix")
    fix.write("renamed.txt", "".join(f"renamed {number}\n" for number in range(20)))
    project.merge("fix")
    main.move("renamed.txt", "elsewhere/renamed.txt")
    main.record()
    if "rename_delete" in capabilities.merge_kinds:
        assert project.delete(["fix"]).deleted == ("shop/fix",)
    else:
        with pytest.raises(UnmergedChanges, match=r"in renamed.txt"):
            project.delete(["fix"])


def test_work_that_is_merged_again_after_it_was_taken_back_may_go(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    project.merge("fix")
    main.edit(3, "line 3")
    main.record()
    main.edit(3, "mine")
    main.record()
    assert project.delete(["fix"]).deleted == ("shop/fix",)


def test_a_merge_of_work_that_was_taken_back_says_so_and_brings_it_again_by_name(
    project: Project, main: Main, capabilities: Capabilities
) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    fix.write("new.txt", "new\n")
    project.merge("fix")
    main.write("notes.md", "between\n")
    main.record()
    main.edit(3, "line 3")
    main.remove("new.txt")
    main.record()
    main.write("notes.md", "later\n")
    main.record()
    before = main.contents(times=True)
    told = project.merge("fix")
    assert (told.status, main.contents(times=True)) == ("up_to_date", before)
    assert "taken its work back since in cart.py, new.txt" in told.summary
    assert ("by commit" in told.summary) == capabilities.commits
    assert "merge(source='shop/fix', paths=['cart.py', 'new.txt'])" in told.next[0]
    part = project.merge("fix", paths=["cart.py"])
    assert (part.status, [change.path for change in part.files]) == ("merged", ["cart.py"])
    assert "mine\n" in main.read("cart.py") and not main.has("new.txt") and main.read("notes.md") == "later\n"
    assert "in new.txt" in project.merge("fix").summary
    fix.write("new.txt", "new\nand more\n")
    rest = project.merge("fix", paths=["new.txt"], dry_run=True)
    assert (rest.status, [change.path for change in rest.files]) == ("would_merge", ["new.txt"])
    assert project.merge("fix", paths=["new.txt"]).status == "merged"
    assert main.read("new.txt") == "new\nand more\n"
    assert "taken" not in project.merge("fix").summary
    assert project.delete(["fix"]).deleted == ("shop/fix",)
