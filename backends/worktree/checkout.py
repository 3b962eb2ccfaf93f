"""Bringing a checkout from one snapshot to another: files, then index, then head; and ending that when a crash came between.

Between two *committed* snapshots (their contents are their heads'), git moves the checkout's own index and only the paths that differ, so
uncommitted work elsewhere stays as it is. Otherwise the files move under a copy of the index that knows what `old` holds, and the own index
then follows the head.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from workspaces.errors import Busy, NoSpace, TargetMoved, WorkspacesError, as_ours, readable
from workspaces.model import Snapshot

from .. import bounds, tree
from ..copying import packed
from ..diff import Step, above, steps
from ..git import LONGEST, Git, Reply, refusal
from ..gitlocks import Ground, in_the_way, kept, remove
from ..mergetree import entries
from ..trees import OddTree, edited
from . import obstacles, own
from .commits import head_of, is_ancestor, is_committed, tree_of
from .gitlinks import SUBMODULE, note_left
from .snapshot import copied, everything, put, written

_OURS = "workspaces: the index is being moved\n"
"""What stands in a lock that we made, and not git."""
_IS_THERE = "already exists, no checkout"
"""How git says that it left something that somebody made."""
_FOLDER = b"folder"
_ABANDONED = 2.0
"""Seconds after which a lock may count as left behind. Not every process can be seen."""
_SPARE = 1 << 20
"""Bytes that a file system may keep for itself."""
_PATIENCE = 30
"""Tries, a tenth of a second apart."""


# -- the move -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Move:
    """A checkout (`git` is at it), where it is, where it goes, and why. A `whole` move makes the index as `new` had it, too. `place` is a file that says
    what the head is meanwhile."""

    git: Git
    old: Snapshot
    new: Snapshot
    reason: str
    scratch: Path
    place: Path
    whole: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether git's own two-way switch does it all: between two commits."""
        return self.old.head != self.new.head and is_committed(self.git, self.old) and is_committed(self.git, self.new)


def carry_out(move: Move, moved: Sequence[Step]) -> None:
    """Bring the checkout from `old` to `new`, between which these paths move. See `Backend.checkout`."""
    git, old, new = move.git, move.old, move.new
    head = head_of(git).id
    _note_place(move)
    if head != old.head:
        raise TargetMoved(
            f"{git.work_tree} is at commit {head[:12]} now, not at {old.head[:12]}. Nothing was changed.",
            "Look at it again with compare, then repeat the call.",
        )
    _wait_for_locks(git)
    note_left(git, moved)
    try:
        if move.is_plain:
            with own_index(git, move.scratch) as view:
                _switch_files(move, view, moved)
                _mark(view, new.contents)
        else:
            _move_files(move, moved)
            _move_index(move)
        _sync(move)
        _move_head(move)
    except TargetMoved:
        raise
    except WorkspacesError as error:
        _take_back(move, error)
        raise


def _note_place(move: Move) -> None:
    """Note what the head is, a branch or a commit, for when this move is ended: nobody's branch is moved but the one that was meant."""
    with as_ours():
        move.place.parent.mkdir(exist_ok=True)
        move.place.write_bytes(_moving(move))


def _moving(move: Move) -> bytes:
    """Return what a head is as git notes it, if it is noted so, and what it is moved from and to."""
    try:
        head = tree.start_of(move.git.git_dir / "HEAD", LONGEST)
    except OSError:
        head = b""
    return f"{move.old.head} {move.new.head}\n".encode() + head


def _is_on_another(move: Move) -> bool:
    """Return whether the head is another branch than it was when the move began, or none any more, or one; as far as that was noted."""
    try:
        noted = tree.start_of(move.place, 2 * LONGEST)
    except OSError:
        return False
    meant, _, _ = noted.partition(b"\n")
    return meant == _moving(move).partition(b"\n")[0] and noted != _moving(move)


def _wait_for_locks(git: Git) -> None:
    """Raise `Busy`, before anything is moved, when another git keeps what a move needs, or left it locked."""
    for lock in git.left_locks():
        for _ in range(_PATIENCE):
            if not os.path.lexists(lock):
                break
            time.sleep(0.1)
        else:
            raise in_the_way(lock, git.ground)


def _sync(move: Move) -> None:
    """Make the checkout durable: git syncs its objects, index and refs, and never the files. Before the head says that they are there."""
    tree.sync_all(move.git.work_tree or move.git.git_dir)


