"""Where a git repository's parts lie, found without asking git: what a workspace contains must not decide which repository is used."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from workspaces.errors import NotAProject, readable
from workspaces.model import Workspace

from .. import bounds, tree
from ..git import LONGEST, Git
from ..gitlocks import Ground
from ..place import WORKSPACES


@dataclass(frozen=True)
class Repository:
    """One checkout of a git repository: its work tree, its git directory, and the directory that all checkouts share."""

    root: Path
    git_dir: Path
    common_dir: Path

    @property
    def home(self) -> Path:
        return self.common_dir / "workspaces"

    @property
    def scratch(self) -> Path:
        """A folder for what lives as long as one call."""
        return self.home / "tmp"

    @property
    def spares(self) -> Path:
        """Where worktrees are that are prepared for clones to come."""
        return self.home / "spares"

    @property
    def pending(self) -> Path:
        """Where it is noted which clones have files that are not written out yet."""
        return self.home / "pending"

    @property
    def ground(self) -> Ground:
        """What a git must be at work on to make the locks of this checkout."""
        return Ground(self.git_dir, self.common_dir, self.root)

    def admin_dir(self, workspace: Workspace) -> Path:
        """Return the git directory of a workspace, whatever the `.git` file inside of it says."""
        return self.git_dir if workspace.is_main else self.common_dir / "worktrees" / f"{workspace.name}-{workspace.uid}"

    def git(self, git_dir: Path | None = None, trusted: str = "", like: Git | None = None) -> Git:
        """Return the door to one checkout, without a work tree. Drivers that the repository configures, for all or for that one, are off, unless
        they are exactly the trusted ones; with a door that is `like` this one, as they are there."""
        at = git_dir or self.git_dir
        patience = bounds.patience(self.common_dir / "index", is_main=at == self.git_dir)
        if like:
            return replace(like, git_dir=at, patience=patience)
        return Git(at, self.common_dir, scratch=self.scratch, patience=patience).disarmed(trusted)


def find(path: Path) -> Repository | None:
    """Return the checkout that `path` is in; from inside of a workspace, the checkout of its project."""
    for folder in (path, *path.parents):
        if _is_workspace(folder):
            continue
        if (git_dir := git_dir_in(folder)) is not None:
            common = git_dir / "commondir"
            shared = (git_dir / _line_of(common)).resolve() if common.exists() else git_dir
            return _fit(Repository(folder, git_dir, shared))
        if all((folder / part).exists() for part in ("HEAD", "objects", "refs")):
            inside = folder.name == ".git"
            what = "is a git directory" if inside else "is a bare repository, which has no files to work on"
            raise NotAProject(
                f"{folder} {what}. Nothing was changed.",
                "Name the checkout itself." if inside else "Make a checkout: git worktree add ../checkout",
            )
    return None


def _line_of(file: Path | str) -> str:
    """Return the line that a file of a git directory holds: others may have put anything in its place."""
    return os.fsdecode(tree.start_of(file, LONGEST)).strip()


def text_of(file: Path) -> str:
    """Return the line that a file of a git directory holds; of one that cannot be read, nothing."""
    try:
        return _line_of(file)
    except OSError:
        return ""


def _is_workspace(folder: Path) -> bool:
    """Return whether a folder is one of our workspaces, by where it lies and not by what it contains."""
    above = folder.parent
    return above.name == WORKSPACES and (above / ".gitignore").exists() and (above.parent / ".git").exists()


def git_dir_in(folder: Path) -> Path | None:
    """Return the git directory of the checkout in a folder, wherever it lies. None where none is."""
    entry = folder / ".git"
    if entry.is_dir():
        return entry.resolve() if (entry / "HEAD").exists() else None
    with suppress(*tree.ABSENT, PermissionError):
        pointer = tree.start_of(entry.resolve(), LONGEST)
        if pointer.startswith(b"gitdir: "):
            found = (folder / os.fsdecode(pointer[8:].strip())).resolve()
            return found if (found / "HEAD").exists() else None
    return None


def _fit(found: Repository) -> Repository:
    try:
        str(found.root).encode()
    except UnicodeEncodeError:
        raise NotAProject("The path of the repository is not UTF-8. Nothing was changed.", "Rename the folder.") from None
    git = Git(found.git_dir, found.common_dir)
    places = _places(git)
    if found.git_dir == found.common_dir and b"core.bare" in places and _is_bare(found.common_dir):
        raise NotAProject(
            f"{found.root} is a bare repository, which has no files to work on. Nothing was changed.",
            "Make a checkout: git worktree add ../checkout",
        )
    if git.ask("rev-parse", "--verify", "-q", "HEAD^{commit}").status != 0:
        raise NotAProject(
            f"{found.root} has no commit yet, so there is nothing to clone. Nothing was changed.",
            "Make a first commit (git commit --allow-empty -m start), then call again.",
        )
    elsewhere = git.told("config", "--type=path", "core.worktree") if b"core.worktree" in places else None
    if elsewhere and elsewhere.status == 0 and (found.git_dir / os.fsdecode(elsewhere.out.strip())).resolve() != found.root:
        raise NotAProject(
            f"The files of {found.root} are elsewhere, by core.worktree. Nothing was changed.", "Unset core.worktree, or use git worktree."
        )
    return found


_UNDER_WAY = {
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "sequencer": "a cherry-pick or revert",
    "BISECT_START": "a bisect",
}
_CLAIMS = ("HEAD", "rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START")
"""Where the git directory of a checkout names a branch that is in use there (gitrepository-layout(5))."""


def under_way(repository: Repository, git_dir: Path) -> str:
    """Return what is going on in the checkout of `git_dir`, or elsewhere with the branch that it is on; nothing if it is free to move."""
    for name, what in _UNDER_WAY.items():
        if (git_dir / name).exists():
            return f"{what} is under way"
    head = _line_of(git_dir / "HEAD")
    if not head.startswith("ref: "):
        return ""
    branch = head.removeprefix("ref: ")
    where = in_use(repository, git_dir, branch)
    return f"{branch.removeprefix('refs/heads/')} is also in use by {where}" if where else ""


def in_use(repository: Repository, git_dir: Path, branch: str) -> str:
    """Return where another checkout than that of `git_dir` has a branch, or will come back to it; nothing if none has."""
    return next((_where(other) for other in _checkouts(repository) if other != git_dir and branch in _claimed(other)), "")


def _places(git: Git) -> set[bytes]:
    """Return which of the settings there are that say where files are, if not in the usual place."""
    said = git.told("config", "--null", "--get-regexp", r"^core\.(bare|worktree)$").out.split(b"\0")
    return {key for key, _, value in (word.partition(b"\n") for word in said) if (key, value) != (b"core.bare", b"false")}


def _is_bare(git_dir: Path) -> bool:
    return Git(git_dir, git_dir).told("config", "--type=bool", "core.bare").out.strip() == b"true"


def _checkouts(repository: Repository) -> Iterator[Path]:
    if repository.git_dir == repository.common_dir or not _is_bare(repository.common_dir):
        yield repository.common_dir
    with suppress(FileNotFoundError):
        yield from (repository.common_dir / "worktrees").iterdir()


_claims: dict[str, tuple[int, frozenset[str]]] = {}
"""What checkouts claimed, with the time of their git directories, which each change of a head gives another one."""
_SETTLED = 2 * 10**9
"""Nanoseconds after which a folder that is changed once more has another time for sure."""


def _claimed(git_dir: Path) -> frozenset[str]:
    """Return the branches that a checkout has, or will come back to after what is under way in it. Asked of each of a thousand checkouts: of one that
    did not change, it is remembered."""
    folder = str(git_dir)
    try:
        changed = git_dir.stat().st_mtime_ns
        if (known := _claims.get(folder)) and known[0] == changed:
            return known[1]
        there = {*os.listdir(folder)}  # noqa: PTH208 - names alone, and a thousand times
    except tree.ABSENT:
        return frozenset()
    claimed = frozenset(_read_claims(folder, there))
    if there.isdisjoint(_BELOW) and changed < time.time_ns() - _SETTLED:
        if len(_claims) >= _REMEMBERED:
            _claims.clear()
        _claims[folder] = changed, claimed
    return claimed


_BELOW = ("rebase-merge", "rebase-apply")
"""Folders in which a branch may be named a moment after they were made."""
_REMEMBERED = 10_000


def _read_claims(folder: str, there: set[str]) -> Iterator[str]:
    """Yield what is claimed in a git directory, in which these names are: what most have not is not even looked for."""
    for name in (name for name in _CLAIMS if name.partition("/")[0] in there):
        try:
            text = _line_of(f"{folder}/{name}").removeprefix("ref: ")
        except (*tree.ABSENT, UnicodeDecodeError):
            continue
        yield text if text.startswith("refs/") else f"refs/heads/{text}"


def _where(git_dir: Path) -> str:
    pointer = git_dir / "gitdir"
    return readable(str(Path(_line_of(pointer)).parent)) if pointer.exists() else readable(str(git_dir.parent))
