"""Many servers, one repository: nobody knows of the others, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest
from conformance.forking import python
from mcp import Client
from serving import stdio
from support import Repo, clone

from workspaces import Project
from workspaces.core import Core
from workspaces.errors import BackendFailed, Busy

AGENTS = 16


async def agent(number: int, repo: Repo, cloned: anyio.Semaphore, merged: list[str]) -> None:
    """Start a server of its own, clone, edit when all have cloned, merge."""
    async with Client(stdio(repo.path)) as client:
        made = await client.call_tool("clone", {"name": f"agent-{number}"})
        assert not made.is_error, made.content
        location = repo.path / ".workspaces" / f"agent-{number}"
        (location / f"agent-{number}.txt").write_text(f"{number}\n")
        cloned.release()
        while cloned.value < AGENTS:
            await anyio.sleep(0.05)
        # Everybody edits a line of the same file; the last two edit the same line, so that one of them conflicts.
        line = 4 * min(number, AGENTS - 2)
        (location / "shared.txt").write_text((location / "shared.txt").read_text().replace(f"line {line}\n", f"agent {number}\n"))
        result = await client.call_tool("merge", {"source": f"agent-{number}", "delete_source": number % 2 == 0})
        assert not result.is_error, result.content
        if (result.structured_content or {})["status"] == "merged":
            merged.append(f"agent-{number}")


def bystander(repo: Repo, stop: threading.Event, failures: list[str]) -> None:
    """Use plain git beside the agents."""
    while not stop.is_set():
        for command in (["fetch", "-q", "."], ["worktree", "list"], ["gc", "-q", "--prune=now"], ["status"], ["worktree", "prune"]):
            done = subprocess.run(["git", *command], cwd=repo.path, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                failures.append(f"git {command}: {done.stderr}")


def test_sixteen_servers_at_once(repo: Repo) -> None:
    repo.write("shared.txt", "".join(f"line {number}\n" for number in range(4 * AGENTS)))
    repo.commit("shared")
    merged: list[str] = []
    stop, failures = threading.Event(), list[str]()
    beside = threading.Thread(target=bystander, args=(repo, stop, failures))

    async def all_agents() -> None:
        cloned = anyio.Semaphore(0)
        async with anyio.create_task_group() as tasks:
            for number in range(AGENTS):
                tasks.start_soon(agent, number, repo, cloned, merged)

    beside.start()
    try:
        anyio.run(all_agents)
    finally:
        stop.set()
        beside.join()
    assert failures == []
    project = Project.open(repo.path)
    for name in merged:
        number = name.removeprefix("agent-")
        assert repo.read(f"{name}.txt") == f"{number}\n"
        assert f"agent {number}\n" in repo.read("shared.txt")
    assert len(merged) == AGENTS - 1
    assert repo.status() == []
    left = {workspace.name for workspace in project.status().workspaces} - {"main"}
    assert left >= {f"agent-{number}" for number in range(AGENTS) if number % 2}
    assert len(left) == repo.git("worktree", "list").count("\n")
    assert all(finding.ok for finding in project.doctor().findings)
    assert repo.git("fsck", "--no-dangling") == ""


def test_only_one_of_many_gets_a_name(project: Project, repo: Repo) -> None:
    script = (
        "import sys; from pathlib import Path; from workspaces import Project, WorkspacesError\n"
        "try: Project.open(Path(sys.argv[1])).clone(name='fix')\n"
        "except WorkspacesError as error: sys.exit(error.code)"
    )
    processes = [subprocess.Popen([*python(), "-c", script, str(repo.path)], stderr=subprocess.PIPE, text=True) for _ in range(6)]
    said = [process.communicate()[1].strip() for process in processes]
    assert sorted(said) == ["", *["exists"] * 5]
    assert project.status(["fix"]).workspaces[0].state == "ready"


def test_merges_into_one_target_at_once_are_all_in_it(project: Project, repo: Repo) -> None:
    for number in range(8):
        Repo(Path(project.clone(name=f"w{number}").workspaces[0].location)).write(f"f{number}.txt", f"{number}\n")
    script = "import sys; from pathlib import Path; from workspaces import Project\nprint(Project.open(Path(sys.argv[1])).merge(sys.argv[2]).status)"
    processes = [
        subprocess.Popen([*python(), "-c", script, str(repo.path), f"w{number}"], stdout=subprocess.PIPE, text=True) for number in range(8)
    ]
    assert [process.communicate()[0].strip() for process in processes] == ["merged"] * 8
    assert {f"f{number}.txt" for number in range(8)} <= {entry.name for entry in repo.path.iterdir()}
    assert repo.git("rev-list", "--count", "HEAD") == "9"
    assert repo.status() == []


READS_ALWAYS = """
import sys, time
from pathlib import Path
from workspaces.locks import Locks
locks = Locks(Path(sys.argv[1]))
print(flush=True)
while True:
    with locks.change(freeze=["shop.main"]):
        time.sleep(0.2)
