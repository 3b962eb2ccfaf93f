"""Worktrees that are prepared before anybody asks for one, so that a clone is little more than a rename.

A spare is the git directory of a worktree that git does not know of, with its tree inside: `tree/`, and in `spare` a note of what that holds. It
has what is committed and nothing else, and belongs to nobody. It is ready when it has its name, and taken by one rename, which succeeds once;
a template (`templates`) is not taken, but copied.
Whoever prepares spares is alone at that; what a kill leaves has a name of its own, and goes when the next one comes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workspaces.errors import BackendFailed

from .. import subvolume, tree
from ..diff import Step, refuse_hollow, steps
from ..git import LONGEST, Git
from . import templates
from .conversions import attribute_files

TREE = "tree"
_NOTE, _NEW = "spare", ".new-"
_FORMAT = 2
_ROOM = 10
"""Of the space that is free, spares take at most one part in so many."""
SYNCED = 50
"""Changed files up to which each is written out for itself."""


@dataclass(frozen=True)
class Spare:
    """A spare, the tree that it holds, and what else its files depend on (`fitting`)."""

    folder: Path
    contents: str
    fits: str

    @property
    def tree(self) -> Path:
        return self.folder / TREE

    @property
    def is_template(self) -> bool:
        return subvolume.is_one(self.tree)


def fitting(git: Git, trusted: str) -> str:
    """Return what checked out files depend on beside the contents: where that is equal, they are. `git` is at the project's own checkout."""
    settings = (git.checkout, git.filters, git.settings)
    about = [_FORMAT, trusted, os.geteuid(), os.getegid(), *map(dict, settings), *map(_seen, attribute_files(git))]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode(errors="surrogateescape")).hexdigest()


def _seen(file: Path) -> list[int]:
    try:
        found = file.stat()
    except OSError:
        return []
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def ready(folder: Path) -> Iterator[Spare]:
    """Yield the spares that lie ready in a folder, in order of their names."""
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        with suppress(OSError, ValueError):
            contents, fits = tree.start_of(place / _NOTE, LONGEST).decode().split()
            if not place.name.startswith(_NEW):
                yield Spare(place, contents, fits)


def take(folder: Path, fits: str, contents: str, admin: Path, files: Path) -> str:
    """Take a spare that fits, or a copy of it, one with these contents if there is one: it is then the git directory `admin`, with its tree at
    `files`. Neither may be there. Returns which contents it holds; nothing when there is none."""
    fit = [spare for spare in ready(folder) if spare.fits == fits]
    for spare in sorted(fit, key=lambda each: each.contents != contents):
        admin.parent.mkdir(parents=True, exist_ok=True)
        if spare.is_template and _copied(spare, admin, files):
            return spare.contents
        with suppress(FileNotFoundError):  # somebody else was first
            spare.folder.rename(admin)
            if _moved_out(admin, files):
                return spare.contents
            remove(admin)
            return ""
    return ""


def _copied(template: Spare, admin: Path, files: Path) -> bool:
    """Make a copy of a template. False where it cannot be, and nothing is left of it then."""
    if not templates.copy(template.folder, template.tree, admin, files):
        return False
    if _has_our_modes(files):
        return True
    subvolume.remove(files)
    tree.remove(admin)
    return False


def _moved_out(admin: Path, files: Path) -> bool:
    """Move the tree of a spare to its place. False where it cannot be, or where what is made now would have other modes than its files."""
    try:
        if not _has_our_modes(admin / TREE):
            return False
        (admin / TREE).rename(files)
    except OSError:
        return False
    (admin / _NOTE).unlink()
    return True


def _has_our_modes(files: Path) -> bool:
    """Return whether what is made now has the modes that the files of a spare have."""
    pointer = files / ".git"
    before = pointer.lstat().st_mode
    pointer.unlink()
    pointer.touch()
    return pointer.lstat().st_mode == before


def remove(folder: Path) -> None:
    """Remove what is a spare, or was to be one, and has no name as such any more."""
    subvolume.remove_with(folder, TREE)


def bring(git: Git, held: str, contents: str, has_been_there: bool) -> Sequence[Step] | None:
    """Bring a taken spare from the contents that it holds to others, and return what was changed. None when it cannot serve for these. Raises
    `Limit` for more than can be checked out, unless it has been in a checkout."""
    if held == contents:
        return ()
    try:
        moved = steps(git, held, contents)
        if any(step.path.rpartition(b"/")[2] == b".gitattributes" for step in moved):
            return None  # files that did not change may be checked out otherwise now
        if not has_been_there:
            refuse_hollow(git, moved)
        git.run("read-tree", "-m", "-u", held, contents)
    except BackendFailed:
        return None
    return moved


def sync(files: Path, moved: Sequence[Step]) -> None:
    """Make what was changed in a spare's tree durable, file by file."""
    if tree.is_relaxed(files):
        return
    with tree.Folders(files) as folders:
        for step in moved:
            folder, _, name = os.fsdecode(step.path).rpartition("/")
            with suppress(*tree.ABSENT):  # the last file of a folder went
                at = folders.at(folder)
                if step.new and stat.S_ISREG(int(step.new.mode, 8)):
                    tree.sync_in(at, name)
                os.fsync(at)
    tree.sync_file(files / ".git")
    tree.sync(files)


# -- preparing ----------------------------------------------------------------------------------------------------------------------------


def tidy(folder: Path, fits: str, count: int) -> list[Spare]:
    """Remove what a kill left, what does not fit, and what is more than `count`, or beside a template. Returns the others."""
    folder.mkdir(exist_ok=True)
    fit = sorted((spare for spare in ready(folder) if spare.fits == fits), key=lambda each: not each.is_template)
    kept = fit[: min(count, 1) if fit and fit[0].is_template else count]
    for place in {*folder.iterdir()} - {spare.folder for spare in kept}:
        going = _unnamed(folder)
        with suppress(FileNotFoundError):  # somebody took it
            place.rename(going)
            remove(going)
    return kept


def _unnamed(folder: Path) -> Path:
    """Return a place for what is no spare yet, or no longer."""
    return folder / f"{_NEW}{os.urandom(6).hex()}"


def begin(folder: Path) -> Path:
    """Return where the next spare is prepared."""
    made = _unnamed(folder)
    made.mkdir()
    templates.prepare(made / TREE)
    return made


def finish(made: Path, contents: str, fits: str) -> None:
    """Let what was prepared, and is durable, be taken."""
    (made / TREE / ".git").touch()
    (made / _NOTE).write_text(f"{contents} {fits}\n")
    tree.sync_file(made / _NOTE)
    tree.sync(made)
    made.rename(made.with_name(made.name.removeprefix(_NEW)))


def reopen(spare: Spare) -> Path | None:
    """Take a spare back into preparation; it comes out of that with another name. None when somebody took it."""
    made = _unnamed(spare.folder.parent)
    try:
        spare.folder.rename(made)
    except FileNotFoundError:
        return None
    (made / _NOTE).unlink()
    return made


def has_room(folder: Path, size: int) -> bool:
    """Return whether a spare of so many bytes more may lie in the folder."""
    disk = shutil.disk_usage(folder)
    return disk.free > disk.total // _ROOM and size * _ROOM < disk.free
