"""Commits that are to be replayed one after the other elsewhere: which they are, what each changed, and each made again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workspaces.errors import Limit, Unsupported
from workspaces.model import Pick, Snapshot

from ..diff import steps
from ..git import Git
from .commits import identity, write_commit, write_raw

_MOST = 1000


@dataclass(frozen=True)
class Original:
    """A commit with at most one parent."""

    id: str
    parent: str
    subject: str


def commits(git: Git, ours: str, theirs: str, known: Sequence[str]) -> list[Original]:
    """Return the commits that `theirs` has and neither `ours` nor what is `known` has, oldest first."""
    without = [f"^{name}" for name in dict.fromkeys([ours, *known])]
    out = git.run("log", "-z", "--reverse", "--topo-order", f"-{_MOST + 1}", "--format=%H %P%n%s", theirs, *without, "--")
    rows = [row.partition("\n") for row in out.decode(errors="replace").split("\0") if row]
    if len(rows) > _MOST:
        raise Limit(f"There are more than {_MOST} commits to replay. Nothing was changed.", "Use history='squash' or 'merge'.")
    found = [(names.split(), subject) for names, _, subject in rows]
    if joined := [f"{names[0][:9]} ({subject[:60]})" for names, subject in found if len(names) > 2]:
        raise Unsupported(
            f"Merge commits cannot be replayed one after the other: {', '.join(joined[:3])}. Nothing was changed.",
            "history='merge' keeps them as they are; 'squash' makes one commit of all.",
        )
    return [Original(names[0], names[1] if len(names) > 1 else "", subject) for names, subject in found]


def pick(git: Git, commit: str, subject: str, before: str, after: str, paths: Sequence[bytes], scratch: Path) -> Pick:
    """Return a commit that made `after` of the tree `before` (empty: of nothing); with paths, what of it is in these."""
    before = before or git.line("mktree", stdin=b"")
    if paths:
        moved = [step for step in steps(git, before, after) if any(_is_within(step.path, path) for path in paths)]
        put = [step.put for step in moved]
        after = git.tree(before, put, scratch) if put else before
    start = write_commit(git, before, [], "before", identity())
    made = write_commit(git, after, [start], "after", identity())
    return Pick(
        commit=commit,
        subject=subject,
        before=Snapshot(id=start, contents=before, head=start),
        after=Snapshot(id=made, contents=after, head=made),
    )


def _is_within(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")


def remade(git: Git, like: str, tree: str, parent: str, committer: str) -> str:
    """Write a commit with the author, date, encoding and message of another, byte by byte. Where it would be the same, it is that one."""
    header, _, message = git.run("cat-file", "commit", like).partition(b"\n\n")
    lines = header.split(b"\n")
    above = [line for line in lines if line.startswith((b"tree ", b"parent "))]
    new = [f"tree {tree}".encode(), f"parent {parent}".encode()]
    if above == new:
        return like
    kept = [next(line for line in lines if line.startswith(b"author ")), b"committer " + committer.encode(errors="surrogateescape")]
    kept += [line for line in lines if line.startswith(b"encoding ")]
    return write_raw(git, b"\n".join([*new, *kept]) + b"\n\n" + message, tree, parent)
