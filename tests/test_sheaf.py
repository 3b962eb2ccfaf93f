"""Objects that are gathered in one pack are read by git as any others, and only those that a repository lacks are brought in."""

from __future__ import annotations

import os
from pathlib import Path

from support import Repo, clone

from workspaces import Project


def packed(repo: Repo) -> set[str]:
    """Return the objects in packs."""
    packs = (repo.path / ".git" / "objects" / "pack").glob("*.idx")
    rows = [row.split() for pack in packs for row in repo.git("verify-pack", "-v", str(pack)).splitlines()]
    return {row[0] for row in rows if len(row) > 1 and row[1] in ("commit", "tree", "blob")}


def checkpointed(project: Project, repo: Repo, name: str) -> set[str]:
    """Keep what is in a workspace, and return the objects that came into packs by it, which are whole."""
    before = packed(repo)
    project.checkpoint(name)
    assert repo.git("fsck", "--strict", "--no-dangling") == ""
    return packed(repo) - before


def test_what_was_changed_comes_in_as_one_pack_and_nothing_that_is_there(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "changed\n")
    fix.write("large.bin", os.urandom(300_000))
    fix.write("empty", b"")
    assert len(checkpointed(project, repo, "fix")) == 5, "three files, the root and the snapshot"
    assert checkpointed(project, repo, "fix") == set()
    fix.write("auth/new.py", "new\n")
    assert len(checkpointed(project, repo, "fix")) == 4, "a file, its folder, the root and the snapshot"


def test_many_attempts_are_compared_and_merged_from_one_pack_of_all(project: Project, repo: Repo) -> None:
    names = [made.name for made in project.clone(count=12, name="try").workspaces]
    for number, name in enumerate(names):
        folder = Repo(Path(project.find(name).location))
        folder.write(f"new/{number}.txt", f"{number}\n")
        folder.write("cart.py", f"{number % 4}\n")
    found = project.compare(names)
    assert len(found.pairs) == 12 * 11 // 2 - 4 * 3
    assert {each.merge for each in found.workspaces} == {"clean"}
    assert project.merge(names[0]).status == "merged"
    assert repo.read("cart.py") == "0\n"
    assert repo.git("fsck", "--strict", "--no-dangling") == ""


def test_ids_of_another_kind(tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "shop", "--object-format=sha256")
    repo.write("a/b.txt", "one\n")
    repo.commit("start")
    project = Project.initialize(repo.path)
    clone(project, "fix").write("a/b.txt", "two\n")
    assert len(checkpointed(project, repo, "fix")) == 4
    assert project.merge("fix").status == "merged"
    assert repo.git("fsck", "--strict", "--no-dangling") == ""
