"""Git worktrees: see `backend`."""

from .backend import WorktreeBackend as WorktreeBackend
