"""Which tree an index makes is read from its end, just where git would say the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Repo

_ASKED = "import sys, pathlib; from workspaces.backends.cachetree import tree_of; print(tree_of(pathlib.Path(sys.argv[1])), end='')"

STATES: dict[str, Callable[[Repo], object]] = {
    "as committed": Repo.status,
    "by an index of version 4": lambda repo: repo.git("update-index", "--index-version=4"),
    "with an untracked cache": lambda repo: (repo.git("update-index", "--force-untracked-cache"), repo.status()),
    "with a part for each thread": lambda repo: (repo.git("config", "index.threads", "2"), repo.git("update-index", "--force-write-index")),
    "switched": lambda repo: repo.git("checkout", "-q", "HEAD~1"),
    "staged": lambda repo: (repo.write("TREE/new.txt", "new\n"), repo.git("add", "-A")),
    "staged and written": lambda repo: (repo.write("TREE/new.txt", "new\n"), repo.git("add", "-A"), repo.git("write-tree")),
    "meant to be added": lambda repo: (repo.write("TREE/new.txt", "new\n"), repo.git("add", "-N", "TREE/new.txt")),
    "unmerged": lambda repo: repo.git("merge", "-q", "other", check=False),
    "not there": lambda repo: (repo.path / ".git" / "index").unlink(),
    "cut off": lambda repo: (repo.path / ".git" / "index").write_bytes(b"DIRC TREE"),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("ids", ["sha1", "sha256"])
def test_the_tree_of_an_index_is_what_git_would_write(tmp_path: Path, ids: str, state: str) -> None:
    repo = Repo.create(tmp_path / "repo", f"--object-format={ids}")
    repo.write("TREE/a.txt", "a\n")
    repo.write("x/TREE/TREE", "b\n")
    repo.commit("start")
    repo.git("checkout", "-q", "-b", "other")
    repo.write("TREE/a.txt", "theirs\n")
    repo.commit("theirs")
    repo.git("checkout", "-q", "-")
    repo.write("TREE/a.txt", "ours\n")
    repo.commit("ours")
    STATES[state](repo)
    asked = [sys.executable, "-c", _ASKED, str(repo.path / ".git" / "index")]
    found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    is_known = state not in ("staged", "meant to be added", "unmerged", "not there", "cut off")
    assert bool(found) == is_known
    assert not found or found == repo.git("write-tree")
