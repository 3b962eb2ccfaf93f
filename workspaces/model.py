"""The nouns: what the core returns, what is stored, and what travels over the wire are these classes and no others.

Absent means none: a field at its default is left out of the wire form (`Noun.wire`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.json_schema import SkipJsonSchema

MAIN = "main"
"""The name of the workspace that is the project itself."""
MOST_CONTENTS = 32 << 20
"""Bytes of all the files that one call reads."""
MAX_LEASE = 366 * 86400
"""Seconds of the longest lease."""

State = Literal["ready", "conflicted", "merged", "abandoned", "deleted"]
Detail = Literal["summary", "outline", "files", "conflicts", "diff", "ranking"]
CheckDetail = Literal["summary", "diff"]
Alike = Literal["identical", "same_patch", "same_syntax"]
MergeVerdict = Literal["clean", "conflicts", "up_to_date"]
OnConflict = Literal["abort", "source", "target", "union", "markers"]
MergeStatus = Literal["merged", "up_to_date", "would_merge", "conflicts", "check_failed", "refused"]
History = Literal["squash", "merge", "rebase", "none"]
Children = Literal["refuse", "delete", "reparent"]
Role = Literal["read", "work", "merge", "administer"]
"""What somebody may do, each role with all that the ones before it may."""
Judgement = Literal["pass", "fail", "timeout", "error", "running"]
Outcome = Literal["pass", "fail", "flaky", "timeout", "error", "running"]
"""A judgement, with what passed and failed on the same contents told apart."""
ConflictKind = Literal[
    "content",
    "add_add",
    "modify_delete",
    "rename_rename",
    "rename_delete",
    "rename_add",
    "file_directory",
    "type",
    "mode",
    "binary",
    "submodule",
]
Rest = Literal["abort", "source", "target", "markers"]
"""What becomes of the paths that conflict and for which nothing else was decided."""
Choice = Literal["source", "target", "union"] | bytes
"""How a path that conflicts is decided: for a side, for the lines of both, or with these contents."""
NONE: Mapping[str, Choice] = {}


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class Noun(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)

    def wire(self) -> dict[str, JsonValue]:
        """Return the JSON form that MCP clients and `--json` print: set fields only."""
        return self.model_dump(mode="json", exclude_defaults=True)


class Snapshot(Noun):
    """Immutable contents of a workspace at a moment. Equal `id` means equal contents."""

    id: str = Field(description="names the snapshot and its place in history")
    contents: str = Field(description="names the contents alone: equal contents, equal value")
    head: str = Field(default="", description="the commit that the workspace was on, where the backend has commits")
    staged: str = Field(default="", description="what was staged, where the backend has an index")
    unmerged: tuple[str, ...] = Field(default=(), description="paths left over from an unfinished merge in there")
    left_out: tuple[str, ...] = Field(default=(), description="repositories of their own in there, which no snapshot holds")
    ahead: tuple[str, ...] = Field(default=(), description="repositories of their own in there with commits since, which no merge brings")
    skipped: tuple[str, ...] = Field(default=(), description="what has no contents to copy: sockets, pipes, devices, mount points")
    unsteady: tuple[str, ...] = Field(default=(), description="files that were being written while they were read")


class Disk(Noun):
    """What the files of a workspace take on the disk, without what the file system needs to list them."""

    size: int = Field(description="bytes")
    shared: int | SkipJsonSchema[None] = Field(
        default=None, description="of them, those that the file system keeps once for these files and others; absent: it does not tell"
    )

    @property
    def own(self) -> int:
        """The bytes that no other file shares, as far as is known."""
        return self.size - (self.shared or 0)


class Workspace(Noun):
    """One isolated copy of a project; `main` is the project itself."""

    uid: SkipJsonSchema[str] = Field(default="", exclude=True)  # never reused; names the refs, the admin directory and the trash
    origin: SkipJsonSchema[str] = Field(default="", exclude=True)  # the parent's snapshot at cloning
    id: str = Field(description="project/name")
    name: str
    project: str
    location: str = Field(description="the folder to work in")
    backend: str
    isolation: str = Field(
        description="what keeps it apart from the others: its kind (a worktree isolates work, not hostile agents), and after a + what the system "
        "keeps git, and `workspaces run --confined`, from: `files` outside of it, the `network`"
    )
    parent: str = Field(default="", description="id of the workspace it was cloned from, or of the nearest above that is there")
    base: str = Field(default="", description="parent's snapshot at cloning, moved forward by each merge between the two")
    state: State
    task: str = ""
    labels: tuple[str, ...] = ()
    owner: str = ""
    created: datetime
    unresolved: tuple[str, ...] = Field(default=(), description="paths that may still hold conflict markers")
    lease_seconds: int = Field(default=0, description="it counts as abandoned when no call named it for so long; 0: never")
    lease_until: datetime | SkipJsonSchema[None] = None
    contained: str = Field(default="", description="of an abandoned one: why deleting it loses nothing; absent when it would")
    deleted: datetime | SkipJsonSchema[None] = None
    restorable_until: datetime | SkipJsonSchema[None] = None
    files_changed: int = Field(default=0, description="against its base")
    insertions: int = 0
    deletions: int = 0
    behind: int = Field(default=0, description="commits that the parent has and it has not")
    checks: dict[str, Judgement] = Field(default_factory=dict[str, Judgement], description="remembered verdicts on what it holds now")
    disk: Disk | SkipJsonSchema[None] = None

    @property
    def is_main(self) -> bool:
        return self.name == MAIN


class Hunk(Noun):
    """One conflicting region. `start` is the 1-based line in the target's file where it begins; the rest are its texts."""

    start: int
    theirs_start: int = Field(default=0, description="the same in the source's file")
    ours: str = ""
    base: str = ""
    theirs: str = ""


