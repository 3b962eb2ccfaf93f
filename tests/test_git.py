"""A git that is killed, or that could not read all that it was asked about, is not believed, and leaves no lock in anybody's way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support import Repo, clone

from workspaces import Project


SHORT_OF_DESCRIPTORS = """
import resource, sys
from pathlib import Path
from workspaces import Project, WorkspacesError
Project.open(Path(sys.argv[1])).compare(["fix"])
for number in range(5, 40):
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, 1000))
    try:
        Project.open(Path(sys.argv[1])).compare(["fix"])
    except WorkspacesError:
        pass
"""


def test_too_few_descriptors_are_an_error_of_ours(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    done = subprocess.run([sys.executable, "-c", SHORT_OF_DESCRIPTORS, str(repo.path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
