"""What can be made of a merge with conflicts: trees in which paths are decided one way or the other, or marked for a person to decide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from workspaces.model import Choice, Rest, path_text

from .git import Git
from .mergetree import TEXT_LIMIT, Clash, Outcome, chosen, entries, marked_texts, regions

_UNION = "* merge=union -text -filter -working-tree-encoding\n"


def choices(outcome: Outcome, wanted: Mapping[str, Choice], on_conflict: Rest) -> dict[bytes, Choice]:
    """Return how each path that conflicts is decided: as was wanted for it, else by `on_conflict` when that names a side.

    Union is for texts only. Paths that conflict over each other (both renamed the same file) are decided alike, or not.
    """
    rest: Choice | None = on_conflict if on_conflict in ("source", "target") else None
    made: dict[bytes, Choice | None] = {clash.path: _fitting(clash, wanted.get(path_text(clash.path))) for clash in outcome.clashes}
    for clash in outcome.clashes:
        near = [other for other in (*clash.related, *clash.homes.values()) if other in made]
        if any(made[other] != made[clash.path] for other in near) or (len({*near, clash.path}) > 1 and isinstance(made[clash.path], bytes)):
            made |= dict.fromkeys([*near, clash.path])
    chosen: dict[bytes, Choice] = {}
    for path, choice in made.items():
        if choice is not None:
            chosen[path] = choice
        elif rest is not None:
            chosen[path] = rest
    return chosen


def _fitting(clash: Clash, choice: Choice | None) -> Choice | None:
    return None if choice == "union" and not clash.is_text else choice


def settled(git: Git, outcome: Outcome, made: Mapping[bytes, Choice], scratch: Path) -> Outcome:
    """Return the outcome with these paths decided. A side decides with its text where texts conflict, its whole file or absence elsewhere."""
    clashes = [clash for clash in outcome.clashes if clash.path in made]
    texts = marked_texts(git, replace(outcome, clashes=tuple(clashes)), TEXT_LIMIT)
    wholes = git.blobs((entry.blob for clash in clashes if clash.path in texts for entry in clash.stages.values()), TEXT_LIMIT)
    united = _united(git, [clash for clash in clashes if made[clash.path] == "union"], scratch)
    put: list[tuple[str, str, bytes]] = []
    left: list[Clash] = [clash for clash in outcome.clashes if clash.path not in made]
    for clash in clashes:
        choice = made[clash.path]
        if choice == "union":
            there = united.get(clash.path)
            put += [(_mode(clash), there, clash.path)] if there else []
            left += [] if there else [clash]
        elif isinstance(choice, bytes):
            put += [("0", "", name) for name in {*clash.homes.values()} - {clash.path}]
            put.append((_mode(clash), git.blob(choice), clash.path))
        elif clash.path in texts:
            stage = _stage(choice)
            entry = clash.stages[stage]
            text = chosen([*regions(texts[clash.path], outcome)], stage, wholes[entry.blob])
            put.append((entry.mode, git.blob(text), clash.path))
        else:
            put += _whole(git, outcome, clash, _stage(choice))
    return replace(outcome, tree=git.tree(outcome.tree, put, scratch) if put else outcome.tree, clashes=tuple(left))


def _stage(choice: Choice) -> int:
    return 2 if choice == "target" else 3


def _mode(clash: Clash) -> str:
    stages = [clash.stages[stage].mode for stage in (2, 3, 1) if stage in clash.stages]
    return next((mode for mode in stages if mode.startswith("100")), "100644")


def _whole(git: Git, outcome: Outcome, clash: Clash, stage: int) -> Iterable[tuple[str, str, bytes]]:
    """Return what puts one side's files in the place of all that a clash is about."""
    names = sorted({clash.path, *clash.homes.values(), *clash.related})
    there = entries(git, outcome.ours if stage == 2 else outcome.theirs, names)
    yield from (("0", "", name) for name in names if name not in there)
    yield from ((entry.mode, entry.blob, name) for name, entry in there.items() if entry.mode != "040000")


def _united(git: Git, clashes: Sequence[Clash], scratch: Path) -> dict[bytes, str]:
    """Return the blobs that git's own union driver makes of texts that conflict: it merges trees that hold nothing else."""
    if not clashes:
        return {}
    folder = scratch / "union"
    folder.mkdir(exist_ok=True)
    (folder / ".gitattributes").write_text(_UNION)
    names = {f"{number}".encode(): clash for number, clash in enumerate(clashes)}
    base, ours, theirs = (_tree(git, names, stage) for stage in (1, 2, 3))
    start = _commit(git, base)
    left, right = (_commit(git, tree, start) for tree in (ours, theirs))
    plain = replace(git, settings={**git.settings, "merge.conflictStyle": "merge", "merge.renames": "false"})
    reply = plain.at(work_tree=folder).ask("merge-tree", "--write-tree", "-z", "--no-messages", left, right)
    tree, *unmerged = reply.out.split(b"\0")
    failed = {row.split(b"\t", 1)[1] for row in unmerged if row}
    there = entries(git, tree.decode(), [name for name in names if name not in failed])
    return {names[name].path: entry.blob for name, entry in there.items()}


def _tree(git: Git, names: Mapping[bytes, Clash], stage: int) -> str:
    rows = (b"100644 blob %s\t%s\0" % (clash.stages[stage].blob.encode(), name) for name, clash in names.items() if stage in clash.stages)
    return git.line("mktree", "-z", stdin=b"".join(rows))


def _commit(git: Git, tree: str, *parents: str) -> str:
    above = "".join(f"parent {parent}\n" for parent in parents)
    raw = f"tree {tree}\n{above}author w <w@w> 0 +0000\ncommitter w <w@w> 0 +0000\n\n"
    return git.line("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.encode())


def marked(git: Git, outcome: Outcome, labels: tuple[str, str], scratch: Path) -> str:
    """Return the result tree with markers as a person knows them: seven characters long, and the sides by their names."""
    put: list[tuple[str, str, bytes]] = []
    for clash in outcome.clashes:
        for stage, name in clash.homes.items():
            if name != clash.path and stage in (2, 3):
                label = labels[stage - 2]
                put += [("0", "", name), (clash.stages[stage].mode, clash.stages[stage].blob, clash.path + b"~" + label.encode())]
    modes = {clash.path: clash.stages[2].mode for clash in outcome.clashes if clash.is_text and 2 in clash.stages}
    for path, text in marked_texts(git, outcome, TEXT_LIMIT).items():
        put.append((modes[path], git.blob(_familiar(text, outcome, labels)), path))
    return git.tree(outcome.tree, put, scratch)


def _familiar(text: bytes, outcome: Outcome, labels: tuple[str, str]) -> bytes:
    text = re.sub(rb"(?m)^<{%d} %s" % (outcome.marker, outcome.ours.encode()), b"<<<<<<< " + labels[0].encode(), text)
    text = re.sub(rb"(?m)^>{%d} %s" % (outcome.marker, outcome.theirs.encode()), b">>>>>>> " + labels[1].encode(), text)
    text = re.sub(rb"(?m)^\|{%d}(?: [^\r\n]*)?" % outcome.marker, b"||||||| base", text)
    return re.sub(rb"(?m)^={%d}(?=\r?$)" % outcome.marker, b"=======", text)
