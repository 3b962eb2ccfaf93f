"""How a user of git makes what is in a folder the project's own: in a repository, committed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def record(folder: Path) -> None:
    """Commit all that is in the folder, in a repository that is made when there is none."""
    who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "--allow-empty", "-m", "recorded"]):
        subprocess.run(["git", *command], cwd=folder, env={**os.environ, "GIT_CONFIG_NOSYSTEM": "1"}, check=True)
