"""Freezing a checkout: a tree of all that is there now, and the commit that gives it its place in history.

The checkout's own index is copied, never written. A snapshot of a clean checkout is its head commit itself; any other is a commit of ours
whose parents are the head and the earlier snapshots that it descends from. It is dated like its head, so equal work makes equal ids.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from workspaces.errors import BackendFailed, Limit, translated
from workspaces.model import Snapshot, path_text

from .. import bounds, cachetree, tree
from ..git import Git, Reply, refusal
from ..place import WORKSPACES
from . import packs
from .repository import text_of

_MAIL = "snapshot@workspaces.invalid"
IDENTITY = f"mcp-workspaces snapshot <{_MAIL}>"
_MESSAGE = re.compile(r"snapshot\n\nhead (?P<head>[0-9a-f]+)(?:\nstaged (?P<staged>[0-9a-f]+))?\n")
_DATE = re.compile(rb"^committer .*<(.*)> (\d+) [+-]\d+$", re.MULTILINE)
_NO_COMMIT = re.compile(r"^error: '.+' does not have a commit checked out$", re.MULTILINE)
_VANISHED = re.compile(r"unable to (?:stat|index file)|No such file or directory|file changed|unexpected end|short read|failed to insert")
NOBODY_KNOWN = {"user.name": "mcp-workspaces", "user.email": "mcp-workspaces@localhost"}
"""Who commits where git knows no user."""
_TRIES = 5
_OURS = f":(top,exclude,literal){WORKSPACES}"


@dataclass(frozen=True)
class View:
    """A checkout under a copy of its index that holds all files that are there but the ignored ones.

    `staged` is the tree that was staged, empty while the index is unmerged, which no tree can express; `unmerged` are then the paths.
    `left_out` are repositories of their own in there, of which a tree could hold no more than a commit's name. `begun` is how the index was
    found before anything was looked at.
    """

    git: Git
    staged: str
    unmerged: tuple[str, ...]
    left_out: tuple[str, ...]
    begun: os.stat_result


@dataclass(frozen=True)
class Found:
    """How the files of a checkout were found when it was frozen: an index that holds all of the snapshot, and when looking began, by the clock of
    its file system."""

    index: Path
    root: Path
    device: int
    since: int


def write_commit(git: Git, tree: str, parents: Sequence[str], message: str, author: str, committer: str) -> str:
    """Write a commit; identities come with their date, as git stores them (`name <mail> seconds zone`)."""
    header = [f"tree {tree}", *(f"parent {parent}" for parent in dict.fromkeys(parents)), f"author {author}", f"committer {committer}"]
    raw = "\n".join(header).encode(errors="surrogateescape") + b"\n\n" + _text(message)
    if not git.objects:
        return write_raw(git, raw, tree, parents[0] if parents else "")
    made = git.write_aside("commit", raw, len(tree))
    if parents:
        _note(git, made, tree, parents[0])
    name, date, _ = committer.rsplit(" ", 2)
    return _remembered(Commit(made, tree, date, _MAIL if name == IDENTITY else "")).id


def write_raw(git: Git, raw: bytes, tree: str, parent: str) -> str:
    """Write a commit as git stores it."""
    made = git.line("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw)
    if parent:
        _note(git, made, tree, parent)
    return made


def write_own(git: Git, tree: str, parents: Sequence[str], message: str) -> str:
    """Write a commit of the user as git knows him, or of a name of ours where git knows none."""
    words = ["commit-tree", tree, *(word for parent in dict.fromkeys(parents) for word in ("-p", parent))]
    door = replace(git, settings={**git.settings, "i18n.commitEncoding": "UTF-8"})
    reply = door.ask(*words, stdin=_text(message))
    if reply.status != 0:
        reply = Reply(0, replace(door, settings={**door.settings, **NOBODY_KNOWN}).run(*words, stdin=_text(message)), "")
    made = reply.out.decode().strip()
    _note(git, made, tree, parents[0])
    if dated := _DATE.search(git.read_aside(made)):
        _remembered(Commit(made, tree, dated[2].decode(), os.fsdecode(dated[1])))
    return made


def _text(message: str) -> bytes:
    return (message.replace("\0", "").strip() + "\n").encode(errors="replace")


def _note(git: Git, made: str, tree: str, parent: str) -> None:
    """Note what was made in a view: git writes no object that the repository has, even where nothing refers to it."""
    if git.objects:
        with (git.objects.parent / packs.MADE).open("a") as file:
            file.write(f"{made} {tree} {tree_of(git, parent)}\n")


@dataclass(frozen=True)
class Commit:
    """What never changes about a commit."""

    id: str
    tree: str
    date: str
    mail: str
    """Of who committed it."""


_commits: dict[str, Commit] = {}
_snapshots: dict[str, Snapshot] = {}
_descents: set[tuple[str, str]] = set()
_REMEMBERED = 10_000
_ABOUT = "--format=%H %T %ct %ce"


def commit_of(git: Git, name: str) -> Commit:
    """Return the tree and date of a commit, by its full id. Ids name contents, so what was read once holds for ever."""
    return _commits.get(name) or _remembered(_read(git.line("log", "-1", _ABOUT, name, "--")))


def _read(said: str) -> Commit:
    name, tree, date, *mail = said.split(" ", 3)
    return Commit(name, tree, date, "".join(mail))


def tree_of(git: Git, name: str) -> str:
    """Return the tree of a commit, by its full id."""
    return commit_of(git, name).tree


def _remembered(commit: Commit) -> Commit:
    if len(_commits) > _REMEMBERED:
        _commits.clear()
        _descents.clear()
    _commits[commit.id] = commit
    return commit


def _noted(snapshot: Snapshot) -> Snapshot:
    """Remember what a snapshot's id names. How it was found when it was made is no part of that."""
    if len(_snapshots) > _REMEMBERED:
        _snapshots.clear()
    _snapshots[snapshot.id] = Snapshot(id=snapshot.id, contents=snapshot.contents, head=snapshot.head, staged=snapshot.staged)
    return snapshot


