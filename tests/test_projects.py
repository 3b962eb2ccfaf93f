"""What can be a project, and what is said of what cannot."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NoReturn

import pytest
from support import Repo, clone, deleted_at, fingerprint

from workspaces import Project
from workspaces.backend import choose
from workspaces.errors import BackendMissing, Exists, NoProject, NotAProject
from workspaces.store import Store


def test_initialize_is_idempotent_and_changes_no_file(repo: Repo) -> None:
    repo.write("cart.py", "dirty\n")
    before = fingerprint(repo)
    first, second = Project.initialize(repo.path).described(), Project.initialize(repo.path / "auth").described()
    assert first == second
    assert (first.project, first.backend, first.workspace.location) == ("shop", "worktree", str(repo.path))
    assert fingerprint(repo) == before


def test_what_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(NotAProject, match="cannot be a project of the worktree"):
        Project.initialize(tmp_path, "worktree")
    with pytest.raises(NotAProject, match="not a folder"):
        Project.initialize(tmp_path / "missing")
    assert [entry.name for entry in tmp_path.iterdir()] == ["home"]


def test_a_bare_repository(repo: Repo, tmp_path: Path) -> None:
    repo.git("clone", "-q", "--bare", str(repo.path), str(tmp_path / "bare.git"))
    with pytest.raises(NotAProject, match="bare"):
        Project.initialize(tmp_path / "bare.git")
    Repo(tmp_path / "bare.git").git("worktree", "add", "-q", str(tmp_path / "checkout"), "trunk")
    project = Project.initialize(tmp_path / "checkout")
    clone(project, "fix").write("cart.py", "mine\n")
    assert project.merge("fix").status == "merged"
    with pytest.raises(NotAProject, match="git directory"):
        Project.initialize(repo.path / ".git")


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    empty = Repo.create(tmp_path / "empty")
    before = fingerprint(empty)
    with pytest.raises(NotAProject, match="no commit yet"):
        Project.initialize(empty.path)
    assert fingerprint(empty) == before


def test_an_unknown_backend_is_named(repo: Repo) -> None:
    with pytest.raises(BackendMissing, match="Did you mean 'worktree'"):
        Project.initialize(repo.path, backend="worktrees")


def test_another_backend_is_chosen_when_nothing_of_the_first_is_left(project: Project, repo: Repo) -> None:
    """What is restorable would share its place with the other's."""
    clone(project, "fix")
    with pytest.raises(Exists, match="with its workspaces"):
        Project.initialize(repo.path, backend="directory")
    project.delete(["fix"])
    with pytest.raises(Exists, match="with deleted workspaces") as refused:
        Project.initialize(repo.path, backend="directory")
    assert "workspaces gc removes deleted ones" in refused.value.hint
    deleted_at(repo, "fix", 30)
    project.gc()
    assert Project.initialize(repo.path, backend="directory").described().backend == "directory"


@pytest.mark.parametrize("backend", ["auto", "directory"])
def test_a_project_of_a_backend_that_is_not_installed_is_left_alone(tmp_path: Path, backend: str) -> None:
    folder = tmp_path / "survey"
    home = folder / ".workspaces" / ".plain"
    home.mkdir(parents=True)
    Store(home / "store.sqlite").add_project("survey", str(folder), "plain")
    for adopts in (True, False):
        with pytest.raises(BackendMissing, match="of the plain backend, which is not installed"):
            Project.initialize(folder, backend=backend, adopts=adopts)
    assert [each.name for each in home.parent.iterdir()] == [".plain"]


def test_open_needs_an_initialized_project(repo: Repo) -> None:
    with pytest.raises(NoProject, match="not a project yet"):
        Project.open(repo.path)
    Project.initialize(repo.path)
    assert Project.open(repo.path / "auth").name == "shop"


def test_whoever_made_the_project_may_have_died_before_there_was_a_main(repo: Repo) -> None:
    found = choose(repo.path)
    found.initialize()
    Store(found.home / "store.sqlite").add_project("shop", str(repo.path), "worktree")
    project = Project.open(repo.path)
    assert [each.id for each in project.status().workspaces] == ["shop/main"]
    assert [finding for finding in project.doctor().findings if not finding.ok] == []


def test_from_inside_of_a_workspace_its_project_is_found(project: Project) -> None:
    fix = clone(project, "fix")
    (fix.path / "deep" / "er").mkdir(parents=True)
    assert Project.open(fix.path / "deep" / "er").root == project.root


def test_each_checkout_of_a_repository_is_a_project_of_its_own(project: Project, repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "-q", "-b", "topic", str(tmp_path / "topic"))
    other = Project.initialize(tmp_path / "topic")
    clone(project, "fix").write("cart.py", "for trunk\n")
    clone(other, "fix").write("cart.py", "for topic\n")
    assert (project.name, other.name) == ("shop", "topic")
    assert (project.merge("fix").status, other.merge("fix").status) == ("merged", "merged")
    assert (repo.read("cart.py"), Repo(tmp_path / "topic").read("cart.py")) == ("for trunk\n", "for topic\n")


@pytest.mark.parametrize("folder", ["with space", "smörgås", "new\nline", "a'quote\"", "-dash", "colon:here"])
def test_odd_places(tmp_path: Path, folder: str) -> None:
    odd = Repo.create(tmp_path / folder)
    odd.write("a.txt", "a\n")
    odd.commit("start")
    project = Project.initialize(odd.path)
    clone(project, "fix").write("a.txt", "b\n")
    assert project.merge("fix", delete_source=True).status == "merged"
    project.restore("fix")
    assert (odd.read("a.txt"), odd.status()) == ("b\n", [])


