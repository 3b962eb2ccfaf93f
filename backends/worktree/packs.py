"""Bringing objects that were made aside into a repository, so that no prune can take them before something refers to them."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from .. import tree
from ..git import Git

NOTE = "workspaces: being referred to\n"
"""What stands in our `.keep` files (git-pack-objects(1)): while one is there, neither repack nor prune touches its pack."""
_STALE = 3600.0


def bring_in(git: Git, source: Path, target: Path) -> list[Path]:
    """Move all objects of a quarantine into the repository's packs, durably. Returns the `.keep` files, to be removed by the caller."""
    loose = [f"{file.parent.name}{file.name}\n" for file in source.glob("[0-9a-f][0-9a-f]/*") if not file.name.startswith("tmp_")]
    if loose:
        (source / "pack").mkdir(exist_ok=True)
        git.run("pack-objects", "--quiet", str(source / "pack" / "pack"), stdin="".join(loose).encode())
    target.mkdir(parents=True, exist_ok=True)
    keeps = [_bring(pack, target) for pack in sorted((source / "pack").glob("*.pack"))]
    if keeps:
        tree.sync(target)
    return keeps


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
            if time.time() - keep.stat().st_mtime > _STALE and keep.read_text() == NOTE:
                keep.unlink()
