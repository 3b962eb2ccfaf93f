"""How a clone gets its files: copied where they are as they were frozen, by git where they are not, or where git gives other bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from threading import Thread

import pytest
from support import Instead, Repo, at, clone, fingerprint

from workspaces import Project
from workspaces.errors import BackendFailed, Exists
from workspaces.model import History

NO_CHECKOUT = "*checkout-index*|*read-tree*-u*) exit 1"
"""Git unpacks nothing."""
ALL = range(1, 21)
CART = "".join(f"line {number}\n" for number in ALL)


def settled(repo: Repo) -> None:
    """Wait until the files are older than the grain of the file system's clock, and an index of them that git believes."""
    changed = max(file.stat().st_ctime for file in repo.path.rglob("*") if ".git" not in file.parts and not file.is_dir())
    while time.time() < changed + 0.1:
        time.sleep(0.01)


def stale(fix: Repo) -> str:
    """Return the files of which git would have to read the contents to know whether they were changed."""
    return fix.git("diff-files", "--name-only")


def test_files_that_are_as_they_were_frozen_are_copied(project: Project, repo: Repo, instead: Instead) -> None:
    repo.write("tool.sh", "#!/bin/sh\n").chmod(0o755)
    (repo.path / "link").symlink_to("cart.py")
    repo.write("empty", "")
    repo.commit("more")
    settled(repo)
    before = fingerprint(repo)
    instead(NO_CHECKOUT)
    fix = clone(project, "fix")
    assert stale(fix) == ""
    assert fix.status() == []
    assert fix.read("cart.py") == CART
    assert (fix.path / "link").readlink() == Path("cart.py")
    assert (fix.path / "tool.sh").stat().st_mode & 0o111
    assert (fix.path / "cart.py").stat().st_ino != (repo.path / "cart.py").stat().st_ino
    assert fingerprint(repo) == before


def test_the_index_is_younger_than_the_files_by_more_than_git_looks_at(project: Project, repo: Repo) -> None:
    settled(repo)
    fix = clone(project, "fix")
    index = Path(fix.git("rev-parse", "--git-dir")) / "index"
    assert all(int((fix.path / name).stat().st_mtime) < int(index.stat().st_mtime) for name in ("cart.py", "auth/api.py"))


def test_many_files_are_copied_by_several_processes(project: Project, repo: Repo, instead: Instead) -> None:
    many(repo)
    settled(repo)
    instead(NO_CHECKOUT)
    for fix in map(at, project.clone(name="fix", count=3).workspaces):
        names = fix.git("ls-files").split("\n")
        assert [name for name in names if fix.read(name) != repo.read(name)] == []
        assert stale(fix) == ""
        assert fix.status() == []


@pytest.fixture
def meanwhile(repo: Repo, instead: Instead) -> Generator[Callable[[Callable[[], object]], None]]:
    """Return what lets something happen when a clone was frozen, before it is filled: git is asked about attributes then.

    It is done by a thread, for what git starts may not write there.
    """
    signs, threads = repo.path / ".git/objects", list[Thread]()

    def act(action: Callable[[], object]) -> None:
        while not (signs / "asked").exists():
            time.sleep(0.01)
        action()
        (signs / "acted").touch()

    def put(action: Callable[[], object]) -> None:
        repo.write(".git/info/attributes", "*.none -text\n")  # git is asked only where there are any
        instead(f"*check-attr*) touch {signs}/asked; while [ ! -e {signs}/acted ]; do sleep 0.01; done")
        threads.append(Thread(target=act, args=(action,)))
        threads[0].start()

    yield put
    (signs / "asked").touch()
    for thread in threads:
        thread.join()


def many(repo: Repo) -> None:
    """Make so many files that processes are started to copy them."""
    for number in range(1200):
        repo.write(f"src/part-{number // 40:02}/file-{number}.txt", f"{number}\n")
    repo.commit("many")


