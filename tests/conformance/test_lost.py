"""What is remembered was lost as a whole, the store and its ledger: what lies on disk says what there was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workspaces import Project
from workspaces.backend import choose

from .folders import Folder, Main, at, clone

STATE = ("store.sqlite", "store.sqlite-journal", "ledger.jsonl")


def lose(main: Main, kind: str) -> None:
    for name in STATE:
        (choose(main.path, kind).home / name).unlink(missing_ok=True)


def test_a_store_lost_with_its_ledger_is_made_again_from_what_lies_beside_the_workspaces(project: Project, main: Main, kind: str) -> None:
    fix = clone(project, "fix")
    fix.edit(1, "mine")
    below = clone(project, "below", "fix")
    below.write("below.txt", "below\n")
    project.merge("fix")
    project.checkpoint("fix", "kept")
    clone(project, "gone").write("gone.txt", "gone\n")
    project.delete(["gone"], discard_unmerged=True)
    project.clone(name="leased", task="tidy", lease_seconds=600)
    before = project.status(include_deleted=True).workspaces
    lose(main, kind)
    again = Project.initialize(main.path)
    assert again.status(include_deleted=True).workspaces == before
    assert again.compare(["fix"]).workspaces[0].merge == "up_to_date"
    below.edit(20, "later")
    assert again.merge("below", "fix").status == "merged"
    assert Folder(at(again.restore("gone").workspace).path).read("gone.txt") == "gone\n"
    assert again.restore("fix", "kept").workspace.name == "fix"
    again.delete(["leased"])


def test_any_command_finds_again_what_was_lost_and_a_second_loss_too(project: Project, main: Main, kind: str) -> None:
    clone(project, "fix").edit(1, "mine")
    for _ in range(2):
        lose(main, kind)
        again = Project.open(main.path)
        assert [each.name for each in again.status().workspaces] == ["main", "fix"]
        assert [finding for finding in again.doctor().findings if not finding.ok] == []
        again.checkpoint("fix")


def put(place: Path, what: str, elsewhere: Path) -> None:
    """Put something of another kind in a place."""
    if what == "folder":
        place.mkdir()
        (place / "theirs").write_text("theirs\n")
    elif what == "file":
        place.write_text("theirs\n")
    elif what == "link":
        place.symlink_to(elsewhere)
    else:
        os.mkfifo(place)


@pytest.mark.parametrize("name", ["store.sqlite", "ledger.jsonl", "locks", "records"])
@pytest.mark.parametrize("what", ["folder", "file", "link", "pipe"])
def test_something_else_in_the_place_of_what_is_remembered_is_set_aside(
    project: Project, main: Main, kind: str, tmp_path: Path, name: str, what: str
) -> None:
    clone(project, "fix").edit(1, "mine")
    place = choose(main.path, kind).home / name
    place.rename(tmp_path / "away")
    put(place, what, tmp_path / "elsewhere")
    Project.mend_store(main.path)
    again = Project.open(main.path)
    assert [each.name for each in again.status().workspaces] == ["main", "fix"]
    assert again.merge("fix").status == "merged"
    assert not (tmp_path / "elsewhere").exists()
