"""What must be there, told from the answers alone: a ledger kept by whoever asked, and compared with the project when nobody is at work.

Work is counted in tokens: folders of a few files that are put into a workspace by one rename, never changed, and named by number. `certain` is
what a workspace has for sure, `maybe` what it may have, because somebody died before he answered. A token that an undo or a restore may have
taken away is `doubtful` everywhere, for that removal is itself work, which merges carry further. It still must be whole or absent.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from support import Repo

from workspaces import Project
from workspaces.errors import WorkspacesError
from workspaces.model import MAIN, Checkpointed, Cloned, Deleted, MergeResult, Operation

from .calls import Answer, Call, Checkpoint, Clone, Delete, Merge, Restore
from .invariants import broken
from .stage import UNCOMMITTED

TOKENS = "tokens"
PARTS = ("one.txt", "two.txt", "three.txt")
_SOMEBODY = "?"
"""The parent of a workspace whose own may have been deleted: it is one of those above."""
Fate = Literal["live", "deleted", "unknown"]
BY_DESIGN = frozenset(
    {"busy", "not_found", "exists", "has_children", "unmerged_changes", "target_dirty", "target_moved", "not_allowed", "invalid_argument"}
)
"""Refusals that agents who know nothing of each other cause each other. Any other is somebody's fault."""


@dataclass(frozen=True)
class Brought:
    """What a merge had to bring when it was asked for, and what its target had before."""

    call: Merge
    certain: frozenset[str]
    before: frozenset[str]


@dataclass
class Beliefs:
    parent: dict[str, str] = field(default_factory=dict[str, str])
    fate: dict[str, Fate] = field(default_factory=lambda: {MAIN: "live"})
    certain: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    maybe: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    own: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """What was put into a workspace by its owner: all that a merge between siblings has to bring."""
    doubtful: set[str] = field(default_factory=set[str])
    points: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict[str, tuple[str, frozenset[str]]])
    """Restore point → its workspace, and what that had for certain."""
    asked: dict[str, Brought] = field(default_factory=dict[str, Brought])
    """Merges by their messages."""
    acknowledged: dict[str, str] = field(default_factory=dict[str, str])
    """The message of each merge that was acknowledged → the commit that it made, if any."""
    doomed: set[str] = field(default_factory=set[str])
    """Workspaces of which a delete went unanswered: their clones may be gone too."""
    under_way: dict[int, tuple[Call, frozenset[str]]] = field(default_factory=dict[int, tuple[Call, frozenset[str]]])
    """What was asked for and is not answered yet."""
    faults: list[str] = field(default_factory=list[str])
    """Refusals for which there was no reason."""

    def put(self, workspace: str, token: str) -> None:
        """Note a token that its owner has just put there."""
        self.own[workspace].add(token)
        self.certain[workspace].add(token)
        self.maybe[workspace].add(token)

    def live(self) -> list[str]:
        """Return the workspaces that are there for sure."""
        return [name for name, fate in self.fate.items() if fate == "live" and not self._in_doubt(name)]

    def _above(self, name: str) -> list[str]:
        """Return the workspaces from which this one descends for sure, itself and `main` included."""
        above = [name]
        while above[-1] in self.parent:
            above.append(self.parent[above[-1]])
        return [*above, MAIN]

    def _in_doubt(self, name: str) -> bool:
        return not self.doomed.isdisjoint(self._above(name))

    # -- as calls are asked and answered

    def ask(self, number: int, call: Call) -> None:
        """Note what a call sets out to do. The number tells it from others."""
        self.under_way[number] = (call, self._begun(call))

    def answer(self, number: int, answer: Answer) -> None:
        """Note what came of a call."""
        self._ended(*self.under_way.pop(number), answer)

    def as_if_all_died(self) -> Beliefs:
        """Return what is believed if nobody ever answers what is asked now."""
        left = deepcopy(self)
        for call, had in left.under_way.values():
            left._ended(call, had, Answer())
        left.under_way, left.faults = {}, []
        return left

    def _begun(self, call: Call) -> frozenset[str]:
        """Return what the source of a call has for sure, or what it is about."""
        if isinstance(call, Clone):
            self.fate[call.name], self.parent[call.name] = "unknown", call.source
            return self._sees(call.source, call.name)
        if isinstance(call, Merge):
            certain = self._sees(call.source, call.target)
            if call.target not in self._above(call.source) and call.source not in self._above(call.target):
                certain = frozenset(self.own[call.source])
            self.asked[call.message] = Brought(call, certain, frozenset(self.certain[call.target]))
            return certain
        if isinstance(call, Delete) and call.children == "reparent":
            for child in [child for child, parent in self.parent.items() if parent in call.workspaces]:
                self.parent[child] = _SOMEBODY
        return frozenset(self.certain[call.workspace]) if isinstance(call, Checkpoint) else frozenset()

    def _sees(self, source: str, target: str) -> frozenset[str]:
        self.maybe[target] |= self.maybe[source]
        return frozenset(self.certain[source])

    def _ended(self, call: Call, had: frozenset[str], answer: Answer) -> None:
        if answer.refused and answer.refused not in BY_DESIGN:
            self.faults.append(f"{call} was refused as {answer.refused}: {answer.said}")
        result = answer.result
        if isinstance(call, Clone):
            self.maybe[call.name] |= self.maybe[call.source]
            if result is not None and Cloned.model_validate(result).workspaces:
                self.fate[call.name] = "live"
                self.certain[call.name] |= had
        elif isinstance(call, Merge):
            self.maybe[call.target] |= self.maybe[call.source]
            if result is not None:
                self._merged(call, had, MergeResult.model_validate(result))
        elif isinstance(call, Checkpoint) and result is not None:
            self.points[Checkpointed.model_validate(result).restore_point] = (call.workspace, had)
        elif isinstance(call, Restore):
            self._restored(call, answer)
        elif isinstance(call, Delete):
            self._deleted(call, answer)

    def _merged(self, call: Merge, had: frozenset[str], result: MergeResult) -> None:
        if result.status in ("merged", "up_to_date"):
            self.certain[call.target] |= had
        if result.status == "merged":
            self.acknowledged[call.message] = result.commit

    def _restored(self, call: Restore, answer: Answer) -> None:
        if call.to and not answer.refused:
            self.doubtful |= self.maybe[call.workspace] - self.points[call.to][1]
        elif not call.to and answer.result is not None:
            self.fate[call.workspace] = "live"
        elif not call.to and not answer.refused:
            self.fate[call.workspace] = "unknown"

    def _deleted(self, call: Delete, answer: Answer) -> None:
        if answer.result is not None:
            gone = Deleted.model_validate(answer.result).deleted
            self.fate |= {name.rpartition("/")[2]: "deleted" for name in gone}
        elif not answer.refused:
            self.fate |= dict.fromkeys(call.workspaces, "unknown")
            self.doomed |= {*call.workspaces} if call.children == "delete" else set()


