"""Merging: all or nothing, only what the workspace did, and main safe under it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from support import Repo, at, clone, fingerprint

from workspaces import Project
from workspaces.errors import Busy, InvalidArgument, NotAllowed, NotFound, TargetDirty, TargetMoved, UnmergedChanges
from workspaces.locks import Locks
from workspaces.store import Store


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


def test_who_has_waited_merges_no_later_workspace_of_that_name(project: Project, repo: Repo) -> None:
    clone(project, "into")
    clone(project, "work").write("cart.py", "first\n")
    waits = Event()
    with ThreadPoolExecutor() as pool:
        with Locks(repo.path / ".git" / "workspaces" / "locks").change("shop.into"):
            merging = pool.submit(project.merge, "work", "into", progress=lambda _done, _total, _said: waits.set())
            assert waits.wait(60)
            project.delete(["work"], discard_unmerged=True)
            clone(project, "work").write("cart.py", "second\n")
        with pytest.raises(NotFound, match="deleted meanwhile"):
            merging.result()


def test_what_is_in_the_way_beside_conflicts_is_named_too_where_they_are_written(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "theirs\n")
    repo.write("cart.py", "ours\n")
    repo.write("new.py", "ours\n")
    repo.commit("ours")
    fix.write(".gitignore", "new.py\n")
    fix.write("new.py", "mine\n")
    assert project.merge("main", "fix").status == "conflicts"
    with pytest.raises(TargetDirty, match=r"new\.py"):
        project.merge("main", "fix", on_conflict="markers")
    assert (fix.read("cart.py"), fix.read("new.py")) == ("theirs\n", "mine\n")


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


def test_lists_that_are_cut_are_counted_in_full(project: Project, repo: Repo) -> None:
    names = [f"many/{number:03}.txt" for number in range(503)]
    for name in names:
        repo.write(name, "one\n")
    repo.commit("many")
    for made in project.clone(name="w", count=2).workspaces:
        for name in names:
            at(made).write(name, f"{made.name}\n")
    for dry_run in (True, False):
        told = project.merge("w-1", dry_run=dry_run)
        assert (len(told.files), told.warnings) == (500, ("3 files more, not listed.",))
    marked = project.merge("main", "w-2", on_conflict="markers")
    assert "503 conflicting paths to resolve" in marked.summary
    assert "403 conflicts more, not listed." in marked.warnings


def test_paths_may_be_written_as_people_write_them(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("auth/api.py", "fixed\n")
    fix.write("cart.py", "fixed\n")
    assert [change.path for change in project.merge("fix", paths=["./auth//"]).files] == ["auth/api.py"]
    assert [change.path for change in project.merge("fix", paths=["."]).files] == ["cart.py"]


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


def test_who_commits_is_who_the_environment_says(project: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    clone(project, "fix").write("cart.py", "fixed\n")
    for name, value in {"AUTHOR_NAME": "Ada", "AUTHOR_EMAIL": "ada@example.com", "COMMITTER_NAME": "Bot", "COMMITTER_EMAIL": ""}.items():
        monkeypatch.setenv(f"GIT_{name}", value)
    assert project.merge("fix").status == "merged"
    assert repo.git("log", "-1", "--format=%an <%ae> %cn") == "Ada <ada@example.com> Bot"


def test_your_own_configuration_is_where_the_environment_says(
    project: Project, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):  # what it says is remembered
        (tmp_path / name).write_text(f"[user]\n\tname = {name}\n\temail = {name}@example.com\n")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / name))
        for file in ("a", "b", "c"):
            fix = clone(project, f"{name}-{file}")
            fix.write(f"{name}-{file}", "new\n")
            assert project.merge(f"{name}-{file}").status == "merged"
            assert repo.git("log", "-1", "--format=%an <%ae>") == f"{name} <{name}@example.com>"


def test_what_main_only_had_uncommitted_can_be_merged_again(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("new.py", "work\n")
    project.merge("fix", history="none")
    repo.git("clean", "-fdq")
    assert project.compare(["fix"]).workspaces[0].merge == "clean"
    with pytest.raises(UnmergedChanges):
        project.delete(["fix"])
    assert project.merge("fix").status == "merged"
    assert repo.read("new.py") == "work\n"


def test_delete_source_keeps_what_was_not_brought(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("a.txt", "a\n")
    fix.write("b.txt", "b\n")
    assert "not deleted" in project.merge("fix", paths=["a.txt"], delete_source=True).warnings[0]
    assert fix.read("b.txt") == "b\n"


def test_a_submodule_that_moved_uncommitted_is_not_moved_back(project: Project, repo: Repo, tmp_path: Path) -> None:
    library = Repo.create(tmp_path / "library")
    library.write("lib.py", "1\n")
    library.commit("start")
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.path), "lib")
    repo.commit("with a submodule")
    bumped = Repo(repo.path / "lib")
    bumped.write("lib.py", "2\n")
    commit = bumped.commit("two")
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    assert project.compare(["fix"]).workspaces[0].files_changed == 1
    repo.git("commit", "-qam", "bump")
    assert [change.path for change in project.merge("fix").files] == ["cart.py"]
    assert commit in repo.git("ls-tree", "HEAD", "lib")


def test_a_source_in_the_middle_of_a_rebase_is_refused(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    fix.commit("mine")
    repo.write("cart.py", "theirs\n")
    repo.commit("theirs")
    fix.git("rebase", "trunk", check=False)
    assert "unmerged: cart.py" in project.compare(["fix"]).warnings[0]
    before = fingerprint(repo)
    with pytest.raises(NotAllowed, match="in the middle of a merge"):
        project.merge("fix")
    assert fingerprint(repo) == before


def test_an_unmerged_main_is_busy(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("notes.md", "mine\n")
    repo.write("cart.py", "stashed\n")
    repo.git("stash")
    repo.write("cart.py", "committed\n")
    repo.commit("other")
    repo.git("stash", "pop", check=False)
    with pytest.raises(Busy, match="unmerged"):
        project.merge("fix", dry_run=True)


def test_what_siblings_carried_stays_with_them(project: Project, repo: Repo) -> None:
    one = clone(project, "one")
    repo.write("notes.md", "my draft\n")
    two = clone(project, "two")
    two.write("new.py", "two\n")
    one.write("cart.py", "one\n")
    assert [change.path for change in project.merge("two", "one").files] == ["new.py"]
    repo.git("checkout", "-q", ".")
    project.merge("one")
    assert repo.read("notes.md") == "# Notes\n"


def test_a_sibling_of_an_older_main_takes_nothing_back(project: Project, repo: Repo) -> None:
    old = clone(project, "old")
    old.write("old.txt", "old\n")
    repo.write("notes.md", "newer\n")
    repo.commit("newer")
    new = clone(project, "new")
    new.write("new.txt", "new\n")
    assert [change.path for change in project.merge("new", "old").files] == ["new.txt"]
    assert [change.path for change in project.merge("old", "new").files] == ["old.txt"]
    assert new.read("notes.md") == "newer\n"
    assert {change.path for change in project.merge("old").files} == {"old.txt", "new.txt"}
    assert project.merge("new").status == "up_to_date"
    assert repo.read("notes.md") == "newer\n"


def test_carried_work_that_an_agent_committed_stays_out_of_history(project: Project, repo: Repo) -> None:
    repo.write("notes.md", "my draft\n")
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    fix.commit("all")
    project.merge("fix", history="merge")
    assert repo.git("log", "--format=%H", "-S", "my draft", "HEAD") == ""
    assert (repo.read("cart.py"), repo.status()) == ("mine\n", [" M notes.md"])


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_hidden_edits_are_work_too(project: Project, repo: Repo, flag: str) -> None:
    repo.git("update-index", flag, "notes.md")
    repo.write("notes.md", "local\n")
    fix = clone(project, "fix")
    assert fix.read("notes.md") == "local\n"
    fix.write("notes.md", "mine\n")
    for dry_run in (True, False):
        with pytest.raises(TargetDirty, match=r"notes\.md"):
            project.merge("fix", dry_run=dry_run)
    two = clone(project, "two")
    two.git("update-index", flag, "cart.py")
    two.write("cart.py", "hidden\n")
    assert project.compare(["two"]).workspaces[0].files_changed == 1
    with pytest.raises(UnmergedChanges):
        project.delete(["two"])


def test_repositories_inside_of_a_workspace_are_named(project: Project) -> None:
    fix = clone(project, "fix")
    inner = Repo.create(fix.path / "inner")
    inner.write("a.txt", "a\n")
    inner.commit("start")
    fix.write("cart.py", "mine\n")
    assert "inner" in project.compare(["fix"]).warnings[0]
    merged = project.merge("fix")
    assert [change.path for change in merged.files] == ["cart.py"]
    with pytest.raises(UnmergedChanges, match="inner"):
        project.delete(["fix"])


def test_a_head_that_cannot_move_leaves_the_index_as_it_was(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("notes.md", "mine\n")
    repo.write("cart.py", "theirs\n")
    repo.commit("theirs")
    lock = Path(fix.git("rev-parse", "--absolute-git-dir")) / "HEAD.lock"
    lock.touch()
    with pytest.raises(Busy, match=r"HEAD\.lock"):
        project.merge("main", "fix")
    lock.unlink()
    assert fix.status() == [" M notes.md"]
    assert project.merge("main", "fix").status == "merged"


def test_an_update_stages_no_reverts(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n" + fix.read("cart.py"))
    fix.git("add", "cart.py")
    repo.write("cart.py", repo.read("cart.py") + "theirs\n")
    repo.commit("theirs")
    project.merge("main", "fix")
    fix.git("commit", "-q", "--allow-empty", "-m", "what is staged")
    assert "-theirs" not in fix.git("show", "--format=")
    assert fix.read("cart.py").startswith("mine\n")
    assert fix.read("cart.py").endswith("theirs\n")


@pytest.mark.parametrize("busy", ["checkout", "rebase", "bisect"])
def test_a_branch_that_another_checkout_is_on_or_comes_back_to_is_not_moved(
    project: Project, repo: Repo, tmp_path: Path, busy: str
) -> None:
    repo.write("more.md", "more\n")
    repo.commit("more")
    clone(project, "fix").write("cart.py", "mine\n")
    repo.git("checkout", "-q", "--detach")
    repo.git("worktree", "add", "-q", str(tmp_path / "other"), "trunk")
    other = Repo(tmp_path / "other")
    if busy == "rebase":
        other.git("-c", "sequence.editor=sed -i s/^pick/edit/", "rebase", "-q", "-i", "HEAD~1")
    if busy == "bisect":
        other.git("bisect", "start", "HEAD", "HEAD~1")
        other.git("checkout", "-q", "--detach")
    repo.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    before = repo.head
    with pytest.raises(Busy, match="trunk is also in use by"):
        project.merge("fix")
    assert (repo.head, repo.status()) == (before, [])


def test_a_checkout_that_comes_to_a_branch_later_is_noticed(project: Project, repo: Repo, tmp_path: Path) -> None:
    """What it was on before is remembered as long as its git directory is as old as then."""
    repo.git("worktree", "add", "-q", "--detach", str(tmp_path / "other"))
    long_ago = time.time() - 60
    os.utime(repo.path / ".git" / "worktrees" / "other", (long_ago, long_ago))
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    assert project.merge("fix").status == "merged"
    Repo(tmp_path / "other").git("checkout", "-q", "--ignore-other-worktrees", "trunk")
    fix.write("cart.py", "more\n")
    with pytest.raises(Busy, match="trunk is also in use by"):
        project.merge("fix")


def test_a_message_that_is_no_text(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    assert project.merge("fix", message="odd \ud800 text").status == "merged"
    assert repo.git("log", "-1", "--format=%s") == "odd ? text"


def test_what_a_merge_leaves_uncommitted_is_not_collected(project: Project, repo: Repo) -> None:
    """The next snapshot finds it in the repository, and would be left without it by a prune that runs at that moment."""
    fix = clone(project, "fix")
    fix.write("cart.py", repo.read("cart.py").replace("line 1\n", "fix\n"))
    repo.write("cart.py", repo.read("cart.py").replace("line 20\n", "main\n"))
    repo.commit("on main")
    project.merge("main", "fix", history="none")
    merged = repo.git("hash-object", str(fix.path / "cart.py"))
    repo.git("gc", "-q", "--prune=now")
    assert repo.git("cat-file", "-t", merged) == "blob"


def test_a_side_is_not_taken_where_what_comes_of_it_does_not_parse(project: Project, repo: Repo) -> None:
    """A side decides conflicting lines; with the other's lines elsewhere, that may be no JSON any more. Comments in both say nothing."""
    start = '"k": [\n1,\n2,\n3,\n4,\n5,\n6,\n7,\n8\n]\n}\n'
    for name, head in (("a.json", "{\n"), ("commented.json", "{ // why\n")):
        repo.write(name, head + start)
    repo.commit("json")
    fix = clone(project, "fix")
    for name, head in (("a.json", "{\n"), ("commented.json", "{ // why\n")):
        fix.write(name, head + start.replace("[", '{"v": [').replace("]", "]}"))
        repo.write(name, head + start.replace('"k"', '"kk"'))
    fix.write("cart.py", "fixed\n")
    repo.write("cart.py", "other\n")
    before = repo.commit("ours")
    refused = project.merge("fix", on_conflict="target")
    assert [(each.path, "not decided by on_conflict=target: it is no JSON" in each.note) for each in refused.conflicts] == [
        ("a.json", True)
    ]
    assert sorted(each.path for each in refused.decided) == ["cart.py", "commented.json"]
    assert (repo.head, repo.status()) == (before, [])
    merged = project.merge("fix", on_conflict="target", rules={"a.json": "source"}, paths=["cart.py", "commented.json"])
    assert merged.status == "merged"


