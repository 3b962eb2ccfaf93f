"""Sparse checkouts and partial clones (git-sparse-checkout(1), partial-clone(7)): what a checkout leaves out is neither made nor taken for deleted, and what
lies outside of it all the same is work like any other."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conformance.forking import python
from support import Instead, Repo, clone, fingerprint

from workspaces import Project
from workspaces.errors import NotFetched, TargetMoved
from workspaces.model import History

CONE, PATTERNS, FOLDERS = ("--cone", "auth"), ("--no-cone", "/*", "!/far/"), ("--cone", "--sparse-index", "auth")
MERGER = """
import sys
from pathlib import Path
from workspaces import Project
Project.open(Path(sys.argv[1])).merge("fix")
"""
HISTORIES: tuple[History, ...] = ("squash", "merge", "rebase", "none")


@pytest.fixture(params=[CONE, PATTERNS, FOLDERS], ids=["cone", "patterns", "index"])
def sparse(request: pytest.FixtureRequest, repo: Repo) -> Repo:
    """The repository, of which the checkout leaves out one of two folders."""
    repo.write("far/off.py", "off\n")
    repo.write("far/away/deep.py", "deep\n")
    repo.commit("far")
    repo.git("sparse-checkout", "set", *request.param)
    assert not (repo.path / "far").exists()
    return repo


def listed(repo: Repo) -> str:
    """Return what the index says of each file, and which are left out."""
    return repo.git("ls-files", "-t", "--stage")


def there(repo: Repo) -> dict[str, str]:
    """Return the files of a checkout, with what is in them."""
    files = [file.relative_to(repo.path) for file in repo.path.rglob("*") if file.is_file()]
    return {str(file): repo.read(str(file)) for file in files if not {".git", ".workspaces"} & {*file.parts}}


def test_a_clone_is_as_sparse_as_its_source(project: Project, sparse: Repo) -> None:
    before = fingerprint(sparse)
    fix = clone(project, "fix")
    further = clone(project, "further", "fix")
    for made in (fix, further):
        assert (listed(made), there(made), made.status()) == (listed(sparse), there(sparse), [])
        assert made.git("ls-files", "--sparse") == sparse.git("ls-files", "--sparse")
        assert made.git("sparse-checkout", "list") == sparse.git("sparse-checkout", "list")
        assert made.git("diff-files", "--name-only") == ""
    assert fingerprint(sparse) == before
    assert [row.files_changed for row in project.compare(["fix", "further"]).workspaces] == [0, 0]


def test_what_a_clone_leaves_out_is_its_own_to_say(project: Project, sparse: Repo) -> None:
    fix, full, other = (clone(project, name) for name in ("fix", "full", "other"))
    fix.git("sparse-checkout", "set", "--cone", "far")
    full.git("sparse-checkout", "disable")
    assert fix.read("far/off.py") == full.read("far/off.py") == "off\n"
    assert not (fix.path / "auth").exists()
    assert (fix.status(), full.status(), sparse.status()) == ([], [], [])
    assert not (other.path / "far").exists()
    again, whole = clone(project, "again", "fix"), clone(project, "whole", "full")
    assert (listed(again), there(again)) == (listed(fix), there(fix))
    assert there(whole) == there(full)
    assert [row.files_changed for row in project.compare(["fix", "full", "again", "whole"]).workspaces] == [0] * 4


@pytest.mark.parametrize("history", HISTORIES)
def test_merges_leave_out_what_is_left_out(project: Project, sparse: Repo, history: History) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    fix.write("auth/new.py", "new\n")
    before, files = (listed(sparse), sparse.head), there(sparse)
    assert {change.path for change in project.merge("fix", history=history).files} == {"cart.py", "auth/new.py"}
    assert there(sparse) == files | {"cart.py": "mine\n", "auth/new.py": "new\n"}
    assert sparse.git("ls-files", "-t", "far").splitlines() == ["S far/away/deep.py", "S far/off.py"]
    assert sparse.status() == ([" M cart.py", "?? auth/new.py"] if history == "none" else [])
    project.undo()
    assert ((listed(sparse), sparse.head), there(sparse), sparse.status()) == (before, files, [])


@pytest.mark.parametrize("history", HISTORIES)
def test_work_on_what_the_target_leaves_out(project: Project, sparse: Repo, history: History) -> None:
    """What is committed need not be there; what is not must be."""
    fix = clone(project, "fix")
    fix.git("sparse-checkout", "disable")
    fix.write("far/off.py", "mine\n")
    fix.write("far/new.py", "new\n")
    (fix.path / "far/away/deep.py").unlink()
    before, files = (listed(sparse), sparse.head), there(sparse)
    assert project.merge("fix", history=history).status == "merged"
    if history == "none":
        assert there(sparse) == files | {"far/off.py": "mine\n", "far/new.py": "new\n"}
        assert sparse.status() == [" D far/away/deep.py", " M far/off.py", "?? far/new.py"]
    else:
        assert (there(sparse), sparse.status()) == (files, [])
        assert sparse.git("ls-files", "-t", "far").splitlines() == ["S far/new.py", "S far/off.py"]
        assert sparse.git("show", "HEAD:far/off.py") == "mine"
    if history != "none":
        assert project.merge("fix").status == "up_to_date"
    after = (listed(sparse), sparse.head, there(sparse), sparse.status())
    project.undo()
    assert ((listed(sparse), sparse.head), there(sparse), sparse.status()) == (before, files, [])
    project.redo()
    assert (listed(sparse), sparse.head, there(sparse), sparse.status()) == after


@pytest.mark.parametrize("history", HISTORIES)
def test_what_lies_outside_is_work_too(project: Project, sparse: Repo, history: History) -> None:
    sparse.write("far/here.py", "here\n")
    before, files = listed(sparse), there(sparse)
    fix = clone(project, "fix")
    assert (there(fix), listed(fix), fix.status()) == (files, before, ["?? far/here.py"])
    fix.write("cart.py", "mine\n")
    fix.write("far/off.py", "off, mine\n")
    fix.write("far/more.py", "more\n")
    assert {change.path for change in project.compare(["fix"], detail="files").files} == {"cart.py", "far/off.py", "far/more.py"}
    assert project.merge("fix", history=history).status == "merged"
    assert (sparse.read("cart.py"), sparse.read("far/here.py")) == ("mine\n", "here\n")
    if history != "none":
        assert project.merge("fix").status == "up_to_date"
    project.undo()
    assert (listed(sparse), there(sparse)) == (before, files)


def test_updating_a_sparse_clone(project: Project, sparse: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("far/here.py", "here\n")
    fix.write("cart.py", "mine\n")
    sparse.git("sparse-checkout", "disable")
    sparse.write("far/off.py", "theirs\n")
    sparse.write("auth/api.py", "theirs\n")
    sparse.commit("theirs")
    assert project.merge("main", "fix").status == "merged"
    assert (fix.read("auth/api.py"), fix.read("cart.py"), fix.read("far/here.py")) == ("theirs\n", "mine\n", "here\n")
    assert fix.git("ls-files", "-t", "far").splitlines() == ["S far/away/deep.py", "S far/off.py"]
    assert fix.status() == [" M cart.py", "?? far/here.py"]
    assert project.merge("fix").status == "merged"
    assert (sparse.read("cart.py"), sparse.read("far/here.py"), sparse.read("far/off.py")) == ("mine\n", "here\n", "theirs\n")


def test_a_sparse_clone_goes_and_comes_back(project: Project, sparse: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("far/here.py", "here\n")
    mark = project.checkpoint("fix").restore_point
    fix.write("cart.py", "mine\n")
    fix.write("far/off.py", "mine\n")
    found = listed(fix), there(fix), fix.status()
    project.delete(["fix"], discard_unmerged=True)
    project.restore("fix")
    assert (listed(fix), there(fix), fix.status()) == found
    project.restore("fix", mark)
    assert (fix.status(), there(fix)) == (["?? far/here.py"], there(sparse) | {"far/here.py": "here\n"})
    assert fix.git("ls-files", "-t", "far").splitlines() == ["S far/away/deep.py", "S far/off.py"]


def test_staged_outside(project: Project, sparse: Repo) -> None:
    sparse.write("far/here.py", "here\n")
    sparse.write("far/off.py", "staged\n")
    sparse.git("add", "--sparse", "far/off.py")
    sparse.git("rm", "-q", "--cached", "--sparse", "far/away/deep.py")
    fix = clone(project, "fix")
    assert (there(fix), fix.status(), listed(fix)) == (there(sparse), sparse.status(), listed(sparse))


def test_what_is_prepared_is_for_no_sparse_checkout(project: Project, repo: Repo) -> None:
    project.prepare(2)
    repo.write("far/off.py", "off\n")
    repo.commit("far")
    repo.git("sparse-checkout", "set", "auth")
    assert not (clone(project, "fix").path / "far").exists()
    assert project.prepare(2) == 0
    repo.git("sparse-checkout", "disable")
    assert project.prepare(1) == 1
    assert (clone(project, "full").path / "far").exists()


def test_a_registration_that_is_gone(project: Project, sparse: Repo) -> None:
    fix = clone(project, "fix")
    shutil.rmtree(fix.git("rev-parse", "--absolute-git-dir"))
    project.doctor(repair=True)
    assert (fix.status(), there(fix), listed(fix)) == ([], there(sparse), listed(sparse))


@pytest.fixture
def partial(sparse: Repo, tmp_path: Path) -> Repo:
    """A partial clone of the repository, which has the contents of no files but of those in its sparse checkout."""
    sparse.git("config", "uploadpack.allowFilter", "true")
    sparse.git("config", "uploadpack.allowAnySHA1InWant", "true")
    sparse.git("config", "--global", "protocol.file.allow", "always")
    sparse.git("clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{sparse.path}", str(tmp_path / "partial"))
    made = Repo(tmp_path / "partial")
    made.git("sparse-checkout", "set", *(PATTERNS if "!/far/" in sparse.git("sparse-checkout", "list") else FOLDERS))
    made.git("checkout", "-q", "trunk")
    return made


def lacking(repo: Repo) -> list[str]:
    """Return the objects that a partial clone does not have."""
    return [line for line in repo.git("rev-list", "--objects", "--all", "--missing=print").splitlines() if line.startswith("?")]


def test_a_partial_clone_needs_nothing_that_it_leaves_out(partial: Repo) -> None:
    lacks = lacking(partial)
    project, tracked = Project.initialize(partial.path), listed(partial)
    fix = clone(project, "fix")
    assert (listed(fix), there(fix), fix.status()) == (tracked, there(partial), [])
    fix.write("auth/api.py", "mine\n")
    fix.write("far/new.py", "new\n")
    assert [change.path for change in project.compare(["fix"], detail="files").files] == ["auth/api.py", "far/new.py"]
    for history in HISTORIES:
        project.merge("fix", history=history)
        assert (partial.read("auth/api.py"), (partial.path / "far/off.py").exists()) == ("mine\n", False)
        project.undo()
        assert (listed(partial), partial.status()) == (tracked, [])
    partial.write("auth/more.py", "more\n")
    partial.commit("more")
    project.merge("main", "fix")
    assert project.merge("fix", delete_source=True).status == "merged"
    project.restore("fix")
    assert (fix.read("auth/more.py"), fix.read("far/new.py")) == ("more\n", "new\n")
    assert [finding for finding in project.doctor().findings if not finding.ok] == []
    assert lacking(partial) == lacks


def test_what_a_partial_clone_lacks_is_told(partial: Repo) -> None:
    project = Project.initialize(partial.path)
    fix = clone(project, "fix")
    fix.write("far/off.py", "mine\n")
    before = fingerprint(partial)
    with pytest.raises(NotFetched, match=r"is a partial clone, and lacks objects .* Nothing was changed\.") as refused:
        project.merge("fix")
    assert fingerprint(partial) == before
    partial.git(*refused.value.hint.rpartition("call again: git ")[2].split(), "-q")
    assert project.merge("fix").status == "merged"


def test_a_merge_that_fails_at_its_end_leaves_out_what_was_left_out(project: Project, sparse: Repo, instead: Instead) -> None:
    fix = clone(project, "fix")
    fix.git("sparse-checkout", "disable")
    fix.write("far/off.py", "mine\n")
    fix.write("far/new.py", "new\n")
    fix.write("cart.py", "mine\n")
    (fix.path / "far/away/deep.py").unlink()
    before = listed(sparse), there(sparse), sparse.head
    instead("*update-ref*HEAD*) exit 1")
    with pytest.raises(TargetMoved):
        project.merge("fix")
    assert (listed(sparse), there(sparse), sparse.head) == before
    assert sparse.status() == []


@pytest.mark.parametrize("step", ["*read-tree*-m*-u*--no-sparse*", "*update-index*--index-info*", "*update-ref*HEAD*"])
def test_a_killed_merge_is_ended(project: Project, sparse: Repo, instead: Instead, step: str) -> None:
    fix = clone(project, "fix")
    fix.git("sparse-checkout", "disable")
    fix.write("far/off.py", "mine\n")
    fix.write("cart.py", "mine\n")
    sparse.write("far/here.py", "here\n")
    sparse.write("notes.md", "mine\n")
    before = listed(sparse), there(sparse), sparse.status(), sparse.head
    instead(
        f'{step}) [ -e {sparse.path}/.git/workspaces/tmp/once ] || {{ touch {sparse.path}/.git/workspaces/tmp/once; $real "$@"; kill -9 $PPID; }}; exit 0'
    )
    subprocess.run([*python(), "-c", MERGER, str(sparse.path)], capture_output=True, check=False)
    assert (sparse.path / ".git/workspaces/tmp/once").exists()
    (sparse.path.parent / "bin/git").unlink()
    project.status()
    after = listed(sparse), there(sparse), sparse.status()
    if sparse.head == before[3]:
        assert (*after, sparse.head) == before
    else:
        assert (after[1], after[2]) == (before[1] | {"cart.py": "mine\n"}, before[2])
        assert (sparse.git("show", "HEAD:far/off.py"), "S far/off.py" in sparse.git("ls-files", "-t")) == ("mine", True)
