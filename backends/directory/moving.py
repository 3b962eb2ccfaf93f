"""Bringing a folder from one manifest to another, guarded: whole, or not at all.

Everything that comes is made aside first, and a plan of it written durably. Then each path that leaves is moved aside, and each that comes takes
its place: never over anything, and only while what is there is what was seen. The plan lets whoever comes after a crash end it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from workspaces.errors import TargetMoved, Unsupported, WorkspacesError, translated

from .. import tree
from ..bounds import Clock
from . import filling
from .filling import Source
from .manifest import Entry, Manifest, differing, entry, is_private
from .pool import Pool
from .scan import Row, key_of, row_of

_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}
_CHANGED = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOTEMPTY}


@dataclass(frozen=True)
class Move:
    """What is moved: the folder `location`, from `old` (as seen with `keys`) to `new`. `aside` is a folder for the moves of this one alone, `done`
    a file that says which ended last; `label` tells this move from others."""

    label: str
    location: Path
    aside: Path
    done: Path
    scratch: Path
    old: Manifest
    new: Manifest
    keys: Mapping[str, str]
    source: Source
    pool: Pool
    clock: Clock | None = None
    private: bool = False


@dataclass(frozen=True)
class Step:
    """One path: `was` and `comes` are what it is before and after, nothing where it is not. Its files aside are named by the number."""

    number: int
    path: str
    was: str
    comes: str
    key: str

    @property
    def leaves(self) -> bool:
        return bool(self.was) and not self.was.startswith("d")

    @property
    def arrives(self) -> bool:
        return bool(self.comes) and not self.comes.startswith("d")


def steps(move: Move) -> list[Step]:
    paths = differing(move.old, move.new, move.private)
    what = ((path, move.old.what.get(path, ""), move.new.what.get(path, "")) for path in paths)
    return [Step(number, path, was, comes, move.keys.get(path, "")) for number, (path, was, comes) in enumerate(what)]


def carry_out(move: Move) -> None:
    """Bring the folder to `new`. Raises `TargetMoved` with nothing changed; where not even that could be done, the error is not `settled`."""
    todo = steps(move)
    _clear(move)
    _guard(move, todo)
    try:
        _stage(move, todo)
        _walk(move, todo)
        _end(move, todo)
    except BaseException as error:
        said = _as_ours(move, error)
        try:
            _roll_back(move, todo)
            _clear(move)
        except OSError:
            if isinstance(said, WorkspacesError):
                said.settled = False
        raise said from error


def _as_ours(move: Move, error: BaseException) -> BaseException:
    """Return an error of the operating system as one of ours: what is not there, or something else than it was, was changed by somebody."""
    if not isinstance(error, OSError):
        return error
    where = os.fsdecode(error.filename or "A path")
    if error.errno == errno.EXDEV:
        return Unsupported(
            f"{where} lies in a subvolume of its own, into which nothing can be moved. Nothing was changed.", "Merge other paths."
        )
    return _moved(move, where) if error.errno in _CHANGED else translated(error)


def _end(move: Move, todo: list[Step]) -> None:
    """Write down, durably, that the move is done. What is aside is not needed any more. Raises `TargetMoved` when somebody wrote to it."""
    tree.sync_all(move.location)
    _verify(move, todo)  # after what takes long
    move.done.parent.mkdir(parents=True, exist_ok=True)
    move.done.write_bytes((move.aside / "plan").read_bytes())
    tree.sync_all(move.done.parent)
    _discard(move)


def _discard(move: Move) -> None:
    """Remove what a move that is done left aside. What cannot be removed now lies where the next call clears away what nobody holds."""
    gone = move.scratch / f"moved-{os.urandom(6).hex()}"
    with suppress(OSError):  # in a subvolume of its own it can only be removed in its place
        move.aside.rename(gone)
        (gone / "plan").rename(gone / "lock")
    for place in (gone, move.aside):
        with suppress(OSError):
            tree.remove(place)
    with suppress(OSError):  # or a power cut brings it back
        tree.sync(move.done.parent)


def _clear(move: Move) -> None:
    """Forget what was moved before. That it was done is forgotten durably, before there is a plan that could be the same."""
    if move.done.exists():
        move.done.unlink()
        tree.sync(move.done.parent)
    tree.remove(move.aside)


# -- looking ------------------------------------------------------------------------------------------------------------------------------


def _guard(move: Move, todo: list[Step]) -> None:
    """Raise `TargetMoved` unless every path is what it was when it was looked at."""
    leaving = {step.path for step in todo if step.leaves}
    with tree.Folders(move.location) as folders:
        for step in todo:
            found = _stat(folders, step.path)
            if step.leaves and not _is_as_seen(move, folders, step, found):
                raise _moved(move, step.path)
            if step.arrives and not step.leaves and found is not None and not _goes(move, step, found, leaving):
                raise _moved(move, step.path)
        for path in _made(move):
            if path not in leaving and (found := _stat(folders, path)) is not None and row_of(key_of(found)).kind != "d":
                raise _moved(move, path)


def _goes(move: Move, step: Step, found: os.stat_result, leaving: set[str]) -> bool:
    """Return whether what is in the way of an arrival is a folder that goes with all that is in it."""
    if row_of(key_of(found)).kind != "d" or not step.was.startswith("d"):
        return False
    root = move.location / step.path
    inside = (
        os.path.relpath(os.path.join(at, name), move.location) for at, _, names in os.walk(root, onerror=tree.refused) for name in names
    )
    return all(path in leaving for path in inside)


def _stat(folders: tree.Folders, path: str) -> os.stat_result | None:
    try:
        return os.stat(path.rpartition("/")[2], dir_fd=folders.at(path.rpartition("/")[0]), follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise translated(error) from error


def _is_as_seen(move: Move, folders: tree.Folders, step: Step, found: os.stat_result | None) -> bool:
    """Return whether a path has the key with which it was seen, or (where none was noted) still the contents."""
    if found is None:
        return False
    if step.key:
        return key_of(found) == step.key
    return _holds(move.pool, entry(step.was), found, step.path.rpartition("/")[2], folders.at(step.path.rpartition("/")[0]))


def _holds(pool: Pool, was: Entry, found: os.stat_result, name: str | Path, folder: int | None = None) -> bool:
    """Return whether what was found under a name in a folder has these contents."""
    row = row_of(key_of(found))
    if was.kind == "l" or row.kind != was.kind:
        return row.kind == "l" and was.kind == "l" and os.readlink(name, dir_fd=folder) == was.content
    with tree.opened(os.open(name, tree.READ, dir_fd=folder)) as file:
        return row.perm == was.perm and pool.named(file) == was.content


def changed(location: Path, path: str = "something") -> TargetMoved:
    """Return the error for a folder that is not what it was when it was looked at."""
    shown = path if path.isprintable() else ascii(path)
    return TargetMoved(
        f"{shown} in {location} was changed while the call was at work. Nothing was changed.", "Look at it again, then call again."
    )


def _moved(move: Move, path: str) -> TargetMoved:
    return changed(move.location, path)


# -- moving -------------------------------------------------------------------------------------------------------------------------------


def _stage(move: Move, todo: list[Step]) -> None:
    """Make all that comes, and the plan, durably."""
    for part in ("new", "old"):
        (move.aside / part).mkdir(parents=True)
    with tree.opened(os.open(move.aside / "new", tree.FOLDER)) as folder:
        links: dict[int, Step] = {}
        if move.clock:
            move.clock.allow(len(todo))
        for step in (step for step in todo if step.arrives):
            if move.clock:
                move.clock.check(f"bringing {len(todo):,} files")
            about = move.new.how_at(step.path)
            first = links.setdefault(about.link, step) if about.link else step
            if first is not step and first.comes == step.comes:
                os.link(str(first.number), str(step.number), src_dir_fd=folder, dst_dir_fd=folder)
            else:
                filling.put(folder, str(step.number), entry(step.comes), about, move.source)
    plan = {"label": move.label, "steps": [[step.path, step.was, step.comes, step.key] for step in todo]}
    (move.aside / "plan.new").write_text(json.dumps(plan))
    tree.sync_all(move.aside)
    (move.aside / "plan.new").rename(move.aside / "plan")
    tree.sync(move.aside)


def _made(move: Move) -> list[str]:
    """Return the folders that the new state has, and the old one not or otherwise, the outermost first."""
    made = (path for path, line in move.new.what.items() if line.startswith("d") and move.old.what.get(path) != line)
    return sorted(path for path in made if move.private or not is_private(path))


def _gone(move: Move) -> list[str]:
    """Return the folders that the old state has and the new one not, the innermost first."""
    gone = (path for path, line in move.old.what.items() if line.startswith("d") and not move.new.what.get(path, "").startswith("d"))
    return sorted((path for path in gone if move.private or not is_private(path)), reverse=True)


def _walk(move: Move, todo: list[Step]) -> None:
    """Move what leaves aside, and what comes to its place. Deep paths leave first, so that folders are empty when they go."""
    with tree.Folders(move.location) as folders:
        for step in sorted((step for step in todo if step.leaves), key=lambda step: step.path, reverse=True):
            _leave(move, folders, step)
        for path in _gone(move):
            _remove_folder(move, folders, path)
    with tree.Folders(move.location, make=True) as folders:
        for path in _made(move):
            folders.at(path)
        for step in (step for step in todo if step.arrives):
            _arrive(move, folders, step)
    filling.finish_folders(move.location, reversed(_made(move)), move.new)


def _remove_folder(move: Move, folders: tree.Folders, path: str) -> None:
    """Remove a folder that goes. One in which something is left, that nobody snapshotted, stays; unless a file has to take its place."""
    try:
        os.rmdir(path.rpartition("/")[2], dir_fd=folders.at(path.rpartition("/")[0]))
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in _NOT_EMPTY and path not in move.new.what:
            return
        if error.errno == errno.ENOTDIR and _has_arrived(move, path):
            return
        raise


def _has_arrived(move: Move, path: str) -> bool:
    """Return whether what comes to a path is there, from before a crash."""
    return any(step.path == path and step.arrives and not os.path.lexists(move.aside / "new" / str(step.number)) for step in steps(move))


def _was_folder(move: Move, path: str) -> bool:
    return move.old.what.get(path, "").startswith("d")


def _verify(move: Move, todo: list[Step]) -> None:
    """Raise `TargetMoved` when somebody who had a file open wrote to it after it was moved aside."""
    for step in (step for step in todo if step.leaves):
        aside = move.aside / "old" / str(step.number)
        found = os.lstat(aside)
        is_same = _bulk(row_of(key_of(found))) == _bulk(row_of(step.key)) if step.key else _holds(move.pool, entry(step.was), found, aside)
        if not is_same:
            raise _moved(move, step.path)


def _leave(move: Move, folders: tree.Folders, step: Step) -> None:
    """Move a path aside by a rename, and look at what was moved: whoever wrote to it in between is noticed."""
    found = _stat(folders, step.path)
    if not _is_still(move, folders, step, found):
        raise _moved(move, step.path)
    folder, name = folders.at(step.path.rpartition("/")[0]), step.path.rpartition("/")[2]
    aside = move.aside / "old" / str(step.number)
    os.rename(name, aside, src_dir_fd=folder)
    if found is None or _bulk(row_of(key_of(os.lstat(aside)))) != _bulk(row_of(key_of(found))):
        raise _moved(move, step.path)


def _is_still(move: Move, folders: tree.Folders, step: Step, found: os.stat_result | None) -> bool:
    """Return whether a path is what the guard saw. Moving one name of a file with several changes the change time of the others."""
    if found is not None and step.key and found.st_nlink > 1:
        return _bulk(row_of(key_of(found))) == _bulk(row_of(step.key))
    return _is_as_seen(move, folders, step, found)


def _bulk(row: Row) -> Row:
    """Return what a rename leaves as it is."""
    return replace(row, changed=0)


def _arrive(move: Move, folders: tree.Folders, step: Step) -> None:
    folder, name = folders.at(step.path.rpartition("/")[0]), step.path.rpartition("/")[2]
    staged = move.aside / "new" / str(step.number)
    try:
        os.link(staged, name, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError as error:
        if not _is_same(folder, name, staged):  # else the link was made before a crash
            raise _moved(move, step.path) from error
    except OSError:  # a file system without hard links
        if _exists(folder, name):
            raise _moved(move, step.path) from None
        os.rename(staged, name, dst_dir_fd=folder)
        return
    os.unlink(staged)


def _is_same(folder: int, name: str, staged: Path) -> bool:
    return os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), os.lstat(staged))


def _exists(folder: int, name: str) -> bool:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        return True
    return False


# -- back, and after a crash --------------------------------------------------------------------------------------------------------------


def _roll_back(move: Move, todo: list[Step]) -> None:
    """Put back what was moved aside, and take away what had come. What somebody else made there meanwhile stays: what was there before is in
    the snapshot that was kept. Raises OSError when the disk does not let us, with all that is aside still there."""
    if not (move.aside / "plan").exists():
        return
    with tree.Folders(move.location) as folders:
        for step in reversed([step for step in todo if step.arrives]):
            _take_back(move, folders, step)
        for path in reversed([path for path in _made(move) if not _was_folder(move, path)]):
            with suppress(OSError):
                os.rmdir(path.rpartition("/")[2], dir_fd=folders.at(path.rpartition("/")[0]))
    with tree.Folders(move.location, make=True) as folders:
        for step in (step for step in todo if step.leaves):
            _put_back(move, folders, step)
        for path in reversed(_gone(move)):
            with suppress(OSError):  # something of somebody else's has its place
                folders.at(path)
    filling.finish_folders(move.location, [*_gone(move), *(path for path in reversed(_made(move)) if _was_folder(move, path))], move.old)


def _take_back(move: Move, folders: tree.Folders, step: Step) -> None:
    staged = move.aside / "new" / str(step.number)
    there = _stat(folders, step.path)
    if os.path.lexists(staged):
        if there is not None and os.path.samestat(there, os.lstat(staged)):  # it has both names: it had come, but for the last step
            os.unlink(step.path.rpartition("/")[2], dir_fd=folders.at(step.path.rpartition("/")[0]))
        return
    if there is None:
        return
    folder, name = folders.at(step.path.rpartition("/")[0]), step.path.rpartition("/")[2]
    if _is_as_seen(move, folders, replace(step, was=step.comes, key=""), there):
        os.rename(name, staged, src_dir_fd=folder)
        if _bulk(row_of(key_of(os.lstat(staged)))) != _bulk(row_of(key_of(there))) and not _exists(folder, name):
            os.rename(staged, name, dst_dir_fd=folder)  # somebody wrote to it in between: it is theirs


def _put_back(move: Move, folders: tree.Folders, step: Step) -> None:
    aside = move.aside / "old" / str(step.number)
    if not os.path.lexists(aside):
        return
    try:
        folder, name = folders.at(step.path.rpartition("/")[0]), step.path.rpartition("/")[2]
    except NotADirectoryError:  # somebody made a file where its folder was
        return
    if not _exists(folder, name):
        os.rename(aside, name, dst_dir_fd=folder)


def settle(move: Move) -> bool:
    """End a move that a crash interrupted: forward when nothing that it touches was changed since, else back. True when it is at `new`."""
    # A plan of the same move may still lie there, while what it needs is half removed already: that it is done says so first.
    if ended := list(_planned(move, move.done)):
        _discard(move)
        return not _is_still_old(move, ended)
    if todo := list(_planned(move, move.aside / "plan")):
        try:
            _resume(move, todo)
            _end(move, todo)
            return True
        except (WorkspacesError, OSError):
            _roll_back(move, todo)
    _clear(move)
    return False


def _is_still_old(move: Move, ended: list[Step]) -> bool:
    """Return whether the folder is as it was before a move that ended once: then that was another time, and this one never began."""
    with tree.Folders(move.location) as folders:
        return all(_is_old(move, folders, step) for step in ended)


def _is_old(move: Move, folders: tree.Folders, step: Step) -> bool:
    found = _stat(folders, step.path)
    if step.leaves:
        return _is_as_seen(move, folders, replace(step, key=""), found)
    if step.was:
        return found is not None and row_of(key_of(found)).kind == "d"
    return found is None


def _planned(move: Move, file: Path) -> Iterator[Step]:
    try:
        read: JsonValue = json.loads(file.read_bytes())
    except (*tree.ABSENT, ValueError):
        return
    rows = read.get("steps") if isinstance(read, dict) and read.get("label") == move.label else None
    for number, row in enumerate(rows if isinstance(rows, list) else ()):
        path, was, comes, key = (str(word) for word in row) if isinstance(row, list) else ("",) * 4
        yield Step(number, path, was, comes, key)


def _resume(move: Move, todo: list[Step]) -> None:
    open_ones = [step for step in todo if not os.path.lexists(move.aside / "old" / str(step.number))]
    waiting = [step for step in todo if step.arrives and os.path.lexists(move.aside / "new" / str(step.number))]
    with tree.Folders(move.location) as folders:
        here = [step for step in open_ones if step.leaves and (step in waiting or not step.arrives)]
        _guard(move, [replace(step, comes="") for step in here])
        for step in sorted(here, key=lambda step: step.path, reverse=True):
            _leave(move, folders, step)
    _walk(move, [replace(step, was="" if not step.was.startswith("d") else step.was) for step in waiting])
