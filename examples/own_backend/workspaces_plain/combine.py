"""Three trees combined file by file: what one side changed is taken, what both changed differently is a conflict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from workspaces.model import Choice, Conflict, ConflictKind, Hunk, OnConflict, Side

from .folder import LINK, Entry, Objects, Tree

KINDS: tuple[ConflictKind, ...] = ("content", "add_add", "modify_delete", "file_directory", "type", "mode", "binary")


class Trees(NamedTuple):
    base: Tree
    ours: Tree
    theirs: Tree

    def at(self, path: str) -> tuple[Entry | None, Entry | None, Entry | None]:
        return self.base.get(path), self.ours.get(path), self.theirs.get(path)


def combine(trees: Trees, on_conflict: OnConflict, labels: tuple[str, str], objects: Objects) -> tuple[Tree, dict[str, ConflictKind]]:
    """Return the three as one, and the kind of conflict at every path that both changed differently. There the result has the side that
    `on_conflict` names; or both marked; or where that cannot be, what is left."""
    result, kinds = Tree(), dict[str, ConflictKind]()
    for path in sorted({*trees.base, *trees.ours, *trees.theirs}):
        found = _combined(*trees.at(path), objects)
        if isinstance(found, str):
            kinds[path] = found
            found = _decided(trees, path, found, on_conflict, labels, objects)
        if found is not None:
            result[path] = found
    for path in sorted(_folders(result) & {*result}):
        kinds[path] = "file_directory"
        _make_room(trees, path, result, on_conflict, labels)
    return result, kinds


def _combined(base: Entry | None, ours: Entry | None, theirs: Entry | None, objects: Objects) -> Entry | ConflictKind | None:
    if ours == theirs or theirs == base:
        return ours
    if ours == base:
        return theirs
    if ours is None or theirs is None:
        return "modify_delete"
    if (ours.mode == LINK) != (theirs.mode == LINK):
        return "type"
    before = base if base and (base.mode == LINK) == (ours.mode == LINK) else Entry("", "")
    mode, blob = _either(before.mode, ours.mode, theirs.mode), _either(before.blob, ours.blob, theirs.blob)
    if mode and blob:
        return Entry(mode, blob)
    if blob:
        return "mode"
    if b"\0" in objects.read(ours.blob) + objects.read(theirs.blob):
        return "binary"
    return "content" if base else "add_add"


def _either(base: str, ours: str, theirs: str) -> str:
    """Return what only one side changed, or both alike; nothing where they differ."""
    if ours in (base, theirs):
        return theirs
    return ours if theirs == base else ""


def _decided(
    trees: Trees, path: str, kind: ConflictKind, on_conflict: OnConflict, labels: tuple[str, str], objects: Objects
) -> Entry | None:
    _, ours, theirs = trees.at(path)
    if on_conflict in ("source", "target"):
        return theirs if on_conflict == "source" else ours
    if on_conflict == "markers" and ours and hunks(trees, path, kind, objects):
        return Entry(ours.mode, objects.put(_marked(trees, path, labels, objects)))
    return ours or theirs


def decided(trees: Trees, kinds: Mapping[str, ConflictKind], choices: Mapping[str, Choice], objects: Objects) -> dict[str, Entry | None]:
    """Return what the choices put in the place of the paths that conflict: None where a side has nothing there."""
    made: dict[str, Entry | None] = {}
    for path, choice in choices.items():
        _, ours, theirs = trees.at(path)
        if path not in kinds or kinds[path] == "file_directory" or (choice == "union" and kinds[path] not in ("content", "add_add")):
            continue
        if choice == "source" or choice == "target":
            made[path] = theirs if choice == "source" else ours
        elif near := ours or theirs:
            text = choice if isinstance(choice, bytes) else _united(ours, theirs, objects)
            made[path] = Entry(near.mode, objects.put(text))
    return made


def _united(ours: Entry | None, theirs: Entry | None, objects: Objects) -> bytes:
    above, below = (objects.read(side.blob) if side else b"" for side in (ours, theirs))
    return above + (b"" if not above or above.endswith(b"\n") else b"\n") + below


def _marked(trees: Trees, path: str, labels: tuple[str, str], objects: Objects) -> bytes:
    base, ours, theirs = (objects.read(side.blob) if side else b"" for side in trees.at(path))
    ours, base, theirs = (text if not text or text.endswith(b"\n") else text + b"\n" for text in (ours, base, theirs))
    above, below = (label.encode() for label in labels)
    return b"<<<<<<< " + above + b"\n" + ours + b"||||||| base\n" + base + b"=======\n" + theirs + b">>>>>>> " + below + b"\n"


def _folders(paths: Tree) -> set[str]:
    return {path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"}


def _make_room(trees: Trees, path: str, result: Tree, on_conflict: OnConflict, labels: tuple[str, str]) -> None:
    """Settle that one side has a file where the other has a folder: one of them goes, or the file moves beside the folder."""
    is_ours = path in trees.ours
    if on_conflict == ("target" if is_ours else "source"):
        for name in [name for name in result if name.startswith(f"{path}/")]:
            del result[name]
        return
    file = result.pop(path)
    if on_conflict in ("abort", "markers"):
        result[f"{path}~{labels[0 if is_ours else 1]}"] = file


# -- conflicts as values ------------------------------------------------------------------------------------------------------------------


def conflict(trees: Trees, path: str, kind: ConflictKind, objects: Objects, text: Callable[[str], str]) -> Conflict:
    base, ours, theirs = (Side(mode=side.mode, blob=side.blob) if side else None for side in trees.at(path))
    found = hunks(trees, path, kind, objects)
    note = "not UTF-8: other bytes are shown as \N{REPLACEMENT CHARACTER}" if "\N{REPLACEMENT CHARACTER}" in str(found) else ""
    return Conflict(path=text(path), kind=kind, base=base, ours=ours, theirs=theirs, hunks=found, note=note)


def hunks(trees: Trees, path: str, kind: ConflictKind, objects: Objects) -> tuple[Hunk, ...]:
    """Return the one region of a text that both changed: all of it."""
    if kind not in ("content", "add_add") or any(side and side.mode == LINK for side in trees.at(path)):
        return ()
    base, ours, theirs = (objects.read(side.blob).decode(errors="replace") if side else "" for side in trees.at(path))
    return (Hunk(start=1, ours=ours, base=base, theirs=theirs),)
