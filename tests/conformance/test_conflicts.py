"""Conflicts are values: with a kind, sides and texts. They touch nothing until somebody decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from workspaces import Project
from workspaces.errors import InvalidArgument, NotAllowed
from workspaces.model import Capabilities, ConflictKind

from .folders import Folder, Main, clone

Act = Callable[[Folder], object]


@dataclass(frozen=True)
class Clash:
    """Two changes that cannot both be had, where they meet, and which kind of conflict that is."""

    kind: ConflictKind
    paths: frozenset[str]
    theirs: Act
    ours: Act

    def __str__(self) -> str:
        return f"{self.kind}-{min(self.paths)}"


def _clash(kind: ConflictKind, paths: str, theirs: Act, ours: Act) -> Clash:
    return Clash(kind, frozenset(paths.split()), theirs, ours)


CLASHES = (
    _clash("content", "cart.py", lambda it: it.edit(9, "theirs"), lambda it: it.edit(9, "ours")),
    _clash("add_add", "new.py", lambda it: it.write("new.py", "theirs\n"), lambda it: it.write("new.py", "ours\n")),
    _clash("add_add", "link", lambda it: it.link("link", "cart.py"), lambda it: it.link("link", "notes.md")),
    _clash("modify_delete", "cart.py", lambda it: it.edit(9, "theirs"), lambda it: it.remove("cart.py")),
    _clash("modify_delete", "cart.py", lambda it: it.remove("cart.py"), lambda it: it.edit(9, "ours")),
    _clash("rename_delete", "basket.py cart.py", lambda it: it.move("cart.py", "basket.py"), lambda it: it.remove("cart.py")),
    _clash(
        "rename_rename",
        "basket.py cart.py trolley.py",
        lambda it: it.move("cart.py", "basket.py"),
        lambda it: it.move("cart.py", "trolley.py"),
    ),
    _clash("file_directory", "thing", lambda it: it.write("thing", "a file\n"), lambda it: it.write("thing/inside.txt", "x\n")),
    _clash("file_directory", "thing", lambda it: it.write("thing/inside.txt", "x\n"), lambda it: it.write("thing", "a file\n")),
    _clash("type", "cart.py", lambda it: it.link("cart.py", "notes.md"), lambda it: it.edit(9, "ours")),
    _clash("type", "cart.py", lambda it: it.edit(9, "theirs"), lambda it: it.link("cart.py", "notes.md")),
    _clash("mode", "run.sh", lambda it: it.write("run.sh", "#!\n", 0o755), lambda it: it.write("run.sh", "#!\n", 0o644)),
    _clash("binary", "logo.png", lambda it: it.write("logo.png", b"\0theirs"), lambda it: it.write("logo.png", b"\0ours")),
)


@pytest.mark.parametrize("clash", CLASHES, ids=str)
def test_each_kind_is_told_and_touches_nothing(project: Project, main: Main, capabilities: Capabilities, clash: Clash) -> None:
    """A kind that the backend does not tell apart may come as another, or merge; but never as anything that it did not name."""
    fix = clone(project, "fix")
    clash.theirs(fix)
    clash.ours(main)
    main.record()
    before, theirs = main.contents(times=True), fix.contents(times=True)
    result = project.merge("fix")
    assert {conflict.kind for conflict in result.conflicts} <= {*capabilities.merge_kinds}
    if clash.kind in capabilities.merge_kinds:
        assert result.status == "conflicts"
        assert clash.kind in {conflict.kind for conflict in result.conflicts}
        assert clash.paths & {conflict.path for conflict in result.conflicts}
    if result.status == "conflicts":
        assert (main.contents(times=True), fix.contents(times=True)) == (before, theirs)
        assert project.compare(["fix"]).workspaces[0].conflicts == result.conflicts


def _settled(project: Project, main: Main, clash: Clash) -> Folder:
    fix = clone(project, "fix")
    clash.theirs(fix)
    fix.write("elsewhere.txt", "theirs\n")
    clash.ours(main)
    main.write("at home.txt", "ours\n")
    main.record()
    return fix


SIMPLE = tuple(clash for clash in CLASHES if not clash.kind.startswith("rename"))


@pytest.mark.parametrize("clash", SIMPLE, ids=str)
def test_the_source_decides(project: Project, main: Main, clash: Clash) -> None:
    fix = _settled(project, main, clash)
    assert project.merge("fix", on_conflict="source").status == "merged"
    expected = {**fix.contents(), b"at home.txt": main.contents()[b"at home.txt"]}
    assert main.contents() == expected
    assert project.merge("fix").status == "up_to_date"


@pytest.mark.parametrize("clash", SIMPLE, ids=str)
def test_the_target_decides(project: Project, main: Main, clash: Clash) -> None:
    fix = _settled(project, main, clash)
    expected = {**main.contents(), b"elsewhere.txt": fix.contents()[b"elsewhere.txt"]}
    result = project.merge("fix", on_conflict="target")
    assert result.status == "merged"
    assert result.warnings
    assert main.contents() == expected
    assert project.merge("fix").status == "up_to_date"


def test_sides_and_texts_of_a_conflict(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(9, "theirs")
    main.edit(9, "ours")
    main.record()
    (conflict,) = project.merge("fix").conflicts
    assert conflict.base and conflict.ours and conflict.theirs
    assert {conflict.base.mode, conflict.ours.mode, conflict.theirs.mode} == {"100644"}
    assert len({conflict.base.blob, conflict.ours.blob, conflict.theirs.blob}) == 3
    (hunk,) = conflict.hunks
    assert ("ours\n" in hunk.ours, "line 9\n" in hunk.base, "theirs\n" in hunk.theirs) == (True, True, True)
    assert main.read("cart.py").splitlines(keepends=True)[hunk.start - 1 :][: hunk.ours.count("\n")] == hunk.ours.splitlines(keepends=True)


def test_a_side_that_is_not_there_is_absent(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("new.py", "theirs\n")
    fix.remove("cart.py")
    main.write("new.py", "ours\n")
    main.edit(9, "ours")
    main.record()
    found = {conflict.path: conflict for conflict in project.merge("fix").conflicts}
    assert found["new.py"].base is None and found["new.py"].ours and found["new.py"].theirs
    assert found["cart.py"].theirs is None and found["cart.py"].ours and found["cart.py"].base


def test_all_conflicts_are_told_at_once_and_what_is_clean_waits(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    for folder, text in ((fix, "theirs"), (main, "ours")):
        folder.edit(9, text)
        folder.write("notes.md", f"{text}\n")
    fix.write("clean.txt", "clean\n")
    main.record()
    result = project.merge("fix")
    assert [conflict.path for conflict in result.conflicts] == ["cart.py", "notes.md"]
    assert not main.has("clean.txt")
    assert project.merge("fix", dry_run=True).conflicts == result.conflicts


def test_conflicts_are_resolved_in_the_clone(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(9, "theirs")
    fix.write("mine.txt", "mine\n")
    main.edit(9, "ours")
    main.write("notes.md", "moved on\n")
    main.record()
    with pytest.raises(InvalidArgument):
        project.merge("fix", on_conflict="markers")
    result = project.merge("main", "fix", on_conflict="markers")
    assert (result.status, [conflict.path for conflict in result.conflicts]) == ("merged", ["cart.py"])
    marked = fix.read("cart.py")
    assert [line.split()[0] for line in marked.splitlines() if line.startswith(("<<<<<<<", "=======", ">>>>>>>"))] == [
        "<<<<<<<",
        "=======",
        ">>>>>>>",
    ]
    assert "<<<<<<< fix\n" in marked and ">>>>>>> main\n" in marked
    assert (fix.read("notes.md"), fix.read("mine.txt")) == ("moved on\n", "mine\n")
    assert project.status(["fix"]).workspaces[0].state == "conflicted"
    with pytest.raises(NotAllowed):
        project.merge("fix")
    fix.write("cart.py", "both\n")
    assert project.status(["fix"]).workspaces[0].state == "ready"
    assert project.merge("fix").status == "merged"
    assert main.contents() == fix.contents()


@pytest.mark.parametrize("clash", SIMPLE, ids=str)
def test_every_kind_can_be_resolved_in_the_clone(project: Project, main: Main, clash: Clash) -> None:
    fix = _settled(project, main, clash)
    assert project.merge("main", "fix", on_conflict="markers").status == "merged"
    assert fix.read("at home.txt") == "ours\n"
    for name in [name for name in fix.path.iterdir() if name.name.split("~")[0] in {path.split("/")[0] for path in clash.paths}]:
        name.rename(project.root.with_name(f"taken-away-{name.name}"))
    fix.write("resolved.txt", "both\n")
    assert project.merge("fix").status == "merged"
    assert main.contents() == fix.contents()


def test_marking_is_taken_back(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(9, "theirs")
    main.edit(9, "ours")
    main.record()
    before = fix.contents()
    project.merge("main", "fix", on_conflict="markers")
    project.restore("fix")
    assert fix.contents() == before
    assert project.find("fix").state == "ready"
    assert project.merge("fix").status == "conflicts"


MARKED = "before\n<<<<<<< HEAD\nours\n=======\ntheirs\n>>>>>>> other\nafter\n"


def test_markers_of_anybody_are_noticed(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("notes.md", MARKED)
    before = main.contents(times=True)
    with pytest.raises(NotAllowed, match=r"notes\.md"):
        project.merge("fix")
    assert main.contents(times=True) == before
    fix.write("notes.md", "resolved\n")
    assert project.merge("fix").status == "merged"


def test_markers_that_are_meant_are_brought_when_asked(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("tests/fixture.txt", MARKED)
    assert project.merge("fix", on_conflict="source").status == "merged"
    fix.write("tests/fixture.txt", f"{MARKED}more\n")
    assert project.merge("fix").status == "merged"
    assert main.read("tests/fixture.txt") == f"{MARKED}more\n"


def test_hunks_are_exact_at_the_end_of_a_file(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    for name, theirs, ours in (("a.txt", "theirs", "ours\n"), ("b.txt", "x\r\ntheirs", "x\r\nours"), ("c.txt", "theirs\n", "ours")):
        fix.write(name, theirs)
        main.write(name, ours)
    main.record()
    for conflict in project.merge("fix").conflicts:
        (hunk,) = conflict.hunks
        assert main.read(conflict.path).endswith(hunk.ours)
        assert fix.read(conflict.path).endswith(hunk.theirs)


def test_bytes_that_are_no_text_and_long_lines_are_said(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("latin.txt", "Grüße, theirs\n".encode("latin-1"))
    main.write("latin.txt", "Grüße, ours\n".encode("latin-1"))
    fix.write("long.txt", "t" * 50_000)
    main.write("long.txt", "o" * 50_000)
    main.record()
    found = {conflict.path: conflict for conflict in project.merge("fix").conflicts}
    assert "UTF-8" in found["latin.txt"].note
    assert "cut at" in found["long.txt"].note
    assert found["long.txt"].hunks[0].ours in "o" * 50_000
    assert len(project.merge("fix").model_dump_json()) < 40_000
