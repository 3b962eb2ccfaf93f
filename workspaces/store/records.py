"""What is known of each workspace, in a file of its own: for when the store and its ledger are lost, both.

Each is a ledger of one line, which makes again what the store said of that workspace. It is written before the store is, and not synced: it is
a third copy, read only where there is neither of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from workspaces.errors import BackendFailed, as_ours
from workspaces.store.ledger import Entry, Ledger, Line


class Records:
    """The records of one store. Whoever writes holds the store alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exist(self) -> bool:
        """Whether any were ever written here."""
        return self.folder.is_dir()

    def write(self, uid: str, revision: int, entries: Sequence[Entry]) -> None:
        """Let these entries be all that is known of a workspace; with none, forget it."""
        with as_ours():
            self.folder.mkdir(exist_ok=True)
            file = self.folder / f"{uid}.jsonl"
            if entries:
                Ledger(file, durable=False).rewrite(revision, entries)
            else:
                file.unlink(missing_ok=True)

    def read(self) -> Iterator[Line]:
        """Yield what is known of each workspace, the one that was made first coming first: what was made from another comes after that."""
        if self.exist:
            yield from sorted(self._lines(sorted(self.folder.glob("*.jsonl"))), key=_made)

    def _lines(self, files: Iterable[Path]) -> Iterator[Line]:
        for file in files:
            try:
                yield from Ledger(file).read()
            except (BackendFailed, OSError):  # something else is in its place: the others are worth as much without it
                continue


def _made(line: Line) -> tuple[int, int]:
    """Return when a workspace was made, by the number that its row had in the store."""
    numbers = (entry.row.get("rowid") for entry in line.entries if entry.table == "workspaces")
    return next((number for number in numbers if isinstance(number, int)), 0), line.revision
