"""The doctor: whatever is broken by other means is found, named with its cure, and cured by --repair without losing anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from pkgutil import resolve_name
from threading import Event

import pytest
from conformance.forking import program, python
from support import Repo, at, clone, deleted_at, fingerprint

from workspaces import Project
from workspaces.core import Core
from workspaces.errors import InvalidArgument, NotFound
from workspaces.model import Workspace, now
from workspaces.store import Store


def admin_of(repo: Repo, name: str) -> Path:
    (found,) = (repo.path / ".git" / "worktrees").glob(f"{name}-*")
    return found


def wrong(project: Project) -> list[str]:
    return [finding.check for finding in project.doctor().findings if not finding.ok]


def swap_pointer(repo: Repo, fix: Repo) -> None:
    (fix.path / ".git").write_text("gitdir: /elsewhere\n")


def link_pointer(repo: Repo, fix: Repo) -> None:
    (fix.path / ".git").unlink()
    (fix.path / ".git").symlink_to("/etc/passwd")


def drop_pointer(repo: Repo, fix: Repo) -> None:
    (fix.path / ".git").unlink()


def redirect_admin(repo: Repo, fix: Repo) -> None:
    (admin_of(repo, "fix") / "gitdir").write_text("/elsewhere/.git\n")


def unlock_admin(repo: Repo, fix: Repo) -> None:
    (admin_of(repo, "fix") / "locked").unlink()


def drop_admin(repo: Repo, fix: Repo) -> None:
    shutil.rmtree(admin_of(repo, "fix"))


BREAKS: list[Callable[[Repo, Repo], None]] = [swap_pointer, link_pointer, drop_pointer, redirect_admin, unlock_admin, drop_admin]


@pytest.mark.parametrize("break_it", BREAKS, ids=lambda each: each.__name__)
def test_a_workspace_that_git_would_not_find_is_registered_again(
    project: Project, repo: Repo, break_it: Callable[[Repo, Repo], None]
) -> None:
    repo.write("notes.md", "carried\n")
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    fix.write("new.txt", "new\n")
    status, user = fix.status(), fingerprint(repo)
    break_it(repo, fix)
    assert wrong(project) == ["shop/fix"]
    diagnosis = project.doctor(repair=True)
    assert diagnosis.repaired
    assert [finding for finding in diagnosis.findings if not finding.ok] == []
    assert (fix.status(), fix.read("cart.py"), fingerprint(repo)) == (status, "mine\n", user)
    assert project.doctor(repair=True).repaired == ()
    assert project.merge("fix", paths=["cart.py"]).status == "merged"


def test_a_workspace_whose_folder_is_gone_goes_where_deleted_ones_are(project: Project) -> None:
    fix = clone(project, "fix")
    shutil.rmtree(fix.path)
    assert wrong(project) == ["shop/fix"]
    assert "set shop/fix aside" in project.doctor(repair=True).repaired[0]
    assert wrong(project) == []
    with pytest.raises(NotFound, match="Nothing is left"):
        project.restore("fix")
    assert clone(project, "fix").path.exists()


def test_what_dead_calls_left_is_cleared_away_and_what_is_somebodys_is_not(project: Project, repo: Repo) -> None:
    clone(project, "fix")
    left = repo.path / ".workspaces" / ".new-0badf00d"
    left.mkdir()
    theirs = repo.path / ".workspaces" / "theirs"
    theirs.mkdir()
    (theirs / "work.txt").write_text("work\n")
    dead = repo.path / ".git" / "worktrees" / "dead-0badf00d"
    shutil.copytree(admin_of(repo, "fix"), dead)
    (dead / "gitdir").write_text(f"{repo.path}/.workspaces/dead/.git\n")
    assert wrong(project) == ["strays"]
    diagnosis = project.doctor(repair=True)
    assert (left.exists(), dead.exists()) == (False, False)
    assert (theirs / "work.txt").read_text() == "work\n"
    assert [finding.message for finding in diagnosis.findings if not finding.ok] == [
        f"no workspace that is remembered, and no call, explains {theirs}"
    ]


def test_what_only_has_a_name_like_ours_is_somebodys(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    repo.write(".workspaces/.new-notes/plan.md", "precious\n")
    repo.write(".workspaces/.new-deadbeef/plan.md", "precious too\n")
    half_made = repo.path / ".workspaces" / ".new-0badf00d"
    shutil.copytree(fix.path, half_made)
    (half_made / ".git").write_text(f"gitdir: {repo.path}/.git/worktrees/dead-0badf00d\n")
    diagnosis = project.doctor(repair=True)
    assert not half_made.exists()
    assert repo.read(".workspaces/.new-notes/plan.md") == "precious\n"
    (kept,) = (repo.path / ".git" / "workspaces" / "trash" / "strays").glob(".new-deadbeef-*")
    assert (kept / "plan.md").read_text() == "precious too\n"
    assert set(diagnosis.repaired) == {
        f"removed {half_made}, which was half made",
        f"moved {repo.path}/.workspaces/.new-deadbeef, which no workspace has, to {kept}",
    }
    (finding,) = (each for each in diagnosis.findings if not each.ok)
    assert finding.message.endswith(f"explains {repo.path}/.workspaces/.new-notes")
    assert finding.repair.startswith("Move what you need")


@pytest.mark.parametrize("kind", ["worktree", "directory"])
def test_a_clone_that_begins_while_the_doctor_is_at_work_is_left_alone(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It is not among what the doctor remembers from before."""
    root = repo.path if kind == "worktree" else tmp_path / "data"
    root.mkdir(exist_ok=True)
    project = Project.initialize(root)
    module = "workspaces.backends.worktree.registration" if kind == "worktree" else "workspaces.backends.directory.backend"
    put_in_place: Callable[[Path, Path], None] = resolve_name(f"{module}:put_in_place")
    explained: Callable[[Core], list[Workspace]] = resolve_name("workspaces.doctor:_explained")
    staged, go = Event(), Event()

    def slowly(made: Path, location: Path) -> None:
        staged.set()
        go.wait(60)
        put_in_place(made, location)

    monkeypatch.setattr(f"{module}.put_in_place", slowly)
    with ThreadPoolExecutor() as pool:
        cloning: list[Future[Repo]] = []

        def meanwhile(core: Core) -> list[Workspace]:
            known = explained(core)
            if not cloning:
                cloning.append(pool.submit(clone, Project.open(root), "late"))
                assert staged.wait(60)
            return known

        monkeypatch.setattr("workspaces.doctor._explained", meanwhile)
        try:
            assert project.doctor(repair=True).repaired == ()
        finally:
            go.set()
        assert cloning[0].result().path.is_dir()
    assert wrong(project) == []


