"""Two sides that changed different paths are merged without git's merge; what comes out is what git's would be, whatever was done."""

from __future__ import annotations

import pkgutil
import random
import shutil
from collections.abc import Callable

import pytest
from support import OLD_MODES, Repo, clone, with_old_modes

from workspaces import Project
from workspaces.model import Merge

MERGED = "workspaces.backends.combine:merge"
"""What merges by git."""

Change = Callable[[Repo, random.Random], None]


def _files(repo: Repo) -> list[str]:
    return sorted(path for path in repo.git("ls-files").splitlines() if (repo.path / path).is_file() or (repo.path / path).is_symlink())


def _edit(repo: Repo, chance: random.Random) -> None:
    file = repo.path / chance.choice(_files(repo))
    if not file.is_symlink() and file.is_file():
        lines = file.read_text().splitlines()
        lines.insert(chance.randrange(len(lines) + 1), f"{chance.random()}")
        file.write_text("\n".join(lines) + "\n")


def _add(repo: Repo, chance: random.Random) -> None:
    place = repo.path / f"{chance.choice(['', 'a/', 'a/b/', 'c/'])}new{chance.randrange(9)}"
    if not any(above.is_file() or above.is_symlink() for above in place.parents) and not place.is_dir():
        repo.write(str(place.relative_to(repo.path)), f"{chance.randrange(2)}\n")


def _remove(repo: Repo, chance: random.Random) -> None:
    (repo.path / chance.choice(_files(repo))).unlink()


def _move(repo: Repo, chance: random.Random) -> None:
    file = repo.path / chance.choice(_files(repo))
    file.rename(file.with_name(f"moved{chance.randrange(9)}"))


def _mode(repo: Repo, chance: random.Random) -> None:
    file = repo.path / chance.choice(_files(repo))
    if not file.is_symlink():
        file.chmod(0o755)


def _link(repo: Repo, chance: random.Random) -> None:
    file = repo.path / chance.choice(_files(repo))
    file.unlink()
    file.symlink_to("elsewhere")


def _folder_for_file(repo: Repo, chance: random.Random) -> None:
    file = repo.path / chance.choice(_files(repo))
    file.unlink()
    repo.write(f"{file.relative_to(repo.path)}/inside", "inside\n")


def _file_for_folder(repo: Repo, chance: random.Random) -> None:
    folder = repo.path / chance.choice(["a", "a/b", "c"])
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
        folder.write_text("a file\n")


CHANGES: tuple[Change, ...] = (_edit, _edit, _edit, _add, _add, _remove, _move, _mode, _link, _folder_for_file, _file_for_folder)


def _changed(repo: Repo, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 4))):
        if _files(repo):
            chance.choice(CHANGES)(repo, chance)
    repo.git("add", "-A")
    repo.git("commit", "-q", "--allow-empty", "-m", "changed")


@pytest.mark.parametrize("seed", range(2))
def test_it_is_what_git_makes_of_it(project: Project, repo: Repo, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    merged: list[str] = []
    real: Callable[..., Merge] = pkgutil.resolve_name(MERGED)

    def merge(git: object, ours: str, *args: object) -> Merge:
        merged.append(ours)
        return real(git, ours, *args)

    monkeypatch.setattr(MERGED.replace(":", "."), merge)
    chance = random.Random(seed)
    for path in ("a/one", "a/two", "a/b/three", "a/b/four", "c/five", "c/six", "seven", "eight"):
        repo.write(path, "".join(f"{path} {number}\n" for number in range(20)))
    start = repo.commit("files")
    tried = 25
    for number in range(tried):
        repo.git("reset", "-q", "--hard", start)
        fix = clone(project, f"try-{number}")
        _changed(repo, chance)
        _changed(fix, chance)
        ours, theirs = repo.head, fix.head
        said = repo.git("merge-tree", "--write-tree", ours, theirs, check=False).splitlines()
        clean = repo.git("merge-tree", "--write-tree", "--name-only", ours, theirs, check=False).count("\n") == 0
        (seen,) = project.compare([f"try-{number}"]).workspaces
        assert (seen.merge != "conflicts") == clean, said
        done = project.merge(f"try-{number}")
        assert (done.status != "conflicts") == clean, said
        if clean:
            assert repo.git("rev-parse", "HEAD^{tree}") == said[0]
            assert repo.status() == []
            made = repo.git("diff-tree", "-r", "--no-commit-id", "--name-only", "--no-renames", ours, repo.head).splitlines()
            told = {path for each in done.files for path in (each.path, each.old_path) if path}
            assert told == set(made)
    assert 0 < len(merged) < 2 * tried, "some were merged by git, some were not"


def test_of_main_that_changed_the_same_nothing_is_brought(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    for place in (repo, fix):
        place.write("both.txt", "the same\n")
    fix.write("own.txt", "own\n")
    repo.write("mine.txt", "mine\n")
    repo.commit("mine, and what both have")
    done = project.merge("fix")
    assert [each.path for each in done.files] == ["own.txt"]
    assert repo.read("mine.txt") == "mine\n"
    assert repo.git("show", "--format=", "--name-only", "--first-parent", "HEAD") == "own.txt"


def test_a_history_that_grew_is_looked_at_anew(project: Project, repo: Repo) -> None:
    """What two have in common is remembered by commits, so that later ones are other ones."""
    fix = clone(project, "fix")
    fix.write("one.txt", "one\n")
    repo.write("main.txt", "1\n")
    repo.commit("one")
    assert project.compare(["fix"]).workspaces[0].behind == 1
    repo.write("main.txt", "2\n")
    repo.commit("two")
    assert project.compare(["fix"]).workspaces[0].behind == 2
    assert project.merge("fix").status == "merged"
    fix.write("two.txt", "two\n")
    repo.write("main.txt", "3\n")
    repo.commit("three")
    (seen,) = project.compare(["fix"]).workspaces
    assert (seen.behind, seen.merge) == (1, "clean")
    assert [each.path for each in project.merge("fix").files] == ["two.txt"]
    assert repo.read("two.txt") == "two\n"


@pytest.mark.parametrize("odd", OLD_MODES)
def test_trees_with_modes_of_other_times_are_merged_as_git_merges_them(project: Project, repo: Repo, odd: str) -> None:
    repo.write("other/one.py", "one\n")
    repo.write("other/two.py", "two\n")
    with_old_modes(repo, odd)
    fix = clone(project, "fix")
    fix.write("auth/new.py", "new\n")
    fix.commit("new")
    repo.write("other/one.py", "changed\n")
    repo.commit("changed")
    with_old_modes(repo, odd)
    wanted = repo.git("merge-tree", "--write-tree", repo.head, fix.head)
    assert [each.path for each in project.merge("fix").files] == ["auth/new.py"]
    assert repo.git("ls-tree", "-r", "HEAD") == repo.git("ls-tree", "-r", wanted)
    assert repo.status() == []