"""


def test_who_changes_gets_a_turn_beside_those_who_always_read(project: Project, repo: Repo) -> None:
    """The kernel lets readers in as long as there are any: three of them leave no moment without one."""
    clone(project, "fix").write("new.txt", "new\n")
    folder = str(repo.path / ".git" / "workspaces" / "locks")
    command = [*python(), "-c", READS_ALWAYS.replace("shop.", f"{project.name}."), folder]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        assert [reader.stdout and reader.stdout.readline() for reader in readers] == ["\n"] * 3
        assert Project.open(repo.path, patience=10).merge("fix").status == "merged"
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()


def test_reading_goes_on_beside_a_merge_at_work(project: Project, repo: Repo, tmp_path: Path) -> None:
    """A slow filter of the person's keeps a merge into one workspace busy; others clone and compare meanwhile."""
    slow = tmp_path / "slow.sh"
    started, go = repo.path / ".git/workspaces/tmp/started", tmp_path / "go"  # a filter may write only there
    slow.write_text(f'#!/bin/sh\ntouch "$TMPDIR/started"\nwhile [ ! -e {go} ]; do sleep 0.05; done\ncat\n')
    slow.chmod(0o755)
    Repo(Path(project.clone(name="one").workspaces[0].location))
    project.clone(name="two")
    repo.write("cart.py", "on main\n")
    repo.write(".gitattributes", "cart.py filter=slow\n")
    repo.commit("attributes")
    subprocess.run(["git", "config", "--global", "filter.slow.smudge", str(slow)], check=True)
    script = "import sys; from pathlib import Path; from workspaces import Project\nprint(Project.open(Path(sys.argv[1])).merge('main', 'one').status)"
    with subprocess.Popen([*python(), "-c", script, str(repo.path)], stdout=subprocess.PIPE, text=True) as process:
        while not started.exists():
            assert process.poll() is None
            time.sleep(0.01)
        assert project.compare(["two"]).workspaces[0].behind == 1
        assert project.checkpoint("two").restore_point == "two@1"
        assert process.poll() is None
        go.touch()
        assert process.communicate()[0].strip() == "merged"


ALONE = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"


@pytest.fixture(params=["worktree", "directory"])
def shelved(request: pytest.FixtureRequest, project: Project, tmp_path: Path) -> tuple[Project, Path]:
    """A project of either kind, and what nobody brings anything in beside while somebody is alone there."""
    if request.param == "worktree":
        return project, project.home / "packs"
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "cart.py").write_text("theirs\n")
    plain = Project.initialize(tmp_path / "plain")
    return plain, plain.home / "lock"


def test_who_is_alone_with_all_that_is_kept_makes_others_busy_in_the_end(
    shelved: tuple[Project, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, shelf = shelved
    clone(project, "fix").write("cart.py", "mine\n")
    monkeypatch.setattr("workspaces.locks.PATIENCE", 0.2)
    with subprocess.Popen([sys.executable, "-c", ALONE, str(shelf)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "\n"
        with pytest.raises(Busy, match=f"{shelf} is kept by (process {other.pid}|another call), which did not end") as refused:
            project.merge("fix")
        assert f"kill -9 {other.pid}" in refused.value.hint or f"fuser {shelf}" in refused.value.hint
        assert Path(project.root, "cart.py").read_text() != "mine\n"
        with ThreadPoolExecutor(1) as pool:
            monkeypatch.setattr("workspaces.locks.PATIENCE", 60.0)
            merged = pool.submit(project.merge, "fix")
            other.communicate()
            assert merged.result().status == "merged"


def test_an_error_beside_what_is_kept_is_told_as_what_it_is(shelved: tuple[Project, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    project, _ = shelved

    def would_block(*_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(Core, "point", would_block)
    with pytest.raises(BackendFailed, match="Resource temporarily unavailable"):
        project.checkpoint("main")
