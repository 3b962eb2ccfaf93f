"""What lies in the place of a file or a folder of ours and is something else: a link could lead anywhere, and a pipe is never read to its end."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from workspaces.errors import BackendFailed
from workspaces.model import now


def misplaced(files: Iterable[Path] = (), folders: Iterable[Path] = ()) -> Iterator[tuple[Path, str]]:
    """Yield those of the places in which there is something else than a file, or than a folder, each with what should be there."""
    for wanted, kind, fits in ((files, "file", stat.S_ISREG), (folders, "folder", stat.S_ISDIR)):
        for place in wanted:
            with suppress(FileNotFoundError):
                if not fits(place.lstat().st_mode):
                    yield place, kind


def refuse(found: Iterable[tuple[Path, str]]) -> None:
    """Raise `BackendFailed` for the first of the places in which there is something else."""
    for place, kind in found:
        raise BackendFailed(
            f"{place} is no {kind}. The workspaces' files are untouched.",
            "workspaces doctor --repair sets it aside and makes it again.",
        )


def set_aside(place: Path) -> Path:
    """Give what is in a place another name, and return that."""
    stem = f"{place.stem}-{now():%Y%m%dT%H%M%S}"
    free = (place.with_name(f"{stem}{f'-{number}' if number else ''}.damaged") for number in range(10**6))
    aside = next(name for name in free if not name.is_symlink() and not name.exists())
    return place.rename(aside)
