"""The short form of `make faults`: a few points by chance, always the same ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from campaigns.faults import Plan, run
from campaigns.invariants import broken
from campaigns.tripwire import Fault, missing, watched
from support import Repo, clone, deleted_at

from workspaces import Project

SECONDS = 8.0
"""For each backend, besides the preparations."""


@pytest.fixture(autouse=True)
def permitted() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.mark.parametrize("backend", ["worktree", "directory"])
def test_faults_at_a_few_points_break_nothing(home: Path, backend: str) -> None:
    plan = Plan(["clone", "merge"], [backend], ["kill", "child", "ENOSPC+", "EIO"], sample=2, budget=SECONDS)
    report = run(plan, home)
    assert report.tried.total() > 0
    assert report.wrong == [], "\n".join(report.wrong)


# -- what they found ----------------------------------------------------------------------------------------------------------------------


def hit(work: Callable[[], object], fault: Fault) -> str:
    """Do work with a fault that must happen, and return its answer."""
    outcome = watched(lambda: str(work()), fault)
    assert outcome.hit
    return outcome.answer


@pytest.fixture
def survey(tmp_path: Path) -> Repo:
    """A folder that is no repository."""
    made = Repo(tmp_path / "survey")
    made.write("table.csv", "1\n")
    return made


def test_what_a_move_cannot_remove_is_cleared_away_later(survey: Repo) -> None:
    project = Project.initialize(survey.path)
    clone(project, "fix").write("table.csv", "2\n")
    assert hit(lambda: Project.open(survey.path).merge("fix").status, Fault("EIO", 1, lasting=True, of="unlinkat old")) == "merged"
    assert broken(survey.path) == []


def test_a_merge_is_not_forgotten_by_a_recovery_that_cannot_read_what_was_planned(survey: Repo) -> None:
    project = Project.initialize(survey.path)
    clone(project, "fix").write("table.csv", "2\n")
    hit(lambda: Project.open(survey.path).merge("fix"), Fault("kill", 1, of="unlinkat old"))
    hit(lambda: Project.open(survey.path), Fault("EMFILE", 1, lasting=True, of=".done"))
    assert broken(survey.path) == []
    assert [(each.verb, each.state) for each in project.log(1).operations] == [("merge", "done")]


@pytest.mark.parametrize("unread", [".inode", ".about", ".json", "mountinfo"])
def test_a_clone_is_taken_back_whole_by_a_recovery_that_could_not_read_all(survey: Repo, unread: str) -> None:
    project = Project.initialize(survey.path)
    fix = clone(project, "fix")
    for number in range(2):
        fix.write("table.csv", f"{number}\n")
        project.merge("fix")
    hit(lambda: Project.open(survey.path).clone("fix", name="new"), Fault("kill", 1, of=f"fsync {survey.path}/.workspaces by"))
    hit(lambda: Project.open(survey.path), Fault("EMFILE", 1, lasting=True, of=unread))
    assert broken(survey.path) == []
    assert project.compare(["fix"]).workspaces[0].merge == "up_to_date"


def test_a_checkout_that_cannot_be_read_is_not_passed_over_for_the_one_around_it(repo: Repo) -> None:
    repo.git("worktree", "add", "-q", "-b", "inner", "inner")
    said = hit(lambda: Project.initialize(repo.path / "inner").root, Fault("EMFILE", 1, of="inner/.git"))
    assert "Too many open files" in said


def test_markers_that_cannot_be_looked_for_are_not_taken_for_resolved(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    repo.write("cart.py", "theirs\n")
    repo.commit("theirs")
    project.merge("main", "fix", on_conflict="markers")
    said = hit(lambda: Project.open(repo.path).merge("fix").status, Fault("EMFILE", 1, of="openat cart.py"))
    assert "Too many open files" in said
    assert repo.read("cart.py") == "theirs\n"


def test_a_full_disk_is_not_taken_for_too_much_memory(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    for folder, line in ((fix, 3), (repo, 18)):
        folder.write("cart.py", folder.read("cart.py").replace(f"line {line}\n", "changed\n"))
    repo.commit("changed")
    assert "The disk is full" in hit(lambda: Project.open(repo.path).merge("fix"), Fault("ENOSPC", 1, lasting=True, of="tmp_obj_"))
    assert project.merge("fix").status == "merged"


def test_a_lock_of_gits_that_could_not_be_written_is_not_left(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    project.merge("fix")
    said = hit(lambda: Project.open(repo.path).restore("main"), Fault("ENOSPC", 1, of=f"write {repo.path}/.git/index.lock"))
    assert "disk is full" in said
    assert not (repo.path / ".git/index.lock").exists()
    project.restore("main")
    assert repo.read("cart.py") != "mine\n"


def test_a_file_that_could_not_be_made_leaves_no_draft_among_the_workspaces(survey: Repo) -> None:
    Project.initialize(survey.path)
    for fault in (Fault("ENOSPC", 2, of=".gitignore"), Fault("kill", 3, of=".gitignore")):
        (survey.path / ".workspaces" / ".gitignore").unlink(missing_ok=True)
        hit(lambda: Project.open(survey.path).status(), fault)
    assert broken(survey.path) == []


def test_a_workspace_that_cannot_be_removed_for_good_keeps_no_other_from_it(project: Project, repo: Repo) -> None:
    for name in ("stuck", "other"):
        clone(project, name).write(f"{name}.txt", "mine\n")
    project.delete(["stuck", "other"], discard_unmerged=True)
    for days, name in ((16, "stuck"), (15, "other")):
        deleted_at(repo, name, days)
    said = hit(lambda: Project.open(repo.path).gc().summary, Fault("EIO", 1, lasting=True, of="unlinkat stuck.txt"))
    assert "Removed 1 deleted workspace for good" in said
    project = Project.open(repo.path)
    assert [each.id for each in project.gc().freed] in ([], ["shop/stuck"])  # whoever came first ended it
    assert broken(repo.path) == []
    assert [each.name for each in project.status(include_deleted=True, detail="names").workspaces] == ["main"]


def test_what_cannot_be_removed_for_good_keeps_no_later_one_of_its_name(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("stuck.txt", "mine\n")
    project.delete(["fix"], discard_unmerged=True)
    deleted_at(repo, "fix", 16)
    clone(project, "fix").write("again.txt", "again\n")
    stuck = Fault("EIO", 1, lasting=True, of="unlinkat stuck.txt")
    hit(lambda: Project.open(repo.path).gc().summary, stuck)
    assert "Kept fix" in hit(lambda: Project.open(repo.path).checkpoint("fix").summary, stuck)
