"""Saying counts, paths and sizes the same way everywhere, and within bounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from workspaces.model import Change, Conflict, Disk, Merge, Snapshot, path_shown

MOST_CONFLICTS, MOST_FILES = 100, 500
"""Most that one answer lists; what is beyond is counted."""
LONGEST_SIDE = 6_000
"""Characters of one side of one hunk."""
HUNK_BUDGET = 20_000
"""Characters of conflicting text in one answer; beyond it, conflicts come without their hunks."""


_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def call(tool: str, why: str = "", /, **arguments: str | int | Sequence[str]) -> str:
    """Return a call of a tool just as it can be made, without the arguments that say nothing; before it, when or what for."""
    said = ", ".join(f"{name}={_literal(value)}" for name, value in arguments.items() if value)
    return f"{why}: {tool}({said})" if why else f"{tool}({said})"


def begin(main: str) -> str:
    """Return the call with which work on a project begins."""
    return call("clone", "with a task", source=main, count=3)


def _literal(value: str | int | Sequence[str]) -> str:
    """Return a value as models write it: with single quotes, which JSON does not escape."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value if isinstance(value, str | int) else [*value])


def whole(text: str) -> str:
    """Return text that can be stored and sent: half characters become question marks."""
    return text.encode(errors="replace").decode()


def plain(text: str) -> str:
    """Return text that can also be shown anywhere: control characters, and what turns the direction of what follows, become question marks."""
    return _STEERING.sub("?", whole(text).replace("\r\n", "\n"))


def listed(paths: Iterable[str], most: int = 5) -> str:
    """Return paths as a short list for a sentence, in which they cannot pose as anything else."""
    names = [path_shown(name) for name in paths]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def emptied(paths: Iterable[str], changes: Iterable[Change]) -> str:
    """Say how the folders of submodules are emptied that other things take the place of; nothing where none of the paths in the way is in one."""
    gone = {change.old_path or change.path for change in changes if change.status in ("deleted", "type_changed", "renamed")}
    submodules = sorted(gone.intersection(path[:at] for path in paths for at, sign in enumerate(path) if sign == "/"))
    return f" When nothing in there is needed any more: git submodule deinit {' '.join(map(path_shown, submodules))}." if submodules else ""


def unsure(name: str, merge: Merge) -> list[str]:
    """Return what to know of a merge in which no path conflicts, and of which git says nonetheless that it does."""
    why = f"{name}: a folder was moved to several places, or to one that is taken, so what is new in it stays where it was put"
    return [f"{why}. Look at {listed(merge.unsure)}."] if merge.unsure else []


def sized(changes: Sequence[Change]) -> str:
    added, removed = sum(change.insertions for change in changes), sum(change.deletions for change in changes)
    return f"{counted(len(changes), 'file')} +{added} -{removed}"


def weight(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size:,} bytes"


def on_disk(found: Sequence[Disk]) -> str:
    """Return a sentence on what workspaces take on the disk, with a space before it; nothing for none."""
    own, shares = sum(each.own for each in found), any(each.shared for each in found)
    if not found:
        return ""
    if any(each.shared is None for each in found):
        return f" Their files take {weight(own)} on disk; what of it is shared with others, this file system does not tell."
    return f" Their files take {weight(own)} on disk " + ("of their own, beside what they share." if shares else "and share nothing.")


def _fitting(conflict: Conflict) -> Conflict:
    """Return a conflict none of whose texts is longer than one may be; that one was cut is said."""
    hunks = tuple(
        hunk.model_copy(update={"ours": hunk.ours[:LONGEST_SIDE], "base": hunk.base[:LONGEST_SIDE], "theirs": hunk.theirs[:LONGEST_SIDE]})
        for hunk in conflict.hunks
    )
    if hunks == conflict.hunks:
        return conflict
    said = f"texts are cut at {LONGEST_SIDE:,} characters"
    return conflict.model_copy(update={"hunks": hunks, "note": f"{conflict.note}; {said}" if conflict.note else said})


def bounded(conflicts: Sequence[Conflict], budget: int = HUNK_BUDGET) -> tuple[tuple[Conflict, ...], tuple[str, ...]]:
    """Return as many of the conflicts as an answer can hold, with as many hunks as fit into the budget; and warnings of what was left out."""
    kept: list[Conflict] = []
    bare = 0
    for conflict in map(_fitting, conflicts[:MOST_CONFLICTS]):
        cost = sum(len(hunk.ours) + len(hunk.base) + len(hunk.theirs) for hunk in conflict.hunks)
        budget -= cost
        bare += budget < 0 and bool(conflict.hunks)
        kept.append(conflict if budget >= 0 else conflict.model_copy(update={"hunks": ()}))
    more = len(conflicts) - len(kept)
    warnings = [f"{counted(bare, 'conflict')} without hunks, to keep the answer short."] if bare else []
    warnings += [f"{counted(more, 'conflict')} more, not listed."] if more else []
    return tuple(kept), tuple(warnings)


def flaws(name: str, snapshot: Snapshot) -> tuple[str, ...]:
    """Return what a snapshot could not hold as it is, as warnings."""
    found: list[str] = []
    if snapshot.left_out:
        found.append(
            f"{name} has repositories of its own inside, which are neither compared, copied nor merged: {listed(snapshot.left_out)}."
        )
    if snapshot.ahead:
        found.append(f"{name} has commits of its own in {listed(snapshot.ahead)}; a merge brings the files, not those commits.")
    if snapshot.skipped:
        found.append(f"Left out of {name}: {listed(snapshot.skipped)}.")
    if snapshot.unsteady:
        found.append(f"Being written in {name} while it was read, so perhaps in the middle of a change: {listed(snapshot.unsteady)}.")
    if snapshot.unmerged:
        found.append(f"{name} is in the middle of a merge of its own; unmerged: {listed(snapshot.unmerged)}.")
    return tuple(found)