def _take_back(move: Move, error: WorkspacesError) -> None:
    """Put back what a failed move had begun; where not even that works (a full disk), or the head has moved, the error says that it is not
    settled."""
    try:
        if move.new.head != move.old.head and head_of(move.git).id == move.new.head:
            error.settled = False
            return
        progress = _progress(move)
        _settle_back(move, [*progress.arrived, *progress.begun], progress.found)
    except (WorkspacesError, OSError):
        error.settled = False


@contextmanager
def own_index(git: Git, scratch: Path) -> Generator[Git]:
    """Open a view that writes the checkout's own index, under git's lock. Raises `Busy` when somebody keeps that for long.

    A linked worktree has its index among its own things. That of the main checkout lies beside hooks and configuration, where nothing that git
    starts may write: there a copy is written, which takes its place when the block ends well.
    """
    if git.git_dir != git.common_dir:
        yield git
        return
    index = git.git_dir / "index"
    with as_ours():
        with _locked(index.with_name("index.lock"), git.ground), copied(git, scratch) as view:
            yield view
            (view.index or index).replace(index)
        tree.sync(index.parent)


@contextmanager
def _locked(lock: Path, ground: Ground) -> Generator[None]:
    """Hold one of git's locks. A person's git at work in there is waited for a little."""
    for _ in range(_PATIENCE):
        with suppress(FileExistsError):
            file = lock.open("x")
            break
        time.sleep(0.1)
    else:
        raise in_the_way(lock, ground)
    try:
        with file:
            file.write(_OURS)
        yield
    finally:
        lock.unlink(missing_ok=True)


def _switch_files(move: Move, view: Git, moved: Sequence[Step]) -> None:
    """Switch from `old` to `new` under the index of a view. What a sparse checkout has no file of afterwards, the index has beforehand where none is there, so
    that git leaves it alone; else git removes the file, and the index gets it then."""
    old, new = move.old.contents, move.new.contents
    if absent := _absent(move, moved):
        root = os.fsencode(view.work_tree or "")
        ends = {step.path: step.new for step in moved if step.path in absent}
        going = {path: end for path, end in ends.items() if _found(root, path)}
        put(view, {path: end for path, end in ends.items() if path not in going}, len(new))
        with suppress(OddTree):  # only git knows how that is without them; then they stay
            _switch(view, old, edited(view, new, dict.fromkeys(going)), moved)
            put(view, going, len(new))
            return
    _switch(view, old, new, moved)


def _absent(move: Move, moved: Sequence[Step]) -> set[bytes]:
    """Return the paths that move, and of which a sparse checkout has no file afterwards."""
    if not own.is_sparse(move.git):
        return set()
    noted = (move.new.staged if move.whole else "") or tree_of(move.git, move.new.head)
    return own.left_out(move.git, move.new, noted) & {step.path for step in moved if step.new}


def _mark(git: Git, contents: str) -> None:
    """Let the index of a sparse checkout say which files are left out of it."""
    if own.is_sparse(git):
        own.mark(git, contents)


def _switch(git: Git, old: str, new: str, moved: Sequence[Step]) -> None:
    """Run git's two-tree switch under the index of `git`. A person's git at work in there is waited for a little."""
    if next(obstacles.in_the_way(git, moved), None):  # since that was looked at; git would write over what is ignored
        raise _changed_meanwhile(git)
    # By patterns, git would also take away what somebody made outside of a sparse checkout.
    how = ("--no-sparse-checkout",) if own.is_sparse(git) else ()
    args = ("read-tree", "-m", "-u", *how, old, new)
    reply = git.ask(*args)
    for _ in range(_PATIENCE):
        if ".lock': File exists" not in reply.err:
            break
        time.sleep(0.1)
        reply = git.ask(*args)
    if "not uptodate" in reply.err:
        # A file that was only touched counts as changed until its contents were looked at (git-update-index(1), --refresh).
        git.ask("update-index", "-q", "--refresh")
        reply = git.ask(*args)
    if reply.status == 0:
        return
    if "not uptodate" in reply.err or "would be overwritten" in reply.err or "would lose" in reply.err:
        raise _changed_meanwhile(git)
    if "unable to write file" in reply.err and _is_full(git, old, new):
        raise NoSpace(f"The disk of {git.work_tree} is full. Nothing was changed.", "Free some space and call again.")
    raise refusal(args, reply)


def _changed_meanwhile(git: Git) -> TargetMoved:
    return TargetMoved(f"{git.work_tree} was changed while the call was at work. Nothing was changed.", "Call again.")


