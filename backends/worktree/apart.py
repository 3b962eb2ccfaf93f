"""The merge of two trees that changed different paths: git takes from each what it changed then, path by path, and that takes no git."""

from __future__ import annotations

from workspaces.errors import Limit
from workspaces.model import Merge, path_bytes
from workspaces.threads import several

from ..attributes import carry_over
from ..diff import Moved, Step
from ..git import Git
from ..matrix import is_apart
from ..trees import OddTree, edited
from .seen import Seen


def merge(git: Git, seen: Seen, base: str, ours: str, theirs: str) -> Merge | None:
    """Return the merge of two trees that both changed what a third has. None where the two meet, or it takes a closer look to say that they do not."""
    if theirs == base:
        return Merge(contents=ours)
    moved, brought = _sides(git, seen, base, ours, theirs)
    if moved is None or brought is None or not is_apart(Moved.of(moved, False), Moved.of(brought, False)):
        return None
    has = {step.path for step in moved}
    gained = [step for step in brought if step.path not in has]
    try:
        contents = edited(git, ours, {step.path: step.new for step in gained})
    except OddTree:
        return None
    changes = tuple(each for each in seen.changes(git, base, theirs) if path_bytes(each.path) not in has)
    carry_over(ours, contents, (step.path for step in gained))
    seen.learn((base, contents), [*moved, *gained])
    seen.learn((ours, contents), gained, changes)
    return Merge(contents=contents, changes=changes)


def _sides(git: Git, seen: Seen, base: str, ours: str, theirs: str) -> tuple[list[Step] | None, list[Step] | None]:
    """Return what each side changed; None for one that renamed something, or changed more than can be told."""
    with several() as pool:
        moved = pool.submit(seen.steps, git, base, ours)
        seen.changes(git, base, theirs)
    try:
        return moved.result(), seen.known_steps(base, theirs)
    except Limit:
        return None, None
