"""Freezing a checkout: a tree of all that is there now, and the commit that gives it its place in history.

The checkout's own index is copied, never written. A snapshot of a clean checkout is its head commit itself; any other is a commit of ours whose
parents are the head and the earlier snapshots that it descends from. It is dated like its head, so equal work makes equal ids.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from workspaces.errors import BackendFailed
from workspaces.model import Snapshot

from .git import Git, refusal

IDENTITY = "mcp-workspaces <workspaces@localhost>"
_NO_COMMIT = re.compile(r"^error: '(.+)/' does not have a commit checked out$", re.MULTILINE)
_VANISHED = re.compile(r"unable to (?:stat|index file)|No such file or directory|file changed|unexpected end|short read|failed to insert")
_TRIES = 5


def write_commit(git: Git, tree: str, parents: Sequence[str], message: str, author: str, committer: str) -> str:
    """Write a commit; identities come with their date, as git stores them (`name <mail> seconds zone`)."""
    lines = [
        f"tree {tree}",
        *(f"parent {parent}" for parent in dict.fromkeys(parents)),
        f"author {author}",
        f"committer {committer}",
        "",
        message.replace("\0", "").strip(),
        "",
    ]
    return git.line("hash-object", "-t", "commit", "-w", "--stdin", stdin="\n".join(lines).encode(errors="surrogateescape"))


def head_of(git: Git) -> tuple[str, str, str]:
    """Return the head commit, its tree, and its date in seconds."""
    commit, tree, date = git.line("log", "-1", "--format=%H %T %ct", "HEAD", "--").split()
    return commit, tree, date


def freeze(git: Git, lineage: Sequence[str], committed: bool, scratch: Path) -> Snapshot:
    """Freeze the checkout that `git` is at. See `Backend.snapshot`."""
    head, tree, date = head_of(git)
    if committed:
        return Snapshot(id=head, contents=tree, head=head)
    with everything(git, scratch) as (view, staged):
        contents = view.line("write-tree")
    return linked(git, Snapshot(id="", contents=contents, head=head, staged="" if staged == tree else staged), tree, lineage, date)


def linked(git: Git, made: Snapshot, head_tree: str, lineage: Sequence[str], date: str) -> Snapshot:
    """Give a snapshot its id: that of its head when it adds nothing to it, else of a commit that descends from head and lineage."""
    if made.contents == head_tree and set(lineage) <= {made.head}:
        return made.model_copy(update={"id": made.head})
    who = f"{IDENTITY} {date} +0000"
    message = f"snapshot\n\nhead {made.head}" + (f"\nstaged {made.staged}" if made.staged else "")
    return made.model_copy(update={"id": write_commit(git, made.contents, [made.head, *lineage], message, who, who)})


def date_of(git: Git, commit: str) -> str:
    return git.line("log", "-1", "--format=%ct", commit, "--")


def load(git: Git, name: str) -> Snapshot:
    """Read a snapshot back by its id."""
    header, _, message = git.run("cat-file", "commit", name).decode(errors="replace").partition("\n\n")
    tree = header.split("\n", 1)[0].removeprefix("tree ")
    if f"committer {IDENTITY} " not in header or not message.startswith("snapshot\n\n"):
        return Snapshot(id=name, contents=tree, head=name)
    noted = dict(line.split(" ", 1) for line in message.splitlines()[2:] if " " in line)
    return Snapshot(id=name, contents=tree, head=noted["head"], staged=noted.get("staged", ""))


@contextmanager
def copied(git: Git, scratch: Path) -> Generator[Git]:
    """Open a view on the checkout with a copy of its index."""
    scratch.mkdir(parents=True, exist_ok=True)
    index = scratch / f"index-{os.urandom(6).hex()}"
    own = git.git_dir / "index"
    view = git.at(index=index)
    try:
        if own.exists():
            shutil.copy2(own, index)
        else:
            view.run("read-tree", "HEAD")
        yield view
    finally:
        for leftover in (index, index.with_name(index.name + ".lock")):
            leftover.unlink(missing_ok=True)


@contextmanager
def everything(git: Git, scratch: Path) -> Generator[tuple[Git, str]]:
    """Open a view whose index holds all files that are there but the ignored ones, and the tree that was staged.

    Staged is empty while the index is unmerged, which no tree can express.
    """
    with copied(git, scratch) as view:
        staged = view.ask("write-tree")
        _add(view)
        yield view, staged.out.decode().strip() if staged.status == 0 else ""


def _add(view: Git) -> None:
    """Add everything. An agent may be writing meanwhile: files that vanish under git's hands are looked at again."""
    skipped: list[str] = []
    for attempt in range(_TRIES):
        left_out = [f":(top,exclude,literal){name}" for name in skipped]
        reply = view.ask("add", "-A", "--", ":/", *left_out, literal=False)
        if reply.status == 0:
            return
        # A nested repository without a commit has nothing that a snapshot could name; git refuses it, and all else with it.
        if nested := _NO_COMMIT.findall(reply.err):
            skipped += nested
        elif attempt == _TRIES - 1 or not _VANISHED.search(reply.err):
            raise refusal(["add"], reply)
    raise BackendFailed(
        "The files keep changing faster than they can be read. Nothing was changed.", "Stop what writes there, then call again."
    )
