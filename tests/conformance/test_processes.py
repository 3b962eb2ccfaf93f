"""Many processes on one project lose nothing; one that is killed anywhere leaves each operation whole, or as if it had never begun."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import pytest

from workspaces import Project
from workspaces.errors import Busy

from .folders import Folder, Main, at, clone, found_wrong
from .forking import python

MOMENTS = 4

CLONES = """
import sys
from pathlib import Path
from workspaces import Project
made = Project.open(Path(sys.argv[1])).clone(count=3, name=sys.argv[2])
print(*(each.name for each in made.workspaces))
"""
MERGES = """
import sys
from pathlib import Path
from workspaces import Project
print(Project.open(Path(sys.argv[1])).merge(sys.argv[2]).status)
"""
DIES = """
import os, signal, sys
from pathlib import Path
from workspaces import Project
project = Project.open(Path(sys.argv[1]))
verb, name, moment, touched = sys.argv[2], sys.argv[3], int(sys.argv[4]), 0
CHANGES = ('os.rename', 'os.remove', 'os.mkdir', 'os.rmdir', 'os.symlink', 'os.link', 'os.chmod', 'subprocess.Popen', 'sqlite3.connect')
def touch(event, about):
    '''Count whatever changes files, runs programs or opens the store. Die at the one that was named.'''
    global touched
    if event in CHANGES or event == 'open' and about[2] & (os.O_WRONLY | os.O_RDWR):
        touched += 1
        if touched == moment:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(touch)
{
    'clone': lambda: project.clone(name=name),
    'merge': lambda: project.merge(name),
    'delete': lambda: project.delete([name], discard_unmerged=True),
    'restore': lambda: project.restore(name, '1'),
    'compare': lambda: project.compare([name], detail='diff'),
}[verb]()
print(touched)
"""


STOPS = (
    DIES.replace("SIGKILL", "SIGSTOP")
    .replace("CHANGES = (", "CHANGES = ('os.rename', 'subprocess.Popen')\nOTHERS = (")
    .replace("or event == 'open' and", "or not event and")
)
"""It stops, and not where it writes to the store: nobody else could write anything then."""


def start(script: str, *args: str) -> subprocess.Popen[str]:
    """Start a script. One that stops has to be a child of this process, and no fork of another's."""
    run = [sys.executable] if script == STOPS else python()
    return subprocess.Popen([*run, "-c", script, *args], stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate()
    assert process.returncode == 0
    return out.strip()


def test_clones_made_at_once(project: Project, main: Main) -> None:
    processes = [start(CLONES, str(main.path), name) for name in ("one", "two")]
    names = {name for process in processes for name in said(process).split()}
    assert names == {f"{stem}-{number}" for stem in ("one", "two") for number in (1, 2, 3)}
    assert all(at(project.find(name)).contents() == main.contents() for name in names)


def test_merges_into_one_target_at_once(project: Project, main: Main) -> None:
    for number in range(4):
        clone(project, f"w{number}").write(f"new/{number}.txt", f"{number}\n")
    processes = [start(MERGES, str(main.path), f"w{number}") for number in range(4)]
    assert [said(process) for process in processes] == ["merged"] * 4
    assert [main.read(f"new/{number}.txt") for number in range(4)] == [f"{number}\n" for number in range(4)]


def test_one_name_goes_to_one_only(project: Project, main: Main) -> None:
    processes = [start("import logging\n" + CLONES.replace("count=3, ", ""), str(main.path), "fix") for _ in range(2)]
    outs = [process.communicate()[0].strip() for process in processes]
    assert sorted(outs) == ["", "fix"]
    assert at(project.find("fix")).contents() == main.contents()


# -- killed -------------------------------------------------------------------------------------------------------------------------------


def moments(main: Main, verb: str, name: str, script: str = DIES) -> list[int]:
    """Return moments spread over the whole of a verb that is carried out here once, to its end."""
    total = int(said(start(script, str(main.path), verb, name, "0")))
    return [random.Random(at).randint(at * total // MOMENTS + 1, (at + 1) * total // MOMENTS) for at in range(MOMENTS)]


def kill(main: Main, verb: str, name: str, moment: int) -> None:
    """Kill a process in the middle of a verb."""
    with start(DIES, str(main.path), verb, name, str(moment)) as process:
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), f"{verb} at {moment}"


def killed(main: Main, verb: str, name: str, moment: int) -> Project:
    """Kill a process in the middle of a verb; return the project as the next one opens it, all well."""
    kill(main, verb, name, moment)
    project = Project.open(main.path)
    assert found_wrong(project) == [], f"{verb} at {moment}"
    return project


def test_beside_a_stopped_merge_reads_go_on_and_writes_answer_busy(project: Project, main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks sees what was before the merge, never half of it; the merge ends when it is woken."""
    monkeypatch.setattr("workspaces.core._GLANCE", 0.1)
    fix = clone(project, "fix")
    scatter(fix, "first")
    for moment in moments(main, "merge", "fix", STOPS)[2:]:
        before = main.contents()
        scatter(fix, f"at {moment}")
        with start(STOPS, str(main.path), "merge", "fix", str(moment)) as process:
            os.waitpid(process.pid, os.WUNTRACED)
            beside = Project.open(main.path, patience=0.2)
            assert [each.name for each in beside.status().workspaces][:2] == ["main", "fix"]
            assert beside.compare(["fix"]).workspaces[0].merge == "clean"
            assert at(beside.clone(name=f"beside-{moment}").workspaces[0]).contents() == before
            with pytest.raises(Busy):
                beside.checkpoint("main")
            process.send_signal(signal.SIGCONT)
            process.communicate()
        assert main.contents() == fix.contents()


def names(project: Project) -> set[str]:
    return {workspace.name for workspace in project.status(detail="names").workspaces}


def test_a_clone_is_whole_or_was_never_made(project: Project, main: Main) -> None:
    for moment in moments(main, "clone", "whole"):
        name = f"fix-{moment}"
        project = killed(main, "clone", name, moment)
        if name in names(project):
            assert Folder(main.path / ".workspaces" / name).contents() == main.contents()
        else:
            assert clone(project, name).contents() == main.contents()


def scatter(folder: Folder, text: str) -> None:
    """Change a number of files, in folders of their own."""
    for number in range(6):
        folder.write(f"folder-{number}/file.txt", f"{text} {number}\n")


def test_a_merge_is_whole_or_was_never_begun(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    scatter(fix, "first")
    for moment in moments(main, "merge", "fix"):
        before = main.contents()
        scatter(fix, f"at {moment}")
        project = killed(main, "merge", "fix", moment)
        happened = main.contents() != before
        assert main.contents() in (before, fix.contents()), f"half merged at {moment}"
        assert project.merge("fix").status == ("up_to_date" if happened else "merged")
        assert main.contents() == fix.contents()


def test_what_a_person_changed_after_a_crash_stays(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    scatter(fix, "first")
    for moment in moments(main, "merge", "fix"):
        before = main.contents()
        scatter(fix, f"at {moment}")
        kill(main, "merge", "fix", moment)
        main.write("folder-0/file.txt", f"a person's, after {moment}\n")
        project = Project.open(main.path)
        assert found_wrong(project) == [], f"at {moment}"
        assert main.read("folder-0/file.txt") == f"a person's, after {moment}\n", f"lost at {moment}"
        assert others(main.contents()) in (others(before), others(fix.contents())), f"half merged at {moment}"
        happened = others(main.contents()) == others(fix.contents())
        assert (project.compare(["fix"]).workspaces[0].merge == "up_to_date") == happened, f"wrongly told at {moment}"
        main.record()
        project.merge("main", "fix", on_conflict="source")


def others(contents: dict[bytes, str]) -> dict[bytes, str]:
    return {path: what for path, what in contents.items() if path != b"folder-0/file.txt"}


def test_a_delete_is_whole_or_was_never_begun(project: Project, main: Main) -> None:
    clone(project, "other").edit(3, "mine")
    fix = clone(project, "fix")
    fix.edit(3, "mine")
    before = fix.contents(times=True)
    for moment in moments(main, "delete", "other"):
        project = killed(main, "delete", "fix", moment)
        if "fix" not in names(project):
            assert not fix.path.exists()
            project.restore("fix")
        assert fix.contents(times=True) == before, f"not whole at {moment}"


def test_a_restore_is_whole_or_was_never_begun(project: Project, main: Main) -> None:
    fix = clone(project, "fix")
    fix.write("first.txt", "1\n")
    project.checkpoint("fix")
    first = fix.contents()
    scatter(fix, "later")
    for moment in moments(main, "restore", "fix"):
        scatter(fix, f"at {moment}")
        fix.remove("first.txt")
        later = fix.contents()
        project = killed(main, "restore", "fix", moment)
        assert fix.contents() in (first, later), f"half restored at {moment}"
        project.restore("fix", "1")
        assert fix.contents() == first


UNDOES = """
import os, signal, sys
from pathlib import Path
from workspaces import Project
left = int(sys.argv[2])
def die(event, about):
    global left
    if event == 'open' and about[2] & (os.O_WRONLY | os.O_RDWR):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
project = Project.open(Path(sys.argv[1]))
sys.addaudithook(die)
project.undo()
print(-left)
"""


def test_a_merge_whose_undo_was_killed_stands_or_does_not(project: Project, main: Main) -> None:
    """What is remembered of the merge is what main has, so that it can be made again when it was taken back."""
    clone(project, "fix").write("new.txt", "new\n")
    project.merge("fix")
    times = int(said(start(UNDOES, str(main.path), "0")))
    assert times > 7
    for last in range(7):
        project.merge("fix")
        start(UNDOES, str(main.path), str(times - last)).communicate()
        project = Project.open(main.path)
        stands = project.compare(["fix"]).workspaces[0].merge == "up_to_date"
        assert main.has("new.txt") == stands, f"killed {last} before the end"
        if stands:
            project.undo()


def test_what_killed_looks_left_is_cleared_away(project: Project, main: Main) -> None:
    """What a child of a dead process was still writing may stay for a while, so not everything is gone at once; but little is left of many."""
    fix = clone(project, "fix")
    fix.write("large.bin", random.Random(1).randbytes(1 << 20))
    before = size(main)
    for moment in moments(main, "compare", "fix"):
        killed(main, "compare", "fix", moment)
    assert size(main) < before + MOMENTS // 2 * (1 << 20)


def size(main: Main) -> int:
    return sum(file.stat().st_size for file in main.path.rglob("*") if file.is_file() and not file.is_symlink())
