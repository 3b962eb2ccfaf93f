"""The directory backend: which folder becomes one, what its change detection must never miss, and what only folders can meet."""

from __future__ import annotations

import mmap
import os
import random
import socket
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from conformance.forking import python
from support import Repo, at, clone

from workspaces import Project
from workspaces.backend import find
from workspaces.errors import BackendFailed, Exists, NotAProject, TargetMoved, UnmergedChanges, Unsupported, WorkspacesError
from workspaces.model import MAIN, Workspace


@pytest.fixture
def data(tmp_path: Path) -> Repo:
    """A folder that is no repository."""
    folder = tmp_path / "survey"
    folder.mkdir()
    made = Repo(folder)
    made.write("table.csv", "".join(f"{number},{number * number}\n" for number in range(1, 31)))
    made.write("notes/intro.md", "# Survey\n")
    made.write("notes/method.md", "Ask.\n")
    return made


@pytest.fixture
def survey(data: Repo) -> Project:
    return Project.initialize(data.path)


def changed(project: Project, name: str) -> list[tuple[str, str]]:
    return sorted((change.path, change.status) for change in project.compare([name], detail="files").files)


# -- which backend ------------------------------------------------------------------------------------------------------------------------


def test_auto_takes_a_repository_as_worktrees_and_any_other_folder_as_it_is(repo: Repo, data: Repo) -> None:
    assert Project.initialize(repo.path).described().backend == "worktree"
    assert Project.initialize(data.path).described().backend == "directory"


def test_a_folder_is_no_project_until_it_is_initialized(data: Repo) -> None:
    with pytest.raises(NotAProject, match="in no project"):
        Project.open(data.path)
    assert not (data.path / ".workspaces").exists()


def test_the_project_is_found_from_inside_of_it_and_of_a_workspace(survey: Project, data: Repo) -> None:
    fix = clone(survey, "fix")
    (fix.path / ".workspaces" / ".state").mkdir(parents=True)
    for place in (data.path / "notes", fix.path, fix.path / "notes"):
        assert Project.open(place).root == data.path


def test_the_whole_file_system_is_refused() -> None:
    with pytest.raises(NotAProject, match="whole file system"):
        Project.initialize(Path("/"), "directory")


def test_a_repository_with_workspaces_is_not_taken_by_a_second_backend(repo: Repo, project: Project) -> None:
    clone(project, "fix")
    with pytest.raises(Exists, match="project of the worktree backend"):
        Project.initialize(repo.path, "directory")
    project.delete(["fix"])


def test_there_are_no_commits(survey: Project) -> None:
    clone(survey, "fix").write("new.md", "new\n")
    with pytest.raises(Unsupported, match="no commits"):
        survey.merge("fix", history="merge")
    with pytest.raises(Unsupported, match="nothing in it is uncommitted"):
        survey.clone(include_uncommitted=False)


# -- a repository as a folder ---------------------------------------------------------------------------------------------------------------


def test_a_repository_as_a_folder_is_copied_with_its_own_git_directory(repo: Repo) -> None:
    repo.write(".env", "SECRET=1\n")
    repo.write("cart.py", "dirty\n")
    project = Project.initialize(repo.path, "directory")
    (made,) = project.clone(name="fix").workspaces
    fix = at(made)
    assert made.isolation.startswith("private-gitdir")
    assert (fix.read(".env"), fix.status()) == ("SECRET=1\n", [" M cart.py"])
    start = repo.head
    fix.commit("in the copy")
    assert (repo.head, repo.git("rev-list", "--all", "--count")) == (start, "1")
    assert "commits of its own in ." in " ".join(project.compare(["fix"]).warnings)


def test_commits_in_a_copy_are_not_merged_and_not_thrown_away_unasked(repo: Repo) -> None:
    project = Project.initialize(repo.path, "directory")
    fix = clone(project, "fix")
    fix.write("cart.py", "better\n")
    fix.commit("better")
    head = repo.head
    assert [change.path for change in project.merge("fix").files] == ["cart.py"]
    assert (repo.head, repo.status()) == (head, [" M cart.py"])
    with pytest.raises(UnmergedChanges, match="repositories of its own"):
        project.delete(["fix"])
    project.delete(["fix"], discard_unmerged=True)
    project.undo()
    assert fix.git("log", "-1", "--format=%s") == "better"


