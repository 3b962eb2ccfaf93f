"""Freezing contents that so far only live folders hold, each file as it was when it was seen, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable

from workspaces.errors import Busy
from workspaces.model import path_text

from .. import tree
from .archive import Live, Record
from .pool import Pool
from .scan import key_of


def gather(record: Record, pool: Pool, names: Iterable[str], is_own: bool = False) -> None:
    """Freeze these contents of a record into a pool (`is_own` when nobody else sees it). Raises `Busy` when a file is no longer what the record
    saw."""
    wanted = {name: live for name in names if (live := _holder(record, name)) is not None}
    for live in record.live:
        mine = sorted((live.place(name), name) for name, holder in wanted.items() if holder is live)
        if mine:
            _gather(live, pool, mine, is_own)


def _holder(record: Record, name: str) -> Live | None:
    live = next((live for live in record.live if live.place(name)), None)
    if live is None:
        raise record.lost
    return live


def _gather(live: Live, pool: Pool, files: list[tuple[str, str]], is_own: bool) -> None:
    with tree.Folders(live.location) as folders:
        for path, name in files:
            at, _, file = path.rpartition("/")
            try:
                with tree.opened(os.open(file, tree.READ, dir_fd=folders.at(at))) as source:
                    _freeze(live, pool, source, path, name, is_own)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise _changed(live, path) from error


def _freeze(live: Live, pool: Pool, source: int, path: str, name: str, is_own: bool) -> None:
    before = key_of(os.fstat(source))
    found = name
    if live.keys.get(path) != before:
        # Without a key of its own, it was seen too lately to be told from a later change by its times: then its hash has to say.
        found = pool.add(source)
    elif is_own:
        found = pool.add_new(source, name)
    else:
        found = pool.add(source, name)
    if found != name or key_of(os.fstat(source)) != before:
        raise _changed(live, path)


def _changed(live: Live, path: str) -> Busy:
    shown = path_text(os.fsencode(path))
    return Busy(f"{shown} in {live.location} was changed while it was looked at. Nothing was changed.", "Call again.")
