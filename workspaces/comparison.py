"""Many attempts side by side: what each changed, whether it merges, and which of them cannot be had together.

Compare is a merge that is not carried out: its verdicts come from the same call as the merge, in a view whose objects vanish with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Literal

from workspaces.backend import Backend
from workspaces.containment import said_of, taken_back
from workspaces.core import Core, Freeze, Glance, Progress, silent
from workspaces.errors import Busy, InvalidArgument, Limit, NotFound, Vanished
from workspaces.model import Change, Compared, Comparison, Diff, Meeting, Merge, MergeVerdict, Pair, Snapshot, Workspace
from workspaces.naming import age_then_name
from workspaces.wording import HUNK_BUDGET, bounded, counted, flaws, listed

Detail = Literal["summary", "files", "diff"]
MAX_CHARS = 100_000
MAX_WORKSPACES = 256
_AT_ONCE = 2
_EXACT = 20
_CONFLICTS_OF_PAIR = 20


@dataclass(frozen=True)
class Attempt:
    """One workspace, frozen, beside what it is compared with."""

    workspace: Workspace
    snapshot: Snapshot
    against: Snapshot
    base: Snapshot
    diff: Diff
    merge: Merge
    behind: int = 0
    lost: str = ""
    """What is to be said when the parent had its work and has taken it back."""


def compare(
    core: Core,
    names: Sequence[str],
    base: str = "",
    detail: Detail = "summary",
    paths: Sequence[str] = (),
    cursor: str = "",
    max_chars: int = 20_000,
    progress: Progress = silent,
) -> Comparison:
    """Say what each workspace (all but main, when none is named) changed and whether it merges, and of several, which conflict with each
    other. Changes nothing."""
    names = names or [each.id for each in sorted(core.live(), key=age_then_name) if not each.is_main]
    if len(names) > MAX_WORKSPACES:
        raise InvalidArgument(f"{len(names)} workspaces are too many.", f"Name at most {MAX_WORKSPACES}; status lists them.")
    if not names:
        raise NotFound("There is no workspace to compare yet.", "clone makes some.")
    if not 500 <= max_chars <= MAX_CHARS:
        raise InvalidArgument(f"max_chars is {max_chars}.", f"It goes from 500 to {MAX_CHARS}.")
    if sum(map(len, paths)) > MAX_CHARS:
        raise InvalidArgument("The paths are too many.", "Name folders instead of each file in them.")
    core = replace(core, glance=Glance())
    workspaces = list({found.id: found for found in map(core.find, names)}.values())
    look = partial(_compare, core, workspaces, base, detail, paths, cursor, max_chars, progress)
    try:
        return look()
    except Vanished:  # what this view found was collected under it; what is there now stays, for a while
        pass
    try:
        return look()
    except Vanished as error:
        raise Busy(f"Objects are being taken away under this call, by a git gc or otherwise: {error.message}", error.hint) from error


def _compare(
    core: Core,
    workspaces: list[Workspace],
    base: str,
    detail: Detail,
    paths: Sequence[str],
    cursor: str,
    max_chars: int,
    progress: Progress,
) -> Comparison:
    with core.backend.aside() as view:
        attempts = _freeze_all(core, view, workspaces, base, progress)
        pairs = _pairs(core, view, attempts, progress) if len(attempts) > 1 and not base else []
        groups = _groups(attempts)
        result = Comparison(
            summary="",
            base=attempts[0].against.id if len({attempt.against.id for attempt in attempts}) == 1 else "",
            workspaces=tuple(_compared(core, attempt, groups, len(attempts)) for attempt in attempts),
            pairs=tuple(pairs),
            groups=tuple(group for group in groups if len(group) > 1),
            compatible=_compatible(attempts, pairs) if len(attempts) > 1 and not base else (),
            warnings=_warnings(attempts),
        )
        result = result.model_copy(update={"summary": _summary(result, attempts), "next": _next(attempts, base)})
        return result if detail == "summary" else _page(view, result, attempts, detail, paths, cursor, max_chars)


# -- freezing -----------------------------------------------------------------------------------------------------------------------------


def _freeze_all(core: Core, view: Backend, workspaces: list[Workspace], base: str, progress: Progress) -> list[Attempt]:
    """Freeze all as they are at one time, what they are compared with just once, and work out each."""
    others = [core.find(base.partition("@")[0])] if base else [core.parent(each) for each in workspaces if not each.is_main]
    held = {each.id: each for each in (*workspaces, *others)}
    done: list[Attempt] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        with core.looking(view, *held.values()) as freeze:
            against = {other.id: pool.submit(_frozen, core, freeze, other, base) for other in {each.id: each for each in others}.values()}
            frozen = [pool.submit(_frozen_attempt, core, freeze, each, others[0] if base else None) for each in workspaces]
            rest = [partial(_attempt, core, view, each, frozen[at].result(), against, base) for at, each in enumerate(workspaces)]
            work = [pool.submit(each) for each in rest]
            wait(work)
        for workspace, future in zip(workspaces, work, strict=True):
            done.append(_result(workspace, future))
            progress(len(done), len(workspaces), f"looked at {done[-1].workspace.name}")
    return done


def _result(workspace: Workspace, future: Future[Attempt]) -> Attempt:
    """Return an attempt. One that is too large is refused by name, so that the others can be compared without it."""
    try:
        return future.result()
    except Limit as error:
        raise Limit(f"{workspace.name}: {error.message}", error.hint, **{**error.details, "workspace": workspace.id}) from error


def _frozen(core: Core, freeze: Freeze, other: Workspace, base: str) -> Snapshot:
    """Freeze what workspaces are compared with: a parent, or what was named instead."""
    if "@" in base:
        return _restore_point(core, other, base)
    return freeze(other, core.lineage(other), committed=other.is_main and not base)


def _frozen_attempt(core: Core, freeze: Freeze, workspace: Workspace, other: Workspace | None) -> Snapshot:
    contained = core.contained(workspace, other) if other else ()
    return freeze(workspace, [*core.lineage(workspace), *contained])


def _attempt(
    core: Core, view: Backend, workspace: Workspace, snapshot: Snapshot, frozen: dict[str, Future[Snapshot]], base: str
) -> Attempt:
    """Work out the merge of a frozen workspace into its parent, or all that differs from what was named instead."""
    if base:
        ((name, found),) = frozen.items()
        against = found.result()
        merged = view.merge(against, snapshot, core.granted(core.find(name), workspace), labels=(base, workspace.name))
        return Attempt(workspace, snapshot, against, against, view.diff(against, snapshot), merged)
    if workspace.is_main:
        return _main(view, workspace, snapshot)
    parent = core.parent(workspace)
    against = frozen[parent.id].result()
    lineage, agreed = core.granted(parent, workspace), core.agreed(workspace)
    ancestor = view.base(against, snapshot, lineage, view.load(agreed.snapshot))
    merged = view.merge(against, snapshot, lineage, labels=(parent.name, workspace.name))
    lost = taken_back(core, view, workspace, against)
    said = f"{workspace.name} was merged, but {said_of(core, workspace, lost)}." if lost else ""
    return Attempt(workspace, snapshot, against, ancestor, view.diff(ancestor, snapshot), merged, core.behind(view, agreed, against), said)


def _restore_point(core: Core, workspace: Workspace, name: str) -> Snapshot:
    points = [point for point, _ in core.store.restore_points(workspace.uid)]
    found = next((point for point in points if point.name == name.removeprefix(f"{core.row.name}/")), None)
    if found is None:
        known = ", ".join(point.name for point in points[:5]) or "none"
        raise NotFound(f"No restore point {name!r}. Of {workspace.name} there are: {known}.", "workspaces log lists what was done.")
    return found.snapshot


def _main(view: Backend, workspace: Workspace, snapshot: Snapshot) -> Attempt:
    """Show main's uncommitted work; it has no parent to merge into."""
    committed = view.snapshot(workspace, committed=True)
    return Attempt(workspace, snapshot, committed, committed, view.diff(committed, snapshot), Merge(contents=committed.contents))