def test_a_checkpoint_holds_the_git_directory_too(repo: Repo) -> None:
    project = Project.initialize(repo.path, "directory")
    fix = clone(project, "fix")
    fix.write("cart.py", "one\n")
    head = fix.commit("one")
    project.checkpoint("fix", "one")
    fix.write("cart.py", "two\n")
    fix.commit("two")
    project.restore("fix", "one")
    assert (fix.head, fix.status(), fix.git("fsck")) == (head, [], "")


# -- nothing is missed ----------------------------------------------------------------------------------------------------------------------


def test_an_edit_dated_back_is_seen(survey: Project) -> None:
    fix = clone(survey, "fix")
    file = fix.path / "table.csv"
    for text in (b"X", b"Y"):
        before = file.stat()
        with file.open("r+b") as opened:
            opened.write(text)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert changed(survey, "fix") == [("table.csv", "modified")]
        assert f"+{text.decode()}" in survey.compare(["fix"], detail="diff").diff


def test_edits_within_the_tick_of_a_look_are_seen(survey: Project) -> None:
    fix = clone(survey, "fix")
    file = fix.path / "notes" / "intro.md"
    before = file.stat()
    for number in range(40):
        text = f"# Draft {number:02d}\n"
        file.write_text(text)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert f"+{text}" in survey.compare(["fix"], detail="diff").diff


def test_a_write_through_memory_is_seen(survey: Project) -> None:
    fix = clone(survey, "fix")
    with (fix.path / "table.csv").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        for letter in b"ABC":
            memory[0] = letter
            assert f"+{letter:c}" in survey.compare(["fix"], detail="diff").diff


def test_what_was_only_touched_is_no_change(survey: Project, data: Repo) -> None:
    data.write("large.bin", os.urandom(3 << 20))
    fix = clone(survey, "fix")
    for name in ("large.bin", "table.csv"):
        os.utime(fix.path / name)
        (fix.path / f"{name}.copy").write_bytes((fix.path / name).read_bytes())
        (fix.path / f"{name}.copy").rename(fix.path / name)
    assert changed(survey, "fix") == []
    assert survey.merge("fix").status == "up_to_date"


def test_a_large_file_dated_ahead_is_nothing_special(survey: Project, data: Repo) -> None:
    data.write("large.bin", os.urandom(1 << 20))
    os.utime(data.path / "large.bin", ns=(0, 4_000_000_000_000_000_000))
    fix = clone(survey, "fix")
    assert (fix.path / "large.bin").stat().st_mtime_ns == 4_000_000_000_000_000_000
    assert changed(survey, "fix") == []


def test_permissions_attributes_and_empty_folders_are_changes(survey: Project, data: Repo) -> None:
    fix = clone(survey, "fix")
    (fix.path / "table.csv").chmod(0o600)
    (fix.path / "empty").mkdir()
    try:
        os.setxattr(fix.path / "notes" / "intro.md", "user.by", b"ann")
    except OSError as error:
        pytest.skip(f"extended attributes cannot be set here: {error.strerror}")
    assert changed(survey, "fix") == [("empty/", "added"), ("notes/intro.md", "modified"), ("table.csv", "modified")]
    survey.merge("fix")
    assert (data.path / "table.csv").stat().st_mode & 0o777 == 0o600
    assert (data.path / "empty").is_dir()
    assert os.getxattr(data.path / "notes" / "intro.md", "user.by") == b"ann"
    survey.undo()
    assert (data.path / "table.csv").stat().st_mode & 0o777 == 0o644
    assert not (data.path / "empty").exists()


def test_permissions_that_two_changed_differently_conflict(survey: Project, data: Repo) -> None:
    (clone(survey, "fix").path / "table.csv").chmod(0o600)
    (data.path / "table.csv").chmod(0o640)
    (conflict,) = survey.merge("fix").conflicts
    assert (conflict.path, conflict.kind) == ("table.csv", "mode")
    assert survey.merge("fix", on_conflict="source").status == "merged"
    assert (data.path / "table.csv").stat().st_mode & 0o777 == 0o600


