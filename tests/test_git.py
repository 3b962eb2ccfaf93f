"""A git that is killed, or that could not read all that it was asked about, is not believed, and leaves no lock in anybody's way."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name

import pytest
from conformance.forking import program, python
from support import REFS_WRITTEN, Instead, Repo, at, clone, fingerprint, hidden

from workspaces import Project, WorkspacesError
from workspaces.errors import BackendFailed, Busy, TargetMoved


def locks(repo: Repo) -> list[Path]:
    return [lock for lock in (repo.path / ".git").rglob("*.lock") if "workspaces" not in lock.parts]


def test_a_killed_git_leaves_no_lock_in_a_clone(project: Project, repo: Repo, instead: Instead) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    repo.write("notes.md", "theirs\n")
    repo.commit("theirs")
    instead('*update-index*--refresh*) touch "$GIT_DIR/index.lock"; touch "$GIT_DIR/killed"; kill -9 $$')
    assert project.merge("main", "fix").status == "merged"
    (admin,) = (repo.path / ".git/worktrees").iterdir()
    assert (admin / "killed").exists()
    assert locks(repo) == []


def test_a_killed_git_leaves_no_lock_on_the_branch(project: Project, repo: Repo, instead: Instead) -> None:
    clone(project, "fix").write("new/file.txt", "mine\n")
    instead('*update-ref*HEAD*) touch "$GIT_DIR/HEAD.lock" "$GIT_DIR/refs/heads/trunk.lock" "$GIT_DIR/packed-refs.lock"; kill -9 $$')
    with pytest.raises(TargetMoved):
        project.merge("fix")
    assert locks(repo) == []
    assert repo.status() == []
    assert not (repo.path / "new").exists()


def test_a_lock_that_was_there_before_is_not_ours(project: Project, repo: Repo, instead: Instead) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    lock = repo.path / ".git" / "packed-refs.lock"
    lock.touch()
    os.utime(lock, (1, 1))
    instead("*update-ref*HEAD*) kill -9 $$")
    with pytest.raises(TargetMoved):
        project.merge("fix")
    assert lock.exists()


def test_a_git_that_is_killed_after_it_moved_the_head_has_merged(project: Project, repo: Repo, instead: Instead) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    instead('*update-ref*HEAD*) $real "$@"; kill -9 $$')
    assert project.merge("fix").status == "merged"
    assert repo.status() == []
    assert repo.git("show", "HEAD:cart.py") == "mine"


def test_the_lock_of_a_git_that_was_killed_on_a_restore_point_is_no_obstacle(project: Project, repo: Repo) -> None:
    clone(project, "fix")
    (own,) = (repo.path / ".git" / "refs" / "workspaces" / "shop").iterdir()
    (own / "at").mkdir()
    (own / "at" / "1.lock").touch()
    assert project.checkpoint("fix").restore_point == "fix@1"


def test_a_snapshot_holds_all_that_is_there_or_is_none(project: Project, instead: Instead) -> None:
    """git leaves a folder out that it cannot open for lack of descriptors, warns, and says that all is well."""
    clone(project, "fix").write("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/file.txt", "mine\n")
    instead("*status*|*add*-A*) ulimit -n 16")
    with pytest.raises(BackendFailed, match="Too many open files"):
        project.merge("fix")


@pytest.mark.parametrize("asked", ["config*get-regexp", "--is-ancestor", "check-ignore", "write-tree"])
def test_a_git_that_could_not_answer_has_not_said_no(project: Project, repo: Repo, instead: Instead, asked: str) -> None:
    """Else a program that the repository configures would run, a merge would be taken for undone, a carried or staged file be lost."""
    repo.write(".worktreeinclude", ".env\n")
    repo.write(".env", "mine\n")
    clone(project, "fix").write("cart.py", "mine\n")
    project.merge("fix")
    repo.commit("later")  # else the head is the merge itself, as its files say
    repo.git("repack", "-a", "-d", "-q")  # else so do those of the commits
    repo.git("config", "user.nickname", asked)  # else it is known what the configuration says
    for folder in (repo, at(project.find("fix"))):
        hidden(folder, "auth/api.py")
    instead(f"*{asked}*) exit 127")
    with pytest.raises(BackendFailed):
        project.merge("fix")
        project.clone(name="other")


def test_a_merge_whose_commit_was_reset_away_and_collected_can_be_made_again(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    merged = project.merge("fix").commit
    repo.git("reset", "-q", "--hard", "HEAD^")
    for ref in repo.git("for-each-ref", "--format=%(refname)", f"--points-at={merged}").split():
        repo.git("update-ref", "-d", ref)
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    assert repo.git("cat-file", "-t", merged, check=False) == ""
    assert project.merge("fix").status == "merged"


DIES_HALF_WAY = """
import os, sys
from pathlib import Path
from workspaces import Project
import workspaces.backends.worktree.checkout as checkout
def die(git, old, new, _):
    (git.work_tree / "a").write_text("new")
    os._exit(9)
checkout._switch = die
Project.open(Path(sys.argv[1])).merge("fix")
"""


def test_a_merge_is_not_called_failed_by_a_git_that_could_not_look(project: Project, repo: Repo, instead: Instead) -> None:
    fix = clone(project, "fix")
    fix.write("a", "new")
    fix.write("b", "new")
    assert subprocess.run([*python(), "-c", DIES_HALF_WAY, str(repo.path)], check=False).returncode == 9
    instead('*cat-file*) if [ ! -e "$GIT_DIR/answers" ]; then exit 127; fi')
    Project.open(repo.path)
    (repo.path / ".git" / "answers").touch()
    Project.open(repo.path)
    assert not (repo.path / "a").exists()


SHORT_OF_DESCRIPTORS = """
import resource, sys
from pathlib import Path
from workspaces import Project, WorkspacesError
Project.open(Path(sys.argv[1])).compare(["fix"])
for number in range(5, 40):
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, 1000))
    try:
        Project.open(Path(sys.argv[1])).compare(["fix"])
    except WorkspacesError:
        pass
