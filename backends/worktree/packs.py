"""Bringing objects that were made aside into a repository, so that no prune can take them before something refers to them."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from workspaces.errors import Busy

from .. import tree
from ..git import Git, refusal

NOTE = "workspaces: being referred to\n"
"""What stands in our `.keep` files (git-pack-objects(1)): while one is there, neither repack nor prune touches its pack."""
MADE = "made"
"""The file in a view that says which commits were made there: each with its tree, and that of its first parent."""
_STALE = 3600.0


def bring_in(git: Git, source: Path, target: Path) -> list[Path]:
    """Move all objects of a quarantine into the repository's packs, durably. Returns the `.keep` files, to be removed by the caller.

    While a `git gc` is at work, what the repository has already comes along: nothing may refer to it yet, and gc may be about to prune it.
    Raises `Busy` when it is gone.
    """
    names = {f"{file.parent.name}{file.name}" for file in source.glob("[0-9a-f][0-9a-f]/*") if not file.name.startswith("tmp_")}
    if (git.common_dir / "gc.pid").exists():
        names |= _made(git, source.parent / MADE)
    if names:
        (source / "pack").mkdir(exist_ok=True)
        packing = replace(git, settings={**git.settings, "pack.compression": "-1"})
        _asked(packing, "pack-objects", "--quiet", str(source / "pack" / "pack"), stdin="".join(f"{name}\n" for name in sorted(names)))
    target.mkdir(parents=True, exist_ok=True)
    keeps = [_bring(pack, target) for pack in sorted((source / "pack").glob("*.pack"))]
    if keeps:
        tree.sync(target)
    return keeps


def _made(git: Git, note: Path) -> set[str]:
    """Return the objects by which the commits of a view differ from their first parents."""
    rows = [line.split() for line in note.read_text().splitlines()] if note.exists() else []
    stdin = "".join(f"{before} {after}\n" for _, after, before in rows)
    lines = (
        _asked(git, "diff-tree", "--stdin", "-r", "-t", "--raw", "--no-renames", "--no-abbrev", stdin=stdin).splitlines() if rows else []
    )
    fields = [line.split(b"\t")[0].split() for line in lines if line.startswith(b":")]
    changed = {name.decode() for _, mode, _, name, _ in fields if mode not in (b"000000", b"160000")}
    return changed.union(*(row[:2] for row in rows))


def _asked(git: Git, *args: str, stdin: str) -> bytes:
    reply = git.ask(*args, stdin=stdin.encode())
    if reply.status != 0 and any(sign in reply.err for sign in ("unable to", "bad object", "not a valid", "missing")):
        raise Busy("A git gc took away what this call had just found. Nothing was changed.", "Call again.")
    if reply.status != 0:
        raise refusal(args, reply)
    return reply.out


def _bring(pack: Path, target: Path) -> Path:
    """Move one pack in: first its `.keep`, last its index, which makes it visible."""
    keep = target / f"{pack.stem}.keep"
    keep.write_text(NOTE)
    others = [file for file in pack.parent.glob(f"{pack.stem}.*") if file.suffix not in (".pack", ".idx")]
    for file in (*others, pack, pack.with_suffix(".idx")):
        tree.sync_file(file)
        file.replace(target / file.name)
    return keep


def forget_stale(target: Path) -> None:
    """Remove the `.keep` files that a killed process of ours left an hour ago or more."""
    for keep in target.glob("*.keep"):
        with suppress(OSError):
            if time.time() - keep.stat().st_mtime > _STALE and tree.start_of(keep, len(NOTE) + 1) == NOTE.encode():
                keep.unlink()
