"""What is told at once to merge, one attempt on top of the other, does so: by git, and as it is told where each is merged by itself."""

from __future__ import annotations

import pkgutil
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support import Repo, clone

from workspaces import Project
from workspaces.asked import Asked
from workspaces.backend import Backend
from workspaces.model import Meeting

STACK = "workspaces.backends.worktree.backend:WorktreeBackend.stack"
FILES = [f"{folder}file-{number}.txt" for folder in ("", "lib/", "lib/deep/") for number in range(3)]
ALIKE = "".join(f"l{number}\n" for number in range(30))
Change = Callable[[random.Random, Repo], object]


def _lines(chance: random.Random, work: Repo) -> None:
    """Change a few lines of two files, in places that others choose too."""
    for name in chance.sample(FILES, 2):
        if (work.path / name).is_file():
            text = work.read(name).splitlines(keepends=True)
            at = chance.choice(range(0, 60, 6))
            text[at : at + 1] = [f"{chance.randrange(3)}\n"] * chance.randrange(3)
            work.write(name, "".join(text))


def _same(chance: random.Random, work: Repo) -> None:
    _freed(work, name := chance.choice(FILES))
    work.write(name, "what several write\n")


def _new(chance: random.Random, work: Repo) -> None:
    work.write(f"new-{chance.randrange(3)}.txt", chance.choice(("one\n", "two\n")))


def _gone(chance: random.Random, work: Repo) -> None:
    _freed(work, chance.choice(FILES))


def _freed(work: Repo, name: str) -> Path:
    """Return where something of that name may be, with nothing there."""
    place = work.path / name
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    return place


def _moved(chance: random.Random, work: Repo) -> None:
    name = chance.choice(FILES)
    if (work.path / name).is_file():
        (work.path / name).rename(work.path / f"moved-{chance.randrange(3)}.txt")


def _mode(chance: random.Random, work: Repo) -> None:
    file = work.path / chance.choice(FILES)
    if file.exists():
        file.chmod(0o755)


def _link(chance: random.Random, work: Repo) -> None:
    _freed(work, chance.choice(FILES)).symlink_to("lib")


def _folder(chance: random.Random, work: Repo) -> None:
    name = chance.choice((*FILES, "new-1.txt"))
    _freed(work, name)
    work.write(f"{name}/inside.txt", "in a folder\n")


def _rules(chance: random.Random, work: Repo) -> None:
    work.write(".gitattributes", chance.choice(("*.txt merge=union\n", "lib/*.txt -merge\n", "*.md text\n")))


PLAIN: Sequence[Change] = (_lines, _lines, _lines, _same, _mode)
ODD: Sequence[Change] = (*PLAIN, _lines, _new, _gone, _moved, _link, _folder, _rules)


@pytest.mark.parametrize("seed", range(10))
def test_what_merges_at_once_merges_one_after_the_other(
    project: Project, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance, kinds = random.Random(seed), ODD if seed % 2 else PLAIN
    for name in FILES:
        repo.write(name, "".join(f"line {number}\n" for number in range(60)))
    repo.commit("files")
    names = [f"try-{number}" for number in range(10)]
    for name in names:
        work = clone(project, name)
        for change in chance.choices(kinds, k=2):
            change(chance, work)
        work.git("commit", "-q", "--allow-empty", "-a", "-m", name)
        if chance.random() < 0.5:
            _lines(chance, work)
    if chance.random() < 0.5:
        _lines(chance, repo)
        repo.commit("main moved on")
    told: list[bool] = []
    stack: Callable[[Backend, Sequence[Meeting]], bool] = pkgutil.resolve_name(STACK)

    def seen(backend: Backend, meetings: Sequence[Meeting]) -> bool:
        told.append(stack(backend, meetings))
        return told[-1]

    def unsure(backend: Backend, meetings: Sequence[Meeting]) -> bool:
        return False

    monkeypatch.setattr(STACK.replace(":", "."), seen)
    found = project.compare(names)
    assert all(told) or kinds is ODD or any(each.merge == "conflicts" for each in found.workspaces)
    monkeypatch.setattr(STACK.replace(":", "."), unsure)
    assert project.compare(names).compatible == found.compatible
    beside = tmp_path / "beside"
    repo.git("clone", "-q", "--shared", str(repo.path), str(beside))
    for name in found.compatible:
        work = Repo(Path(project.find(name).location))
        work.git("add", "-A")
        work.git("commit", "-q", "--allow-empty", "-m", "the rest")
        Repo(beside).git("merge", "-q", "--no-edit", work.head)


def test_another_way_to_merge_contents_is_minded(project: Project, repo: Repo) -> None:
    for name, line in (("top", 2), ("end", 17), ("middle", 9)):
        work = clone(project, name)
        text = work.read("cart.py").splitlines(keepends=True)
        text[line] = f"{name}\n"
        work.write("cart.py", "".join(text))
    assert len(project.compare(["top", "end", "middle"]).compatible) == 3
    repo.git("config", "merge.default", "binary")
    assert len(project.compare(["top", "end", "middle"]).compatible) == 1


def _all_alike(project: Project, repo: Repo) -> None:
    """Four files with the same contents, of which git may take each for what another was renamed from."""
    for number in range(4):
        repo.write(f"f{number}", ALIKE)
    repo.commit("alike")
    mover, remover, one, other = (clone(project, f"w-{number}") for number in range(1, 5))
    (mover.path / "f2").rename(mover.path / "g1")
    (remover.path / "f0").unlink()
    one.write("f1", ALIKE.replace("l21", "x0"))
    other.write("f2", ALIKE.replace("l21", "x1"))
    other.write("new", "n\n")


def test_who_goes_with_each_and_not_on_top_of_all_is_named(project: Project, repo: Repo) -> None:
    _all_alike(project, repo)
    found = project.compare([])
    (left,) = {each.id for each in found.workspaces} - {*found.compatible}
    assert not found.pairs
    assert f"{left.partition('/')[2]} is not in `compatible`: it conflicts with none of those alone, but on top" in found.warnings[0]
    assert [each.status for each in project.merge_as(Asked(found.compatible)).results] == ["merged"] * 3


@pytest.mark.parametrize(
    "case",
    ["acbc abcbc acb", "cbcbcc cbcbcb cccbcc", "bcac bcbaac bcax", "cccbccc cccccc bccbccc", "acaabb acxabb acaa", "bbbc bbbxca bbbxxcc"],
)
def test_what_comes_twice_may_conflict_the_second_time(project: Project, repo: Repo, case: str) -> None:
    """Git merges what one has changed into what two have; contents that it took before may meet themselves there."""
    base, one, other = ("".join(f"{letter}\n" for letter in word) for word in case.split())
    repo.write("f.txt", base)
    repo.commit("letters")
    for name, text in (("first", one), ("second", other), ("third", one)):
        work = clone(project, name)
        work.write("f.txt", text)
        work.commit(name)
    told = project.compare(["first", "second", "third"])
    found = told.compatible
    (out,) = {"shop/first", "shop/second", "shop/third"} - {*found}
    assert any(f"{out[5:]} is not in `compatible`" in said and "f.txt" in said for said in told.warnings) or told.pairs
    for name in found:
        repo.git("merge", "-q", "--no-edit", f"worktrees/{_registered(project, name)}/HEAD")
    assert len(found) == 2


def _registered(project: Project, name: str) -> str:
    """Return the name under which git knows a workspace."""
    return Path(Repo(Path(project.find(name).location)).git("rev-parse", "--git-dir")).name
