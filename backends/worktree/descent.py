"""What pairs of snapshots have in common, worked out for many pairs with one look at the history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from workspaces.model import Meeting

from ..git import Git


def common(git: Git, meetings: Sequence[Meeting]) -> list[str]:
    """Return the one commit in which the two of each meeting meet; nothing where it takes a closer look to say which.

    It is what theirs was made from, unless the two have something in common that came later.
    """
    bases = {meeting.lineage[0] for meeting in meetings if meeting.lineage}
    since = {base: _Since(git, base, [meeting for meeting in meetings if meeting.lineage[:1] == (base,)]) for base in bases}
    return [meeting.lineage[0] if meeting.lineage and since[meeting.lineage[0]].is_all(meeting) else "" for meeting in meetings]


class _Since:
    """The history of some meetings since a commit."""

    def __init__(self, git: Git, base: str, meetings: Sequence[Meeting]) -> None:
        self._base = base
        tips = {name for meeting in meetings for name in (meeting.ours.id, meeting.theirs.id, *meeting.lineage)}
        rows = git.run("rev-list", "--parents", "--stdin", stdin="".join(f"{name}\n" for name in (*sorted(tips), f"^{base}")).encode())
        self._parents = {commit: parents for commit, *parents in (row.split() for row in rows.decode().splitlines())}
        self._known: dict[str, frozenset[str]] = {}

    def is_all(self, meeting: Meeting) -> bool:
        """Return whether the base is all that the two have in common."""
        theirs = self._reach(meeting.theirs.id)
        descends = meeting.theirs.id == self._base or any(self._base in self._parents[commit] for commit in theirs)
        return descends and all(theirs.isdisjoint(self._reach(name)) for name in (meeting.ours.id, *meeting.lineage))

    def _reach(self, tip: str) -> frozenset[str]:
        if tip not in self._known:
            self._known[tip] = frozenset(_reached(tip, self._parents))
        return self._known[tip]


def _reached(tip: str, parents: Mapping[str, Iterable[str]]) -> Iterator[str]:
    waiting, met = [tip], set[str]()
    while waiting:
        name = waiting.pop()
        if name in parents and name not in met:
            met.add(name)
            waiting += parents[name]
            yield name
