"""What differs between two trees, as data and as text. No driver of the repository's is run for either."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workspaces.errors import Limit
from workspaces.model import MOST_CONTENTS, Change, path_shown, path_text

from .attributes import attribute_tree
from .git import Git, Reply, refusal
from .mergetree import MARKERS, Entry

_NONE = "0" * 6
_LARGE, _DENSEST = 1 << 29, 50
"""Bytes up to which a file may be anything, and how much smaller a larger one can be in the repository."""
_STATUS = {"A": "added", "M": "modified", "D": "deleted", "R": "renamed", "C": "copied", "T": "type_changed"}
_OPTIONS = ("-r", "-z", "--find-renames", "--no-ext-diff", "--no-textconv", "--diff-algorithm=histogram")
_UNSHOWN = """\
[attr]linguist-generated -diff
*.lock -diff
*-lock.json -diff
*-lock.yaml -diff
npm-shrinkwrap.json -diff
go.sum -diff
bun.lockb -diff
Package.resolved -diff
*.min.js -diff
*.min.css -diff
*.map -diff
*.pb.go -diff
*_pb2.py -diff
*_pb2.pyi -diff
*.g.dart -diff
*.Designer.cs -diff
"""
"""What has no text to show unless the project's own attributes say otherwise: locks, and what is generated as its name says."""
_FOLDED = re.compile(
    r"^(diff --git .*)\n(?:(?:index|old mode|new mode|new file|deleted file|similarity|rename|copy) .*\n)*Binary files .* differ\n",
    re.MULTILINE,
)
_HEAD = re.compile(rb"([0-9a-f]{40,64}) ([0-9a-f]{40,64})\n")
_AS_MERGES = ("-r", "-z", "--raw", "--no-abbrev", "--find-renames", "-l7000", "--no-ext-diff")
"""A merge looks for renames among as many files (`merge.renameLimit`)."""


Pair = tuple[str, str]
"""Two trees, by their ids."""


@dataclass(frozen=True)
class Step:
    """One path that differs between two trees; a side without it is None."""

    path: bytes
    old: Entry | None
    new: Entry | None

    @property
    def put(self) -> tuple[str, str, bytes]:
        """What `Git.tree` puts in to take this step."""
        return (self.new.mode, self.new.blob, self.path) if self.new else ("0", "", self.path)


def steps(git: Git, old: str, new: str) -> list[Step]:
    """Return what differs between two trees, path by path, renames not told apart."""
    words = iter(git.fields("diff-tree", "-r", "-z", "--raw", "--no-renames", "--full-index", old, new))
    return [Step(next(words), *_sides(about)) for about in words]


def _sides(about: bytes) -> tuple[Entry | None, Entry | None]:
    """Return what a line of raw output says of a path before and after (git-diff-tree(1), RAW OUTPUT FORMAT)."""
    old_mode, new_mode, old_blob, new_blob, _ = about[1:].decode().split()
    return None if old_mode == _NONE else Entry(old_mode, old_blob), None if new_mode == _NONE else Entry(new_mode, new_blob)


@dataclass(frozen=True)
class Moved:
    """All that differs between two trees, by path: without `renames`, if there are any. `files` are the paths with something now, `folders` those
    above them, and `rules` says whether attributes did."""

    steps: dict[bytes, Step]
    renames: bool
    files: frozenset[bytes]
    folders: frozenset[bytes]
    rules: bool

    @property
    def may_rename(self) -> bool:
        """Whether something came and something went: git may find that one became the other."""
        return any(not step.old for step in self.steps.values()) and any(not step.new for step in self.steps.values())

    @classmethod
    def of(cls, found: Sequence[Step], renames: bool) -> Moved:
        there = {step.path: step for step in found}
        files = frozenset(step.path for step in found if step.new)
        rules = any(step.path.rpartition(b"/")[2] == b".gitattributes" for step in found)
        return cls(there, renames, files, frozenset(above(files)), rules)


