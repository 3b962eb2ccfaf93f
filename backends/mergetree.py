"""What `git merge-tree` said, as conflicts that a reader can act on, and as the tree that a chosen resolution gives.

The format is that of `git merge-tree --write-tree -z --messages` (git-merge-tree(1), OUTPUT). The two sides travel as full commit ids, so that
the labels in conflict markers cannot be mistaken for contents, and with markers of a length that no line of the texts has (`MARKERS`), so that the lines
between them cannot either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
    """Lines on which the texts conflict; `start` is the 1-based line in the target's text."""

    start: int
    ours: bytes
    base: bytes
    theirs: bytes


@dataclass(frozen=True)
class Outcome:
    """A merge in memory: the result tree, and a clash for every path that conflicts."""

    tree: str
    clashes: tuple[Clash, ...]
    ours: str
    theirs: str
    marker: int


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
    ranks = dict[bytes, int]()
    for paths, kind in _messages(words):
        rank = next((rank for rank, (prefix, _) in enumerate(_KINDS) if kind.startswith(prefix)), None)
        names = {_home(path, ours, theirs) for path in paths}
        if rank is None:
            continue
        for clash in (clashes[name] for name in names if name in clashes):
            clash.related |= names
            if rank < ranks.get(clash.path, len(_KINDS)):
                ranks[clash.path], clash.kind = rank, _KINDS[rank][1]
    for clash in clashes.values():
        clash.kind = _refined(clash)
    return Outcome(tree, tuple(clashes.values()), ours, theirs, marker)


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


def conflicts(git: Git, outcome: Outcome) -> tuple[Conflict, ...]:
    """Return the conflicts with their sides, and the regions in which texts differ."""
    texts = _marked_texts(git, outcome, HUNK_LIMIT)
    return tuple(_conflict(clash, texts.get(clash.path), outcome) for clash in sorted(outcome.clashes, key=lambda clash: clash.path))


def _conflict(clash: Clash, text: bytes | None, outcome: Outcome) -> Conflict:
    sides = {stage: _side(clash, stage) for stage in clash.stages}
    return Conflict(
        path=path_text(clash.path),
        kind=clash.kind,
        base=sides.get(1),
        ours=sides.get(2),
        theirs=sides.get(3),
        hunks=() if text is None else tuple(_hunk(part) for part in _regions(text, outcome) if isinstance(part, Region)),
    )


def _hunk(region: Region) -> Hunk:
    return Hunk(
        start=region.start,
        ours=region.ours.decode(errors="replace"),
        base=region.base.decode(errors="replace"),
        theirs=region.theirs.decode(errors="replace"),
    )


def _side(clash: Clash, stage: int) -> Side:
    entry, home = clash.stages[stage], clash.homes[stage]
    return Side(mode=entry.mode, blob=entry.blob, path="" if home == clash.path else path_text(home))


def _marked_texts(git: Git, outcome: Outcome, limit: int) -> dict[bytes, bytes]:
    """Return the result tree's contents, markers included, of every path on which texts conflict."""
    paths = [clash.path for clash in outcome.clashes if clash.is_text]
    if not paths:
        return {}
    there = entries(git, outcome.tree, paths)
    blobs = git.blobs((entry.blob for entry in there.values()), limit)
    texts = {path: blobs[entry.blob] for path, entry in there.items() if entry.blob in blobs}
    # Where the repository's info/attributes sets another length of markers, regions cannot be told; such a file is taken whole.
    return {path: text for path, text in texts.items() if any(isinstance(part, Region) for part in _regions(text, outcome))}


def is_ambiguous(git: Git, outcome: Outcome) -> bool:
    """Return whether the texts that conflict hold lines which could be taken for markers of this merge."""
    sides = {entry.blob for clash in outcome.clashes if clash.is_text for entry in clash.stages.values()}
    marker = re.compile(rb"(?m)^([<|=>])\1{%d}(?!\1)" % (outcome.marker - 1))
    return bool(sides) and any(marker.search(text) for text in git.blobs(sides, TEXT_LIMIT).values())


def entries(git: Git, tree: str, paths: list[bytes]) -> dict[bytes, Entry]:
    """Return what a tree has at these paths: files, links, submodules and (mode 040000) folders."""
    found: dict[bytes, Entry] = {}
    for at in range(0, len(paths), 500):
        for row in git.fields("ls-tree", "-z", "--full-tree", tree, "--", *paths[at : at + 500]):
            about, path = row.split(b"\t", 1)
            mode, _, blob = about.decode().split()
            found[path] = Entry(mode, blob)
    return found


