"""Two commits combined in memory by git's own merge, under the attributes of the target, with conflicts as values."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workspaces.errors import Unsupported
from workspaces.model import NONE, Change, Choice, Merge, Rest, path_bytes, path_text

from . import mergetree, resolution, tree
from .attributes import attribute_tree, carry_over
from .diff import changes
from .git import Git, refusal

Look = Callable[[Git, str, str], tuple[Change, ...]]


def merge(
    git: Git,
    ours: str,
    theirs: str,
    contents: str,
    on_conflict: Rest,
    labels: tuple[str, str],
    scratch: Path,
    choices: Mapping[str, Choice] = NONE,
    look: Look = changes,
) -> Merge:
    """Combine the commits `ours` (whose tree is `contents`) and `theirs`. See `Backend.merge`. `look` tells what differs between two trees."""
    outcome = _tried(git, ours, theirs, contents, scratch)
    met = {clash.path for clash in outcome.clashes}
    made = resolution.choices(outcome, choices, on_conflict)
    if made:
        outcome = resolution.settled(git, outcome, made, scratch)
    conflicts = mergetree.conflicts(git, outcome, scratch) if outcome.clashes else ()
    decided = sorted(met - {clash.path for clash in outcome.clashes})
    result = resolution.marked(git, outcome, labels, scratch) if outcome.clashes and on_conflict == "markers" else outcome.tree
    gained: tuple[Change, ...] = () if result == contents else look(git, contents, result)
    carry_over(contents, result, (path_bytes(path) for each in gained for path in (each.path, each.old_path)))
    return Merge(
        contents=result,
        conflicts=conflicts,
        decided=tuple(map(path_text, decided)),
        changes=gained,
        unsure=tuple(map(path_text, outcome.unsure)),
    )


def _tried(git: Git, ours: str, theirs: str, contents: str, scratch: Path) -> mergetree.Outcome:
    """Merge two commits under the attributes of a tree, with markers that cannot be mistaken for contents."""
    for marker in mergetree.MARKERS:
        tried = outcome(git.at(work_tree=attribute_tree(git, contents, marker, scratch)), ours, theirs, marker)
        if not mergetree.is_ambiguous(git, tried):
            return tried
    raise Unsupported(
        "The files hold lines like conflict markers of every length that was tried. Nothing was changed.",
        "Merge them with git by hand.",
    )


def outcome(git: Git, ours: str, theirs: str, marker: int) -> mergetree.Outcome:
    """Merge two commits in memory, under the attributes of git's work tree."""
    args = ("merge-tree", "--write-tree", "-z", "--messages", ours, theirs)
    reply = git.ask(*args)
    if reply.status not in (0, 1) or not reply.out:
        raise refusal(args, reply)
    return mergetree.parse(reply.out, ours, theirs, marker)


def marked_files(root: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return which of the files below `root` hold conflict markers; none, where a link stands in its place. No link is followed."""
    if not paths or root.is_symlink() or not root.is_dir():
        return ()
    with tree.Folders(root) as folders:
        return tuple(path for path in paths if _has_markers(folders, os.fsdecode(path_bytes(path))))


def _has_markers(folders: tree.Folders, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    try:
        text = b"\n" + tree.start_of(name, 2 * mergetree.TEXT_LIMIT, folders.at(folder))
    except (*tree.ABSENT, IsADirectoryError, PermissionError):
        return False
    return all(b"\n" + mark in text or b"\r" + mark in text for mark in (b"<<<<<<< ", b">>>>>>> "))
