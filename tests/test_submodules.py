"""Submodules: a merge moves which commit they are, as git does, and leaves what is in their folders; what is in there alone is neither lost nor passed over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Repo, clone, hidden

from workspaces import Project
from workspaces.errors import Limit, TargetDirty, UnmergedChanges
from workspaces.model import History


@pytest.fixture
def library(repo: Repo, tmp_path: Path) -> Repo:
    """Return what is a submodule of the project, as `mod`."""
    found = Repo.create(tmp_path / "library")
    found.write("a.txt", "a\n")
    found.write(".gitignore", "*.ign\n")
    found.commit("start")
    repo.git("config", "--global", "protocol.file.allow", "always")
    repo.git("submodule", "add", "-q", str(found.path), "mod")
    repo.commit("with a submodule")
    return found


def populated(checkout: Repo) -> Repo:
    """Return the submodule of a checkout, with its files there."""
    checkout.git("submodule", "update", "-q", "--init")
    return Repo(checkout.path / "mod")


def bumped(project: Project, library: Repo, name: str = "bump") -> Repo:
    """Return a clone in which the submodule is at a later commit."""
    library.write("later.txt", "later\n")
    library.commit("later")
    bump = clone(project, name)
    bump.git("submodule", "update", "-q", "--init", "--remote")
    bump.commit("bump")
    return bump


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def pointer(repo: Repo) -> str:
    return repo.git("ls-files", "--stage", "mod").split()[1]


def a_file(fix: Repo) -> None:
    fix.git("rm", "-q", "mod")
    fix.write("mod", "a file\n")


def a_link(fix: Repo) -> None:
    fix.git("rm", "-q", "mod")
    (fix.path / "mod").symlink_to("cart.py")


def a_folder(fix: Repo) -> None:
    fix.git("rm", "-q", "mod")
    fix.write("mod/a.txt", "vendored\n")


def commit_inside(mod: Repo) -> str:
    mod.write("a.txt", "committed\n")
    return mod.commit("mine")


WORK: dict[str, tuple[Callable[[Repo], object], str]] = {
    "modified": (lambda mod: mod.write("a.txt", "mine\n"), "mod/a.txt"),
    "untracked": (lambda mod: mod.write("deep/new.txt", "mine\n"), "mod/deep/new.txt"),
    "staged": (lambda mod: (mod.write("new.txt", "mine\n"), mod.git("add", "-A")), "mod/new.txt"),
    "hidden": (lambda mod: (mod.git("update-index", "--assume-unchanged", "a.txt"), mod.write("a.txt", "mine\n")), "mod/a.txt"),
    "committed": (commit_inside, "mod"),
    "stashed": (lambda mod: (mod.write("a.txt", "mine\n"), mod.git("stash", "-q")), "mod"),
    "on a branch": (lambda mod: (mod.git("checkout", "-q", "-b", "mine"), commit_inside(mod), mod.git("checkout", "-q", "-")), "mod"),
    "a repository": (lambda mod: Repo.create(mod.path / "inner").write("x", "x"), "mod/inner"),
}


# -- what is in a submodule, and a merge ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("history", ["squash", "none"])
@pytest.mark.parametrize("into", [a_file, a_link])
@pytest.mark.parametrize("work", [*WORK, "ignored"])
@pytest.mark.usefixtures("library")
def test_what_is_in_a_submodule_is_not_written_over(
    project: Project, repo: Repo, work: str, into: Callable[[Repo], None], history: History
) -> None:
    into(clone(project, "fix"))
    does, path = WORK.get(work, (lambda mod: mod.write("build.ign", "mine\n"), "mod/build.ign"))
    does(Repo(repo.path / "mod"))
    before = repo.status(), repo.head, names(repo.path / "mod")
    with pytest.raises(TargetDirty) as refused:
        project.merge("fix", history=history)
    assert refused.value.details["paths"] == [path]
    assert (repo.status(), repo.head, names(repo.path / "mod")) == before


@pytest.mark.usefixtures("library")
def test_what_is_in_the_submodule_of_a_clone_is_not_written_over(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    populated(fix).write("new.txt", "mine\n")
    a_file(repo)
    repo.commit("a file")
    with pytest.raises(TargetDirty) as refused:
        project.merge("main", target="fix")
    assert refused.value.details["paths"] == ["mod/new.txt"]
    assert fix.read("mod/new.txt") == "mine\n"


@pytest.mark.usefixtures("library")
def test_what_is_in_the_folder_of_a_submodule_that_is_not_there_is_not_written_over(project: Project, repo: Repo) -> None:
    other = clone(project, "other")
    other.write("mod/new.txt", "mine\n")
    a_file(repo)
    repo.commit("a file")
    with pytest.raises(TargetDirty) as refused:
        project.merge("main", target="other")
    assert refused.value.details["paths"] == ["mod/new.txt"]


@pytest.mark.usefixtures("library")
def test_a_repository_in_the_folder_of_a_submodule_is_not_written_over(project: Project, repo: Repo) -> None:
    a_file(clone(project, "fix"))
    git_dir = repo.path / ".git/modules/mod"
    (repo.path / "mod/.git").unlink()
    shutil.move(git_dir, repo.path / "mod/.git")
    repo.git("config", "--file", str(repo.path / "mod/.git/config"), "--unset", "core.worktree")
    with pytest.raises(TargetDirty) as refused:
        project.merge("fix")
    assert refused.value.details["paths"] == ["mod/.git"]
    assert (repo.path / "mod/.git/HEAD").exists()


@pytest.mark.parametrize("into", [a_file, a_link])
@pytest.mark.parametrize("history", ["squash", "none"])
@pytest.mark.usefixtures("library")
def test_a_submodule_without_work_makes_room(project: Project, repo: Repo, into: Callable[[Repo], None], history: History) -> None:
    into(clone(project, "fix"))
    was = pointer(repo)
    project.merge("fix", history=history)
    assert not (repo.path / "mod").is_dir()
    repo.status()
    project.undo()
    assert repo.status() == []
    assert pointer(repo) == was
    assert populated(repo).read("a.txt") == "a\n"
    project.redo()
    assert not (repo.path / "mod").is_dir()


@pytest.mark.usefixtures("library")
def test_files_of_a_submodule_that_becomes_a_folder_are_in_the_way(project: Project, repo: Repo) -> None:
    a_folder(clone(project, "fix"))
    with pytest.raises(TargetDirty, match="mod/a.txt") as refused:
        project.merge("fix")
    assert "git submodule deinit mod" in str(refused.value.hint)
    assert repo.status() == []
    repo.git("submodule", "deinit", "-q", "mod")
    project.merge("fix")
    assert repo.read("mod/a.txt") == "vendored\n"
    assert repo.status() == []
    project.undo()
    assert repo.status() == []
    populated(repo)
    with pytest.raises(TargetDirty) as again:
        project.redo()
    assert "git submodule deinit mod" in str(again.value.hint)


@pytest.mark.parametrize("work", [True, False])
@pytest.mark.parametrize("history", ["squash", "none"])
@pytest.mark.usefixtures("library")
def test_a_submodule_that_goes_leaves_its_folder(project: Project, repo: Repo, history: History, work: bool) -> None:
    clone(project, "fix").git("rm", "-q", "mod")
    if work:
        repo.write("mod/new.txt", "mine\n")
    before = repo.status()
    project.merge("fix", history=history)
    assert "?? mod/" in repo.status()
    assert not repo.git("ls-files", "mod")
    assert repo.read("mod/a.txt") == "a\n"
    project.undo()
    assert repo.status() == before
    project.redo()
    assert not repo.git("ls-files", "mod")
    assert not work or repo.read("mod/new.txt") == "mine\n"


# -- which commit it is -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("history", ["squash", "none"])
def test_a_submodule_that_moved_is_moved_back(project: Project, repo: Repo, library: Repo, history: History) -> None:
    bumped(project, library)
    was = pointer(repo)
    project.merge("bump", history=history)
    now = pointer(repo)
    assert now != was
    assert repo.status() == [" M mod" if history == "squash" else "MM mod"]
    repo.write("mod/new.txt", "mine\n")
    project.undo()
    assert pointer(repo) == was
    project.redo()
    assert pointer(repo) == now
    assert repo.read("mod/new.txt") == "mine\n"


def test_a_submodule_that_came_comes_again(project: Project, repo: Repo, tmp_path: Path) -> None:
    repo.git("config", "--global", "protocol.file.allow", "always")
    library = Repo.create(tmp_path / "library")
    library.write("a.txt", "a\n")
    library.commit("start")
    clone(project, "fix").git("submodule", "add", "-q", str(library.path), "mod")
    project.merge("fix")
    populated(repo).write("new.txt", "mine\n")
    project.undo()
    assert repo.status() == ["?? mod/"]
    project.redo()
    assert repo.status() == [" M mod"]
    assert repo.read("mod/new.txt") == "mine\n"


@pytest.mark.parametrize("history", ["squash", "none"])
def test_a_folder_that_became_a_submodule_is_tracked_again(project: Project, repo: Repo, library: Repo, history: History) -> None:
    fix = clone(project, "fix")
    fix.git("rm", "-q", "-r", "auth")
    fix.git("submodule", "add", "-q", str(library.path), "auth")
    before = repo.status(), repo.git("ls-files", "--stage")
    project.merge("fix", history=history)
    after = repo.status(), repo.git("ls-files", "--stage")
    project.undo()
    assert (repo.status(), repo.git("ls-files", "--stage")) == before
    project.redo()
    assert (repo.status(), repo.git("ls-files", "--stage")) == after


def test_a_clone_gets_a_submodule_that_moved(project: Project, repo: Repo, library: Repo) -> None:
    fix = clone(project, "fix")
    populated(fix).write("new.txt", "mine\n")
    bumped(project, library)
    project.merge("bump")
    populated(repo)
    assert project.merge("main", target="fix").status == "merged"
    assert pointer(fix) == pointer(repo)
    assert fix.read("mod/new.txt") == "mine\n"
    project.undo()
    assert fix.read("mod/new.txt") == "mine\n"


@pytest.mark.parametrize("history", ["squash", "none"])
def test_a_submodule_that_a_merge_left_where_it_was_is_not_moved_back(
    project: Project, repo: Repo, library: Repo, history: History
) -> None:
    fix = clone(project, "fix")
    mod = populated(fix)
    bumped(project, library)
    project.merge("bump")
    project.merge("main", target="fix", history=history)
    assert not project.compare(["fix"]).workspaces[0].files_changed
    now = pointer(repo)
    fix.write("cart.py", "mine\n")
    assert [change.path for change in project.merge("fix").files] == ["cart.py"]
    assert pointer(repo) == now
    fix.git("add", "mod")  # somebody means it
    assert [change.path for change in project.merge("fix").files] == ["mod"]
    assert pointer(repo) == mod.head != now


def test_a_submodule_that_somebody_moves_after_a_merge_is_moved(project: Project, repo: Repo, library: Repo) -> None:
    fix = clone(project, "fix")
    mod = populated(fix)
    bumped(project, library)
    project.merge("bump")
    project.merge("main", target="fix")
    populated(fix)
    moved = commit_inside(mod)
    assert [change.path for change in project.merge("fix").files] == ["mod"]
    assert pointer(repo) == moved


# -- what is in a submodule, and a delete ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", WORK)
@pytest.mark.usefixtures("library")
def test_work_in_a_submodule_is_unmerged(project: Project, work: str) -> None:
    fix = clone(project, "fix")
    WORK[work][0](populated(fix))
    if work == "committed":
        project.merge("fix")
    assert "mod" in " ".join(project.compare(["fix"]).warnings)
    with pytest.raises(UnmergedChanges, match=r"repositories of its own: mod\b"):
        project.delete(["fix"])
    fix.write("cart.py", "mine\n")
    assert "mod" in project.merge("fix", delete_source=True).warnings[-1]
    mod = fix.path / "mod"
    before = names(mod), Repo(mod).status()
    project.delete(["fix"], discard_unmerged=True)
    project.restore("fix")
    assert (names(mod), Repo(mod).status()) == before


@pytest.mark.usefixtures("library")
def test_a_file_in_the_folder_of_a_submodule_that_is_not_there_is_unmerged(project: Project) -> None:
    clone(project, "fix").write("mod/new.txt", "mine\n")
    with pytest.raises(UnmergedChanges, match="mod"):
        project.delete(["fix"])


def test_work_in_a_submodule_of_a_submodule_is_unmerged(project: Project, library: Repo, tmp_path: Path) -> None:
    deep = Repo.create(tmp_path / "deep")
    deep.write("a.txt", "a\n")
    deep.commit("start")
    library.git("submodule", "add", "-q", str(deep.path), "below")
    library.commit("with a submodule")
    fix = bumped(project, library)
    fix.git("submodule", "update", "-q", "--init", "--recursive")
    project.merge("bump")
    fix.write("mod/below/new.txt", "mine\n")
    with pytest.raises(UnmergedChanges, match="repositories of its own: mod"):
        project.delete(["bump"])
    (fix.path / "mod/below/new.txt").unlink()
    project.delete(["bump"])


@pytest.mark.parametrize("does", ["nothing", "ignored", "a commit that is elsewhere", "a commit that main has"])
def test_a_submodule_without_work_is_none(project: Project, repo: Repo, library: Repo, does: str) -> None:
    fix = clone(project, "fix")
    mod = populated(fix)
    if does == "ignored":
        mod.write("build.ign", "made\n")
    if does.startswith("a commit"):
        commit_inside(mod)
        fix.commit("bump")
        project.merge("fix")
    if does == "a commit that is elsewhere":
        mod.git("push", "-q", "origin", "HEAD:refs/heads/mine")
    if does == "a commit that main has":
        Repo(repo.path / "mod").git("fetch", "-q", str(mod.path))
        populated(repo)
    assert not project.compare(["fix"]).warnings
    before = mod.status(), mod.head
    project.delete(["fix"])
    project.restore("fix")
    assert (mod.status(), mod.head) == before
    assert library.git("fsck") == ""


def test_a_commit_that_no_branch_has_any_more_is_nobodys_work(project: Project, repo: Repo, library: Repo) -> None:
    library.git("checkout", "-q", "--detach")
    pinned = commit_inside(library)
    library.git("tag", "released")
    library.git("checkout", "-q", "trunk")
    inside = Repo(repo.path / "mod")
    inside.git("fetch", "-q", "--tags")
    inside.git("checkout", "-q", pinned)
    repo.commit("at a release")
    fix = clone(project, "fix")
    assert populated(fix).head == pinned
    project.delete(["fix"])
    assert not project.clone(name="other").warnings


@pytest.mark.parametrize("work", WORK)
@pytest.mark.usefixtures("library")
def test_a_clone_says_that_work_in_a_submodule_stays(project: Project, repo: Repo, work: str) -> None:
    WORK[work][0](Repo(repo.path / "mod"))
    assert "inside, which are neither compared, copied nor merged: mod." in " ".join(project.clone(name="fix").warnings)


@pytest.mark.usefixtures("library")
def test_a_repository_that_lies_elsewhere_is_not_looked_into(project: Project, tmp_path: Path) -> None:
    fix = clone(project, "fix")
    populated(fix)
    shutil.move(fix.git("-C", "mod", "rev-parse", "--absolute-git-dir"), tmp_path / "elsewhere")
    fix.write("mod/.git", f"gitdir: {tmp_path}/elsewhere\n")
    with pytest.raises(UnmergedChanges, match="repositories of its own: mod"):
        project.delete(["fix"])


@pytest.mark.parametrize("what", ["a circle", "an include", "nothing", "a pipe"])
@pytest.mark.usefixtures("library")
def test_a_repository_that_cannot_be_looked_into_is_unmerged(project: Project, what: str) -> None:
    fix = clone(project, "fix")
    pointer = populated(fix).path / ".git"
    git_dir = Path(fix.git("-C", "mod", "rev-parse", "--absolute-git-dir"))
    if what == "an include":
        os.mkfifo(git_dir / "pipe")
        (git_dir / "config").write_text((git_dir / "config").read_text() + "[Include]\n\tpath = pipe\n")
    else:
        pointer.unlink()
    if what == "a circle":
        pointer.symlink_to(".git")
    if what == "a pipe":
        os.mkfifo(pointer)
    if what == "nothing":
        pointer.write_text("")
    with pytest.raises(UnmergedChanges, match="repositories of its own: mod"):
        project.delete(["fix"])


@pytest.mark.usefixtures("library")
def test_a_submodule_whose_head_is_a_pipe_holds_nobody_up(project: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    fix = clone(project, "fix")
    populated(fix)
    head = Path(fix.git("-C", "mod", "rev-parse", "--absolute-git-dir"), "HEAD")
    head.unlink()
    os.mkfifo(head)
    hidden(fix, "cart.py")
    monkeypatch.setattr("workspaces.backends.bounds.PATIENCE", 0.3)
    with pytest.raises(Limit, match="update-index"):
        project.compare(["fix"])
    project.delete(["fix"], discard_unmerged=True)
    assert (repo.status(), fix.path.exists()) == ([], False)


def test_a_repository_without_submodules_is_not_asked_about_any(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workspaces.backends.worktree.submodules.worked_in", None)
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    project.compare(["fix"])
    project.merge("fix")
    project.delete(["fix"])