def test_sha256(tmp_path: Path) -> None:
    made = Repo.create(tmp_path / "modern", "--object-format=sha256")
    made.write("a.txt", "a\n")
    made.commit("start")
    project = Project.initialize(made.path)
    clone(project, "a").write("a.txt", "A\n")
    clone(project, "b").write("a.txt", "B\n")
    assert len(project.compare(["a", "b"]).pairs) == 1
    project.merge("a")
    assert project.merge("b").conflicts[0].hunks[0].theirs == "B\n"
    project.delete(["b"], discard_unmerged=True)
    made.git("gc", "-q", "--prune=now")
    project.restore("b")
    assert made.git("fsck") == ""


def test_a_shallow_repository(repo: Repo, tmp_path: Path) -> None:
    for number in range(3):
        repo.write("cart.py", f"{number}\n")
        repo.commit(f"{number}")
    repo.git("clone", "-q", "--depth=1", f"file://{repo.path}", str(tmp_path / "shallow"))
    project = Project.initialize(tmp_path / "shallow")
    clone(project, "fix").write("cart.py", "mine\n")
    assert project.merge("fix").status == "merged"


def test_a_sparse_checkout_keeps_what_it_leaves_out(project: Project, repo: Repo) -> None:
    repo.git("sparse-checkout", "set", "auth")
    assert not (repo.path / "docs").exists()
    repo.git("sparse-checkout", "set", "--no-cone", "/*", "!/auth/")
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    assert [change.path for change in project.merge("fix").files] == ["cart.py"]
    assert repo.git("ls-tree", "-r", "--name-only", "HEAD").split() == [".gitignore", "auth/api.py", "cart.py", "notes.md"]
    assert not (repo.path / "auth" / "api.py").exists()
    assert repo.status() == []


def test_submodules(project: Project, repo: Repo, tmp_path: Path) -> None:
    library = Repo.create(tmp_path / "library")
    library.write("lib.py", "1\n")
    library.commit("start")
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.path), "lib")
    repo.commit("with a submodule")
    fix = clone(project, "fix")
    assert fix.status() == []
    fix.write("cart.py", "mine\n")
    assert [change.path for change in project.merge("fix", delete_source=True).files] == ["cart.py"]
    assert repo.status() == []
    assert repo.read("lib/lib.py") == "1\n"


def test_line_ends_of_the_configuration(project: Project, repo: Repo) -> None:
    repo.git("config", "core.autocrlf", "true")
    repo.git("rm", "-q", "-r", "--cached", ".")
    repo.git("reset", "-q", "--hard")
    fix = clone(project, "fix")
    assert b"\r\n" in (fix.path / "cart.py").read_bytes()
    assert fix.status() == []
    fix.write("cart.py", (fix.path / "cart.py").read_bytes().replace(b"line 3\r\n", b"line three\r\n"))
    merged = project.merge("fix")
    assert [(change.insertions, change.deletions) for change in merged.files] == [(1, 1)]
    assert repo.status() == []


def test_a_repository_in_a_folder_of_that_name(tmp_path: Path) -> None:
    outer = Repo.create(tmp_path / "outer")
    outer.write("a.txt", "a\n")
    outer.commit("start")
    inner = Repo.create(tmp_path / "outer" / ".workspaces" / "inner")
    inner.write("a.txt", "a\n")
    inner.commit("start")
    assert Project.initialize(inner.path).root == inner.path


def test_who_has_no_home(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a number that nobody has given a name."""

    def nobody(number: int) -> NoReturn:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    project = Project.initialize(repo.path)
    clone(project, "fix").write("cart.py", "mine\n")
    assert project.compare(["fix"]).workspaces[0].merge == "clean"


def test_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    odd = Repo.create(tmp_path / b"caf\xe9".decode(errors="surrogateescape"))
    odd.write("a.txt", "a\n")
    odd.commit("start")
    with pytest.raises(NotAProject, match="not UTF-8"):
        Project.initialize(odd.path)


def test_files_that_are_elsewhere(repo: Repo, tmp_path: Path) -> None:
    repo.git("config", "core.worktree", str(tmp_path))
    with pytest.raises(NotAProject, match=r"core\.worktree"):
        Project.initialize(repo.path)


def test_a_moved_project_keeps_its_workspaces(project: Project, repo: Repo, tmp_path: Path) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    clone(project, "gone").write("notes.md", "mine\n")
    project.delete(["gone"], discard_unmerged=True)
    repo.path.rename(tmp_path / "moved")
    moved = Project.open(tmp_path / "moved")
    assert (moved.name, moved.find("fix").location) == ("shop", str(tmp_path / "moved" / ".workspaces" / "fix"))
    assert Repo(tmp_path / "moved" / ".workspaces" / "fix").status() == [" M cart.py"]
    assert all(finding.ok for finding in moved.doctor().findings)
    assert moved.merge("fix").status == "merged"
    moved.restore("gone")
    assert Repo(tmp_path / "moved" / ".workspaces" / "gone").read("notes.md") == "mine\n"


def test_a_copied_project_begins_anew(project: Project, repo: Repo, tmp_path: Path) -> None:
    clone(project, "fix")
    shutil.copytree(repo.path, tmp_path / "copy", symlinks=True)
    copy = Project.initialize(tmp_path / "copy")
    assert [workspace.name for workspace in copy.status().workspaces] == ["main"]
    assert project.find("fix").location == str(repo.path / ".workspaces" / "fix")


def test_a_repository_that_is_away_is_not_made_anew(project: Project, repo: Repo) -> None:
    (repo.path / ".git").rename(repo.path / "aside")
    with pytest.raises(NoProject, match="is gone"):
        project.status()
    assert not (repo.path / ".git").exists()
    (repo.path / "aside").rename(repo.path / ".git")
    assert project.status().workspaces[0].name == "main"