def test_the_commit_that_took_work_back_is_named(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "fixed\n")
    project.merge("fix")
    repo.git("revert", "--no-edit", "HEAD")
    reverted = repo.head
    repo.write("notes.md", "later\n")
    repo.commit("later")
    told = project.merge("fix")
    assert (told.status, f"by commit {reverted[:9]} ('Revert" in told.summary) == ("up_to_date", True)
    assert f"git revert {reverted[:9]}" in told.warnings[0]
    kept = project.merge("fix", delete_source=True)
    assert f"by commit {reverted[:9]}" in kept.summary and "was not deleted" in kept.warnings[-1]
    repo.git("revert", "--no-edit", reverted)
    assert "fixed" in repo.read("cart.py")
    assert "taken" not in project.merge("fix").summary


def test_a_request_of_an_earlier_version_is_known_again(project: Project) -> None:
    """What a key stands for is remembered as it was written once: the words of a call, in this order, and later ones only when they are said."""
    fix = clone(project, "fix")
    fix.write("cart.py", "fixed\n")
    first = project.merge("fix", message="Fix", request_key="plain")
    said: list[object] = ["merge", ["fix", "", "abort", "squash", "Fix", [], False, False, ""]]
    assert _remembered(project, "plain") == hashlib.sha256(json.dumps(said).encode()).hexdigest()
    fix.write("notes.md", "more\n")
    project.merge(["fix"], "main", paths=["notes.md"], rules={"notes.md": "source"}, request_key="more")
    said = ["merge", [["fix"], "main", "abort", "squash", "", ["notes.md"], False, False, "", {"notes.md": "source"}]]
    assert _remembered(project, "more") == hashlib.sha256(json.dumps(said).encode()).hexdigest()
    assert project.merge("fix", message="Fix", request_key="plain") == first.model_copy(update={"next": ()})


def _remembered(project: Project, key: str) -> str:
    request = Store(project.root / ".git" / "workspaces" / "store.sqlite").request(project.name, key)
    assert request
    return request.asked
