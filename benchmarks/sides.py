"""How the same work is done by workspaces and by plain git, each on a checkout of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import combinations
from pathlib import Path

import repositories

from workspaces import backend as backends
from workspaces.project import Project

AT_ONCE = 2


class Contestant(ABC):
    """One who does the loop: make, look, merge, delete. A name means a worktree; names are never used twice."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout

    @cached_property
    def files(self) -> list[str]:
        """The files that may be edited."""
        return repositories.editable(self.checkout)

    @abstractmethod
    def folder(self, name: str) -> Path: ...

    def holds(self, name: str) -> bool:
        """Return whether there is a worktree of that name."""
        return self.folder(name).exists()

    @abstractmethod
    def clone(self, name: str) -> None: ...

    @abstractmethod
    def fan_out(self, names: Sequence[str]) -> None: ...

    @abstractmethod
    def compare(self, name: str) -> None: ...

    def commit(self, name: str) -> None:  # noqa: B027
        """Commit what is in the worktree, if merging needs that: ours takes uncommitted work."""

    @abstractmethod
    def merge(self, name: str) -> None:
        """Bring the change into the checkout, as one commit."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete, if nothing in it is unmerged."""

    def edit(self, name: str, files: Sequence[str]) -> None:
        for file in files:
            append(self.folder(name) / file, name)


class Side(Contestant):
    """One who does all that is measured beside plain git."""

    @abstractmethod
    def clone_with_work(self, name: str) -> None:
        """Clone, and take along what is uncommitted in the checkout."""

    @abstractmethod
    def compare_all(self, names: Sequence[str]) -> int:
        """Compare each with the checkout and with each other; return how many pairs conflict."""

    @abstractmethod
    def discard(self, name: str) -> None:
        """Delete, whatever is in it."""

    @contextmanager
    def uncommitted(self, files: Sequence[str]) -> Generator[None]:
        """Have work lie in the checkout for a while."""
        for file in files:
            append(self.checkout / file, "uncommitted")
        try:
            yield
        finally:
            repositories.run(self.checkout, "checkout", "--quiet", "--", *files)


def append(file: Path, text: str) -> None:
    with file.open("a") as stream:
        stream.write(f"# {text}\n")


class Ours(Side):
    """Workspaces, called in this process, as a running server calls them."""

    def __init__(self, checkout: Path, backend: str = "auto") -> None:
        super().__init__(checkout)
        self.project = Project.initialize(checkout, backend)
        self._backend = backends.find(checkout)

    def folder(self, name: str) -> Path:
        return Path(self.project.find(name).location)

    def clone(self, name: str) -> None:
        self.project.clone(name=name)

    def clone_with_work(self, name: str) -> None:
        self.project.clone(name=name)

    def fan_out(self, names: Sequence[str]) -> None:
        self.project.clone(name=names[0].rpartition("-")[0], count=len(names))

    def compare(self, name: str) -> None:
        self.project.compare([name])

    def freeze(self, name: str) -> None:
        """Freeze a workspace and keep nothing of it."""
        with self._backend.aside() as view:
            view.snapshot(self.project.find(name))

    def compare_all(self, names: Sequence[str]) -> int:
        return len(self.project.compare(names).pairs)

    def merge(self, name: str) -> None:
        result = self.project.merge(name)
        if result.status != "merged":
            raise RuntimeError(result.summary)

    def delete(self, name: str) -> None:
        self.project.delete([name])

    def discard(self, name: str) -> None:
        self.project.delete([name], discard_unmerged=True)


class Git(Side):
    """What a person would type, with that person's own settings, and `settings` on top."""

    def __init__(self, checkout: Path, *settings: str) -> None:
        super().__init__(checkout)
        self._settings = [word for setting in settings for word in ("-c", setting)]

    def _git(self, folder: Path, *args: str, codes: Sequence[int] = (0,)) -> tuple[int, str]:
        done = repositories.run(folder, *self._settings, *args, codes=codes)
        return done.returncode, done.stdout.decode(errors="replace").strip()

    def folder(self, name: str) -> Path:
        return self.checkout.with_name(f"{self.checkout.name}-trees") / name

    def clone(self, name: str) -> None:
        self._git(self.checkout, "worktree", "add", "--quiet", "--detach", str(self.folder(name)))

    def clone_with_work(self, name: str) -> None:
        _, work = self._git(self.checkout, "stash", "create")
        self.clone(name)
        self._git(self.folder(name), "stash", "apply", "--quiet", work)

    def fan_out(self, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._cloned_beside_others, names))

    def _cloned_beside_others(self, name: str) -> None:
        """Clone; git takes a worktree that another one is just making for a broken one, and gives up before it makes anything."""
        for _ in range(5):
            try:
                return self.clone(name)
            except RuntimeError as error:
                if "commondir" not in str(error):
                    raise
        return self.clone(name)

    def compare(self, name: str) -> None:
        self._git(self.folder(name), "diff", "--stat")

    def compare_all(self, names: Sequence[str]) -> int:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.compare, names))
            commits = list(pool.map(self._frozen, names))
            list(pool.map(self._conflict, [("HEAD", commit) for commit in commits]))
            return sum(pool.map(self._conflict, combinations(commits, 2)))

    def _frozen(self, name: str) -> str:
        return self._git(self.folder(name), "stash", "create")[1]

    def _conflict(self, pair: tuple[str, str]) -> bool:
        return self._git(self.checkout, "merge-tree", "--write-tree", *pair, codes=(0, 1))[0] == 1

    def commit(self, name: str) -> None:
        self._git(self.folder(name), "commit", "--quiet", "--all", "--message", name)

    def merge(self, name: str) -> None:
        _, head = self._git(self.folder(name), "rev-parse", "HEAD")
        self._git(self.checkout, "merge", "--quiet", "--squash", head)
        self._git(self.checkout, "commit", "--quiet", "--message", name)

    def delete(self, name: str) -> None:
        self._git(self.checkout, "worktree", "remove", str(self.folder(name)))

    def discard(self, name: str) -> None:
        self._git(self.checkout, "worktree", "remove", "--force", str(self.folder(name)))
