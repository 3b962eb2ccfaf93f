"""The frozen copies in which checks run: made from a snapshot like a workspace, known to nobody but their maker, and cleared away after a kill."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from workspaces.backend import Backend
from workspaces.core import Core, new_uid
from workspaces.errors import WorkspacesError
from workspaces.model import MAIN, Snapshot, Workspace, now

logger = logging.getLogger(__name__)

LOGS = "logs"
_STALE = 86400.0


class Note(BaseModel):
    """What is written down of a copy before anything of it is made."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    workspace: Workspace
    uid: str
    temporary: str


@dataclass(frozen=True)
class Copy:
    """A copy that is, or will be, made. Its lock is held by whoever has it, and by what runs in it."""

    note: Note
    snapshot: Snapshot
    folder: Path
    lock: int

    @property
    def workspace(self) -> Workspace:
        return _whole(self.note)

    @property
    def temporary(self) -> Path:
        return Path(self.note.temporary)


def hold(core: Core, view: Backend, snapshot: Snapshot) -> Copy:
    """Keep a snapshot for a copy, in a `keep_all` block of the view that it is in. Nothing of the copy itself is made yet."""
    note = _note(core, snapshot)
    folder = core.copies / note.uid
    folder.mkdir(parents=True)
    (folder / "note.json").write_text(note.model_dump_json())
    descriptor = os.open(folder / "lock.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.set_inheritable(descriptor, True)  # git children hold it too, as they hold all locks
    (folder / "lock.new").rename(folder / "lock")
    copy = Copy(note, snapshot, folder, descriptor)
    try:
        view.keep((copy.workspace, "judged", snapshot))
    except BaseException:
        drop(core, copy)
        raise
    return copy


def make(core: Core, copy: Copy) -> None:
    """Fill the copy, with the ignored files that a clone of `main` would have."""
    copy.temporary.mkdir(mode=0o700)
    core.backend.fork(copy.snapshot, copy.workspace, core.main())


@contextmanager
def another(core: Core, copy: Copy) -> Generator[Copy]:
    """Hold one more copy of what a copy keeps, until the block ends."""
    more = hold(core, core.backend, copy.snapshot)
    try:
        yield more
    finally:
        drop(core, more)


def drop(core: Core, copy: Copy) -> None:
    """Leave nothing of a copy. What cannot be removed now is cleared away by whoever comes next: no verdict is lost over it."""
    try:
        _remove(core, copy.note, copy.folder)
    except (WorkspacesError, OSError) as error:
        logger.warning("%s is left for later: %s", copy.workspace.location, error)
    finally:
        os.close(copy.lock)


def known(core: Core) -> list[Workspace]:
    """Return the copies that there are, of living calls and of dead ones."""
    return [_whole(note) for note, _ in _notes(core)]


def clear(core: Core) -> None:
    """Clear away the copies of calls that are dead. One whose command still runs is left for later: its guard ends it."""
    for note, folder in _notes(core):
        with suppress(OSError, WorkspacesError), (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(core, note, folder)


def _note(core: Core, snapshot: Snapshot) -> Note:
    uid = new_uid()
    name = f"check-{uid}"
    beside = Path(core.environment.get("TMPDIR") or tempfile.gettempdir())
    workspace = Workspace(
        id=f"{core.row.name}/{name}",
        name=name,
        project=core.row.name,
        location=str(Path(core.row.root) / ".workspaces" / f".{name}"),
        backend=core.row.backend,
        isolation=core.backend.isolation,
        parent=f"{core.row.name}/{MAIN}",
        base=snapshot.id,
        state="ready",
        created=now(),
    )
    return Note(workspace=workspace, uid=uid, temporary=str(beside / _temporary(uid)))


def _temporary(uid: str) -> str:
    return f"workspaces-check-{uid}"


def _whole(note: Note) -> Workspace:
    """Return the workspace of a note, with what no wire form has."""
    return note.workspace.model_copy(update={"uid": note.uid, "origin": note.workspace.base})


def _notes(core: Core) -> Iterator[tuple[Note, Path]]:
    folders = sorted(core.copies.iterdir()) if core.copies.is_dir() else []
    for folder in (each for each in folders if each.name != LOGS):
        with suppress(OSError, ValueError):
            if not (folder / "lock").exists() and time.time() - folder.lstat().st_mtime > _STALE:
                shutil.rmtree(folder, ignore_errors=True)
            note = Note.model_validate_json((folder / "note.json").read_bytes())
            if note.uid == folder.name:
                yield note, folder


def _remove(core: Core, note: Note, folder: Path) -> None:
    core.backend.purge(_whole(note))
    temporary = Path(note.temporary)
    if temporary.name == _temporary(note.uid) and not temporary.is_symlink():
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
