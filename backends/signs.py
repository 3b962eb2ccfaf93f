"""By what a folder shows that it may be, or be in, a project of a kind: so cheap to look at that a backend is loaded only where it may be needed.

A sign may be there for nothing; it is never missing where the backend would find a project.
"""

from __future__ import annotations

import os
from pathlib import Path


def worktree(path: Path) -> bool:
    """Return whether a folder may be in a git repository."""
    return _is_around(path, ".git") or _is_around(path, "HEAD")


def directory(path: Path) -> bool:
    """Return whether a folder may be in a project that is a folder."""
    return _is_around(path, ".workspaces/.state")


def _is_around(path: Path, name: str) -> bool:
    real = path.resolve()
    return any(_may_exist(folder / name) for folder in (real, *real.parents))


def _may_exist(path: Path) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # the backend says what is wrong
        return True
    return True