def _told(file: Path) -> bytes:
    """Return what the kernel tells of a thread or process: nothing, if that has ended since it was listed."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def end_children() -> None:
    """Kill whatever this process started to copy files."""
    ours = [int(pid) for thread in Path("/proc/self/task").iterdir() for pid in _told(thread / "children").split()]
    copying = [pid for pid in ours if b"copying" in _told(Path(f"/proc/{pid}/cmdline"))]
    assert copying
    for pid in copying:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(not [*Path("/proc/self/task").glob("*/children")], reason="only Linux lists children there")
def test_nothing_is_left_when_what_copies_is_killed(
    project: Project, repo: Repo, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    many(repo)
    settled(repo)
    meanwhile(end_children)
    with pytest.raises(BackendFailed, match="Nothing was made"):
        clone(project, "fix")
    assert [each.name for each in (repo.path / ".workspaces").iterdir()] == [".gitignore"]
    assert [*(repo.path / ".git").glob("worktrees/*")] == []
    assert clone(project, "fix").status() == []


CHANGES = {
    "written": "echo more >> auth/api.py",
    "as long": "sed -i s/True/Fals/ auth/api.py; touch -r cart.py auth/api.py",
    "a link": "rm auth/api.py; ln -s ../../secret/api.py auth/api.py",
    "a pipe": "rm auth/api.py; mkfifo auth/api.py",
    "gone": "rm auth/api.py",
    "its folder is a link": "mv auth moved; ln -s ../secret auth",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_after_the_freeze_is_not_in_the_clone(
    project: Project, repo: Repo, tmp_path: Path, change: str, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    login = "def login():\n    return True\n"
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/api.py").write_text(login.replace("True", "None"))
    settled(repo)
    meanwhile(lambda: subprocess.run(["sh", "-c", change], cwd=repo.path, check=True))
    fix = clone(project, "fix")
    assert repo.status() != []
    assert (fix.read("auth/api.py"), fix.read("cart.py")) == (login, CART)
    assert fix.status() == []


def test_what_is_as_young_as_the_freeze_is_checked_out(project: Project, repo: Repo) -> None:
    """Contents of the same length may come in the same tick of the clock: then nothing would tell."""
    for number in range(5):
        repo.write("cart.py", f"{number}\n")
        fix = clone(project, f"fix-{number}")
        assert fix.read("cart.py") == f"{number}\n"
        assert [*map(str.strip, fix.status())] == ["M cart.py"]


Prepare = Callable[[Repo], None]


def crlf(repo: Repo) -> None:
    repo.write(".gitattributes", "* text=auto\n")
    repo.write("cart.py", "one\r\ntwo\r\n")


def crlf_by_setting(repo: Repo) -> None:
    repo.git("config", "core.autocrlf", "input")
    repo.write("cart.py", "one\r\ntwo\r\n")


def of_one_worktree(repo: Repo) -> None:
    repo.git("config", "core.autocrlf", "true")
    repo.git("config", "extensions.worktreeConfig", "true")
    repo.git("config", "--worktree", "core.autocrlf", "false")
    repo.write("cart.py", "one\ntwo\n")


def crlf_out(repo: Repo) -> None:
    repo.write(".gitattributes", "cart.py eol=crlf\n")


def ident(repo: Repo) -> None:
    repo.write(".gitattributes", "cart.py ident\n")
    repo.write("cart.py", "$Id: of another time $\n")


def encoded(repo: Repo) -> None:
    repo.write(".gitattributes", "cart.py working-tree-encoding=UTF-16LE\n")
    repo.write("cart.py", "smörgås\n".encode("utf-16-le"))


def filtered(repo: Repo) -> None:
    repo.git("config", "--global", "filter.loud.smudge", "tr a-z A-Z")
    repo.git("config", "--global", "filter.loud.clean", "tr A-Z a-z")
    repo.write(".gitattributes", "cart.py filter=loud\n")


def no_longer_filtered(repo: Repo) -> None:
    filtered(repo)
    repo.git("config", "--global", "filter.loud.smudge", "sed s/line/lines/")
    repo.git("config", "--global", "filter.loud.clean", "sed s/lines/line/")
    repo.commit("filtered")
    (repo.path / "cart.py").unlink()
    repo.git("checkout", "cart.py")
    repo.git("config", "--global", "--remove-section", "filter.loud")
    repo.write("notes.md", "more\n")


def of_info(repo: Repo) -> None:
    (repo.path / ".git/info").mkdir(exist_ok=True)
    (repo.path / ".git/info/attributes").write_text("cart.py eol=crlf\n")
    repo.write("other.py", "other\n")


def nothing(repo: Repo) -> None:
    repo.write(".gitattributes", "* -text\n*.py diff=python\n")
    repo.write("cart.py", "one\r\ntwo\r\n")


@pytest.mark.parametrize(
    "prepare", [crlf, crlf_by_setting, of_one_worktree, crlf_out, ident, encoded, filtered, no_longer_filtered, of_info, nothing]
)
def test_a_clone_has_the_bytes_that_git_checks_out(project: Project, repo: Repo, prepare: Prepare) -> None:
    prepare(repo)
    repo.commit("prepared")
    settled(repo)
    fix = clone(project, "fix")
    given = (fix.path / "cart.py").read_bytes()
    (fix.path / "cart.py").unlink()
    fix.git("checkout", "cart.py")
    assert given == (fix.path / "cart.py").read_bytes()
    assert fix.status() == []


@pytest.fixture
def alone(repo: Repo) -> Repo:
    """The repository, of which one checkout has ends of lines of its own."""
    repo.git("config", "extensions.worktreeConfig", "true")
    repo.git("config", "--worktree", "core.autocrlf", "true")
    repo.git("rm", "-q", "-r", "--cached", ".")
    repo.git("reset", "-q", "--hard")
    assert b"\r\n" in (repo.path / "cart.py").read_bytes()
    return repo


@pytest.mark.parametrize("history", ["squash", "merge", "rebase", "none"])
def test_a_clone_has_the_ends_of_lines_that_its_source_alone_has(project: Project, alone: Repo, history: History) -> None:
    settled(alone)
    before = fingerprint(alone)
    fix = clone(project, "fix")
    assert ((fix.path / "cart.py").read_bytes(), fix.status()) == ((alone.path / "cart.py").read_bytes(), [])
    fix.write("cart.py", (fix.path / "cart.py").read_bytes().replace(b"line 3\r\n", b"line three\r\n"))
    merged = project.merge("fix", history=history)
    assert [(change.insertions, change.deletions) for change in merged.files] == [(1, 1)]
    assert (alone.path / "cart.py").read_bytes() == (fix.path / "cart.py").read_bytes()
    assert alone.status() == ([" M cart.py"] if history == "none" else [])
    assert "\r" not in alone.raw("cat-file", "blob", "HEAD:cart.py").decode()
    project.undo()
    assert alone.status() == []
    assert {name for name, what in fingerprint(alone).items() if before.get(name, "").split()[-1:] != what.split()[-1:]} <= {
        ".git/index",
        ".git/logs/HEAD",
        ".git/logs/refs/heads/trunk",
    }


def test_a_clone_of_a_clone_has_what_that_has_alone(project: Project, alone: Repo) -> None:
    project.prepare(2)
    fix = clone(project, "fix")
    fix.git("config", "--worktree", "core.autocrlf", "false")
    fix.git("config", "--worktree", "user.name", 'A "quoted"\\ name')
    fix.git("rm", "-q", "-r", "--cached", ".")
    fix.git("reset", "-q", "--hard")
    further, other = clone(project, "further", "fix"), clone(project, "other")
    assert (b"\r\n" in (further.path / "cart.py").read_bytes(), b"\r\n" in (other.path / "cart.py").read_bytes()) == (False, True)
    assert (further.status(), other.status()) == ([], [])
    assert further.git("config", "user.name") == 'A "quoted"\\ name'
    assert [row.files_changed for row in project.compare(["fix", "further", "other"]).workspaces] == [0, 0, 0]


def test_a_filter_that_nobody_configured_changes_nothing(project: Project, repo: Repo, instead: Instead) -> None:
    repo.write(".gitattributes", "cart.py filter=unknown\n")
    repo.commit("attributes")
    settled(repo)
    instead(NO_CHECKOUT)
    fix = clone(project, "fix")
    assert (fix.read("cart.py"), stale(fix), fix.status()) == (CART, "", [])


def index_version_4(repo: Repo) -> None:
    repo.git("update-index", "--index-version", "4")


def split(repo: Repo) -> None:
    repo.git("update-index", "--split-index")


def remembering(repo: Repo) -> None:
    repo.git("config", "core.untrackedCache", "true")
    repo.git("update-index", "--force-untracked-cache")
    repo.git("config", "feature.manyFiles", "true")
    repo.git("status")


def hidden(repo: Repo) -> None:
    repo.git("update-index", "--skip-worktree", "notes.md")
    (repo.path / "notes.md").unlink()
    repo.git("update-index", "--assume-unchanged", "auth/api.py", "cart.py")
    (repo.path / "auth/api.py").unlink()


@pytest.mark.parametrize("prepare", [index_version_4, split, remembering, hidden])
def test_a_clone_has_all_files_however_the_index_of_its_source_is_kept(project: Project, repo: Repo, prepare: Prepare) -> None:
    prepare(repo)
    settled(repo)
    fix = clone(project, "fix")
    tracked = fix.git("ls-tree", "-r", "--name-only", "HEAD").split("\n")
    assert fix.git("ls-files", "-t") == "\n".join(f"H {name}" for name in tracked)
    assert [name for name in tracked if fix.read(name) != fix.git("show", f"HEAD:{name}") + "\n"] == []
    assert stale(fix) == ""
    assert fix.status() == []


def test_what_is_only_intended_or_unmerged(project: Project, repo: Repo) -> None:
    repo.git("checkout", "-q", "-b", "other")
    repo.write("cart.py", "theirs\n")
    repo.commit("theirs")
    repo.git("checkout", "-q", "trunk")
    repo.write("cart.py", "ours\n")
    repo.commit("ours")
    repo.git("merge", "-q", "other", check=False)
    repo.write("intended.py", "intended\n")
    repo.git("add", "--intent-to-add", "intended.py")
    settled(repo)
    fix = clone(project, "fix")
    assert (fix.read("cart.py"), fix.read("intended.py")) == (repo.read("cart.py"), "intended\n")
    assert fix.status() == [" M cart.py", "?? intended.py"]


def test_a_repository_with_longer_ids(tmp_path: Path, instead: Instead) -> None:
    repo = Repo.create(tmp_path / "long", "--object-format=sha256")
    repo.write("cart.py", CART)
    repo.commit("start")
    settled(repo)
    project = Project.initialize(repo.path)
    instead(NO_CHECKOUT)
    fix = clone(project, "fix")
    assert (fix.read("cart.py"), stale(fix), fix.status()) == (CART, "", [])
    assert fix.git("fsck") == ""


def test_uncommitted_work_is_copied_and_nothing_else_is_read_again(project: Project, repo: Repo, instead: Instead) -> None:
    repo.write("cart.py", "mine\n")
    repo.write("new.py", "new\n")
    settled(repo)
    instead(NO_CHECKOUT)
    fix = clone(project, "fix")
    assert (fix.read("cart.py"), fix.read("new.py")) == ("mine\n", "new\n")
    assert fix.status() == repo.status() == [" M cart.py", "?? new.py"]
    assert stale(fix) == "cart.py"


@pytest.mark.parametrize("lies", ["folder", "file"])
def test_what_somebody_puts_in_the_place_of_a_clone_meanwhile_stays(
    project: Project, repo: Repo, meanwhile: Callable[[Callable[[], object]], None], lies: str
) -> None:
    settled(repo)
    theirs = Repo(repo.path / ".workspaces")
    meanwhile(lambda: theirs.write("fix/work.txt" if lies == "folder" else "fix", "mine\n"))
    with pytest.raises(Exists, match="is there already and is no workspace. Nothing was made"):
        project.clone(name="fix")
    assert theirs.read("fix/work.txt" if lies == "folder" else "fix") == "mine\n"
    assert sorted(each.name for each in theirs.path.iterdir()) == [".gitignore", "fix"]
    assert [each.name for each in project.status().workspaces] == ["main"]
    assert len(repo.git("worktree", "list").splitlines()) == 1
    (theirs.path / "fix").rename(repo.path / "mine")
    assert clone(project, "fix").read("cart.py") == CART


FORGED = """
import pathlib, sys
from workspaces.backends import copying
from workspaces.backends.worktree.index import Index
place, file = map(pathlib.Path, sys.argv[1:])
index = Index(place.read_bytes(), 20)
(entry,) = [entry for entry in index.entries if entry.path == b"cart.py"]
index.note(entry, copying.packed(file.stat(), 0o100644))
place.write_bytes(index.written())
"""


def test_what_the_index_of_a_clone_claims_is_not_believed(project: Project) -> None:
    """Whoever works in it can write any bytes there; a clone of it has what its snapshot has."""
    one = clone(project, "one")
    file = one.write("cart.py", CART.replace("line 7", "evil 7"))
    os.utime(file, (1, 1))
    settled(one)
    index = Path(one.git("rev-parse", "--git-dir")) / "index"
    subprocess.run([sys.executable, "-c", FORGED, str(index), str(file)], check=True)
    assert one.status() == []
    assert clone(project, "two", source="one").read("cart.py") == CART


STOPPED_WHILE_IT_COPIES = """
import sys
from workspaces.backends import copying, crew
from workspaces.threads import several
crew._PROGRAM = "import time; time.sleep(600)"
job = copying.Job(b"/", b"/", 0, 0, 0, [(b"%d" % number, b"") for number in range(2000)])
with crew.Crew(hands=2) as copies:
    try:
        with several() as pool:
            begun = [pool.submit(copies.copy, job) for _ in range(2)]
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        print(*{type(each.exception()).__name__ for each in begun if not each.cancelled()})
"""


def test_copies_under_way_end_when_their_call_is_stopped() -> None:
    """Others wait for their turn meanwhile, and do not begin."""
    done = subprocess.run([sys.executable, "-c", STOPPED_WHILE_IT_COPIES], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "Interrupted"
