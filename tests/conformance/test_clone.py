"""Clones are whole, independent copies, and making them leaves the source alone."""

from __future__ import annotations

import os
import random

import pytest

from workspaces import Project
from workspaces.errors import Exists, InvalidArgument, InvalidName, NotFound, Unsupported
from workspaces.model import Capabilities

from .folders import Folder, Main, at, clone

ODD_NAMES = (b"with space", b"with\nnewline", b"caf\xe9", "naïve ✓".encode(), b'"quoted"', b"back\\slash", b"-dash", b"tab\there", b"*?[x]")


def furnish(folder: Folder) -> None:
    """Put one of everything that a project may hold into a folder."""
    for name in ODD_NAMES:
        odd = os.fsencode(folder.path) + b"/odd " + name
        os.mkdir(odd)  # noqa: PTH102 - paths are bytes
        with open(odd + b"/" + name, "wb") as file:  # noqa: PTH123 - paths are bytes
            file.write(name)
    folder.write("empty", "")
    folder.write("binary.bin", bytes(range(256)))
    folder.write("large.bin", random.Random(1).randbytes(2 << 20))
    folder.write("crlf.txt", "one\r\ntwo\r\n")
    folder.write("no newline.txt", "at the end")
    folder.write("a/b/c/d/e/f/g/run.sh", "#!/bin/sh\n", 0o755)
    for link, target in (("to file", "cart.py"), ("to folder", "auth"), ("dangling", "no/where"), ("outside", "/etc/hostname")):
        folder.link(link, target)


def test_everything_comes_along(project: Project, main: Main) -> None:
    furnish(main)
    assert clone(project, "carried").contents() == main.contents()
    main.record()
    assert clone(project, "recorded").contents() == main.contents()
    assert project.compare(["recorded", "carried"]).groups == (("shop/recorded", "shop/carried"),)


def test_the_source_stays_as_it_was(project: Project, main: Main) -> None:
    furnish(main)
    before = main.contents(times=True)
    fix = clone(project, "fix")
    assert main.contents(times=True) == before
    inside = fix.contents(times=True)
    clone(project, "again", "fix")
    assert fix.contents(times=True) == inside


def test_neither_sees_what_the_other_does(project: Project, main: Main) -> None:
    one, two = clone(project, "one"), clone(project, "two")
    start = main.contents()
    with (one.path / "cart.py").open("r+b") as file:  # in place, as nothing that shared the file would survive
        file.write(b"changed in place\n")
    (one.path / "tool.sh").chmod(0o644)
    one.remove("notes.md")
    one.write("auth/new.py", "new\n")
    assert main.contents() == two.contents() == start
    changed = one.contents()
    main.write("notes.md", "in main\n")
    two.write("notes.md", "in two\n")
    assert one.contents() == changed
    assert (main.read("notes.md"), two.read("notes.md")) == ("in main\n", "in two\n")


def test_many_at_once(project: Project, main: Main) -> None:
    made = project.clone(count=4, name="try", task="Make it faster", labels=["fast"])
    assert [workspace.name for workspace in made.workspaces] == ["try-1", "try-2", "try-3", "try-4"]
    assert made.failed == {}
    assert all(at(workspace).contents() == main.contents() for workspace in made.workspaces)
    assert {(workspace.task, workspace.labels, workspace.parent) for workspace in made.workspaces} == {
        ("Make it faster", ("fast",), "shop/main")
    }
    assert len({workspace.base for workspace in made.workspaces}) == 1


def test_a_clone_of_a_clone_of_a_clone(project: Project, main: Main) -> None:
    one = clone(project, "one")
    one.write("one.txt", "1\n")
    two = clone(project, "two", "one")
    two.write("two.txt", "2\n")
    three = clone(project, "three", "two")
    assert three.contents() == two.contents()
    assert (three.read("one.txt"), three.read("two.txt"), three.read("cart.py")) == ("1\n", "2\n", main.read("cart.py"))
    assert project.find("three").parent == "shop/two"
    assert project.compare(["three"]).workspaces[0].files_changed == 0


def test_a_clone_holds_one_moment(project: Project, main: Main) -> None:
    one = clone(project, "one")
    main.write("notes.md", "later\n")
    main.record()
    two = clone(project, "two")
    assert (one.read("notes.md"), two.read("notes.md")) == ("# Notes\n", "later\n")


def test_names_that_are_taken_or_not_allowed(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("notes.md", "mine\n")
    for name in ("fix", "FIX"):
        with pytest.raises(Exists):
            project.clone(name=name)
    assert set(project.clone(count=2, name="fix").failed) == set()
    assert list(project.clone(count=3, name="fix").failed) == ["fix-1", "fix-2"]
    for name in ("../out", "main", "a/b", ".hidden"):
        with pytest.raises(InvalidName):
            project.clone(name=name)
    with pytest.raises(NotFound):
        project.clone("nobody")
    with pytest.raises(InvalidArgument):
        project.clone(count=0)
    assert fix.read("notes.md") == "mine\n"


def test_a_place_that_is_taken_is_left_alone(project: Project, main: Main) -> None:
    clone(project, "first")
    stranger = Folder(main.path / ".workspaces" / "fix")
    stranger.write("precious.txt", "keep\n")
    with pytest.raises(Exists):
        project.clone(name="fix")
    assert stranger.contents() == {b"precious.txt": stranger.contents()[b"precious.txt"]}
    stranger.path.rename(main.path.with_name("precious"))
    assert clone(project, "fix").contents() == main.contents()


def test_leaving_out_what_is_uncommitted(project: Project, main: Main, capabilities: Capabilities) -> None:
    main.write("notes.md", "uncommitted\n")
    if not capabilities.commits:
        with pytest.raises(Unsupported):
            project.clone(name="fix", include_uncommitted=False)
        assert [workspace.name for workspace in project.status().workspaces] == ["main"]
        return
    (made,) = project.clone(name="fix", include_uncommitted=False).workspaces
    assert at(made).read("notes.md") == "# Notes\n"
    assert main.read("notes.md") == "uncommitted\n"
