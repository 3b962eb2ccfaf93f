"""Choosing among attempts: the order in which they stand, why, and who is told to do what with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from conformance.folders import timed, written
from conformance.forking import program
from mcp import Client, MCPError
from mcp.types import CallToolResult, PromptReference, TextContent
from support import Repo, clone

from workspaces import Project
from workspaces.errors import InvalidArgument
from workspaces.model import Comparison
from workspaces.server.app import Settings, create
from workspaces.trust import place

Era = Literal["auto", "legacy"]
in_both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])
LONG = "def total(a, b):\n    found = a + b\n    if found < 0:\n        return max(0, found)\n    return found\n"


@dataclass(frozen=True)
class Planted:
    """A project with attempts whose worth is known, judged but for the late one; and a folder to which confined commands may write."""

    repo: Repo
    ledger: Path
    tally: Path

    @property
    def project(self) -> Project:
        return Project.open(self.repo.path, trust=self.ledger, environment=os.environ)

    @property
    def runs(self) -> int:
        return len(list((self.tally / "runs").iterdir()))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Generator[Planted]:
    shared = Path("/dev", "shm")
    tally = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text("[user]\n\tname = Ann\n\temail = ann@example.com\n[init]\n\tdefaultBranch = trunk\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        made = Planted(_shop(tmp_path_factory.mktemp("planted") / "shop", tally), place({"HOME": str(home)}), tally)
        _plant(made)
    yield made
    shutil.rmtree(tally)


def _shop(folder: Path, tally: Path) -> Repo:
    (tally / "runs").mkdir()
    repo = Repo.create(folder)
    repo.write("cart.py", "def total(a, b):\n    return a\n")
    repo.write("rates.sh", "")
    repo.write("tests/basic.sh", ". ./rates.sh; grep -q 'a + b' cart.py\n")
    repo.write("tests/edge.sh", ". ./rates.sh; grep -q 'max(0' cart.py\n")
    run = f"run = 'mktemp {tally}/runs/XXXXXXXX; sh tests/$WORKSPACES_CHECK.sh'\nprotect = ['tests/']\n"
    repo.write("workspaces.toml", f"check.at_once = 8\n[checks.basic]\n{run}timeout_seconds = 2\n[checks.edge]\n{run}repeat = 2\n")
    repo.commit("start")
    return repo


def _plant(made: Planted) -> None:
    project = Project.initialize(made.repo.path, trust=made.ledger, environment=os.environ)
    project.trust(project.programs().fingerprint)
    good = "def total(a, b):\n    return max(0, a + b)\n"
    edits: dict[str, dict[str, str]] = {
        "idle": {},
        "cheat": {"tests/basic.sh": "exit 0\n", "tests/edge.sh": "exit 0\n"},
        "hang": {"rates.sh": "test $WORKSPACES_CHECK = edge || { echo > hangs; while :; do sleep 1; done; }\n"},
        "flaky": {"cart.py": good, "rates.sh": f"test $WORKSPACES_CHECK = basic || mkdir {made.tally}/once || exit\n"},
        "half": {"cart.py": "def total(a, b):\n    return a + b\n"},
        "long": {"cart.py": LONG},
        "words": {"cart.py": good.replace("return", "# Not below nothing.\n    return")},
        "good": {"cart.py": good},
        "same": {"cart.py": good},
    }
    for name, files in edits.items():
        workspace = clone(project, name)
        for path, text in files.items():
            workspace.write(path, text)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        over = written(Path("hangs"))  # where the command runs: the others take as long as they do
        patch.setattr("workspaces.checks.running._GUARD", timed(Path(folder, "guard.py"), over, made.tally))
        project.check([*edits])
    clone(project, "late").write("cart.py", "def total(a, b):\n    return b\n")


STANDING = ["1 good same", "3 words", "4 long", "5 half", "6 flaky", "control", "7 hang", "8 idle", "8 cheat", "apart late"]
NAMES = ["idle", "cheat", "hang", "flaky", "half", "long", "words", "good", "same", "late"]


def standing(ranking: list[dict[str, Any]]) -> list[str]:
    """Return where each stands, in short."""
    return [
        "control" if row.get("control") else " ".join([str(row.get("place", "apart")), *(each.split("/")[1] for each in row["workspaces"])])
        for row in ranking
    ]


async def ranked(planted: Planted, **arguments: Any) -> dict[str, Any]:
    server = create(Settings(planted.repo.path, (planted.repo.path,), trust=planted.ledger, environment=os.environ))
    async with Client(server) as client:
        result = await client.call_tool("compare", {"workspaces": NAMES, "detail": "ranking", **arguments})
    assert isinstance(result, CallToolResult)
    found: Any = result.structured_content
    assert not result.is_error, found
    return dict[str, Any](found)


@pytest.mark.anyio
async def test_attempts_stand_in_the_order_of_what_they_showed(planted: Planted) -> None:
    answer = await ranked(planted)
    assert standing(answer["ranking"]) == STANDING
    assert answer["summary"] == (
        "good, same share the first place of 10 (passed 2 of 2 checks of workspaces.toml; 1 file +1 -1). "
        "6 of 10 passed a check that their base does not. 1 workspace stands apart: not all checks were run."
    )
    assert answer["next"] == [
        "check(workspaces=['shop/late'])",
        "compare(workspaces=['shop/good', 'shop/words'], detail='diff')",
        "merge(source='shop/good', require=['basic', 'edge'], delete_source=true)",
    ]
    assert not {"workspaces", "pairs", "groups"} & answer.keys()

    _every_place_says_why(answer["ranking"])


def _every_place_says_why(ranking: list[dict[str, Any]]) -> None:
    rows = {"+".join(each.split("/")[1] for each in row["workspaces"]): row for row in ranking}
    why = {name: row["why"].split("; ") for name, row in rows.items()}
    assert why["good+same"] == [
        "passed 2 of 2 checks of workspaces.toml",
        "its base does not pass basic, edge",
        "1 file +1 -1",
        "2 hold exactly this",
        "1 other did the same in other words",
        "merges cleanly",
    ]
    assert {"1 file +2 -1", "2 others did the same in other words"} < {*why["words"]}
    assert "failed edge" in why["half"] and "flaky, so not passed: edge" in why["flaky"]
    assert {"timed out in basic", "failed edge"} < {*why["hang"]}
    assert "changed protected paths, judged as the base has them: tests/basic.sh, tests/edge.sh" in why["cheat"]
    assert "nothing tells it from cheat" in why["idle"] and "not run: basic, edge" in why["late"]
    assert why["main"][0] == "what idle, cheat, hang, flaky, half and 4 more began with"
    assert rows["cheat"]["checks"] == rows["main"]["checks"] == {"basic": "fail", "edge": "fail"}


def test_what_holds_the_same_is_judged_once(planted: Planted) -> None:
    assert planted.runs == 7 * (1 + 2), "good, words, long, half, flaky, hang, and what they began with"


@pytest.mark.anyio
async def test_a_ranking_in_pages(planted: Planted) -> None:
    page, rows = await ranked(planted, workspaces=["good", "late"], max_chars=500), list[dict[str, Any]]()
    assert page["next_cursor"]
    while "next_cursor" in page:
        rows += page["ranking"]
        page = await ranked(planted, workspaces=["good", "late"], max_chars=500, cursor=page["next_cursor"])
    assert standing(rows + page["ranking"]) == ["1 good", "control", "apart late"]


def test_a_person_sees_them_as_a_table(planted: Planted) -> None:
    command = [*program(), "compare", "--ranking"]
    shown = subprocess.run(command, cwd=planted.repo.path, capture_output=True, text=True, check=True, timeout=60)
    head, *lines = (line.rstrip() for line in shown.stdout.splitlines())
    assert head.split() == ["Workspace", "basic", "edge", "Changes", "Same", "Merge", "Tests", "changed"]
    assert lines[0].split() == ["1", "good,", "same", "✓", "gained", "✓", "gained", "1", "+1", "-1", "3", "alike", "✓", "merges"]
    assert [line.split()[0] for line in lines] == ["1", "3", "4", "5", "6", "──", "7", "8=", "8=", "?"]
    assert "tests/basic.sh, tests/edge.sh" in next(line for line in lines if "cheat" in line)
    assert "share the first place" in shown.stderr and "next: workspaces check late" in shown.stderr


@pytest.mark.anyio
async def test_where_the_outputs_of_two_differ_is_one_call(planted: Planted) -> None:
    before = planted.runs
    async with Client(create(Settings(planted.repo.path, (planted.repo.path,), trust=planted.ledger, environment=os.environ))) as client:
        result = await client.call_tool("check", {"workspaces": ["good", "half"], "checks": ["basic"], "detail": "diff"})
    assert isinstance(result, CallToolResult)
    found: Any = result.structured_content
    assert found["diff"].splitlines()[:2] == ["--- shop/good", "+++ shop/half"]
    assert planted.runs == before


# -- the prompt ---------------------------------------------------------------------------------------------------------------------------


@in_both_eras
@pytest.mark.anyio
async def test_a_model_is_told_how_to_pick_the_winner(planted: Planted, era: Era) -> None:
    async with Client(create(Settings(planted.repo.path, (planted.repo.path,))), mode=era) as client:
        told = await client.get_prompt("pick_winner", {"workspaces": "good, half", "checks": "basic"})
        text = "".join(each.content.text for each in told.messages if isinstance(each.content, TextContent))
        steps = [
            'check(workspaces=["good", "half"], checks=["basic"])',
            'detail="ranking"',
            'detail="diff"',
            'require=["basic"]',
            "delete(",
        ]
        assert [text.find(step) for step in steps] == sorted(text.find(step) for step in steps)
        assert text.find(steps[0]) > 0
        for argument, value, expected in (
            ("workspaces", "good, ha", ["good, half", "good, hang"]),
            ("workspaces", "cheat,cheat", []),
            ("checks", "", ["basic", "edge"]),
            ("nonsense", "", []),
        ):
            completed = await client.complete(PromptReference(name="pick_winner"), {"name": argument, "value": value})
            assert completed.completion.values == expected
        for name, arguments in (("pick_winer", {}), ("pick_winner", {"workspace": "good"})):
            with pytest.raises(MCPError, match="Did you mean") as raised:
                await client.get_prompt(name, arguments)
            assert raised.value.error.code == -32602


# -- what a pass is worth -----------------------------------------------------------------------------------------------------------------

Shop = Callable[[str], Project]


@pytest.fixture
def shop(repo: Repo, home: Path) -> Shop:
    """Returns the project with settings that a person trusts."""

    def trusting(settings: str) -> Project:
        repo.write("tests/run.sh", "grep -q good cart.py\n")
        repo.write("workspaces.toml", settings)
        repo.commit("checks")
        project = Project.initialize(repo.path, trust=place({"HOME": str(home)}), environment=os.environ)
        project.trust(project.programs().fingerprint)
        return project

    return trusting


def order(result: Comparison) -> list[str]:
    return standing([row.wire() for row in result.ranking])


def test_a_pass_counts_for_what_it_proves(shop: Shop) -> None:
    project = shop("merge.require = ['must']\n[checks.must]\nrun = 'sh ./tests/run.sh'\n[checks.kept]\nrun = 'test -e notes.md'\n")
    names = ["edits", "small", "breaks", "honest"]
    edits, small, breaks, honest = (clone(project, name) for name in names)
    edits.write("tests/run.sh", "exit 0\n")
    small.write("cart.py", small.read("cart.py") + "more\n")
    breaks.write("cart.py", "good\n")
    (breaks.path / "notes.md").unlink()
    honest.write("cart.py", "good\n" * 30)
    honest.write("tests/more.sh", "true\n")
    project.check(["small", "honest"], ["kept"])
    early = project.compare(names, detail="ranking", max_chars=500)
    assert order(early) == ["apart edits", "apart small"], "what a merge requires was not run"
    project.check(names)
    found = project.compare(names, detail="ranking")
    assert order(found) == ["1 honest", "2 breaks", "control", "3 small", "4 edits"]
    why = {row.workspaces[0].split("/")[1]: row.why.split("; ") for row in found.ranking}
    assert "must is not counted: it changed tests/run.sh, which must does not protect" in why["edits"]
    assert "its base passes kept, and it does not" in why["breaks"]
    assert "its base passes kept too, which proves nothing" in why["honest"]
    assert "protect those paths" in found.warnings[0]
    with pytest.raises(InvalidArgument, match="was checked"):
        project.compare(names, detail="ranking", max_chars=500, cursor=early.next_cursor)


def test_agreement_decides_between_changes_of_one_size(shop: Shop) -> None:
    project = shop("[trash]\ndays = 3\n")
    for name, text in (("alone", "def f():\n    return 1\n"), ("one", "def f():\n    return 2\n"), ("two", "def f():\n     return 2\n")):
        clone(project, name).write("new.py", text)
    found = project.compare(["alone", "one", "two"], detail="ranking")
    assert order(found) == ["1 one", "1 two", "3 alone"]
    assert "nothing tells it from two" in found.ranking[0].why
    assert "No checks are configured" in found.warnings[0] and not any("check(" in step for step in found.next)
    with pytest.raises(InvalidArgument, match="takes no base"):
        project.compare(["alone"], base="one", detail="ranking")


def test_attempts_of_several_beginnings_stand_beside_their_own(shop: Shop, repo: Repo) -> None:
    project = shop("[checks.test]\nrun = 'sh tests/run.sh'\nprotect = ['tests/']\n")
    clone(project, "early").write("cart.py", "good\n")
    repo.write("cart.py", "good as it is\n")
    repo.commit("somebody was faster")
    clone(project, "late").write("notes.md", "more\n")
    project.check(["early", "late", "main"])
    found = project.compare(["main", "late", "early"], detail="ranking")
    assert order(found) == ["1 early", "control", "2 late", "3 main", "control"]
    assert [row.why.split("; ")[0] for row in found.ranking if row.control] == ["what main, late began with", "what early began with"]
    assert "conflicts with what it merges into" in found.ranking[0].why and "on_conflict='markers'" in found.next[-1]
    alone = project.compare(["late"], detail="ranking")
    assert order(alone) == ["control", "1 late"]
    assert "None passed a check that its base does not." in alone.summary
    assert alone.next == ("compare(workspaces=['shop/late'], detail='diff')",)
