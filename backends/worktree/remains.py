"""The workspaces that git still knows, for when nothing else is remembered of them: by their registrations, in place or in the trash, and the refs
to what they were cloned from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from workspaces.model import MAIN, Workspace

from ..place import WORKSPACES
from .registration import REASON
from .repository import Repository, text_of

_BASE = re.compile(r"refs/workspaces/([^/]+)/([^/]+)/base")


def remains(repository: Repository, isolation: str) -> Iterator[Workspace]:
    """Yield the workspaces of this checkout that are whole, as far as git knows them; those in the trash are `deleted`."""
    registered: dict[str, list[Path]] = {}
    for admin in (repository.common_dir / "worktrees").glob("*-*"):
        registered.setdefault(admin.name.rpartition("-")[2], []).append(admin)
    for uid, project, base in _bases(repository):
        kept = repository.home / "trash" / uid / "admin"
        for admin in [*registered.get(uid, ()), *([kept] if kept.is_dir() else [])]:
            location = Path(text_of(admin / "gitdir")).parent
            if location.parent != repository.root / WORKSPACES or text_of(admin / "locked") != REASON:
                continue
            places = (kept.with_name("tree"), location.parent / ".trash" / uid / "tree") if admin == kept else (location,)
            if any(place.is_dir() and not place.is_symlink() for place in places):
                yield _workspace(uid, project, location, base, isolation, admin, is_deleted=admin == kept)


def _workspace(uid: str, project: str, location: Path, base: str, isolation: str, admin: Path, is_deleted: bool) -> Workspace:
    return Workspace(
        uid=uid,
        origin=base,
        id=f"{project}/{location.name}",
        name=location.name,
        project=project,
        location=str(location),
        backend="worktree",
        isolation=isolation,
        parent=f"{project}/{MAIN}",
        base=base,
        state="deleted" if is_deleted else "ready",
        created=datetime.fromtimestamp((admin / "commondir").stat().st_mtime, UTC).replace(microsecond=0),
    )


def _bases(repository: Repository) -> Iterator[tuple[str, str, str]]:
    """Yield the uid, the project and the snapshot at cloning of each workspace that refs name."""
    said = repository.git().run("for-each-ref", "--format=%(refname) %(objectname)", "refs/workspaces/").decode()
    for ref, name in (line.split(" ", 1) for line in said.splitlines()):
        if found := _BASE.fullmatch(ref):
            yield found[2], found[1], name