# -- compared with what is there ------------------------------------------------------------------------------------------------------------


def contradicted(beliefs: Beliefs, root: Path) -> list[str]:
    """Return all that is not as it was said to be. Nobody is at work meanwhile."""
    try:
        return [*_contradicted(beliefs, root, broken(root))]
    except WorkspacesError as error:
        return [f"{type(error).__name__}: {error.message}"]


def _contradicted(beliefs: Beliefs, root: Path, wrong: list[str]) -> list[str]:
    project = Project.open(root)
    log = project.log(10**6).operations
    doubtful = beliefs.doubtful | set(_taken_back(beliefs, log))
    # An undo that died may have taken a clone or a delete back, and not have come to saying so.
    taken_back = [each for each in log if (each.state == "undone" and each.verb in ("clone", "delete")) or "undoes" in each.arguments]
    unsure = {name.rpartition("/")[2] for each in taken_back for name in each.workspaces} - {MAIN}
    there = {each.name: Path(each.location) for each in project.status(detail="names").workspaces}
    for name, folder in there.items():
        expected = beliefs.certain[name] - doubtful if name not in unsure else set[str]()
        wrong += [f"{name}: {each}" for each in _tokens(folder, expected, beliefs.maybe[name] | beliefs.doubtful)]
    wrong += _fates(beliefs, there.keys() | unsure, there.keys() - unsure)
    wrong += _acknowledged(beliefs, root, log)
    return wrong + [beliefs.faults.pop() for _ in list(beliefs.faults)]


def _taken_back(beliefs: Beliefs, log: tuple[Operation, ...]) -> Iterator[str]:
    """Return the tokens that an undo may have taken away: from main just what the merge brought, from others all that came since."""
    for operation in log:
        brought = beliefs.asked.get(str(operation.arguments.get("message", "")))
        if operation.state == "undone" and brought is not None:
            yield from (
                beliefs.maybe[brought.call.source] if brought.call.target == MAIN else beliefs.maybe[brought.call.target] - brought.before
            )
        if operation.state == "undone" and operation.verb == "restore":
            yield from beliefs.maybe[operation.moves.rpartition("/")[2]]


