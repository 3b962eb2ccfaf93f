"""Does a ranking find the right one? Attempts whose worth is known are planted in a small real repository, checked and ranked.

    python benchmarks/choosing.py

Prints each attempt with the place that it was planted for and the one that it got, and ends with 1 when these differ, when an attempt that changed
the tests stands above what it began with, or when anything was run that needed not be.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import repositories

from workspaces import Project
from workspaces.model import Outcome, Place

ATTEMPTS, GROUPS = 16, 4
REPEAT = 2
SECONDS = 8
"""Longest that a check may take: the attempt that hangs costs as much, each time."""

START = {
    "slug.py": '''"""Names for addresses."""


def slug(title: str) -> str:
    """Return a title as a part of an address: small letters and digits, with single hyphens between the words."""
    return title.lower().replace(" ", "-")
''',
    "tests/__init__.py": "",
    "tests/test_words.py": """import unittest

from slug import slug


class Words(unittest.TestCase):
    def test_punctuation_is_left_out(self) -> None:
        self.assertEqual(slug("Hello, World!"), "hello-world")

    def test_hyphens_are_single(self) -> None:
        self.assertEqual(slug("a  -  b"), "a-b")
""",
    "tests/test_ends.py": """import unittest

from slug import slug


class Ends(unittest.TestCase):
    def test_no_hyphen_at_the_ends(self) -> None:
        self.assertEqual(slug(" (draft) "), "draft")

    def test_nothing_stays_nothing(self) -> None:
        self.assertEqual(slug("!?"), "")
""",
    "tests/test_plain.py": """import unittest

from slug import slug


class Plain(unittest.TestCase):
    def test_plain_words_are_joined(self) -> None:
        self.assertEqual(slug("one two"), "one-two")
""",
}

HEAD = '"""Names for addresses."""\n\nimport re\n\n\ndef slug(title: str) -> str:\n'
DOC = '    """Return a title as a part of an address: small letters and digits, with single hyphens between the words."""\n'
GOOD = HEAD + DOC + '    return "-".join(re.findall("[a-z0-9]+", title.lower()))\n'
WORDS = GOOD.replace("    return", "    # What is neither a letter nor a digit parts the words.\n    return")
LONG = (
    '"""Names for addresses."""\n\n\ndef slug(title: str) -> str:\n'
    + DOC
    + """    words: list[str] = []
    word = ""
    for letter in title.lower():
        if letter in "abcdefghijklmnopqrstuvwxyz0123456789":
            word += letter
        elif word:
            words.append(word)
            word = ""
    if word:
        words.append(word)
    return "-".join(words)
