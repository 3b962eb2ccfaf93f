"""A clone that was interrupted: gone without a trace when it is fresh, and set aside where somebody may have worked in it."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from workspaces import Project
from workspaces.backend import find
from workspaces.store import Store

from .folders import Folder, Main
from .forking import python

DIES_BEFORE_IT_IS_WRITTEN_DOWN = """
import os, sys
from pathlib import Path
from workspaces import Project
from workspaces.store import Store
def die(self, *args, **named):
    os._exit(9)
Store.finish = die
Project.open(Path(sys.argv[1])).clone(name="fix")
"""


@pytest.fixture
def left(project: Project, main: Main) -> Folder:
    """The folder of a clone whose process died when it was in its place, and before it was written down that it is."""
    command = [*python(), "-c", DIES_BEFORE_IT_IS_WRITTEN_DOWN, str(main.path)]
    assert subprocess.run(command, env=dict(os.environ), check=False).returncode == 9
    folder = Folder(main.path / ".workspaces" / "fix")
    assert folder.contents() == main.contents()
    return folder


def make_old(root: Path) -> None:
    """Let the clone have been begun an hour ago."""
    store = Store(find(root).home / "store.sqlite")
    (draft,) = store.workspaces("shop", ("creating",))
    store.save(draft.model_copy(update={"created": draft.created - timedelta(hours=1)}), "creating")


def forget_the_call(root: Path) -> None:
    """Let no operation be known to which the clone belongs: only the doctor finds it then."""
    store = Store(find(root).home / "store.sqlite")
    (begun,) = store.started("shop")
    store.finish(begun.model_copy(update={"state": "failed"}))


def test_a_fresh_one_leaves_nothing(project: Project, left: Folder) -> None:
    project = Project.open(project.root)
    assert [each.name for each in project.status(include_deleted=True).workspaces] == ["main"]
    assert not left.path.exists()
    assert project.clone(name="fix").workspaces[0].location == str(left.path)


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("how", ["old", "new file", "changed file"])
def test_one_that_somebody_may_have_worked_in_is_set_aside(project: Project, left: Folder, how: str, forgotten: bool) -> None:
    if how == "old":
        make_old(project.root)
    else:
        left.write("found.txt" if how == "new file" else "cart.py", "mine\n")
    before = left.contents()
    if forgotten:
        forget_the_call(project.root)
        project.doctor(repair=True)
    project = Project.open(project.root)
    assert not left.path.exists()
    last = project.log(1).operations[0]
    assert (last.verb, last.workspaces, "interrupted" in str(last.arguments["why"])) == ("delete", ("shop/fix",), True)
    assert [each.name for each in project.status(include_deleted=True).workspaces] == ["main", "fix"]
    project.restore("fix")
    assert left.contents() == before
    assert project.merge("fix").status == ("up_to_date" if how == "old" else "merged")