@pytest.mark.parametrize("phase", ["creating", "deleting", "restoring"])
def test_a_workspace_between_two_states_is_brought_to_rest(project: Project, repo: Repo, phase: str) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    if phase == "restoring":
        project.delete(["fix"], discard_unmerged=True)
    store = Store(repo.path / ".git" / "workspaces" / "store.sqlite")
    phases = ("live", "deleted")
    (row,) = [each for each in store.workspaces("shop", phases) if each.name == "fix"]
    state = "deleted" if phase == "deleting" else "ready"
    store.save(row.model_copy(update={"state": state, "deleted": now(), "restorable_until": now() + timedelta(days=1)}), phase)
    assert "at rest" in wrong(project)
    assert project.doctor(repair=True).repaired
    assert wrong(project) == []
    assert fix.path.exists() == (phase == "restoring")
    if phase == "deleting":
        project.restore("fix")
    assert phase == "creating" or fix.read("cart.py") == "mine\n"


def test_damaged_objects_of_the_repository_are_told(project: Project, repo: Repo) -> None:
    blob = repo.git("rev-parse", "HEAD:cart.py")
    (repo.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert wrong(project) == ["fsck"]
    assert "missing" in next(finding.message for finding in project.doctor().findings if not finding.ok)
    assert [finding.check for finding in project.doctor(quick=True).findings if not finding.ok] == []


def test_repair_by_the_command_line(project: Project, repo: Repo) -> None:
    clone(project, "fix")
    store = repo.path / ".git" / "workspaces" / "store.sqlite"
    store.write_bytes(b"\0" * store.stat().st_size)
    command = [*program(), "doctor"]
    told = subprocess.run(command, cwd=repo.path, capture_output=True, text=True, check=False)
    assert (told.returncode, "damaged" in told.stderr, "--repair" in told.stderr) == (1, True, True)
    assert "Traceback" not in told.stderr
    done = subprocess.run([*command, "--repair"], cwd=repo.path, capture_output=True, text=True, check=False)
    assert (done.returncode, "all well" in done.stdout) == (0, True)
    assert Project.open(repo.path).find("fix").name == "fix"


def test_a_required_check_that_there_is_not_is_found_before_a_merge_fails_for_it(project: Project, repo: Repo) -> None:
    repo.write("workspaces.toml", "[checks.test]\nrun = 'true'\n[merge]\nrequire = ['test', 'nope']\n")
    (wrong,) = [finding for finding in project.doctor().findings if not finding.ok]
    assert (wrong.check, "'nope'" in wrong.message, "'test'" in wrong.message) == ("settings", True, False)


# -- gc -----------------------------------------------------------------------------------------------------------------------------------


def test_gc_removes_what_had_its_term_and_says_so_before(project: Project, repo: Repo) -> None:
    for name in ("old", "young"):
        clone(project, name).write("big.bin", os.urandom(1 << 20))
    project.delete(["old", "young"], discard_unmerged=True)
    old = deleted_at(repo, "old", 15)
    deleted_at(repo, "young", 13)
    user = fingerprint(repo)
    planned = project.gc(dry_run=True)
    assert [(each.id, each.why) for each in planned.freed] == [("shop/old", "its term is over")]
    assert planned.size > 1 << 20
    assert (repo.path / ".git" / "workspaces" / "trash" / old.uid).exists()
    done = project.gc()
    assert (done.freed, "1 stay restorable" in done.summary) == (planned.freed, True)
    assert not (repo.path / ".git" / "workspaces" / "trash" / old.uid).exists()
    assert repo.git("for-each-ref", f"refs/workspaces/shop/{old.uid}/") == ""
    with pytest.raises(NotFound):
        project.restore("old")
    project.restore("young")
    assert (fingerprint(repo), wrong(project)) == (user, [])


def test_gc_keeps_the_trash_within_its_size_and_nothing_young_goes(project: Project, repo: Repo) -> None:
    repo.write("workspaces.local.toml", "[trash]\nmax_gb = 0.0015\n")
    for name in ("one", "two", "three"):
        clone(project, name).write("big.bin", os.urandom(1 << 20))
    project.delete(["one", "two", "three"], discard_unmerged=True)
    assert project.gc().freed == ()
    for days, name in enumerate(("three", "two", "one"), 2):
        deleted_at(repo, name, days)
    assert [each.id for each in project.gc().freed] == ["shop/one", "shop/two"]


def test_gc_takes_abandoned_workspaces_only_where_that_loses_nothing(project: Project, repo: Repo) -> None:
    store = Store(repo.path / ".git" / "workspaces" / "store.sqlite")
    for name in ("idle", "merged", "busy"):
        project.clone(name=name, lease_seconds=60)
        if name != "idle":
            (repo.path / ".workspaces" / name / f"{name}.txt").write_text(f"{name}\n")
    project.merge("merged")
    for name in ("idle", "merged", "busy"):
        store.lease(project.find(name).uid, 60, now() - timedelta(hours=1), "")
    assert project.gc(dry_run=True).deleted == ()
    planned = project.gc(abandoned=True, dry_run=True)
    assert (set(planned.deleted), list(planned.kept)) == ({"shop/idle", "shop/merged"}, ["shop/busy"])
    done = project.gc(abandoned=True)
    assert (set(done.deleted), done.freed) == ({"shop/idle", "shop/merged"}, ())
    assert [each.name for each in project.status(detail="names").workspaces] == ["main", "busy"]
    project.restore("merged")
    assert project.gc(abandoned=True, discard_unmerged=True).deleted == ("shop/busy",)


def test_gc_on_the_command_line_asks_before_it_removes(project: Project, repo: Repo) -> None:
    clone(project, "old")
    project.delete(["old"])
    deleted_at(repo, "old", 15)
    command = [*program(), "gc"]
    asked = subprocess.run(command, cwd=repo.path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (asked.returncode, "--yes" in asked.stderr, "old" in asked.stdout) == (2, True, True)
    assert [each.name for each in project.status(include_deleted=True).workspaces] == ["main", "old"]
    subprocess.run([*command, "--yes"], cwd=repo.path, check=True, capture_output=True)
    assert [each.name for each in project.status(include_deleted=True).workspaces] == ["main"]


# -- settings -----------------------------------------------------------------------------------------------------------------------------


def test_the_term_of_the_trash_is_set_in_the_configuration(project: Project, repo: Repo) -> None:
    repo.write("workspaces.toml", "[trash]\ndays = 3\n")
    clone(project, "fix")
    until = project.delete(["fix"]).restorable_until
    assert until is not None
    assert timedelta(days=2, hours=23) < until - now() <= timedelta(days=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# ours\ndurabel = false\n", "workspaces.toml, line 2: there is no setting 'durabel'. Did you mean 'durable'? Nothing was done."),
        ("[trash]\n\ndays = 0\n", "workspaces.toml, line 3: trash.days is 0; it must be 1 or more. Nothing was done."),
        ("[trash]\ndays = 1.5\n", "workspaces.toml, line 2: trash.days is 1.5; it must be a whole number."),
        ("[trash]\ndasy = 3\n", "line 2: there is no setting 'trash.dasy'. Did you mean 'trash.days'?"),
        ("trash.dasy = 3\n", "line 1: there is no setting 'trash.dasy'. Did you mean 'trash.days'?"),
        ("trash = {dasy = 3}\n", "line 1: there is no setting 'trash.dasy'. Did you mean 'trash.days'?"),
        ("[trsh]\ndays = 3\n", "line 1: there is no setting 'trsh'. Did you mean 'trash'?"),
        ("trash = 3\n", "line 1: trash is 3; it must be a table of settings."),
        ("= no toml", "workspaces.toml is no TOML: Invalid statement (at line 1, column 1)"),
        ("durable = 7\n", "line 1: durable is 7; it must be true or false."),
        ("a = " + "[" * 20_000, "is no TOML"),
        ("[trash]\nmax_gb = inf\n", "line 2: trash.max_gb is Infinity; it must be a finite number."),
        ("[trash]\nmax_gb = [1]\n", "line 2: trash.max_gb is [1]; it must be a number."),
        ("[trash]\ndays = 2026-01-01\n", 'line 2: trash.days is "2026-01-01"; it must be a whole number.'),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_file_line_and_name(project: Project, repo: Repo, text: str, said: str) -> None:
    repo.write("workspaces.toml", text)
    with pytest.raises(InvalidArgument) as refused:
        project.clone(name="fix")
    assert said in refused.value.message
    assert "pydantic" not in str(refused.value.body)
    repo.write("workspaces.toml", "[trash]\ndays = 3\n")
    repo.write("workspaces.local.toml", text)
    with pytest.raises(InvalidArgument) as refused:
        project.clone(name="fix")
    assert said.replace("workspaces.toml", "workspaces.local.toml") in refused.value.message


def test_settings_are_not_read_through_a_link(project: Project, repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text("durable = false\n")
    (repo.path / "workspaces.toml").symlink_to(tmp_path / "elsewhere.toml")
    with pytest.raises(InvalidArgument, match="symbolic link"):
        project.clone(name="fix")


def test_speed_may_be_preferred_to_durability(repo: Repo, tmp_path: Path) -> None:
    """With `durable = false` nothing is synced, and all works as it does."""
    script = """
import os, sys
from pathlib import Path
from workspaces import Project
calls = []
os.fsync = calls.append
project = Project.initialize(Path(sys.argv[1]))
fix = Path(project.clone(name=sys.argv[2]).workspaces[0].location)
(fix / "cart.py").write_text(sys.argv[2])
project.merge(sys.argv[2])
print(len(calls))
"""
    counts: list[int] = []
    for name, setting in (("safe", "true"), ("fast", "false")):
        repo.write("workspaces.local.toml", f"durable = {setting}\n")
        done = subprocess.run([*python(), "-c", script, str(repo.path), name], capture_output=True, text=True, check=True)
        counts.append(int(done.stdout))
    assert counts[0] > 5
    assert counts[1] == 0
    assert repo.read("cart.py") == "fast"


def test_settings_that_came_by_a_merge_do_not_lock_the_way_back(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("workspaces.toml", "x = 1\n")
    project.merge("fix")
    project = Project.open(repo.path)
    assert [finding.check for finding in project.doctor().findings if not finding.ok] == ["settings"]
    assert len(project.status().workspaces) == 2
    with pytest.raises(InvalidArgument, match="x"):
        project.merge("fix")
    project.undo()
    assert clone(project, "other").path.exists()


def test_what_is_no_text_is_refused_and_never_a_bug(project: Project, repo: Repo) -> None:
    with pytest.raises(InvalidArgument, match="request_key"):
        project.clone(name="fix", request_key="\udcff")
    made = Project.open(repo.path, actor="a\udcff\nb").clone(name="fix", task="\udcff", request_key="a").workspaces[0]
    assert (made.owner, made.task) == ("a? b", "?")


def test_texts_are_kept_as_they_can_be_shown_anywhere(project: Project, repo: Repo) -> None:
    (fix,) = project.clone(name="fix", task="Fix\x7f\u202eit\r\n\tthen rest\x9b", labels=["a\x1b[2J\nb", "\u2067c", "名前"]).workspaces
    assert (fix.task, fix.labels) == ("Fix??it\n\tthen rest?", ("a?[2J b", "?c", "名前"))
    at(fix).write("cart.py", "fixed\n")
    project.merge("fix", message="Say\x1b]0;it\u2066")
    assert repo.git("log", "-1", "--format=%s") == "Say?]0;it?"


def test_a_clone_that_was_copied_with_its_project_is_named(project: Project, repo: Repo, tmp_path: Path) -> None:
    """Whoever commits in there moves the clone of the first project."""
    clone(project, "fix")
    shutil.copytree(repo.path, tmp_path / "copy", symlinks=True)
    copied = Project.initialize(tmp_path / "copy")
    assert wrong(copied) == ["strays"]
    told = {finding.check: finding for finding in copied.doctor().findings}["strays"].message
    assert (
        f"{tmp_path / 'copy' / '.workspaces' / 'fix'} (git run in there acts on another repository: its .git leads to {repo.path}" in told
    )
    assert wrong(project) == []


def test_the_trash_is_looked_into(project: Project, repo: Repo) -> None:
    clone(project, "gone")
    clone(project, "lost")
    uid = project.find("lost").uid
    project.delete(["gone", "lost"])
    told = {finding.check: finding for finding in project.doctor(quick=True).findings}["trash"]
    assert told.ok and told.message == "2 deleted workspaces are whole in the trash"
    trash = repo.path / ".git" / "workspaces" / "trash"
    shutil.rmtree(trash / uid / "tree")
    told = {finding.check: finding for finding in project.doctor(quick=True).findings}["trash"]
    assert told.ok and "nothing is left of shop/lost" in told.message
    (trash / "theirs").mkdir()
    assert wrong(project) == ["trash"]
    assert str(trash / "theirs") in {finding.check: finding for finding in project.doctor().findings}["trash"].message
    assert (trash / "theirs").exists()
