"""What is asked of a merge, and whether that can be asked at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from workspaces.core import Core
from workspaces.errors import InvalidArgument, Unsupported
from workspaces.model import History, OnConflict, Workspace, path_bytes, path_shown, path_text
from workspaces.wording import call


@dataclass(frozen=True)
class Asked:
    """What one call asks of a merge: made where the call comes in, and handed on as it is.

    Of several sources, each is merged on top of the ones before. `require` names checks; `rules` (path → source, target or union) are for this
    call, and have the last word.
    """

    source: str | Sequence[str]
    target: str = ""
    on_conflict: OnConflict = "abort"
    history: History = "squash"
    message: str = ""
    paths: Sequence[str] = ()
    dry_run: bool = False
    delete_source: bool = False
    if_target: str = ""
    require: Sequence[str] = ()
    rules: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,) if isinstance(self.source, str) else tuple(self.source)

    @property
    def words(self) -> list[object]:
        """What a request key stands for. Requests of earlier versions are remembered by just this list, so what came later is only in it when
        it says something."""
        known = [
            self.source,
            self.target,
            self.on_conflict,
            self.history,
            self.message,
            self.paths,
            self.dry_run,
            self.delete_source,
            self.if_target,
        ]
        return [*known, *([[*self.require]] if self.require else []), *([{**self.rules}] if self.rules else [])]


def chosen(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the paths of files, and of folders with all in them, as results name them; none (all, that is) where one is the whole workspace.
    Raises `InvalidArgument` for one that nothing in a workspace can have."""
    named = list(dict.fromkeys(map(_named, paths)))
    return () if "" in named else tuple(named)


def _named(path: str) -> str:
    """Return a path without what it says twice (`./`, `//`, a `/` at its end). A pattern is a name as any other."""
    raw = b""
    with suppress(UnicodeEncodeError):
        raw = path_bytes(path)
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if not raw or b"\0" in raw:
        raise InvalidArgument(f"No file can be called {path_shown(path)}. Nothing was changed.", "Name paths as results name them.")
    if raw.startswith(b"/") or b".." in parts:
        raise InvalidArgument(
            f"{path_shown(path)} may be outside of the workspace. Nothing was changed.",
            "Name files and folders as results name them: relative to the workspace, without '..'.",
        )
    return path_text(b"/".join(parts))


def parties(core: Core, asked: Asked) -> tuple[Workspace, Workspace]:
    """Return who brings and who receives. Raises where these two cannot be merged, or not as it is asked."""
    (source,) = asked.sources
    bringer = core.find(source)
    if not asked.target and bringer.is_main:
        raise InvalidArgument(
            "main has no parent to merge into. Nothing was merged.",
            "Name a target: merging main into a clone brings that up to date.",
        )
    receiver = core.find(asked.target) if asked.target else core.parent(bringer)
    chosen(asked.paths)
    _refuse_pair(bringer, receiver, asked)
    _refuse_history(core, asked)
    return bringer, receiver


def _refuse_pair(bringer: Workspace, receiver: Workspace, asked: Asked) -> None:
    if bringer.id == receiver.id:
        raise InvalidArgument(f"{bringer.name} cannot be merged into itself. Nothing was merged.", "Name another target.")
    if receiver.is_main and asked.on_conflict == "markers":
        raise InvalidArgument(
            "Conflict markers are never written into main. Nothing was merged.",
            f"Resolve in the clone: {call('merge', source=receiver.id, target=bringer.id, on_conflict='markers')}, edit the files there, then "
            f"{call('merge', source=bringer.id, target=receiver.id)}.",
        )
    if asked.delete_source and bringer.is_main:
        raise InvalidArgument("main cannot be deleted. Nothing was merged.", "Leave delete_source out.")


def _refuse_history(core: Core, asked: Asked) -> None:
    if asked.history in ("merge", "rebase") and not core.backend.capabilities.commits:
        raise Unsupported(
            f"{core.row.name} has no commits, so none can be {'replayed' if asked.history == 'rebase' else 'made'}. Nothing was merged.",
            "Leave history out.",
        )
    if asked.history == "rebase" and asked.on_conflict == "markers":
        raise InvalidArgument(
            "Markers cannot be left in the middle of a replay. Nothing was merged.", "Leave history out to resolve with markers."
        )
