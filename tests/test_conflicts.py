"""Conflicts: values with kinds, sides and hunks; each way to decide them; and a target that is never half merged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from support import Repo, clone, fingerprint

from workspaces import Project
from workspaces.errors import NotAllowed
from workspaces.model import History

Act = Callable[[Repo], object]


def _move(old: str, new: str) -> Act:
    return lambda repo: repo.git("mv", old, new)


def _remove(path: str) -> Act:
    return lambda repo: (repo.path / path).unlink()


RENAMES: list[tuple[str, Act, Act]] = [
    ("basket.py", _move("cart.py", "basket.py"), _remove("cart.py")),
    ("basket.py", _move("cart.py", "basket.py"), _move("cart.py", "trolley.py")),
]


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(("path", "theirs", "ours"), RENAMES)
def test_a_side_can_be_given_the_last_word_about_a_name(
    project: Project, repo: Repo, path: str, theirs: Act, ours: Act, side: Literal["source", "target"]
) -> None:
    fix = clone(project, "fix")
    theirs(fix)
    fix.write("auth/api.py", "also changed\n")
    ours(repo)
    repo.commit("ours")
    result = project.merge("fix", on_conflict=side)
    assert (result.status, result.conflicts) == ("merged", ())
    assert repo.status() == []
    assert repo.read("auth/api.py") == "also changed\n"
    winner = fix if side == "source" else Repo(repo.path)
    if side == "target":
        repo.git("checkout", "-q", "HEAD~1", "--detach")
    here = _shape(winner.path / path)
    repo.git("checkout", "-q", "trunk")
    assert _shape(repo.path / path) == here


def _shape(path: Path) -> tuple[str, bytes, bool]:
    if path.is_symlink():
        return "link", str(path.readlink()).encode(), False
    if path.is_dir():
        return "folder", b"", False
    return ("file", path.read_bytes(), bool(path.stat().st_mode & 0o111)) if path.exists() else ("none", b"", False)


def test_a_content_conflict_has_its_sides_and_hunks(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", repo.read("cart.py").replace("line 4\n", "theirs 4\n").replace("line 12\n", "theirs 12\n"))
    repo.write("cart.py", repo.read("cart.py").replace("line 4\n", "ours 4\nours 4b\n").replace("line 12\n", "ours 12\n"))
    repo.commit("ours")
    (conflict,) = project.merge("fix").conflicts
    first, second = conflict.hunks
    assert (first.start, first.ours, first.base, first.theirs) == (4, "ours 4\nours 4b\n", "line 4\n", "theirs 4\n")
    assert (second.start, second.ours, second.base, second.theirs) == (13, "ours 12\n", "line 12\n", "theirs 12\n")
    assert conflict.base and conflict.ours and conflict.theirs
    assert repo.git("cat-file", "blob", conflict.ours.blob) == repo.read("cart.py").strip()


@pytest.mark.parametrize("text", ["=======\n", "<<<<<<< HEAD\n", "||||||| base\n", ">>>>>>> main\n"])
def test_text_that_looks_like_markers_is_text(project: Project, repo: Repo, text: str) -> None:
    fix = clone(project, "fix")
    fix.write("doc.rst", f"Theirs\n{text}end\n")
    repo.write("doc.rst", f"Ours\n{text}end\n")
    repo.commit("ours")
    (conflict,) = project.merge("fix").conflicts
    assert (conflict.hunks[0].ours, conflict.hunks[0].theirs) == ("Ours\n", "Theirs\n")
    project.merge("fix", on_conflict="source")
    assert repo.read("doc.rst") == f"Theirs\n{text}end\n"


def test_the_last_line_may_lack_its_end(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("new.txt", "theirs")
    repo.write("new.txt", "ours")
    repo.commit("ours")
    project.merge("fix", on_conflict="source")
    assert repo.read("new.txt") == "theirs"


def test_conflicts_are_resolved_in_the_clone(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "theirs\n")
    fix.write("new.py", "new\n")
    repo.write("cart.py", "ours\n")
    repo.write("notes.md", "# Ours\n")
    repo.commit("ours")
    result = project.merge("main", "fix", on_conflict="markers")
    assert (result.status, [conflict.path for conflict in result.conflicts]) == ("merged", ["cart.py"])
    text = fix.read("cart.py")
    assert text.startswith("<<<<<<< fix\ntheirs\n||||||| base\n")
    assert text.endswith("=======\nours\n>>>>>>> main\n")
    assert project.status(["fix"]).workspaces[0].state == "conflicted"
    before = fingerprint(repo)
    with pytest.raises(NotAllowed, match="markers in cart.py"):
        project.merge("fix")
    assert fingerprint(repo) == before
    fix.write("cart.py", "both\n")
    assert project.status(["fix"]).workspaces[0].state == "ready"
    merged = project.merge("fix")
    assert {change.path for change in merged.files} == {"cart.py", "new.py"}
    assert (repo.read("cart.py"), repo.read("notes.md")) == ("both\n", "# Ours\n")


def test_markers_are_never_committed(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "theirs\n")
    mine = fix.commit("mine")
    repo.write("cart.py", "ours\n")
    repo.commit("ours")
    project.merge("main", "fix", on_conflict="markers")
    assert fix.head == mine
    assert fix.status() == [" M cart.py"]


def test_what_markers_replaced_can_be_restored(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "theirs\n")
    repo.write("cart.py", "ours\n")
    repo.commit("ours")
    project.merge("main", "fix", on_conflict="markers")
    project.restore("fix")
    assert (fix.read("cart.py"), project.status(["fix"]).workspaces[0].state) == ("theirs\n", "ready")
    assert project.compare(["fix"]).workspaces[0].behind == 1


def test_long_conflicts_do_not_flood_the_answer(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    for number in range(5):
        fix.write(f"big-{number}.txt", f"theirs {number}\n" * 1000)
        repo.write(f"big-{number}.txt", f"ours {number}\n" * 1000)
    repo.commit("ours")
    result = project.merge("fix")
    assert len(result.conflicts) == 5
    assert len(result.model_dump_json()) < 30_000
    assert "without hunks" in result.warnings[0]


def test_crlf_files_keep_their_line_ends(project: Project, repo: Repo) -> None:
    repo.write("win.txt", b"one\r\ntwo\r\nthree\r\n")
    repo.commit("crlf")
    fix = clone(project, "fix")
    fix.write("win.txt", b"one\r\ntheirs\r\nthree\r\n")
    repo.write("win.txt", b"one\r\nours\r\nthree\r\n")
    repo.commit("ours")
    (conflict,) = project.merge("fix").conflicts
    assert conflict.hunks[0].theirs == "theirs\r\n"
    project.merge("fix", on_conflict="source")
    assert (repo.path / "win.txt").read_bytes() == b"one\r\ntheirs\r\nthree\r\n"


def test_a_conflict_without_text_is_resolved_in_the_clone_too(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    repo.git("rm", "-q", "cart.py")
    repo.commit("removed")
    fix.write("cart.py", "kept and changed\n")
    fix.commit("changed")
    assert project.merge("fix").status == "conflicts"
    result = project.merge("main", "fix", on_conflict="markers")
    assert "cart.py" in result.warnings[0]
    assert project.merge("fix").status == "merged"
    assert repo.read("cart.py") == "kept and changed\n"


@pytest.mark.parametrize("length", [7, 39, 57])
def test_headings_as_long_as_our_markers(project: Project, repo: Repo, length: int) -> None:
    line = "=" * length
    repo.write("x.rst", "Intro\n\nTitle\n-----\ntext\n")
    repo.commit("text")
    fix = clone(project, "fix")
    fix.write("x.rst", f"Intro\n\nClone\n{line}\nclone text\n")
    repo.write("x.rst", f"Intro\n\nMain\n{line}\nmain text\n")
    repo.commit("ours")
    project.merge("main", "fix", on_conflict="markers")
    assert line in fix.read("x.rst")
    project.restore("fix")
    project.merge("fix", on_conflict="source")
    assert repo.read("x.rst") == f"Intro\n\nClone\n{line}\nclone text\n"


@pytest.mark.parametrize("place", [".gitattributes", ".git/info/attributes"])
def test_another_length_of_markers_by_attribute(project: Project, repo: Repo, place: str) -> None:
    repo.write("x.rst", "1\n2\n3\n")
    repo.commit("text")
    with (repo.path / place).open("a") as file:
        file.write("*.rst conflict-marker-size=32\n")
    repo.git("add", "-A")
    repo.git("commit", "-q", "--allow-empty", "-m", "attributes")
    fix = clone(project, "fix")
    fix.write("x.rst", "1\nclone\n3\n")
    repo.write("x.rst", "1\nmain\n3\n")
    repo.commit("ours")
    project.merge("fix", on_conflict="source")
    assert repo.read("x.rst") == "1\nclone\n3\n"


def test_markers_name_the_sides_of_other_types(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    (fix.path / "cart.py").unlink()
    (fix.path / "cart.py").symlink_to("notes.md")
    repo.write("cart.py", "ours\n")
    repo.commit("ours")
    project.merge("main", "fix", on_conflict="markers")
    names = {entry.name for entry in fix.path.iterdir() if entry.name.startswith("cart.py")}
    assert names in ({"cart.py", "cart.py~main"}, {"cart.py", "cart.py~fix"}, {"cart.py~main", "cart.py~fix"})
    other = fix.path / "cart.py~main"
    assert not other.exists() or other.read_text() == "ours\n"


def test_lines_are_those_of_each_side(project: Project, repo: Repo) -> None:
    """What only one side added above moves the lines of that side alone."""
    fix = clone(project, "fix")
    fix.write("cart.py", "new\n" * 5 + fix.read("cart.py").replace("line 12\n", "theirs\n"))
    repo.write("cart.py", repo.read("cart.py").replace("line 12\n", "ours\n").replace("line 3\n", ""))
    repo.commit("ours")
    (hunk,) = project.merge("fix").conflicts[0].hunks
    assert repo.read("cart.py").splitlines()[hunk.start - 1] == "ours"
    assert fix.read("cart.py").splitlines()[hunk.theirs_start - 1] == "theirs"


@pytest.mark.parametrize("ours", [b"x\r\nours\r\n", b"x\r\nours"])
@pytest.mark.parametrize("theirs", [b"x\r\ntheirs\r\n", b"x\r\ntheirs", b"x\r\ntheirs\r"])
def test_a_decided_file_ends_as_its_side_does(project: Project, repo: Repo, ours: bytes, theirs: bytes) -> None:
    fix = clone(project, "fix")
    fix.write("win.txt", theirs)
    repo.write("win.txt", ours)
    repo.commit("ours")
    project.merge("fix", on_conflict="source")
    assert (repo.path / "win.txt").read_bytes() == theirs


def test_markers_that_were_committed_are_noticed(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "theirs\n")
    repo.write("cart.py", "ours\n")
    repo.commit("ours")
    project.merge("main", "fix", on_conflict="markers")
    fix.commit("all of it")
    with pytest.raises(NotAllowed, match=r"cart\.py"):
        project.merge("fix")
    with pytest.raises(NotAllowed, match=r"cart\.py"):
        project.merge("fix", history="rebase")


@pytest.mark.parametrize("history", ["squash", "merge", "rebase"])
@pytest.mark.parametrize("taken", [False, True], ids=["to several places", "to one that is taken"])
def test_a_folder_of_which_git_does_not_know_where_it_went_is_told(project: Project, repo: Repo, history: History, taken: bool) -> None:
    """git reports a conflict, and leaves no path in it: whoever would merge by hand had to look."""
    for number in range(4):
        repo.write(f"lib/f{number}", "".join(f"{number} {line}\n" for line in range(20)))
    repo.commit("files")
    fix = clone(project, "fix")
    fix.write("lib/new", "new\n")
    if taken:
        fix.write("there/new", "mine\n")
    fix.commit("new")
    for number in range(4):
        place = repo.path / ("there" if taken or number < 2 else "elsewhere")
        place.mkdir(exist_ok=True)
        (repo.path / f"lib/f{number}").rename(place / f"f{number}")
    repo.commit("moved")
    said = repo.git("merge-tree", "--write-tree", "HEAD", fix.head, check=False)
    assert "CONFLICT" in said
    assert "lib" not in repo.git("merge-tree", "--write-tree", "--no-messages", "HEAD", fix.head, check=False)
    (warning,) = project.compare(["fix"]).warnings
    assert "lib" in warning
    done = project.merge("fix", history=history)
    assert (done.status, done.warnings) == ("merged", (warning,))
    assert repo.git("rev-parse", "HEAD^{tree}") == said.split()[0]