def test_a_damaged_index_costs_time_and_nothing_else(survey: Project, data: Repo) -> None:
    data.write("large.bin", os.urandom(1 << 20))
    clone(survey, "fix").write("notes/intro.md", "# Better\n")
    survey.compare(["fix"])
    for index in (data.path / ".workspaces" / ".state" / "index").iterdir():
        if index.suffix != ".inode":
            text = index.read_bytes()
            index.write_bytes(random.Random(1).choice([b"", b"{}\n", text[: len(text) // 2]]))
    assert changed(survey, "fix") == [("notes/intro.md", "modified")]
    assert survey.merge("fix").status == "merged"


def test_whose_a_folder_is_gets_durable_before_it_stands_in_its_place(survey: Project, data: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else, when the power goes, a half made clone stands there which nobody takes back: found by cutting it."""
    known: list[set[str]] = []

    def sync_all(folder: Path) -> None:
        index = data.path / ".workspaces" / ".state" / "index"
        known.append({str(folder.stat().st_ino)} & {file.read_text() for file in index.glob("*.inode")})

    monkeypatch.setattr("workspaces.backends.tree.sync_all", sync_all)
    made = clone(survey, "fix").path
    assert {str(made.stat().st_ino)} in known


def test_a_lost_snapshot_is_told(survey: Project, data: Repo) -> None:
    clone(survey, "fix").write("notes/intro.md", "# Better\n")
    data.write("notes/intro.md", "# Other\n")
    for file in (data.path / ".workspaces" / ".state" / "pool").rglob("h*"):
        file.unlink()
    assert any("snapshots are missing" in finding.message for finding in survey.doctor().findings)
    with pytest.raises(BackendFailed, match="gone"):
        survey.compare(["fix"], detail="diff")


# -- what is in the way -----------------------------------------------------------------------------------------------------------------------


def test_what_somebody_looks_at_is_not_collected_meanwhile(survey: Project, data: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index stands on the last snapshot that was kept, whoever kept it: a copy for a check, which goes as soon as that is done."""
    monkeypatch.setattr("workspaces.backends.directory.freezing._is_racy", Mock(return_value=False))  # else all is read again
    work = clone(survey, "fix")
    for name in ("one", "two", "three"):  # too many for a snapshot that stands on the first
        work.write(name, f"{name}\n")
    backend, fix = find(data.path), survey.find("fix")
    other = fix.model_copy(update={"uid": "other", "location": str(data.path / ".workspaces" / ".other")})
    with backend.aside() as view, view.keep_all():
        view.keep((other, "judged", view.snapshot(fix)))
    ahead = type(backend).__dict__["_ahead"]

    def meanwhile(self: Any, workspace: Workspace, record: object) -> object:
        if workspace.uid == fix.uid:
            find(data.path).purge(other)
            self._archive._records.clear()  # only the last few are remembered
        return ahead(self, workspace, record)

    monkeypatch.setattr(type(backend), "_ahead", meanwhile)
    assert survey.compare(["fix"]).workspaces[0].files_changed == 3


def test_a_target_that_is_changed_meanwhile_loses_nothing(survey: Project, data: Repo) -> None:
    """A person writes to main without pause while merges go in and are taken back: each is whole or refused, and no line of the person's is lost."""
    fix = clone(survey, "fix")
    for number in range(30):
        fix.write(f"new/{number}.md", f"{number}\n")
    fix.write("table.csv", "0,0\n" + fix.read("table.csv"))
    written: list[str] = []
    with meddling(data, written):
        for _ in range(6):
            try:
                survey.merge("fix")
            except WorkspacesError:
                assert not (data.path / "new").exists()
                continue
            assert len(list((data.path / "new").iterdir())) == 30
            try:
                survey.undo()
            except TargetMoved:
                break
    kept = data.read("mine.txt").splitlines()
    assert kept == written


@contextmanager
def meddling(data: Repo, written: list[str]) -> Generator[None]:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with (data.path / "mine.txt").open("a") as file:
                file.write(f"line {len(written)}\n")
            written.append(f"line {len(written)}")

    person = threading.Thread(target=write)
    person.start()
    try:
        yield
    finally:
        stop.set()
        person.join()


MEDDLED = """
import os, sys
from pathlib import Path
from workspaces import Project
from workspaces.errors import WorkspacesError
root, moment, act = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
opened, done = os.open(root / 'table.csv', os.O_WRONLY | os.O_APPEND), False
def meddle(event, about):
    global done
    if event == moment and not done and '/moves/' in str(about[0]) + str(about[1]):
        done = True
        exec(act)
project = Project.open(root)
sys.addaudithook(meddle)
try:
    print(project.merge('fix').status)
except WorkspacesError as error:
    print(error.body.code, error.settled)
assert done
"""


def meddled(data: Repo, moment: str, act: str) -> str:
    """Merge in another process, where something happens as soon as the first path leaves (`os.rename`) or comes (`os.link`)."""
    command = [*python(), "-c", MEDDLED, str(data.path), moment, act]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("moment", "act"),
    [
        ("os.link", "(root / 'zz').write_text('mine')"),
        ("os.rename", "(root / 'empty').write_text('mine')"),
        ("os.rename", "(root / 'new').symlink_to('/etc')"),
        ("os.link", "os.write(opened, b'precious\\n')"),
        ("os.rename", "(root / 'notes' / 'method.md').write_text('mine')"),
    ],
    ids=["a file where one comes", "a file where a folder comes", "a link where a folder comes", "an open file", "a file that goes"],
)
def test_what_happens_in_the_middle_of_a_merge_stops_it_whole(survey: Project, data: Repo, moment: str, act: str) -> None:
    fix = clone(survey, "fix")
    for name in ("empty", "new/sub"):
        (fix.path / name).mkdir(parents=True)
    fix.write("new/sub/file", "new\n")
    fix.write("zz", "new\n")
    fix.write("table.csv", "other\n")
    (fix.path / "notes" / "method.md").unlink()
    before = {path: path.read_text() for path in data.path.rglob("*") if path.is_file() and ".workspaces" not in path.parts}
    assert meddled(data, moment, act) == "target_moved True"
    for name in ("zz", "empty", "new"):
        assert (data.path / name).is_symlink() or not (data.path / name).is_dir()
    for path, text in before.items():
        assert path.read_text() in (text, "mine", f"{text}precious\n")
    assert survey.log().operations[0].state == "failed"
    for name in ("zz", "empty", "new"):
        (data.path / name).unlink(missing_ok=True)
    (data.path / "table.csv").write_text(before[data.path / "table.csv"])
    (data.path / "notes" / "method.md").write_text("Ask.\n")
    assert survey.merge("fix").status == "merged"
    assert all(finding.ok for finding in survey.doctor().findings)


FAULTY = """
import os, signal, sys
from pathlib import Path
from workspaces import Project
from workspaces.errors import WorkspacesError
verb, fault, moment, touched, inside = sys.argv[2], sys.argv[3], int(sys.argv[4]), 0, False
CHANGES = ('os.rename', 'os.remove', 'os.mkdir', 'os.rmdir', 'os.symlink', 'os.link')
def fail(event, about):
    '''Count the changes from where the move begins on. Die at the one that was named, or let that one fail.'''
    global touched, inside
    inside = inside or event == 'open' and str(about[0]).endswith('plan')
    if inside and event in CHANGES:
        touched += 1
        if touched == moment and fault == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        if touched == moment:
            raise OSError(28, 'No space left on device')
project = Project.open(Path(sys.argv[1]))
sys.addaudithook(fail)
try:
    project.merge('fix') if verb == 'merge' else project.restore('fix', 'start')
except WorkspacesError as error:
    print(error.body.code)
print(touched)
"""


@pytest.mark.parametrize("verb", ["merge", "restore"])
@pytest.mark.parametrize("fault", ["kill", "fail"])
def test_files_and_folders_that_change_places_are_moved_whole_or_not_at_all(survey: Project, data: Repo, verb: str, fault: str) -> None:
    data.write("folder/inside/file", "1\n")
    data.write("plain", "2\n")
    (data.path / "bare" / "below").mkdir(parents=True)
    fix = clone(survey, "fix")
    survey.checkpoint("fix", "start")
    script = "rm -r folder plain bare; echo f > folder; mkdir -p plain/deep; echo g > plain/deep/file; echo h > bare"
    subprocess.run(["sh", "-c", script], cwd=fix.path, check=True)
    place = data.path if verb == "merge" else fix.path
    before, after = shape(place), shape(fix.path if verb == "merge" else data.path)

    def run(moment: int) -> list[str]:
        command = [*python(), "-c", FAULTY, str(data.path), verb, fault, str(moment)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()

    total, moment = 10**6, 1
    while moment < total:
        said = run(moment)
        project = Project.open(data.path)
        survey.status()
        assert shape(place) in (before, after), moment
        assert all(operation.state != "started" for operation in project.log().operations)
        if shape(place) == after:
            project.undo()
            assert shape(place) == before
        moment += 5
        total = total if not said or int(said[-1]) >= moment - 5 else 0
    assert moment > 10


def shape(root: Path) -> dict[str, str]:
    """Return what stands at every path of a workspace."""
    paths = [path for path in root.rglob("*") if ".workspaces" not in path.relative_to(root).parts]
    return {str(path.relative_to(root)): path.read_text() if path.is_file() else f"{path.stat().st_mode:o}" for path in paths}


KILLED = """
import os, signal, sys
from pathlib import Path
from workspaces import Project
done = False
def die(event, about):
    global done
    if event == 'open' and str(about[0]).endswith('.done') and about[1] != 'r':
        done = True
    if done and event == 'open' and str(about[0]).endswith('ledger.jsonl'):
        os.kill(os.getpid(), signal.SIGKILL)
project = Project.open(Path(sys.argv[1]))
sys.addaudithook(die)
project.merge('fix')
"""


def test_a_move_of_nothing_but_a_folder_is_remembered_after_a_kill(survey: Project, data: Repo) -> None:
    (data.path / "empty").mkdir()
    (clone(survey, "fix").path / "empty").rmdir()
    assert subprocess.run([*python(), "-c", KILLED, str(data.path)], check=False).returncode == -9
    again = Project.open(data.path)
    assert not (data.path / "empty").exists()
    assert (again.log().operations[0].verb, again.log().operations[0].state) == ("merge", "done")
    again.undo()
    assert (data.path / "empty").is_dir()


KILLED_AT_THE_END = """
import os, signal, sys
from pathlib import Path
from workspaces import Project
left = int(sys.argv[2])
done = False
found = os.listdir
os.listdir = lambda folder: sorted(found(folder))  # an order of the file system's: the plan comes last
def die(event, about):
    '''Die at a step of the clearing away that follows a move which is done.'''
    global done, left
    if event == 'open' and str(about[0]).endswith('.done') and about[1] != 'r':
        done = True
    if done and event in ('os.remove', 'os.rename', 'os.rmdir'):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
project = Project.open(Path(sys.argv[1]))
sys.addaudithook(die)
project.merge('fix')
"""


@pytest.mark.parametrize("moment", range(1, 9))
def test_a_move_that_is_done_stays_done_while_what_it_left_is_cleared_away(survey: Project, data: Repo, moment: int) -> None:
    data.write("goes.txt", "old\n")
    data.write("changes.txt", "old\n")
    fix = clone(survey, "fix")
    (fix.path / "goes.txt").unlink()
    fix.write("changes.txt", "new\n")
    fix.write("comes.txt", "new\n")
    command = [*python(), "-c", KILLED_AT_THE_END, str(data.path), str(moment)]
    assert subprocess.run(command, check=False).returncode == -9
    again = Project.open(data.path)
    assert (again.log().operations[0].verb, again.log().operations[0].state) == ("merge", "done")
    assert {name: (data.path / name).exists() for name in ("goes.txt", "comes.txt")} == {"goes.txt": False, "comes.txt": True}
    assert data.read("changes.txt") == "new\n"
    assert [entry.name for entry in (data.path / ".workspaces" / ".state" / "moves").iterdir()] == ["survey-main.done"]


def test_what_a_merge_does_not_bring_keeps_its_times(survey: Project, data: Repo) -> None:
    data.write("large.bin", os.urandom(1 << 20))
    survey.checkpoint("main", "start")
    data.write("notes/intro.md", "# Better\n")
    os.utime(data.path / "large.bin", ns=(5, 1_700_000_000_000_000_000))
    survey.restore("main", "start")
    clone(survey, "fix")
    assert (at(survey.find("fix")).path / "large.bin").stat().st_mtime_ns == (data.path / "large.bin").stat().st_mtime_ns


def test_restoring_a_repositorys_files_leaves_its_git_directory_alone(repo: Repo) -> None:
    project = Project.initialize(repo.path, "directory")
    project.checkpoint("main", "start")
    (repo.path / ".git" / "lfs" / "tmp").mkdir(parents=True)
    (repo.path / ".git" / "hooks").chmod(0o700)
    repo.write("cart.py", "later\n")
    head = repo.commit("later")
    project.restore("main", "start")
    assert repo.read("cart.py").startswith("line 1")
    assert ((repo.path / ".git" / "lfs" / "tmp").is_dir(), repo.head, repo.status()) == (True, head, [" M cart.py"])
    assert (repo.path / ".git" / "hooks").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", [b"", b"{}", b'{"what": {"a": "f 644 h1"}, "how": {}, "totals": ["1", "2", "3"]}', b"[1]", b"\xff"])
def test_a_damaged_snapshot_does_not_stand_in_the_way_of_what_is_whole(survey: Project, data: Repo, text: bytes) -> None:
    clone(survey, "fix")
    for snapshot in (data.path / ".workspaces" / ".state" / "snapshots").glob("*.json"):
        snapshot.write_bytes(text)
    again = Project.open(data.path)
    assert any("not whole" in finding.message for finding in again.doctor().findings)
    data.write("notes/intro.md", "# Better\n")
    later = at(again.clone(name="later").workspaces[0])
    assert later.read("notes/intro.md") == "# Better\n"
    again.checkpoint("main")
    with pytest.raises(BackendFailed, match="damaged"):
        again.compare(["fix"])


def test_damaged_contents_are_never_handed_out(survey: Project, data: Repo) -> None:
    survey.checkpoint("main", "start")
    clone(survey, "fix")
    data.write("table.csv", "later\n")
    for file in (data.path / ".workspaces" / ".state" / "pool").rglob("h*"):
        file.write_bytes(file.read_bytes()[:3])
    assert any("not whole" in finding.message for finding in survey.doctor().findings)
    with pytest.raises(BackendFailed, match="damaged"):
        survey.restore("main", "start")
    assert data.read("table.csv") == "later\n"


@pytest.mark.parametrize("place", [".gitattributes/.gitattributes", "/".join(["deep" * 30] * 30) + "/.gitattributes"])
def test_attributes_in_odd_places(survey: Project, data: Repo, place: str) -> None:
    *folders, name = place.split("/")
    script = f"import os\nfor name in {folders!r}:\n    os.makedirs(name, exist_ok=True); os.chdir(name)\nopen({name!r}, 'w').write('* -text\\n')"
    subprocess.run([*python(), "-c", script], cwd=data.path, check=True)
    clone(survey, "fix").write("notes/intro.md", "# Better\n")
    assert survey.merge("fix").status == "merged"


def test_a_link_swapped_in_for_a_folder_is_not_followed(survey: Project, data: Repo, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "intro.md").write_text("theirs\n")
    fix = clone(survey, "fix")
    fix.write("notes/intro.md", "# Better\n")
    fix.write("notes/new.md", "new\n")
    (data.path / "notes").rename(data.path / "elsewhere")
    (data.path / "notes").symlink_to(outside)
    result = survey.merge("fix")
    assert result.status == "conflicts"
    assert {entry.name: entry.read_text() for entry in outside.iterdir()} == {"intro.md": "theirs\n"}


def test_a_link_swapped_in_while_looking_leaks_nothing(survey: Project, data: Repo, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "intro.md").write_text("secret\n")
    stop = threading.Event()

    def swap() -> None:
        place, aside = data.path / "notes", data.path / "aside"
        while not stop.is_set():
            place.rename(aside)
            place.symlink_to(secret)
            place.unlink()
            aside.rename(place)

    hostile = threading.Thread(target=swap)
    hostile.start()
    made: list[Path] = []
    try:
        for number in range(30):
            try:
                made.append(clone(survey, f"w{number}").path)
            except WorkspacesError:
                continue
    finally:
        stop.set()
        hostile.join()
    assert made
    for folder in made:
        assert all(file.is_symlink() or file.read_text() != "secret\n" for file in folder.rglob("*.md") if not file.parent.is_symlink())


def test_pipes_sockets_and_mounts_are_left_out_and_named(survey: Project, data: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(data.path / "pipe")
    monkeypatch.chdir(data.path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        made = survey.clone(name="fix")
    assert "pipe (a pipe), socket (a socket)" in " ".join(made.warnings)
    assert sorted(entry.name for entry in at(made.workspaces[0]).path.iterdir()) == ["notes", "table.csv"]


def test_what_is_mounted_inside_is_not_copied(survey: Project, data: Repo) -> None:
    point = data.path / "mounted"
    point.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(point)], capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing may be mounted here")
    try:
        (point / "theirs.txt").write_text("theirs\n")
        made = survey.clone(name="fix")
    finally:
        subprocess.run(["umount", str(point)], check=True)
    assert "mounted (a mount point)" in " ".join(made.warnings)
    assert not (at(made.workspaces[0]).path / "mounted" / "theirs.txt").exists()


@pytest.fixture
def removed(data: Repo) -> Generator[None]:
    """Remove the data at the end: pytest's own way of doing that fails on a deep tree."""
    yield
    subprocess.run(["rm", "-rf", str(data.path)], check=True)


def test_what_is_mounted_is_not_removed_with_a_workspace(survey: Project, data: Repo, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine\n")
    fix = clone(survey, "fix")
    (fix.path / "bound").mkdir()
    if subprocess.run(["mount", "--bind", str(precious), str(fix.path / "bound")], capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing may be mounted here")
    try:
        backend = find(data.path)
        with pytest.raises(WorkspacesError, match="mounted"):
            backend.purge(survey.find("fix"))
    finally:
        subprocess.run(["umount", str(fix.path / "bound")], check=True)
    assert (precious / "file").read_text() == "mine\n"


@pytest.mark.usefixtures("removed")
def test_fifteen_hundred_levels(survey: Project, data: Repo) -> None:
    descend = "import os\nfor _ in range(1500):\n    os.mkdir('deep'); os.chdir('deep')\nopen('end.txt', 'w').write('here')"
    subprocess.run([*python(), "-c", descend], cwd=data.path, check=True)
    fix = clone(survey, "fix")
    edit = "import os\nfor _ in range(1500):\n    os.chdir('deep')\nopen('end.txt', 'a').write('!')"
    subprocess.run([*python(), "-c", edit], cwd=fix.path, check=True)
    assert survey.merge("fix", delete_source=True).status == "merged"
    read = "import os\nfor _ in range(1500):\n    os.chdir('deep')\nprint(open('end.txt').read())"
    said = subprocess.run([*python(), "-c", read], cwd=data.path, check=True, capture_output=True, text=True)
    assert said.stdout == "here!\n"


def test_a_file_that_grows_while_it_is_read(survey: Project, data: Repo) -> None:
    stop = threading.Event()

    def grow() -> None:
        with (data.path / "live.log").open("ab") as file:
            while not stop.is_set() and file.tell() < 300 << 20:
                file.write(b"one more line of the log\n" * 40)
                file.flush()

    (data.path / "live.log").write_bytes(b"one more line of the log\n" * 400_000)
    writer = threading.Thread(target=grow)
    writer.start()
    try:
        made = survey.clone(name="fix")
    finally:
        stop.set()
        writer.join()
    copied = at(made.workspaces[0]).path.joinpath("live.log").read_bytes()
    assert data.path.joinpath("live.log").read_bytes().startswith(copied)
    assert len(copied) >= 400_000 * 25


def test_names_of_any_bytes(survey: Project, data: Repo) -> None:
    names = [b"caf\xe9.txt", b"new\nline.txt", b"-dash", b'quo"te\\.txt', b"esc\x1b[31m", " \u00fc ".encode(), b"a" * 255]
    fix = clone(survey, "fix")
    for name in names:
        Path(os.fsdecode(os.fsencode(fix.path) + b"/" + name)).write_bytes(name)
    assert len(changed(survey, "fix")) == len(names)
    survey.merge("fix")
    for name in names:
        assert Path(os.fsdecode(os.fsencode(data.path) + b"/" + name)).read_bytes() == name


def test_drivers_that_attributes_name_are_not_run(survey: Project, data: Repo, tmp_path: Path, home: Path) -> None:
    (home / ".gitconfig").write_text(f'[filter "evil"]\n\tclean = touch {tmp_path}/ran\n\tsmudge = touch {tmp_path}/ran\n')
    data.write(".gitattributes", "* filter=evil diff=evil merge=union\n")
    one = clone(survey, "one")
    one.write("notes/intro.md", "# One\n")
    data.write("notes/intro.md", "# Two\n")
    assert survey.merge("one").status == "merged"
    assert sorted(data.read("notes/intro.md").splitlines()) == ["# One", "# Two"]
    assert not (tmp_path / "ran").exists()


def test_a_project_that_was_moved_is_followed(survey: Project, data: Repo) -> None:
    clone(survey, "fix").write("notes/intro.md", "# Better\n")
    moved = data.path.rename(data.path.with_name("moved"))
    project = Project.open(moved)
    assert project.merge("fix").status == "merged"
    assert (moved / "notes" / "intro.md").read_text() == "# Better\n"
    assert project.find(MAIN).location == str(moved)
