"""What went on around the attempts: what the parent changed, and who worked in main itself."""

from __future__ import annotations

from pathlib import Path

from support import Repo, clone

from workspaces import Project


def test_what_the_parent_changed_under_an_attempt(project: Project, repo: Repo) -> None:
    repo.write("carried.txt", "uncommitted\n")
    fix = clone(project, "fix")
    fix.write("notes.md", "mine\n")
    repo.write("auth/api.py", "theirs\n")
    repo.write("notes.md", "theirs\n")
    repo.git("add", "notes.md", "auth")
    repo.git("commit", "-q", "-m", "on main")
    (seen,) = project.compare(["fix"]).workspaces
    assert (seen.behind, seen.parent_changed, seen.parent_paths) == (1, 2, ("notes.md", "auth/api.py"))


def test_work_in_main_itself_is_told(project: Project, repo: Repo) -> None:
    repo.write("carried.txt", "uncommitted\n")
    clone(project, "one").write("notes.md", "one\n")
    clone(project, "two").write("notes.md", "two\n")
    assert project.compare(["one", "two"]).warnings == ()
    repo.write("cart.py", "strayed\n")
    (warning,) = project.compare(["one", "two"]).warnings
    assert "cart.py" in warning
    assert "carried.txt" not in warning
    assert "one, two" in warning
    clone(project, "three")
    assert project.compare(["three"]).warnings == ()


def test_commits_and_merges_are_no_stray_work(project: Project, repo: Repo) -> None:
    clone(project, "one").write("notes.md", "one\n")
    clone(project, "two").write("two.txt", "two\n")
    clone(project, "three")
    repo.write("cart.py", "committed\n")
    repo.commit("on main")
    project.merge("one")
    project.merge("two", history="none")
    assert project.compare(["three"]).warnings == ()


def test_a_main_that_cannot_be_looked_at_is_told(project: Project, repo: Repo, home: Path) -> None:
    with (home / ".gitconfig").open("a") as config:
        config.write('[filter "failing"]\n\tclean = false\n\trequired = true\n')
    repo.write(".gitattributes", "*.bad filter=failing\n")
    repo.commit("attributes")
    clone(project, "one").write("notes.md", "one\n")
    repo.write("cannot-be-stored.bad", "x\n")
    seen = project.compare(["one"])
    (warning,) = seen.warnings
    assert "worked in main itself is not known" in warning and "filter" in warning
    assert seen.workspaces[0].merge == "clean"