"""


def test_too_few_descriptors_are_an_error_of_ours(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    done = subprocess.run([*python(), "-c", SHORT_OF_DESCRIPTORS, str(repo.path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_workspace_lacks_is_fetched_from_nowhere(project: Project, repo: Repo, instead: Instead) -> None:
    """git before 2.45 does not know GIT_NO_LAZY_FETCH, and fetching from a path runs what the configuration names as uploadpack."""
    fix = clone(project, "fix")
    lines = fix.git("ls-tree", "HEAD") + f"\n100644 blob {'12' * 20}\tlost\n"
    made = subprocess.run(["git", "mktree", "--missing"], cwd=fix.path, input=lines, capture_output=True, text=True, check=True)
    fix.git("read-tree", made.stdout.strip())
    fix.git("update-index", "--skip-worktree", "lost")
    told = repo.path / ".git/workspaces/tmp/told"
    remote = {"promisor": "true", "partialclonefilter": "blob:none", "url": str(repo.path), "uploadpack": f"touch {told};"}
    for key, value in remote.items():
        repo.git("config", f"remote.o.{key}", value)
    repo.git("config", "protocol.file.allow", "always")
    instead("*) unset GIT_NO_LAZY_FETCH")
    with pytest.raises((BackendFailed, Busy), match="transport 'file' not allowed"):
        project.compare(["fix"])
    assert not told.exists()


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "refs/heads/trunk.lock"])
def test_a_lock_that_somebody_left_is_named_with_its_age_and_holder(project: Project, repo: Repo, name: str) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    fix.write("new/file.txt", "mine\n")
    before = fingerprint(repo)
    lock = repo.path / ".git" / name
    lock.touch()
    os.utime(lock, (1, time.time() - 7300))
    done = subprocess.run([*program(), "merge", "fix"], cwd=repo.path, capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert f"there is {lock} since" in done.stderr
    assert "(2 hours); no process has it open" in done.stderr
    assert f"remove it (rm {lock}) and call again" in done.stderr
    with lock.open(), pytest.raises(Busy, match=rf"process {os.getpid()} \(.*\) has it open") as refused:
        project.merge("fix")
    assert refused.value.hint.startswith("Wait")
    assert [each.state for each in project.log(2).operations] == ["failed", "failed"]
    lock.unlink()
    assert fingerprint(repo) == before
    assert project.merge("fix").status == "merged"


def test_the_doctor_tells_how_old_a_lock_is(project: Project, repo: Repo) -> None:
    lock = repo.path / ".git" / "index.lock"
    lock.touch()
    os.utime(lock, (1, time.time() - 100))
    (finding,) = (each for each in project.doctor(quick=True).findings if not each.ok)
    assert (finding.check, "(1 minute); no process has it open" in finding.message) == ("locks of git", True)


@pytest.mark.parametrize("said", ["warning: unable to access '/etc/gitconfig': Too many open files", "error: killed"])
@pytest.mark.parametrize("status", [0, 128])
def test_a_head_that_a_troubled_git_moved_has_moved(project: Project, repo: Repo, instead: Instead, said: str, status: int) -> None:
    """Its files are not taken back under it."""
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    fix.write("new/file.txt", "mine\n")
    repo.write("notes.md", "dirty\n")
    instead(f'*update-ref*" HEAD "*) $real "$@"; echo "{said}" >&2; exit {status}')
    assert project.merge("fix").status == "merged"
    assert repo.status() == [" M notes.md"]
    assert repo.git("show", "HEAD:cart.py") == "mine"


def test_refs_that_a_gc_packs_at_once_are_kept_all_the_same(
    project: Project, repo: Repo, instead: Instead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder is left of them then."""
    instead('*update-ref*) $real "$@"; status=$?; $real pack-refs --all --prune; exit $status')
    write: Callable[[Path, Mapping[str, str]], None] = resolve_name(REFS_WRITTEN)

    def packed(common_dir: Path, names: Mapping[str, str]) -> None:
        write(common_dir, names)
        repo.git("pack-refs", "--all", "--prune")

    monkeypatch.setattr(REFS_WRITTEN.replace(":", "."), packed)
    clone(project, "fix").write("cart.py", "mine\n")
    assert not (repo.path / ".git" / "refs" / "workspaces" / "shop").exists()
    assert project.merge("fix").status == "merged"
    assert repo.git("fsck", "--connectivity-only", "--no-dangling") == ""


@pytest.mark.parametrize(
    "text",
    [b"", b"no commit at all\n", b"tree \xff\xff\ncommitter \xff\n\n\xff", b"tree " + b"0" * 40 + b"\n\n"],
    ids=["empty", "other text", "bytes", "nobody's"],
)
def test_a_head_that_is_no_commit_is_told_as_git_does(project: Project, repo: Repo, text: bytes) -> None:
    clone(project, "fix")
    raw = b"commit %d\0" % len(text) + text
    name = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    (folder := repo.path / ".git" / "objects" / name[:2]).mkdir(exist_ok=True)
    (folder / name[2:]).write_bytes(zlib.compress(raw))
    (admin,) = (repo.path / ".git/worktrees").iterdir()
    (admin / "HEAD").write_text(f"{name}\n")
    for look in (lambda: project.compare(["fix"]), lambda: project.merge("fix")):
        with pytest.raises(WorkspacesError):
            look()
    assert repo.status() == []
