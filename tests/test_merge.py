"""Merging: all or nothing, only what the workspace did, and main safe under it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import Repo, at, clone, fingerprint

from workspaces import Project
from workspaces.errors import Busy, InvalidArgument, NotFound, TargetDirty, TargetMoved


def test_the_change_becomes_one_commit_in_main(project: Project, repo: Repo) -> None:
    before = repo.head
    fix = at(project.clone(name="fix", task="Fix the cart").workspaces[0])
    fix.write("cart.py", "fixed\n")
    fix.commit("wip")
    fix.write("new.py", "new\n")
    result = project.merge("fix")
    assert (result.status, result.restore_point) == ("merged", "main@1")
    assert [(change.path, change.status) for change in result.files] == [("cart.py", "modified"), ("new.py", "added")]
    assert repo.git("log", "--format=%s %an", f"{before}..") == "Fix the cart Ann"
    assert result.commit == repo.head == result.snapshot
    assert repo.read("cart.py") == "fixed\n"
    assert repo.status() == []
    assert repo.git("symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert "workspaces: merge fix" in repo.git("reflog", "-1")


def test_a_second_merge_brings_only_what_is_new(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("notes.md", "one\n")
    project.merge("fix")
    assert project.merge("fix").status == "up_to_date"
    assert project.status(["fix"]).workspaces[0].state == "merged"
    repo.write("notes.md", "one\nmain\n")
    repo.commit("on main")
    fix.write("cart.py", "two\n")
    assert project.status(["fix"]).workspaces[0].state == "ready"
    assert [change.path for change in project.merge("fix").files] == ["cart.py"]
    assert repo.read("notes.md") == "one\nmain\n"


def test_dirty_files_elsewhere_stay_as_they_are(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "fixed\n")
    repo.write("notes.md", "dirty\n")
    repo.write("staged.py", "staged\n")
    repo.git("add", "staged.py")
    repo.write("untracked.py", "untracked\n")
    assert project.merge("fix").status == "merged"
    assert repo.status() == [" M notes.md", "A  staged.py", "?? untracked.py"]
    assert repo.git("show", "--stat", "--format=", "HEAD").startswith("cart.py")


@pytest.mark.parametrize("how", ["modified", "staged", "deleted", "untracked", "ignored", "folder", "below"])
def test_work_in_the_way_is_refused_by_name(project: Project, repo: Repo, how: str) -> None:
    fix = clone(project, "fix")
    path = {"untracked": "new.py", "ignored": "debug.log", "folder": "build", "below": "deep/er/file"}.get(how, "cart.py")
    fix.write(path, "fixed\n")
    fix.git("add", "-f", path)
    fix.git("commit", "-q", "-m", "mine")
    match how:
        case "deleted":
            (repo.path / path).unlink()
        case "folder":
            repo.write("build/kept.txt", "ignored\n")
        case "below":
            repo.write("deep", "a file\n")
        case _:
            repo.write(path, "in the way\n")
    if how == "staged":
        repo.git("add", path)
    before = fingerprint(repo)
    for dry_run in (True, False):
        with pytest.raises(TargetDirty, match="build/kept.txt" if how == "folder" else path.split("/")[0]):
            project.merge("fix", dry_run=dry_run)
    assert fingerprint(repo) == before


def test_carried_work_stays_out_of_history(project: Project, repo: Repo) -> None:
    repo.write("notes.md", "my draft\n")
    repo.write("untracked.py", "mine\n")
    fix = clone(project, "fix")
    fix.write("cart.py", "fixed\n")
    for history, name in (("squash", "fix"), ("merge", "two")):
        if name == "two":
            clone(project, "two").write("auth/api.py", "two\n")
        project.merge(name, history="merge" if history == "merge" else "squash")
        assert repo.status() == [" M notes.md", "?? untracked.py"]
        for commit in repo.git("rev-list", "HEAD").split():
            assert "my draft" not in repo.git("show", f"{commit}:notes.md")
            assert "untracked.py" not in repo.git("ls-tree", "-r", "--name-only", commit)


def test_changing_carried_work_is_refused_by_name(project: Project, repo: Repo) -> None:
    repo.write("notes.md", "my draft\n")
    repo.write("untracked.py", "mine\n")
    clone(project, "fix").write("untracked.py", "changed\n")
    clone(project, "two").write("notes.md", "my draft, improved\n")
    for name, path in (("fix", "untracked.py"), ("two", "notes.md")):
        with pytest.raises(TargetDirty, match=path):
            project.merge(name)
    repo.commit("the draft")
    assert project.merge("two").status == "merged"
    assert project.merge("fix").status == "merged"
    assert repo.read("notes.md") == "my draft, improved\n"


def test_history_merge_keeps_the_commits(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "fixed\n")
    mine = fix.commit("mine")
    project.merge("fix", history="merge", message="Bring the fix")
    assert repo.git("log", "-1", "--format=%s %P") == f"Bring the fix {repo.git('rev-parse', 'HEAD^1')} {mine}"


def test_history_none_leaves_the_changes_uncommitted(project: Project, repo: Repo) -> None:
    before, index = repo.head, (repo.path / ".git" / "index").read_bytes()
    fix = clone(project, "fix")
    fix.write("cart.py", "fixed\n")
    fix.write("new.py", "new\n")
    assert project.merge("fix", history="none").commit == ""
    assert (repo.head, repo.status()) == (before, [" M cart.py", "?? new.py"])
    assert (repo.path / ".git" / "index").read_bytes() == index
    project.restore("main")
    assert repo.status() == []


def test_only_the_chosen_paths(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("auth/api.py", "fixed\n")
    fix.write("auth/new.py", "new\n")
    fix.write("cart.py", "half done\n")
    assert [change.path for change in project.merge("fix", paths=["auth"]).files] == ["auth/api.py", "auth/new.py"]
    assert repo.read("cart.py") != "half done\n"
    with pytest.raises(InvalidArgument, match="nope"):
        project.merge("fix", paths=["nope"])
    assert [change.path for change in project.merge("fix").files] == ["cart.py"]


def test_a_dry_run_tells_and_changes_nothing(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "fixed\n")
    before = fingerprint(repo)
    promised = project.merge("fix", dry_run=True, delete_source=True)
    assert (promised.status, promised.files[0].path) == ("would_merge", "cart.py")
    assert fingerprint(repo) == before
    assert project.merge("fix", if_target=promised.snapshot).status == "merged"


def test_if_target_refuses_a_target_that_moved(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "fixed\n")
    seen = project.compare(["fix"]).base
    repo.write("notes.md", "moved\n")
    repo.commit("moved")
    before = fingerprint(repo)
    with pytest.raises(TargetMoved, match="not at"):
        project.merge("fix", if_target=seen)
    assert fingerprint(repo) == before


def test_delete_source_sets_it_aside(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "fixed\n")
    assert "Deleted fix" in project.merge("fix", delete_source=True).summary
    assert not fix.path.exists()
    with pytest.raises(NotFound):
        project.find("fix")


def test_the_parents_work_comes_into_the_clone(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    fix.write("new.py", "mine\n")
    fix.git("add", "new.py")
    repo.write("notes.md", "theirs\n")
    commit = repo.commit("on main")
    repo.write("untracked.py", "uncommitted on main\n")
    assert project.merge("main", "fix").status == "merged"
    assert fix.head == commit
    assert fix.status() == [" M cart.py", "A  new.py", "?? untracked.py"]
    assert fix.read("notes.md") == "theirs\n"
    (seen,) = project.compare(["fix"], detail="files").workspaces
    assert (seen.files_changed, seen.behind) == (2, 0)
    assert {change.path for change in project.merge("fix").files} == {"cart.py", "new.py"}


def test_the_parents_work_comes_beside_the_clones_own_commits(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    mine = fix.commit("mine")
    fix.write("auth/api.py", "uncommitted\n")
    repo.write("notes.md", "theirs\n")
    repo.commit("on main")
    project.merge("main", "fix")
    assert fix.git("rev-parse", "HEAD^") == mine
    assert fix.status() == [" M auth/api.py"]
    assert fix.git("show", "--stat", "--format=", "HEAD").startswith("notes.md")


def test_siblings_and_grandchildren(project: Project, repo: Repo) -> None:
    one, two = clone(project, "one"), clone(project, "two")
    one.write("cart.py", "one\n")
    grand = clone(project, "grand", source="one")
    grand.write("auth/api.py", "grand\n")
    two.write("notes.md", "two\n")
    assert [change.path for change in project.merge("one", "two").files] == ["cart.py"]
    assert project.merge("one", "two").status == "up_to_date"
    assert [change.path for change in project.merge("grand", "one").files] == ["auth/api.py"]
    assert [change.path for change in project.merge("one", "two").files] == ["auth/api.py"]
    assert {change.path for change in project.merge("two").files} == {"cart.py", "auth/api.py", "notes.md"}
    assert project.merge("one").status == "up_to_date"
    assert project.merge("grand", "main").status == "up_to_date"
    assert repo.status() == []


def test_a_merge_that_was_reset_away_can_be_made_again(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "fixed\n")
    project.merge("fix")
    repo.git("reset", "-q", "--hard", "HEAD~1")
    assert project.compare(["fix"]).workspaces[0].merge == "clean"
    assert project.merge("fix").status == "merged"
    assert repo.read("cart.py") == "fixed\n"


def test_a_detached_main_moves_its_head(project: Project, repo: Repo) -> None:
    repo.git("checkout", "-q", "--detach")
    trunk = repo.git("rev-parse", "trunk")
    clone(project, "fix").write("cart.py", "fixed\n")
    result = project.merge("fix")
    assert (repo.head, repo.git("rev-parse", "trunk")) == (result.commit, trunk)


@pytest.mark.parametrize("what", ["rebase", "merge", "cherry-pick", "bisect", "elsewhere"])
def test_a_target_that_is_at_something_else_is_busy(project: Project, repo: Repo, what: str, tmp_path: Path) -> None:
    clone(project, "fix").write("notes.md", "fixed\n")
    repo.git("checkout", "-q", "-b", "topic")
    repo.write("cart.py", "topic\n")
    repo.commit("topic")
    repo.git("checkout", "-q", "trunk")
    repo.write("cart.py", "trunk\n")
    repo.commit("trunk")
    match what:
        case "elsewhere":
            repo.git("worktree", "add", "-q", "--detach", str(tmp_path / "other"))
            Repo(tmp_path / "other").git("rebase", "topic", "trunk", "--ignore-other-worktrees", check=False)
            Repo(tmp_path / "other").git("checkout", "-q", "--ignore-other-worktrees", "trunk", check=False)
        case "bisect":
            repo.git("bisect", "start")
        case _:
            repo.git(what, "topic", check=False)
    before = fingerprint(repo)
    with pytest.raises(Busy):
        project.merge("fix")
    assert fingerprint(repo) == before


NONSENSE: dict[str, Callable[[Project], object]] = {
    "main has no parent": lambda project: project.merge("main"),
    "into itself": lambda project: project.merge("fix", "fix"),
    "markers into main": lambda project: project.merge("fix", on_conflict="markers"),
    "main deleted": lambda project: project.merge("main", "fix", delete_source=True),
}


@pytest.mark.parametrize("call", NONSENSE.values(), ids=NONSENSE)
def test_calls_that_make_no_sense_change_nothing(project: Project, repo: Repo, call: Callable[[Project], object]) -> None:
    clone(project, "fix").write("cart.py", "fixed\n")
    before = fingerprint(repo)
    with pytest.raises(InvalidArgument, match="Nothing was merged"):
        call(project)
    assert fingerprint(repo) == before


def test_attributes_of_the_target_rule_the_merge(project: Project, repo: Repo) -> None:
    repo.write(".gitattributes", "CHANGES merge=union\n")
    repo.write("CHANGES", "first\n")
    repo.commit("attributes")
    clone(project, "a").write("CHANGES", "first\na\n")
    clone(project, "b").write("CHANGES", "first\nb\n")
    assert project.merge("a").status == project.merge("b").status == "merged"
    assert repo.read("CHANGES") == "first\na\nb\n"


def test_without_an_identity_a_merge_still_has_an_author(project: Project, repo: Repo, home: Path) -> None:
    (home / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    clone(project, "fix").write("cart.py", "fixed\n")
    assert project.merge("fix").status == "merged"
    assert repo.git("log", "-1", "--format=%an") == "mcp-workspaces"
