"""Who decides where both changed the same: the rules of the configuration, the caller, or nobody."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from workspaces import Project
from workspaces.errors import Busy, InvalidArgument, Unsupported
from workspaces.model import Capabilities, MergeResult
from workspaces.trust import place

from .folders import PATIENCE, Folder, Main, clone, eventually


def _both(project: Project, main: Main, name: str, ours: str, theirs: str, before: str = "") -> Folder:
    """Let both sides change a file, and something else besides."""
    if before:
        main.write(name, before)
        main.record()
    fix = clone(project, "fix")
    fix.write(name, theirs)
    fix.write("theirs.txt", "theirs\n")
    main.write(name, ours)
    main.write("ours.txt", "ours\n")
    main.record()
    return fix


def _rules(main: Main, *lines: str) -> None:
    main.write("workspaces.toml", "[merge.paths]\n" + "".join(f"{line}\n" for line in lines))
    main.record()


def test_union_has_the_lines_of_both(project: Project, main: Main) -> None:
    _both(project, main, "new.md", "ours\n", "theirs\n")
    result = project.merge("fix", on_conflict="union")
    assert result.status == "merged"
    assert main.read("new.md") == "ours\ntheirs\n"
    assert [(each.path, each.by) for each in result.decided] == [("new.md", "on_conflict=union")]
    assert project.merge("fix").status == "up_to_date"


def test_union_is_for_texts_alone(project: Project, main: Main) -> None:
    fix = _both(project, main, "new.md", "ours\n", "theirs\n")
    fix.write("logo.png", b"\0theirs")
    fix.remove("notes.md")
    main.write("logo.png", b"\0ours")
    main.write("notes.md", "changed\n")
    main.record()
    before = main.contents(times=True)
    result = project.merge("fix", on_conflict="union")
    assert result.status == "conflicts"
    assert sorted(conflict.path for conflict in result.conflicts) == ["logo.png", "notes.md"]
    assert all("texts that both changed" in conflict.note for conflict in result.conflicts)
    assert main.contents(times=True) == before


@pytest.mark.parametrize(("name", "ours", "theirs"), [("a.json", '{"a": 1}\n', '{"b": 1}\n'), ("a.toml", "a = 1\n", "a = 2\n")])
def test_what_does_not_parse_is_no_resolution(project: Project, main: Main, name: str, ours: str, theirs: str) -> None:
    _both(project, main, name, ours, theirs)
    before = main.contents(times=True)
    result = project.merge("fix", on_conflict="union")
    assert (result.status, [conflict.path for conflict in result.conflicts]) == ("conflicts", [name])
    assert "on_conflict=union: it is no" in result.conflicts[0].note
    assert main.contents(times=True) == before


def test_what_parses_is_one(project: Project, main: Main) -> None:
    _both(project, main, "a.toml", "a = 1\n", "b = 2\n")
    assert project.merge("fix", on_conflict="union").status == "merged"
    assert main.read("a.toml") == "a = 1\nb = 2\n"


def test_each_path_by_its_rule_and_the_last_one_counts(project: Project, main: Main) -> None:
    _rules(main, '"*.md" = "target"', '"docs/" = "source"', '"CHANGES.md" = "union"')
    fix = clone(project, "fix")
    for folder, text in ((fix, "theirs"), (main, "ours")):
        for name in ("CHANGES.md", "other.md", "docs/a.md", "free.txt"):
            folder.write(name, f"{text}\n")
    main.record()
    result = project.merge("fix")
    assert [conflict.path for conflict in result.conflicts] == ["free.txt"]
    assert {each.path: each.by.rpartition(" ")[2] for each in result.decided} == {
        "CHANGES.md": "union",
        "other.md": "target",
        "docs/a.md": "source",
    }
    assert project.compare(["fix"]).workspaces[0].conflicts == result.conflicts
    done = project.merge("fix", on_conflict="source")
    assert done.status == "merged"
    found = {name: main.read(name) for name in ("CHANGES.md", "other.md", "docs/a.md", "free.txt")}
    assert found == {"CHANGES.md": "ours\ntheirs\n", "other.md": "ours\n", "docs/a.md": "theirs\n", "free.txt": "theirs\n"}
    assert {each.by for each in done.decided if each.path == "free.txt"} == {"on_conflict=source"}


def test_the_rules_are_those_of_main(project: Project, main: Main) -> None:
    _rules(main, '"*.md" = "union"')
    fix = _both(project, main, "new.md", "ours\n", "theirs\n")
    fix.write("workspaces.toml", '[merge.paths]\n"*.md" = "source"\n')
    assert project.merge("fix").status == "merged"
    assert main.read("new.md") == "ours\ntheirs\n"


def test_a_rule_whose_result_does_not_parse_leaves_a_conflict(project: Project, main: Main) -> None:
    _rules(main, '"*.json" = "union"')
    _both(project, main, "a.json", '{"a": 1}\n', '{"b": 1}\n')
    (conflict,) = project.merge("fix").conflicts
    assert "'*.json': union" in conflict.note and "no JSON" in conflict.note
    assert project.merge("fix", on_conflict="source").status == "merged"
    assert main.read("a.json") == '{"b": 1}\n'


def test_rules_hold_for_chosen_paths_and_the_way_back(project: Project, main: Main) -> None:
    _rules(main, '"*.md" = "union"')
    fix = _both(project, main, "new.md", "ours\n", "theirs\n")
    assert project.merge("main", "fix").status == "merged"
    assert fix.read("new.md") == "theirs\nours\n"
    result = project.merge("fix", paths=["new.md"])
    assert (result.status, {change.path for change in result.files}) == ("merged", {"new.md"})
    assert main.read("new.md") == "theirs\nours\n"


def test_a_dry_run_tells_what_rules_would_decide(project: Project, main: Main) -> None:
    _rules(main, '"*.md" = "union"')
    _both(project, main, "new.md", "ours\n", "theirs\n")
    before = main.contents(times=True)
    promised = project.merge("fix", dry_run=True)
    assert (promised.status, [each.path for each in promised.decided]) == ("would_merge", ["new.md"])
    assert main.contents(times=True) == before


def test_a_rule_that_means_nothing_is_refused(project: Project, main: Main) -> None:
    _rules(main, '"*.md" = "both"')
    before = main.contents()
    with pytest.raises(InvalidArgument, match=r"merge\.paths"):
        project.merge("main")
    assert main.contents() == before
    _rules(main, '"*.md" = "union"')


def test_deleting_a_side_by_rule(project: Project, main: Main) -> None:
    _rules(main, '"notes.md" = "source"')
    fix = clone(project, "fix")
    fix.remove("notes.md")
    main.write("notes.md", "changed\n")
    main.record()
    assert project.merge("fix").status == "merged"
    assert not main.has("notes.md")


def test_a_conflict_says_who_changed_it_and_for_what(project: Project, main: Main) -> None:
    (one,) = project.clone(name="one", task="Count in tens").workspaces
    (two,) = project.clone(name="two", task="Count in dozens").workspaces
    for each, text in ((one, "ten"), (two, "twelve")):
        Folder(project.root / ".workspaces" / each.name).edit(9, text)
    project.merge("one")
    (conflict,) = project.merge("two").conflicts
    assert conflict.ours_by and conflict.theirs_by
    assert (conflict.ours_by.workspace, conflict.ours_by.task) == ("shop/one", "Count in tens")
    assert (conflict.theirs_by.workspace, conflict.theirs_by.task) == ("shop/two", "Count in dozens")
    assert project.compare(["two"]).workspaces[0].conflicts == (conflict,)


def test_replaying_needs_commits(project: Project, main: Main, capabilities: Capabilities) -> None:
    clone(project, "fix").edit(3, "mine")
    before = main.contents(times=True)
    if capabilities.commits:
        assert project.merge("fix", history="rebase").status == "merged"
        assert "mine\n" in main.read("cart.py")
    else:
        with pytest.raises(Unsupported):
            project.merge("fix", history="rebase")
        assert main.contents(times=True) == before


def test_attempts_that_meet_are_told_as_they_merge(project: Project, main: Main) -> None:
    _rules(main, '"*.md" = "union"', '"*.json" = "union"', '"*.toml" = "union"', '"lock" = "source"')
    one, two, three = (clone(project, name) for name in ("one", "two", "three"))
    for folder, text in ((one, "one"), (two, "two")):
        folder.write("lock", f"{text}\n")
        folder.write("new.md", f"{text}\n")
        folder.write("x.toml", f"{text} = 1\n")
    one.edit(9, "one")
    two.write("j.json", '{"a": 1}\n')
    three.write("j.json", '{"b": 1}\n')
    three.remove("notes.md")
    one.write("notes.md", "changed\n")
    found = project.compare(["one", "two", "three"])
    told = {(pair.a, pair.b): [each.path for each in pair.conflicts] for pair in found.pairs}
    assert told == {("shop/one", "shop/three"): ["notes.md"], ("shop/two", "shop/three"): ["j.json"]}
    for a, b in combinations(("one", "two", "three"), 2):
        tried = [each.path for each in project.merge(b, a, dry_run=True).conflicts]
        assert tried == told.get((f"shop/{a}", f"shop/{b}"), [])
    assert any("union" in warning and "new.md" in warning for warning in found.warnings)
    assert found.compatible == ("shop/one", "shop/two")
    assert project.merge(list(found.compatible)).status == "merged"


# -- rules that run something


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder on PATH for programs of the person's."""
    folder = tmp_path / "tools"
    folder.mkdir()
    return folder


