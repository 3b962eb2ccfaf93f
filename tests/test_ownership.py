"""What is somebody's stays: what is made in the place of a workspace, and what is done in one that a call is about to take back."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from loops import mounted
from support import Instead, Repo, at, clone, deleted_at

from workspaces import Project
from workspaces.errors import Busy, Exists, Interrupted, TargetMoved, WorkspacesError
from workspaces.locks import Locks
from workspaces.model import Workspace, now
from workspaces.store import Store

DIES_BEFORE_IT_IS_WRITTEN_DOWN = """
import os, signal, sys
from pathlib import Path
from workspaces import Project
from workspaces.store import Store
Store.finish = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
Project.open(Path(sys.argv[1])).clone(name="fix")
"""


@pytest.fixture(params=["git", "folder"])
def shop(request: pytest.FixtureRequest, repo: Repo, tmp_path: Path) -> Repo:
    """A project of either kind."""
    if request.param == "git":
        return repo
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "cart.py").write_text("a\n")
    return Repo(folder)


def _aged(root: Path) -> None:
    """Let all that was deleted in a folder project have been deleted long ago."""
    store = Store(root / ".workspaces" / ".state" / "store.sqlite")
    for row in store.workspaces(root.name, ("deleted",)):
        gone = now() - timedelta(days=30)
        store.save(row.model_copy(update={"deleted": gone, "restorable_until": gone + timedelta(days=14)}), "deleted")


@pytest.mark.parametrize("by_hand", [False, True], ids=["in the trash", "removed by hand"])
def test_a_later_workspace_of_the_name_outlives_the_one_before(tmp_path: Path, by_hand: bool) -> None:
    """The root of every btrfs subvolume has the same inode number."""
    with mounted("btrfs", tmp_path, 400) as disk:
        folder = disk / "data"
        subprocess.run(["btrfs", "subvolume", "create", str(folder)], check=True, capture_output=True)
        (folder / "a.txt").write_text("a\n")
        project = Project.initialize(folder)
        before = clone(project, "fix")
        if by_hand:
            subprocess.run(["btrfs", "subvolume", "delete", str(before.path)], check=True, capture_output=True)
        project.delete(["fix"], discard_unmerged=True)
        clone(project, "fix").write("work.txt", "mine\n")
        _aged(folder)
        assert project.gc().freed
        assert before.read("work.txt") == "mine\n"


def test_what_somebody_puts_in_the_place_of_a_restored_one_meanwhile_stays(
    shop: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.initialize(shop.path)
    fix = clone(project, "fix")
    fix.write("work.txt", "mine\n")
    project.delete(["fix"], discard_unmerged=True)
    bring_back: Callable[[Workspace, Path], None] = pkgutil.resolve_name("workspaces.backends.trash:bring_back")

    def meanwhile(workspace: Workspace, kept: Path) -> None:
        fix.write("theirs.txt", "theirs\n")
        bring_back(workspace, kept)

    with monkeypatch.context() as patched:
        patched.setattr("workspaces.backends.trash.bring_back", meanwhile)
        patched.setattr("workspaces.backends.worktree.trash.bring_back", meanwhile)
        with pytest.raises(Exists, match="stays in the trash"):
            project.restore("fix")
    if (shop.path / ".git").exists():
        assert len(shop.git("worktree", "list").splitlines()) == 1
    assert all(finding.ok for finding in project.doctor().findings)
    fix.path.rename(tmp_path / "theirs")
    project.restore("fix")
    assert fix.read("work.txt") == "mine\n"
    project.delete(["fix"], discard_unmerged=True)
    (tmp_path / "theirs").rename(fix.path)
    if (shop.path / ".git").exists():
        deleted_at(shop, "fix", 30)
    else:
        _aged(shop.path)
    assert project.gc().freed
    assert fix.read("theirs.txt") == "theirs\n"


def _stages(fix: Repo) -> object:
    text = fix.read("cart.py")
    fix.write("cart.py", "staged\n")
    fix.git("add", "cart.py")
    return fix.write("cart.py", text)


def _swaps(fix: Repo) -> object:
    fix.write("swap", "x").unlink()
    made = fix.write("build/a.log", "mine\n")
    time.sleep(0.02)
    fix.write("swap", "x").unlink()
    return made


WORK: dict[str, Callable[[Repo], object]] = {
    "an ignored file": lambda fix: fix.write("build.log", "mine\n"),
    "a file": lambda fix: fix.write("work.txt", "mine\n"),
    "what is staged": _stages,
    "an ignored file, and something that went again": _swaps,
    "a commit": lambda fix: fix.git("commit", "-q", "--allow-empty", "-m", "mine"),
    "a repository in an ignored folder": lambda fix: Repo.create(fix.path / "build" / "nested").write("x", "y"),
}


@pytest.mark.parametrize("work", WORK)
def test_a_killed_clone_that_somebody_found_is_restorable(project: Project, repo: Repo, work: str) -> None:
    repo.write(".gitignore", "*.log\nbuild/\n")
    repo.commit("rules")
    subprocess.run([sys.executable, "-c", DIES_BEFORE_IT_IS_WRITTEN_DOWN, str(repo.path)], check=False)
    fix = Repo(repo.path / ".workspaces" / "fix")
    WORK[work](fix)
    before = subprocess.run(["git", "status", "--porcelain", "--ignored"], cwd=fix.path, capture_output=True, check=True).stdout
    assert [each.name for each in project.status().workspaces] == ["main"]
    assert not fix.path.exists()
    project.restore("fix")
    assert subprocess.run(["git", "status", "--porcelain", "--ignored"], cwd=fix.path, capture_output=True, check=True).stdout == before


def test_a_stopped_call_takes_back_what_nobody_touched(shop: Repo) -> None:
    project = Project.initialize(shop.path)

    def stop(done: int, total: int, message: str) -> None:
        if message.startswith("cloned"):
            if worked:
                Repo(shop.path / ".workspaces" / message.split()[1]).write("work.txt", "mine\n")
            raise Interrupted("stopped")

    for worked in (False, True):
        with pytest.raises(Interrupted):
            project.clone(count=3, name="fix", progress=stop)
        deleted = [each for each in project.status(include_deleted=True).workspaces if each.state == "deleted"]
        assert len(deleted) == worked
        assert not list((shop.path / ".workspaces").glob("fix*"))
    project.restore(deleted[0].id)
    assert at(project.find(deleted[0].id)).read("work.txt") == "mine\n"


# -- while a checkout moves ---------------------------------------------------------------------------------------------------------------

CHECKOUT, MOVING = "workspaces.backends.worktree.checkout", "workspaces.backends.directory.moving"

Before = Callable[..., None]


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Generator[Before]:
    """Return what lets something happen once, just before a step of a move."""

    def put(step: str, act: Callable[[], object], module: str = CHECKOUT) -> None:
        real: Callable[..., object] = pkgutil.resolve_name(f"{module}:{step}")
        done: list[object] = []

        def acted(*args: object, **named: object) -> object:
            if not done:
                done.append(act())
            return real(*args, **named)

        monkeypatch.setattr(f"{module}.{step}", acted)

    yield put


def _comes(repo: Repo) -> dict[str, Callable[[], object]]:
    return {
        "an ignored file": lambda: repo.write("out.log", "mine\n"),
        "a folder of ignored files": lambda: repo.write("out.log/deep/my.log", "mine\n"),
        "a repository": lambda: Repo.create(repo.path / "out.log").write("x.log", "mine\n"),
        "a file": lambda: repo.write("new.txt", "mine\n"),
    }


@pytest.mark.parametrize("into", ["main", "main with work in it", "a clone"])
@pytest.mark.parametrize("what", ["an ignored file", "a folder of ignored files", "a repository", "a file"])
def test_what_comes_in_the_way_of_a_merge_stays(project: Project, repo: Repo, before: Before, what: str, into: str) -> None:
    repo.write(".gitignore", "*.log\n")
    repo.commit("rules")
    target = clone(project, "other") if into == "a clone" else repo
    fix = clone(project, "fix")
    fix.write("out.log", "theirs\n")
    fix.write("new.txt", "theirs\n")
    fix.git("add", "-f", "out.log", "new.txt")
    fix.git("commit", "-q", "-m", "out")
    if into == "main with work in it":
        repo.write("notes.md", "work\n")
    before("_wait_for_locks", _comes(target)[what])
    with pytest.raises(TargetMoved):
        project.merge("fix", "other" if into == "a clone" else "main")
    mine = [file for file in target.path.rglob("*") if file.is_file() and ".git" not in file.parts and file.read_bytes() == b"mine\n"]
    assert len(mine) == 1
    assert target.status() == [*([" M notes.md"] if into == "main with work in it" else []), *(["?? new.txt"] if what == "a file" else [])]


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "beside a commit"])
def test_what_is_ignored_since_and_made_again_stays(project: Project, repo: Repo, before: Before, killed: bool) -> None:
    repo.write("settings.json", "shared\n")
    repo.commit("settings")
    fix = clone(project, "fix")
    fix.git("rm", "-q", "--cached", "settings.json")
    fix.write(".gitignore", "settings.json\n")
    fix.write("cart.py", "theirs\n")
    fix.commit("settings are everyone's own")

    def goes_on() -> None:
        repo.write("settings.json", "mine\n")
        repo.write("notes.md", "mine\n")
        repo.git("commit", "-q", "-m", "mine", "notes.md")

    if killed:
        script = "import os, sys\nfrom pathlib import Path\nfrom workspaces import Project\n"
        script += (
            f"import {CHECKOUT} as checkout\ncheckout._move_head = lambda *_: os._exit(9)\nProject.open(Path(sys.argv[1])).merge('fix')\n"
        )
        assert subprocess.run([sys.executable, "-c", script, str(repo.path)], check=False).returncode == 9
        goes_on()
        project.status()
    else:
        before("_updated_head", goes_on)
        with pytest.raises(TargetMoved):
            project.merge("fix")
    assert (repo.read("settings.json"), repo.read("notes.md")) == ("mine\n", "mine\n")
    assert repo.read("cart.py") != "theirs\n"


@pytest.mark.parametrize("file", ["cart.py", "new.txt"])
def test_what_is_edited_while_a_move_is_put_back_stays(project: Project, repo: Repo, before: Before, file: str) -> None:
    fix = clone(project, "fix")
    for name in ("cart.py", "new.txt", "auth/api.py"):
        fix.write(name, "theirs\n")
    assert subprocess.run([sys.executable, "-c", MERGES_AND_DIES, str(repo.path)], check=False).returncode == 9
    repo.write("auth/api.py", "mine\n")  # so it goes back
    before("_settle_back", lambda: repo.write(file, "mine, later\n"))
    project.status()
    assert (repo.read(file), repo.read("auth/api.py")) == ("mine, later\n", "mine\n")
    other = "new.txt" if file == "cart.py" else "cart.py"
    assert not (repo.path / other).exists() if other == "new.txt" else repo.read(other) != "theirs\n"


def test_a_branch_that_is_left_meanwhile_is_not_moved(project: Project, repo: Repo, before: Before) -> None:
    head = repo.head
    clone(project, "fix").write("cart.py", "theirs\n")
    before("_sync", lambda: repo.git("checkout", "-q", "-b", "elsewhere"))
    with pytest.raises(TargetMoved, match="another branch"):
        project.merge("fix")
    assert (repo.head, repo.git("rev-parse", "HEAD@{0}"), repo.status()) == (head, head, [])


@pytest.fixture
def data(tmp_path: Path) -> Repo:
    """A folder project."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "log.txt").write_text("a\n")
    return Repo(folder)


