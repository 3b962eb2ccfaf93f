"""What is in the folder of a submodule and nowhere else: of that, no tree of the repository around it holds more than a commit's name.

Looking runs nothing that is configured in there, and reads nothing that lies elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from workspaces.errors import BackendFailed

from .. import tree
from ..git import Git
from ..mergetree import entries
from .gitlinks import SUBMODULE, door, names_in
from .snapshot import copied, unhide

_STATUS = ("status", "--porcelain=v2", "-z", "--no-renames", "--ignore-submodules=dirty")
_WORK = (*_STATUS, "--untracked-files=normal")
_ALL = (*_STATUS, "--untracked-files=all", "--ignored=traditional")
_BEFORE = {b"1": 8, b"u": 10, b"?": 1, b"!": 1}
"""How many words stand before a path, by what is told of it (git-status(1), "Porcelain Format Version 2")."""
_TIPS = ("HEAD", "--branches", "--glob=refs/stas[h]")
"""What somebody committed in there descends to. git takes a name without a pattern for that of a folder."""
_DEEPEST = 10
"""Submodules in one another that are looked into."""
_LONGEST = 1 << 20
"""Bytes of a configuration that are looked at."""


def worked_in(git: Git, paths: Sequence[bytes], since: str, scratch: Path) -> list[bytes]:
    """Return those of some submodules of the checkout that `git` is at that hold work: what is not committed there, but for ignored files; commits
    that are neither known to be elsewhere, nor where the commit `since` has the submodule; or anything at all, where no repository is."""
    there = [path for path in paths if names_in(git, path)]
    pinned = entries(git, since, there) if there else {}
    known = {path: entry.blob for path, entry in pinned.items() if entry.mode == SUBMODULE}
    return [path for path in there if next(_work(git, path, known.get(path, ""), scratch, _WORK), None)]


def in_the_way(git: Git, path: bytes, pinned: str, scratch: Path) -> Iterator[bytes]:
    """Yield what would go with the folder of a submodule that was at the commit `pinned`, whatever git thinks that it is worth."""
    if os.path.isdir(os.path.join(os.fsencode(git.work_tree or ""), path, b".git")):  # noqa: PTH112, PTH118 - bytes
        yield path + b"/.git"
    yield from _work(git, path, pinned, scratch, _ALL)


def _work(git: Git, path: bytes, pinned: str, scratch: Path, how: Sequence[str], depth: int = 0) -> Iterator[bytes]:
    """Yield the paths of what is in a submodule alone, by the commands that tell of it; its own path where that is a commit, or cannot be looked at."""
    names = names_in(git, path)
    if names and b".git" not in names:
        yield from (path + b"/" + name for name in sorted(names))
    if b".git" not in names:
        return
    found = door(git, path)
    if found is None or depth == _DEEPEST or not _is_told_there(found):
        yield path
        return
    try:
        module = found.disarmed()
        for each in _inside(module, scratch, how, depth):
            yield path + b"/" + each
        known = [pinned] if pinned else []
        if _has_own_commits(module, known) and _has_own_commits(module, [*known, *_tips_beside(git, module)]):
            yield path
    except BackendFailed:  # what somebody half made, or broke
        yield path


def _inside(module: Git, scratch: Path, how: Sequence[str], depth: int) -> Iterator[bytes]:
    """Yield what is not committed in a repository, hidden or not, and what is in submodules of its own."""
    with copied(module, scratch) as view:
        nested = unhide(view)
        words = view.fields(*how)
    yield from (word.split(b" ", _BEFORE[word[:1]])[-1].rstrip(b"/") for word in words if word[:1] in _BEFORE)
    pinned = entries(module, "HEAD", nested) if nested else {}
    for path in nested:
        yield from _work(module, path, pinned[path].blob if path in pinned else "", scratch, how, depth + 1)


def _is_told_there(module: Git) -> bool:
    """Return whether a submodule's configuration is in its files alone: what it includes may be anything, and anywhere."""
    files = [file for file in (module.common_dir / "config", module.git_dir / "config.worktree") if os.path.lexists(file)]
    try:
        texts = [tree.start_of(file, _LONGEST) for file in files]
    except OSError:
        return False
    return all(0 < len(text) < _LONGEST and b"[include" not in text.lower() for text in texts)


def _has_own_commits(module: Git, elsewhere: Sequence[str]) -> bool:
    """Return whether somebody committed in a submodule what was not pushed, nor is in the history of commits that are known to be elsewhere."""
    asked = "".join(f"^{name}\n" for name in elsewhere).encode()
    return bool(module.run("rev-list", "-1", "--ignore-missing", "--stdin", *_TIPS, "--not", "--remotes", stdin=asked))


def _tips_beside(git: Git, module: Git) -> list[str]:
    """Return what the project's own checkout has of the submodule of a clone, which is in no repository when that fetched it."""
    beside = git.common_dir / os.path.relpath(module.git_dir, git.git_dir)
    if git.git_dir == git.common_dir or not module.git_dir.is_relative_to(git.git_dir) or not (beside / "HEAD").exists():
        return []
    return Git(beside, beside).told("show-ref", "--head", "--hash").out.decode().split()
