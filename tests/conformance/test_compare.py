"""Compare says what each attempt changed and how attempts stand to each other, and changes nothing."""

from __future__ import annotations

import os

import pytest

from workspaces import Project
from workspaces.errors import NotFound
from workspaces.model import Capabilities, Change

from .folders import Main, clone


def changes(project: Project, name: str, base: str = "") -> dict[str, Change]:
    return {change.path: change for change in project.compare([name], base, detail="files", max_chars=100_000).files}


def test_every_kind_of_change(project: Project) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "changed")
    fix.write("new/added.txt", "one\ntwo\n")
    fix.remove("auth/deep/er/keys.txt")
    fix.link("notes.md", "cart.py")
    (fix.path / "tool.sh").chmod(0o644)
    fix.write("auth/bin", b"\0\1\2")
    found = changes(project, "fix")
    assert {path: change.status for path, change in found.items()} == {
        "cart.py": "modified",
        "new/added.txt": "added",
        "auth/deep/er/keys.txt": "deleted",
        "notes.md": "type_changed",
        "tool.sh": "modified",
        "auth/bin": "added",
    }
    counts = {path: (change.insertions, change.deletions) for path, change in found.items()}
    assert counts["cart.py"] == (1, 1)
    assert counts["new/added.txt"] == (2, 0)
    assert counts["auth/deep/er/keys.txt"] == (0, 1)
    assert counts["tool.sh"] == (0, 0)
    assert found["auth/bin"].binary and not found["cart.py"].binary
    assert all(change.by == ("shop/fix",) for change in found.values())
    (only,) = project.compare(["fix"]).workspaces
    assert (only.files_changed, only.merge) == (6, "clean")


def test_a_file_that_moved(project: Project, capabilities: Capabilities) -> None:
    clone(project, "fix").move("cart.py", "shop/basket.py")
    found = changes(project, "fix")
    if "rename_delete" in capabilities.merge_kinds:
        assert {(change.status, change.path, change.old_path) for change in found.values()} == {("renamed", "shop/basket.py", "cart.py")}
    else:
        assert set(found) | {change.old_path for change in found.values()} - {""} == {"shop/basket.py", "cart.py"}


def test_names_that_are_no_text(project: Project) -> None:
    fix = clone(project, "fix")
    for name in (b"caf\xe9", b"new\nline", b'"quoted"'):
        with open(os.fsencode(fix.path) + b"/" + name, "wb") as file:  # noqa: PTH123 - paths are bytes
            file.write(b"x\n")
    assert set(changes(project, "fix")) == {'"caf\\351"', "new\nline", '"\\042quoted\\042"'}


def test_the_text_of_a_change(project: Project) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "changed")
    fix.write("notes.md", "other\n")
    diff = project.compare(["fix"], detail="diff").diff
    assert "-line 3\n+changed\n" in diff
    assert "+other" in diff
    assert "+other" not in project.compare(["fix"], detail="diff", paths=["cart.py"]).diff


def test_pages_follow_each_other_and_never_mix_two_states(project: Project) -> None:
    fix = clone(project, "fix")
    for number in range(40):
        fix.write(f"many/file-{number:02}.txt", f"{number}\n" * 5)
    whole = project.compare(["fix"], detail="diff", max_chars=100_000).diff
    page = project.compare(["fix"], detail="diff", max_chars=1000)
    text = page.diff
    while page.next_cursor:
        assert page.truncated
        page = project.compare(["fix"], detail="diff", max_chars=1000, cursor=page.next_cursor)
        text += page.diff
    assert text == whole
    page = project.compare(["fix"], detail="files", max_chars=1000)
    paths = [change.path for change in page.files]
    while page.next_cursor:
        page = project.compare(["fix"], detail="files", max_chars=1000, cursor=page.next_cursor)
        paths += [change.path for change in page.files]
    assert paths == [f"many/file-{number:02}.txt" for number in range(40)]
    page = project.compare(["fix"], detail="files", max_chars=1000)
    fix.write("many/file-39.txt", "changed meanwhile\n")
    fix.write("new.txt", "new\n")
    found = [*page.files]
    while page.next_cursor:
        page = project.compare(["fix"], detail="files", max_chars=1000, cursor=page.next_cursor)
        assert "fix changed" in page.warnings[0]
        found += page.files
    assert [change.path for change in found] == paths
    assert found[-1].insertions == 5