class Side(Noun):
    """What one side of a conflict has at a path. A side that deleted the path is absent."""

    mode: str = Field(description="git file mode: 100644, 100755, 120000 (symlink), 160000 (submodule)")
    blob: str = Field(description="object id of the contents")
    path: str = Field(default="", description="where the side has it, when not at the conflict's own path")


class By(Noun):
    """The workspace that a side of a conflict came from, and what it was made for."""

    workspace: str
    task: str = ""


class Conflict(Noun):
    """A path on which source (`theirs`) and target (`ours`) cannot both be had."""

    path: str
    kind: ConflictKind
    base: Side | SkipJsonSchema[None] = None
    ours: Side | SkipJsonSchema[None] = None
    theirs: Side | SkipJsonSchema[None] = None
    hunks: tuple[Hunk, ...] = ()
    note: str = Field(default="", description="why there are no hunks, or why a rule for the path did not decide")
    ours_by: By | SkipJsonSchema[None] = None
    theirs_by: By | SkipJsonSchema[None] = None


class Change(Noun):
    """What happened to one path between two snapshots. Counts are lines; a binary file has none."""

    path: str
    status: Literal["added", "modified", "deleted", "renamed", "copied", "type_changed"]
    old_path: str = ""
    insertions: int = 0
    deletions: int = 0
    binary: bool = False
    by: tuple[str, ...] = Field(default=(), description="ids of the workspaces that made it")


class Diff(Noun):
    """All changes between two snapshots."""

    changes: tuple[Change, ...] = ()

    @property
    def insertions(self) -> int:
        return sum(change.insertions for change in self.changes)

    @property
    def deletions(self) -> int:
        return sum(change.deletions for change in self.changes)

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(path for change in self.changes for path in (change.path, change.old_path) if path)


class Merge(Noun):
    """Two snapshots combined in memory. With conflicts, `contents` holds the marked files."""

    contents: str
    conflicts: tuple[Conflict, ...] = ()
    decided: tuple[str, ...] = Field(default=(), description="paths that conflicted, and where one side had the last word")
    changes: tuple[Change, ...] = Field(default=(), description="what the target gains")
    unsure: tuple[str, ...] = Field(default=(), description="folders of which it is not clear where what is new in them belongs")


class Meeting(Noun):
    """Two snapshots that may be merged; `lineage` are others that `ours` is known to contain."""

    ours: Snapshot
    theirs: Snapshot
    lineage: tuple[str, ...] = ()


class Decided(Noun):
    """A path that conflicted, and what decided it."""

    path: str
    by: str
    when_merged: bool = Field(default=False, description="by a command that a merge runs and looking does not")


class Pick(Noun):
    """One commit that is to be replayed: what it made of `before` is `after`, which descends from nothing else."""

    commit: str = Field(default="", description="empty: what was never committed")
    subject: str = ""
    before: Snapshot
    after: Snapshot


class Program(Noun):
    """A program that a project's own configuration names, to be run on what is stored or merged, or to judge it."""

    kind: Literal["filter", "merge", "check"]
    name: str
    setting: str = Field(description="clean, smudge, process, driver …; of a check run, shell, protect, network")
    command: str


class RestorePoint(Noun):
    """A snapshot kept before something changed a workspace."""

    name: str = Field(description="workspace@number")
    workspace: str
    number: int
    snapshot: Snapshot
    after: str = Field(default="", description="the head that the workspace had afterwards")
    committed: bool = Field(default=False, description="holds only what was committed")
    label: str = ""
    cause: Literal["checkpoint", "merge", "restore"]
    at: datetime


