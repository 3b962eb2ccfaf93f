"""Deleting is setting aside: refused where work would go unasked, and whole when it comes back."""

from __future__ import annotations

import os
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from support import Instead, Repo, at, clone, deleted_at, fingerprint

from workspaces import Project
from workspaces.core import Core
from workspaces.errors import Exists, HasChildren, NotFound, Protected, UnmergedChanges, WorkspacesError
from workspaces.model import Workspace


def test_unmerged_work_is_refused_and_nothing_changes(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    with pytest.raises(UnmergedChanges, match=r"1 file \+1 -20"):
        project.delete(["fix"])
    assert fix.read("cart.py") == "mine\n"
    assert "restorable until" in project.delete(["fix"], discard_unmerged=True).summary
    assert not fix.path.exists()


def test_what_is_merged_or_empty_goes_without_asking(project: Project, repo: Repo) -> None:
    repo.write("notes.md", "carried\n")
    clone(project, "empty")
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    project.merge("fix")
    same = clone(project, "same")
    same.write("auth/api.py", "same as main will have\n")
    repo.write("auth/api.py", "same as main will have\n")
    repo.git("commit", "-q", "-m", "on main", "auth/api.py")
    assert project.delete(["empty", "fix", "same"]).kept == {}


def test_each_by_itself_and_refusals_named(project: Project) -> None:
    clone(project, "a")
    clone(project, "b").write("cart.py", "mine\n")
    done = project.delete(["a", "b"])
    assert (done.deleted, list(done.kept)) == (("shop/a",), ["shop/b"])
    again = project.delete(["a"])
    assert (again.deleted, again.summary) == ((), "1 workspace had been deleted before.")


@pytest.mark.parametrize("names", [["fix"], ["fix", "other"]])
def test_who_is_second_to_delete_is_told_that_it_is_deleted(project: Project, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    clone(project, "fix")
    clone(project, "other")
    real, left = Core.changing, ["fix"]

    def first(core: Core, *held: Workspace, **named: Any) -> AbstractContextManager[None]:
        if left and held[0].name == "fix":
            Project.open(project.root).delete([left.pop()])
        return real(core, *held, **named)

    monkeypatch.setattr(Core, "changing", first)
    done = project.delete(names)
    assert (done.deleted, done.kept) == (tuple(f"shop/{name}" for name in names[1:]), {})
    assert done.summary.endswith("1 workspace had been deleted before.")


def test_who_deletes_while_another_is_at_it_waits_for_that(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    clone(project, "fix")
    kind = pkgutil.resolve_name("workspaces.backends.worktree:WorktreeBackend")
    real, begun, goes_on = kind.retire, Event(), Event()

    def go_on(*_: object) -> None:
        goes_on.set()

    def slowly(backend: object, *given: Any) -> None:
        begun.set()
        goes_on.wait(20)
        real(backend, *given)

    monkeypatch.setattr(kind, "retire", slowly)
    with ThreadPoolExecutor() as pool:
        one = pool.submit(Project.open(project.root).delete, ["fix"])
        assert begun.wait(20)
        try:
            two = project.delete(["fix"], progress=go_on)
        finally:
            goes_on.set()
        assert one.result().deleted == ("shop/fix",)
    assert (two.deleted, two.summary) == ((), "1 workspace had been deleted before.")


def test_a_later_one_of_the_name_is_not_what_was_to_be_deleted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    clone(project, "fix")
    real, left = Core.changing, ["fix"]

    def first(core: Core, *held: Workspace, **named: Any) -> AbstractContextManager[None]:
        if left:
            other = Project.open(project.root)
            other.delete([left.pop()])
            clone(other, "fix").write("cart.py", "of somebody else\n")
        return real(core, *held, **named)

    monkeypatch.setattr(Core, "changing", first)
    assert project.delete(["fix"], discard_unmerged=True).deleted == ()
    assert at(project.find("fix")).read("cart.py") == "of somebody else\n"


def test_a_reason_speaks_of_its_own_workspace(project: Project) -> None:
    clone(project, "a")
    clone(project, "b").write("cart.py", "mine\n")
    assert project.delete(["a", "b"]).kept == {"shop/b": "b has unmerged work: 1 file +1 -20."}
    with pytest.raises(UnmergedChanges, match="Nothing was deleted"):
        project.delete(["b"])
    assert project.clone(count=2, name="try").failed == {}
    made = project.clone(count=3, name="try")
    assert made.failed == {"try-1": "'try-1' is taken in shop.", "try-2": "'try-2' is taken in shop."}


def test_of_a_deleted_one_it_is_said_how_it_comes_back(project: Project) -> None:
    clone(project, "fix")
    project.delete(["fix"])
    acts: list[Callable[[], object]] = [lambda: project.merge("fix"), lambda: project.clone("fix"), lambda: project.compare(["fix"])]
    for act in acts:
        with pytest.raises(NotFound) as error:
            act()
        assert "It was deleted" in error.value.message
        assert "restore(workspace='fix')" in error.value.hint


def test_main_and_strangers_are_not_deleted(project: Project, repo: Repo) -> None:
    before = fingerprint(repo)
    with pytest.raises(Protected):
        project.delete(["main"], discard_unmerged=True)
    with pytest.raises(NotFound):
        project.delete(["nope"])
    assert fingerprint(repo) == before


def test_everything_comes_back_as_it_was(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("lost.txt", "committed, then reset away\n")
    lost = fix.commit("lost")
    fix.git("reset", "-q", "--hard", "HEAD~1")
    fix.write("cart.py", "committed\n")
    head = fix.commit("mine")
    fix.write("cart.py", "staged\n")
    fix.git("add", "cart.py")
    fix.write("cart.py", "changed\n")
    fix.write("untracked.py", "untracked\n").chmod(0o750)
    fix.write(".env", "ignored\n").chmod(0o600)
    (fix.path / "empty" / "folder").mkdir(parents=True)
    (fix.path / "link").symlink_to("nowhere")
    nested = Repo.create(fix.path / "nested")
    nested.write("a.txt", "a\n")
    nested.commit("nested")
    before, status, index = fingerprint(fix), fix.status(), fix.git("ls-files", "--stage")
    project.delete(["fix"], discard_unmerged=True)
    assert project.status(include_deleted=True).workspaces[-1].state == "deleted"
    main = Repo(project.root)
    main.git("reflog", "expire", "--expire=now", "--all")
    main.git("gc", "-q", "--prune=now")
    main.git("worktree", "prune", "--expire=now")
    restored = project.restore("fix")
    assert restored.workspace.state == "ready"
    assert fingerprint(fix) == before
    assert (fix.head, fix.status(), fix.git("ls-files", "--stage")) == (head, status, index)
    assert fix.git("show", f"{lost}:lost.txt") == "committed, then reset away"
    assert fix.git("show", ":cart.py") == "staged"
    assert main.git("fsck") == ""


def test_an_unfinished_merge_is_set_aside_and_comes_back(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    fix.commit("mine")
    repo.write("cart.py", "theirs\n")
    repo.commit("theirs")
    fix.git("merge", "trunk", check=False)
    before = fix.status()
    assert before == ["UU cart.py"]
    project.delete(["fix"], discard_unmerged=True)
    repo.git("gc", "-q", "--prune=now")
    project.restore("fix")
    assert fix.status() == before
    assert fix.git("show", ":2:cart.py") == "mine"


def test_deep_trees_go_and_come_back(project: Project) -> None:
    fix = clone(project, "fix")
    here = os.open(fix.path, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d" * 20, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    project.delete(["fix"], discard_unmerged=True)
    project.restore("fix")
    assert (fix.path / ("d" * 20)).is_dir()


def test_children_are_refused_deleted_or_handed_over(project: Project, repo: Repo) -> None:
    clone(project, "one").write("cart.py", "one\n")
    clone(project, "two", source="one").write("notes.md", "two\n")
    with pytest.raises(HasChildren, match="two"):
        project.delete(["one"], discard_unmerged=True)
    project.delete(["one"], discard_unmerged=True, children="reparent")
    assert project.find("two").parent == "shop/main"
    merged = project.merge("two")
    assert {change.path for change in merged.files} == {"cart.py", "notes.md"}
    clone(project, "three")
    clone(project, "four", source="three")
    assert project.delete(["three"], children="delete").deleted == ("shop/four", "shop/three")


def test_merge_and_delete_keeps_a_source_with_clones(project: Project) -> None:
    clone(project, "one").write("cart.py", "one\n")
    clone(project, "two", source="one")
    result = project.merge("one", delete_source=True)
    assert result.status == "merged"
    assert "not deleted" in result.warnings[0]
    assert project.find("one").state == "merged"


def test_a_name_given_away_keeps_the_older_in_the_trash(project: Project) -> None:
    clone(project, "fix").write("a.txt", "first\n")
    project.delete(["fix"], discard_unmerged=True)
    second = clone(project, "fix")
    second.write("a.txt", "second\n")
    with pytest.raises(NotFound, match="no restore point"):
        project.restore("fix")
    project.delete(["fix"], discard_unmerged=True)
    project.restore("fix")
    assert second.read("a.txt") == "second\n"


def test_a_place_that_is_taken_is_not_overwritten(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("a.txt", "mine\n")
    project.delete(["fix"], discard_unmerged=True)
    fix.write("b.txt", "in the way\n")
    with pytest.raises(Exists, match="in the way"):
        project.restore("fix")
    shutil.rmtree(fix.path)
    project.restore("fix")
    assert fix.read("a.txt") == "mine\n"


@pytest.mark.parametrize("gone", ["folder", "pointer", "registration", "both"])
def test_what_was_removed_by_other_means_can_be_deleted(project: Project, repo: Repo, gone: str) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    admin = next((repo.path / ".git" / "worktrees").iterdir())
    if gone in ("folder", "both"):
        shutil.rmtree(fix.path)
    if gone in ("registration", "both"):
        shutil.rmtree(admin)
    if gone == "pointer":
        (fix.path / ".git").unlink()
        assert project.compare(["fix"]).workspaces[0].files_changed == 1
    else:
        with pytest.raises(NotFound, match=r"is gone"):
            project.compare(["fix"])
        assert any("gone" in warning for warning in project.status().warnings)
    assert not all(finding.ok for finding in project.doctor().findings)
    before = fingerprint(repo)
    project.delete(["fix"], discard_unmerged=True)
    assert fingerprint(repo) == before
    assert [workspace.name for workspace in project.status().workspaces] == ["main"]
    assert repo.git("worktree", "list").count("\n") == 0
    assert all(finding.ok for finding in project.doctor().findings)


DIES = """
import os, sys
from pathlib import Path
from workspaces import Project
import workspaces.aside as aside
from workspaces.backends.worktree import WorktreeBackend, registration
def die(*_): os._exit(9)
{dies} = die
Project.open(Path(sys.argv[1])).restore("fix")
"""


@pytest.mark.parametrize("dies", ["WorktreeBackend.retire", "WorktreeBackend.fork", "registration.put_in_place", "aside.record_return"])
@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "there"])
def test_a_folder_that_is_being_made_again_is_there_or_can_be_made(project: Project, repo: Repo, dies: str, is_deleted: bool) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    project.checkpoint("fix")
    shutil.rmtree(fix.path)
    if is_deleted:
        project.delete(["fix"], discard_unmerged=True)
    script = DIES.format(dies=dies)
    assert subprocess.run([sys.executable, "-c", script, str(repo.path)], check=False).returncode == 9
    project.status()
    if not (fix.path / "cart.py").exists():
        project.restore("fix")
    assert (fix.read("cart.py"), fix.status()) == ("mine\n", [" M cart.py"])
    assert project.find("fix").state == "ready"
    assert all(finding.ok for finding in project.doctor().findings)


@pytest.mark.parametrize("how", ["committed", "staged"])
def test_what_git_knows_of_a_folder_that_is_gone_comes_back(project: Project, repo: Repo, how: str) -> None:
    fix = clone(project, "fix")
    fix.write("seen.txt", "seen\n")
    project.checkpoint("fix")
    fix.write("cart.py", "mine\n")
    fix.git("add", "-A")
    if how == "committed":
        fix.git("commit", "-q", "-m", "mine")
    status, log = fix.status(), fix.git("log", "--format=%H %s")
    shutil.rmtree(fix.path)
    with pytest.raises(UnmergedChanges):
        project.delete(["fix"])
    project.delete(["fix"], discard_unmerged=True)
    repo.git("-c", "gc.reflogExpireUnreachable=now", "gc", "-q", "--prune=now")
    project.restore("fix")
    assert (fix.read("cart.py"), fix.status(), fix.git("log", "--format=%H %s")) == ("mine\n", status, log)
    project.restore("fix", "fix@1")
    assert fix.read("seen.txt") == "seen\n"
    assert "mine" in fix.git("reflog", "--format=%gs") or how == "staged"
    assert all(finding.ok for finding in project.doctor().findings)


def test_what_was_merged_once_is_known_though_that_was_undone(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    project.merge("fix")
    project.undo()
    shutil.rmtree(fix.path)
    with pytest.raises(UnmergedChanges):
        project.delete(["fix"])
    project.delete(["fix"], discard_unmerged=True)
    project.restore("fix")
    assert fix.read("cart.py") == "mine\n"


def test_a_folder_that_was_moved_can_be_put_back(project: Project, tmp_path: Path) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "staged\n")
    fix.git("add", "-A")
    fix.write("cart.py", "changed\n")
    status = fix.status()
    fix.path.rename(tmp_path / "moved")
    gone = project.delete(["fix"], discard_unmerged=True)
    assert "put it back" in gone.warnings[0]
    (tmp_path / "moved").rename(fix.path)
    project.restore("fix")
    assert (fix.status(), fix.read("cart.py"), fix.git("show", ":cart.py")) == (status, "changed\n", "staged")


def test_a_worktree_that_git_moved_is_left_to_git(project: Project, repo: Repo, tmp_path: Path) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    fix.git("add", "-A")
    repo.git("worktree", "unlock", str(fix.path))
    repo.git("worktree", "move", str(fix.path), str(tmp_path / "moved"))
    moved = Repo(tmp_path / "moved")
    status = moved.status()
    with pytest.raises(NotFound, match=f"moved to {moved.path}"):
        project.compare(["fix"])
    with pytest.raises(Exists, match=f"at {moved.path} now"):
        project.restore("fix")
    with pytest.raises(UnmergedChanges):
        project.delete(["fix"])
    assert f"moved to {moved.path}" in project.delete(["fix"], discard_unmerged=True).warnings[0]
    with pytest.raises(Exists, match=f"at {moved.path} now"):
        project.restore("fix")
    again = clone(project, "fix")
    deleted_at(repo, "fix", days=30)
    project.gc()
    assert (moved.status(), moved.read("cart.py"), again.status()) == (status, "mine\n", [])
    assert all(finding.ok for finding in project.doctor().findings)


def test_a_link_in_the_place_of_a_workspace_is_not_followed(project: Project, tmp_path: Path) -> None:
    fix = clone(project, "fix")
    other = tmp_path / "precious"
    other.mkdir()
    (other / "a.txt").write_text("keep\n")
    shutil.rmtree(fix.path)
    fix.path.symlink_to(other)
    with pytest.raises(NotFound):
        project.compare(["fix"])
    project.delete(["fix"], discard_unmerged=True)
    assert (other / "a.txt").read_text() == "keep\n"


def test_the_one_deleted_last_comes_back(project: Project) -> None:
    clone(project, "fix").write("one.txt", "first\n")
    project.delete(["fix"], discard_unmerged=True)
    second = clone(project, "fix")
    project.delete(["fix"])
    project.undo()
    assert not (second.path / "one.txt").exists()
    project.delete(["fix"])
    uid = project.status(include_deleted=True).workspaces
    assert [workspace.name for workspace in uid].count("fix") == 2


def test_an_earlier_one_of_the_same_name_can_be_undone(project: Project) -> None:
    clone(project, "fix").write("one.txt", "first\n")
    project.delete(["fix"], discard_unmerged=True)
    fix = clone(project, "fix")
    project.undo()
    project.undo()
    assert fix.read("one.txt") == "first\n"


def test_work_stays_unmerged_when_the_parent_goes(project: Project) -> None:
    clone(project, "one")
    clone(project, "two", source="one").write("new.py", "two\n")
    project.delete(["one"], discard_unmerged=True, children="delete")
    project.restore("two")
    assert project.compare(["two"]).workspaces[0].files_changed == 1
    with pytest.raises(UnmergedChanges):
        project.delete(["two"])
    assert project.merge("two").target == "shop/main"


def test_nothing_goes_when_a_name_is_wrong(project: Project) -> None:
    clone(project, "one")
    clone(project, "two", source="one").write("new.py", "two\n")
    with pytest.raises(Protected):
        project.delete(["main"], children="delete", discard_unmerged=True)
    with pytest.raises(NotFound):
        project.delete(["one", "nope"], children="delete")
    with pytest.raises(UnmergedChanges):
        project.delete(["one"], children="delete")
    assert {workspace.name for workspace in project.status().workspaces} == {"main", "one", "two"}
    assert set(project.delete(["one", "two"], discard_unmerged=True).deleted) == {"shop/one", "shop/two"}


@pytest.mark.parametrize("broken", ["orphan", "index"])
def test_a_broken_workspace_can_still_be_set_aside(project: Project, broken: str) -> None:
    fix = clone(project, "fix")
    fix.write("new.py", "mine\n")
    if broken == "orphan":
        fix.git("checkout", "-q", "--orphan", "empty")
    else:
        (Path(fix.git("rev-parse", "--absolute-git-dir")) / "index").write_bytes(b"garbage")
    with pytest.raises(WorkspacesError):
        project.compare(["fix"])
    with pytest.raises(WorkspacesError):
        project.delete(["fix"])
    project.delete(["fix"], discard_unmerged=True)
    project.restore("fix")
    assert fix.read("new.py") == "mine\n"


def test_a_clean_of_the_project_leaves_workspaces_hidden(project: Project, repo: Repo) -> None:
    clone(project, "fix")
    repo.git("clean", "-fdxq")
    (made,) = project.clone(name="two").workspaces
    assert made.base == repo.head
    assert repo.status() == []
    assert project.compare(["two", "fix"]).groups == (("shop/two", "shop/fix"),)


def test_many_are_deleted_with_one_pack_and_two_transactions_each(project: Project, repo: Repo) -> None:
    names = [each.name for each in project.clone(count=5, name="fix").workspaces]
    for name in names:
        (repo.path / ".workspaces" / name / "new.txt").write_text(name)
    packs = repo.path / ".git" / "objects" / "pack"
    revision, there = project.revision(), len(list(packs.glob("*.pack")))
    assert len(project.delete(names, discard_unmerged=True).deleted) == 5
    assert project.revision() - revision <= 10
    assert len(list(packs.glob("*.pack"))) - there <= 5
    assert at(project.restore("fix-3").workspace).read("new.txt") == "fix-3"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("made", ["nothing", "a commit", "three commits", "a commit on a branch", "an amended commit", "something staged"])
def test_what_goes_unlooked_at_is_kept_from_git_too(project: Project, repo: Repo, made: str, packed: bool) -> None:
    repo.write("carried.txt", "carried\n")
    fix = clone(project, "fix")
    if "branch" in made:
        fix.git("checkout", "-q", "-b", "own")
    for number in range(int("commit" in made) + 2 * int("three" in made)):
        fix.write("new.txt", f"{number}\n")
        fix.commit(f"commit {number}")
    if "amended" in made:
        fix.git("commit", "-q", "--amend", "-m", "another")
    if "staged" in made:
        fix.write("new.txt", "staged\n")
        fix.git("add", "new.txt")
        fix.write("new.txt", "and changed\n")
    before = (fingerprint(fix), fix.status(), fix.git("log", "--format=%H %T"), fix.git("ls-files", "--stage"), fix.git("reflog"))
    if packed:
        repo.git("pack-refs", "--all")
    project.delete(["fix"], discard_unmerged=True)
    if "branch" in made:
        repo.git("branch", "-q", "-D", "own")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    project.restore("fix")
    if "branch" in made:
        repo.git("branch", "own", before[2].split()[0])
    after = (fingerprint(fix), fix.status(), fix.git("log", "--format=%H %T"), fix.git("ls-files", "--stage"), fix.git("reflog"))
    assert after == before
    assert repo.git("fsck") == ""


def test_what_is_deleted_whatever_is_in_it_is_not_looked_at(project: Project, instead: Instead) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    instead("*) exit 9")
    project.delete(["fix"], discard_unmerged=True)
    project.restore("fix")
    assert fix.read("cart.py") == "mine\n"


VERBS: dict[str, Callable[[Project], object]] = {
    "clone": lambda project: project.clone("fix", name="new"),
    "compare": lambda project: project.compare(["fix"]),
    "merge": lambda project: project.merge("fix"),
    "bring": lambda project: project.merge("main", "fix"),
    "checkpoint": lambda project: project.checkpoint("fix"),
    "restore": lambda project: project.restore("fix", "fix@1"),
    "delete": lambda project: project.delete(["fix"]),
}


@pytest.mark.parametrize(
    ("verb", "at"), [*((verb, "workspaces.core.Core.changing") for verb in VERBS), ("clone", "workspaces.cloning._clone_all")]
)
def test_what_somebody_deletes_meanwhile_is_not_called_gone(
    project: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch, verb: str, at: str
) -> None:
    """Who hears that a folder is gone thinks that work is lost."""
    clone(project, "fix").write("cart.py", "mine\n")
    project.checkpoint("fix")
    holder, _, name = at.rpartition(".")
    real, left = getattr(pkgutil.resolve_name(holder), name), ["fix"]

    def first(*args: object, **named: object) -> object:
        if left:
            Project.open(repo.path).delete([left.pop()], discard_unmerged=True)
        return real(*args, **named)

    monkeypatch.setattr(at, first)
    try:
        VERBS[verb](project)
    except WorkspacesError as error:
        assert "is gone" not in error.message
        assert error.message.startswith("No workspace 'shop/fix' in shop.")
    project.restore("fix")
