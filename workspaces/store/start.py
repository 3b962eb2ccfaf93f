"""In which start of the machine a file was last made sure of: what is written to it and not waited for is lost with that at most."""

from __future__ import annotations

import os
from pathlib import Path

from workspaces import private
from workspaces.errors import as_ours
from workspaces.starts import this_start


class Start:
    """A note of that beside the file. Whoever writes it holds the file alone."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def is_noted(self) -> bool:
        return os.path.lexists(self.file)

    @property
    def is_this(self) -> bool:
        try:
            return self.file.read_text() == this_start()
        except (OSError, UnicodeDecodeError):
            return False

    def note(self) -> None:
        """Note, durably, that it is this one: what is written without a note counts as waited for."""
        with as_ours():
            private.write(self.file, this_start())