def moved_in_each(git: Git, pairs: Sequence[Pair]) -> list[Moved]:
    """Return what differs between the trees of each pair, with one look at all."""
    found: dict[Pair, list[Step]] = {}
    renamed: set[Pair] = set()
    for here, word, words in _told(git, pairs, *_AS_MERGES):
        told = found.setdefault(here, [])
        if word:
            told.append(Step(next(words), *_sides(word)))
            if word.rsplit(b" ", 1)[1][:1] in (b"R", b"C"):
                renamed.add(here)
                next(words)
    return [Moved.of(found[pair], pair in renamed) for pair in pairs]


def _told(git: Git, pairs: Sequence[Pair], *how: str) -> Iterator[tuple[Pair, bytes, Iterator[bytes]]]:
    """Yield what git tells of pairs of trees (git-diff-tree(1), `--stdin`), word by word: of which pair, a word with which something begins, and
    those that come after it. Each pair is told with no word first.

    Raises for a pair of which it tells nothing: it has not found one of the trees, and does not say so.
    """
    asked = "".join(f"{old} {new}\n" for old, new in pairs).encode()
    words = iter(git.run("diff-tree", *how, "--stdin", stdin=asked).split(b"\0") if pairs else ())
    here, met = ("", ""), set[Pair]()
    for word in words:
        while head := _HEAD.match(word):  # in a line of its own
            here, word = (head[1].decode(), head[2].decode()), word[head.end() :]
            met.add(here)
            yield here, b"", words
        if word:
            yield here, word, words
    if untold := {*pairs} - met:
        raise refusal(("diff-tree",), Reply(128, b"", f"bad object {' or '.join(untold.pop())}"))