def _regions(text: bytes, outcome: Outcome) -> Iterator[bytes | Region]:
    """Return the text in order: lines that both sides agree on, and a `Region` where they do not."""
    opening = re.compile(rb"<{%d} %s(?::.*)?\r?\n?$" % (outcome.marker, outcome.ours.encode()), re.DOTALL)
    middle, divider = re.compile(rb"\|{%d}(?: .*)?\r?\n?$" % outcome.marker, re.DOTALL), re.compile(rb"={%d}\r?\n?$" % outcome.marker)
    closing = re.compile(rb">{%d} %s(?::.*)?\r?\n?$" % (outcome.marker, outcome.theirs.encode()), re.DOTALL)
    parts: dict[str, list[bytes]] = {}
    into, number, start = "", 1, 0
    for line in text.splitlines(keepends=True):
        if opening.match(line):
            parts, into, start = {side: list[bytes]() for side in ("ours", "base", "theirs")}, "ours", number
        elif into == "ours" and middle.match(line):
            into = "base"
        elif into in ("ours", "base") and divider.match(line):
            into = "theirs"
        elif into == "theirs" and closing.match(line):
            into = ""
            yield Region(start, *(b"".join(parts[side]) for side in ("ours", "base", "theirs")))
        elif into:
            parts[into].append(line)
            number += into == "ours"
        else:
            number += 1
            yield line


# -- resolutions --------------------------------------------------------------------------------------------------------------------------


def settled(git: Git, outcome: Outcome, side: str, scratch: Path) -> str:
    """Return the result tree with every conflict decided for `side`: its text where texts conflict, its whole file or absence elsewhere."""
    commit, stage = (outcome.ours, 2) if side == "target" else (outcome.theirs, 3)
    texts = _marked_texts(git, outcome, TEXT_LIMIT)
    wholes = git.blobs((clash.stages[stage].blob for clash in outcome.clashes if clash.path in texts), TEXT_LIMIT)
    put: list[tuple[str, str, bytes]] = []
    for clash in outcome.clashes:
        if clash.path in texts:
            entry = clash.stages[stage]
            put.append((entry.mode, git.blob(_chosen(texts[clash.path], outcome, stage, wholes[entry.blob])), clash.path))
            continue
        names = sorted({clash.path, *clash.homes.values(), *clash.related})
        theirs = entries(git, commit, names)
        put += [("0", "", name) for name in names if name not in theirs]
        put += [(entry.mode, entry.blob, name) for name, entry in theirs.items() if entry.mode != "040000"]
    return git.tree(outcome.tree, put, scratch)


def _chosen(text: bytes, outcome: Outcome, stage: int, whole: bytes) -> bytes:
    """Return the merged text with one side's lines in every conflicting region; its last line ends as in that side's `whole`."""
    parts = list(_regions(text, outcome))
    kept = b"".join(part if isinstance(part, bytes) else part.ours if stage == 2 else part.theirs for part in parts)
    ended_by_git = bool(parts) and isinstance(parts[-1], Region) and not whole.endswith(b"\n")
    return kept.removesuffix(b"\n") if ended_by_git else kept


def marked(git: Git, outcome: Outcome, labels: tuple[str, str], scratch: Path) -> str:
    """Return the result tree with markers as a person knows them: seven characters long, and the sides by their names."""
    put: list[tuple[str, str, bytes]] = []
    for clash in outcome.clashes:
        for stage, name in clash.homes.items():
            if name != clash.path and stage in (2, 3):
                label = labels[stage - 2]
                put += [("0", "", name), (clash.stages[stage].mode, clash.stages[stage].blob, clash.path + b"~" + label.encode())]
    modes = {clash.path: clash.stages[2].mode for clash in outcome.clashes if clash.is_text and 2 in clash.stages}
    for path, text in _marked_texts(git, outcome, TEXT_LIMIT).items():
        put.append((modes[path], git.blob(_familiar(text, outcome, labels)), path))
    return git.tree(outcome.tree, put, scratch)


def _familiar(text: bytes, outcome: Outcome, labels: tuple[str, str]) -> bytes:
    text = re.sub(rb"(?m)^<{%d} %s" % (outcome.marker, outcome.ours.encode()), b"<<<<<<< " + labels[0].encode(), text)
    text = re.sub(rb"(?m)^>{%d} %s" % (outcome.marker, outcome.theirs.encode()), b">>>>>>> " + labels[1].encode(), text)
    text = re.sub(rb"(?m)^\|{%d}(?: [^\r\n]*)?" % outcome.marker, b"||||||| base", text)
    return re.sub(rb"(?m)^={%d}(?=\r?$)" % outcome.marker, b"=======", text)