"""
)
HALF = HEAD + DOC + '    return re.sub("[^a-z0-9]+", "-", title.lower().rstrip("!?"))\n'
HANGS = GOOD.replace("    return", '    while "!" in title:\n        title = title.replace("!", "!", 1)\n    return')
TESTS = ("tests/test_words.py", "tests/test_ends.py")
PASSING = "import unittest\n\n\nclass Nothing(unittest.TestCase):\n    def test_nothing(self) -> None:\n        pass\n"


@dataclass(frozen=True)
class Planted:
    """An attempt, and the place that it is to have: above the line, or below."""

    name: str
    place: int
    files: Mapping[str, str]
    is_above: bool
    said: Outcome
    """What one of its checks has to say, at least."""


def attempts(state: Path) -> list[Planted]:
    """Return the attempts, the worst first, so that their own order is not the right one. What is flaky works once for each folder in there."""
    place = f"'{state}/' + os.environ['WORKSPACES_CHECK']"
    flaky = GOOD.replace("import re\n", f"import os\nimport re\n\nif os.environ['WORKSPACES_CHECK'] != 'plain':\n    os.mkdir({place})\n")
    return [
        Planted("idle", 8, {}, False, "fail"),
        Planted("cheat", 8, dict.fromkeys(TESTS, PASSING), False, "fail"),
        Planted("flaky", 7, {"slug.py": flaky}, False, "flaky"),
        Planted("hangs", 6, {"slug.py": HANGS}, False, "timeout"),
        Planted("half", 5, {"slug.py": HALF}, True, "fail"),
        Planted("long", 4, {"slug.py": LONG}, True, "pass"),
        Planted("words", 3, {"slug.py": WORDS}, True, "pass"),
        Planted("good", 1, {"slug.py": GOOD}, True, "pass"),
        Planted("twin", 1, {"slug.py": GOOD}, True, "pass"),
    ]


def main() -> int:
    with ExitStack() as left:
        folder = Path(left.enter_context(tempfile.TemporaryDirectory()))
        shared = Path("/dev/shm")  # noqa: S108 - a confined check may write there, and nowhere else that outlives it
        state = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
        left.callback(shutil.rmtree, state)
        planted = attempts(state)
        faults = [*_ranked(folder / "ranked", state / "runs", planted), *_grouped(folder / "grouped", state / "more")]
    for fault in faults:
        print(f"✗ {fault}")
    print("as planted" if not faults else f"{len(faults)} not as planted")
    return int(bool(faults))


def _ranked(folder: Path, runs: Path, planted: Sequence[Planted]) -> list[str]:
    """Plant, check and rank attempts; print what came of it, and return what is not as it should be."""
    project = _project(folder, runs, ("words", "ends", "plain"), REPEAT)
    for each in planted:
        _write(Path(project.clone(name=each.name).workspaces[0].location), each.files)
    began = perf_counter()
    project.check([each.name for each in planted])
    judged = perf_counter()
    found = project.compare([each.name for each in planted], detail="ranking")
    print(f"{len(planted)} attempts checked in {judged - began:.1f} s, ranked in {perf_counter() - judged:.1f} s\n{found.summary}\n")
    faults = [*_told(found.ranking, {each.name: each for each in planted})]
    contents = len({tuple(sorted(each.files.items())) for each in planted if not {*TESTS} & {*each.files}})
    return faults + _counted(runs, contents * 3 * REPEAT, "the planted attempts")


def _told(ranking: Sequence[Place], planted: Mapping[str, Planted]) -> list[str]:
    faults: list[str] = []
    is_above = True
    for row in ranking:
        names = [each.rpartition("/")[2] for each in row.workspaces]
        is_above = is_above and not row.control
        print(f"{'──' if row.control else row.place:>3}  {', '.join(names):12} {row.why}")
        for each in (planted[name] for name in names if not row.control):
            if each.place != row.place or each.is_above != is_above:
                where = "above" if each.is_above else "below"
                faults.append(f"{each.name} has place {row.place}, not {each.place} {where} what it began with")
            if each.said not in row.checks.values():
                faults.append(f"{each.name} is not told to {each.said}")
    return faults


def _grouped(folder: Path, runs: Path) -> list[str]:
    """Let sixteen attempts do four things, and return what is wrong with how often a check ran."""
    project = _project(folder, runs, ("words",), repeat=1)
    for number, each in enumerate(project.clone(count=ATTEMPTS, name="try").workspaces):
        _write(Path(each.location), {"slug.py": [GOOD, WORDS, LONG, HALF][number % GROUPS]})
    names = [f"try-{number}" for number in range(1, ATTEMPTS + 1)]
    began = perf_counter()
    project.check(names)
    places = [row for row in project.compare(names, detail="ranking").ranking if not row.control]
    print(f"\n{ATTEMPTS} attempts in {GROUPS} groups checked and ranked in {perf_counter() - began:.1f} s")
    faults = [f"{len(places)} places, not {GROUPS}"] if len(places) != GROUPS else []
    return faults + _counted(runs, GROUPS + 1, "the groups")


def _counted(runs: Path, expected: int, what: str) -> list[str]:
    seen = len([*runs.iterdir()])
    print(f"{seen} runs for {what}, base included")
    return [f"{seen} runs for {what}, not {expected}"] if seen != expected else []


def _project(folder: Path, runs: Path, checks: Sequence[str], repeat: int) -> Project:
    """Make a repository with its checks, which a person trusts."""
    runs.mkdir()
    folder.mkdir()
    command = f"mktemp {runs}/XXXXXXXX && python3 -B -m unittest -q tests.test_$WORKSPACES_CHECK"
    rules = f"run = '{command}'\nprotect = ['tests/']\nrepeat = {repeat}\ntimeout_seconds = {SECONDS}\n"
    _write(folder, {**START, "workspaces.toml": "".join(f"[checks.{name}]\n{rules}" for name in checks)})
    repositories.run(folder, "init", "--quiet")
    repositories.run(folder, "config", "user.name", "Bench")
    repositories.run(folder, "config", "user.email", "bench@localhost")
    repositories.run(folder, "add", "--all")
    repositories.run(folder, "commit", "--quiet", "--message", "start")
    project = Project.initialize(folder, trust=folder.parent / f"{folder.name}.trust", environment=os.environ)
    project.trust(project.programs().fingerprint)
    return project


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