def above(paths: Iterable[bytes]) -> set[bytes]:
    """Return the folders that the paths are in, each met once: a tree may be deep."""
    found: set[bytes] = set()
    for path in paths:
        folder = path.rpartition(b"/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition(b"/")[0]
    return found


_small: set[str] = set()
_REMEMBERED = 10_000


def note_small(blob: str) -> None:
    """Remember of a blob that it may be written anywhere: somebody has read it whole."""
    if len(_small) >= _REMEMBERED:
        _small.clear()
    _small.add(blob)


def refuse_hollow(git: Git, moved: Sequence[Step]) -> None:
    """Raise `Limit` for files that are to be written and are next to nothing in the repository: a few kilobytes of zeros, packed, fill a disk."""
    wanted = {step.new.blob: step.path for step in moved if step.new and step.new.mode.startswith("100") and step.new.blob not in _small}
    asked = "".join(f"{blob}\n" for blob in wanted).encode()
    said = git.run("cat-file", "--batch-check=%(objectname) %(objectsize) %(objectsize:disk)", stdin=asked) if wanted else b""
    for row in (line.split() for line in said.splitlines()):
        if len(row) == 3 and int(row[1]) > max(_LARGE, int(row[2]) * _DENSEST):
            path = path_shown(path_text(wanted[row[0].decode()]))
            raise Limit(
                f"{path} is too large: {int(row[1]):,} bytes that {int(row[2]):,} stand for. Nothing was changed.",
                "Take it out, or merge other paths; deleting with discard_unmerged always works.",
            )


def changes(git: Git, old: str, new: str) -> tuple[Change, ...]:
    """Return every changed path, renames found, with line counts."""
    return looked_at(git, old, new)[0]


Looked = tuple[tuple[Change, ...], list[Step] | None]
"""Every path that differs, renames found, with line counts; and the same as steps, where there are no renames."""


_COUNTED = (*_OPTIONS, "--raw", "--numstat", "--no-abbrev")


def looked_at(git: Git, old: str, new: str) -> Looked:
    """Return what differs between two trees, or commits."""
    told = _Differing()
    words = iter(git.fields("diff-tree", *_COUNTED, old, new))
    for word in words:
        told.take(word, words)
    return told.told()


def looked_at_each(git: Git, pairs: Sequence[Pair]) -> list[Looked]:
    """Return what differs between the trees of each pair, with one look at all."""
    found: dict[Pair, _Differing] = {}
    for here, word, words in _told(git, pairs, *_COUNTED):
        told = found.setdefault(here, _Differing())
        if word:
            told.take(word, words)
    return [found[pair].told() for pair in pairs]


class _Differing:
    """What is told of one pair."""

    def __init__(self) -> None:
        self._found: dict[bytes, tuple[str, bytes]] = {}
        self._counts: dict[bytes, tuple[bytes, bytes]] = {}
        self._moved: list[Step] = []

    def take(self, word: bytes, words: Iterator[bytes]) -> None:
        """Take what begins with a word."""
        if word.startswith(b":"):
            kind, path = word.rsplit(b" ", 1)[1].decode()[0], next(words)
            self._moved.append(Step(path, *_sides(word)))
            old_path, path = (path, next(words)) if kind in "RC" else (b"", path)
            self._found[path] = (kind, old_path)
        else:
            added, removed, path = word.split(b"\t", 2)
            if not path:
                path = (next(words), next(words))[1]
            self._counts[path] = (added, removed)

    def told(self) -> Looked:
        none = (b"-", b"-")
        changes = tuple(_change(path, kind, old_path, *self._counts.get(path, none)) for path, (kind, old_path) in self._found.items())
        return changes, None if any(old_path for _, old_path in self._found.values()) else self._moved


def _change(path: bytes, kind: str, old_path: bytes, added: bytes, removed: bytes) -> Change:
    binary = added == b"-"
    return Change.model_validate(
        {
            "path": path_text(path),
            "status": _STATUS[kind],
            "old_path": path_text(old_path),
            "insertions": 0 if binary else int(added),
            "deletions": 0 if binary else int(removed),
            "binary": binary,
        }
    )


def patch(git: Git, old: str, new: str, paths: Sequence[bytes], limit: int, scratch: Path) -> str:
    """Return the unified diff of these paths (all, when none are named), up to `limit` characters. A file that is binary, a lock, or generated has
    one line."""
    attributes = scratch / "attributes-unshown"
    attributes.write_text(_UNSHOWN)
    door = replace(git, settings={**git.settings, "core.attributesFile": str(attributes)})
    door = door.at(work_tree=attribute_tree(git, new, MARKERS[0], scratch), index=scratch / "no-index")
    out = door.head_of("diff-tree", *_OPTIONS[:1], *_OPTIONS[2:], "-p", old, new, "--", *paths, limit=4 * limit)
    return _FOLDED.sub(r"\1 (binary, lock or generated: not shown)\n", out.decode(errors="replace"))[:limit]


def contents_of(git: Git, places: Sequence[tuple[str, bytes]], limit: int) -> list[bytes | None]:
    """Return what files hold, each named by a tree and a path. See `Backend.contents`."""
    asked = [place for place in dict.fromkeys(places) if b"\n" not in place[1]]
    specs = b"".join(tree.encode() + b":" + path + b"\0" for tree, path in asked)
    said = git.run("cat-file", "-z", "--batch-check=%(objecttype) %(objectname) %(objectsize)", stdin=specs) if asked else b""
    rows = (line.split() for line in said.splitlines())
    found = {place: (row[1].decode(), int(row[2])) for place, row in zip(asked, rows, strict=True) if row[0] == b"blob" and len(row) == 3}
    left, wanted = MOST_CONTENTS, dict[str, int]()
    for blob, size in found.values():
        if size <= min(limit, left) and blob not in wanted:
            wanted[blob] = size
            left -= size
    blobs = git.blobs(wanted, limit)
    return [blobs.get(found[place][0]) if place in found else None for place in places]
