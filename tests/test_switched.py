"""An agent that checks out another commit in its clone: what its work is then, and what it has in common with main, is what git knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import Repo, clone

from workspaces import Project
from workspaces.errors import Unsupported
from workspaces.model import History


@pytest.fixture
def hot(project: Project, repo: Repo) -> Repo:
    """A clone in which somebody mends an old release, on a branch of its own; main has a feature since."""
    repo.git("branch", "release")
    repo.write("feature.py", "feature\n")
    repo.write("cart.py", "cart, with a feature\n")
    repo.commit("feature")
    clone(project, "other")
    fix = clone(project, "fix")
    fix.git("switch", "-q", "-c", "hot", "release")
    fix.write("notes.md", "mended\n")
    fix.commit("mended")
    return fix


@pytest.mark.parametrize("history", ["squash", "merge", "rebase", "none"])
@pytest.mark.usefixtures("hot")
def test_mending_an_old_release_takes_nothing_from_main(project: Project, repo: Repo, history: History) -> None:
    (seen,) = project.compare(["fix"]).workspaces
    assert (seen.files_changed, seen.merge) == (1, "clean")
    assert project.merge("fix", history=history).status == "merged"
    assert (repo.read("feature.py"), repo.read("cart.py"), repo.read("notes.md")) == ("feature\n", "cart, with a feature\n", "mended\n")
    if history == "none":
        repo.commit("mended")
    assert project.merge("fix", history=history).status == "up_to_date"
    assert project.delete(["fix"]).deleted == ("shop/fix",)


def test_main_is_brought_into_it_as_git_would(project: Project, repo: Repo, hot: Repo) -> None:
    assert project.merge("main", "fix").status == "merged"
    assert (hot.read("feature.py"), hot.read("cart.py"), hot.read("notes.md")) == ("feature\n", "cart, with a feature\n", "mended\n")
    assert project.merge("main", "fix").status == "up_to_date"
    hot.write("cart.py", "cart, with a feature, mended\n")
    assert project.merge("fix").status == "merged"
    assert (repo.read("cart.py"), repo.read("feature.py")) == ("cart, with a feature, mended\n", "feature\n")


@pytest.mark.usefixtures("hot")
def test_it_is_compared_with_others_by_what_they_have_in_common(project: Project) -> None:
    Repo(Path(project.find("other").location)).write("feature.py", "feature, better\n")
    compared = project.compare(["fix", "other"])
    assert not compared.pairs
    assert sorted(compared.compatible) == ["shop/fix", "shop/other"]
    assert project.merge(["fix", "other"]).status == "merged"


def test_a_conflict_that_was_resolved_there_is_resolved(project: Project, repo: Repo, hot: Repo) -> None:
    hot.write("cart.py", "cart, mended\n")
    hot.commit("mended")
    assert project.merge("fix").status == "conflicts"
    project.merge("main", "fix", on_conflict="markers")
    hot.write("cart.py", "both\n")
    assert project.merge("fix").status == "merged"
    assert (repo.read("cart.py"), repo.read("feature.py")) == ("both\n", "feature\n")


@pytest.mark.parametrize("done", ["reset", "amended", "rebased"])
def test_commits_of_main_that_a_clone_lost_stay_in_main(project: Project, repo: Repo, done: str) -> None:
    repo.write("feature.py", "feature\n")
    repo.commit("feature")
    fix = clone(project, "fix")
    fix.write("notes.md", "mended\n")
    if done == "reset":
        fix.git("reset", "-q", "--hard", "HEAD~1")
        fix.write("notes.md", "mended\n")
    elif done == "amended":
        fix.write("feature.py", "feature\nmore\n")
        fix.git("commit", "-q", "-a", "--amend", "-m", "feature, amended")
    else:
        fix.commit("mended")
        fix.git("rebase", "-q", "--onto", "HEAD~2", "HEAD~1")
    merged = project.merge("fix", on_conflict="source" if done == "amended" else "abort")
    assert merged.status == "merged"
    assert repo.read("feature.py") == ("feature\nmore\n" if done == "amended" else "feature\n")
    assert repo.read("notes.md") == "mended\n"


def test_what_was_merged_before_stays_known(project: Project, repo: Repo, hot: Repo) -> None:
    assert project.merge("fix").status == "merged"
    hot.write("notes.md", "mended twice\n")
    hot.write("cart.py", hot.read("cart.py") + "more\n")
    assert project.merge("fix", on_conflict="source").status == "merged"
    assert repo.read("notes.md") == "mended twice\n"
    hot.git("switch", "-q", "--detach", "-f", "trunk")
    hot.write("notes.md", "mended thrice\n")
    assert project.merge("fix").status == "merged"
    assert (repo.read("notes.md"), repo.read("feature.py")) == ("mended thrice\n", "feature\n")


def test_what_it_merged_on_a_line_that_it_left_stays_in_main(project: Project, repo: Repo, hot: Repo) -> None:
    assert project.merge("fix").status == "merged"
    hot.git("switch", "-q", "-c", "hotter", "release")
    hot.write("two.md", "two\n")
    hot.commit("two")
    (seen,) = project.compare(["fix"]).workspaces
    assert (seen.files_changed, seen.merge) == (1, "clean")
    assert project.merge("main", "fix").status == "merged"
    assert hot.read("notes.md") == "mended\n"
    assert project.merge("fix").status == "merged"
    assert (repo.read("notes.md"), repo.read("two.md"), repo.read("feature.py")) == ("mended\n", "two\n", "feature\n")


@pytest.mark.parametrize("history", ["squash", "none"])
def test_what_it_got_on_a_line_that_it_left_stays_in_main(project: Project, repo: Repo, history: History) -> None:
    fix = clone(project, "fix")
    began = fix.head
    fix.write("own.py", "own\n")
    fix.commit("own")
    repo.write("feature.py", "feature\n")
    repo.commit("feature")
    assert project.merge("main", "fix", history=history).status == "merged"
    fix.git("switch", "-q", "-f", "-c", "again", began)
    fix.git("clean", "-q", "-f", "-d")
    fix.write("two.py", "two\n")
    assert [change.path for change in project.merge("fix").files] == ["two.py"]
    assert repo.read("feature.py") == "feature\n"


@pytest.mark.parametrize("history", ["squash", "merge", "none"])
def test_what_it_got_on_its_line_stays_known(project: Project, repo: Repo, hot: Repo, history: History) -> None:
    hot.write("cart.py", "cart, mended\n")
    hot.commit("mended")
    project.merge("main", "fix", on_conflict="markers", history=history)
    hot.write("cart.py", "both\n")
    assert project.merge("main", "fix", history=history).status == "up_to_date"
    hot.commit("both")
    assert project.merge("main", "fix").status == "up_to_date"
    assert project.merge("fix").status == "merged"
    assert (repo.read("cart.py"), repo.read("feature.py")) == ("both\n", "feature\n")


def left_by_the_one_above(project: Project, repo: Repo, above: str) -> tuple[Repo, Repo]:
    """Return what a clone was made from, main or a clone itself, which is on an older line by now, and that clone, with work in it."""
    repo.git("branch", "release")
    repo.write("feature.py", "feature\n")
    repo.commit("feature")
    up = clone(project, "up") if above == "up" else repo
    low = clone(project, "low", above)
    low.write("own.py", "own\n")
    low.commit("own")
    up.git("switch", "-q", *(["-c", "hot"] if above == "up" else []), "release")
    return up, low


@pytest.mark.parametrize("above", ["main", "up"])
def test_a_clone_is_brought_up_to_date_by_what_is_on_the_line_above_it(project: Project, repo: Repo, above: str) -> None:
    up, _ = left_by_the_one_above(project, repo, above)
    assert project.merge(above, "low").status == "up_to_date"
    up.write("hot.py", "hot\n")
    up.commit("hot")
    assert [change.path for change in project.merge(above, "low").files] == ["hot.py"]
    repo.git("switch", "-q", "trunk")
    brought = {change.path for change in project.merge("low", "main").files}
    assert brought == ({"own.py", "hot.py"} if above == "up" else {"own.py"})  # the rest main has on its other branch
    assert repo.read("feature.py") == "feature\n"


@pytest.mark.parametrize("above", ["main", "up"])
def test_who_left_what_a_clone_began_with_has_of_it_only_its_work(project: Project, repo: Repo, above: str) -> None:
    _, low = left_by_the_one_above(project, repo, above)
    assert [change.path for change in project.merge("low", above).files] == ["own.py"]
    assert project.merge("low", above).status == "up_to_date"
    assert project.merge(above, "low").status in ("up_to_date", "merged")
    assert (low.read("feature.py"), low.read("own.py")) == ("feature\n", "own\n")
    repo.git("switch", "-q", "trunk")
    assert {change.path for change in project.merge("up" if above == "up" else "low", "main").files} == {"own.py"}
    assert (repo.read("feature.py"), repo.read("own.py")) == ("feature\n", "own\n")


@pytest.mark.parametrize("done", ["reset", "switched"])
def test_what_it_had_when_it_was_merged_and_has_no_more_stays_in_main(project: Project, repo: Repo, done: str) -> None:
    fix = clone(project, "fix")
    began = fix.head
    repo.write("feature.py", "feature\n")
    later = repo.commit("feature")
    fix.git("checkout", "-q", "--detach", later)
    fix.write("own.py", "own\n")
    fix.commit("own")
    assert project.merge("fix").status == "merged"
    fix.git(*(("reset", "-q", "--hard") if done == "reset" else ("checkout", "-q", "--detach")), began)
    assert project.merge("fix").status == "up_to_date"
    fix.write("two.py", "two\n")
    assert [change.path for change in project.merge("fix").files] == ["two.py"]
    assert (repo.read("feature.py"), repo.read("own.py")) == ("feature\n", "own\n")
    assert project.merge("main", "fix").status == "merged"
    assert (fix.read("feature.py"), fix.read("own.py")) == ("feature\n", "own\n")


@pytest.mark.parametrize("target", ["main", "older"])
def test_a_merge_commit_claims_nothing_that_is_not_there(project: Project, repo: Repo, target: str) -> None:
    repo.git("branch", "release")
    older = clone(project, "older")
    repo.write("feature.py", "feature\n")
    repo.commit("feature")
    fix = clone(project, "fix")
    fix.write("own.py", "own\n")
    fix.commit("own")
    into = repo if target == "main" else older
    if target == "main":
        repo.git("switch", "-q", "release")
    before = into.head
    with pytest.raises(Unsupported, match="without what fix began with"):
        project.merge("fix", target, history="merge")
    assert into.head == before
    assert project.merge("fix", target).status == "merged"
    assert not (into.path / "feature.py").exists()


def test_what_was_brought_without_a_commit_and_left_can_be_brought_again(project: Project) -> None:
    up = clone(project, "up")
    began = up.head
    low = clone(project, "low", "up")
    low.write("low.py", "low\n")
    up.write("up.py", "up\n")
    up.commit("up")
    project.merge("low", "up", history="none")
    up.commit("low")
    assert project.merge("low", "up").status == "up_to_date"
    up.git("reset", "-q", "--hard", began)
    assert [change.path for change in project.merge("low", "up").files] == ["low.py"]