@pytest.fixture
def opened(project: Project, main: Main, home: Path, tools: Path) -> Callable[[bool], Project]:
    """Returns the project as a person has it open who trusts its settings, or not yet."""

    def opening(trusts: bool) -> Project:
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        made = Project.open(main.path, trust=place({"HOME": str(home)}), environment={**os.environ, "PATH": path})
        if trusts:
            made.trust(made.programs().fingerprint)
        return made

    assert project.name
    return opening


def _locked(project: Project, main: Main, command: str) -> None:
    """Let both sides add to a list from which a file is generated."""
    _rules(main, f'"deps.lock" = {{ regenerate = {command!r} }}')
    main.write("deps/a", "1\n")
    main.write("deps.lock", "a\n")
    main.record()
    fix = clone(project, "fix")
    for folder, name in ((fix, "b"), (main, "c")):
        folder.write(f"deps/{name}", "1\n")
        folder.write("deps.lock", f"a\n{name}\n")
    main.record()


def test_a_generated_file_is_made_anew_from_the_merged_contents(project: Project, main: Main, opened: Callable[[bool], Project]) -> None:
    _locked(project, main, "ls deps > deps.lock; touch stray.txt")
    result = opened(True).merge("fix")
    assert result.status == "merged"
    assert main.read("deps.lock") == "a\nb\nc\n"
    assert not main.has("stray.txt")
    assert [each.by for each in result.decided] == ["merge.paths 'deps.lock': regenerate"]


