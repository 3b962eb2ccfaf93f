"""Deleting is setting aside: refused where work would go unasked, and byte for byte when it comes back."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from workspaces import Project
from workspaces.backend import find
from workspaces.errors import Exists, HasChildren, NotFound, Protected, UnmergedChanges
from workspaces.store import Store

from .folders import Main, clone


def test_unmerged_work_is_refused(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("new.py", "mine\n")
    before = fix.contents(times=True)
    with pytest.raises(UnmergedChanges):
        project.delete(["fix"])
    assert fix.contents(times=True) == before
    done = project.delete(["fix"], discard_unmerged=True)
    assert (done.deleted, done.restorable_until is not None) == (("shop/fix",), True)
    assert not fix.path.exists()


def test_what_is_merged_or_unchanged_goes_unasked(project: Project, main: Main) -> None:
    clone(project, "unchanged")
    clone(project, "merged").edit(3, "mine")
    project.merge("merged")
    same = clone(project, "same")
    for folder in (same, main):
        folder.write("notes.md", "the same\n")
    main.record()
    done = project.delete(["unchanged", "merged", "same"])
    assert (len(done.deleted), done.kept) == (3, {})


def test_work_after_the_merge_is_unmerged_again(project: Project) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    project.merge("fix")
    fix.edit(4, "more")
    with pytest.raises(UnmergedChanges):
        project.delete(["fix"])


def test_everything_comes_back_byte_for_byte(project: Project) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    fix.write("private.key", "secret\n", 0o600)
    fix.write("run.sh", "#!/bin/sh\n", 0o750)
    fix.link("dangling", "no/where")
    (fix.path / "empty" / "folder").mkdir(parents=True)
    before = fix.contents(times=True)
    modes = {path: (fix.path / path).stat().st_mode for path in ("private.key", "run.sh", "empty/folder")}
    project.delete(["fix"], discard_unmerged=True)
    assert project.status(include_deleted=True).workspaces[-1].state == "deleted"
    with pytest.raises(NotFound):
        project.compare(["fix"])
    clone(project, "other")
    project.restore("fix")
    assert fix.contents(times=True) == before
    assert {path: (fix.path / path).stat().st_mode for path in modes} == modes
    assert project.merge("fix").status == "merged"


def test_each_by_itself(project: Project) -> None:
    clone(project, "one")
    clone(project, "two").edit(3, "mine")
    done = project.delete(["one", "two"])
    assert (done.deleted, list(done.kept)) == (("shop/one",), ["shop/two"])
    assert project.delete(["one"]).deleted == ()
    with pytest.raises(NotFound):
        project.delete(["two", "nobody"], discard_unmerged=True)
    assert project.find("two").state == "ready"


def test_main_stays(project: Project, main: Main) -> None:
    before = main.contents(times=True)
    with pytest.raises(Protected):
        project.delete(["main"], discard_unmerged=True)
    assert main.contents(times=True) == before


def test_children_are_refused_deleted_or_handed_over(project: Project) -> None:
    clone(project, "one").write("one.txt", "1\n")
    two = clone(project, "two", "one")
    two.write("two.txt", "2\n")
    with pytest.raises(HasChildren):
        project.delete(["one"], discard_unmerged=True)
    with pytest.raises(UnmergedChanges):
        project.delete(["one"], children="delete")
    project.delete(["one"], discard_unmerged=True, children="reparent")
    assert project.find("two").parent == "shop/main"
    assert two.read("one.txt") == "1\n"
    assert {change.path for change in project.merge("two").files} == {"one.txt", "two.txt"}
    clone(project, "three")
    clone(project, "four", "three")
    assert project.delete(["three"], children="delete").deleted == ("shop/four", "shop/three")


def test_what_is_handed_over_did_not_undo_what_its_parent_got_later(project: Project, main: Main) -> None:
    one = clone(project, "one")
    one.write("one.txt", "1\n")
    project.merge("one")
    main.record()
    clone(project, "two", "one").write("two.txt", "2\n")
    main.write("later.txt", "later\n")
    main.record()
    project.merge("main", "one")
    project.delete(["one"], discard_unmerged=True, children="reparent")
    assert {change.path for change in project.compare(["two"], detail="files").files} == {"two.txt"}
    assert {change.path for change in project.merge("two").files} == {"two.txt"}
    assert main.read("later.txt") == "later\n"


def test_a_name_is_used_again(project: Project) -> None:
    first = clone(project, "fix")
    first.write("a.txt", "first\n")
    project.checkpoint("fix", "of the first")
    project.delete(["fix"], discard_unmerged=True)
    second = clone(project, "fix")
    assert not second.has("a.txt")
    with pytest.raises(NotFound):
        project.restore("fix", "of the first")
    second.write("a.txt", "second\n")
    project.delete(["fix"], discard_unmerged=True)
    project.restore("fix")
    assert second.read("a.txt") == "second\n"
    assert [each.name for each in project.status(include_deleted=True).workspaces].count("fix") == 2


def test_what_is_in_its_place_is_not_overwritten(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("a.txt", "mine\n")
    project.delete(["fix"], discard_unmerged=True)
    fix.write("b.txt", "in the way\n")
    with pytest.raises(Exists):
        project.restore("fix")
    assert fix.read("b.txt") == "in the way\n"
    shutil.rmtree(fix.path)
    project.restore("fix")
    assert fix.read("a.txt") == "mine\n"


def test_what_was_removed_by_other_means(project: Project, main: Main) -> None:
    """What a call saw of it comes back; what nobody saw is gone."""
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    project.checkpoint("fix")
    fix.edit(5, "never seen")
    shutil.rmtree(fix.path)
    with pytest.raises(NotFound):
        project.compare(["fix"])
    assert project.status().warnings
    assert not all(finding.ok for finding in project.doctor().findings)
    with pytest.raises(UnmergedChanges, match="its folder is gone, and as it was last seen it has unmerged work: 1 file"):
        project.delete(["fix"])
    gone = project.delete(["fix"], discard_unmerged=True)
    assert gone.restorable_until and "restore makes it again as it was last seen" in gone.warnings[0]
    project.restore("fix")
    assert fix.read("cart.py").splitlines()[2:5:2] == ["mine", "line 5"]
    project.restore("fix", "fix@1")
    project.undo()
    assert clone(project, "other").contents() == main.contents()


def test_of_what_was_never_seen_nothing_is_promised(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    shutil.rmtree(fix.path)
    gone = project.delete(["fix"])
    assert (gone.deleted, gone.restorable_until, gone.next) == (("shop/fix",), None, ())
    assert "cannot be brought back" in gone.summary
    with pytest.raises(NotFound):
        project.restore("fix")
    assert clone(project, "fix").contents() == main.contents()


def test_a_folder_that_is_gone_is_made_again(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "first")
    project.checkpoint("fix")
    fix.edit(3, "second")
    fix.write("new.txt", "new\n")
    project.checkpoint("fix")
    clone(project, "below", "fix")
    shutil.rmtree(fix.path)
    back = project.restore("fix")
    assert "folder was gone" in back.summary
    assert (fix.read("cart.py").splitlines()[2], fix.read("new.txt")) == ("second", "new\n")
    assert {each.name for each in project.compare([]).workspaces} == {"fix", "below"}
    shutil.rmtree(fix.path)
    again = project.restore("fix", "fix@1")
    assert (fix.read("cart.py").splitlines()[2], fix.has("new.txt")) == ("first", False)
    assert again.restore_point
    project.restore("fix", again.restore_point)
    assert fix.read("new.txt") == "new\n"
    project.merge("fix", delete_source=False)
    assert project.delete(["fix"], children="reparent").deleted


def test_a_merge_is_seen_too(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    main.write("new.txt", "theirs\n")
    main.record()
    assert project.merge("main", "fix").status == "merged"
    shutil.rmtree(fix.path)
    project.restore("fix")
    assert (fix.read("cart.py").splitlines()[2], fix.read("new.txt")) == ("mine", "theirs\n")


def test_all_are_compared_but_those_that_are_gone(project: Project) -> None:
    fix, other = clone(project, "fix"), clone(project, "other")
    other.edit(3, "other")
    clone(project, "below", "fix")
    shutil.rmtree(fix.path)
    result = project.compare([])
    assert [each.name for each in result.workspaces] == ["other"]
    assert {warning.partition(":")[0] for warning in result.warnings} == {"fix was left out", "below was left out"}
    with pytest.raises(NotFound, match="gone"):
        project.compare(["fix", "other"])
    project.delete(["fix"], children="delete")
    assert project.compare([]).warnings == ()


def make_old(root: Path) -> None:
    """Let the workspaces that are deleted have been so for longer than they can be restored."""
    store = Store(find(root).home / "store.sqlite")
    for row in store.workspaces("shop", ("deleted",)):
        assert row.deleted and row.restorable_until
        month = timedelta(days=30)
        store.save(row.model_copy(update={"deleted": row.deleted - month, "restorable_until": row.restorable_until - month}), "deleted")


def test_what_is_removed_for_good_is_gone_however_its_folders_nest(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    for folder in ("a/b/c/d", "a/b/e", "f/g", "f/h/i/j/k/l"):
        fix.write(f"{folder}/file.txt", f"{folder}\n")
    (fix.path / "empty/inside").mkdir(parents=True)
    project.delete(["fix"], discard_unmerged=True)
    make_old(main.path)
    assert [each.id for each in project.gc().freed] == ["shop/fix"]
    assert [each.name for each in project.status(include_deleted=True).workspaces] == ["main"]
    with pytest.raises(NotFound):
        project.restore("fix")
    assert clone(project, "fix").contents() == main.contents()