def held_by(name: str) -> set[str]:
    """Return what is kept with a commit or snapshot, as far as that is remembered: its head, and the trees of both."""
    found = _snapshots.get(name)
    commits = [_commits[each] for each in (name, found.head if found else name) if each in _commits]
    return {name, *((found.head, found.contents) if found else ()), *(commit.tree for commit in commits)}


def head_of(git: Git) -> Commit:
    """Return the head commit."""
    if known := _commits.get(_named_by_head(git)):
        return known
    reply = git.ask("log", "-1", _ABOUT, "HEAD", "--")
    said = os.fsdecode(reply.out).strip()
    if reply.status != 0 or said.count(" ") < 2:
        raise BackendFailed(
            f"{git.work_tree} is on a branch without a commit, or its HEAD is broken. Nothing was changed.",
            "Check out a commit there, or delete the workspace with discard_unmerged=true.",
        )
    return _remembered(_read(said))


def contains(git: Git, commit: str) -> bool:
    """Return whether the head is a commit or descends from it: once it does, that never changes."""
    head = _named_by_head(git)
    if head == commit or (head, commit) in _descents:
        return True
    if git.told("merge-base", "--is-ancestor", commit, "HEAD").status != 0:
        return False
    if head and head == _named_by_head(git):
        _descents.update([(head, commit)] if len(_descents) < _REMEMBERED else [])
    return True


def _named_by_head(git: Git) -> str:
    """Return the id that the files of a git directory say the head is at (gitrepository-layout(5)); nothing where git has to be asked."""
    said = text_of(git.git_dir / "HEAD")
    branch = said.removeprefix("ref: ")
    if branch != said:
        said = text_of(git.common_dir / branch) if branch.startswith("refs/heads/") and ".." not in branch else ""
    return said


def freeze(git: Git, lineage: Sequence[str], committed: bool, scratch: Path, kept: Path | None = None) -> tuple[Snapshot, Found | None]:
    """Freeze the checkout that `git` is at. See `Backend.snapshot`. How it was found is kept in a folder, if one is named and it was looked at."""
    head = head_of(git)
    if committed:
        return Snapshot(id=head.id, contents=head.tree, head=head.id), None
    with everything(git, scratch) as view:
        contents = written(view.git)
        found = _kept(view, kept) if kept else None
    staged = "" if view.staged == head.tree else view.staged
    made = Snapshot(id="", contents=contents, head=head.id, staged=staged, unmerged=view.unmerged, left_out=view.left_out)
    return linked(git, made, head.tree, lineage, head.date), found


