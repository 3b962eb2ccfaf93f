"""Submodules as the checkout around them has them: which repository lies in a folder, and which were left where they were, by a move that made them
another commit.

git moves what its index says of a submodule, and never what is in the folder. Until somebody lets it follow (`git submodule update`), that looks as if the
submodule had been taken back; so it is noted what a move left.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from workspaces.errors import BackendFailed, as_ours, translated

from .. import bounds, tree
from ..diff import Step
from ..git import Git
from .commits import head_of
from .repository import git_dir_in, text_of

SUBMODULE = "160000"


def names_in(git: Git, path: bytes) -> list[bytes]:
    """Return what is in a folder; nothing where none is, or only a link leads to one."""
    try:
        with suppress(*tree.ABSENT), tree.Folders(git.work_tree or "/") as folders:
            return [*map(os.fsencode, os.listdir(folders.at(os.fsdecode(path))))]  # noqa: PTH208 - a descriptor
    except OSError as error:
        raise translated(error) from error
    return []


def is_repository(git: Git, path: bytes) -> bool:
    """Return whether a repository is in the folder at a path: git takes it for the submodule's own, and leaves it as it is."""
    return b".git" in names_in(git, path)


def door(git: Git, path: bytes) -> Git | None:
    """Return git at a submodule. None for one whose repository is missing, or lies neither in the checkout nor among what git keeps for it: what somebody
    wrote in there may name any."""
    folder = (git.work_tree or Path()) / os.fsdecode(path)
    with suppress(OSError, RuntimeError, ValueError):  # of links that lead in a circle, or names that no file can have
        found = git_dir_in(folder)
        common = (found / text_of(found / "commondir")).resolve() if found else None
        ours = [place.resolve() for place in (git.work_tree or folder, git.common_dir)]
        if found and common and all(any(each.is_relative_to(place) for place in ours) for each in (found, common)):
            return Git(found, common, work_tree=folder, scratch=git.scratch, patience=git.patience)
    return None


def note_left(git: Git, moved: Iterable[Step]) -> None:
    """Note which submodules a move of the checkout will leave at another commit than it makes them. Noted before it, that says nothing of where it did
    not come to."""
    places = {step.path: step.new.blob for step in moved if step.new and step.new.mode == SUBMODULE}
    if not places:
        return
    left = {path: (_head(git, path), new) for path, new in places.items()}
    notes = {**_notes(git), **{path: note for path, note in left.items() if note[0] not in ("", note[1])}}
    with as_ours():
        _place(git).parent.mkdir(exist_ok=True)
        _place(git).write_bytes(b"".join(b"%s\0%s\0%s\0" % (path, head.encode(), new.encode()) for path, (head, new) in notes.items()))


def left(view: Git, submodules: Sequence[bytes]) -> set[bytes]:
    """Return those submodules that nobody moved since a move left them: they are at the same commit, and the index of `view` says what that made them."""
    notes = {path: note for path, note in _notes(view).items() if path in submodules}
    if not notes:
        return set()
    rows = (row.split(b"\t", 1) for row in view.fields("ls-files", "-z", "--stage", "--", *notes))
    says = {path: about.split()[1].decode() for about, path in rows}
    return {path for path, (head, new) in notes.items() if says.get(path) == new and _head(view, path) == head}


def forget_left(git_dir: Path, common_dir: Path) -> None:
    _place(Git(git_dir, common_dir)).unlink(missing_ok=True)


def _head(git: Git, path: bytes) -> str:
    """Return the commit that a submodule is at; nothing for one without."""
    with suppress(BackendFailed):
        if is_repository(git, path) and (module := door(git, path)):
            return head_of(module).id
    return ""


def _place(git: Git) -> Path:
    return git.common_dir / "workspaces" / "submodules" / f"{git.git_dir.name}.left"


def _notes(git: Git) -> dict[bytes, tuple[str, str]]:
    try:
        words = tree.start_of(_place(git), bounds.MEMORY).split(b"\0")
    except OSError:
        return {}
    return {path: (os.fsdecode(head), os.fsdecode(new)) for path, head, new in zip(words[::3], words[1::3], words[2::3], strict=False)}
