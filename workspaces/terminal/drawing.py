"""How results look to a person: trees, tables, diffs, what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from workspaces.terminal import screen

if TYPE_CHECKING:
    from workspaces.model import Calls, Collected, Conflict, Landing, Log, MergeResult, Status, Trust, Workspace

_GOOD = ("ok", "merged", "would_merge", "up_to_date")
_STATE_STYLE = {"ready": "", "merged": "green", "conflicted": "red", "abandoned": "yellow", "deleted": "dim"}


def tree(result: Status, places: bool) -> None:
    rows: list[list[tuple[str, str]]] = []
    shown = {each.id for each in result.workspaces}
    judged, weighed = any(each.checks for each in result.workspaces), any(each.disk for each in result.workspaces)
    for each, lead in _branches(result.workspaces, shown):
        state = "clean" if each.is_main and not each.files_changed else "uncommitted" if each.is_main else each.state
        task = "your checkout" if each.is_main else each.task
        rows.append(
            [
                (f"{lead}{each.name}", "bold" if each.is_main else ""),
                (state, _STATE_STYLE.get(each.state, "")),
                (_size(each), ""),
                (f"↓{each.behind}" if each.behind else "", "yellow"),
                *([(checks(each), "")] if judged else []),
                *([(_disk(each), "")] if weighed else []),
                (screen.age(each.created), "dim"),
                (each.contained or (task.splitlines()[0] if task else ""), ""),
                *([(screen.near(each.location), "dim")] if places else []),
            ]
        )
    columns = ["Workspace", "State", "Changes", "Base", *(["Checks"] if judged else []), *(["Disk"] if weighed else []), "Age", "Task"]
    screen.table([*columns, *(["Folder"] if places else [])], rows)


def checks(each: Workspace) -> str:
    """Return the remembered verdicts on a workspace in a few signs."""
    return " ".join(f"{'✓' if verdict == 'pass' else '✗'} {name}" for name, verdict in each.checks.items())


def _branches(workspaces: Sequence[Workspace], shown: set[str]) -> Iterator[tuple[Workspace, str]]:
    """Yield the workspaces with the lines of the tree that lead to them."""

    def below(parent: str) -> list[Workspace]:
        return [each for each in workspaces if (each.parent if each.parent in shown else "") == parent and each.id != parent]

    def walk(siblings: list[Workspace], indent: str) -> Iterator[tuple[Workspace, str]]:
        for number, each in enumerate(siblings):
            last = number == len(siblings) - 1
            yield each, f"{indent}{'└─' if last else '├─'} "
            # A deleted one may have the id of one that is there.
            yield from walk(below(each.id) if each.state != "deleted" else [], indent + ("   " if last else "│  "))

    for root in below(""):
        yield root, "@ " if root.is_main else ""
        yield from walk(below(root.id), "")


def _size(each: Workspace) -> str:
    return f"{each.files_changed} +{each.insertions} -{each.deletions}" if each.files_changed else ""


def _disk(each: Workspace) -> str:
    """Return what the files of a workspace take on the disk, and what of it is shared."""
    if not each.disk:
        return ""
    from workspaces.wording import weight

    size, shared = weight(each.disk.size), each.disk.shared
    return f"{size}, ? shared" if shared is None else f"{size}, {weight(shared)} shared" if shared else f"{size}, nothing shared"


def merge(result: MergeResult) -> None:
    for each in result.results:
        _landing(each)
    if result.results:
        return screen.say(result.summary)
    return _landing(result)


def _landing(result: Landing | MergeResult) -> None:
    marks = {
        "conflicts": ("✗", "red"),
        "check_failed": ("✗", "red"),
        "refused": ("✗", "red"),
        "up_to_date": ("=", ""),
        "would_merge": ("→", ""),
    }
    mark, style = marks.get(result.status, ("✓", "green"))
    screen.say(f"{mark} {result.summary}", style)
    _conflicts(result.conflicts)
    decided(result)
    for verdict in result.checks:
        if verdict.verdict != "pass":
            screen.say("\n".join(f"    {line}" for line in verdict.tail.splitlines()[-10:]), "dim")
    screen.warn(result.warnings)
    if result.restore_point:
        screen.say(f"  ↳ workspaces undo   (restore point {result.restore_point})")
    elif any(step.startswith("undo: ") for step in result.next):
        screen.say("  ↳ workspaces undo")
    elif result.status == "conflicts" and result.next:
        where, _, resolving = result.next[0].partition(": ")
        source = result.source.rpartition("/")[2]
        again = f", workspaces merge {source}" if where.endswith(f" {source}") else ""
        screen.say(f"  resolve: {screen.spoken(resolving)}, edit the files{again}")


def _conflicts(conflicts: Sequence[Conflict]) -> None:
    for each in conflicts:
        conflict(each)


def conflict(conflict: Conflict) -> None:
    screen.say(f"  {conflict.path}  {conflict.kind.replace('_', '/')}{f'  ({conflict.note})' if conflict.note else ''}", "red")
    for mark, by in (("<", conflict.ours_by), (">", conflict.theirs_by)):
        if by and by.task:
            screen.say(f"          {mark} {by.workspace}: {by.task}", "dim")
    for hunk in conflict.hunks[:3]:
        for mark, text, start in (("<", hunk.ours, hunk.start), (">", hunk.theirs, hunk.theirs_start)):
            for number, line in enumerate(text.splitlines()[:6]):
                screen.say(f"    {'' if number else start or '':>5} {mark} {line}", "dim")


def decided(result: Landing | MergeResult) -> None:
    for each in result.decided:
        screen.say(f"  {each.path}  decided by {screen.spoken(each.by)}", "dim")


def collected(result: Collected) -> None:
    if result.freed:
        rows = [
            [(each.id.split("/")[-1], ""), (screen.age(each.deleted), "dim"), (f"{each.size:,}", ""), (each.why, "dim")]
            for each in result.freed
        ]
        screen.table(("Workspace", "Deleted", "Bytes", "Why"), rows)
    for kept, why in result.kept.items():
        screen.say(f"  {kept}: {screen.spoken(why)}")
    screen.say(result.summary)


def programs(shown: Trust) -> None:
    for each in shown.programs:
        screen.tell(f"{each.kind} {each.name}  {each.setting}", "bold")
        screen.whole(each.command)
    if shown.changed:
        screen.say("! What was trusted before has changed.", "yellow")
    screen.warn(shown.warnings)
    screen.say(f"{'✓' if shown.trusted else '='} {shown.summary}", "green" if shown.trusted else "")


def log(result: Log) -> None:
    rows = [
        [
            (str(each.id), "dim"),
            (screen.age(each.at), "dim"),
            (each.actor, "dim"),
            (each.verb, "bold"),
            (", ".join(name.split("/")[-1] for name in each.workspaces), ""),
            (f"{each.before[:9]} → {each.after[:9]}" if each.before or each.after else "", "dim"),
            (str(each.arguments.get("why", "")) if each.state == "done" else each.state, "yellow"),
        ]
        for each in result.operations
    ]
    screen.table(("No", "Age", "Who", "What", "Workspaces", "Snapshots", "Note"), rows)


def calls(result: Calls) -> None:
    rows = [
        [
            (f"{each.at:%Y-%m-%d %H:%M:%S}", "dim"),
            (each.actor or "-", ""),
            (each.role, "dim"),
            (each.tool, "bold"),
            (", ".join(name.split("/")[-1] for name in each.workspaces), ""),
            (each.outcome, "" if each.outcome in _GOOD else "yellow"),
            (f"{each.ms:,.0f}", "dim"),
            (each.transport, "dim"),
            (each.call, "dim"),
        ]
        for each in result.calls
    ]
    screen.table(("Time (UTC)", "Who", "Role", "What", "Workspaces", "Outcome", "ms", "By", "Call"), rows)
