"""The longer answers, in pages: outlines, files, conflicting pairs, diffs. A cursor names the frozen contents, so that pages never mix two states.

A page is as long as its JSON. The first has what stands around the lists too, and gives conflicts the half of what that leaves; the next ones have
nothing that the first had.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from workspaces.backend import Backend
from workspaces.comparison import telling
from workspaces.comparison.attempts import Attempt
from workspaces.comparison.kept import Told
from workspaces.errors import InvalidArgument
from workspaces.model import Change, Compared, Comparison, Conflict, Detail, Noun, Pair, Place, path_bytes
from workspaces.wording import counted, listed

_OUTLINED = 60
"""Files of one attempt that have a line in its outline."""
_LEAST = 4
"""The part of a page that is for what was asked for, however much stands around it; of a ranking, all."""
_DIGITS = 12
"""Digits of the furthest position."""
_CURSOR = 80
"""Characters that name what is listed, and the next page."""
_PAIR, _CONFLICT = 32, 250
"""Characters of a pair without its names and conflicts, and of a conflict, about."""
_AHEAD = 1 << 20
"""Characters of a diff that are read for the next pages, too; of several, less: each takes a git."""
_AROUND = ("workspaces", "pairs", "groups", "alike", "compatible")
_FIELDS: dict[Detail, str] = {"outline": "workspaces", "files": "files", "ranking": "ranking", "conflicts": "pairs", "diff": "diff"}


def page(
    view: Backend, told: Told, detail: Detail, paths: Sequence[str], cursor: str, max_chars: int, outdated: Sequence[str]
) -> Comparison:
    """Return one page of what `detail` asks for. The `outdated` workspaces hold something else by now."""
    start, field = _position(cursor, told.seal), _FIELDS[detail]
    around = _around(told, detail, paths, field, bool(start), outdated)
    left = max_chars - _size(around) - _CURSOR
    has_conflicts = len(told.attempts) <= telling.ROWS and (detail == "outline" or (detail in ("files", "diff") and not start))
    beside = _beside(told.result, start) if has_conflicts else 0
    room = max(left - min(beside, left // 2), max_chars if detail == "ranking" else max_chars // _LEAST)
    shown: str | Sequence[Noun]
    if detail == "diff":
        shown, end, more = _diff(view, told, paths, start, room, bool(outdated))
    elif detail == "conflicts":
        shown, end, more = _conflicts(told.pairs, paths, start, room)
    else:
        items = told.items = _items(view, told, detail, paths) if told.items is None else told.items
        in_table = detail == "ranking" and len(items) > telling.ROWS
        end = start + _fitting(items[start:], room, _in_table if in_table else _in_json)
        shown, more = items[start:end], end < len(items)
    if start and not shown:
        raise _misplaced()
    whole = around.model_copy(update={field: shown, "truncated": more, "next_cursor": f"{told.seal}.{end}" if more else ""})
    return _with_conflicts(whole, told.result, start, max_chars - _size(whole)) if has_conflicts else whole


def _beside(result: Comparison, start: int) -> int:
    """Return how long all conflicts are that a page may have beside what it is for."""
    pairs = () if start else result.pairs
    return sum(_in_json(each) for row in result.workspaces for each in row.conflicts) + sum(map(_in_json, pairs))


def _size(shown: Comparison) -> int:
    return len(json.dumps(shown.wire(), ensure_ascii=False, separators=(",", ":")))


def _around(told: Told, detail: Detail, paths: Sequence[str], field: str, goes_on: bool, outdated: Sequence[str]) -> Comparison:
    """Return an answer without what comes in pages, and without conflicts. Where it goes on, all that the first page had is left out."""
    result = told.result
    said = [f"Since the first page, {listed(outdated)} changed: this is as it was then."] if outdated else []
    if goes_on or len(result.workspaces) > telling.ROWS or detail == "ranking":
        warnings = () if goes_on else (*result.warnings, *_idle(told, detail, paths))
        left_out = tuple(name for name in _AROUND if name != field)
        update = {"left_out": left_out, field: (), "warnings": (*warnings, *said), "next": () if goes_on else result.next}
        return result.model_copy(update=update | ({"diff": ""} if field == "diff" else {}))
    bare = tuple(row.model_copy(update={"conflicts": ()}) for row in result.workspaces)
    empty: dict[str, object] = {field: "" if field == "diff" else ()}
    return result.model_copy(update={"workspaces": bare, "pairs": (), "warnings": (*result.warnings, *_idle(told, detail, paths))} | empty)


def _idle(told: Told, detail: Detail, paths: Sequence[str]) -> list[str]:
    """Return a warning for paths that chose nothing."""
    if detail == "ranking" or not paths:
        return []
    changed = [change for attempt in told.attempts for change in attempt.diff.changes]
    met = [each for pair in told.pairs for each in pair.conflicts]
    idle = [
        path for path in paths if not any(_is_within(each, [path]) for each in changed) and not any(_meets(each, [path]) for each in met)
    ]
    return [f"Nothing was changed at {listed(idle)}: a path is a file, or a folder with all in it, and no pattern."] if idle else []


def _with_conflicts(shown: Comparison, result: Comparison, start: int, room: int) -> Comparison:
    """Return a page with as many conflicts as there is room for, those of pairs on the first one, and a word on the rest."""
    known, met = {row.id: row.conflicts for row in result.workspaces}, () if start else result.pairs
    rows: list[Compared] = []
    cut = 0
    for row in shown.workspaces:
        kept, room = _as_many(known[row.id], room)
        cut += len(known[row.id]) - len(kept)
        rows.append(row.model_copy(update={"conflicts": kept}))
    pairs: list[Pair] = []
    most = max(1, min(telling.OF_PAIR, room // (_CONFLICT * len(met)))) if met else 0
    for pair in met:
        kept, left = _as_many(pair.conflicts[:most], room - len(pair.a + pair.b) - _PAIR)
        cut += len(pair.conflicts) - len(kept)
        pairs += [pair.model_copy(update={"conflicts": kept})] if kept else []
        room = left if kept else room
    said = [f"{counted(cut, 'conflict')} more, not listed here: detail='conflicts' lists all."] if cut else []
    return shown.model_copy(update={"workspaces": tuple(rows), "pairs": tuple(pairs), "warnings": (*shown.warnings, *said)})


def _as_many(conflicts: Sequence[Conflict], room: int) -> tuple[tuple[Conflict, ...], int]:
    """Return the first of the conflicts, as many as there is room for, and the room that is left; where that is tight, without hunks."""
    kept: list[Conflict] = []
    for conflict in conflicts:
        fits = next((each for each in (conflict, _bare(conflict)) if _in_json(each) <= room), None)
        if fits is None:
            break
        kept.append(fits)
        room -= _in_json(fits)
    return tuple(kept), room


def _bare(conflict: Conflict) -> Conflict:
    """Return a conflict without hunks, and with why."""
    said = "hunks left out to keep the page short"
    return (
        conflict.model_copy(update={"hunks": (), "note": f"{conflict.note}; {said}" if conflict.note else said})
        if conflict.hunks
        else conflict
    )


def _items(view: Backend, told: Told, detail: Detail, paths: Sequence[str]) -> Sequence[Noun]:
    if detail == "outline":
        return _outlined(view, told.result, told.attempts, paths)
    return told.result.ranking if detail == "ranking" else _files(told.attempts, paths)


def _in_json(item: Noun) -> int:
    return len(item.model_dump_json(exclude_defaults=True)) + 1


def _in_table(item: Noun) -> int:
    return len(telling.places([item]).rpartition("\n")[2]) + 2 if isinstance(item, Place) else _in_json(item)


def _fitting(items: Sequence[Noun], max_chars: int, size: Callable[[Noun], int] = _in_json) -> int:
    """Return how many of the items fit into a page; at least one, so that pages come to an end."""
    used = 0
    for number, item in enumerate(items):
        used += size(item)
        if used > max_chars and number:
            return number
    return len(items)


def _position(cursor: str, seal: str) -> int:
    if not cursor:
        return 0
    sealed, _, at = cursor.partition(".")
    if sealed != seal or not at.isdecimal() or len(at) > _DIGITS:
        raise _misplaced()
    return int(at)


def _misplaced() -> InvalidArgument:
    return InvalidArgument(
        "The cursor belongs to another question, or to contents that are not kept any more: a workspace changed since, or was checked.",
        "Call again without a cursor.",
    )


def _is_within(change: Change, paths: Sequence[str]) -> bool:
    return not paths or any(_is_below(name, paths) for name in (change.path, change.old_path) if name)


def _is_below(name: str, paths: Sequence[str]) -> bool:
    """Return whether one of the paths is that name, or a folder above it: as bytes, for as text some are quoted whole."""
    path, above = path_bytes(name), [path_bytes(each.rstrip("/")) for each in paths]
    return any(path == each or path.startswith(each + b"/") for each in above)


def _files(attempts: Sequence[Attempt], paths: Sequence[str]) -> tuple[Change, ...]:
    """Return every change once, with all who made it, in order of path."""
    by: dict[Change, list[str]] = {}
    for attempt in attempts:
        for change in attempt.diff.changes:
            if _is_within(change, paths):
                by.setdefault(change, []).append(attempt.workspace.id)
    ordered = sorted(by, key=lambda change: change.path)
    return tuple(change.model_copy(update={"by": tuple(by[change])}) for change in ordered)


def _meets(conflict: Conflict, paths: Sequence[str]) -> bool:
    sides = [side.path for side in (conflict.base, conflict.ours, conflict.theirs) if side and side.path]
    return not paths or any(_is_below(name, paths) for name in (conflict.path, *sides))


def _conflicts(pairs: Sequence[Pair], paths: Sequence[str], start: int, room: int) -> tuple[tuple[Pair, ...], int, bool]:
    """Return the conflicts from `start` on, pair by pair, as many as there is room for; where they end, and whether there are more. One is too
    long for a page without its hunks, at most."""
    shown: list[Pair] = []
    end = start
    for pair, conflict in islice(_each(pairs, paths), start, None):
        goes_on = bool(shown) and (shown[-1].a, shown[-1].b) == (pair.a, pair.b)
        left = room - (0 if goes_on else len(pair.a + pair.b) + _PAIR)
        fits = conflict if _in_json(conflict) <= left else _bare(conflict) if not shown else None
        if fits is None or (shown and _in_json(fits) > left):
            return tuple(shown), end, True
        room, end = left - _in_json(fits), end + 1
        before = shown.pop().conflicts if goes_on else ()
        shown.append(Pair(a=pair.a, b=pair.b, conflicts=(*before, fits)))
    return tuple(shown), end, False


def _each(pairs: Sequence[Pair], paths: Sequence[str]) -> Iterator[tuple[Pair, Conflict]]:
    return ((pair, conflict) for pair in pairs for conflict in pair.conflicts if _meets(conflict, paths))


def _outlined(view: Backend, result: Comparison, attempts: Sequence[Attempt], paths: Sequence[str]) -> tuple[Noun, ...]:
    from workspaces.outline import outlines

    asked = [(each.base, each.snapshot, [change for change in each.diff.changes if _is_within(change, paths)]) for each in attempts]
    told = outlines(view, asked, _OUTLINED)
    rows = zip(result.workspaces, told, asked, strict=True)
    return tuple(
        row.model_copy(update={"outline": (*lines, *_left_out(lines, changes)), "conflicts": ()}) for row, lines, (_, _, changes) in rows
    )


def _left_out(lines: Sequence[str], changes: Sequence[Change]) -> tuple[str, ...]:
    more = len(changes) - len(lines)
    return (f"{more} more, binary or beyond the first {_OUTLINED}",) if more else ()


def _diff(view: Backend, told: Told, paths: Sequence[str], start: int, room: int, is_outdated: bool) -> tuple[str, int, bool]:
    """Return the text of the diffs from `start` on, as much as there is room for; where it ends, and whether there is more. What is shown of
    contents that are there no longer was read ahead, with the first page."""
    if told.ahead is None and not start:
        told.ahead, more = _text(view, told, paths, 0, max(room, _AHEAD // len(told.attempts)))
        told.is_whole = not more
    known = told.ahead or ""
    if told.is_whole or is_outdated or start + room < len(known):
        text, more = known[start : start + room], not told.is_whole or start + room < len(known)
    else:
        text, more = _text(view, told, paths, start, start + room)
    short = (
        text[: bisect_right(range(1, len(text) + 1), room, key=lambda end: len(json.dumps(text[:end], ensure_ascii=False)) - 2)] or text[:1]
    )
    return short, start + len(short), more or len(short) < len(text)


def _text(view: Backend, told: Told, paths: Sequence[str], start: int, end: int) -> tuple[str, bool]:
    """Return the text of the diffs, one after the other, from `start` to `end`, and whether there is more."""
    shown: list[str] = []
    at = begins = 0
    for number, attempt in enumerate(told.attempts):
        if at > end:
            break
        if not shown and number in told.lengths and at + told.lengths[number] <= start:
            at = begins = at + told.lengths[number]
            continue
        limit = end + 1 - at
        head = f"# {attempt.workspace.id}\n" if len(told.attempts) > 1 else ""
        text = view.patch(attempt.base, attempt.snapshot, paths, limit)
        if len(text) < limit:
            told.lengths[number] = len(head + text)
        shown.append(head + text)
        at += len(shown[-1])
    return "".join(shown)[start - begins : end - begins], at > end
