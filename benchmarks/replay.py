"""The merges of a real repository made again: whether clean ones come out as git's, and which policy would have decided the others as people did.

python benchmarks/replay.py --repo PATH [--merges 500] [--rule '*.md=union' …]
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workspaces import parsing
from workspaces.backend import Backend, find
from workspaces.config import PathRule
from workspaces.errors import WorkspacesError
from workspaces.model import Choice, Merge, Rest, Snapshot
from workspaces.resolving import Rules

RULES: Mapping[str, PathRule] = {
    "*.md": "union",
    "*.rst": "union",
    "*.txt": "union",
    "NEWS*": "union",
    "CHANGE*": "union",
    "HISTORY*": "union",
    "*.lock": "target",
    "*.svg": "target",
}


@dataclass(frozen=True)
class Made:
    """A merge as it was made."""

    ours: Snapshot
    theirs: Snapshot
    tree: str


@dataclass
class Score:
    """How a policy did on the merges with conflicts, and on the paths that conflicted."""

    merges: int = 0
    same_merges: int = 0
    decided: int = 0
    same: int = 0
    unparsed: int = 0


@dataclass
class Tally:
    """What came of all merges."""

    counts: Counter[str] = field(default_factory=Counter[str])
    scores: dict[str, Score] = field(default_factory=dict[str, Score])
    seconds: list[float] = field(default_factory=list[float])
    differing: list[str] = field(default_factory=list[str])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--repo", type=Path, required=True, help="a git repository with history; it is only read")
    asked.add_argument("--merges", type=int, default=500)
    asked.add_argument("--rule", action="append", default=[], help="PATTERN=union|source|target, later ones win; default: a few usual ones")
    given = asked.parse_args()
    rules: Mapping[str, PathRule] = {pattern: _rule(word) for pattern, _, word in (rule.rpartition("=") for rule in given.rule)} or RULES
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "checkout"
        _git(Path(folder), "clone", "-q", "--shared", "--no-checkout", str(given.repo.resolve()), str(place))
        _report(_replayed(place, given.merges, Rules(rules)), rules)


def _rule(word: str) -> PathRule:
    known: Mapping[str, PathRule] = {"union": "union", "source": "source", "target": "target"}
    return known[word]


def _git(place: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=place, capture_output=True, text=True, check=True).stdout


def _merges(place: Path, number: int) -> Iterator[Made]:
    for row in _git(place, "log", "--merges", "--min-parents=2", "--max-parents=2", f"-{number}", "--format=%P %T").splitlines():
        ours, theirs, tree = row.split()
        yield Made(_snapshot(place, ours), _snapshot(place, theirs), tree)


def _snapshot(place: Path, commit: str) -> Snapshot:
    return Snapshot(id=commit, contents=_git(place, "rev-parse", f"{commit}^{{tree}}").strip(), head=commit)


def _replayed(place: Path, number: int, rules: Rules) -> Tally:
    backend, tally = find(place), Tally()
    backend.initialize()
    for made in _merges(place, number):
        with backend.aside() as view:
            began = time.perf_counter()
            try:
                merged = view.merge(made.ours, made.theirs)
            except WorkspacesError as error:
                tally.counts[f"refused: {error.message[:60]}"] += 1
                continue
            tally.seconds.append(time.perf_counter() - began)
            if merged.conflicts:
                _judge(place, view, made, merged, rules, tally)
            else:
                _agree(place, made, merged, tally)
    return tally


def _agree(place: Path, made: Made, merged: Merge, tally: Tally) -> None:
    """Compare a clean merge with what git alone makes of it, and with what the person had in the end."""
    said = subprocess.run(
        ["git", "merge-tree", "--write-tree", made.ours.id, made.theirs.id], cwd=place, capture_output=True, text=True, check=False
    )
    same = said.returncode == 0 and said.stdout.split("\n")[0] == merged.contents
    tally.counts["clean"] += 1
    tally.counts["clean, as git alone has it"] += same
    tally.counts["clean, as the person had it"] += merged.contents == made.tree
    tally.differing += [] if same else [f"{made.ours.id} {made.theirs.id}"]


def _judge(place: Path, view: Backend, made: Made, merged: Merge, rules: Rules, tally: Tally) -> None:
    """Let each policy decide a merge that conflicts, and count where it came to the same as the person."""
    paths = [conflict.path for conflict in merged.conflicts]
    tally.counts["conflicts"] += 1
    tally.counts["conflicting paths"] += len(paths)
    by_rule = {path: rule for path in paths if isinstance(rule := rules.of(path)[1], str)}
    union: Mapping[str, Choice] = dict.fromkeys(paths, "union")
    known: Mapping[str, Choice] = {"union": "union", "source": "source", "target": "target"}
    policies: dict[str, tuple[Rest, Mapping[str, Choice]]] = {
        "source": ("source", {}),
        "target": ("target", {}),
        "union": ("abort", union),
        "path rules": ("abort", {path: known[rule] for path, rule in by_rule.items()}),
    }
    for name, (rest, choices) in policies.items():
        decided = view.merge(made.ours, made.theirs, (), rest, choices=choices)
        _score(place, view, made, decided, tally.scores.setdefault(name, Score()))


def _score(place: Path, view: Backend, made: Made, decided: Merge, score: Score) -> None:
    result, theirs = (Snapshot(id="", contents=tree) for tree in (decided.contents, made.tree))
    wrong = [path for path in decided.decided if parsing.flaw(path, view.read(result, path, parsing.LARGEST + 1) or b"")]
    accepted = [path for path in decided.decided if path not in wrong]
    score.unparsed += len(wrong)
    score.decided += len(accepted)
    score.same += sum(view.read(result, path, 1 << 26) == view.read(theirs, path, 1 << 26) for path in accepted)
    whole = not decided.conflicts and not wrong
    score.merges += whole
    score.same_merges += whole and decided.contents == made.tree


def _report(tally: Tally, rules: Mapping[str, PathRule]) -> None:
    counts, seconds = tally.counts, sorted(tally.seconds)
    print(f"{sum(tally.counts[kind] for kind in ('clean', 'conflicts'))} merges, {1000 * sum(seconds) / max(1, len(seconds)):.1f} ms each")
    for kind, number in counts.items():
        print(f"  {kind}: {number}")
    print(f"of the {counts['conflicts']} with conflicts ({counts['conflicting paths']} paths):")
    for name, score in tally.scores.items():
        print(
            f"  {name:10} decided {score.decided} paths, {score.same} as the person did; {score.unparsed} did not parse;"
            f" {score.merges} merges whole, {score.same_merges} with the person's very tree"
        )
    print("path rules: " + ", ".join(f"{pattern} {rule}" for pattern, rule in rules.items()))
    for pair in tally.differing:
        print(f"  differs from git: {pair}")


if __name__ == "__main__":
    main()
