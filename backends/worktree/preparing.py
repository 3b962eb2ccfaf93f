"""Making spares (`spares`) of what is committed in the project's own checkout, one after the other, while nobody waits."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from .. import tree
from ..crew import Crew
from ..git import Git
from ..place import WORKSPACES
from . import own, registration, spares
from .commits import Commit, head_of
from .filling import fill
from .index import Index, Strange
from .repository import Repository
from .snapshot import Found, copied
from .spares import Spare

_LOCATION = ".spare"
"""Where a spare says that it is until it is somewhere: no workspace can have that name."""


def prepare(repository: Repository, git: Git, trusted: str, count: int) -> int:
    """Have `count` spares of the head, as far as there is room, or a template, which does for all, and return how many there are. `git` is at the
    project's own checkout, whose head is looked at anew for each of them. The caller is the only one who prepares."""
    # Else nothing can be moved from here to there; or what is prepared fits no clone that is made here.
    is_near = repository.home.stat().st_dev == repository.root.stat().st_dev and not own.has_own(git)
    while True:
        head, fits = head_of(git), spares.fitting(git, trusted)
        kept = spares.tidy(repository.spares, fits, count if is_near else 0)
        stale = next((spare for spare in kept if spare.contents != head.tree), None)
        if stale:
            _renew(repository, git, head, stale)
        elif (
            len(kept) >= count
            or any(spare.is_template for spare in kept)
            or not is_near
            or not _made(repository, git, head, fits, len(kept) + 1)
        ):
            return len(kept)


def _renew(repository: Repository, git: Git, head: Commit, spare: Spare) -> None:
    """Bring a spare to the head, if nobody takes it first; one that cannot be brought there goes."""
    made = spares.reopen(spare)
    if made is None:
        return
    moved = spares.bring(_at(repository, git, made, head), spare.contents, head.tree, has_been_there=True)
    if moved is None:
        spares.remove(made)
    else:
        _finish(made, head, spare.fits)


def _made(repository: Repository, git: Git, head: Commit, fits: str, number: int) -> bool:
    """Make a spare more, the one of that number. False where there is no room for it."""
    with copied(git, repository.scratch) as view, Crew(hands=1) as crew:
        index = view.index or repository.scratch
        looked = index.stat()  # what the index says was found by then: a copy has the time of what it is a copy of
        view.run("read-tree", "--reset", head.tree)
        if not spares.has_room(repository.spares, number * _size(index, len(head.tree) // 2)):
            return False
        made = spares.begin(repository.spares)
        try:
            found = Found(index, repository.root, looked.st_dev, looked.st_mtime_ns)
            fill(_at(repository, git, made, head), frozenset(), head.tree, found, crew)
            _finish(made, head, fits)
        except BaseException:
            with suppress(OSError):
                spares.remove(made)
            raise
    return True


def _finish(made: Path, head: Commit, fits: str) -> None:
    tree.sync_all(made)
    spares.finish(made, head.tree, fits)


def _at(repository: Repository, git: Git, made: Path, head: Commit) -> Git:
    registration.prepare_admin(made, repository.root / WORKSPACES / _LOCATION, head.id)
    return registration.at(git, made).at(work_tree=made / spares.TREE)


def _size(index: Path, width: int) -> int:
    """Return about how many bytes the files of an index have."""
    try:
        return sum(entry.size for entry in Index(index.read_bytes(), width).entries)
    except Strange:
        return 0
