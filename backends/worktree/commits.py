"""Commits: how they are written and read, how one stands for a snapshot, and what is remembered of them.

An id names contents, so what was read of it once holds for ever. A snapshot that adds nothing to its head is its head's commit; any other is a commit of
ours whose parents are the head and the earlier snapshots that it descends from. It is dated like its head, so equal work makes equal ids.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from workspaces.errors import BackendFailed
from workspaces.model import Snapshot

from .. import sheaf
from ..git import Git, Reply
from . import packs
from .repository import text_of

_MAIL = "snapshot@workspaces.invalid"
_IDENTITY = f"mcp-workspaces snapshot <{_MAIL}>"
NOBODY_KNOWN = {"user.name": "mcp-workspaces", "user.email": "mcp-workspaces@localhost"}
"""Who commits where git knows no user."""
_MESSAGE = re.compile(r"snapshot\n\nhead (?P<head>[0-9a-f]+)(?:\nstaged (?P<staged>[0-9a-f]+))?\n")
_COMMITTER = re.compile(rb"^committer .*<(.*)> (\d+) [+-]\d+$", re.MULTILINE)
_TREE = re.compile(rb"tree ([0-9a-f]{40}|[0-9a-f]{64})\n")
_PARENT = re.compile(rb"^parent ([0-9a-f]+)$", re.MULTILINE)
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LONGEST = 1 << 16
"""Bytes of the longest commit that is read here."""
_NEAR = 50
"""Commits that are looked at before git is asked what one descends from."""


@dataclass(frozen=True)
class Commit:
    """What never changes about a commit."""

    id: str
    tree: str
    date: str
    mail: str
    """Of who committed it."""


_commits: dict[str, Commit] = {}
_parents: dict[str, frozenset[str]] = {}
"""Of commits that were written or read here."""
_snapshots: dict[str, Snapshot] = {}
_descents: set[tuple[str, str]] = set()
_REMEMBERED = 10_000
_ABOUT = "--format=%H %T %ct %ce"


def commit_of(git: Git, name: str) -> Commit:
    """Return the tree and date of a commit, by its full id. Ids name contents, so what was read once holds for ever."""
    return _commits.get(name) or _loose(git, name) or _remembered(_read(git.line("log", "-1", _ABOUT, name, "--")))


def _loose(git: Git, name: str) -> Commit | None:
    """Return what a commit says that is in a file of its own, as it is when somebody just made it. None where git has to be asked."""
    header = _file_of(git, name).partition(b"\n\n")[0]
    tree, who = _TREE.match(header), _COMMITTER.search(header)
    if tree is None or who is None:
        return None
    return _remembered(Commit(name, tree[1].decode(), who[2].decode(), os.fsdecode(who[1])))


def _file_of(git: Git, name: str) -> bytes:
    """Return a commit as git stores it, if it is in a file of its own, as it is when somebody just made it; nothing where git has to be asked."""
    text = git.read_loose("commit", name, _LONGEST) if _ID.fullmatch(name) else b""
    return text if text and sheaf.named("commit", text, len(name)) == name else b""


def _read(said: str) -> Commit:
    name, tree, date, *mail = said.split(" ", 3)
    return Commit(name, tree, date, "".join(mail))


def tree_of(git: Git, name: str) -> str:
    """Return the tree of a commit, by its full id."""
    return commit_of(git, name).tree


def _remembered(commit: Commit) -> Commit:
    if len(_commits) > _REMEMBERED:
        for known in (_commits, _parents, _descents):
            known.clear()
    _commits[commit.id] = commit
    return commit


def held_by(name: str) -> set[str]:
    """Return what is kept with a commit or snapshot, as far as that is remembered: its head, and the trees of both."""
    found = _snapshots.get(name)
    commits = [_commits[each] for each in (name, found.head if found else name) if each in _commits]
    return {name, *((found.head, found.contents) if found else ()), *(commit.tree for commit in commits)}


def head_of(git: Git) -> Commit:
    """Return the head commit."""
    name = _named_by_head(git)
    if known := _commits.get(name) or _loose(git, name):
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
    if not _is_near(git, head, commit) and not is_ancestor(git, commit, "HEAD"):
        return False
    if head and head == _named_by_head(git):
        _descents.update([(head, commit)] if len(_descents) < _REMEMBERED else [])
    return True


def _is_near(git: Git, name: str, of: str) -> bool:
    """Return whether a commit is found below another in files of their own, as those are that somebody made lately."""
    waiting, met = [name], set[str]()
    while waiting and len(met) < _NEAR:
        parents = _above(git, here := waiting.pop(0))
        if of in parents:
            return True
        met.add(here)
        waiting += parents - met
    return False


def is_committed(git: Git, snapshot: Snapshot) -> bool:
    return tree_of(git, snapshot.head) == snapshot.contents


def is_ancestor(git: Git, commit: str, of: str) -> bool:
    """Return whether a commit is in the history of another, or is that one."""
    return commit == of or git.told("merge-base", "--is-ancestor", commit, of).status == 0


def parents_of(name: str) -> frozenset[str] | None:
    """Return the parents of a commit that was written here, as far as that is remembered."""
    return _parents.get(name)


def nearest(git: Git, one: str, other: str) -> str:
    """Return which of two commits the other was made from, as far as that is told without git: it is all that the two have in common. Else
    nothing."""
    return next((old for old, new in ((one, other), (other, one)) if old == new or old in _above(git, new)), "")


def _above(git: Git, name: str) -> frozenset[str]:
    """Return the parents of a commit that was written here, or is in a file of its own; none where git has to be asked."""
    known = _parents.get(name)
    if known is None and (text := _file_of(git, name)):
        known = _parents[name] = frozenset(each.decode() for each in _PARENT.findall(text.partition(b"\n\n")[0]))
    return known or frozenset()


def _named_by_head(git: Git) -> str:
    """Return the id that the files of a git directory say the head is at (gitrepository-layout(5)); nothing where git has to be asked."""
    said = text_of(git.git_dir / "HEAD")
    branch = said.removeprefix("ref: ")
    if branch != said:
        said = text_of(git.common_dir / branch) if branch.startswith("refs/heads/") and ".." not in branch else ""
    return said


# -- writing them -------------------------------------------------------------------------------------------------------------------------


def write_commit(git: Git, tree: str, parents: Sequence[str], message: str, who: str) -> str:
    """Write a commit; its author and committer, who are one, come with the date, as git stores them (`name <mail> seconds zone`)."""
    header = [f"tree {tree}", *(f"parent {parent}" for parent in dict.fromkeys(parents)), f"author {who}", f"committer {who}"]
    raw = "\n".join(header).encode(errors="surrogateescape") + b"\n\n" + _text(message)
    if not git.objects:
        return write_raw(git, raw, tree, parents[0] if parents else "")
    made = git.write_aside("commit", raw, len(tree))
    _parents[made] = frozenset(parents)
    if parents:
        _note(git, made, tree, parents[0])
    name, date, _ = who.rsplit(" ", 2)
    return _remembered(Commit(made, tree, date, _MAIL if name == _IDENTITY else "")).id


def write_raw(git: Git, raw: bytes, tree: str, parent: str) -> str:
    """Write a commit as git stores it."""
    made = git.line("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw)
    if parent:
        _note(git, made, tree, parent)
    return made


def write_own(git: Git, tree: str, parents: Sequence[str], message: str) -> str:
    """Write a commit of the user as git knows him, or of a name of ours where git knows none."""
    if git.person and git.objects:
        return write_commit(git, tree, parents, message, f"{git.person} {int(time.time())} {time.strftime('%z')}")
    words = ["commit-tree", tree, *(word for parent in dict.fromkeys(parents) for word in ("-p", parent))]
    door = replace(git, settings={**git.settings, "i18n.commitEncoding": "UTF-8"})
    reply = door.ask(*words, stdin=_text(message))
    if reply.status != 0:
        reply = Reply(0, replace(door, settings={**door.settings, **NOBODY_KNOWN}).run(*words, stdin=_text(message)), "")
    made = reply.out.decode().strip()
    _note(git, made, tree, parents[0])
    _loose(git, made)
    return made


def identity(date: str = "0") -> str:
    """Return our identity, at a date: of what is of no time, at none."""
    return f"{_IDENTITY} {date} +0000"


def _text(message: str) -> bytes:
    return (message.replace("\0", "").strip() + "\n").encode(errors="replace")


def _note(git: Git, made: str, tree: str, parent: str) -> None:
    """Note what was made in a view: git writes no object that the repository has, even where nothing refers to it."""
    if git.objects:
        with (git.objects.parent / packs.MADE).open("a") as file:
            file.write(f"{made} {tree} {tree_of(git, parent)}\n")


# -- snapshots ----------------------------------------------------------------------------------------------------------------------------


def linked(git: Git, made: Snapshot, head_tree: str, lineage: Sequence[str], date: str) -> Snapshot:
    """Give a snapshot its id: that of its head when it adds nothing to it, else of a commit that descends from head and lineage."""
    if made.contents == head_tree and set(lineage) <= {made.head}:
        return made.model_copy(update={"id": made.head})
    message = f"snapshot\n\nhead {made.head}" + (f"\nstaged {made.staged}" if made.staged else "")
    return _noted(made.model_copy(update={"id": write_commit(git, made.contents, [made.head, *lineage], message, identity(date))}))


def load(git: Git, name: str) -> Snapshot:
    """Read a snapshot back by its id, if that was not done before. Any other commit is a snapshot of itself, whatever its message claims."""
    known = _commits.get(name)
    if known and known.mail != _MAIL:
        return Snapshot(id=name, contents=known.tree, head=name)
    return _snapshots.get(name) or _noted(_loaded(git, name))


def _loaded(git: Git, name: str) -> Snapshot:
    header, _, message = (_file_of(git, name) or git.run("cat-file", "commit", name)).decode(errors="replace").partition("\n\n")
    lines = header.split("\n")
    noted = _MESSAGE.fullmatch(message) if any(line.startswith(f"committer {_IDENTITY} ") for line in lines) else None
    tree = lines[0].removeprefix("tree ")
    if noted is None or f"parent {noted['head']}" not in lines:
        return Snapshot(id=name, contents=tree, head=name)
    return Snapshot(id=name, contents=tree, head=noted["head"], staged=noted["staged"] or "")


def _noted(snapshot: Snapshot) -> Snapshot:
    """Remember what a snapshot's id names. How it was found when it was made is no part of that."""
    if len(_snapshots) > _REMEMBERED:
        _snapshots.clear()
    _snapshots[snapshot.id] = Snapshot(id=snapshot.id, contents=snapshot.contents, head=snapshot.head, staged=snapshot.staged)
    return snapshot