def test_looking_changes_nothing(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "theirs")
    main.edit(3, "ours")
    main.record()
    before, revision = (main.contents(times=True), fix.contents(times=True)), project.revision()
    project.compare(["fix"], detail="diff")
    project.compare(["fix", "main"], detail="files")
    project.status()
    assert (main.contents(times=True), fix.contents(times=True)) == before
    assert project.revision() == revision


def test_attempts_side_by_side(project: Project) -> None:
    same, also, clash, other = (clone(project, name) for name in ("same", "also", "clash", "other"))
    same.edit(3, "one way")
    also.edit(3, "one way")
    clash.edit(3, "another way")
    other.write("new.py", "new\n")
    found = project.compare(["same", "also", "clash", "other"])
    assert found.groups == (("shop/same", "shop/also"),)
    assert {frozenset((pair.a, pair.b)) for pair in found.pairs} == {
        frozenset(("shop/same", "shop/clash")),
        frozenset(("shop/also", "shop/clash")),
    }
    assert all(conflict.path == "cart.py" for pair in found.pairs for conflict in pair.conflicts)
    assert found.compatible == ("shop/same", "shop/also", "shop/other")
    assert {workspace.merge for workspace in found.workspaces} == {"clean"}
    assert found.base


def test_what_would_conflict_is_told_before(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "theirs")
    main.edit(3, "ours")
    main.record()
    (only,) = project.compare(["fix"]).workspaces
    assert only.merge == "conflicts"
    assert [conflict.path for conflict in only.conflicts] == ["cart.py"]
    assert only.conflicts == project.merge("fix").conflicts


def test_one_attempt_against_another(project: Project) -> None:
    one, two = clone(project, "one"), clone(project, "two")
    one.write("notes.md", "one\n")
    two.write("notes.md", "two\n")
    two.write("two.txt", "2\n")
    assert {(path, change.status) for path, change in changes(project, "two", base="one").items()} == {
        ("notes.md", "modified"),
        ("two.txt", "added"),
    }
    assert changes(project, "one", base="main").keys() == {"notes.md"}


def test_an_attempt_against_what_it_was(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("first.txt", "1\n")
    point = project.checkpoint("fix", "first step").restore_point
    fix.write("second.txt", "2\n")
    assert changes(project, "fix", base=point).keys() == {"second.txt"}
    assert changes(project, "fix").keys() == {"first.txt", "second.txt"}
    with pytest.raises(NotFound):
        project.compare(["fix"], base="fix@99")


def test_what_the_parent_did_since_is_not_its_change(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("new.py", "new\n")
    main.write("notes.md", "later\n")
    main.record()
    assert changes(project, "fix").keys() == {"new.py"}


def test_what_was_carried_along_is_not_its_change(project: Project, main: Main) -> None:
    main.write("notes.md", "not recorded\n")
    main.write("untracked.txt", "not recorded\n")
    clone(project, "fix").edit(3, "mine")
    assert changes(project, "fix").keys() == {"cart.py"}
    assert {change.path for change in project.merge("fix").files} == {"cart.py"}
    assert (main.read("notes.md"), main.read("untracked.txt")) == ("not recorded\n", "not recorded\n")


def test_what_the_parent_did_meanwhile_is_told(project: Project) -> None:
    parent, fix = clone(project, "parent"), clone(project, "fix", source="parent")
    fix.write("notes.md", "mine\n")
    parent.write("notes.md", "theirs\n")
    parent.write("first.txt", "theirs\n")
    (seen,) = project.compare(["fix"]).workspaces
    assert (seen.parent_changed, seen.parent_paths, seen.base) == (2, ("notes.md", "first.txt"), project.find("fix").base)
    project.merge("parent", "fix", on_conflict="target")
    (seen,) = project.compare(["fix"]).workspaces
    assert (seen.parent_changed, seen.parent_paths, seen.base) == (0, (), project.find("fix").base)
