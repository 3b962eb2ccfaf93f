"""What the rules of the configuration make of attempts that meet: no conflict is told that a merge of the two would decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workspaces.backend import Backend
from workspaces.core import Core
from workspaces.model import Conflict
from workspaces.resolving import Sides, Wish, settled, wished

TRIED = 64
"""Merges that are made to see whether what a rule gives is what the path's name says."""
_ALONE = frozenset(("content", "add_add", "modify_delete", "mode", "binary"))
"""Kinds of conflict that are about one path."""
_TEXTS = ("content", "add_add")


@dataclass
class Deciding:
    """Decides conflicts of pairs by the rules. What was tried holds for every pair with the same contents at the same path."""

    core: Core
    view: Backend
    decided: dict[str, str] = field(default_factory=dict[str, str])
    """The rules by which paths were decided."""
    untried: int = 0
    """Pairs whose conflicts a rule may decide, that were too many to be tried."""
    _stays: dict[Conflict, bool] = field(default_factory=dict[Conflict, bool])
    _tried: int = 0

    def left(self, sides: Sides, conflicts: Sequence[Conflict]) -> tuple[Conflict, ...]:
        """Return the conflicts that stay when the two are merged."""
        wishes = wished(self.core, self.view, sides, conflicts)[0] if conflicts and self.core.config.merge.paths else {}
        unclear = [each for each in conflicts if each.path in wishes and not _is_clear(each, wishes[each.path])]
        if not wishes:
            return tuple(conflicts)
        if all(each in self._stays for each in unclear) and all(each.kind in _ALONE for each in conflicts):
            stay = _staying(conflicts, wishes, self._stays)
        elif self._tried < TRIED:
            self._tried += 1
            stay = {each.path for each in settled(self.core, self.view, sides).merge.conflicts}
            self._stays |= {each: each.path in stay for each in unclear if each.kind in _ALONE}
        else:
            self.untried += 1
            return tuple(conflicts)
        self.decided |= {path: wish.rule for path, wish in wishes.items() if path not in stay}
        return tuple(each for each in conflicts if each.path in stay)


def _is_clear(conflict: Conflict, wish: Wish) -> bool:
    """Return whether the kind of a conflict tells what a rule makes of it: what comes out need not be read."""
    from workspaces.parsing import kind_of

    sides = [side for side in (conflict.base, conflict.ours, conflict.theirs) if side]
    is_file = all(side.mode.startswith("100") for side in sides)
    return wish.waits or (is_file and conflict.kind in _ALONE and not kind_of(conflict.path))


def _staying(conflicts: Sequence[Conflict], wishes: Mapping[str, Wish], known: Mapping[Conflict, bool]) -> set[str]:
    stay = {each.path for each in conflicts if each.path not in wishes or known.get(each, _is_refused(each, wishes[each.path]))}
    # What is made last is only made when there is nothing else.
    return stay | {path for path, wish in wishes.items() if wish.last} if stay else stay


def _is_refused(conflict: Conflict, wish: Wish) -> bool:
    return wish.choice == "union" and conflict.kind not in _TEXTS
