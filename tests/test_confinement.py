"""What git's children, and commands that are run confined, may not do; and that all goes on where the system has no means against it."""

from __future__ import annotations

import errno
import os
import platform
import pty
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import WORKSPACES, Repo, clone

from workspaces import Project
from workspaces.backend import Backend, installed
from workspaces.errors import BackendFailed, NotAllowed, Unsupported

LISTENER = "import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
TALKER = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))"


def holds() -> str:
    """Return what the isolation of a folder here is."""
    backend: Backend | None = installed()["directory"].adopt(Path(__file__).parent)
    return backend.isolation if backend else ""


needs_landlock = pytest.mark.skipif(
    not holds().endswith("+files+network"), reason="this kernel has no Landlock as of Linux 6.2, or no seccomp"
)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server on this machine that nobody should come to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def was_called(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def filter_everything(repo: Repo, home: Path, script: str) -> None:
    """Let a script of the person's own configuration have all `.dat` files on their way in and out."""
    program = home / "filter.sh"
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    repo.write(".gitattributes", "*.dat filter=mine\n")
    repo.write("a.dat", "data\n")
    repo.commit("data")
    repo.git("config", "--global", "filter.mine.clean", f"{program} clean")
    repo.git("config", "--global", "filter.mine.smudge", f"{program} smudge")
    repo.git("config", "--global", "filter.mine.required", "true")


def trespass(repo: Repo, home: Path, listener: socket.socket) -> str:
    """Return a filter that tries what none should, and notes that it ran where it may write."""
    git = repo.path / ".git"
    return f"""
    echo >> "$TMPDIR/$1"
    for place in {home}/outside {git}/hooks/post-checkout {git}/info/attributes {git}/workspaces/store.sqlite {git}/HEAD; do
        echo trespassed >> "$place"
    done
    echo '[core] fsmonitor = trespassed' >> {git}/config
    mv {git}/hooks {git}/objects/hooks
    exec 3<>/dev/tcp/127.0.0.1/{port(listener)}
    exec cat
    """


def shared_things(repo: Repo) -> dict[str, bytes]:
    git = repo.path / ".git"
    return {str(file): file.read_bytes() for file in [git / "config", git / "HEAD", *git.glob("hooks/*"), *git.glob("info/*")]}


@needs_landlock
@pytest.mark.parametrize("dirty", [False, True])
def test_a_hostile_filter_gets_nowhere(repo: Repo, home: Path, listener: socket.socket, dirty: bool) -> None:
    filter_everything(repo, home, trespass(repo, home, listener))
    project, before = Project.initialize(repo.path), shared_things(repo)
    fix = clone(project, "fix")
    if dirty:
        repo.write("notes.md", "mine\n")
    fix.write("a.dat", "theirs\n")
    fix.write("b.dat", "new\n")
    assert project.compare(["fix"]).workspaces[0].merge == "clean"
    assert project.merge("fix").status == "merged"
    assert (repo.read("a.dat"), repo.read("b.dat")) == ("theirs\n", "new\n")
    project.undo()
    assert repo.read("a.dat") == "data\n"
    assert {entry.name for entry in (repo.path / ".git/workspaces/tmp").iterdir()} >= {"clean", "smudge"}
    assert shared_things(repo) == before
    assert not (home / "outside").exists()
    assert not was_called(listener)
    (home / "filter.sh").write_text("#!/bin/sh\nexec cat\n")  # from here on, plain git would let it do as it likes
    assert repo.status() == ([" M notes.md"] if dirty else [])
    assert [finding for finding in project.doctor().findings if not finding.ok] == []


@needs_landlock
def test_a_filter_that_needs_the_network_says_so(repo: Repo, home: Path, listener: socket.socket) -> None:
    filter_everything(repo, home, f"set -e; exec 3<>/dev/tcp/127.0.0.1/{port(listener)}; exec cat")
    with pytest.raises(BackendFailed) as refused:
        Project.initialize(repo.path).clone(name="fix")
    assert "without network" in refused.value.hint


@needs_landlock
def test_files_of_large_file_storage_are_kept(repo: Repo, home: Path) -> None:
    store = repo.path / ".git/lfs"
    filter_everything(repo, home, f"[ $1 = clean ] && echo kept > {store}/kept || true\nexec cat")
    repo.git("config", "--global", "filter.lfs.clean", "git-lfs clean -- %f")
    project = Project.initialize(repo.path)
    clone(project, "fix").write("b.dat", "new\n")
    project.merge("fix")
    assert (store / "kept").exists()


@needs_landlock
def test_only_what_git_starts_is_confined(repo: Repo, home: Path) -> None:
    """The server goes on as before, while git and its filters run and afterwards."""
    go = home / "go"
    filter_everything(repo, home, f'echo > "$TMPDIR/waits"; echo > {go}; while [ ! -e {go} ]; do sleep 0.01; done; exec cat')
    project = Project.initialize(repo.path)
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(project.clone, name="fix")
        while not (repo.path / ".git/workspaces/tmp/waits").exists() and not made.done():
            time.sleep(0.01)
        assert not go.exists()
        go.write_text("")
        assert made.result(60).workspaces
    assert "NoNewPrivs:\t0" in Path("/proc/self/status").read_text()


# -- commands -------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(project: Project) -> tuple[Repo, Repo]:
    return clone(project, "fix"), clone(project, "other")


def confined(
    repo: Repo, script: str, *options: str, program: str = "sh", stdin: int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    """Run a script in the workspace `fix`, confined."""
    command = [WORKSPACES, "run", *options, "--confined", "fix", "--", program, "-c", script]
    environment = {**os.environ, "TMPDIR": str(repo.path.parent)}
    return subprocess.run(command, cwd=repo.path, env=environment, stdin=stdin, capture_output=True, text=True, check=False, timeout=60)


@needs_landlock
def test_a_confined_command_works_in_its_own_tree(repo: Repo, two: tuple[Repo, Repo]) -> None:
    done = confined(
        repo,
        "set -e; echo mine > cart.py; mkdir -p new; printf '#!/bin/sh\\nexit 7\\n' > new/tool; chmod +x new/tool;"
        "git add -A; git commit -qm work; git commit -q --amend -m done; git log --format=%s -1; git status --short;"
        "echo x > $TMPDIR/scratch; python3 -c 'import multiprocessing; multiprocessing.Lock()'; new/tool",
    )
    assert (done.returncode, done.stdout) == (7, "done\n"), done.stderr
    project = Project.open(repo.path)
    assert {change.path for change in project.compare(["fix"], detail="files").files} == {"cart.py", "new/tool"}
    assert project.merge("fix").status == "merged"
    assert repo.read("cart.py") == "mine\n"


@needs_landlock
def test_a_confined_command_writes_nothing_else(repo: Repo, two: tuple[Repo, Repo], home: Path) -> None:
    (home / ".bashrc").write_text("mine\n")
    git = repo.path / ".git"
    places = [repo.path, two[1].path, home, git, git / "hooks", git / "info", git / "refs/heads", git / "workspaces", repo.path.parent]
    files = [repo.path / "cart.py", two[1].path / "cart.py", home / ".bashrc", git / "config", git / "workspaces/store.sqlite"]
    before = {file: file.read_bytes() for file in files}
    script = "".join(f"echo x > '{place}/trespassed'; rm -rf '{place}/cart.py';" for place in places)
    script += "".join(f"echo x >> '{file}'; mv '{file}' cart.py;" for file in files) + "git branch trespassed; git update-ref HEAD~0 HEAD"
    confined(repo, script)
    assert {file: file.read_bytes() for file in files} == before
    assert not any((place / "trespassed").exists() for place in places)
    assert repo.git("branch", "--format=%(refname:short)") == "trunk"


@needs_landlock
@pytest.mark.parametrize("where", ["shop", "home/go/src/shop"])
def test_a_confined_command_reads_no_other_workspace(tmp_path: Path, home: Path, where: str) -> None:
    """Not even where the project lies among what may be read."""
    repo = Repo.create(tmp_path / where)
    repo.write("cart.py", "secret\n")
    repo.commit("start")
    project = Project.initialize(repo.path)
    clone(project, "fix").write("cart.py", "mine\n")
    clone(project, "other").write("plan.txt", "secret\n")
    for name in (".ssh/id_ed25519", ".cargo/credentials.toml", ".config/gh/hosts.yml", "letters.txt"):
        Repo(home).write(name, "secret\n")
    Repo(home).write(".cargo/config.toml", "shown\n")
    Repo(home).write("go/src/lib.go", "shown\n")
    files = [repo.path / "cart.py", repo.path / ".workspaces/other/plan.txt", *home.glob("**/id_*"), *home.glob("**/*.toml")]
    files += [home / "letters.txt", home / ".config/gh/hosts.yml", home / "go/src/lib.go", Path("cart.py")]
    done = confined(repo, "".join(f"cat '{file}';" for file in files) + f"ls {repo.path} {repo.path}/.workspaces {tmp_path}; true")
    assert (sorted(done.stdout.split()), done.returncode) == (["mine", "shown", "shown"], 0)


@needs_landlock
def test_the_network_is_there_when_it_is_allowed(repo: Repo, two: tuple[Repo, Repo], listener: socket.socket) -> None:
    call = LISTENER.format(port=port(listener))
    assert confined(repo, call, program=sys.executable).returncode == 1
    assert confined(repo, TALKER.format(port=port(listener)), program=sys.executable).returncode == 1
    assert not was_called(listener)
    assert confined(repo, call, "--network", program=sys.executable).returncode == 0
    assert was_called(listener)


@needs_landlock
@pytest.mark.parametrize("options", [(), ("--network",)])
@pytest.mark.parametrize("call", [0x5412, 0x541C])
def test_a_confined_command_does_not_type_into_the_terminal(
    repo: Repo, two: tuple[Repo, Repo], options: tuple[str, ...], call: int
) -> None:
    """What is pushed into a terminal (TIOCSTI, TIOCLINUX), the shell behind it reads as typed by the person."""
    script = f"import fcntl\ntry: fcntl.ioctl(0, {call}, b'x')\nexcept OSError as error: raise SystemExit(error.errno)"
    ours, theirs = pty.openpty()
    try:
        assert confined(repo, script, *options, program=sys.executable, stdin=theirs).returncode == errno.EACCES
    finally:
        os.close(ours)
        os.close(theirs)


@needs_landlock
@pytest.mark.parametrize("options", [(), ("--network",)])
def test_a_confined_command_has_no_keys_of_the_person(repo: Repo, two: tuple[Repo, Repo], options: tuple[str, ...]) -> None:
    first = 248 if platform.machine() == "x86_64" else 217
    script = (
        f"import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"print([(libc.syscall(call, 0, 0, 0, 0, 0), ctypes.get_errno()) for call in range({first}, {first + 3})])"
    )
    done = confined(repo, script, *options, program=sys.executable)
    assert done.stdout.strip() == str([(-1, errno.ENOSYS)] * 3), done.stderr


@needs_landlock
@pytest.mark.parametrize("folder", ["bin", "shims"])
def test_tools_bring_along_what_lies_beside_them(repo: Repo, two: tuple[Repo, Repo], tmp_path: Path, folder: str) -> None:
    """By its place, or by PATH; a tool may be a link to one elsewhere."""
    kit = Repo(tmp_path / "kit")
    kit.write("lib/words.txt", "found\n")
    for name in (f"{folder}/say", "else/bin/real"):
        kit.write(name, f"#!/bin/sh\ncat {kit.path}/lib/words.txt\n")
        (kit.path / name).chmod(0o755)
    (kit.path / folder / "link").symlink_to(kit.path / "else/bin/real")
    command = [WORKSPACES, "run", "--confined", "fix", "--"]
    for program in (str(kit.path / folder / "say"), str(kit.path / folder / "link"), "say"):
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        environment["PATH"] += f":{kit.path / folder}" if program == "say" else ""
        done = subprocess.run([*command, program], cwd=repo.path, env=environment, capture_output=True, text=True, check=False)
        assert (done.stdout, done.returncode) == ("found\n", 0), (program, done.stderr)


@needs_landlock
def test_a_link_that_an_agent_made_brings_nothing_along(repo: Repo, two: tuple[Repo, Repo], tmp_path: Path) -> None:
    private = Repo(tmp_path / "private")
    private.write("letter.txt", "secret\n")
    private.write("bin/tool", f"#!/bin/sh\ncat {private.path}/letter.txt\n")
    (private.path / "bin/tool").chmod(0o755)
    (two[0].path / "tool").symlink_to(private.path / "bin/tool")
    for program in ("./tool", str(two[0].path / "tool")):
        command = [WORKSPACES, "run", "--confined", "fix", "--", program]
        done = subprocess.run(command, cwd=repo.path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (126, "")


@needs_landlock
def test_a_program_that_cannot_be_run_says_so(repo: Repo, two: tuple[Repo, Repo]) -> None:
    two[0].write("tool", "#!/no/such/shell\n")
    (two[0].path / "tool").chmod(0o755)
    for program, status, said in (("nowhere", 3, "No program 'nowhere' was found"), ("./tool", 126, "could not be started")):
        command = [WORKSPACES, "run", "--confined", "fix", "--", program]
        done = subprocess.run(command, cwd=repo.path, capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert said in done.stderr


@needs_landlock
def test_a_folder_is_confined_too(tmp_path: Path, home: Path) -> None:
    folder = Repo(tmp_path / "survey")
    folder.write("table.csv", "secret\n")
    project = Project.initialize(folder.path)
    fix, other = clone(project, "fix"), clone(project, "other")
    assert project.find("fix").isolation == "private-folder+files+network"
    done = confined(folder, f"echo mine > table.csv; cat {other.path}/table.csv ../../table.csv; echo x >> ../../table.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert (fix.read("table.csv"), folder.read("table.csv")) == ("mine\n", "secret\n")


@needs_landlock
def test_nobody_else_s_folder_is_used_for_temporary_files(project: Project, repo: Repo, tmp_path: Path, home: Path) -> None:
    clone(project, "fix")
    fix = project.find("fix")
    (tmp_path / f"workspaces-{os.geteuid()}-{fix.uid}").symlink_to(home)
    with pytest.raises(NotAllowed):
        project.confine("fix", network=False, environment={"TMPDIR": str(tmp_path)})


AS_NOBODY = """
import os, subprocess, sys
from pathlib import Path
from workspaces import Project

def loop(shop):
    start = "git init -q; git config user.name A; git config user.email a@b; echo 1 > a; git add a; git commit -qm start"
    shop.mkdir()
    subprocess.run(["sh", "-c", start], check=True, cwd=shop)
    project = Project.initialize(shop)
    (fix,) = project.clone(name="fix").workspaces
    if os.fork() == 0:
        environment = project.confine("fix", False, {**os.environ, "TMPDIR": str(folder)})
        os.chdir(fix.location)
        os.execvpe("sh", ["sh", "-c", "echo 2 > a; git commit -qam two; echo 3 > ../../a; cat ../../a"], environment)
    os.wait()
    return project.merge("fix").status, (shop / "a").read_text().strip(), project.find("fix").isolation

folder = Path(sys.argv[1])
loop(folder / "first")  # what Python loads when it needs it may be out of another user's reach
os.chown(folder, 65534, 65534)
os.chdir(folder)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
os.environ["HOME"] = str(folder)
print(*loop(folder / "second"))
"""


@needs_landlock
@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests already show it without root")
def test_it_takes_no_root() -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, folder], capture_output=True, text=True, check=False)
    assert done.stdout == "merged 2 worktree+files+network\n", done.stderr


def test_main_is_not_confined(project: Project) -> None:
    with pytest.raises(Unsupported, match="all the others"):
        project.confine("main", network=False, environment={})


# -- other systems --------------------------------------------------------------------------------------------------------------------------


def test_without_landlock_all_goes_on_unconfined_and_says_so(repo: Repo, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workspaces.backends.landlock.version", lambda: 0)
    filter_everything(repo, home, f"echo >> {home}/ran; exec cat")
    project = Project.initialize(repo.path)
    fix = clone(project, "fix")
    fix.write("a.dat", "theirs\n")
    assert project.merge("fix").status == "merged"
    assert (home / "ran").exists()
    assert {each.isolation for each in project.status().workspaces} == {"none", "worktree"}
    for network in (False, True):
        with pytest.raises(Unsupported, match="Landlock"):
            project.confine("fix", network, environment={})


@needs_landlock
def test_what_holds_is_told_as_it_is_now(project: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    clone(project, "fix")
    assert project.find("fix").isolation == "worktree+files+network"
    monkeypatch.setattr("workspaces.backends.seccomp.available", lambda: False)
    later = Project.open(repo.path)
    assert later.find("fix").isolation == "worktree+files"
    with pytest.raises(Unsupported, match="network"):
        later.confine("fix", network=False, environment={})
    monkeypatch.setattr("workspaces.backends.landlock.version", lambda: 2)
    assert Project.open(repo.path).find("fix").isolation == "worktree"
