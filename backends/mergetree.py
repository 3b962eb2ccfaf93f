"""What `git merge-tree` said, as conflicts that a reader can act on. `resolution` has what can be made of them.

The format is that of `git merge-tree --write-tree -z --messages` (git-merge-tree(1), OUTPUT). The two sides travel as full commit ids, so that
the labels in conflict markers cannot be mistaken for contents, and with markers of a length that no line of the texts has (`MARKERS`), so that the lines
between them cannot either.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workspaces.model import Conflict, ConflictKind, Hunk, Side, path_text

from .git import Git

MARKERS = (39, 57, 71, 83, 101, 127)
"""Lengths of a conflict marker inside of a merge, tried in turn until the texts hold none such; what a person sees has git's usual seven."""
HUNK_LIMIT = 1 << 18
"""Bytes of the largest file whose conflicting regions are spelled out."""
TEXT_LIMIT = 1 << 23
"""Bytes of the largest file that is resolved region by region; a larger one is taken whole."""

# Kinds in order of precedence: the first that git reported for a path names the conflict.
_KINDS: tuple[tuple[str, ConflictKind], ...] = (
    ("CONFLICT (file/directory)", "file_directory"),
    ("CONFLICT (distinct modes)", "type"),
    ("CONFLICT (distinct types)", "type"),
    ("CONFLICT (submodule", "submodule"),
    ("CONFLICT (rename/rename)", "rename_rename"),
    ("CONFLICT (rename/delete)", "rename_delete"),
    ("CONFLICT (rename involved", "rename_add"),
    ("CONFLICT (directory rename split", "rename_rename"),
    ("CONFLICT (directory rename suggested", "rename_rename"),
    ("CONFLICT (directory rename", "rename_add"),
    ("CONFLICT (modify/delete)", "modify_delete"),
    ("CONFLICT (binary)", "binary"),
    ("CONFLICT (contents)", "content"),
)


@dataclass(frozen=True)
class Entry:
    mode: str
    blob: str


@dataclass
class Clash:
    """All that git reported for one path: `marked` are the names under which the result tree holds it."""

    path: bytes
    kind: ConflictKind = "content"
    stages: dict[int, Entry] = field(default_factory=dict[int, Entry])
    homes: dict[int, bytes] = field(default_factory=dict[int, bytes])
    related: set[bytes] = field(default_factory=set[bytes])

    @property
    def is_text(self) -> bool:
        return self.kind in ("content", "add_add") and all(entry.mode.startswith("100") for entry in self.stages.values())


@dataclass(frozen=True)
class Region:
    """Lines on which the texts conflict. `start` and `theirs_start` are the 1-based lines where that would be if all of the text were as the one
    side has these regions, and otherwise as it was merged."""

    start: int
    theirs_start: int
    ours: bytes
    base: bytes
    theirs: bytes


@dataclass(frozen=True)
class Outcome:
    """A merge in memory: the result tree, and a clash for every path that conflicts. `unsure` are paths of which git only says that they do: folders
    that went to several places, or to one that is taken, so that it does not know where what is new in them belongs."""

    tree: str
    clashes: tuple[Clash, ...]
    ours: str
    theirs: str
    marker: int
    unsure: tuple[bytes, ...] = ()
    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes], compare=False)
    """The texts that conflict, by id, as far as they were read."""


def parse(out: bytes, ours: str, theirs: str, marker: int) -> Outcome:
    """Read the answer to a merge of the commits `ours` and `theirs`."""
    words = iter(out.split(b"\0"))
    tree = next(words).decode()
    clashes: dict[bytes, Clash] = {}
    for word in words:
        if not word:
            break
        about, name = word.split(b"\t", 1)
        mode, blob, stage = about.decode().split()
        path = _home(name, ours, theirs)
        clash = clashes.setdefault(path, Clash(path))
        clash.stages[int(stage)] = Entry(mode, blob)
        clash.homes[int(stage)] = name
    ranks, unsure = dict[bytes, int](), set[bytes]()
    for paths, kind in _messages(words):
        rank = next((rank for rank, (prefix, _) in enumerate(_KINDS) if kind.startswith(prefix)), None)
        names = {_home(path, ours, theirs) for path in paths}
        if kind.startswith("CONFLICT") and not names & clashes.keys():
            unsure |= names
        if rank is None:
            continue
        for clash in (clashes[name] for name in names if name in clashes):
            clash.related |= names
            if rank < ranks.get(clash.path, len(_KINDS)):
                ranks[clash.path], clash.kind = rank, _KINDS[rank][1]
    for clash in clashes.values():
        clash.kind = _refined(clash)
    return Outcome(tree, tuple(clashes.values()), ours, theirs, marker, tuple(sorted(unsure)))


def _messages(words: Iterator[bytes]) -> Iterator[tuple[list[bytes], str]]:
    for count in words:
        # git 2.39 ends a submodule conflict with advice to a person that is no message.
        if not count.isdigit():
            return
        paths = [next(words) for _ in range(int(count))]
        kind = next(words).decode()
        next(words)
        yield paths, kind