def _compared(core: Core, attempt: Attempt, groups: list[tuple[str, ...]], total: int) -> Compared:
    seen = core.observed(attempt.workspace, attempt.snapshot, attempt.base, attempt.diff)
    group = next((number for number, ids in enumerate(groups, 1) if seen.id in ids and len(ids) > 1), 0)
    conflicts, _ = bounded(attempt.merge.conflicts, HUNK_BUDGET // total)
    fields = {name: getattr(seen, name) for name in Workspace.model_fields}
    fields["state"] = "ready" if attempt.lost and seen.state == "merged" else seen.state
    return Compared.model_validate(
        fields
        | {"snapshot": attempt.snapshot.id, "merge": _verdict(attempt), "conflicts": conflicts, "group": group, "behind": attempt.behind}
    )


def _verdict(attempt: Attempt) -> MergeVerdict:
    if attempt.merge.conflicts:
        return "conflicts"
    return "up_to_date" if attempt.merge.contents == attempt.against.contents else "clean"


# -- across -------------------------------------------------------------------------------------------------------------------------------


def _pairs(core: Core, view: Backend, attempts: Sequence[Attempt], progress: Progress) -> list[Pair]:
    """Return the pairs that conflict."""
    close = [(a, b) for a, b in combinations(attempts, 2) if a.snapshot.contents != b.snapshot.contents and _may_clash(a.diff, b.diff)]
    progress(0, len(close), "comparing pairs")
    meetings = [Meeting(ours=a.snapshot, theirs=b.snapshot, lineage=tuple(core.granted(a.workspace, b.workspace))) for a, b in close]
    return [
        Pair(a=a.workspace.id, b=b.workspace.id, conflicts=conflicts[:_CONFLICTS_OF_PAIR])
        for (a, b), conflicts in zip(close, view.clashes(meetings), strict=True)
        if conflicts
    ]


def _may_clash(a: Diff, b: Diff) -> bool:
    if any(change.status in ("renamed", "copied") for change in (*a.changes, *b.changes)):
        return bool(a.changes and b.changes)
    if a.paths & b.paths:
        return True
    return bool(a.paths & _folders(b.paths) or b.paths & _folders(a.paths))


def _folders(paths: frozenset[str]) -> set[str]:
    """Return the folders that the paths are in, each met once: a tree may be deep."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _groups(attempts: Sequence[Attempt]) -> list[tuple[str, ...]]:
    by_contents: dict[str, list[str]] = {}
    for attempt in attempts:
        by_contents.setdefault(attempt.snapshot.contents, []).append(attempt.workspace.id)
    return [tuple(ids) for ids in by_contents.values()]


def _compatible(attempts: Sequence[Attempt], pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Return the largest set without a conflicting pair: exact for twenty attempts, beyond that built from the least conflicting on."""
    able = [attempt.workspace.id for attempt in attempts if _verdict(attempt) == "clean"]
    enemies = {name: {pair.b if pair.a == name else pair.a for pair in pairs if name in (pair.a, pair.b)} for name in able}
    if len(able) > _EXACT:
        chosen: list[str] = []
        for name in sorted(able, key=lambda name: len(enemies[name])):
            if not enemies[name] & set(chosen):
                chosen.append(name)
        return tuple(name for name in able if name in chosen)
    return _largest(able, enemies)


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


# -- pages --------------------------------------------------------------------------------------------------------------------------------


def _page(
    view: Backend, result: Comparison, attempts: Sequence[Attempt], detail: Detail, paths: Sequence[str], cursor: str, max_chars: int
) -> Comparison:
    """Add one page of files, or of diff text. The cursor names the frozen contents, so that pages never mix two states."""
    seal = hashlib.sha256(
        "\n".join([detail, *paths, *(f"{a.base.contents} {a.snapshot.contents}" for a in attempts)]).encode()
    ).hexdigest()[:16]
    start = _position(cursor, seal)
    if detail == "files":
        files = _files(attempts, paths)
        end = start + _fitting(files[start:], max_chars)
        page, more = result.model_copy(update={"files": files[start:end]}), end < len(files)
    else:
        end = start + max_chars
        text = _diff_text(view, attempts, paths, end + 1)
        page, more = result.model_copy(update={"diff": text[start:end]}), len(text) > end
    return page.model_copy(update={"truncated": more, "next_cursor": f"{seal}.{end}" if more else ""})


def _fitting(files: Sequence[Change], max_chars: int) -> int:
    """Return how many of the files fit into a page; at least one, so that pages come to an end."""
    used = 0
    for number, change in enumerate(files):
        used += len(change.model_dump_json(exclude_defaults=True)) + 1
        if used > max_chars and number:
            return number
    return len(files)


def _position(cursor: str, seal: str) -> int:
    if not cursor:
        return 0
    sealed, _, at = cursor.partition(".")
    if sealed != seal or not at.isdecimal():
        raise InvalidArgument(
            "The cursor belongs to other contents or another question: a workspace changed since.", "Call again without a cursor."
        )
    return int(at)


def _within(change: Change, paths: Sequence[str]) -> bool:
    names = [name for name in (change.path, change.old_path) if name]
    return not paths or any(name == path.rstrip("/") or name.startswith(path.rstrip("/") + "/") for path in paths for name in names)


def _files(attempts: Sequence[Attempt], paths: Sequence[str]) -> tuple[Change, ...]:
    """Return every change once, with all who made it, in order of path."""
    by: dict[Change, list[str]] = {}
    for attempt in attempts:
        for change in attempt.diff.changes:
            if _within(change, paths):
                by.setdefault(change, []).append(attempt.workspace.id)
    ordered = sorted(by, key=lambda change: change.path)
    return tuple(change.model_copy(update={"by": tuple(by[change])}) for change in ordered)


def _diff_text(view: Backend, attempts: Sequence[Attempt], paths: Sequence[str], limit: int) -> str:
    text = ""
    for attempt in attempts:
        if len(text) >= limit:
            break
        head = f"# {attempt.workspace.id}\n" if len(attempts) > 1 else ""
        text += head + view.patch(attempt.base, attempt.snapshot, paths, limit)
    return text[:limit]


# -- what is said of it -------------------------------------------------------------------------------------------------------------------


def _summary(result: Comparison, attempts: Sequence[Attempt]) -> str:
    if len(result.workspaces) == 1:
        (only,) = result.workspaces
        size = f"{counted(only.files_changed, 'file')} +{only.insertions} -{only.deletions}"
        return f"{only.name} changed {size}. {_said(only)}" if only.files_changed else f"{only.name} changed nothing."
    verdicts = [workspace.merge for workspace in result.workspaces]
    clean, clashing = verdicts.count("clean"), verdicts.count("conflicts")
    between = f"{counted(len(result.pairs), 'pair')} conflict{'s' if len(result.pairs) == 1 else ''}" if result.pairs else "no two conflict"
    same = f" {counted(len(result.groups), 'group')} of identical attempts." if result.groups else ""
    return f"{counted(len(verdicts), 'workspace')}: {clean} merge cleanly, {clashing} conflict with what they merge into; {between}.{same}"


def _said(only: Compared) -> str:
    if only.merge == "conflicts":
        return f"It conflicts in {listed(conflict.path for conflict in only.conflicts)}."
    return "It merges cleanly." if only.merge == "clean" else "All of it is merged already."


def _warnings(attempts: Sequence[Attempt]) -> tuple[str, ...]:
    found: list[str] = []
    for attempt in attempts:
        found += bounded(attempt.merge.conflicts)[1]
        found += flaws(attempt.workspace.name, attempt.snapshot)
        found += [attempt.lost] if attempt.lost else []
    return tuple(dict.fromkeys(found))


def _next(attempts: Sequence[Attempt], base: str) -> tuple[str, ...]:
    if base:
        return ()
    best = next((attempt for attempt in attempts if _verdict(attempt) == "clean"), None)
    stuck = next((attempt for attempt in attempts if attempt.merge.conflicts), None)
    said: list[str] = []
    if best:
        said.append(f"merge(source='{best.workspace.name}', delete_source=true)")
    if stuck:
        parent = stuck.workspace.parent.split("/")[-1]
        said.append(f"merge(source='{parent}', target='{stuck.workspace.name}', on_conflict='markers')")
    said.append(f"compare(workspaces={[a.workspace.name for a in attempts[:3]]}, detail='diff')")
    return tuple(said)
