"""What files take on the disk and share, as the file system here tells it; on others: test_filesystems."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Repo, at, clone

from workspaces import Project
from workspaces.model import Disk

BIG = 1 << 20


def _by(means: str) -> Callable[[Path], str]:
    def copies_by(_: Path) -> str:
        return means

    return copies_by


def taken(project: Project, name: str = "fix") -> Disk:
    (seen,) = project.status([name], "full").workspaces
    assert seen.disk
    return seen.disk


def test_names_of_a_file_within_a_workspace_count_once_and_are_its_own(project: Project) -> None:
    fix = clone(project, "fix")
    before = taken(project)
    file = fix.write("one.bin", os.urandom(BIG))
    os.link(file, fix.path / "two.bin")
    after = taken(project)
    assert BIG <= after.size - before.size < 2 * BIG
    assert after.shared == before.shared


def test_a_file_with_a_name_elsewhere_is_shared(project: Project, tmp_path: Path) -> None:
    fix = clone(project, "fix")
    before = taken(project)
    (tmp_path / "store.bin").write_bytes(os.urandom(BIG))
    os.link(tmp_path / "store.bin", fix.path / "linked.bin")
    after = taken(project)
    assert before.shared is not None and after.shared is not None
    assert after.shared - before.shared >= BIG
    assert after.own - before.own < BIG


def test_what_links_lead_to_and_what_holds_nothing_is_not_counted(project: Project, tmp_path: Path) -> None:
    fix = clone(project, "fix")
    before = taken(project)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "big.bin").write_bytes(os.urandom(BIG))
    (fix.path / "folder").symlink_to(outside)
    (fix.path / "file").symlink_to(outside / "big.bin")
    os.mkfifo(fix.path / "pipe")
    with fix.write("sparse.img", "start").open("r+b") as file:
        file.truncate(64 * BIG)
    assert taken(project).size - before.size < BIG


def test_workspaces_and_the_repository_are_no_files_of_main(project: Project, repo: Repo) -> None:
    before = taken(project, "main")
    clone(project, "fix").write("big.bin", os.urandom(BIG))
    repo.write("big.bin", os.urandom(BIG))
    repo.commit("more")
    assert BIG <= taken(project, "main").size - before.size < 2 * BIG


def test_one_whose_files_are_gone_is_named_once_and_the_others_are_weighed(project: Project) -> None:
    gone = clone(project, "gone").path
    clone(project, "fix")
    gone.rename(gone.with_name("elsewhere"))
    result = project.status(detail="full")
    assert {each.name for each in result.workspaces if each.disk} == {"main", "fix"}
    assert len(result.warnings) == 1


def test_where_the_file_system_does_not_tell_nothing_is_claimed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, and where copies share blocks that no call tells of."""
    clone(project, "fix")
    monkeypatch.setattr("workspaces.backends.extents._FIEMAP", 0)
    monkeypatch.setattr("workspaces.backends.tree.copies_by", _by("reflink"))
    found = project.status(["fix"], "full")
    assert found.workspaces[0].disk and found.workspaces[0].disk.shared is None
    assert "does not tell" in found.summary
    monkeypatch.setattr("workspaces.backends.tree.copies_by", _by("plain copy"))
    assert taken(project).shared == 0


def test_looking_leaves_no_trace(project: Project) -> None:
    fix = at(project.clone(name="fix").workspaces[0])
    file = fix.path / "cart.py"
    before = file.stat()
    project.status(["fix"], "full")
    after = file.stat()
    assert (after.st_atime_ns, after.st_ctime_ns) == (before.st_atime_ns, before.st_ctime_ns)


def test_how_far_it_is_only_grows(project: Project) -> None:
    clone(project, "fix")
    told: list[tuple[int, int]] = []
    project.status(detail="full", progress=lambda done, total, _: told.append((done, total)))
    assert told == [(number, 4) for number in range(5) if number != 2]