def _home(name: bytes, ours: str, theirs: str) -> bytes:
    """Return where a file would be that git moved out of a folder's way as `name~commit`."""
    return re.sub(rb"~(?:" + ours.encode() + b"|" + theirs.encode() + rb")(?:_\d+)?$", b"", name)


def _refined(clash: Clash) -> ConflictKind:
    if clash.kind != "content":
        return clash.kind
    ours, theirs = clash.stages.get(2), clash.stages.get(3)
    if ours is None or theirs is None:
        return "modify_delete"
    if ours.blob == theirs.blob:
        return "mode"
    return "content" if 1 in clash.stages else "add_add"


# -- conflicts as values ----------------------------------------------------------------------------------------------------------------


def conflicts(git: Git, outcome: Outcome, scratch: Path) -> tuple[Conflict, ...]:
    """Return the conflicts with their sides, and the regions in which texts differ."""
    texts = marked_texts(git, outcome, HUNK_LIMIT)
    parts = {path: [*regions(text, outcome)] for path, text in texts.items()}
    clashes = sorted(outcome.clashes, key=lambda clash: clash.path)
    wholes = {clash.path: {stage: outcome.blobs.get(entry.blob, b"") for stage, entry in clash.stages.items()} for clash in clashes}
    lines = _lines(git, [clash for clash in clashes if clash.path in parts], parts, wholes, scratch)
    return tuple(_conflict(clash, parts.get(clash.path, []), wholes[clash.path], lines) for clash in clashes)


def _conflict(clash: Clash, parts: Sequence[bytes | Region], wholes: Mapping[int, bytes], lines: Mapping[Place, Lines]) -> Conflict:
    sides = {stage: _side(clash, stage) for stage in clash.stages}
    hunks = _hunks(parts, wholes, lines.get((clash.path, 2), SAME), lines.get((clash.path, 3), SAME))
    return Conflict(
        path=path_text(clash.path),
        kind=clash.kind,
        base=sides.get(1),
        ours=sides.get(2),
        theirs=sides.get(3),
        hunks=hunks,
        note=_note(clash, hunks, wholes),
    )


def _note(clash: Clash, hunks: Sequence[Hunk], wholes: Mapping[int, bytes]) -> str:
    """Say what keeps the hunks from being all that there is to know."""
    if hunks:
        return "" if all(map(_is_utf8, wholes.values())) else "not UTF-8: other bytes are shown as \N{REPLACEMENT CHARACTER}"
    return "too large, or with markers of its own, for hunks to be told" if clash.is_text else ""


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _hunks(parts: Sequence[bytes | Region], wholes: Mapping[int, bytes], ours: Lines, theirs: Lines) -> tuple[Hunk, ...]:
    """Return the regions of a text as its sides have them (`wholes`): at their lines, and with an end of the last line only where it has one."""
    found: list[Hunk] = []
    for part in parts:
        if isinstance(part, Region):
            texts = {stage: side(part, stage) for stage in (1, 2, 3)}
            if part is parts[-1]:
                texts = {stage: unended(text, wholes.get(stage, b"")) for stage, text in texts.items()}
            shown = {stage: text.decode(errors="replace") for stage, text in texts.items()}
            start, there = ours.at(part.start), theirs.at(part.theirs_start)
            found.append(Hunk(start=start, theirs_start=there, ours=shown[2], base=shown[1], theirs=shown[3]))
    return tuple(found)


Place = tuple[bytes, int]
"""A path, and the stage that is meant of it."""


@dataclass(frozen=True)
class Lines:
    """Which line of a file a line of another text is: `hunks` of the way between them, as (line, lines gone, lines come)."""

    hunks: Sequence[tuple[int, int, int]] = ()

    def at(self, line: int) -> int:
        return line + sum(come - gone for at, gone, come in self.hunks if at + max(gone, 1) <= line)


SAME = Lines()


def _lines(
    git: Git,
    clashes: Sequence[Clash],
    parts: Mapping[bytes, Sequence[bytes | Region]],
    wholes: Mapping[bytes, Mapping[int, bytes]],
    scratch: Path,
) -> dict[Place, Lines]:
    """Return where the lines of merged texts are in the files of either side, for those that got lines from the other one: by one diff of two
    trees that hold all of them."""
    moved: dict[Place, tuple[bytes, str]] = {}
    for clash in clashes:
        for stage in (2, 3):
            whole = wholes[clash.path].get(stage, b"")
            if stage in clash.stages and (text := chosen(parts[clash.path], stage, whole)) != whole:
                moved[clash.path, stage] = (text, clash.stages[stage].blob)
    if not moved:
        return {}
    made = _blobs(git, [text for text, _ in moved.values()], scratch)
    old, new = (_flat(git, blobs) for blobs in (made, [blob for _, blob in moved.values()]))
    out = git.run("diff-tree", "-p", "-U0", "--text", "--no-renames", "--no-ext-diff", "--no-textconv", "--full-index", old, new)
    rows = re.findall(rb"(?m)^(?:diff --git a/(\d+) |@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@)", out)
    found: dict[Place, list[tuple[int, int, int]]] = {}
    places, here = [*moved], list[tuple[int, int, int]]()
    for name, at, gone, come in rows:
        if name:
            here = found.setdefault(places[int(name)], [])
        else:
            here.append((int(at), int(gone or 1), int(come or 1)))
    return {place: Lines(hunks) for place, hunks in found.items()}