def _kept(view: View, folder: Path) -> Found | None:
    index, kept = view.git.index, folder / f"found-{os.urandom(6).hex()}"
    if index is None:
        return None
    index.rename(kept)
    return Found(kept, view.git.work_tree or Path(), view.begun.st_dev, view.begun.st_ctime_ns)


def linked(git: Git, made: Snapshot, head_tree: str, lineage: Sequence[str], date: str) -> Snapshot:
    """Give a snapshot its id: that of its head when it adds nothing to it, else of a commit that descends from head and lineage."""
    if made.contents == head_tree and set(lineage) <= {made.head}:
        return made.model_copy(update={"id": made.head})
    who = f"{IDENTITY} {date} +0000"
    message = f"snapshot\n\nhead {made.head}" + (f"\nstaged {made.staged}" if made.staged else "")
    return _noted(made.model_copy(update={"id": write_commit(git, made.contents, [made.head, *lineage], message, who, who)}))


def load(git: Git, name: str) -> Snapshot:
    """Read a snapshot back by its id, if that was not done before. Any other commit is a snapshot of itself, whatever its message claims."""
    known = _commits.get(name)
    if known and known.mail != _MAIL:
        return Snapshot(id=name, contents=known.tree, head=name)
    return _snapshots.get(name) or _noted(_loaded(git, name))


def _loaded(git: Git, name: str) -> Snapshot:
    header, _, message = git.run("cat-file", "commit", name).decode(errors="replace").partition("\n\n")
    lines = header.split("\n")
    noted = _MESSAGE.fullmatch(message) if any(line.startswith(f"committer {IDENTITY} ") for line in lines) else None
    tree = lines[0].removeprefix("tree ")
    if noted is None or f"parent {noted['head']}" not in lines:
        return Snapshot(id=name, contents=tree, head=name)
    return Snapshot(id=name, contents=tree, head=noted["head"], staged=noted["staged"] or "")


# -- views --------------------------------------------------------------------------------------------------------------------------------


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
    with copied(git, scratch) as view:
        begun = (view.index or scratch).stat()
        staged, unmerged = _staged(view)
        modules = unhide(view)
        left_out = _add(view, modules)
        if modules:
            # Adding a submodule by name reads its head; `add -A` would start git inside of it, with whatever is configured there.
            view.run("update-index", "--remove", "-z", "--stdin", stdin=b"".join(path + b"\0" for path in modules))
        yield View(view, staged, unmerged, left_out, begun)


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


_plain: set[bytes] = set()
"""Indexes, by a hash of their bytes, in which nothing is odd."""


def _odd(view: Git) -> tuple[list[bytes], list[bytes]]:
    """Return the paths in the index of a view that are hidden, and those of submodules. Most have none of either: these are told by their bytes when
    they come again."""
    raw = view.index.read_bytes() if view.index else b""
    name = hashlib.blake2b(raw).digest()
    if name in _plain:
        return [], []
    out = b"\0" + view.run("ls-files", "-z", "-v", "--stage")
    if out.count(b"\0H 100") + out.count(b"\0H 120") == out.count(b"\0") - 1:
        if len(_plain) > _REMEMBERED:
            _plain.clear()
        # Of a split index, a part stands in a file of its own ("link" in gitformat-index(5)): who works in a clone could put another in its place.
        if view.git_dir == view.common_dir or b"link" not in raw:
            _plain.add(name)
        return [], []
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
        reply = view.ask("add", "-A", "--", ":/", _OURS, *excluded, *map(_excluding, left_out), literal=False)
        if reply.status == 0:
            return tuple(sorted({*map(path_text, left_out), *_unadopted(view, reply.err)}))
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


def _unadopted(view: Git, said: str) -> list[str]:
    """Take those repositories out again that git just added as bare names of commits, and return them."""
    if "adding embedded git repository" not in said:
        return []
    before = set(view.fields("ls-tree", "-r", "-z", "--name-only", "HEAD"))
    links = [row.split(b"\t", 1)[1] for row in view.fields("ls-files", "-z", "--stage") if row.startswith(b"160000")]
    fresh = [path for path in links if path not in before]
    view.run("update-index", "--force-remove", "-z", "--stdin", stdin=b"".join(path + b"\0" for path in fresh))
    return [path_text(path) for path in fresh]
