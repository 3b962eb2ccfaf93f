"""Freezing a checkout: a tree of all that is there now, and the commit that gives it its place in history.

The checkout's own index is copied, never written. What a snapshot's commit is: see `commits.linked`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

from workspaces.errors import BackendFailed, Limit, as_ours, translated
from workspaces.model import Snapshot, path_text

from .. import bounds, cachetree, tree
from ..git import Git, refusal
from ..mergetree import Entry
from ..place import WORKSPACES
from ..sheaf import Sheaf
from ..trees import OddTree
from . import gitlinks, own, racy
from .changed import Changed, Odd, changed
from .commits import Commit, head_of, linked
from .index import is_plain

_NO_COMMIT = re.compile(r"^error: '.+' does not have a commit checked out$", re.MULTILINE)
_VANISHED = re.compile(r"unable to (?:stat|index file)|No such file or directory|file changed|unexpected end|short read|failed to insert")
_TRIES = 5
_OURS = f":(top,exclude,literal){WORKSPACES}"
_LOOK_AGAIN = ("update-index", "--remove", "--ignore-skip-worktree-entries", "-z", "--stdin")
"""How the index comes to tell of paths as they are, but for what a sparse checkout leaves out."""


@dataclass(frozen=True)
class View:
    """A checkout under a copy of its index that holds all files that are there but the ignored ones.

    `staged` is the tree that was staged, empty while the index is unmerged, which no tree can express; `unmerged` are then the paths.
    `left_out` are repositories of their own in there, of which a tree could hold no more than a commit's name, and `submodules` the paths of those of
    which it does. `begun` is how the index was found before anything was looked at.
    """

    git: Git
    staged: str
    unmerged: tuple[str, ...]
    left_out: tuple[str, ...]
    submodules: Sequence[bytes]
    begun: os.stat_result


@dataclass(frozen=True)
class Found:
    """How the files of a checkout were found when it was frozen: an index that holds all of the snapshot but what is `loose`, how of that each was
    `seen`, and when looking began, by the clock of its file system."""

    index: Path
    root: Path
    device: int
    since: int
    loose: dict[bytes, Entry | None] = field(default_factory=dict[bytes, Entry | None])
    seen: Mapping[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    _turn: Lock = field(default_factory=Lock)

    def complete(self, git: Git, width: int) -> None:
        """Let the index hold all of the snapshot, whose ids have so many digits."""
        with self._turn:
            if self.loose:
                put(git.at(index=self.index), self.loose, width)
                self.loose.clear()


def put(git: Git, entries: Mapping[bytes, Entry | None], width: int) -> None:
    """Let the index of `git` have other things at some paths, or nothing. Ids have so many digits."""
    lines = [(f"{entry.mode} {entry.blob}\t" if entry else f"0 {'0' * width}\t").encode() + path + b"\0" for path, entry in entries.items()]
    # Removals sort first, so that a file can take the place of a folder and the other way round.
    git.run("update-index", "--replace", "-z", "--index-info", stdin=b"".join(sorted(lines)))


Frozen = tuple[Snapshot, Found | None, Sequence[bytes]]
"""A snapshot, how its files were found, if that was kept, and the paths of submodules, if it was looked."""


def freeze(git: Git, lineage: Sequence[str], committed: bool, scratch: Path, kept: Path | None = None) -> Frozen:
    """Freeze the checkout that `git` is at. See `Backend.snapshot`. How it was found is kept in a folder, if one is named and it was looked at."""
    head = head_of(git)
    if committed:
        return Snapshot(id=head.id, contents=head.tree, head=head.id), None, ()
    if not git.objects:
        made, found, submodules = _gone_through(git, head, scratch, kept)
        return linked(git, made, head.tree, lineage, head.date), found, submodules
    sheaf = Sheaf()
    gathering = replace(git, sheaf=sheaf)
    made, found, submodules = _looked_at(gathering, head, scratch, kept) or _gone_through(gathering, head, scratch, kept)
    snapshot = linked(gathering, made, head.tree, lineage, head.date)
    with as_ours():
        sheaf.write(git.objects)
    return snapshot, found, submodules


def _looked_at(git: Git, head: Commit, scratch: Path, kept: Path | None) -> Frozen | None:
    """Freeze by looking at what changed. None where that does not tell all."""
    with copied(git, scratch) as view:
        begun = (view.index or scratch).stat()
        if git.git_dir == git.common_dir:  # the index of a clone is made with files that are older
            racy.settle(view)
        try:
            seen = changed(view, len(head.tree))
            staged, contents = seen.trees(view, head.tree)
        except (Odd, OddTree):
            return None
        found = _kept(view, begun, kept, seen) if kept else None
    return Snapshot(id="", contents=contents, head=head.id, staged="" if staged == head.tree else staged), found, seen.submodules


def _gone_through(git: Git, head: Commit, scratch: Path, kept: Path | None) -> Frozen:
    """Freeze by adding all that is there to a copy of the index."""
    with everything(git, scratch) as view:
        contents = written(view.git)
        found = _kept(view.git, view.begun, kept, Changed()) if kept else None
    staged = "" if view.staged == head.tree else view.staged
    made = Snapshot(id="", contents=contents, head=head.id, staged=staged, unmerged=view.unmerged, left_out=view.left_out)
    return made, found, view.submodules


def _kept(view: Git, begun: os.stat_result, folder: Path, seen: Changed) -> Found | None:
    index, kept = view.index, folder / f"found-{os.urandom(6).hex()}"
    if index is None:
        return None
    index.rename(kept)
    return Found(kept, view.work_tree or Path(), begun.st_dev, begun.st_ctime_ns, seen.loose, seen.seen)


@contextmanager
def copied(git: Git, scratch: Path) -> Generator[Git]:
    """Open a view on the checkout with a copy of its index."""
    scratch.mkdir(parents=True, exist_ok=True)
    index = scratch / f"index-{os.urandom(6).hex()}"
    own = git.git_dir / "index"
    view = git.at(index=index)
    try:
        if os.path.lexists(own):
            _copy_index(own, index)
        else:
            view.run("read-tree", "HEAD")
        yield view
    finally:
        for leftover in (index, index.with_name(index.name + ".lock")):
            leftover.unlink(missing_ok=True)


def _copy_index(own: Path, index: Path) -> None:
    """Copy an index with its time, by which git knows what it is too young to tell."""
    try:
        with tree.opened(os.open(own, tree.READ)) as source, tree.opened(os.open(index, tree.CREATE, 0o600)) as target:
            found = os.fstat(source)
            if not stat.S_ISREG(found.st_mode):
                raise BackendFailed(f"{own} is no file. Nothing was changed.", "Remove it, and run git reset in the checkout.")
            if found.st_size > bounds.MEMORY:
                raise Limit(
                    f"{own} has {found.st_size:,} bytes, more than git can be given here. Nothing was changed.", "Make it anew: git reset."
                )
            tree.fill(source, target)
            os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
    except OSError as error:
        raise translated(error) from error


@contextmanager
def everything(git: Git, scratch: Path) -> Generator[View]:
    """Open a view on all that is there: modified, deleted and untracked files, hidden ones too, but not what is ignored."""
    with copied(own.whole(git), scratch) as view:
        begun = (view.index or scratch).stat()
        staged, unmerged = _staged(view)
        if git.git_dir == git.common_dir:  # the index of a clone is made with files that are older
            racy.settle(view)
        modules = unhide(view)
        left_out = _add(view, modules)
        still = gitlinks.left(view, modules) if modules else set[bytes]()
        if there := [path for path in modules if path not in still]:
            # Adding a submodule by name reads its head; `add -A` would start git inside of it, with whatever is configured there.
            replace(view, aside=True).run(*_LOOK_AGAIN, stdin=b"".join(path + b"\0" for path in there))
        yield View(view, staged, unmerged, left_out, modules, begun)


def _staged(view: Git) -> tuple[str, tuple[str, ...]]:
    """Return the tree that the index of a view makes; or nothing, and the paths that are unmerged in it."""
    if known := _made_by(view):
        return known, ()
    reply = view.ask("write-tree")
    if reply.status == 0:
        return reply.out.decode().strip(), ()
    if unmerged := _unmerged(view):
        return "", unmerged
    raise refusal(["write-tree"], reply)


def written(view: Git) -> str:
    """Return the tree that the index of a view makes, which is written if it was not."""
    return _made_by(view) or view.line("write-tree")


def _made_by(view: Git) -> str:
    return cachetree.tree_of(view.index) if view.index else ""


def _unmerged(view: Git) -> tuple[str, ...]:
    rows = view.fields("ls-files", "-z", "--unmerged")
    return tuple(dict.fromkeys(path_text(row.split(b"\t", 1)[1]) for row in rows))


def unhide(view: Git) -> list[bytes]:
    """Take the flags assume-unchanged and skip-worktree off files that are there: what was edited behind them is work too.

    Returns the paths of submodules, found on the way.
    """
    hidden, modules = _odd(view)
    root = os.fsencode(view.work_tree or "")
    there = b"".join(path + b"\0" for path in hidden if os.path.lexists(os.path.join(root, path)))  # noqa: PTH118 - bytes
    if there:
        for option in ("--no-assume-unchanged", "--no-skip-worktree"):
            view.run("update-index", option, "-z", "--stdin", stdin=there)
    return [*modules]


def _odd(view: Git) -> tuple[list[bytes], list[bytes]]:
    """Return the paths in the index of a view that are hidden, and those of submodules. Most have none of either."""
    if view.index and is_plain(view.index.read_bytes(), len(head_of(view).tree) // 2):
        return [], []
    out = b"\0" + view.run("ls-files", "-z", "-v", "--stage")
    rows = [row for row in out.split(b"\0")[1:-1] if not row.startswith((b"H 100", b"H 120"))]
    hidden = [row.split(b"\t", 1)[1] for row in rows if row[:1].islower() or row[:1] == b"S"]
    return hidden, [row.split(b"\t", 1)[1] for row in rows if row[2:8] == b"160000"]


def _add(view: Git, modules: Sequence[bytes]) -> tuple[str, ...]:
    """Add everything but submodules and untracked repositories, and return the latter.

    An agent may be writing meanwhile: what vanishes is looked at again.
    """
    left_out: list[bytes] = []
    excluded = [*map(_excluding, modules)]
    for attempt in range(_TRIES):
        reply = view.ask("add", "-A", "--sparse", "--", ":/", _OURS, *excluded, *map(_excluding, left_out), literal=False)
        if reply.status == 0:
            return tuple(sorted({*map(path_text, left_out), *_unadopted(view, reply.err, modules)}))
        # A nested repository without a commit has nothing that a snapshot could name; git refuses it, and all else with it.
        if _NO_COMMIT.search(reply.err):
            left_out = _repositories(view)
        elif attempt == _TRIES - 1 or not _VANISHED.search(reply.err):
            raise refusal(["add"], reply)
    raise BackendFailed(
        "The files keep changing faster than they can be read. Nothing was changed.", "Stop what writes there, then call again."
    )


def _excluding(path: bytes) -> str:
    return f":(top,exclude,literal){os.fsdecode(path)}"


def _repositories(view: Git) -> list[bytes]:
    """Return the untracked repositories in there: git names only the first one that it refuses."""
    return [path[:-1] for path in view.fields("ls-files", "-z", "--others", "--exclude-standard") if path.endswith(b"/")]


def _unadopted(view: Git, said: str, before: Sequence[bytes]) -> list[str]:
    """Take those repositories out again that git just added as bare names of commits, which no submodules were before, and return them."""
    if "adding embedded git repository" not in said:
        return []
    links = [row.split(b"\t", 1)[1] for row in view.fields("ls-files", "-z", "--stage") if row.startswith(b"160000")]
    fresh = [path for path in links if path not in before]
    view.run("update-index", "--force-remove", "-z", "--stdin", stdin=b"".join(path + b"\0" for path in fresh))
    return [path_text(path) for path in fresh]
