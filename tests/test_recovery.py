"""A process that is killed anywhere leaves nothing half done that the next one does not end."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name

import pytest
from conformance.forking import python
from support import REFS_WRITTEN, Repo, clone, fingerprint

from workspaces import Project
from workspaces.errors import Busy, Exists

CLONER = """
import sys
from pathlib import Path
from workspaces import Project
project = Project.initialize(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(1000):
    (made,) = project.clone(name=f"clone-{number}").workspaces
    print(made.name, flush=True)
"""
MERGER = """
import sys
from pathlib import Path
from workspaces import Project
project = Project.initialize(Path(sys.argv[1]))
fix = Path(project.find("fix").location)
print("ready", flush=True)
for number in range(1000):
    for name in range(20):
        (fix / f"file-{name}.txt").write_text(f"{number}\\n")
    print(project.merge("fix").commit, flush=True)
"""
DELETER = """
import sys
from pathlib import Path
from workspaces import Project
project = Project.initialize(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(1000):
    print(project.delete(["fix"], discard_unmerged=True).deleted[0], flush=True)
    print(project.restore("fix").workspace.id, flush=True)
"""


def killed(script: str, repo: Repo, after: float, children_too: bool = False) -> list[str]:
    """Run a script on the repository, kill it (and its git children, if asked) after some time; return the lines that it acknowledged."""
    command = [sys.executable, "-c", script, str(repo.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)
        if children_too:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(signal.SIGKILL)
        return process.stdout.read().splitlines()


def whole(project: Project, repo: Repo) -> None:
    """Assert that all is whole after recovery."""
    project.status()
    assert [finding for finding in project.doctor().findings if not finding.ok] == []
    assert project.log(1000).operations and all(operation.state != "started" for operation in project.log(1000).operations)
    names = {workspace.name for workspace in project.status(detail="names").workspaces} - {"main"}
    folder = repo.path / ".workspaces"
    assert {entry.name for entry in folder.iterdir() if entry.name != ".gitignore"} == names
    assert repo.git("worktree", "list", "--porcelain").count("worktree ") == 1 + len(names)
    assert list((repo.path / ".git" / "workspaces" / "new").glob("*")) == []
    assert repo.git("fsck", "--connectivity-only", "--no-dangling") == ""


@pytest.mark.parametrize("seed", range(4))
def test_clones_are_whole_or_gone(project: Project, repo: Repo, seed: int) -> None:
    clone(project, "first")
    made = killed(CLONER, repo, random.Random(seed).uniform(0.0, 0.4))
    project = Project.open(repo.path)
    whole(project, repo)
    names = {workspace.name for workspace in project.status(detail="names").workspaces}
    assert set(made) <= names
    assert len(names - {"main", "first"}) <= len(made) + 1
    for name in names - {"main"}:
        assert Repo(repo.path / ".workspaces" / name).status() == []


@pytest.mark.parametrize("children_too", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_merges_are_whole_or_never_happened(project: Project, repo: Repo, seed: int, children_too: bool) -> None:
    for number in range(20):
        repo.write(f"file-{number}.txt", "start\n")
    repo.commit("files")
    clone(project, "fix")
    repo.write("notes.md", "dirty\n")
    merged = [commit for commit in killed(MERGER, repo, random.Random(seed).uniform(0.0, 0.8), children_too) if commit]
    project = Project.open(repo.path)
    project.checkpoint("main")
    (repo.path / ".git" / "HEAD.lock").unlink(missing_ok=True)
    whole(project, repo)
    history = repo.git("rev-list", "HEAD").split()
    assert set(merged) <= set(history)
    assert repo.status() == [" M notes.md"]
    assert len({repo.read(f"file-{number}.txt") for number in range(20)}) == 1
    assert project.merge("fix").status in ("merged", "up_to_date")


@pytest.mark.parametrize("seed", range(4))
def test_deletes_are_ended(project: Project, repo: Repo, seed: int) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    fix.write(".env", "ignored\n")
    before = fingerprint(fix)
    killed(DELETER, repo, random.Random(seed).uniform(0.0, 0.3))
    project = Project.open(repo.path)
    whole(project, repo)
    if not fix.path.exists():
        project.restore("fix")
    assert fingerprint(fix) == before


@pytest.mark.parametrize("changed", [4, 6])
def test_files_that_git_had_not_finished_are_put_right(project: Project, repo: Repo, changed: int) -> None:
    """What a kill inside of git's switch leaves: files removed, begun or empty, an old index and its lock; some of them, or all."""
    for number in range(8):
        repo.write(f"f{number}", f"{number}\n" * 50)
    repo.commit("files")
    fix = clone(project, "fix")
    for number in range(changed):
        fix.write(f"f{number}", "new\n" * 50)
    script = """
import os, sys
from pathlib import Path
from workspaces import Project
import workspaces.backends.worktree.checkout as checkout
def die(git, old, new, _):
    for number, step in enumerate(checkout.steps(git, old, new)):
        file = git.work_tree / os.fsdecode(step.path)
        if number < 2:
            file.unlink()
        elif number < 4:
            file.write_bytes(b"ne" * (number - 2))
    (git.git_dir / "index.lock").write_bytes(b"")
    os._exit(9)
checkout._switch = die
Project.open(Path(sys.argv[1])).merge("fix")
"""
    assert subprocess.run([*python(), "-c", script, str(repo.path)], check=False).returncode == 9
    project = Project.open(repo.path)
    project.checkpoint("main")
    assert repo.status() == []
    assert project.merge("fix").status == "merged"


DIES_AT = """
import os, sys
from pathlib import Path
from workspaces import Project
import workspaces.backends.worktree.checkout as checkout
def die(move):
    for lock in sys.argv[2:]:
        Path(sys.argv[1], ".git", lock).touch()
    os._exit(9)
checkout._updated_head = die
Project.open(Path(sys.argv[1])).merge("fix")
"""


def test_the_locks_of_a_git_that_died_at_moving_the_head_are_no_obstacle(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("new/file.txt", "new\n")
    assert subprocess.run([*python(), "-c", DIES_AT, str(repo.path), "HEAD.lock", "refs/heads/trunk.lock"], check=False).returncode == 9
    project = Project.open(repo.path)
    project.checkpoint("main")
    whole(project, repo)
    assert (repo.read("new/file.txt"), repo.status()) == ("new\n", [])


def test_a_merge_that_is_rolled_back_leaves_no_empty_folders(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("new/er/file.txt", "new\n")
    fix.write("cart.py", "new\n")
    assert subprocess.run([*python(), "-c", DIES_AT, str(repo.path)], check=False).returncode == 9
    repo.write("cart.py", "mine\n")
    project = Project.open(repo.path)
    project.checkpoint("main")
    assert project.log().operations[1].state == "failed"
    assert not (repo.path / "new").exists()


def test_a_lock_is_held_as_long_as_a_child_of_the_dead_lives(project: Project, repo: Repo, tmp_path: Path) -> None:
    """A slow filter of the person's keeps git alive after its server was killed; nobody else may write meanwhile."""
    slow = tmp_path / "slow.sh"
    started, go = repo.path / ".git/workspaces/tmp/started", tmp_path / "go"  # filters may write only there
    slow.write_text(f'#!/bin/sh\ntouch "$TMPDIR/started"\nwhile [ ! -e {go} ]; do sleep 0.05; done\ncat\n')
    slow.chmod(0o755)
    subprocess.run(["git", "config", "--global", "filter.slow.smudge", str(slow)], check=True)
    clone(project, "fix").write("cart.py", "mine\n")
    repo.write(".gitattributes", "cart.py filter=slow\n")
    repo.commit("attributes")
    script = f"from pathlib import Path; from workspaces import Project; Project.open(Path({str(repo.path)!r})).merge('fix')"
    process = subprocess.Popen([sys.executable, "-c", script])
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    later = threading.Timer(0.5, go.touch)
    try:
        with pytest.raises(Busy, match="being changed"):
            Project.open(repo.path, patience=0.2).checkpoint("main")
    finally:
        later.start()
    patient = Project.open(repo.path)
    assert patient.checkpoint("main").restore_point
    later.join()
    assert patient.merge("fix").status in ("merged", "up_to_date")
    assert repo.read("cart.py") == "mine\n"
    assert repo.status() == []


def test_a_switch_that_fails_is_taken_back(project: Project, repo: Repo) -> None:
    """A limit on the size of files stops git in the middle of its switch, as a full disk would."""
    for name in "abc":
        repo.write(name, "small\n")
    repo.commit("files")
    fix = clone(project, "fix")
    for name in "ac":
        fix.write(name, "changed\n")
    fix.write("b", "y\n" * 1_500_000)
    fix.commit("large, and small where it is packed")
    script = (
        "import resource, sys; from pathlib import Path; from workspaces import Project, WorkspacesError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))\n"
        "try: Project.open(Path(sys.argv[1])).merge('fix')\n"
        "except WorkspacesError as error: sys.exit(error.code)"
    )
    done = subprocess.run([*python(), "-c", script, str(repo.path)], capture_output=True, text=True, check=False)
    assert done.stderr.strip() in ("no_space", "backend_failed")
    assert repo.status() == []
    assert not (repo.path / ".git" / "index.lock").exists()
    assert [operation.state for operation in project.log().operations if operation.verb == "merge"] == ["failed"]
    assert project.merge("fix").status == "merged"


def test_the_lock_of_a_dead_git_on_our_own_refs_is_no_obstacle(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    (own,) = (repo.path / ".git" / "refs" / "workspaces" / "shop").iterdir()
    (own / "deleted.lock").touch()
    project.delete(["fix"], discard_unmerged=True)
    project.restore("fix")
    assert fix.read("cart.py") == "mine\n"


DIES_AMONG_MANY = """
import os, signal, sys
from pathlib import Path
from workspaces import Project
def die(done, total, message):
    if done == 10:
        os.kill(os.getpid(), signal.SIGKILL)
Project.open(Path(sys.argv[1])).clone(count=100, name="many", progress=die)
"""


def test_a_killed_call_for_many_clones_leaves_none(project: Project, repo: Repo) -> None:
    assert subprocess.run([sys.executable, "-c", DIES_AMONG_MANY, str(repo.path)], check=False).returncode == -signal.SIGKILL
    assert 10 <= len([*(repo.path / ".workspaces").glob("many-*")]) < 100
    until = time.monotonic() + 60
    while repo.git("worktree", "list").count("\n") and time.monotonic() < until:
        project = Project.open(repo.path)  # what it had started may be at work for a moment, and holds its locks
        assert [workspace.name for workspace in project.status().workspaces] == ["main"]
    assert repo.git("worktree", "list").count("\n") == 0
    assert len(project.clone(count=3, name="many").workspaces) == 3


DIES_AT_THE_HEAD = """
import os, sys
from pathlib import Path
from workspaces import Project
import workspaces.backends.worktree.checkout as checkout
def die(move):
    for name in ("HEAD.lock", "refs/heads/trunk.lock"):
        (move.git.git_dir / name).touch()
    os._exit(9)
checkout._updated_head = die
Project.open(Path(sys.argv[1])).merge("fix")
"""
DIES_AT_A_FOLDER = """
import os, sys
from pathlib import Path
from workspaces import Project
import workspaces.backends.worktree.checkout as checkout
def die(git, old, new, _):
    (git.work_tree / "new" / "deep").mkdir(parents=True)
    os._exit(9)
checkout._switch = die
Project.open(Path(sys.argv[1])).merge("fix")
"""
DIES_ROLLING_BACK = """
import os, sys
from pathlib import Path
from workspaces import Project
import workspaces.backends.worktree.registration as registration
def die(repository, *rest):
    (repository.common_dir / "packed-refs.lock").touch()
    os._exit(9)
registration.fork = die
Project.open(Path(sys.argv[1])).clone(name="fix")
"""
DIES_WRITING_DOWN = """
import os, sys
from pathlib import Path
from workspaces import Project
from workspaces.store import Store
finish = Store.finish
def die(self, *args, **named):
    finish(self, *args, **named)
    os._exit(9)
Store.finish = die
Project.open(Path(sys.argv[1])).undo()
"""


def dies(script: str, repo: Repo, *words: str) -> None:
    assert subprocess.run([*python(), "-c", script, str(repo.path), *words], check=False).returncode == 9


def test_locks_that_a_dead_git_left_on_the_branch_are_taken_away(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    dies(DIES_AT_THE_HEAD, repo)
    project.checkpoint("main")
    assert list((repo.path / ".git").glob("*.lock")) + list((repo.path / ".git" / "refs").rglob("*.lock")) == []
    assert project.merge("fix").status in ("merged", "up_to_date")
    assert repo.status() == []


def test_folders_that_a_dead_git_made_go(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("new/deep/file.txt", "mine\n")
    dies(DIES_AT_A_FOLDER, repo)
    project = Project.open(repo.path)
    assert not (repo.path / "new").exists()


@pytest.mark.parametrize("refs", [True, False], ids=["before its refs were gone", "after they were"])
def test_a_lock_that_a_dead_git_left_on_the_packed_refs_does_not_keep_a_clone_from_being_taken_back(
    project: Project, repo: Repo, refs: bool
) -> None:
    first = clone(project, "first")
    dies(DIES_ROLLING_BACK, repo)
    if not refs:
        kept = {str(project.find(name).uid) for name in ("main", first.path.name)}
        for folder in (repo.path / ".git" / "refs" / "workspaces" / "shop").iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder)
    until = time.monotonic() + 60
    while any(operation.state == "started" for operation in project.log().operations) and time.monotonic() < until:
        time.sleep(0.1)
        project = Project.open(repo.path)
    whole(project, repo)
    assert not (repo.path / ".git" / "packed-refs.lock").exists()


def test_taking_a_merge_back_is_written_down_as_one(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    project.merge("fix")
    dies(DIES_WRITING_DOWN, repo)
    project = Project.open(repo.path)
    assert [(each.verb, each.state) for each in project.log().operations[:2]] == [("restore", "done"), ("merge", "undone")]
    assert project.merge("fix").status == "merged"


LOOKER = """
import sys
from pathlib import Path
from workspaces import Project
project = Project.open(Path(sys.argv[1]))
project.compare(["fix"])
print("ready", flush=True)
while True:
    project.compare(["fix"])
"""


def test_what_killed_calls_left_in_the_scratch_folder_goes(project: Project, repo: Repo) -> None:
    clone(project, "fix")
    killed(LOOKER, repo, 0.3)
    for lock in (repo.path / ".git" / "workspaces" / "tmp").glob("aside-*/lock"):
        with lock.open() as held:  # by a git child that outlived its server, until it ends
            fcntl.flock(held, fcntl.LOCK_EX)
    project.status()
    assert list((repo.path / ".git" / "workspaces" / "tmp").glob("aside-*/lock")) == []


@pytest.mark.parametrize("left", ["{dead} {here}", f"{10**30} {{here}}", "", "no number here"])
def test_what_a_killed_gc_left_counts_for_nothing(project: Project, repo: Repo, left: str) -> None:
    """Else every snapshot would bring its own copy of all that it found, for ever."""
    file = clone(project, "fix").write("new.txt", "new\n")
    blob = repo.git("hash-object", "-w", str(file))
    with subprocess.Popen(["true"]) as ended:
        pass
    (repo.path / ".git" / "gc.pid").write_text(left.format(dead=ended.pid, here=socket.gethostname()))
    project.checkpoint("fix")
    packs = [str(pack) for pack in (repo.path / ".git" / "objects" / "pack").glob("*.idx")]
    assert not any(blob in repo.git("verify-pack", "-v", pack) for pack in packs)


def test_what_a_running_gc_is_about_to_prune_is_kept_by_a_snapshot_that_needs_it(project: Project, repo: Repo) -> None:
    """Nothing refers to it when gc looks, so it goes, though a snapshot that is taken meanwhile found it there and did not write it again."""
    file = clone(project, "fix").write("new.txt", "new\n")
    blob = repo.git("hash-object", "-w", str(file))
    (repo.path / ".git" / "gc.pid").write_text("1 elsewhere")
    project.checkpoint("fix")
    (repo.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert repo.git("cat-file", "-t", blob) == "blob"
    assert repo.git("fsck", "--connectivity-only", "--no-dangling") == ""


WAITS = """#!/bin/sh
{real} "$@" || exit
case "$1" in pack-objects) touch {packed}; while [ ! -e {go} ]; do sleep 0.02; done ;; esac
"""
"""git as `git gc` starts it: it waits when it has looked at what refs name, before it removes what they do not."""


def taken_back(project: Project, repo: Repo) -> None:
    """Leave the objects of a snapshot of main in the repository, with nothing that refers to them."""
    repo.write("cart.py", "dirty\n")
    (repo.path / ".workspaces" / "fix").mkdir(parents=True)
    with pytest.raises(Exists):
        project.clone(name="fix")
    (repo.path / ".workspaces" / "fix").rmdir()


def test_a_repack_that_had_looked_before_takes_nothing_away_under_a_new_clone(
    project: Project, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It removes the packs that it had found by their names: equal contents must not come into one that it is about to remove."""
    taken_back(project, repo)
    packed, go = tmp_path / "packed", tmp_path / "go"
    slow = tmp_path / "core" / "git"
    slow.parent.mkdir()
    slow.write_text(WAITS.format(real=shutil.which("git"), packed=packed, go=go))
    slow.chmod(0o755)
    with subprocess.Popen(["git", "gc", "-q", "--prune=now"], cwd=repo.path, env={**os.environ, "GIT_EXEC_PATH": str(slow.parent)}) as gc:
        while not packed.exists():
            assert gc.poll() is None
            time.sleep(0.02)
        fix = clone(project, "fix")
        go.touch()
    assert gc.returncode == 0
    assert fix.read("cart.py") == "dirty\n"
    assert repo.git("fsck", "--connectivity-only", "--no-dangling") == ""


def test_a_gc_that_comes_just_before_the_refs_leaves_a_call_whole_or_undone(
    project: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_back(project, repo)
    write: Callable[[Path, Mapping[str, str]], None] = resolve_name(REFS_WRITTEN)

    def collected(common_dir: Path, names: Mapping[str, str]) -> None:
        repo.git("gc", "-q", "--prune=now")
        write(common_dir, names)

    monkeypatch.setattr(REFS_WRITTEN.replace(":", "."), collected)
    assert clone(project, "fix").read("cart.py") == "dirty\n", "what was taken away is brought in when it looks once more"
    assert repo.git("fsck", "--connectivity-only", "--no-dangling") == ""


# -- somebody goes on before anybody ends what was killed ---------------------------------------------------------------------------------

DIES_IN_A_MOVE = """
import os, sys
from pathlib import Path
from workspaces import Project
import workspaces.backends.worktree.checkout as checkout
root, at, call = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def die(*args, **keywords):
    os._exit(9)
def half(git, old, new, _):
    whole = checkout.steps(git, old, new)
    for step in whole[: len(whole) // 2]:
        blob = git.run("cat-file", "blob", step.new.blob)
        (git.work_tree / os.fsdecode(step.path)).write_bytes(blob)
    os._exit(9)
if at == "before":
    checkout._wait_for_locks = die
elif at == "half":
    checkout._switch = half
elif at == "arrived":
    checkout._updated_head = die
else:
    import workspaces.history as history, workspaces.merging.carrying as carrying
    carrying.record = history.record_restore = die
project = Project.open(root)
{
    "merge": lambda: project.merge("fix"),
    "bring": lambda: project.merge("fix", "other"),
    "undo": lambda: project.undo(),
    "restore": lambda: project.restore("fix", "fix@1"),
}[call]()
"""


def commits_own_file(folder: Repo) -> None:
    folder.write("own.txt", "own\n")
    folder.git("add", "own.txt")
    folder.git("commit", "-q", "-m", "own", "own.txt")


def commits_all(folder: Repo) -> None:
    folder.write("own.txt", "own\n")
    folder.commit("all that is there")


def commits_staged(folder: Repo) -> None:
    folder.write("own.txt", "own\n")
    folder.git("add", "own.txt")
    folder.git("commit", "-q", "-m", "what is staged")


def amends(folder: Repo) -> None:
    folder.write("own.txt", "own\n")
    folder.git("add", "own.txt")
    folder.git("commit", "-q", "--amend", "--no-edit", "own.txt")


def throws_away(folder: Repo) -> None:
    folder.git("reset", "-q", "--hard")
    commits_own_file(folder)


def goes_back(folder: Repo) -> None:
    folder.git("reset", "-q", "--hard", "HEAD~1")
    commits_own_file(folder)


def branches_off(folder: Repo) -> None:
    folder.git("checkout", "-q", "-b", "elsewhere")
    commits_own_file(folder)


@pytest.mark.parametrize(
    "goes_on", [commits_own_file, commits_all, commits_staged, amends, throws_away, goes_back, branches_off], ids=lambda each: each.__name__
)
@pytest.mark.parametrize("at", ["before", "half", "arrived", "moved"])
@pytest.mark.parametrize("call", ["merge", "bring", "undo"])
def test_who_goes_on_before_a_killed_move_is_ended_keeps_his_work_and_can_go_on(
    project: Project, repo: Repo, call: str, at: str, goes_on: Callable[[Repo], None]
) -> None:
    for number in range(4):
        repo.write(f"f{number}", f"{number}\n" * 20)
    repo.commit("files")
    repo.write("one-more", "so that one can go back\n")
    repo.commit("one more")
    fix, mine = clone(project, "fix"), clone(project, "other") if call == "bring" else repo
    for number in range(4):
        fix.write(f"f{number}", "changed\n" * 20)
    if call == "undo":
        project.merge("fix")
    dies(DIES_IN_A_MOVE, repo, at, call)
    for lock in (repo.path / ".git").glob("**/index.lock"):
        lock.unlink()  # as git tells him to
    goes_on(mine)
    committed = {path: mine.git("show", f"HEAD:{path}") for path in mine.git("ls-files").split()}

    project = Project.open(repo.path)
    assert [each.state for each in project.log().operations if each.state == "started"] == []
    assert mine.status() == []
    assert {path: mine.read(path).strip() for path in mine.git("ls-files").split()} == committed
    brought = committed["f0"] if "Merge workspace fix" in mine.git("log", "--format=%s") else "changed\n" * 20
    fix.write("later.txt", "later\n")
    target = "other" if call == "bring" else "main"
    project.checkpoint(target)
    assert project.merge("fix", target, on_conflict="source").status == "merged"
    assert (mine.read("later.txt"), mine.read("own.txt"), mine.read("f0").strip()) == ("later\n", "own\n", brought.strip())
    assert [finding for finding in project.doctor(quick=True).findings if not finding.ok] == []


@pytest.mark.parametrize("made", ["one/mine.txt", "one/build/mine.log", "d", "link d"])
def test_what_somebody_made_where_a_killed_merge_had_been_is_not_put_away(project: Project, repo: Repo, made: str) -> None:
    """git would remove a folder that is where a file goes back, and a file or link where its folder was."""
    repo.write("one", "one\n")
    repo.write("d/only", "only\n")
    repo.commit("files")
    fix = clone(project, "fix")
    (fix.path / "one").unlink()
    fix.write("one/x", "x\n")
    (fix.path / "d" / "only").unlink()
    dies(DIES_IN_A_MOVE, repo, "arrived", "merge")
    path = made.removeprefix("link ")
    if made == path:
        repo.write(path, "mine\n")
    else:
        (repo.path / path).symlink_to("cart.py")
    commits_own_file(repo)
    project = Project.open(repo.path)
    assert [each.state for each in project.log(2).operations] == ["failed", "done"]
    assert repo.read(path) == ("mine\n" if made == path else repo.read("cart.py"))
    assert (repo.path / path).is_symlink() == (made != path)
    assert repo.read("own.txt") == "own\n"


@pytest.mark.parametrize("at", ["arrived", "moved"])
def test_the_index_goes_back_with_the_files_where_a_killed_restore_does(project: Project, repo: Repo, at: str) -> None:
    """Else the next commit would take back what was restored from, unseen."""
    fix = clone(project, "fix")
    fix.write("cart.py", "first\n")
    project.checkpoint("fix")
    fix.write("cart.py", "second\n")
    fix.commit("second")
    dies(DIES_IN_A_MOVE, repo, at, "restore")
    commits_own_file(fix)
    project = Project.open(repo.path)
    done = project.log(1).operations[0].state
    assert done == ("done" if at == "moved" else "failed")
    if at == "arrived":
        assert (fix.status(), fix.read("cart.py")) == ([], "second\n")
    assert fix.git("diff", "--cached") == ""
    assert fix.read("own.txt") == "own\n"