def _is_full(git: Git, old: str, new: str) -> bool:
    """Return whether there is no room for what would come: git says only that it could not write a file, and removes what it wrote of it."""
    come = "".join(f"{step.new.blob}\n" for step in steps(git, old, new) if step.new and step.new.mode != SUBMODULE)
    sizes = git.run("cat-file", "--batch-check=%(objectsize)", stdin=come.encode()).split()
    room = os.statvfs(git.work_tree or git.git_dir)
    return room.f_bavail * room.f_frsize < sum(map(int, sizes)) + _SPARE or (room.f_files > 0 and room.f_favail == 0)


def _move_files(move: Move, moved: Sequence[Step]) -> None:
    git, old = move.git, move.old
    if is_committed(git, old):
        with copied(git, move.scratch) as view:
            return _switch_files(move, view, moved)
    with everything(git, move.scratch) as seen:
        if written(seen.git) != old.contents:
            raise _changed_meanwhile(git)
        return _switch_files(move, seen.git, moved)


def _move_index(move: Move) -> None:
    """Bring the own index along: all of it in a whole move, else what the head's move and submodules change."""
    git, old, new = move.git, move.old, move.new
    if move.whole:
        with own_index(git, move.scratch) as view:
            view.run("read-tree", "--reset", new.staged or tree_of(git, new.head))
            view.ask("update-index", "-q", "--refresh")
            _mark(view, new.contents)
        return
    # A submodule's folder is neither ours to fill nor to empty, so which commit it is, or that it went, is noted where git looks for it.
    moved = steps(git, old.contents, new.contents)
    modules = [step for step in moved if any(side and side.mode == SUBMODULE for side in (step.old, step.new))]
    modules += _uncovered(move, moved, {step.path for step in modules if step.old and step.old.mode == SUBMODULE})
    followed = steps(git, old.head, new.head) if old.head != new.head else []
    if (noted := [*followed, *modules]) or own.is_sparse(git):
        _follow(move, noted, new.contents)


def _uncovered(move: Move, moved: Sequence[Step], submodules: set[bytes]) -> list[Step]:
    """Return how the index gets again what it has in the folders of submodules that go: nothing was noted below these."""
    git, new = move.git, move.new
    below = [step.path for step in moved if step.new and not submodules.isdisjoint(above([step.path]))] if submodules else []
    noted = entries(git, new.staged or tree_of(git, new.head), below) if below else {}
    return [Step(path, None, entry) for path, entry in noted.items()]


def _follow(move: Move, moved: Iterable[Step], contents: str) -> None:
    """Bring the own index along, by steps, to a checkout with these contents; of what they leave, it knows afterwards what was only touched."""
    with own_index(move.git, move.scratch) as view:
        put(view, {step.path: step.new for step in moved}, len(move.new.head))
        view.ask("update-index", "-q", "--refresh")
        _mark(view, contents)


def _move_head(move: Move) -> None:
    """Move the head, unless it is something else by now than it was: then all is put back, but for what was committed meanwhile."""
    if move.new.head == move.old.head:
        return
    try:
        reply = Reply(128, b"", "another branch is checked out now") if _is_on_another(move) else _updated_head(move)
    except WorkspacesError:
        if head_of(move.git).id != move.new.head:
            raise
        reply = Reply(0, b"", "")  # it was moved by a git that could not read something else
    # A git that is killed may have moved it already.
    if reply.status != 0 and head_of(move.git).id != move.new.head:
        if isinstance(error := refusal(["update-ref"], reply), Busy):
            raise error
        progress = _progress(move)
        _settle_back(move, progress.arrived, progress.found, _committed(move))
        raise TargetMoved(
            f"The head of {move.git.work_tree} could not be moved: {readable(' '.join(reply.err.split()))}. Nothing was changed.",
            "Call again.",
        )
    move.git.sync_refs(*move.git.left_locks())


def _updated_head(move: Move) -> Reply:
    """Move the head by compare-and-set. A linked worktree whose branch would lose commits by it is detached instead: the branch is not ours."""
    git, old, new = move.git, move.old.head, move.new.head
    may_lose = move.whole and git.git_dir != git.common_dir
    option = ("--no-deref",) if may_lose and not is_ancestor(git, old, new) else ()
    return git.ask("update-ref", *option, "-m", move.reason, "HEAD", new, old)


# -- after a crash ------------------------------------------------------------------------------------------------------------------------