@pytest.mark.parametrize("is_young", [True, False], ids=["too young for its times", "known by its times"])
def test_what_is_written_to_an_open_file_while_a_merge_ends_stays(
    data: Repo, before: Before, monkeypatch: pytest.MonkeyPatch, is_young: bool
) -> None:
    monkeypatch.setattr("workspaces.backends.directory.freezing._is_racy", Mock(return_value=is_young))
    project = Project.initialize(data.path)
    clone(project, "fix").write("log.txt", "theirs\n")
    with (data.path / "log.txt").open("ab", buffering=0) as log:
        before("_end", lambda: log.write(b"mine\n"), MOVING)
        with pytest.raises(TargetMoved):
            project.merge("fix")
    assert data.read("log.txt") == "a\nmine\n"


def test_what_is_edited_while_a_merge_of_a_folder_is_put_back_stays(data: Repo, before: Before, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.initialize(data.path)
    fix = clone(project, "fix")
    fix.write("log.txt", "theirs\n")
    fix.write("new.txt", "theirs\n")
    is_as_seen: Callable[..., bool] = pkgutil.resolve_name(f"{MOVING}:_is_as_seen")

    def seen(move: object, folders: object, step: Any, found: object) -> bool:
        said = is_as_seen(move, folders, step, found)
        if step.path == "new.txt":
            data.write("new.txt", "mine\n")
        return said

    before("_end", lambda: data.write("log.txt", "other\n"), MOVING)
    before("_verify", lambda: (_ for _ in ()).throw(OSError(5, "input/output error")), MOVING)
    before("_roll_back", lambda: monkeypatch.setattr(f"{MOVING}._is_as_seen", seen), MOVING)
    with pytest.raises(WorkspacesError):
        project.merge("fix")
    assert data.read("new.txt") == "mine\n"


MERGES_AND_DIES = f"""
import os, sys
from pathlib import Path
from workspaces import Project
import {CHECKOUT} as checkout
checkout._move_head = lambda *_: os._exit(9)
Project.open(Path(sys.argv[1])).merge("fix")
"""


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "beside a commit"])
def test_files_of_a_folder_that_becomes_a_link_come_back(project: Project, repo: Repo, before: Before, killed: bool) -> None:
    """Behind the link lies a file of that name."""
    repo.write("docs/x", "work\n")
    repo.commit("docs")
    fix = clone(project, "fix")
    (fix.path / "docs").rename(fix.path / "doc")
    (fix.path / "docs").symlink_to("doc")
    fix.commit("moved")
    if killed:
        assert subprocess.run([sys.executable, "-c", MERGES_AND_DIES, str(repo.path)], check=False).returncode == 9
        repo.git("commit", "-q", "--allow-empty", "-m", "mine", "notes.md")
        project.status()
    else:
        before("_updated_head", lambda: repo.git("commit", "-q", "--allow-empty", "-m", "mine", "notes.md"))
        with pytest.raises(TargetMoved):
            project.merge("fix")
    assert (repo.read("docs/x"), repo.status(), (repo.path / "docs").is_symlink()) == ("work\n", [], False)


