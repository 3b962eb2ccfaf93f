"""Going back: restore points, undo, and the log."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import Repo, clone, deleted_at, fingerprint

from workspaces import Project
from workspaces.errors import Busy, Exists, NotFound, TargetDirty, TargetMoved


def test_undoing_a_merge_puts_main_back(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    fix.write("new.py", "new\n")
    repo.write("notes.md", "dirty\n")
    before = repo.head
    project.merge("fix")
    restored = project.restore("main")
    assert (repo.head, repo.status()) == (before, [" M notes.md"])
    assert not (repo.path / "new.py").exists()
    assert project.merge("fix").status == "merged"
    assert restored.restore_point == "main@2"


def test_a_merge_on_which_others_built_is_taken_back_by_a_commit(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    project.merge("fix")
    repo.write("auth/api.py", "later\n")
    later = repo.commit("later")
    project.restore("main")
    assert repo.git("rev-parse", "HEAD^") == later
    assert (repo.read("cart.py").startswith("line 1\n"), repo.read("auth/api.py"), repo.status()) == (True, "later\n", [])
    assert project.merge("fix").status == "merged"


def test_a_merge_that_was_changed_since_is_not_taken_back_by_force(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    project.merge("fix")
    repo.write("cart.py", "mine, changed\n")
    repo.commit("later")
    before = fingerprint(repo)
    with pytest.raises(TargetMoved, match="cart.py"):
        project.restore("main")
    assert fingerprint(repo) == before


def test_restore_refuses_to_overwrite_what_is_uncommitted(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    project.merge("fix")
    repo.write("cart.py", "uncommitted\n")
    before = fingerprint(repo)
    with pytest.raises(TargetDirty, match="cart.py"):
        project.restore("main")
    assert fingerprint(repo) == before


def test_a_checkpoint_brings_all_back_and_is_itself_undone(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "one\n")
    fix.write("untracked.py", "one\n")
    assert project.checkpoint("fix", label="good").restore_point == "fix@1"
    fix.write("cart.py", "two\n")
    fix.commit("two")
    (fix.path / "untracked.py").unlink()
    fix.write("later.py", "later\n")
    restored = project.restore("fix", "good")
    assert (fix.read("cart.py"), fix.read("untracked.py"), (fix.path / "later.py").exists()) == ("one\n", "one\n", False)
    project.restore("fix", restored.restore_point)
    assert (fix.read("cart.py"), fix.read("later.py")) == ("two\n", "later\n")
    assert fix.git("log", "-1", "--format=%s") == "two"


def test_a_checkpoint_of_main_never_moves_its_branch(project: Project, repo: Repo) -> None:
    repo.write("notes.md", "draft\n")
    project.checkpoint("main")
    later = repo.commit("committed")
    repo.write("notes.md", "other\n")
    project.restore("main", "main@1")
    assert (repo.head, repo.read("notes.md")) == (later, "draft\n")


def test_restore_points_outlive_gc(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "kept\n")
    project.checkpoint("fix")
    fix.write("cart.py", "other\n")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    project.restore("fix")
    assert fix.read("cart.py") == "kept\n"


@pytest.mark.parametrize("to", ["fix@9", "nope", "--output=x", "main@1"])
def test_an_unknown_restore_point_is_named(project: Project, to: str) -> None:
    clone(project, "fix")
    with pytest.raises(NotFound, match="no restore point"):
        project.restore("fix", to)


def test_undo_takes_back_one_call_after_another(project: Project, repo: Repo) -> None:
    start = repo.head
    clone(project, "a").write("cart.py", "a\n")
    clone(project, "b").write("notes.md", "b\n")
    project.merge("a", delete_source=True)
    project.delete(["b"], discard_unmerged=True)
    project.undo()
    assert project.find("b").state == "ready"
    project.undo()
    assert (project.find("a").state, repo.head) == ("ready", start)
    assert [operation.state for operation in project.log().operations if operation.verb == "merge"] == ["undone"]
    project.delete(["a", "b"], discard_unmerged=True)
    project.undo()
    assert {w.name for w in project.status().workspaces} == {"main", "a", "b"}


def test_undo_of_a_clone_refuses_to_lose_work(project: Project) -> None:
    project.clone(count=2, name="fix")
    project.undo()
    assert [w.name for w in project.status().workspaces] == ["main"]
    with pytest.raises(NotFound, match="Nothing is left"):
        project.undo()


def test_undo_by_number_takes_nothing_from_another_of_that_name(project: Project) -> None:
    first = clone(project, "fix")
    project.merge("main", "fix")  # up to date: nothing to take back
    first.write("cart.py", "first\n")
    project.delete(["fix"], discard_unmerged=True)
    clone(project, "fix").write("cart.py", "second\n")
    with pytest.raises(NotFound, match="fix was deleted since"):
        project.undo(1)
    assert Repo(Path(project.find("fix").location)).read("cart.py") == "second\n"
    project.undo()
    project.undo()
    assert Repo(Path(project.find("fix").location)).read("cart.py") == "first\n"


def test_a_merge_into_another_of_that_name_is_not_taken_back(project: Project, repo: Repo) -> None:
    for contents in ("first\n", "second\n"):
        fix = clone(project, "fix")
        repo.write("notes.md", contents)
        repo.commit("more")
        project.merge("main", "fix")
        if contents == "first\n":
            project.delete(["fix"], discard_unmerged=True)
    merges = [each.id for each in project.log().operations if each.verb == "merge"]
    with pytest.raises(NotFound, match="fix was deleted since"):
        project.undo(merges[-1])
    assert fix.read("notes.md") == "second\n"
    project.undo(merges[0])
    assert fix.read("notes.md") == "first\n"


def test_what_was_removed_for_good_is_not_said_to_be_back(project: Project, repo: Repo) -> None:
    start = repo.head
    clone(project, "fix").write("cart.py", "fixed\n")
    project.merge("fix", delete_source=True)
    project.clone(name="other")
    project.delete(["other"])
    for name in ("fix", "other"):
        deleted_at(repo, name, 30)
    project.gc()
    log = project.log()
    with pytest.raises(NotFound, match=r"other was removed for good"):
        project.undo()
    assert project.log() == log
    undone = project.undo(next(each.id for each in log.operations if each.verb == "merge"))
    assert repo.head == start
    assert "fix was removed for good" in undone.summary
    assert [each.verb for each in undone.operations] == ["merge"]
    assert project.redo().operations[0].verb == "merge"
    assert repo.read("cart.py") == "fixed\n"


def test_undo_of_a_delete_whose_restore_was_cut_off_says_so(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "fixed\n")
    project.delete(["fix"], discard_unmerged=True)
    dies = "import os, sys\nfrom pathlib import Path\nfrom workspaces import Project\n"
    dies += "import workspaces.backends.worktree.trash as trash\ntrash.revive = lambda *_: os._exit(9)\n"
    dies += "Project.open(Path(sys.argv[1])).restore('fix')\n"
    assert subprocess.run([sys.executable, "-c", dies, str(repo.path)], check=False).returncode == 9
    repo.write(".workspaces/fix/mine", "mine\n")
    with pytest.raises(Busy):
        project.undo()
    (repo.path / ".workspaces" / "fix").rename(repo.path / "elsewhere")
    project.status()
    assert Repo(repo.path / ".workspaces" / "fix").read("cart.py") == "fixed\n"


def test_the_log_says_what_was_done(project: Project) -> None:
    clone(project, "fix")
    project.checkpoint("fix", label="x")
    newest = project.log().operations[0]
    assert (newest.verb, newest.workspaces, newest.state) == ("checkpoint", ("shop/fix",), "done")


def test_restoring_main_and_taking_that_back_keeps_what_is_uncommitted(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    repo.write("notes.md", "dirty\n")
    repo.write("untracked.py", "untracked\n")
    merged = project.merge("fix").commit
    restored = project.restore("main")
    project.restore("main", restored.restore_point)
    assert (repo.head, repo.status()) == (merged, [" M notes.md", "?? untracked.py"])
    assert project.merge("fix").status == "up_to_date"
    project.restore("main")
    assert project.merge("fix").status == "merged"


def test_restoring_twice_takes_two_merges_back(project: Project, repo: Repo) -> None:
    start = repo.head
    clone(project, "a").write("a.txt", "a\n")
    clone(project, "b").write("b.txt", "b\n")
    project.merge("a")
    project.merge("b")
    project.restore("main")
    project.restore("main")
    assert (repo.head, repo.status()) == (start, [])
    with pytest.raises(NotFound, match="nothing to go back to"):
        project.restore("main")


def test_restoring_a_clone_moves_no_branch(project: Project, repo: Repo) -> None:
    repo.git("branch", "release")
    fix = clone(project, "fix")
    project.checkpoint("fix")
    fix.git("checkout", "-q", "release")
    fix.write("cart.py", "released\n")
    release = fix.commit("released")
    project.restore("fix")
    assert repo.git("rev-parse", "release") == release
    assert fix.read("cart.py").startswith("line 1\n")


def test_restoring_brings_the_index_back(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("staged.py", "staged\n")
    fix.git("add", "staged.py")
    fix.write("cart.py", "unstaged\n")
    before = fix.status()
    project.checkpoint("fix")
    fix.write("new.py", "new\n")
    fix.git("add", "-A")
    after = fix.status()
    restored = project.restore("fix")
    assert fix.status() == before
    project.restore("fix", restored.restore_point)
    assert fix.status() == after


def test_undo_goes_back_to_the_start(project: Project, repo: Repo) -> None:
    start = repo.head
    project.clone(count=3, name="c")
    for number in range(1, 4):
        Repo(repo.path / ".workspaces" / f"c-{number}").write(f"{number}.txt", "x\n")
        project.merge(f"c-{number}", delete_source=True)
    for _ in range(4):
        project.undo()
    assert (repo.head, [workspace.name for workspace in project.status().workspaces]) == (start, ["main"])


def test_undo_on_another_branch_is_refused_and_not_spent(project: Project, repo: Repo) -> None:
    repo.git("branch", "other")
    clone(project, "fix").write("cart.py", "mine\n")
    project.merge("fix")
    repo.git("checkout", "-q", "other")
    with pytest.raises(TargetMoved, match="elsewhere"):
        project.undo()
    repo.git("checkout", "-q", "trunk")
    project.undo()
    assert repo.read("cart.py").startswith("line 1\n")


def test_a_branch_that_is_checked_out_elsewhere_by_now_is_not_in_two_worktrees(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.git("switch", "-q", "-c", "topic")
    fix.write("new.txt", "new\n")
    made = fix.commit("new")
    fix.write("more.txt", "more\n")
    project.delete(["fix"], discard_unmerged=True)
    repo.git("switch", "-q", "topic")
    repo.write("later.txt", "later\n")
    repo.commit("later")
    warned = project.restore("fix").warnings
    assert f"on the branch topic, which {repo.path} has by now" in warned[0]
    assert (fix.head, fix.status(), fix.git("branch", "--show-current")) == (made, ["?? more.txt"], "")
    fix.commit("more")
    assert repo.status() == []
    project.delete(["fix"], discard_unmerged=True)
    assert project.restore("fix").warnings == ()


def test_undo_says_how_to_go_past_what_cannot_be_taken_back(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("new.txt", "new\n")
    project.merge("fix", history="none")
    repo.write("new.txt", "mine\n")
    with pytest.raises(TargetMoved) as moved:
        project.undo()
    assert moved.value.hint.endswith("workspaces undo 1 goes past it, to the clone before.")
    shutil.rmtree(clone(project, "gone").path)
    project.delete(["gone"])
    with pytest.raises(NotFound, match="Nothing is left of shop/gone") as lost:
        project.undo()
    assert lost.value.hint.endswith("workspaces undo 3 goes past it, to the clone before.")


def test_what_several_deletes_of_a_call_left_free_comes_back(project: Project) -> None:
    for name in ("a", "b", "c"):
        clone(project, name).write(f"{name}.py", name)
    project.delete(["a", "b", "c"], discard_unmerged=True)
    newer = clone(project, "b")
    deleted = next(each.id for each in project.log().operations if each.verb == "delete")
    undone = project.undo(deleted)
    assert undone.summary.endswith("a newer workspace is named b.")
    assert {each.name for each in project.status().workspaces} == {"main", "a", "b", "c"}
    assert not (newer.path / "b.py").exists()
    with pytest.raises(Exists, match="newer"):
        project.undo(deleted)
    project.delete(["b"])
    assert project.undo(deleted).summary.startswith("Restored b")
    assert newer.read("b.py") == "b"
