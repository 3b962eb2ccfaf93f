"""Who decides where both sides changed the same: the rules of the configuration path by path, then what the caller asked for, else a person.

What a rule decided is only accepted when it can be what its name says (`parsing`). Else the path stays a conflict that says why. Rules come from the
folder of main alone, never from what is merged.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workspaces.backend import Backend
from workspaces.config import DRIVER, PathRule, Regenerated
from workspaces.core import Core
from workspaces.errors import InvalidArgument
from workspaces.model import By, Choice, Conflict, Decided, Merge, OnConflict, Rest, Snapshot, Workspace, path_bytes

if TYPE_CHECKING:
    from pathspec import PathSpec
    from pathspec.pattern import Pattern

    from workspaces.checks.making import Making

_TASK = 200
_CHOICES: Mapping[str, Choice] = {"union": "union", "source": "source", "target": "target"}


@dataclass(frozen=True)
class Sides:
    """What is merged: two frozen workspaces, and what the receiver is known to contain."""

    receiver: Workspace
    bringer: Workspace
    ours: Snapshot
    theirs: Snapshot
    lineage: Sequence[str] = ()

    @property
    def labels(self) -> tuple[str, str]:
        return self.receiver.name, self.bringer.name


class Rules:
    """The rules for paths, by pattern (gitignore syntax); of several that fit a path, the last one counts."""

    def __init__(self, rules: Mapping[str, PathRule]) -> None:
        self._rules, self._patterns = rules, [*rules]
        self._spec = _spec_of(rules) if rules else None

    def of(self, path: str) -> tuple[str, PathRule | None]:
        """Return the pattern that counts for a path, and its rule."""
        at = self._spec.check_file(os.fsdecode(path_bytes(path))).index if self._spec else None
        pattern = self._patterns[at] if at is not None else ""
        return pattern, None if pattern.startswith("!") else self._rules.get(pattern)


def _spec_of(rules: Mapping[str, PathRule]) -> PathSpec[Pattern]:
    from pathspec import PathSpec

    try:
        return PathSpec.from_lines("gitignore", rules)
    except ValueError as error:
        raise InvalidArgument(f"merge.paths: {error}. Nothing was merged.", "Patterns are as in .gitignore.") from None


@dataclass(frozen=True)
class Wish:
    """How a path is to be decided, and by which rule. One that `waits` is decided when it is merged, and until then as in the target; one that is
    made `last`, when nothing else conflicts."""

    choice: Choice
    rule: str
    waits: bool = False
    last: bool = False


@dataclass(frozen=True)
class Settled:
    """A merge in which everything is decided that could be."""

    merge: Merge
    decided: tuple[Decided, ...] = ()


def settled(core: Core, view: Backend, sides: Sides, on_conflict: OnConflict = "abort", making: Making | None = None) -> Settled:
    """Merge in memory. Where paths conflict, decide them by the rules; what is left, by `on_conflict`.

    Only with `making`, rules may run commands. While that has something `wanted`, what is returned is not the end of it. Without it, what these
    are for counts as decided as long as nothing is known that keeps them from it.
    """
    rest: Rest = "abort" if on_conflict == "union" else on_conflict
    if not core.config.merge.paths and on_conflict not in _CHOICES:
        return _told(core, sides, view.merge(sides.ours, sides.theirs, sides.lineage, rest, sides.labels), {}, {}, on_conflict)
    first = view.merge(sides.ours, sides.theirs, sides.lineage, "abort", sides.labels)
    wishes, refused = wished(core, view, sides, first.conflicts, on_conflict, making)
    if making and making.wanted:
        return _told(core, sides, first, wishes, refused, on_conflict)
    merged = first if not first.conflicts or (rest == "abort" and not wishes) else _merged(view, sides, rest, wishes)
    if any(wish.last for wish in wishes.values()):
        wishes, refused = _regenerated(core, making, sides, merged, first.conflicts, wishes, refused)
        merged = _merged(view, sides, rest, wishes)
    while wrong := _flaws(view, sides, merged, _deciders(wishes, merged, on_conflict)):
        refused |= wrong
        wishes, rest = _without(wrong, wishes, merged, rest)
        merged = _merged(view, sides, rest, wishes)
    return _told(core, sides, merged, wishes, refused, on_conflict)


def _without(wrong: Mapping[str, str], wishes: Mapping[str, Wish], merged: Merge, rest: Rest) -> tuple[dict[str, Wish], Rest]:
    """Return how to decide when some paths came out wrong: these not as they were, all others as before. What no rule decided was decided by
    the call as a whole, and has to be named one by one to leave some out."""
    kept = {path: wish for path, wish in wishes.items() if path not in wrong}
    if wrong.keys() <= wishes.keys():
        return kept, rest
    by_call = Wish(_CHOICES[rest], f"on_conflict={rest}")
    return {path: kept.get(path, by_call) for path in merged.decided if path in wishes or path not in wrong}, "abort"


def _deciders(wishes: Mapping[str, Wish], merged: Merge, on_conflict: OnConflict) -> dict[str, Wish]:
    """Return by what each path was decided that would have conflicted."""
    by_call = Wish(_CHOICES.get(on_conflict, "target"), f"on_conflict={on_conflict}")
    return {path: wishes.get(path, by_call) for path in merged.decided}


def _merged(view: Backend, sides: Sides, rest: Rest, wishes: Mapping[str, Wish]) -> Merge:
    choices: dict[str, Choice] = {path: wish.choice for path, wish in wishes.items()}
    return view.merge(sides.ours, sides.theirs, sides.lineage, rest, sides.labels, choices)


def wished(
    core: Core,
    view: Backend,
    sides: Sides,
    conflicts: Sequence[Conflict],
    on_conflict: OnConflict = "abort",
    making: Making | None = None,
) -> tuple[dict[str, Wish], dict[str, str]]:
    """Return how the conflicts are to be decided, and why rules that there are for some cannot decide them. What is to be regenerated is as in
    the target until then: with markers in it, no command could read it."""
    from workspaces.checks.making import Unmade

    wishes: dict[str, Wish] = {}
    refused: dict[str, str] = {}
    rules = Rules(core.config.merge.paths)
    for conflict in conflicts:
        pattern, rule = rules.of(conflict.path)
        if rule is None and on_conflict == "union":
            wishes[conflict.path] = Wish("union", "on_conflict=union")
        elif isinstance(rule, str) and rule in _CHOICES:
            wishes[conflict.path] = Wish(_CHOICES[rule], f"merge.paths {pattern!r}: {rule}")
        elif rule is not None:
            name = "regenerate" if isinstance(rule, Regenerated) else rule
            try:
                choice = _asked(core, view, sides, conflict, rule, making)
                wishes[conflict.path] = Wish(choice, f"merge.paths {pattern!r}: {name}", making is None, isinstance(rule, Regenerated))
            except Unmade as why:
                refused[conflict.path] = f"not decided by merge.paths {pattern!r}: {name}: {why}"
    return wishes, refused


def _asked(core: Core, view: Backend, sides: Sides, conflict: Conflict, rule: PathRule, making: Making | None) -> Choice:
    """Return what a rule that runs something wants of a conflict. Raises `Unmade` where it cannot."""
    from workspaces import parsing
    from workspaces.checks.making import Texts, Unmade, driving, refuse_untrusted

    refuse_untrusted(core)
    if isinstance(rule, Regenerated):
        return "target"
    if conflict.kind not in ("content", "add_add"):
        raise Unmade("that is for texts that both changed")
    if making is None:
        return "target"
    base = view.base(sides.ours, sides.theirs, sides.lineage, sides.ours)
    at = {"base": base, "ours": sides.ours, "theirs": sides.theirs}
    found = {name: view.read(each, _path_of(conflict, name), parsing.LARGEST) or b"" for name, each in at.items()}
    texts = Texts(found["base"] if conflict.base else b"", found["ours"], found["theirs"])
    return making.made(driving(rule.removeprefix(DRIVER), conflict.path, sides.ours, texts))


def _path_of(conflict: Conflict, name: str) -> str:
    side = {"base": conflict.base, "ours": conflict.ours, "theirs": conflict.theirs}[name]
    return side.path if side and side.path else conflict.path


def _regenerating(core: Core, conflicts: Sequence[Conflict]) -> dict[str, Regenerated]:
    rules = Rules(core.config.merge.paths)
    return {each.path: rule for each in conflicts if isinstance(rule := rules.of(each.path)[1], Regenerated)}


def runs_something(core: Core, view: Backend, sides: Sides) -> bool:
    """Return whether paths conflict for which a rule would run something."""
    rules = Rules(core.config.merge.paths)
    found = (rules.of(each.path)[1] for each in view.merge(sides.ours, sides.theirs, sides.lineage).conflicts)
    return any(isinstance(rule, Regenerated) or (rule or "").startswith(DRIVER) for rule in found)


def _regenerated(
    core: Core,
    making: Making | None,
    sides: Sides,
    merged: Merge,
    conflicts: Sequence[Conflict],
    wishes: Mapping[str, Wish],
    refused: Mapping[str, str],
) -> tuple[dict[str, Wish], dict[str, str]]:
    """Let generated files be made from the merged contents, once all else is decided; where they wait, see whether it is."""
    from workspaces.checks.making import Unmade, regenerating

    last, why = dict(wishes), dict(refused)
    for path, rule in _regenerating(core, conflicts).items():
        if path not in last:
            continue
        wish = last.pop(path)
        try:
            if merged.conflicts:
                raise Unmade("other paths conflict")
            contents = Snapshot(id="", contents=merged.contents)
            made = making.made(regenerating(rule.regenerate, path, contents, sides.ours)) if making else wish.choice
            last[path] = replace(wish, choice=made)
        except Unmade as error:
            why[path] = f"not decided by {wish.rule}: {error}"
    return last, why


def _flaws(view: Backend, sides: Sides, merged: Merge, rules: Mapping[str, Wish]) -> dict[str, str]:
    """Return which of the paths that a rule decided cannot be what they are named, and why. What a side has is its own affair, and where a side
    cannot be read either (JSON with comments), that says nothing."""
    from workspaces import parsing

    found: dict[str, str] = {}
    result = Snapshot(id="", contents=merged.contents)
    for path, wish in rules.items():
        if wish.waits or not parsing.kind_of(path):
            continue
        text, *theirs = (view.read(each, path, parsing.LARGEST + 1) for each in (result, sides.ours, sides.theirs))
        if text is None or text in theirs:
            continue
        why = parsing.flaw(path, text)
        if why and not any(side is not None and parsing.flaw(path, side) for side in theirs):
            found[path] = f"not decided by {wish.rule}: {why}"
    return found


def _told(
    core: Core, sides: Sides, merged: Merge, wishes: Mapping[str, Wish], refused: Mapping[str, str], on_conflict: OnConflict
) -> Settled:
    """Return the merge with what is to be said of each path that conflicted."""
    rules = _deciders(wishes, merged, on_conflict)
    conflicts = tuple(_explained(core, sides, conflict, wishes, refused) for conflict in merged.conflicts)
    decided = tuple(Decided(path=path, by=wish.rule, when_merged=wish.waits) for path, wish in rules.items())
    return Settled(merged.model_copy(update={"conflicts": conflicts}), decided)


def _explained(core: Core, sides: Sides, conflict: Conflict, wishes: Mapping[str, Wish], refused: Mapping[str, str]) -> Conflict:
    why = refused.get(conflict.path, "")
    if not why and conflict.path in wishes:
        why = f"not decided by {wishes[conflict.path].rule}: that is for texts that both changed"
    return conflict.model_copy(
        update={
            "note": "; ".join(filter(None, (conflict.note, why))),
            "ours_by": _by(core, sides.receiver, conflict.path),
            "theirs_by": _by(core, sides.bringer, conflict.path),
        }
    )


def _by(core: Core, holder: Workspace, path: str) -> By:
    """Return where a workspace has a path from: what was merged into it last and brought that path, or else itself."""
    for each in core.recent():
        brought = each.outcome.get("paths")
        if each.verb == "merge" and each.state == "done" and holder.uid in each.uids[-1:] and isinstance(brought, list) and path in brought:
            found = core.store.workspace(each.uids[0])
            if core.access.is_limited and not (found and core.sees(found)):
                break
            return By(workspace=each.workspaces[0], task=found.task[:_TASK] if found else "")
    return By(workspace=holder.id, task=holder.task[:_TASK])
