"""How snapshots descend from each other, and what two of them have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from workspaces.errors import BackendFailed

Parents = Callable[[str], Sequence[str]]
"""Returns what a snapshot descends from directly."""


@dataclass(frozen=True)
class Graph:
    """What git has to know of the descent of two snapshots: their `nodes` in common, oldest first, the two after them; and for each of all
    these, the positions of its parents. `best` is the position of a best common ancestor."""

    nodes: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    best: int


def ancestors(start: Iterable[str], parents: Parents) -> set[str]:
    """Return these snapshots and all that they descend from."""
    found: set[str] = set()
    waiting = [*start]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += parents(name)
    return found


def bases(ours: Iterable[str], theirs: str, parents: Parents) -> list[str]:
    """Return the best common ancestors of one that descends from all of `ours`, and of `theirs`."""
    return _newest(ancestors(ours, parents) & ancestors([theirs], parents), parents)


def _newest(names: set[str], parents: Parents) -> list[str]:
    """Return those that no other of them descends from."""
    older = {above for name in names for above in ancestors([name], parents) - {name}}
    return sorted(names - older)


def graph(ours: Sequence[str], theirs: str, parents: Parents, made: Callable[[str], int]) -> Graph:
    """Work out what the two have in common: the best common ancestors, and of several, theirs in turn. Raises `BackendFailed` for none.

    `made` says how old a snapshot is: of several, git combines the oldest first.
    """
    best = bases(ours, theirs, parents)
    if not best:
        raise BackendFailed(
            "The two have nothing in common: no snapshot that both descend from. Nothing was changed.", "Copy the files by hand."
        )
    nodes = set(best)
    waiting = list(combinations(best, 2))
    while waiting:
        more = [name for name in bases([waiting[0][0]], waiting.pop(0)[1], parents) if name not in nodes]
        nodes |= {*more}
        waiting += combinations(more, 2)
    above = {name: ancestors([name], parents) for name in nodes}
    ordered = sorted(nodes, key=lambda name: (len(above[name] & nodes), made(name), name))
    starts = [*(above[name] - {name} for name in ordered), ancestors(ours, parents), ancestors([theirs], parents)]
    near = (_newest(start & nodes, parents) for start in starts)
    return Graph(tuple(ordered), tuple(tuple(sorted(ordered.index(name) for name in names)) for names in near), ordered.index(best[0]))