class Operation(Noun):
    """One entry of the log: who did what to which workspaces, and whether it was taken back."""

    id: int
    call: str = Field(default="", description="the same for all that one call did")
    verb: str
    actor: str = ""
    at: datetime
    workspaces: tuple[str, ...] = ()
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    before: str = Field(default="", description="snapshot of what it changed, or looked at before it deleted it")
    after: str = Field(default="", description="snapshot that it brought")
    outcome: dict[str, JsonValue] = Field(default_factory=dict)
    state: Literal["started", "done", "undone", "failed"]

    @property
    def moves(self) -> str:
        """The id of the workspace that it changes: of a merge, the one that receives."""
        return self.workspaces[-1] if self.workspaces else ""

    @property
    def uids(self) -> tuple[str, ...]:
        """The uids of its workspaces, in their order: an id may be another's by now."""
        noted = self.outcome.get("uids")
        return tuple(map(str, noted)) if isinstance(noted, list) else ()


def fingerprint(programs: Sequence[Program]) -> str:
    """Return what names exactly these programs, in their order; nothing for none."""
    text = json.dumps([program.model_dump() for program in programs])
    return hashlib.sha256(text.encode()).hexdigest() if programs else ""


# -- paths as text: UTF-8 as it is, anything else as git quotes it ------------------------------------------------------------------------