def _blobs(git: Git, texts: Sequence[bytes], scratch: Path) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="texts-", dir=scratch) as folder:
        files = [Path(folder, str(number)) for number in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_bytes(text)
        return (
            git.run("hash-object", "-w", "--no-filters", "--stdin-paths", stdin="".join(f"{file}\n" for file in files).encode())
            .decode()
            .split()
        )


def _flat(git: Git, blobs: Sequence[str]) -> str:
    """Return a tree of files whose names are their numbers."""
    return git.line("mktree", "-z", stdin="".join(f"100644 blob {blob}\t{number}\0" for number, blob in enumerate(blobs)).encode())


def _side(clash: Clash, stage: int) -> Side:
    entry, home = clash.stages[stage], clash.homes[stage]
    return Side(mode=entry.mode, blob=entry.blob, path="" if home == clash.path else path_text(home))


def marked_texts(git: Git, outcome: Outcome, limit: int) -> dict[bytes, bytes]:
    """Return the result tree's contents, markers included, of every path on which texts conflict."""
    paths = [clash.path for clash in outcome.clashes if clash.is_text]
    if not paths:
        return {}
    there = entries(git, outcome.tree, paths)
    blobs = git.blobs((entry.blob for entry in there.values()), limit)
    texts = {path: blobs[entry.blob] for path, entry in there.items() if entry.blob in blobs}
    # Where the repository's info/attributes sets another length of markers, regions cannot be told; such a file is taken whole.
    return {path: text for path, text in texts.items() if any(isinstance(part, Region) for part in regions(text, outcome))}


def is_ambiguous(git: Git, outcome: Outcome) -> bool:
    """Return whether the texts that conflict, which are read for that, hold lines which could be taken for markers of this merge."""
    sides = {entry.blob for clash in outcome.clashes if clash.is_text for entry in clash.stages.values()}
    marker = re.compile(rb"(?m)^([<|=>])\1{%d}(?!\1)" % (outcome.marker - 1))
    outcome.blobs.update(git.blobs(sides, TEXT_LIMIT))
    return any(marker.search(text) for text in outcome.blobs.values())


def entries(git: Git, tree: str, paths: list[bytes]) -> dict[bytes, Entry]:
    """Return what a tree has at these paths: files, links, submodules and (mode 040000) folders."""
    found: dict[bytes, Entry] = {}
    for at in range(0, len(paths), 500):
        for row in git.fields("ls-tree", "-z", "--full-tree", tree, "--", *paths[at : at + 500]):
            about, path = row.split(b"\t", 1)
            mode, _, blob = about.decode().split()
            found[path] = Entry(mode, blob)
    return found


def regions(text: bytes, outcome: Outcome) -> Iterator[bytes | Region]:
    """Return the text in order: lines that both sides agree on, and a `Region` where they do not."""
    opening = re.compile(rb"<{%d} %s(?::.*)?\r?\n?$" % (outcome.marker, outcome.ours.encode()), re.DOTALL)
    middle, divider = re.compile(rb"\|{%d}(?: .*)?\r?\n?$" % outcome.marker, re.DOTALL), re.compile(rb"={%d}\r?\n?$" % outcome.marker)
    closing = re.compile(rb">{%d} %s(?::.*)?\r?\n?$" % (outcome.marker, outcome.theirs.encode()), re.DOTALL)
    parts: dict[str, list[bytes]] = {}
    into, number, there, start = "", 1, 1, (0, 0)
    for line in text.splitlines(keepends=True):
        if opening.match(line):
            parts, into, start = {side: list[bytes]() for side in ("ours", "base", "theirs")}, "ours", (number, there)
        elif into == "ours" and middle.match(line):
            into = "base"
        elif into in ("ours", "base") and divider.match(line):
            into = "theirs"
        elif into == "theirs" and closing.match(line):
            into = ""
            yield Region(*start, *(b"".join(parts[side]) for side in ("ours", "base", "theirs")))
        elif into:
            parts[into].append(line)
            number, there = number + (into == "ours"), there + (into == "theirs")
        else:
            number, there = number + 1, there + 1
            yield line


def side(region: Region, stage: int) -> bytes:
    return {1: region.base, 2: region.ours, 3: region.theirs}[stage]


def chosen(parts: Sequence[bytes | Region], stage: int, whole: bytes) -> bytes:
    """Return the merged text with one side's lines in every conflicting region; its last line ends as in that side's `whole`."""
    kept = b"".join(part if isinstance(part, bytes) else side(part, stage) for part in parts)
    return unended(kept, whole) if parts and isinstance(parts[-1], Region) else kept


def unended(text: bytes, whole: bytes) -> bytes:
    """Return text without the line end that git gave it because a marker follows, where the file that it is the end of has none."""
    if whole.endswith(b"\n"):
        return text
    shorter = text.removesuffix(b"\n")
    return shorter if whole.endswith(shorter) else shorter.removesuffix(b"\r")