def test_a_link_that_git_had_not_made_yet_comes_back(project: Project, repo: Repo) -> None:
    (repo.path / "link").symlink_to("one")
    repo.write("file", "file\n")
    repo.commit("links")
    fix = clone(project, "fix")
    for name in ("link", "file"):
        (fix.path / name).unlink()
        (fix.path / name).symlink_to("two")
    fix.commit("other links")
    script = MERGES_AND_DIES.replace("checkout._move_head", "checkout._switch")
    assert subprocess.run([sys.executable, "-c", script, str(repo.path)], check=False).returncode == 9
    for name in ("link", "file"):
        (repo.path / name).unlink()
    project.status()
    assert repo.status() == []


def test_what_a_git_that_was_killed_did_not_put_back_is_put_back_by_the_next_call(project: Project, repo: Repo, instead: Instead) -> None:
    """It says nothing, as one does that had nothing to say."""
    before = repo.read("cart.py")
    clone(project, "fix").write("cart.py", "theirs\n")
    assert subprocess.run([sys.executable, "-c", MERGES_AND_DIES, str(repo.path)], check=False).returncode == 9
    repo.git("commit", "-q", "--allow-empty", "-m", "mine", "notes.md")
    instead(f"*checkout-index*) if mkdir {repo.path}/.git/objects/once; then kill -9 $$; fi")
    project.status()
    project.status()
    assert (repo.read("cart.py"), repo.status()) == (before, [])


