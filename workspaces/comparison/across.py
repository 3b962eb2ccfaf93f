"""Attempts beside each other: which conflict, which are alike, and how many of them can be had together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from workspaces.backend import Backend
from workspaces.comparison.attempts import Attempt
from workspaces.comparison.ruled import Deciding
from workspaces.core import Core, Progress
from workspaces.model import Alike, Meeting, Pair, Snapshot, path_bytes
from workspaces.resolving import Sides, settled
from workspaces.wording import fitting

if TYPE_CHECKING:
    from workspaces.outline import Side

COMPARING = "comparing pairs"
"""What is reported before every two are compared, and when that is done."""
_EXACT = 20
_PATCH = 1 << 20
"""Characters of the longest patch that is compared with others."""
_FILES = 50
"""Files of the largest change whose syntax is compared with others'."""


def pairs(core: Core, view: Backend, attempts: Sequence[Attempt], progress: Progress, rules: Deciding) -> list[Pair]:
    """Return the pairs that conflict, once the rules have decided what they can."""
    traces = {attempt.workspace.id: _Trace.of(attempt) for attempt in attempts}
    close = [(a, b) for a, b in combinations(attempts, 2) if traces[a.workspace.id].may_clash(traces[b.workspace.id])]
    progress(0, len(close), COMPARING)
    meetings = [Meeting(ours=a.snapshot, theirs=b.snapshot, lineage=tuple(core.granted(a.workspace, b.workspace))) for a, b in close]
    clashes = view.clashes(meetings)
    if core.config.merge.paths:
        sides = [
            Sides(a.workspace, b.workspace, a.snapshot, b.snapshot, each.lineage) for (a, b), each in zip(close, meetings, strict=True)
        ]
        clashes = [rules.left(two, conflicts) for two, conflicts in zip(sides, clashes, strict=True)]
    progress(len(close), len(close), COMPARING)
    return [
        Pair(a=a.workspace.id, b=b.workspace.id, conflicts=tuple(conflicts))
        for (a, b), conflicts in zip(close, clashes, strict=True)
        if conflicts
    ]


def with_others(attempts: Sequence[Attempt], others: Sequence[str]) -> list[Pair]:
    """Return the attempts that conflict with what they are compared with, the `others`, as pairs of the two: `ours` is what those have."""
    return [
        Pair(a=other, b=attempt.workspace.id, conflicts=tuple(map(fitting, attempt.merge.conflicts)))
        for attempt, other in zip(attempts, others, strict=True)
        if attempt.merge.conflicts
    ]


@dataclass(frozen=True)
class _Trace:
    """Where an attempt changed something: its paths, and the folders above them."""

    contents: str
    paths: frozenset[bytes]
    folders: frozenset[bytes]
    moves: bool

    @classmethod
    def of(cls, attempt: Attempt) -> _Trace:
        paths, changes = frozenset(map(path_bytes, attempt.diff.paths)), attempt.diff.changes
        moves = any(change.status in ("renamed", "copied") for change in changes)
        return cls(attempt.snapshot.contents, paths, frozenset(_folders(paths)), moves)

    def may_clash(self, other: _Trace) -> bool:
        if self.contents == other.contents or not self.paths or not other.paths:
            return False
        if self.moves or other.moves or not self.paths.isdisjoint(other.paths):
            return True
        return not self.paths.isdisjoint(other.folders) or not other.paths.isdisjoint(self.folders)


