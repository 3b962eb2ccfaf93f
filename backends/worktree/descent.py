"""What commits descend from. Of two of them that never changes, so it is remembered: by the commit since which it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from workspaces.model import Meeting

from ..git import Git
from . import commits

Rows = Mapping[str, frozenset[str]]
"""Commits, each with its parents: all that one has in its history, itself too, and another has not."""
_since: dict[tuple[str, str], Rows] = {}
_REMEMBERED, _LONGEST = 10_000, 200
"""Histories that are remembered, and the commits of the longest of these."""


def common(git: Git, meetings: Sequence[Meeting]) -> list[str]:
    """Return the one commit in which the two of each meeting meet; nothing where it takes a closer look to say which. Git looks at the history once
    for each commit in which some may meet.

    It is the last that theirs is known to be made from, unless the two have something in common that came later.
    """
    tips: dict[str, set[str]] = {}
    for meeting in meetings:
        for base in meeting.lineage[-1:]:
            tips.setdefault(base, set()).update((_id(meeting), meeting.theirs.id, *meeting.lineage))
    found = {base: _looked_up(git, base, names) for base, names in tips.items()}
    return [next((base for base in each.lineage[-1:] if _is_all(base, each, found[base])), "") for each in meetings]


def _id(meeting: Meeting) -> str:
    return meeting.ours.id or meeting.ours.head


def _is_all(base: str, meeting: Meeting, since: Mapping[str, Rows]) -> bool:
    """Return whether the base is all that the two have in common."""
    theirs = since[meeting.theirs.id]
    descends = meeting.theirs.id == base or any(base in parents for parents in theirs.values())
    return descends and all(theirs.keys().isdisjoint(since[name]) for name in (_id(meeting), *meeting.lineage))


def distance(git: Git, old: str, new: str) -> int:
    """Return how many commits one has in its history, itself too, that another has not."""
    known = _known(new, old)
    return int(git.line("rev-list", "--count", new, f"^{old}")) if known is None else len(known)


def _looked_up(git: Git, base: str, tips: Iterable[str]) -> dict[str, Rows]:
    """Return what each of some commits has in its history that the base has not."""
    found = {tip: rows for tip in tips if (rows := _known(tip, base)) is not None}
    if left := {*tips} - found.keys():
        unknown = sorted(left.union(*(commits.parents_of(tip) or () for tip in left)))
        said = git.run("rev-list", "--parents", "--stdin", stdin="".join(f"{name}\n" for name in (*unknown, f"^{base}")).encode())
        parents = {commit: frozenset(above) for commit, *above in (row.split() for row in said.decode().splitlines())}
        found |= {tip: {name: parents[name] for name in _reached(tip, parents)} for tip in unknown}
        if not (git.common_dir / "shallow").exists():  # of such a repository, more may be known later
            for tip in unknown:
                _remember(tip, base, found[tip])
    return found


def _known(tip: str, base: str) -> Rows | None:
    """Return what a commit has in its history that a base has not, as far as that is remembered, or follows from what is: of one that was made
    here from others."""
    if tip == base:
        return {}
    found = _since.get((tip, base))
    parents = commits.parents_of(tip) if found is None else None
    if parents is None:
        return found
    above = {name: _since.get((name, base)) for name in parents if name != base}
    if None in above.values() or (base not in parents and not any(name in (rows or ()) for name, rows in above.items())):
        return None  # the second: it might be in the history of the base itself
    rows = {tip: parents} | {name: each for rows in above.values() for name, each in (rows or {}).items()}
    _remember(tip, base, rows)
    return rows


def _remember(tip: str, base: str, rows: Rows) -> None:
    if len(_since) >= _REMEMBERED:
        _since.clear()
    if len(rows) <= _LONGEST:
        _since[tip, base] = rows


def _reached(tip: str, parents: Mapping[str, Iterable[str]]) -> Iterator[str]:
    waiting, met = [tip], set[str]()
    while waiting:
        name = waiting.pop()
        if name in parents and name not in met:
            met.add(name)
            waiting += parents[name]
            yield name