def test_what_nobody_trusts_is_not_run(project: Project, main: Main, opened: Callable[[bool], Project], tmp_path: Path) -> None:
    _locked(project, main, f"ls deps > deps.lock; touch {tmp_path}/ran")
    before = main.contents(times=True)
    (conflict,) = opened(False).merge("fix").conflicts
    assert "workspaces trust" in conflict.note
    assert opened(False).compare(["fix"]).workspaces[0].conflicts == (conflict,)
    (seen,) = opened(True).compare(["fix"]).workspaces
    assert (seen.merge, seen.conflicts, [(each.path, each.when_merged) for each in seen.decided]) == ("clean", (), [("deps.lock", True)])
    main.write("workspaces.toml", main.read("workspaces.toml").replace("ls deps", "ls -a deps"))
    assert "workspaces trust" in opened(False).merge("fix").conflicts[0].note
    main.write("workspaces.toml", main.read("workspaces.toml").replace("ls -a deps", "ls deps"))
    assert main.contents().keys() == before.keys()
    assert not (tmp_path / "ran").exists()


def test_a_slow_command_keeps_nobody_else_from_the_target(
    project: Project, main: Main, opened: Callable[[bool], Project], tally: Path
) -> None:
    _locked(project, main, f"mktemp {tally}/run-XXXXXXXX; while ! test -e {tally}/go; do :; done; ls deps > deps.lock")
    clone(project, "other").write("deps/d", "1\n")
    slow = opened(True)
    answers: list[MergeResult] = []
    merging = threading.Thread(target=lambda: answers.append(slow.merge("fix")))
    merging.start()
    eventually(lambda: bool(list(tally.glob("run-*"))))
    assert Project.open(main.path, patience=30).merge("other").status == "merged"
    with pytest.raises(Busy, match="deps.lock: still being made"):
        slow.merge("fix", patience=0)
    (tally / "go").touch()
    merging.join(PATIENCE)
    assert [each.status for each in answers] == ["merged"]
    assert main.read("deps.lock") == "a\nb\nc\nd\n"
    assert len(list(tally.glob("run-*"))) == 2


