"""Taking back anything that was done, and doing it again; and calls that act once, however often they are made."""

from __future__ import annotations

import os
import subprocess
import threading
from datetime import timedelta

import pytest

from workspaces import Project
from workspaces.backend import find
from workspaces.errors import InvalidArgument, NotFound, UnmergedChanges
from workspaces.locks import Locks
from workspaces.model import now
from workspaces.store import Store

from .folders import Main, at, clone
from .forking import python


def test_undo_and_redo_walk_through_all_that_was_done(project: Project, main: Main) -> None:
    seen = [main.contents()]
    for number in range(3):
        fix = clone(project, f"fix-{number}")
        fix.write(f"{number}.txt", f"{number}\n")
        project.merge(f"fix-{number}", delete_source=True)
        seen.append(main.contents())
    for expected in (seen[2], seen[1], seen[0]):
        project.undo()  # the merge, and with it the delete
        assert main.contents() == expected
        project.undo()  # the clone
    assert [each.name for each in project.status(detail="names").workspaces] == ["main"]
    for expected in (seen[1], seen[2], seen[3]):
        project.redo()
        project.redo()
        assert main.contents() == expected
    assert [each.name for each in project.status(detail="names").workspaces] == ["main"]
    with pytest.raises(NotFound, match="nothing was taken back|Nothing can be done again"):
        project.redo()
    project.undo()
    assert main.contents() == seen[2]