def settle(move: Move, since: datetime) -> bool:
    """End a move that began at `since` and was interrupted: forward when all files have arrived, else back. A file that holds anything else
    is left alone, and so is all that whoever went on meanwhile has committed: a head that is elsewhere now stays there."""
    git, old, new = move.git, move.old, move.new
    for lock in git.left_locks():
        drop_stale_lock(lock, git.ground, since)
    head = head_of(git).id
    if new.head != old.head and head == new.head:
        return True
    if git.run("cat-file", "--batch-check", stdin=f"{new.contents}\n".encode()).endswith(b" missing\n"):
        return False  # it was killed before anything was moved
    if head != old.head and _was_left_behind(move, head):
        return True
    progress = _progress(move)
    is_there = not progress.begun and len(progress.arrived) == len(steps(git, old.contents, new.contents))
    is_elsewhere = head != old.head or _is_on_another(move)
    if not is_there or (is_elsewhere and new.head != old.head):
        _settle_back(move, [*progress.arrived, *progress.begun], progress.found, _committed(move))
        return False
    if is_elsewhere:  # whoever committed has the index as he wants it
        _sync(move)
        return True
    if move.is_plain:
        _follow(move, steps(git, old.contents, new.contents), new.contents)
    else:
        _move_index(move)
    _sync(move)
    if new.head != old.head and (reply := _updated_head(move)).status != 0:
        raise refusal(["update-ref"], reply)
    return True


def _committed(move: Move) -> set[bytes]:
    """Return the paths that somebody committed since the move began."""
    head = head_of(move.git).id
    return {step.path for step in steps(move.git, move.old.head, head)} if head != move.old.head else set()


def _was_left_behind(move: Move, head: str) -> bool:
    """Return whether the head was moved, and somebody built on that: it descends from where it went. Where it went back to what it came from, so does
    what was committed in its place; that has what the move would have taken away."""
    git, old, new = move.git, move.old.head, move.new.head
    if old == new or not is_ancestor(git, new, head):
        return False
    if is_ancestor(git, old, new):
        return True
    moved = steps(git, old, new)
    has = entries(git, tree_of(git, head), [step.path for step in moved])
    return not is_ancestor(git, old, head) and not any(has.get(step.path) == step.old for step in moved)


@dataclass(frozen=True)
class _Progress:
    """How far a move came: the steps that were done, and those that were only begun, since git writes a file by removing the old one and filling the
    new one from its start. `found` is how each path was, before that was looked at."""

    arrived: list[Step]
    begun: list[Step]
    found: dict[bytes, bytes]


def _progress(move: Move) -> _Progress:
    git, root = move.git, os.fsencode(move.git.work_tree or "")
    moved = steps(git, move.old.contents, move.new.contents)
    folders = above(step.path for step in moved if step.new)
    found = {step.path: _found(root, step.path) for step in moved}
    with everything(git, move.scratch) as seen:
        now = entries(git, written(seen.git), [step.path for step in moved])
    arrived = [step for step in moved if now.get(step.path) == step.new and (step.new or _is_vacant(root, step, folders))]
    open_ones = [step for step in moved if now.get(step.path) not in (step.new, step.old)]
    return _Progress(arrived, [step for step in open_ones if _is_begun(git, root, step)], found)