def path_text(path: bytes) -> str:
    """Return a path as text without loss: itself when it is UTF-8, else C-quoted as git prints it (`"caf\\351"`)."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        text = '"'
    if not text.startswith('"'):
        return text
    return '"' + "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in path) + '"'


def path_bytes(text: str) -> bytes:
    """Return the path that `path_text` gave as text."""
    if not (len(text) > 1 and text.startswith('"') and text.endswith('"')):
        return os.fsencode(text)
    return re.sub(rb"\\([0-3][0-7]{2})", lambda octal: bytes([int(octal[1], 8)]), os.fsencode(text[1:-1]))


_PLAIN = re.compile(r"[\w./@+=~-]{1,120}( \((a pipe|a socket|a device|a mount point)\))?")
_SHOWN = 120


def path_shown(text: str) -> str:
    """Return a path for a sentence: itself when it is plain, else escaped, in quotes, and cut, so that it cannot pose as part of the sentence."""
    if _PLAIN.fullmatch(text) and text.isprintable():
        return text
    shown = ascii(text[:_SHOWN])
    return shown + ("…" if len(text) > _SHOWN else "")


# -- results: `summary` first, then data, then `warnings` and `next` ------------------------------------------------------------------

Summary = Annotated[str, Field(description="one sentence, true alone")]
Warnings = Annotated[tuple[str, ...], Field(description="what to know besides")]
Next = Annotated[tuple[str, ...], Field(description="at most three calls that make sense now; before the colon: when, or what for")]


class Capabilities(Noun):
    """What a backend can, and by which means on this machine."""

    isolation: str = Field(description="of its workspaces")
    copies_by: str = Field(description="how ignored files are carried: reflink, kernel copy or plain copy")
    commits: bool = Field(description="whether a merge can make commits (`history` squash and merge)")
    merge_kinds: tuple[ConflictKind, ...] = Field(description="the kinds of conflict that it tells apart")
    max_clones: int = Field(description="largest `count` of one clone call")
    spares: bool = Field(default=False, description="whether clones are prepared before they are asked for")
    defers: bool = Field(
        default=False, description="whether a clone's files are written out after it is there; what a power cut takes of them is made again"
    )
    foresees: bool = Field(default=False, description="whether many attempts are looked at together")
    templates: bool = Field(default=False, description="whether one that lies prepared serves for any number of clones")


class Initialized(Noun):
    summary: Summary
    project: str
    workspace: Workspace
    backend: str
    capabilities: Capabilities
    checks: tuple[str, ...] = Field(default=(), description="that workspaces.toml names")
    warnings: Warnings = ()
    next: Next = ()


class Cloned(Noun):
    summary: Summary
    workspaces: tuple[Workspace, ...] = ()
    failed: dict[str, str] = Field(default_factory=dict, description="name → reason, for each that could not be made")
    warnings: Warnings = ()
    next: Next = ()


class Compared(Workspace):
    """A workspace, and what comparing it showed."""

    snapshot: str = Field(description="what was compared")
    merge: MergeVerdict = Field(description="whether it merges into its parent, or into `base` when one was named")
    conflicts: tuple[Conflict, ...] = ()
    decided: tuple[Decided, ...] = Field(default=(), description="paths that conflict, and which rule decides them")
    group: int = Field(default=0, description="number of its group of like attempts, the closest")
    clashes: int = Field(default=0, description="how many of the others it conflicts with")
    outline: tuple[str, ...] = Field(default=(), description="by file: + added, ~ changed, - removed functions, classes, sections, keys")
    parent_changed: int = Field(default=0, description="paths that its parent changed since")
    parent_paths: tuple[str, ...] = Field(default=(), description="of these, first those that it changed too")


class Pair(Noun):
    """Two workspaces that conflict with each other."""

    a: str
    b: str
    conflicts: tuple[Conflict, ...]


class Place(Noun):
    """Where an attempt stands among others, and the evidence. Those with the same contents stand there together."""

    place: int = Field(
        default=0, description="the same where nothing tells them apart; absent: of the control, and where checks were not run"
    )
    workspaces: tuple[str, ...] = Field(description="ids; of the control, of the parent")
    control: bool = Field(default=False, description="what they began with: who stands below it has shown no more")
    checks: dict[str, Outcome] = Field(default_factory=dict[str, Outcome], description="as judged, protected paths as in the base")
    gained: tuple[str, ...] = Field(default=(), description="checks that it passes and its base does not")
    files_changed: int = Field(default=0, description="this and the next two: without protected paths")
    insertions: int = 0
    deletions: int = 0
    alike: tuple[str, ...] = Field(default=(), description="others that did the same in other words")
    merge: MergeVerdict | SkipJsonSchema[None] = None
    tests_changed: tuple[str, ...] = Field(default=(), description="changed paths that are protected, or look like tests")
    why: str = Field(description="all of this in words")


class Comparison(Noun):
    left_out: SkipJsonSchema[tuple[str, ...]] = Field(default=(), exclude=True)  # fields that the wire form says in another way, or not
    summary: Summary
    base: str = Field(default="", description="the one snapshot that all were compared with; usable as merge's if_target")
    table: str = Field(
        default="",
        description="of many, in place of lists: a line for each; group: = identical, ≈ same patch, ~ same syntax; order: they merge in",
    )
    workspaces: tuple[Compared, ...] = ()
    files: tuple[Change, ...] = ()
    pairs: tuple[Pair, ...] = ()
    groups: tuple[tuple[str, ...], ...] = Field(default=(), description="ids of attempts that are alike")
    alike: tuple[Alike, ...] = Field(default=(), description="in what, for each group; same_syntax: all but comments and layout")
    compatible: tuple[str, ...] = Field(default=(), description="largest set found that merges together, in the order in which it does")
    ranking: tuple[Place, ...] = Field(default=(), description="by checks, then size, then how many did the same; those not checked last")
    diff: str = ""
    truncated: bool = False
    next_cursor: str = ""
    warnings: Warnings = ()
    next: Next = ()

    def wire(self) -> dict[str, JsonValue]:
        """Return the JSON form. Of many attempts it says just once what is said of them."""
        return self.model_copy(update={name: Comparison.model_fields[name].default for name in self.left_out}).as_it_is()

    def as_it_is(self) -> dict[str, JsonValue]:
        """Return the JSON form of all that is known."""
        return super().wire()


class Verdict(Noun):
    """What a check says of some contents."""

    workspace: str
    check: str
    verdict: Judgement
    control: bool = Field(default=False, description="of what the workspaces began with, to compare with")
    flaky: bool = Field(default=False, description="the same contents passed and failed")
    cached: bool = Field(default=False, description="remembered from the same contents")
    seconds: float = 0
    runs: int = Field(default=1, description="how often it was run on these contents")
    exit_status: int = Field(default=0, description="negative: the signal that ended it")
    why: str = ""
    isolation: str = Field(default="", description="what it was kept from: files outside of its copy, the network")
    tail: str = Field(default="", description="the end of its output")
    log: str = Field(default="", description="file with all of its output")


class Checked(Noun):
    summary: Summary
    results: tuple[Verdict, ...]
    diff: str = Field(default="", description="where the outputs of two workspaces differ")
    warnings: Warnings = ()
    next: Next = ()


class Merged(Noun):
    """What is said of a merge, of one workspace or of several."""

    summary: Summary
    status: MergeStatus = Field(
        description="refused: of one of several sources, that could not be merged as it was asked; summary says why"
    )
    source: str
    target: str
    snapshot: str = Field(default="", description="the target's snapshot now; usable as if_target")
    commit: str = ""
    files: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    stopped_at: str = Field(default="", description="the commit of the source that could not be replayed, and its subject")
    checks: tuple[Verdict, ...] = Field(default=(), description="what the required checks say of the merged contents")
    decided: tuple[Decided, ...] = Field(default=(), description="paths that conflicted and were decided, and by which rule")
    restore_point: str = ""


class Landing(Merged):
    """What became of the merge of one workspace."""

    warnings: Warnings = ()
    next: Next = ()


class MergeResult(Merged):
    results: tuple[Landing, ...] = Field(default=(), description="of several sources: each one's, in the order in which they were merged")
    warnings: Warnings = ()
    next: Next = ()


class Deleted(Noun):
    summary: Summary
    deleted: tuple[str, ...] = ()
    kept: dict[str, str] = Field(default_factory=dict, description="id → why it was not deleted")
    restorable_until: datetime | SkipJsonSchema[None] = None
    warnings: Warnings = ()
    next: Next = ()


class Status(Noun):
    summary: Summary
    workspaces: tuple[Workspace, ...]
    revision: int = Field(description="number of the last operation; grows whenever something changed")
    warnings: Warnings = ()
    next: Next = ()


class Checkpointed(Noun):
    summary: Summary
    restore_point: str
    warnings: Warnings = ()
    next: Next = ()


class Restored(Noun):
    summary: Summary
    workspace: Workspace
    restore_point: str = Field(default="", description="what was replaced, kept")
    warnings: Warnings = ()
    next: Next = ()


class Undone(Noun):
    summary: Summary
    operations: tuple[Operation, ...]
    warnings: Warnings = ()
    next: Next = ()


class Freed(Noun):
    """A deleted workspace that is, or would be, removed for good."""

    id: str
    deleted: datetime
    size: int = Field(description="bytes on disk; what it shared with others in full")
    why: str


class Collected(Noun):
    summary: Summary
    freed: tuple[Freed, ...] = ()
    deleted: tuple[str, ...] = Field(default=(), description="ids of abandoned workspaces that went into the trash")
    kept: dict[str, str] = Field(default_factory=dict, description="id → why one was not deleted, or not removed for good")
    size: int = Field(default=0, description="bytes on disk, of all that was removed for good; less is freed of what was shared")
    warnings: Warnings = ()
    next: Next = ()


class Log(Noun):
    summary: Summary
    operations: tuple[Operation, ...] = ()


class Call(Noun):
    """One call that a server answered. What it did to workspaces is in the log of operations, under the same `call`."""

    at: datetime
    call: str
    actor: str = Field(default="", description="whose token it was (token:NAME, oauth:SUBJECT@ISSUER), or the person at the machine")
    role: str = Field(default="", description="of who called; nothing for one whom the server does not know")
    tool: str = Field(description="the tool, or the method of the protocol")
    workspaces: tuple[str, ...] = Field(default=(), description="as the call named them; who is bound to one and names none means that")
    outcome: str = Field(default="ok", description="ok, the status of a merge, the code of an error, or cancelled")
    cancelled: bool = Field(default=False, description="the client had given it up; with another outcome than cancelled it was carried out")
    ms: float = 0.0
    request: str = Field(default="", description="the client's own number of the request")
    transport: str = ""
    trace: str = Field(default="", description="id of the trace that the call is part of, where traces are kept")


class Calls(Noun):
    summary: Summary
    calls: tuple[Call, ...] = ()


class Trust(Noun):
    """The programs that a project's own configuration names, and whether a person said that they may run."""

    summary: Summary
    programs: tuple[Program, ...] = ()
    fingerprint: str = Field(default="", description="names exactly these programs")
    trusted: bool = False
    changed: bool = Field(default=False, description="others were trusted, and these are off")
    warnings: Warnings = ()
    next: Next = ()


class TokenShown(Noun):
    """A token as it is told: everything but the secret."""

    name: str
    role: str
    projects: tuple[str, ...] = Field(default=(), description="folders of the projects that it is for")
    workspace: str = Field(default="", description="the one workspace that it is bound to, with what descends from it")
    created: datetime
    expires: datetime | SkipJsonSchema[None] = None


class TokenList(Noun):
    summary: Summary
    tokens: tuple[TokenShown, ...] = ()
    warnings: Warnings = ()
    next: Next = ()


class TokenMade(TokenList):
    secret: str = Field(default="", description="told this once, and kept nowhere")


class Finding(Noun):
    """One thing that `doctor` looked at."""

    check: str
    ok: bool
    message: str
    repair: str = ""


class Diagnosis(Noun):
    summary: Summary
    findings: tuple[Finding, ...]
    repaired: tuple[str, ...] = Field(default=(), description="what was put right before this look")