def _tokens(folder: Path, expected: set[str], possible: set[str]) -> Iterator[str]:
    place = folder / TOKENS
    found = {each.name for each in place.iterdir()} if place.is_dir() else set[str]()
    yield from (f"{token} is lost" for token in sorted(expected - found))
    yield from (f"{token} came from nowhere" for token in sorted(found - possible))
    for token in found:
        if {part: _read(place / token / part) for part in PARTS} != {part: written(token, part) for part in PARTS}:
            yield f"{token} is not whole: {sorted(each.name for each in (place / token).iterdir())}"


def _read(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def written(token: str, part: str) -> str:
    """Return what a file of a token says."""
    return f"{token} {part}\n" * 30


def _fates(beliefs: Beliefs, allowed: set[str], sure: set[str]) -> Iterator[str]:
    yield from (f"{name} is gone, though it was made and never deleted" for name in beliefs.live() if name not in allowed)
    yield from (f"{name} is there, though it was deleted" for name in sorted(sure) if beliefs.fate.get(name) == "deleted")
    yield from (f"{name} came from nowhere" for name in sorted(sure) if name not in beliefs.fate)


def _acknowledged(beliefs: Beliefs, root: Path, log: tuple[Operation, ...]) -> Iterator[str]:
    """Every merge that was acknowledged is in the log as done or undone; what the log says is done in main is in main's history."""
    states = {str(each.arguments.get("message", "")): each.state for each in log if each.verb == "merge"}
    yield from (
        f"{message} was acknowledged, but the log says {states.get(message)}"
        for message in beliefs.acknowledged
        if states.get(message) not in ("done", "undone")
    )
    if not (root / ".git").is_dir():
        return
    repo = Repo(root)
    history = set(repo.git("rev-list", "HEAD").split())
    for message, commit in beliefs.acknowledged.items():
        if commit and beliefs.asked[message].call.target == MAIN and states.get(message) == "done" and commit not in history:
            yield f"the commit {commit} of {message} is not in main's history"
    told = {*repo.git("log", "--format=%s", "HEAD").splitlines()}
    for message, brought in beliefs.asked.items():
        if brought.call.target == MAIN and states.get(message) == "failed" and message in told:
            yield f"{message} failed, but main's history has it"
    if (status := repo.status()) != [f" M {UNCOMMITTED}"]:
        yield f"main's status is {status}"


def unrestorable(beliefs: Beliefs, root: Path, most: int) -> Iterator[str]:
    """Bring deleted workspaces back, and others to their restore points; return what is not as it was kept."""
    project = Project.open(root)
    log = project.log(10**6).operations
    doubtful = beliefs.doubtful | set(_taken_back(beliefs, log))
    there = {each.name for each in project.status(detail="names").workspaces}
    for name in [name for name, fate in beliefs.fate.items() if fate == "deleted" and name not in there][:most]:
        try:
            folder = Path(project.restore(name).workspace.location)
        except WorkspacesError as error:
            yield f"{name} cannot be brought back: {error.message}"
            continue
        yield from (f"{name}, brought back: {each}" for each in _tokens(folder, beliefs.certain[name] - doubtful, beliefs.maybe[name]))
        beliefs.fate[name] = "live"
    there = {each.name for each in project.status(detail="names").workspaces}
    kept = [(point, name, had) for point, (name, had) in beliefs.points.items() if name in there and name != MAIN]
    for point, name, had in kept[-most:]:
        try:
            folder = Path(project.restore(name, point).workspace.location)
        except WorkspacesError as error:
            yield f"{name} cannot be brought to {point}: {error.message}"
            continue
        yield from (f"{point}: {each}" for each in _tokens(folder, {*had} - doubtful, beliefs.maybe[name]))
        beliefs.doubtful |= beliefs.maybe[name] - had


def beside(root: Path) -> str:
    """Do what people do with plain git meanwhile; return what it complained of more than once.

    Once is no fault: git lists the worktrees, then looks at each, and complains of one that was deleted in between.
    """
    commands = (["status"], ["fetch", "-q", "."], ["worktree", "list"], ["gc", "-q", "--prune=now"], ["worktree", "prune"])
    return "; ".join(said for command in commands if (said := _complaint(root, command) and _complaint(root, command)))


def _complaint(root: Path, command: list[str]) -> str:
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"git {' '.join(command)}: {done.stderr.strip()}"