def _looked_at(root: bytes, path: bytes) -> os.stat_result:
    """Look at a path. What lies behind a link on the way is elsewhere: there is no folder then."""
    for folder in above([path]):
        if stat.S_ISLNK(os.lstat(os.path.join(root, folder)).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    return os.lstat(os.path.join(root, path))


def _found(root: bytes, path: bytes) -> bytes:
    """Return how a path is found; nothing where nothing is, and of a folder no more than that it is one."""
    try:
        found = _looked_at(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    return _FOLDER if stat.S_ISDIR(found.st_mode) else packed(found, found.st_mode)


def _is_vacant(root: bytes, step: Step, folders: Collection[bytes]) -> bool:
    """Return whether nothing is where something went, not even what git ignores, but for a folder of what came or of a submodule."""
    try:
        found = _looked_at(root, step.path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    return stat.S_ISDIR(found.st_mode) and (step.path in folders or (step.old is not None and step.old.mode == SUBMODULE))


def _is_begun(git: Git, root: bytes, step: Step) -> bool:
    if step.new is None or step.new.mode == SUBMODULE:
        return False
    place = os.path.join(root, step.path)
    try:
        size = _looked_at(root, step.path).st_size
    except FileNotFoundError:
        return step.old is not None
    except NotADirectoryError:
        return False
    if not step.new.mode.startswith("100") or os.path.islink(place) or not os.path.isfile(place):
        return False
    if size > bounds.MEMORY:
        return False  # no git of ours holds so much to write it piece by piece from its start
    begun = tree.start_of(Path(os.fsdecode(place)), size)
    return size == 0 or git.run("cat-file", "--filters", b"--path=" + step.path, step.new.blob).startswith(begun)


def _settle_back(move: Move, arrived: list[Step], found: Mapping[bytes, bytes], committed: Collection[bytes] = ()) -> None:
    """Put back what arrived, but for the paths that somebody `committed` since, or that are not as they were `found`."""
    git, old, new = move.git, move.old, move.new
    root = os.fsencode(git.work_tree or "")
    arrived = [step for step in arrived if step.path not in committed and _is_removed(root, step.path, found[step.path])]
    for step in steps(git, old.contents, new.contents):
        if step.old is None:
            _drop_empty_folders(root, step.path)
    arrived = [step for step in arrived if step.old is None or _has_room(root, step.path)]
    with copied(git, move.scratch) as view:
        view.run("read-tree", old.contents)
        absent = _absent(replace(move, new=old), [Step(step.path, step.new, step.old) for step in arrived])
        there = [step.path + b"\0" for step in arrived if step.old is not None and step.path not in absent]
        args = ("checkout-index", "-z", "--stdin")
        reply = view.ask(*args, stdin=b"".join(there))
        if not _is_done(reply):
            raise refusal(args, reply)
    if move.is_plain:
        _follow(move, [Step(step.path, step.new, step.old) for step in arrived], old.contents)
    elif move.whole:
        with suppress(Busy):
            _follow(move, _staged_back(move, committed), old.contents)
    elif new.head != old.head:
        _follow(move, [step for step in steps(git, new.head, old.head) if step.path not in committed], old.contents)
    else:
        with suppress(Busy):
            _follow(move, [], old.contents)
    _sync(move)


def _is_done(reply: Reply) -> bool:
    """Return whether git checked out all but what somebody made meanwhile. One that was killed says nothing."""
    said = reply.err.splitlines()
    return reply.status == 0 or (reply.status == 1 and bool(said) and all(line.endswith(_IS_THERE) for line in said))


def _is_removed(root: bytes, path: bytes, found: bytes) -> bool:
    """Remove the file at a path, if that is as it was found; and return whether it was."""
    if _found(root, path) != found:
        return False
    if found not in (b"", _FOLDER):
        os.unlink(os.path.join(root, path))
    return True


def _staged_back(move: Move, committed: Collection[bytes]) -> list[Step]:
    """Return the steps by which the index goes back from what a whole move made of it, where it has come to that."""
    git, ends = move.git, [each.staged or tree_of(move.git, each.head) for each in (move.new, move.old)]
    back = [step for step in steps(git, *ends) if step.path not in committed]
    rows = (row.split(b"\t", 1) for row in git.fields("ls-files", "-z", "--stage"))
    now = {path: tuple(about.decode().split()) for about, path in rows}
    return [step for step in back if now.get(step.path) == ((step.old.mode, step.old.blob, "0") if step.old else None)]


def _has_room(root: bytes, path: bytes) -> bool:
    """Return whether a file can go back to its path: nobody made a folder there, nor something else where its folder was. git would remove either,
    with all that is in it."""
    parts = path.split(b"/")
    for depth in range(1, len(parts) + 1):
        try:
            found = os.lstat(os.path.join(root, *parts[:depth]))
        except FileNotFoundError:
            return True
        if stat.S_ISDIR(found.st_mode) == (depth == len(parts)):
            return False
    return True


def _drop_empty_folders(root: bytes, path: bytes) -> None:
    """Remove the folders on the way to a path in which nothing is, as git does when it removes a file: a killed one makes them first."""
    with suppress(OSError):
        while path := os.path.dirname(path):
            place = os.path.join(os.path.realpath(root), path)
            if os.path.realpath(place) != place:  # a link leads elsewhere
                return
            with suppress(FileNotFoundError):
                os.rmdir(place)


def drop_stale_lock(lock: Path, ground: Ground, since: datetime) -> None:
    """Remove the lock of a call, or a git, of ours that was killed: one that says so, for whoever made it held what we hold now, or one that was
    made since the operation began and not touched for a while. Raises `Busy` for one that is young, or that a living process may have made."""
    with suppress(FileNotFoundError):
        if tree.start_of(lock, len(_OURS) + 1) == _OURS.encode():
            lock.unlink()
            return
        if lock.stat().st_mtime < since.timestamp() - 1:
            return
        if is_fresh(lock):
            raise Busy(f"{lock} is there since a moment ago, by an interrupted call or another git.", "Call again in a moment.")
        if busy := kept(lock, ground):
            raise busy
        remove(lock)


def is_fresh(lock: Path) -> bool:
    """Return whether a lock is there, and younger than what counts as left behind."""
    try:
        return time.time() - lock.stat().st_mtime < _ABANDONED
    except FileNotFoundError:
        return False
