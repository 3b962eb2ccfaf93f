"""What a child may take: seconds of processor, and not of a clock that a busy machine or a slow disk lets run on."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from support import Repo, clone

from workspaces import Project

_HEARD = """
import subprocess, sys
from workspaces.backends import bounds
patience, seconds, script = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
bounds.PATIENCE = bounds.STANDSTILL = patience
it = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
print(bounds.attend(bounds.Child(it.pid, it.stdout, it.stderr, it.wait), seconds).excess or "heard")
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process used")


def heard(script: str, seconds: float, patience: float = 3.0) -> str:
    """Return what a child took too much of, in a program that is there for the child alone."""
    command = [sys.executable, "-c", _HEARD, str(patience), str(seconds), script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_time_that_passes_is_not_time_that_is_used() -> None:
    assert heard("for part in 1 2 3 4; do sleep 0.3; done", seconds=0.5) == "heard"


def test_what_is_used_comes_to_an_end() -> None:
    assert heard("while :; do :; done", seconds=0.2) == "time"


def test_what_its_children_use_is_used() -> None:
    assert heard("(while :; do :; done) & (while :; do :; done) & wait", seconds=0.2) == "time"


def test_waiting_for_what_never_comes_comes_to_an_end() -> None:
    assert heard("sleep 1000", seconds=100.0, patience=0.3) == "time"


def test_what_moves_a_checkout_is_stopped_only_when_it_stands_still() -> None:
    assert heard("sleep 1000", seconds=math.inf, patience=0.3) == "time"
    assert heard("for part in 1 2 3 4 5 6; do sleep 0.1; i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; done", math.inf, 0.3) == "heard"


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("fatal: Out of memory, malloc failed", "memory"),
        ("fatal: unable to create thread: Resource temporarily unavailable", "memory"),
        ("fatal: unable to create threaded lstat: Resource temporarily unavailable", "memory"),
        ("fatal: unable to create load_cache_entries thread: Resource temporarily unavailable", "memory"),
        ("error: unable to create file docs/a: Permission denied", "heard"),
        ("error: unable to create symlink a: File name too long", "heard"),
    ],
)
def test_memory_is_short_only_where_git_says_so(said: str, what: str) -> None:
    assert heard(f"echo '{said}' >&2; exit 128", seconds=10.0) == what


_UNDER_A_LOWER_LIMIT = """
import resource, sys
from pathlib import Path
from workspaces import Project
resource.setrlimit(resource.RLIMIT_DATA, (200 << 20, 200 << 20))
print(Project.open(Path(sys.argv[1])).compare(["fix"], detail="outline").workspaces[0].outline)
"""


def test_a_lower_limit_of_the_persons_own_stays(project: Project, repo: Repo) -> None:
    """`ulimit -d`: who may not raise it can still bound what is started, by that."""
    clone(project, "fix").write("new.py", "def new(): pass\n")
    told = subprocess.run([sys.executable, "-c", _UNDER_A_LOWER_LIMIT, str(repo.path)], capture_output=True, text=True, check=False)
    assert told.stdout == "('new.py: added +new',)\n", told.stderr