def test_a_command_that_fails_decides_nothing(project: Project, main: Main, opened: Callable[[bool], Project]) -> None:
    _locked(project, main, "echo no network; exit 3")
    before = main.contents(times=True)
    (conflict,) = opened(True).merge("fix").conflicts
    assert "no network" in conflict.note
    assert main.contents(times=True) == before


def test_nothing_is_generated_while_other_paths_conflict(project: Project, main: Main, opened: Callable[[bool], Project]) -> None:
    _locked(project, main, "ls deps > deps.lock")
    Folder(project.root / ".workspaces" / "fix").edit(9, "theirs")
    main.edit(9, "ours")
    main.record()
    found = opened(True).merge("fix").conflicts
    conflicts = {each.path: each.note for each in found}
    assert conflicts.keys() == {"cart.py", "deps.lock"}
    assert "other paths conflict" in conflicts["deps.lock"]
    assert opened(True).compare(["fix"]).workspaces[0].conflicts == found
    assert [each.path for each in opened(True).compare(["fix"], base="main").workspaces[0].conflicts] == ["cart.py", "deps.lock"]
    assert opened(True).merge("fix", on_conflict="source").status == "merged"


def test_a_merge_program_on_the_path(project: Project, main: Main, opened: Callable[[bool], Project], tools: Path) -> None:
    _rules(main, '"*.dict" = "driver:sorting-merge"')
    program = tools / "sorting-merge"
    program.write_text('#!/bin/sh\nset -e\ntest "$4" = "words.dict"\ncat "$2" "$3" | sort -u > "$2.new"\nmv "$2.new" "$2"\n')
    program.chmod(0o755)
    _both(project, main, "words.dict", "a\nours\n", "a\ntheirs\n", before="a\n")
    assert opened(False).merge("fix").status == "conflicts"
    result = opened(True).merge("fix")
    assert (result.status, [each.by for each in result.decided]) == ("merged", ["merge.paths '*.dict': driver:sorting-merge"])
    assert main.read("words.dict") == "a\nours\ntheirs\n"


def test_a_merge_program_that_is_not_there(project: Project, main: Main, opened: Callable[[bool], Project]) -> None:
    _rules(main, '"*.dict" = "driver:nobody-has-this"')
    _both(project, main, "words.dict", "a\nours\n", "a\ntheirs\n", before="a\n")
    (conflict,) = opened(True).merge("fix").conflicts
    assert "could not be started" in conflict.note


def test_what_a_command_made_must_parse_and_pass_the_checks(project: Project, main: Main, opened: Callable[[bool], Project]) -> None:
    main.write(
        "workspaces.toml", '[merge.paths]\n"a.json" = { regenerate = "cat made > a.json" }\n[checks.small]\nrun = "! grep -q 9 a.json"\n'
    )
    main.write("made", "{]\n")
    fix = _both(project, main, "a.json", "[1]\n", "[2]\n")
    assert "no JSON" in opened(True).merge("fix").conflicts[0].note
    fix.write("made", "[9]\n")
    result = opened(True).merge("fix", require=["small"])
    assert result.status == "check_failed"
    assert main.read("a.json") == "[1]\n"
    fix.write("made", "[3]\n")
    assert opened(True).merge("fix", require=["small"]).status == "merged"
    assert main.read("a.json") == "[3]\n"
