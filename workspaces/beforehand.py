"""The program that prepares clones before they are asked for (`preparing.wake` starts it), as gently as the system can."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from workspaces.errors import WorkspacesError
from workspaces.project import Project
from workspaces.trust import place

_GENTLE = 19
_PATIENCE = 3600.0
"""Seconds that it waits for another one that is at work."""


def main() -> None:
    """Prepare what the project in a folder may need next. Nobody is told of a failure: the next clone is made as if nothing had been prepared."""
    os.nice(_GENTLE)
    with suppress(WorkspacesError):
        Project.open(Path(sys.argv[1]), trust=place(os.environ), environment=os.environ).prepare(patience=_PATIENCE)


if __name__ == "__main__":
    main()