def _folders(paths: frozenset[bytes]) -> set[bytes]:
    """Return the folders that the paths are in, each met once: a tree may be deep."""
    found: set[bytes] = set()
    for path in paths:
        folder = path.rpartition(b"/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition(b"/")[0]
    return found


# -- alike --------------------------------------------------------------------------------------------------------------------------------


def groups(view: Backend, attempts: Sequence[Attempt]) -> list[tuple[Alike, tuple[str, ...]]]:
    """Return the groups of attempts that are alike, the closest kind first; a looser group is told where it holds more than a closer one."""
    patches = {id(attempt): _patch(view, attempt) for attempt in _rivals(attempts)}
    syntax = _syntax(view, attempts)
    kinds: list[tuple[Alike, Callable[[Attempt], Hashable]]] = [
        ("identical", lambda attempt: attempt.snapshot.contents),
        ("same_patch", lambda attempt: patches.get(id(attempt)) or attempt.snapshot.contents),
        ("same_syntax", lambda attempt: syntax.get(id(attempt)) or attempt.snapshot.contents),
    ]
    found: dict[tuple[str, ...], Alike] = {}
    for kind, key in kinds:
        for members in _by(attempts, key):
            found.setdefault(tuple(attempt.workspace.id for attempt in members), kind)
    return [(kind, ids) for ids, kind in found.items()]


def _by(attempts: Iterable[Attempt], key: Callable[[Attempt], Hashable]) -> list[list[Attempt]]:
    """Return the attempts that share a key, two and more of them."""
    found: dict[Hashable, list[Attempt]] = {}
    for attempt in attempts:
        found.setdefault(key(attempt), []).append(attempt)
    return [members for members in found.values() if len(members) > 1]


def _rivals(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts that changed the same paths by as many lines, from different beginnings: from the same one, equal patches give equal
    contents."""
    changed = [attempt for attempt in attempts if attempt.diff.changes]
    alike = _by(changed, lambda attempt: attempt.diff.changes)
    return [attempt for members in alike if len({each.base.contents for each in members}) > 1 for attempt in members]


def _patch(view: Backend, attempt: Attempt) -> str:
    """Return a digest of what was changed, wherever in the files: the patch without line numbers and object ids."""
    text = view.patch(attempt.base, attempt.snapshot, (), _PATCH)
    if len(text) >= _PATCH or any(change.binary for change in attempt.diff.changes) or "not shown)\n" in text:
        return ""
    bare = re.sub(r"^index .*$|^@@ .*$", "@@", text, flags=re.MULTILINE)
    return hashlib.sha256(bare.encode(errors="surrogatepass")).hexdigest()


def _syntax(view: Backend, attempts: Sequence[Attempt]) -> dict[int, str]:
    """Return for attempts that changed the same paths, from the same beginning, a digest of what these hold but for comments and layout."""
    changed = [attempt for attempt in attempts if 0 < len(attempt.diff.changes) <= _FILES]
    alike = _by(changed, lambda attempt: (attempt.base.contents, tuple((each.path, each.status) for each in attempt.diff.changes)))
    close = [attempt for members in alike if len({each.snapshot.contents for each in members}) > 1 for attempt in members]
    if not close:
        return {}
    from workspaces import outline

    wanted = [(attempt.snapshot, change.path) for attempt in close for change in attempt.diff.changes]
    held = {place: outline.Side(place[1], data) for place, data in outline.contents(view, wanted).items()}
    outline.read_all(held.values())
    return {id(attempt): _whole(attempt, held) for attempt in close}


def _whole(attempt: Attempt, held: dict[tuple[str, str], Side]) -> str:
    sides = [held[attempt.snapshot.id, change.path] for change in attempt.diff.changes]
    gone = [change.status == "deleted" for change in attempt.diff.changes]
    if any(side.data is None and not deleted for side, deleted in zip(sides, gone, strict=True)):
        return ""
    from workspaces.outline import parts_of

    told = [f"{side.path} {parts_of(side).whole or side.key[1]}" for side in sides]
    return hashlib.sha256("\n".join([attempt.base.contents, *told]).encode(errors="surrogatepass")).hexdigest()


# -- together -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Together:
    """What merges together, in the order in which it does; and the paths in which others conflict with that, though with none of it alone."""

    ids: tuple[str, ...] = ()
    left: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


def compatible(core: Core, view: Backend, attempts: Sequence[Attempt], found: Sequence[Pair], progress: Progress) -> Together:
    """Return the largest set found that merges together: each on top of the ones before, as one commit."""
    able = {attempt.workspace.id: attempt for attempt in attempts if attempt.verdict == "clean"}
    enemies: dict[str, set[str]] = {name: set() for name in able}
    for pair in found:
        if pair.a in enemies and pair.b in enemies:
            enemies[pair.a].add(pair.b)
            enemies[pair.b].add(pair.a)
    chosen = {name for part in _parts(enemies) for name in _friends(part, enemies)}
    friends = [attempt for name, attempt in able.items() if name in chosen]
    if _stack(core, view, friends):
        return Together(tuple(each.workspace.id for each in friends))
    return _merged(core, view, friends, progress)


def _stack(core: Core, view: Backend, attempts: Sequence[Attempt]) -> bool:
    """Return whether it is told at once that all merge into their parents, one on top of the other."""
    if not core.backend.capabilities.foresees:
        return False
    parts: dict[str, list[Meeting]] = {}
    for each in attempts:
        parent = core.parent(each.workspace)
        lineage = tuple(core.granted(parent, each.workspace))
        parts.setdefault(parent.id, []).append(Meeting(ours=each.against, theirs=each.snapshot, lineage=lineage))
    return all(len(meetings) == 1 or view.stack(meetings) for meetings in parts.values())  # each by itself is known to merge


def _merged(core: Core, view: Backend, attempts: Sequence[Attempt], progress: Progress) -> Together:
    """Merge one on top of the other, and return what did. What conflicts with several, though with none of them alone, is tried
    once more at the end."""
    tops: dict[str, Snapshot] = {}
    landed: list[str] = []
    left: dict[str, Sequence[str]] = {}
    waiting = list(attempts)
    for _ in range(2):
        late: list[Attempt] = []
        left = {}
        for number, attempt in enumerate(waiting):
            progress(number, len(waiting), "merging all that go together")
            parent = core.parent(attempt.workspace)
            top = tops.get(parent.id, attempt.against)
            merged = settled(
                core, view, Sides(parent, attempt.workspace, top, attempt.snapshot, core.granted(parent, attempt.workspace))
            ).merge
            if merged.conflicts:
                late.append(attempt)
                left[attempt.workspace.id] = [each.path for each in merged.conflicts]
                continue
            tops[parent.id] = view.graft(Snapshot(id="", contents=merged.contents), top.id)
            landed.append(attempt.workspace.id)
        waiting = late
    return Together(tuple(landed), left)


def _parts(enemies: dict[str, set[str]]) -> list[list[str]]:
    """Return the names in parts that have nothing against each other, each in order."""
    parts: list[list[str]] = []
    met: set[str] = set()
    for name in enemies:
        waiting, part = [name], set[str]()
        while waiting:
            each = waiting.pop()
            if each not in met:
                met.add(each)
                part.add(each)
                waiting += enemies[each]
        parts += [[each for each in enemies if each in part]] if part else []
    return parts


def _friends(names: Sequence[str], enemies: dict[str, set[str]]) -> tuple[str, ...]:
    """Return a largest set without a conflicting pair: exact for twenty names, beyond that built from the least conflicting on."""
    if len(names) <= _EXACT:
        return _largest(names, enemies)
    left, chosen = set(names), list[str]()
    while left:
        best = min((name for name in names if name in left), key=lambda name: len(enemies[name] & left))
        chosen.append(best)
        left -= {best, *enemies[best]}
    return tuple(chosen)


def _largest(names: Sequence[str], enemies: dict[str, set[str]]) -> tuple[str, ...]:
    if not names:
        return ()
    first, rest = names[0], names[1:]
    friends = [name for name in rest if name not in enemies[first]]
    taken = (first, *_largest(friends, enemies))
    if len(friends) == len(rest):
        return taken
    left = _largest(rest, enemies)
    return taken if len(taken) >= len(left) else left
