"""Clones whose files the file system has yet to write out: to wait for that takes as long as to make them.

All that they depend on is durable when they are acknowledged: their snapshots, their git directories, and a note of each here. Until its files are
written out and the note is gone, a power cut may take some of them; whoever opens the project then makes those again. A kill takes nothing: what was
written is the system's by then.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from workspaces.starts import this_start

from .. import tree, views
from ..git import LONGEST, Git
from . import own

FOLDER = "pending"
_BLOCK = 512
"""Bytes of which a power cut takes all or none."""
_turn = Lock()


@dataclass(frozen=True)
class Note:
    """A clone's tree, when the last of its files was made (nanoseconds, by the clock of its file system), and in which start of the machine."""

    file: Path
    contents: str
    made: int
    start: str
    noted: float
    """When, in seconds."""

    @property
    def is_lost(self) -> bool:
        """Whether the machine was started anew since: what was not written out by then is gone."""
        return self.start != this_start()


def note(folder: Path, uid: str, contents: str, made: int) -> None:
    """Note, durably, that a clone's files are on their way."""
    folder.mkdir(exist_ok=True)
    file, draft = folder / uid, folder / f".{uid}"
    draft.write_text(json.dumps([contents, made, this_start()]))
    tree.sync_file(draft)
    draft.rename(file)
    tree.sync(folder, folder.parent)


def forget(folder: Path, uid: str) -> None:
    """Take back the note of a clone, also one that was not finished."""
    for name in (uid, f".{uid}"):
        (folder / name).unlink(missing_ok=True)


def notes(folder: Path) -> Iterator[Note]:
    """Yield the notes in a folder."""
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():  # noqa: PTH208 - names alone, in every call
        with suppress(OSError, ValueError, TypeError):
            contents, made, start = json.loads(tree.start_of(folder / name, LONGEST))
            found = Note(folder / name, str(contents), int(made), str(start), (folder / name).stat().st_mtime)
            if not name.startswith("."):
                yield found


def write_out(folder: Path, place: Path, age: float = 0.0) -> None:
    """Have the files of clones at `place` written out whose notes are so many seconds old, and take those back. Another one at it is waited for, if
    any age will do."""
    if not _turn.acquire(blocking=not age):
        return
    try:
        if there := [each for each in notes(folder) if not each.is_lost and time.time() - each.noted >= age]:
            tree.flush(place)
            for each in there:
                each.file.unlink(missing_ok=True)
    finally:
        _turn.release()


def make_good(git: Git, known: Note, scratch: Path) -> Sequence[bytes]:
    """Make those files of a clone again that are not there, or hold no more than parts of what they held, and return their paths. `git` is at it.

    What was changed since the clone was made is left as it is, and so is all else: nothing of anybody's work is in what is replaced.
    """
    with views.view(scratch) as folder:
        whole = folder / "whole"
        whole.mkdir()
        view = git.at(index=folder / "index")
        view.run("read-tree", known.contents)
        words = view.fields("diff-files", "-z", "--no-renames", "--name-only", "--diff-filter=DMT", "--ignore-submodules=all")
        if own.is_sparse(git):
            left_out = own.skipped(git)
            words = [path for path in words if path not in left_out]
        view.at(work_tree=whole).run("checkout-index", "-f", "-q", "-z", "--stdin", stdin=b"".join(path + b"\0" for path in words))
        root = git.work_tree or Path()
        made = [path for path in words if _made_again(whole, root, path, known.made)]
    tree.flush(root)
    return made


def _made_again(whole: Path, root: Path, path: bytes, made: int) -> bool:
    """Put a file back, unless there is somebody's in its place."""
    folder, _, name = os.fsdecode(path).rpartition("/")
    with suppress(*tree.ABSENT), tree.Folders(root, make=True) as there, tree.Folders(whole) as here:
        at = there.at(folder)
        if not _is_left(at, here.at(folder), name, made):
            return False
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=at)
        return tree.copy(whole, root, path)
    return False


def _is_left(there: int, here: int, name: str, made: int) -> bool:
    """Return whether what is in an open folder is no more than what a power cut may have left of the same in another: nothing, or blocks of it."""
    try:
        found = os.stat(name, dir_fd=there, follow_symlinks=False)
    except FileNotFoundError:
        return True
    if not stat.S_ISREG(found.st_mode) or found.st_mtime_ns > made:
        return stat.S_ISREG(found.st_mode) and not found.st_size
    with tree.opened(os.open(name, tree.READ, dir_fd=there)) as left, tree.opened(os.open(name, tree.READ, dir_fd=here)) as whole:
        return os.fstat(whole).st_size >= found.st_size and _is_part(left, whole)


def _is_part(left: int, whole: int) -> bool:
    """Return whether an open file has blocks of another, zeros for the others, and is not all of it."""
    differ = os.fstat(left).st_size < os.fstat(whole).st_size
    while part := os.read(left, _BLOCK):
        other = os.pread(whole, len(part), os.lseek(left, 0, os.SEEK_CUR) - len(part))
        if part != other:
            if any(part):
                return False
            differ = True
    return differ