def test_redo_ends_where_something_else_was_done(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    project.merge("fix")
    project.undo()
    clone(project, "other")
    before = main.contents()
    with pytest.raises(NotFound, match="something else was done"):
        project.redo()
    assert main.contents() == before


def test_what_was_put_aside_stays_so_when_the_later_thing_is_taken_back_and_done_again(project: Project, main: Main) -> None:
    clone(project, "one").write("one.txt", "1\n")
    clone(project, "two").write("two.txt", "2\n")
    project.merge("one")
    project.undo()
    project.merge("two")
    project.undo()
    project.redo()
    with pytest.raises(NotFound, match="something else was done"):
        project.redo()
    assert (main.has("one.txt"), main.read("two.txt")) == (False, "2\n")


def test_a_delete_that_was_taken_back_is_done_again(project: Project) -> None:
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    before = fix.contents()
    project.delete(["fix"], discard_unmerged=True)
    project.undo()
    assert fix.contents() == before
    project.redo()
    assert not fix.path.exists()
    project.undo()
    assert fix.contents() == before


def test_an_older_merge_is_taken_back_by_its_number_and_what_came_later_stays(project: Project, main: Main) -> None:
    one, two = clone(project, "one"), clone(project, "two")
    one.write("one.txt", "1\n")
    two.write("two.txt", "2\n")
    project.merge("one")
    number = project.log(1).operations[0].id
    project.merge("two")
    project.undo(number)
    assert (main.has("one.txt"), main.read("two.txt")) == (False, "2\n")
    with pytest.raises(InvalidArgument, match="is undone"):
        project.undo(number)
    with pytest.raises(NotFound, match="no operation 999"):
        project.undo(999)
    project.redo()
    assert (main.read("one.txt"), main.read("two.txt")) == ("1\n", "2\n")


def test_an_update_of_a_clone_is_taken_back_without_the_work_done_on_it(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    main.write("later.txt", "later\n")
    main.record()
    project.merge("main", "fix")
    number = project.log(1).operations[0].id
    fix.write("own.txt", "own\n")
    project.undo(number)
    assert (fix.has("later.txt"), fix.read("own.txt")) == (False, "own\n")


def test_undoing_a_delete_gives_the_clones_back_that_were_handed_over(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("fix.txt", "fix\n")
    clone(project, "below", "fix").write("below.txt", "below\n")
    project.delete(["fix"], discard_unmerged=True, children="reparent")
    assert project.find("below").parent == project.find("main").id
    project.undo()
    assert project.find("below").parent == project.find("fix").id
    (seen,) = project.compare(["below"]).workspaces
    assert (seen.files_changed, seen.merge) == (1, "clean")


def test_bringing_a_deleted_one_back_is_taken_back(project: Project) -> None:
    fix = clone(project, "fix")
    project.delete(["fix"])
    project.restore("fix")
    project.undo()
    assert not fix.path.exists()


def test_the_log_tells_who_what_and_from_where_to_where(project: Project) -> None:
    clone(project, "fix").edit(3, "mine")
    project.merge("fix", message="why")
    last, made = project.log().operations[:2]
    assert (last.verb, last.workspaces, last.arguments["message"], last.state) == ("merge", ("shop/fix", "shop/main"), "why", "done")
    assert last.before
    assert last.after
    assert last.before != last.after
    assert (made.verb, made.before, bool(made.after)) == ("clone", "", True)
    assert now() - last.at < timedelta(minutes=1)


# -- calls that act once ------------------------------------------------------------------------------------------------------------------


def test_a_repeated_call_answers_the_same_and_acts_once(project: Project, main: Main) -> None:
    made = project.clone(count=2, name="fix", request_key="a")
    assert project.clone(count=2, name="fix", request_key="a").wire() == made.wire()
    at(made.workspaces[0]).edit(3, "mine")
    merged = project.merge("fix-1", request_key="b")
    at(made.workspaces[0]).edit(4, "later")
    before = main.contents()
    assert project.merge("fix-1", request_key="b") == merged
    assert main.contents() == before
    gone = project.delete(["fix-1", "fix-2"], discard_unmerged=True, request_key="c")
    assert project.delete(["fix-1", "fix-2"], discard_unmerged=True, request_key="c") == gone
    assert len(gone.deleted) == 2
    with pytest.raises(InvalidArgument, match="another call"):
        project.clone(count=3, name="fix", request_key="a")


def test_a_call_that_failed_may_be_made_again_with_its_key(project: Project) -> None:
    clone(project, "fix").edit(3, "mine")
    with pytest.raises(UnmergedChanges):
        project.delete(["fix"], request_key="a")
    project.merge("fix")
    assert project.delete(["fix"], request_key="a").deleted == ("shop/fix",)


def test_a_repeated_call_that_was_undone_since_does_nothing_and_says_so(project: Project, main: Main) -> None:
    made = project.clone(name="fix", request_key="a")
    at(made.workspaces[0]).edit(3, "mine")
    before = main.contents()
    merged = project.merge("fix", request_key="b")
    project.undo()
    again = project.merge("fix", request_key="b")
    assert (again.status, again.commit, main.contents()) == ("merged", merged.commit, before)
    assert "undone since" in again.warnings[-1]
    assert "new key" in again.warnings[-1]
    project.redo()
    assert project.merge("fix", request_key="b") == merged
    gone = project.delete(["fix"], request_key="c")
    project.undo()
    again_gone = project.delete(["fix"], request_key="c")
    assert (again_gone.deleted, project.find("fix").state) == (gone.deleted, "merged")
    assert "undone since" in again_gone.warnings[-1]
    assert project.clone(name="fix", request_key="a").warnings == made.warnings


def test_calls_made_at_once_with_one_key_act_once(project: Project, main: Main) -> None:
    answers: list[str] = []

    def call() -> None:
        answers.append(Project.open(main.path).clone(name="fix", request_key="a").workspaces[0].location)

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert len(set(answers)) == 1


KILLED = """
import os, sys
from pathlib import Path
from workspaces import Project
from workspaces.store import Store
remember = Store.remember
def die(self, project, request):
    if request.answer:
        os._exit(9)
    remember(self, project, request)
Store.remember = die
project = Project.open(Path(sys.argv[1]))
{}
"""


@pytest.mark.parametrize(
    ("call", "verb"),
    [
        ("project.clone(count=2, name='new', request_key='a')", "clone"),
        ("project.merge('fix', delete_source=True, request_key='a')", "merge"),
        ("project.delete(['fix', 'other'], discard_unmerged=True, request_key='a')", "delete"),
    ],
)
@pytest.mark.parametrize("undone", [False, True])
def test_what_a_dead_process_did_is_not_done_again(project: Project, main: Main, call: str, verb: str, undone: bool) -> None:
    """It died after it acted and before it answered; the caller, who heard nothing, asks again."""
    clone(project, "fix").edit(3, "mine")
    clone(project, "other")
    done = subprocess.run([*python(), "-c", KILLED.format(call), str(main.path)], env=dict(os.environ), check=False)
    assert done.returncode == 9
    before = main.contents()
    operations = len(project.log(1000).operations)
    if undone:
        project.undo()
        before = main.contents()
        operations = len(project.log(1000).operations)
    if verb == "clone":
        made = project.clone(count=2, name="new", request_key="a")
        assert bool(made.warnings) == undone
        assert [each.name for each in made.workspaces] == ["new-1", "new-2"]
    elif verb == "merge":
        merged = project.merge("fix", delete_source=True, request_key="a")
        assert (merged.status, merged.restore_point) == ("merged", "main@1")
    else:
        assert len(project.delete(["fix", "other"], discard_unmerged=True, request_key="a").deleted) == 2
    assert (main.contents(), len(project.log(1000).operations)) == (before, operations)


HALF_MADE = """
import os, sys
from pathlib import Path
from workspaces import Project
from workspaces.store import Store
Store.finish = lambda self, *ended: os._exit(9)
Project.open(Path(sys.argv[1])).clone(name='new', request_key='a')
"""


def test_who_repeats_a_call_waits_for_whoever_takes_back_what_it_had_begun(project: Project, main: Main) -> None:
    """Many calls look after a dead process at the same time; the repeated one is served when the first of them is done."""
    done = subprocess.run([*python(), "-c", HALF_MADE, str(main.path)], env=dict(os.environ), check=False)
    assert done.returncode == 9
    locks = Locks(find(main.path).home / "locks")
    is_held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with locks.change("shop.new"):
            is_held.set()
            release.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(60)
    threading.Timer(0.5, release.set).start()
    (made,) = Project.open(main.path).clone(name="new", request_key="a").workspaces
    holder.join()
    assert (made.name, at(made).contents()) == ("new", main.contents())


# -- leases -------------------------------------------------------------------------------------------------------------------------------


def test_a_workspace_that_nobody_used_is_abandoned_until_somebody_does(project: Project, main: Main) -> None:
    (made,) = project.clone(name="fix", lease_seconds=60).workspaces
    assert made.lease_until is not None
    clone(project, "other")
    _lapse(project, "fix")
    seen = {each.name: each for each in project.status().workspaces}
    assert (seen["fix"].state, seen["fix"].contained, seen["other"].state) == (
        "abandoned",
        "it has nothing that shop/main has not",
        "ready",
    )
    at(made).edit(3, "mine")
    seen = {each.name: each for each in project.status().workspaces}
    assert (seen["fix"].state, seen["fix"].contained, seen["fix"].files_changed) == ("abandoned", "", 1)
    taker = Project.open(main.path, actor="taker")
    (taken,) = taker.compare(["fix"]).workspaces
    assert (taken.state, taken.owner) == ("ready", "taker")
    assert taken.lease_until is not None
    assert taken.lease_until > now()


def test_a_lease_can_be_set_and_given_up(project: Project) -> None:
    clone(project, "fix")
    assert project.lease("fix", 30).lease_seconds == 30
    _lapse(project, "fix")
    assert project.status(detail="names").workspaces[1].state == "abandoned"
    assert project.lease("fix", 0).lease_until is None
    assert project.status(detail="names").workspaces[1].state == "ready"
    with pytest.raises(InvalidArgument):
        project.lease("fix", -1)


def _lapse(project: Project, name: str) -> None:
    """Let a lease have ended an hour ago."""
    Store(find(project.root).home / "store.sqlite").lease(project.find(name).uid, 60, now() - timedelta(hours=1), "")


def test_a_call_that_names_no_workspace_renews_no_lease(project: Project) -> None:
    project.clone(name="fix", count=2, lease_seconds=60)
    _lapse(project, "fix-1")
    project.status()
    assert [(each.name, each.state) for each in project.compare([]).workspaces] == [("fix-1", "abandoned"), ("fix-2", "ready")]
    project.compare(["fix-1"])
    assert [each.state for each in project.status().workspaces if each.name == "fix-1"] == ["ready"]


def test_a_grandchild_that_comes_back_is_none_of_a_new_one_with_its_parents_name(project: Project, main: Main) -> None:
    clone(project, "fix").write("of-fix.txt", "fix\n")
    below = clone(project, "below", "fix")
    below.write("of-below.txt", "below\n")
    project.delete(["below", "fix"], discard_unmerged=True)
    project.restore("below")
    alone = project.compare(["below"]).workspaces
    project.undo()
    clone(project, "fix").write("of-new.txt", "new\n")
    project.restore("below")
    assert project.compare(["below"]).workspaces == alone
    with pytest.raises(UnmergedChanges):
        project.delete(["below"])
    assert project.delete(["fix"], discard_unmerged=True).deleted == ("shop/fix",)
    assert project.merge("below").target == "shop/main"
    assert (main.read("of-below.txt"), main.has("of-new.txt")) == ("below\n", False)
    clone(project, "fix")
    child = clone(project, "child", "fix")
    child.write("of-child.txt", "child\n")
    assert project.merge("child").target == "shop/fix"
