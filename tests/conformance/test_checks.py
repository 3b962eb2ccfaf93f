"""Checks judge frozen copies: an attempt cannot pass by changing them, hang, or be touched; and what was judged once is remembered."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from workspaces import Project
from workspaces.errors import Busy, InvalidArgument, UntrustedConfig
from workspaces.model import Checked
from workspaces.trust import place

from .folders import PATIENCE, Main, at, clone, eventually, found_wrong, timed, written
from .forking import python

GOOD = "grep -q good cart.py"


@pytest.fixture
def judged(project: Project, main: Main, home: Path) -> Callable[[str], Project]:
    """Returns the project with settings that a person trusts."""

    def trusting(settings: str) -> Project:
        main.write("workspaces.toml", settings)
        main.record()
        opened = Project.open(main.path, trust=place({"HOME": str(home)}), environment={**os.environ, "SECRET_TOKEN": "s3cret"})
        opened.trust(opened.programs().fingerprint)
        return opened

    assert project.name
    return trusting


def verdicts(result: Checked) -> dict[str, str]:
    return {each.workspace.split("/")[1]: each.verdict for each in result.results if not each.control}


def is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_attempts_are_judged_beside_what_they_began_with(judged: Callable[[str], Project]) -> None:
    project = judged(f"[checks.good]\nrun = '{GOOD}'\n[checks.any]\nrun = ['true']\n")
    clone(project, "done").write("cart.py", "good\n")
    clone(project, "idle")
    result = project.check(["done", "idle"])
    found = {(each.workspace, each.check, each.control): each.verdict for each in result.results}
    assert found == {
        ("shop/done", "good", False): "pass",
        ("shop/idle", "good", False): "fail",
        ("shop/main", "good", True): "fail",
        ("shop/done", "any", False): "pass",
        ("shop/idle", "any", False): "pass",
        ("shop/main", "any", True): "pass",
    }
    assert result.summary == "3 of 4 pass: done good, done any, idle any. 1 of 4 fail: idle good."
    assert "good does not pass on what the workspaces began with either" in result.warnings[0]
    shown = {each.name: each.checks for each in project.status().workspaces}
    assert shown["done"] == {"good": "pass", "any": "pass"}
    assert shown["idle"] == {"good": "fail", "any": "pass"}


def test_an_attempt_does_not_pass_by_changing_the_tests(judged: Callable[[str], Project], main: Main) -> None:
    main.write("tests/t.sh", "for each in tests/*.check; do sh $each || exit 1; done\n")
    main.write("tests/a.check", f"{GOOD}\n")
    main.write("tests/b.check", "test ! -e tests/planted\n")
    project = judged("[checks.test]\nrun = 'sh tests/t.sh'\nprotect = ['tests/**']\n")
    edits = clone(project, "edits")
    edits.write("tests/t.sh", "exit 0\n")
    removes = clone(project, "removes")
    removes.remove("tests/a.check")
    plants = clone(project, "plants")
    plants.write("cart.py", "good\n")
    plants.write("tests/planted", "\n")
    replaces = clone(project, "replaces")
    shutil.rmtree(replaces.path / "tests")
    replaces.write("other/t.sh", "exit 0\n")
    replaces.link("tests", "other")
    before = [each.contents(times=True) for each in (edits, removes, plants, replaces)]
    result = project.check(["edits", "removes", "plants", "replaces"])
    assert verdicts(result) == {"edits": "fail", "removes": "fail", "plants": "pass", "replaces": "fail"}
    assert [each.contents(times=True) for each in (edits, removes, plants, replaces)] == before
    ranking = project.compare(["edits", "removes", "plants", "replaces"], detail="ranking").ranking
    assert [(row.place, row.control) for row in ranking[:2]] == [(1, False), (0, True)]
    assert ranking[0].workspaces == ("shop/plants",) and ranking[0].gained == ("test",)
    assert all(row.checks == {"test": "fail"} and row.tests_changed for row in ranking[2:])


def test_identical_attempts_cost_nothing(judged: Callable[[str], Project], tally: Path) -> None:
    project = judged(f"[checks.test]\nrun = 'mktemp {tally}/XXXXXXXX; {GOOD}'\n")
    names = [each.name for each in project.clone(name="try", count=16).workspaces]
    for number, name in enumerate(names):
        at(project.find(name)).write("cart.py", f"{'good' if number % 2 else 'bad'} {number % 4}\n")
    result = project.check(names)
    assert list(verdicts(result).values()) == ["fail", "pass"] * 8
    assert len(list(tally.iterdir())) == 5
    again = project.check(names)
    assert verdicts(again) == verdicts(result)
    assert all(each.cached for each in again.results)
    assert len(list(tally.iterdir())) == 5


def test_processes_that_ask_the_same_at_once_run_it_once(judged: Callable[[str], Project], main: Main, tally: Path, home: Path) -> None:
    project = judged(f"[checks.test]\nrun = 'mktemp {tally}/XXXXXXXX'\n")
    clone(project, "fix").write("cart.py", "good\n")
    script = (
        "import sys; from pathlib import Path; from workspaces import Project\n"
        "print(Project.open(Path(sys.argv[1]), trust=Path(sys.argv[2])).check(['fix']).results[0].verdict)"
    )
    started = [
        subprocess.Popen([*python(), "-c", script, str(main.path), str(place({"HOME": str(home)}))], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [each.communicate()[0].strip() for each in started] == ["pass"] * 3
    assert len(list(tally.iterdir())) == 2


def test_no_more_run_at_once_than_the_settings_say(judged: Callable[[str], Project], main: Main, tally: Path, home: Path) -> None:
    project = judged(f"check.at_once = 1\n[checks.alone]\nrun = 'mkdir {tally}/busy && seq 100000 | tail -1 && rmdir {tally}/busy'\n")
    for number in range(4):
        clone(project, f"fix-{number}").write("cart.py", f"{number}\n")
    script = (
        "import sys; from pathlib import Path; from workspaces import Project\n"
        "project = Project.open(Path(sys.argv[1]), trust=Path(sys.argv[2]))\n"
        "print(*{each.verdict for each in project.check(sys.argv[3:]).results})"
    )
    started = [
        subprocess.Popen(
            [*python(), "-c", script, str(main.path), str(place({"HOME": str(home)})), *names], stdout=subprocess.PIPE, text=True
        )
        for names in (("fix-0", "fix-1"), ("fix-2", "fix-3"))
    ]
    assert [each.communicate()[0].strip() for each in started] == ["pass", "pass"]


@pytest.mark.skipif(sys.platform != "linux", reason="setsid(1) is on Linux")
def test_a_check_that_hangs_is_ended_with_all_that_it_started(
    judged: Callable[[str], Project], tally: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workspaces.checks.running._GUARD", timed(tmp_path / "guard.py", written(tally / "pid"), tally))
    escape = f"setsid sh -c '\"'\"'echo $$ > {tally}/pid; sleep 1000'\"'\"' & while ! test -s {tally}/pid; do :; done"
    project = judged(
        f"[checks.hangs]\nrun = '''sh -c '{escape}; sleep 1000' '''\ntimeout_seconds = 2\n"
        f"[checks.leaves]\nrun = '''sh -c '{escape.replace('pid', 'left')}' '''\n"
    )
    clone(project, "fix").write("cart.py", "good\n")
    for check, verdict in (
        ("hangs", "timeout"),
        ("leaves", "pass"),
    ):  # one after the other: of both, the first is what their clocks wait for
        assert [each.verdict for each in project.check(["fix"], [check]).results if not each.control] == [verdict]
    assert not is_alive(int((tally / "pid").read_text()))
    assert not is_alive(int((tally / "left").read_text()))


def test_a_timeout_is_tried_once_more_and_then_remembered(
    judged: Callable[[str], Project], tally: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = f"len(os.listdir({str(tally)!r})) > before"
    monkeypatch.setattr("workspaces.checks.running._GUARD", timed(tmp_path / "guard.py", over, tally))
    project = judged(f"[checks.hangs]\nrun = 'mktemp {tally}/XXXXXXXX; sleep 1000'\ntimeout_seconds = 1\n")
    seen = [project.check(["main"]).results[0] for _ in range(3)]
    assert [(each.verdict, each.cached, each.flaky) for each in seen] == [("timeout", False, False)] * 2 + [("timeout", True, False)]
    assert len(list(tally.iterdir())) == 2
    assert ["once more" in each.why for each in seen] == [True, False, False]
    assert "--again" in seen[2].why


def test_what_hung_once_and_then_ended_is_as_it_ended(
    judged: Callable[[str], Project], main: Main, tally: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = f"before == 0 and os.listdir({str(tally)!r})"
    monkeypatch.setattr("workspaces.checks.running._GUARD", timed(tmp_path / "guard.py", over, tally))
    project = judged(
        f"[checks.slow]\nrun = 'mktemp {tally}/XXXXXXXX; test $(ls {tally} | wc -l) != 1 || sleep 1000'\ntimeout_seconds = 1\n"
    )
    clone(project, "fix").edit(3, "mine")
    refused = project.merge("fix", require=["slow"])
    assert (refused.status, "once more" in refused.summary, main.read("cart.py").count("mine")) == ("check_failed", True, 0)
    merged = project.merge("fix", require=["slow"])
    assert [(each.verdict, each.flaky, each.runs) for each in merged.checks] == [("pass", False, 1)]


def test_who_kills_what_guards_it_has_not_passed(judged: Callable[[str], Project], tally: Path) -> None:
    project = judged(f"[checks.test]\nrun = 'echo $$ > {tally}/pid; kill -9 $PPID; exit 0'\n")
    clone(project, "fix").write("cart.py", "good\n")
    assert {each.verdict for each in project.check(["fix"]).results} == {"error"}
    eventually(lambda: not is_alive(int((tally / "pid").read_text())))


def test_a_check_that_prints_without_end_fills_nothing(judged: Callable[[str], Project]) -> None:
    project = judged(
        "check.max_output_mb = 1\n[checks.loud]\nrun = 'head -c 200000000 /dev/zero | tr \"\\0\" x; echo; echo the end; exit 3'\n"
    )
    clone(project, "fix").write("cart.py", "good\n")
    (found, _) = project.check(["fix"]).results
    assert (found.verdict, found.exit_status) == ("fail", 3)
    assert found.tail.endswith("x\nthe end\n") and len(found.tail) <= 4000
    assert Path(found.log).stat().st_size < 1_100_000
    assert Path(found.log).read_text().endswith("x\nthe end\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no file that is always full")
def test_a_check_whose_log_cannot_be_written_is_not_waited_for(judged: Callable[[str], Project], tally: Path) -> None:
    project = judged(f"[checks.loud]\nrun = 'echo $$ > {tally}/pid; head -c 100000 /dev/zero; test -e {tally}/go || exec sleep 1000'\n")
    (tally / "go").touch()
    log = Path(project.check(["main"]).results[0].log)
    (tally / "go").unlink()
    log.unlink()
    log.symlink_to("/dev/full")
    (found,) = project.check(["main"], again=True, timeout_seconds=PATIENCE / 2).results
    assert (found.verdict, "No space left" in found.why) == ("error", True)
    eventually(lambda: not is_alive(int((tally / "pid").read_text())))


def test_who_passes_only_sometimes_is_flaky_and_has_not_passed(judged: Callable[[str], Project], tally: Path) -> None:
    project = judged(f"[checks.test]\nrun = 'mktemp {tally}/XXXXXXXX; test $(ls {tally} | wc -l) -ne 2'\nrepeat = 3\n")
    (seen,) = project.check(["main"]).results
    assert (seen.verdict, seen.flaky, seen.runs) == ("fail", True, 3)
    clone(project, "same")
    assert {(each.verdict, each.flaky, each.cached) for each in project.check(["same"]).results} == {("fail", True, True)}
    assert len(list(tally.iterdir())) == 3


def test_a_verdict_that_differs_from_the_remembered_one_is_flaky(judged: Callable[[str], Project], tally: Path) -> None:
    project = judged(f"[checks.test]\nrun = 'test ! -e {tally}/broken'\n")
    clone(project, "fix")
    assert project.check(["fix"]).results[0].verdict == "pass"
    (tally / "broken").touch()
    assert project.check(["fix"]).results[0].verdict == "pass"
    again = project.check(["fix"], again=True).results[0]
    assert (again.verdict, again.flaky, again.runs) == ("fail", True, 2)


def test_only_what_a_person_trusts_is_run(project: Project, main: Main, home: Path, tally: Path) -> None:
    trust = place({"HOME": str(home)})
    main.write("workspaces.toml", f"[checks.test]\nrun = 'mktemp {tally}/XXXXXXXX'\n[merge]\nrequire = ['test']\n")
    fix = clone(project, "fix")
    fix.write("cart.py", "good\n")
    mine = Project.open(main.path, trust=trust)
    with pytest.raises(UntrustedConfig, match="mktemp"):
        mine.check(["fix"])
    with pytest.raises(UntrustedConfig, match="mktemp"):
        mine.merge("fix")
    mine.trust(mine.programs().fingerprint)
    seen = mine.check(["fix"])
    assert verdicts(seen) == {"fix": "pass"}, seen
    for change in (
        "run = 'false'",
        f"run = 'mktemp {tally}/XXXXXXXX'\nprotect = ['cart.py']",
        f"run = 'mktemp {tally}/XXXXXXXX'\nnetwork = true",
    ):
        main.write("workspaces.toml", f"[checks.test]\n{change}\n")
        with pytest.raises(UntrustedConfig):
            mine.check(["fix"])
        assert [each.check for each in mine.doctor().findings if not each.ok] == ["trust"]
    main.write("workspaces.toml", f"[checks.test]\nrun = 'mktemp {tally}/XXXXXXXX'\ntimeout_seconds = 7\n")
    assert mine.check(["fix"]).results[0].verdict == "pass"
    with pytest.raises(UntrustedConfig):
        Project.open(main.path).check(["fix"])


def test_an_attempt_has_no_say_in_what_is_run(judged: Callable[[str], Project]) -> None:
    project = judged("[checks.test]\nrun = 'false'\n")
    clone(project, "fix").write("workspaces.toml", "[checks.test]\nrun = 'true'\n")
    assert project.check(["fix"]).results[0].verdict == "fail"


def test_a_command_hears_no_secret_and_nobody_answers_it(judged: Callable[[str], Project]) -> None:
    project = judged("[checks.test]\nrun = 'cat; env; exit 1'\n")
    clone(project, "fix").write("cart.py", "good\n")
    said = project.check(["fix"]).results[0].tail
    assert "WORKSPACES_CHECK=test\n" in said
    assert f"PATH={os.environ['PATH']}\n" in said
    assert "s3cret" not in said


def test_a_check_cannot_reach_what_is_not_its_copy(judged: Callable[[str], Project], main: Main) -> None:
    project = judged("[checks.test]\nrun = 'echo planted > ../../cart.py; echo planted > ../fix/cart.py; echo own > cart.py; exit 1'\n")
    fix = clone(project, "fix")
    seen = project.check(["fix"]).results[0]
    assert fix.contents() == main.contents() or "files" not in seen.isolation
    assert ("files" in seen.isolation) == ("+files" in project.find("fix").isolation)


def test_what_takes_long_goes_on_and_is_found_later(judged: Callable[[str], Project], tally: Path) -> None:
    project = judged(f"[checks.test]\nrun = 'while ! test -e {tally}/go; do :; done'\n")
    clone(project, "fix").write("cart.py", "good\n")
    begun = project.check(["fix"], wait=False)
    assert {each.verdict for each in begun.results} == {"running"}
    assert "still running" in begun.summary
    assert {each.verdict for each in project.check(["fix"], timeout_seconds=0.1).results} == {"running"}
    revision = project.revision()
    (tally / "go").touch()
    eventually(lambda: project.revision() > revision)
    assert verdicts(project.check(["fix"])) == {"fix": "pass"}


def test_a_server_that_is_killed_takes_its_checks_along(
    judged: Callable[[str], Project], main: Main, tally: Path, home: Path, tmp_path: Path
) -> None:
    project = judged(f"[checks.test]\nrun = 'echo $$ > {tally}/pid; sleep 1000'\n")
    clone(project, "fix").write("cart.py", "good\n")
    script = (
        "import sys; from pathlib import Path; from workspaces import Project\n"
        "Project.open(Path(sys.argv[1]), trust=Path(sys.argv[2])).check(['fix'])"
    )
    (tmp_path / "tmp").mkdir()
    server = subprocess.Popen(
        [sys.executable, "-c", script, str(main.path), str(place({"HOME": str(home)}))], env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    )
    eventually(lambda: (tally / "pid").exists() and (tally / "pid").read_text().endswith("\n"))
    assert [each.name for each in project.status().workspaces] == ["main", "fix"]
    assert found_wrong(project) == []
    server.send_signal(signal.SIGKILL)
    server.wait()
    eventually(lambda: not is_alive(int((tally / "pid").read_text())))
    eventually(lambda: bool(Project.open(main.path)) and not list((main.path / ".workspaces").glob(".check-*")))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_outputs_of_two_attempts_are_compared(judged: Callable[[str], Project]) -> None:
    project = judged("[checks.test]\nrun = 'pwd; cat cart.py'\n")
    for name, text in (("one", "same\nleft\n"), ("other", "same\nright\n")):
        clone(project, name).write("cart.py", text)
    expected = "--- shop/one\n+++ shop/other\n@@ -1,3 +1,3 @@\n .\n same\n-left\n+right"
    assert project.check(["one", "other"], ["test"], detail="diff").diff == expected
    assert project.beside(["one", "other"], ["sh", "-c", "pwd; cat cart.py"]).diff == expected
    assert project.check(["one", "one"], ["test"], detail="diff").diff == ""
    with pytest.raises(InvalidArgument):
        project.check(["one"], ["test"], detail="diff")


def test_a_merge_takes_only_what_passes_when_it_is_merged(judged: Callable[[str], Project], main: Main) -> None:
    project = judged("[checks.one]\nrun = 'test $(cat *.total | wc -l) -le 1'\n")
    for name in ("a", "b"):
        clone(project, name).write(f"{name}.total", "total\n")
    assert set(verdicts(project.check(["a", "b"])).values()) == {"pass"}
    assert project.merge("a", require=["one"]).checks[0].verdict == "pass"
    before = main.contents()
    for dry_run in (True, False):
        refused = project.merge("b", require=["one"], dry_run=dry_run)
        assert (refused.status, [each.verdict for each in refused.checks]) == ("check_failed", ["fail"])
    assert main.contents() == before
    assert project.merge("b").status == "merged"
    with pytest.raises(InvalidArgument, match="Did you mean 'one'"):
        project.merge("b", require=["oen"])


def test_what_goes_into_main_passes_what_the_settings_require(judged: Callable[[str], Project]) -> None:
    project = judged(f"[checks.test]\nrun = '{GOOD}'\n[merge]\nrequire = ['test']\n")
    fix = clone(project, "fix")
    deeper = clone(project, "deeper", "fix")
    deeper.write("notes.md", "more\n")
    assert project.merge("deeper").status == "merged"
    assert project.merge("fix").status == "check_failed"
    fix.write("cart.py", "good\n")
    assert project.merge("fix", dry_run=True).status == "would_merge"
    assert project.merge("fix").status == "merged"


def test_what_moves_while_it_is_judged_is_judged_again(judged: Callable[[str], Project], main: Main, tally: Path) -> None:
    project = judged(f"[checks.test]\nrun = 'mktemp {tally}/run-XXXXXXXX; while ! test -e {tally}/go; do :; done; test ! -e broken'\n")
    clone(project, "fix").write("fix.txt", "fix\n")
    answers: list[str] = []
    merging = threading.Thread(target=lambda: answers.append(project.merge("fix", require=["test"]).status))
    merging.start()
    eventually(lambda: bool(list(tally.glob("run-*"))))
    main.write("broken", "\n")
    main.record()
    (tally / "go").touch()
    merging.join(PATIENCE)
    assert answers == ["check_failed"]
    assert not main.has("fix.txt")
    assert len(list(tally.glob("run-*"))) == 2


def test_the_same_call_meanwhile_is_told_that_the_first_is_at_it(judged: Callable[[str], Project], main: Main, tally: Path) -> None:
    project = judged(f"[checks.test]\nrun = 'touch {tally}/began; while ! test -e {tally}/go; do :; done'\n")
    clone(project, "fix").write("fix.txt", "fix\n")
    answers: list[str] = []
    merging = threading.Thread(target=lambda: answers.append(project.merge("fix", require=["test"], request_key="k").commit))
    merging.start()
    eventually((tally / "began").exists)
    impatient = Project.open(main.path, patience=0.1)
    with pytest.raises(Busy, match="request_key 'k' is still at work"):
        impatient.merge("fix", require=["test"], request_key="k")
    assert impatient.merge("main", "fix", request_key="another").status == "up_to_date"
    (tally / "go").touch()
    merging.join(PATIENCE)
    assert [impatient.merge("fix", require=["test"], request_key="k").commit] == answers
    assert main.has("fix.txt")
