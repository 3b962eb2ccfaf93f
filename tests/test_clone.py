"""Cloning: what a private copy has, and what its source keeps."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import Instead, Repo, at, clone, fingerprint

from workspaces import Project
from workspaces.errors import BackendFailed, Exists, InvalidArgument, InvalidName, NotFound


def test_a_clone_has_its_parents_files_and_head(project: Project, repo: Repo) -> None:
    (made,) = project.clone(name="fix", task="Fix the cart").workspaces
    assert (made.id, made.parent, made.state, made.isolation.split("+")[0]) == ("shop/fix", "shop/main", "ready", "worktree")
    assert at(made).read("cart.py") == repo.read("cart.py")
    assert at(made).head == repo.head
    assert at(made).status() == []
    assert at(made).git("symbolic-ref", "-q", "HEAD", check=False) == ""


def test_uncommitted_work_is_uncommitted_in_the_clone_too(project: Project, repo: Repo) -> None:
    repo.write("cart.py", "changed\n")
    repo.write("staged.py", "staged\n")
    repo.git("add", "staged.py")
    repo.write("staged.py", "staged, then changed\n")
    repo.write("untracked.py", "new\n")
    (repo.path / "notes.md").unlink()
    fix = clone(project, "fix")
    assert fix.status() == repo.status()
    assert fix.read("staged.py") == "staged, then changed\n"
    assert fix.git("show", ":staged.py") == "staged"
    assert not (fix.path / "notes.md").exists()


def test_only_what_is_committed_when_asked(project: Project, repo: Repo) -> None:
    repo.write("cart.py", "changed\n")
    repo.write("untracked.py", "new\n")
    (made,) = project.clone(name="fix", include_uncommitted=False).workspaces
    assert at(made).status() == []
    assert not (Path(made.location) / "untracked.py").exists()


def test_a_clone_of_a_clone_has_the_clones_work(project: Project) -> None:
    clone(project, "one").write("cart.py", "one\n")
    two = clone(project, "two", source="one")
    assert two.read("cart.py") == "one\n"
    assert project.find("two").parent == "shop/one"


def test_modes_links_and_odd_names_are_kept(project: Project, repo: Repo) -> None:
    tool = repo.write("tool.sh", "#!/bin/sh\n")
    tool.chmod(0o755)
    (repo.path / "link").symlink_to("cart.py")
    odd = [b"new\nline", b"esc\x1b[31m", b"\xff\xfe", b":(top)colon", b"-dash", b'"quoted"', "smörgås 🥪".encode()]
    for name in odd:
        (repo.path / os.fsdecode(name)).write_bytes(name)
    fix = clone(project, "fix")
    assert (fix.path / "tool.sh").stat().st_mode & 0o111
    assert (fix.path / "link").readlink() == Path("cart.py")
    for name in odd:
        assert (fix.path / os.fsdecode(name)).read_bytes() == name


def test_ignored_files_come_along_when_they_are_named(project: Project, repo: Repo) -> None:
    repo.write(".env", "SECRET=1\n").chmod(0o600)
    repo.write("build/out/app.bin", "binary\n")
    (repo.path / "build" / "link").symlink_to("/etc/passwd")
    repo.write("debug.log", "not named\n")
    repo.write(".worktreeinclude", ".env\nbuild/\ncart.py\n")
    fix = clone(project, "fix")
    assert fix.read(".env") == "SECRET=1\n"
    assert (fix.path / ".env").stat().st_mode & 0o777 == 0o600
    assert fix.read("build/out/app.bin") == "binary\n"
    assert (fix.path / "build" / "link").readlink() == Path("/etc/passwd")
    assert not (fix.path / "debug.log").exists()
    assert fix.status() == ["?? .worktreeinclude"]


def test_many_in_one_call_and_each_failure_by_itself(project: Project) -> None:
    clone(project, "fix-2")
    made = project.clone(count=3, name="fix")
    assert [workspace.name for workspace in made.workspaces] == ["fix-1", "fix-3"]
    assert "taken" in made.failed["fix-2"]


def test_names_are_made_from_the_task(project: Project) -> None:
    assert project.clone(task="Fix the login race, please!").workspaces[0].name == "fix-the-login-race"
    assert project.clone(task="Fix the login race, please!").workspaces[0].name == "fix-the-login-race-2"
    assert [w.name for w in project.clone(count=2, task="Fix it").workspaces] == ["fix-it-1", "fix-it-2"]
    assert project.clone().workspaces[0].name.count("-") == 1


@pytest.mark.parametrize(
    "name", ["..", ".git", "a/b", "-rf", "x.lock", "a" * 300, "main", "MAIN", "a b", "a\nb", ".hidden", "a..b", "CON", "é"]
)
def test_names_that_no_workspace_may_have(project: Project, repo: Repo, name: str) -> None:
    before = fingerprint(repo)
    with pytest.raises(InvalidName):
        project.clone(name=name)
    assert fingerprint(repo) == before
    assert [w.name for w in project.status().workspaces] == ["main"]


def test_a_name_is_taken_in_any_case(project: Project) -> None:
    clone(project, "Fix")
    with pytest.raises(Exists, match="taken"):
        project.clone(name="fix")


def test_a_name_can_be_used_again_after_delete(project: Project) -> None:
    clone(project, "fix").write("a.txt", "first\n")
    project.delete(["fix"], discard_unmerged=True)
    clone(project, "fix").write("a.txt", "second\n")
    with pytest.raises(InvalidArgument, match="count"):
        project.clone(count=257)
    assert Path(project.find("fix").location, "a.txt").read_text() == "second\n"


@pytest.mark.parametrize("source", ["nope", "--output=pwned", "HEAD", "../main", "", "other/main"])
def test_an_unknown_source_is_said_to_be_unknown(project: Project, source: str) -> None:
    with pytest.raises(NotFound, match="No workspace"):
        project.clone(source)


def test_a_folder_in_the_way_is_not_touched(project: Project, repo: Repo) -> None:
    clone(project, "other")
    repo.write(".workspaces/fix/mine.txt", "mine\n")
    with pytest.raises(Exists, match="no workspace"):
        project.clone(name="fix")
    assert repo.read(".workspaces/fix/mine.txt") == "mine\n"
    assert repo.git("worktree", "list").count("\n") == 1


def test_nothing_of_the_users_changes(project: Project, repo: Repo) -> None:
    repo.write("cart.py", "stashed\n")
    repo.git("stash")
    repo.write("cart.py", "dirty\n")
    repo.write("staged.py", "staged\n")
    repo.git("add", "staged.py")
    repo.write("untracked.py", "new\n")
    repo.write(".env", "SECRET=1\n")
    before = fingerprint(repo)
    clone(project, "fix").write("cart.py", "mine\n")
    project.compare(["fix"])
    project.status()
    project.delete(["fix"], discard_unmerged=True)
    project.restore("fix")
    assert fingerprint(repo) == before


def test_a_nested_repository_does_not_stop_the_others(project: Project, repo: Repo) -> None:
    Repo.create(repo.path / "vendored")
    nested = Repo.create(repo.path / "library")
    nested.write("a.txt", "a\n")
    nested.commit("start")
    repo.write("new.py", "new\n")
    assert clone(project, "fix").read("new.py") == "new\n"


def test_a_folder_of_workspaces_that_is_a_link_is_refused(project: Project, repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (repo.path / ".workspaces").symlink_to(tmp_path / "elsewhere")
    made = project.clone(count=2, name="fix")
    assert set(made.failed) == {"fix-1", "fix-2"}
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_snapshot_that_cannot_be_kept_leaves_the_names_free(project: Project, repo: Repo, instead: Instead) -> None:
    repo.write("large.txt", os.urandom(1 << 19))  # so that git is asked whether it is there
    instead('*"--batch-check=%(objectname)") [ -e "$TMPDIR/once" ] || { touch "$TMPDIR/once"; exit 128; }')
    with pytest.raises(BackendFailed):
        project.clone(count=2, name="fix")
    assert [each.name for each in project.status().workspaces] == ["main"]
    assert [each.name for each in project.clone(count=2, name="fix").workspaces] == ["fix-1", "fix-2"]


def test_a_source_that_is_deleted_meanwhile_is_named_and_nothing_is_made(project: Project, repo: Repo, instead: Instead) -> None:
    first = clone(project, "first")
    first.write("cart.py", "mine\n")
    first.write("large.txt", os.urandom(1 << 19))  # so that git is asked whether it is there
    scratch = repo.path / ".git" / "workspaces" / "tmp"
    instead(
        '*"--batch-check=%(objectname)") [ -e "$TMPDIR/at" ] || { touch "$TMPDIR/at"; until [ -e "$TMPDIR/go" ]; do sleep 0.02; done; }'
    )
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(project.clone, "first", name="second")
        while not (scratch / "at").exists():
            assert not made.done()
        project.delete(["first"], discard_unmerged=True)
        (scratch / "go").touch()
    with pytest.raises(NotFound, match="No workspace 'shop/first' in shop"):
        made.result()
    assert [each.name for each in project.status().workspaces] == ["main"]
    project.restore("first")
    assert at(project.clone("first", name="second").workspaces[0]).read("cart.py") == "mine\n"


def test_one_that_is_stopped_while_it_is_taken_back_is_left_to_the_next_call(
    project: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("workspaces.cloning.take_back", stopped)
        project.clone(name="fix", count=4, progress=stopped)
    again = Project.open(repo.path)
    assert [each.name for each in (repo.path / ".workspaces").iterdir() if not each.name.startswith(".")] == []
    assert len(again.clone(name="fix", count=4).workspaces) == 4
