"""The longer answers, in pages: outlines, files, conflicting pairs, diffs. A cursor names the frozen contents, so that pages never mix two states."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from workspaces.backend import Backend
from workspaces.comparison import telling
from workspaces.comparison.attempts import Attempt
from workspaces.comparison.kept import Told
from workspaces.errors import InvalidArgument
from workspaces.model import Change, Comparison, Detail, Noun, Place, path_bytes

_OUTLINED = 60
"""Files of one attempt that have a line in its outline."""


def page(view: Backend, told: Told, detail: Detail, paths: Sequence[str], cursor: str, max_chars: int) -> Comparison:
    """Add one page of what `detail` asks for."""
    named = [detail, *paths, *(f"{attempt.base.contents} {attempt.snapshot.contents}" for attempt in told.attempts)]
    named += [place.model_dump_json() for place in told.result.ranking]
    seal = hashlib.sha256("\n".join(named).encode(errors="surrogatepass")).hexdigest()[:16]
    start = _position(cursor, seal)
    if detail == "diff":
        end = start + max_chars
        text, more = _diff_text(view, told, paths, start, end)
        shown = told.result.model_copy(update={"diff": text})
    else:
        items = told.items = _items(view, told, detail, paths) if told.items is None else told.items
        in_table = detail == "ranking" and len(items) > telling.ROWS
        end = start + _fitting(items[start:], max_chars, _in_table if in_table else _in_json)
        field = {"outline": "workspaces", "files": "files", "ranking": "ranking"}.get(detail, "pairs")
        shown, more = told.result.model_copy(update={field: items[start:end]}), end < len(items)
    return shown.model_copy(update={"truncated": more, "next_cursor": f"{seal}.{end}" if more else ""})


def _items(view: Backend, told: Told, detail: Detail, paths: Sequence[str]) -> Sequence[Noun]:
    if detail == "outline":
        return _outlined(view, told.result, told.attempts, paths)
    if detail == "ranking":
        return told.result.ranking
    return _files(told.attempts, paths) if detail == "files" else _met(told.result, paths)


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
    if sealed != seal or not at.isdecimal():
        raise InvalidArgument(
            "The cursor belongs to other contents or another question: a workspace changed since, or was checked.",
            "Call again without a cursor.",
        )
    return int(at)


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


def _met(result: Comparison, paths: Sequence[str]) -> tuple[Noun, ...]:
    return tuple(pair for pair in result.pairs if not paths or any(_is_below(each.path, paths) for each in pair.conflicts))


def _outlined(view: Backend, result: Comparison, attempts: Sequence[Attempt], paths: Sequence[str]) -> tuple[Noun, ...]:
    from workspaces.outline import outlines

    asked = [(each.base, each.snapshot, [change for change in each.diff.changes if _is_within(change, paths)]) for each in attempts]
    told = outlines(view, asked, _OUTLINED)
    rows = zip(result.workspaces, told, asked, strict=True)
    return tuple(row.model_copy(update={"outline": (*lines, *_left_out(lines, changes))}) for row, lines, (_, _, changes) in rows)


def _left_out(lines: Sequence[str], changes: Sequence[Change]) -> tuple[str, ...]:
    more = len(changes) - len(lines)
    return (f"{more} more, binary or beyond the first {_OUTLINED}",) if more else ()


def _diff_text(view: Backend, told: Told, paths: Sequence[str], start: int, end: int) -> tuple[str, bool]:
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
