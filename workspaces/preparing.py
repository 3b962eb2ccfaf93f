"""Having clones prepared before anybody asks for them, by a process of its own, while nobody waits.

As many as the project was seen to need: the most that were made within ten minutes during the last week, and no more than the configuration
allows. Which process does it, and when it ends or dies, makes no difference to anything but how fast the next clone is. Where one that lies prepared
serves for any number, there is one, and a call that makes several prepares it itself.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path

from workspaces import config
from workspaces.core import Core
from workspaces.errors import Busy, WorkspacesError
from workspaces.model import now

SWITCH = "WORKSPACES_SPARES"
"""The variable by which a person has the last word on how many clones are prepared, at most; 0: none."""
_AT_WORK, _NEXT = "spares", "spares-next"
"""Locks: of the one process that prepares, and of the one that will do so after it. Whoever finds the second one held has nothing to add."""
_PATIENCE = 5.0
"""Seconds that a call waits for another process that prepares what it could use."""
_AT_ONCE, _LATELY = timedelta(minutes=10), timedelta(days=7)
_PROGRAM = "workspaces.beforehand"


def wanted(core: Core) -> int:
    """Return how many clones are to lie prepared."""
    since = now() - _LATELY
    lately = takewhile(lambda each: each.at > since, core.store.past(core.row.name, "clone"))
    return min(_most(core), _peak([each.at for each in lately for _ in each.workspaces if each.state in ("done", "undone")]))


def misread(environment: Mapping[str, str]) -> str:
    """Return what the switch says where that is no number, and so passed over."""
    said = environment.get(SWITCH, "")
    return "" if said.isdecimal() else said


def _is_allowed(core: Core) -> bool:
    """Return whether anything may be prepared that nobody asked for."""
    return bool(core.environment and _most(core) and core.backend.capabilities.spares)


def _most(core: Core) -> int:
    said = core.environment.get(SWITCH, "")
    return int(said) if said.isdecimal() else config.known(Path(core.row.root)).clone.spares


def _peak(made: list[datetime]) -> int:
    """Return the most that happened at once, of what is told newest first."""
    most, first = 0, 0
    for last, at in enumerate(made):
        while made[first] - at > _AT_ONCE:
            first += 1
        most = max(most, last - first + 1)
    return most


def prepare(core: Core, count: int | None = None, patience: float | None = None) -> int:
    """Have so many clones of `main` prepared, or as many as are wanted when it is this call's turn, and return how many there are. Raises `Busy`
    when another process is at it for too long, and at once where somebody else waits already who will find just that wanted."""
    if not core.backend.capabilities.spares:
        return 0
    with ExitStack() as working:
        with core.locks.change(_NEXT, patience=0 if count is None else patience):
            working.enter_context(core.locks.change(_AT_WORK, patience=patience))
        return core.backend.prepare(wanted(core) if count is None else count)


def prepare_for_all(core: Core) -> None:
    """Have one prepared for the clones that a call is about to make, where it serves for all of them, and may lie about when they are made."""
    if _is_allowed(core) and core.backend.capabilities.templates:
        with suppress(WorkspacesError):  # then each of them is made by itself
            prepare(core, 1, _PATIENCE)


def wake(core: Core) -> None:
    """Let a process of its own prepare what may be needed next, unless one is about to. Where no person's environment is known, none is started."""
    if not _is_allowed(core):
        return
    try:
        with core.locks.change(_NEXT, patience=0):
            pass
    except Busy:
        return
    # A shell starts it and ends at once: nobody has to wait for it, and it has no terminal and none of our files.
    command = ["sh", "-c", '"$@" </dev/null >/dev/null 2>&1 &', "sh", sys.executable, "-P", "-m", _PROGRAM, core.row.root]
    subprocess.run(command, cwd="/", env=dict(core.environment), start_new_session=True, check=False)
