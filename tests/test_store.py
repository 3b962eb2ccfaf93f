"""The store, lost or damaged in any way, is made again from its ledger; and one of another version is understood or refused."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from conformance.forking import python
from support import WORKSPACES, Repo, at, clone

from workspaces import Project
from workspaces.errors import BackendFailed, Busy, NoProject
from workspaces.store import SCHEMA_VERSION, Store


@pytest.fixture
def worked(project: Project, repo: Repo) -> Project:
    """A project in which something of everything was done."""
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    clone(project, "below", "fix").write("below.txt", "below\n")
    clone(project, "gone").write("gone.txt", "gone\n")
    project.checkpoint("fix", "kept")
    project.merge("fix")
    project.delete(["gone"], discard_unmerged=True)
    project.clone(name="leased", lease_seconds=600, request_key="a")
    return project


def file_of(repo: Repo) -> Path:
    return repo.path / ".git" / "workspaces" / "store.sqlite"


def told(repo: Repo) -> list[object]:
    """Return all that the project says of itself."""
    project = Project.open(repo.path)
    status, log = project.status(include_deleted=True), project.log(1000)
    return [status.workspaces, log.operations, project.clone(name="leased", lease_seconds=600, request_key="a").wire()]


def delete(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def zero(file: Path) -> None:
    file.write_bytes(b"\0" * file.stat().st_size)


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwrite(file: Path) -> None:
    file.write_bytes(b"no database at all\n" * 1000)


def damage_within(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + b"\xff" * 8000 + whole[8100:])


@pytest.mark.parametrize("damage", [delete, empty], ids=lambda each: each.__name__)
def test_a_store_that_was_lost_is_made_again_by_whoever_comes_next(worked: Project, repo: Repo, damage: Callable[[Path], None]) -> None:
    before = told(repo)
    damage(file_of(repo))
    assert told(repo) == before
    assert [finding for finding in Project.open(repo.path).doctor().findings if not finding.ok] == []
    worked.restore("gone")
    worked.restore("fix", "kept")
    assert [each.verb for each in worked.undo().operations] == ["restore"]


@pytest.mark.parametrize("damage", [zero, truncate, overwrite, damage_within], ids=lambda each: each.__name__)
def test_a_damaged_store_is_told_and_repaired(worked: Project, repo: Repo, damage: Callable[[Path], None]) -> None:
    before = told(repo)
    damage(file_of(repo))
    with pytest.raises(BackendFailed, match="damaged") as error:
        Project.open(repo.path).doctor()
    assert "doctor --repair" in error.value.hint
    assert "made store.sqlite again" in Project.mend_store(repo.path)
    assert told(repo) == before
    assert len(list(file_of(repo).parent.glob("store-*.damaged"))) == 1


def test_an_old_copy_that_was_put_back_is_noticed(worked: Project, repo: Repo) -> None:
    old = file_of(repo).read_bytes()
    clone(worked, "later")
    before = told(repo)
    file_of(repo).write_bytes(old)
    findings = {finding.check: finding for finding in worked.doctor().findings}
    assert not findings["store"].ok
    assert worked.doctor(repair=True).repaired
    assert told(repo) == before


def test_a_ledger_that_was_lost_or_damaged_is_made_again_from_the_store(worked: Project, repo: Repo) -> None:
    ledger = file_of(repo).with_name("ledger.jsonl")
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([*lines[:3], b"no line of it\n", *lines[4:]]))
    assert worked.doctor(repair=True).repaired
    ledger.unlink()
    clone(worked, "later")
    worked.undo()
    file_of(repo).unlink()
    assert [each.name for each in Project.open(repo.path).status(detail="names").workspaces] == ["main", "fix", "below", "leased"]
    assert [finding for finding in worked.doctor().findings if not finding.ok] == []


def remembered(repo: Repo) -> list[tuple[str, ...]]:
    workspaces = Project.open(repo.path).status(include_deleted=True).workspaces
    return sorted((each.id, each.uid, each.state, each.parent, each.origin, each.base) for each in workspaces)


def test_of_a_ledger_that_was_cut_and_lost_its_store_no_workspace_is_forgotten(worked: Project, repo: Repo, tmp_path: Path) -> None:
    """Nobody would look for what an empty list does not tell."""
    worked.delete(["leased"], discard_unmerged=True)
    clone(worked, "leased").write("again.txt", "again\n")
    before, home = remembered(repo), file_of(repo).parent
    shutil.copytree(home, tmp_path / "kept")
    lines = (home / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    for number in range(1, len(lines) - 1):  # without the last line alone, it is as if whoever wrote it had died before
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "kept", home)
        (home / "ledger.jsonl").write_bytes(b"".join(lines[:number]) + lines[number][: number * 7])
        file_of(repo).unlink()
        assert remembered(repo) == before, number
        assert [finding for finding in Project.open(repo.path).doctor(quick=True).findings if not finding.ok] == [], number
        file_of(repo).unlink()
        assert remembered(repo) == before, number
    worked.restore("gone")


def test_a_line_that_a_crash_tore_is_none(worked: Project, repo: Repo) -> None:
    before = told(repo)
    with file_of(repo).with_name("ledger.jsonl").open("ab") as ledger:
        ledger.write(b'[{"table":"workspaces","row":{"uid":')
    file_of(repo).unlink()
    assert told(repo) == before
    clone(worked, "later")
    file_of(repo).unlink()
    assert Project.open(repo.path).find("later").name == "later"


def start_anew(repo: Repo) -> None:
    """Let the machine have been started anew."""
    note = file_of(repo).with_name("store.start")
    assert note.read_text() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    note.write_text("the start before")


@pytest.mark.parametrize("damage", [delete, empty, zero, truncate, overwrite, damage_within], ids=lambda each: each.__name__)
def test_what_did_not_get_to_the_disk_is_there_after_a_new_start(worked: Project, repo: Repo, damage: Callable[[Path], None]) -> None:
    before = told(repo)
    damage(file_of(repo))
    start_anew(repo)
    assert told(repo) == before
    assert [finding for finding in Project.open(repo.path).doctor().findings if not finding.ok] == []
    assert list(file_of(repo).parent.glob("store-*.damaged")) == []


def test_what_was_written_last_is_there_after_a_new_start(worked: Project, repo: Repo) -> None:
    """A file that is whole and older: SQLite cannot know that its last transactions are missing."""
    old = file_of(repo).read_bytes()
    clone(worked, "later")
    worked.undo()
    clone(worked, "last")
    before = told(repo)
    file_of(repo).write_bytes(old)
    start_anew(repo)
    assert told(repo) == before
    assert Project.open(repo.path).find("last").name == "last"


def test_a_ledger_that_was_cut_is_not_believed_after_a_new_start_either(worked: Project, repo: Repo) -> None:
    before = told(repo)
    ledger = file_of(repo).with_name("ledger.jsonl")
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[: len(lines) // 2]))
    start_anew(repo)
    assert told(repo) == before


def test_all_who_come_after_a_new_start_find_the_same(worked: Project, repo: Repo) -> None:
    before = [each.id for each in worked.status(detail="names").workspaces]
    truncate(file_of(repo))
    start_anew(repo)
    say = [WORKSPACES, "list", "--json"]
    at_once = [subprocess.Popen(say, cwd=repo.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for each in at_once:
        out, err = each.communicate(timeout=60)
        assert (each.returncode, err) == (0, "")
        assert [row["id"] for row in json.loads(out)["workspaces"]] == before


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_note_of_a_start_is_told_and_set_aside(worked: Project, repo: Repo, make: Callable[[Path], None]) -> None:
    start = file_of(repo).with_name("store.start")
    start.unlink()
    make(start)
    before = [each.id for each in worked.status().workspaces]
    with pytest.raises(BackendFailed, match="store.start is no file") as error:
        Project.open(repo.path)
    assert "doctor --repair" in error.value.hint
    assert "set store.start aside" in Project.mend_store(repo.path)
    assert [each.id for each in Project.open(repo.path).status().workspaces] == before


def test_a_store_from_before_starts_were_noted_is_left_as_it_is(worked: Project, repo: Repo) -> None:
    """It was waited for when it was written, so it has the last word over its ledger."""
    before = told(repo)
    file_of(repo).with_name("store.start").unlink()
    ledger = file_of(repo).with_name("ledger.jsonl")
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    assert told(repo) == before


def test_a_call_keeps_no_connection_when_it_is_over(worked: Project, repo: Repo) -> None:
    worked.status()
    worked.compare(["fix"])
    held = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if os.path.lexists(each)]
    assert [each for each in held if str(repo.path) in each] == []


OLD = """
CREATE TABLE projects (name TEXT PRIMARY KEY COLLATE NOCASE, root TEXT NOT NULL UNIQUE, backend TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE workspaces (
    uid TEXT PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, location TEXT NOT NULL,
    origin TEXT NOT NULL, phase TEXT NOT NULL, record TEXT NOT NULL);
CREATE UNIQUE INDEX live_name ON workspaces (project, name) WHERE phase <> 'deleted';
CREATE TABLE merges (
    operation INTEGER NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL, snapshot TEXT NOT NULL, head TEXT NOT NULL);
CREATE TABLE restore_points (workspace TEXT NOT NULL, number INTEGER NOT NULL, operation INTEGER NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (workspace, number));
CREATE TABLE meta (revision INTEGER NOT NULL);
INSERT INTO meta VALUES (0);
CREATE TABLE operations (id INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, state TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX unfinished ON operations (state) WHERE state = 'started';
PRAGMA user_version = 1;
"""
"""The first schema, which had no ledger."""


def test_a_store_of_the_first_schema_is_brought_along(worked: Project, repo: Repo) -> None:
    before = Project.open(repo.path).status(include_deleted=True).workspaces
    file = file_of(repo)
    columns = {"projects": "*", "workspaces": "*", "merges": "*", "restore_points": "*", "operations": "id, project, state, record"}
    with closing(sqlite3.connect(file)) as db:
        rows = {table: db.execute(f"SELECT {names} FROM {table}").fetchall() for table, names in columns.items()}  # noqa: S608
    file.unlink()
    file.with_name("ledger.jsonl").unlink()
    with closing(sqlite3.connect(file)) as db:
        db.executescript(OLD)
        for table, found in rows.items():
            db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(found[0]))})", found)  # noqa: S608
        db.commit()
    after = Project.open(repo.path).status(include_deleted=True).workspaces
    assert [each.id for each in after] == [each.id for each in before]
    assert worked.merge("below").status == "merged"
    file.unlink()
    assert [each.id for each in Project.open(repo.path).status(include_deleted=True).workspaces] == [each.id for each in before]


def test_a_store_of_an_older_schema_goes_on_where_its_ledger_is(worked: Project, repo: Repo) -> None:
    with closing(sqlite3.connect(file_of(repo))) as db:
        for index in ("phases", "parents", "merged_from", "merged_into"):
            db.execute(f"DROP INDEX {index}")
        db.execute("PRAGMA user_version = 3")
    assert worked.merge("below").status == "merged"
    before = told(repo)
    assert not [finding for finding in worked.doctor().findings if finding.check == "store" and not finding.ok]
    file_of(repo).unlink()
    assert told(repo) == before


def test_a_store_of_a_newer_schema_is_left_alone_until_a_person_says_so(worked: Project, repo: Repo) -> None:
    before = told(repo)
    with closing(sqlite3.connect(file_of(repo))) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    contents = file_of(repo).read_bytes()
    with pytest.raises(BackendFailed, match="newer"):
        Project.open(repo.path)
    assert file_of(repo).read_bytes() == contents
    assert Project.mend_store(repo.path)
    assert told(repo) == before


def test_what_was_acknowledged_while_the_store_was_lost_is_not_lost_with_it(worked: Project, repo: Repo) -> None:
    """Every single write is in the ledger before it is acknowledged."""
    for number in range(5):
        clone(worked, f"w{number}")
        file_of(repo).unlink()
    names = {each.name for each in Project.open(repo.path).status(detail="names").workspaces}
    assert {f"w{number}" for number in range(5)} <= names


DIES_BEFORE_IT_COMMITS = """
import os, sys
from pathlib import Path
from workspaces import Project
from workspaces.store.ledger import Ledger
append, left = Ledger.append, int(sys.argv[2])
def die(self, *args, **named):
    global left
    append(self, *args, **named)
    left -= 1
    if left == 0:
        os._exit(9)
Ledger.append = die
Project.open(Path(sys.argv[1])).clone(name="late")
"""


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_a_transaction_that_was_noted_and_never_committed_is_none(project: Project, repo: Repo, write: int, lost: bool) -> None:
    clone(project, "fix")
    done = subprocess.run([*python(), "-c", DIES_BEFORE_IT_COMMITS, str(repo.path), str(write)], check=False)
    assert done.returncode == 9
    if lost:
        file_of(repo).unlink()
    project = Project.open(repo.path)
    assert [finding for finding in project.doctor().findings if not finding.ok] == []
    names = [each.name for each in project.status(detail="names").workspaces]
    assert names == ["main", "fix"] or (lost and names == ["main", "fix", "late"])  # whole, then: only its last write was missing
    if "late" not in names:
        clone(project, "late")
    assert [finding for finding in project.doctor().findings if not finding.ok] == []


def test_a_ledger_that_was_cut_is_not_believed_over_a_whole_store(worked: Project, repo: Repo) -> None:
    ledger = file_of(repo).with_name("ledger.jsonl")
    before, work = told(repo), Repo(repo.path / ".workspaces" / "fix").read("cart.py")
    os.truncate(ledger, ledger.stat().st_size // 3)
    assert "made ledger.jsonl again" in worked.doctor(repair=True).summary
    assert (told(repo), Repo(repo.path / ".workspaces" / "fix").read("cart.py")) == (before, work)
    assert [finding for finding in worked.doctor().findings if not finding.ok] == []


def test_a_pipe_in_the_place_of_the_ledger_holds_nobody_up(worked: Project, repo: Repo) -> None:
    ledger = file_of(repo).with_name("ledger.jsonl")
    ledger.unlink()
    os.mkfifo(ledger)
    assert "is no file" in next(finding.message for finding in worked.doctor().findings if not finding.ok)
    with pytest.raises(BackendFailed, match="is no file"):
        worked.clone(name="late")
    ledger.unlink()
    assert clone(worked, "late").path.exists()


def test_looking_goes_on_while_somebody_is_stopped_at_a_commit(worked: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workspaces.store.file._GLANCE", 0.1)
    before = [each.id for each in worked.status().workspaces]
    with closing(sqlite3.connect(file_of(repo), isolation_level=None)) as stopped:
        stopped.execute("BEGIN EXCLUSIVE")
        beside = Project.open(repo.path, patience=0.2)
        assert [each.id for each in beside.status().workspaces] == before
        assert beside.compare(["below"]).workspaces[0].merge == "clean"
        with pytest.raises(Busy):
            beside.checkpoint("fix")


def test_all_that_is_remembered_is_gone_and_git_still_knows_the_workspaces(worked: Project, repo: Repo) -> None:
    fix = Repo(repo.path / ".workspaces" / "fix")
    fix.write("new.txt", "new\n")
    status = fix.status()
    shutil.rmtree(file_of(repo).parent)
    with pytest.raises(NoProject, match="not a project yet"):
        Project.open(repo.path)
    again = Project.initialize(repo.path, name="other")
    assert {each.id: each.parent for each in again.status().workspaces if not each.is_main} == dict.fromkeys(
        ("shop/below", "shop/fix", "shop/leased"), "shop/main"
    )
    assert fix.status() == status
    (seen,) = again.compare(["below"]).workspaces
    assert (seen.merge, seen.files_changed) == ("clean", 1)
    assert again.merge("fix").status == "merged"
    assert (repo.read("cart.py"), repo.read("new.txt")) == ("mine\n", "new\n")
    again.delete(["fix", "below", "leased"], discard_unmerged=True)
    again.restore("below")


def test_a_workspace_that_nobody_remembers_is_taken_back_by_repair(worked: Project, repo: Repo) -> None:
    for file in ("store.sqlite", "ledger.jsonl", "records/*"):
        for each in file_of(repo).parent.glob(file):
            each.unlink()
    again = Project.initialize(repo.path)
    assert [each.name for each in again.status(include_deleted=True).workspaces if each.state == "deleted"] == ["gone"]
    assert at(again.restore("gone").workspace).read("gone.txt") == "gone\n"
    Store(file_of(repo)).forget(again.find("fix").uid)
    assert "remembered" in [finding.check for finding in again.doctor().findings if not finding.ok]
    assert "took back shop/fix" in again.doctor(repair=True).summary
    assert [finding for finding in again.doctor().findings if not finding.ok] == []
    assert again.doctor(repair=True).repaired == ()