def test_a_killed_merge_is_not_ended_on_another_branch(project: Project, repo: Repo) -> None:
    head = repo.head
    clone(project, "fix").write("cart.py", "theirs\n")
    assert subprocess.run([sys.executable, "-c", MERGES_AND_DIES, str(repo.path)], check=False).returncode == 9
    repo.git("switch", "-q", "-c", "mine")
    project.status()
    assert (repo.head, repo.status()) == (head, [])
    assert project.merge("fix").status == "merged"


@pytest.mark.parametrize("how", ["busy", "killed"])
def test_clones_are_handed_over_with_the_one_that_goes_or_not_at_all(project: Project, repo: Repo, how: str) -> None:
    clone(project, "top").write("work.txt", "work\n")
    for name in ("one", "two"):
        clone(project, name, "top")
    if how == "killed":
        script = "import os, sys\nfrom pathlib import Path\nfrom workspaces import Project\nimport workspaces.removal as removal\n"
        script += "removal.set_aside = lambda *_, **__: os._exit(9)\n"
        script += "Project.open(Path(sys.argv[1])).delete(['top'], discard_unmerged=True, children='reparent')\n"
        assert subprocess.run([sys.executable, "-c", script, str(repo.path)], check=False).returncode == 9
    else:
        with Locks(repo.path / ".git" / "workspaces" / "locks").change("shop.two"):
            impatient = Project.open(repo.path, patience=0.2)
            with pytest.raises(Busy):
                impatient.delete(["top"], discard_unmerged=True, children="reparent")
    assert {each.name: each.parent for each in project.status().workspaces[1:]} == {
        "top": "shop/main",
        "one": "shop/top",
        "two": "shop/top",
    }
    project.delete(["top"], discard_unmerged=True, children="reparent")
    assert {each.parent for each in project.status().workspaces[1:]} == {"shop/main"}
    project.restore("top")
    project.undo()


def test_what_another_project_of_the_repository_deleted_is_explained(project: Project, repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "two"))
    other = Project.initialize(tmp_path / "two")
    clone(project, "fix").write("work.txt", "mine\n")
    project.delete(["fix"], discard_unmerged=True)
    assert [finding.message for finding in other.doctor().findings if not finding.ok] == []
    other.doctor(repair=True)
    project.restore("fix")
