"""What a trusted command makes of contents that are no workspace's yet: a file generated anew, or merged by a program that knows its syntax."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from workspaces import programs
from workspaces.backend import Backend
from workspaces.checks import copies
from workspaces.checks.copies import Copy
from workspaces.checks.running import Order, Outcome, run
from workspaces.checks.trying import confined
from workspaces.checks.verdicts import Question
from workspaces.config import Check, Command
from workspaces.core import Core
from workspaces.model import Snapshot

SECONDS = 60.0
"""Longest that such a command may take: the merge waits for it, and who else wants the target too."""
_LOG = 1 << 20
_SAID = 200
_REMEMBERED = 32
_made: dict[tuple[str, str, str], bytes] = {}
"""What was made of which contents: while a merge waits for its checks it is worked out again, and has to come to the same."""
_DRIVERS = {"mergiraf": ("merge", "--git", "{base}", "{ours}", "{theirs}", "-p", "{path}")}
"""How programs want to be called that differ from git's own convention (gitattributes(5), %O %A %B %P): the result takes the place of ours."""
_USUAL = ("{base}", "{ours}", "{theirs}", "{path}")


class Unmade(Exception):
    """Why there is no result, in words for a person."""


@dataclass(frozen=True)
class Texts:
    """The three texts of a file that conflicts."""

    base: bytes
    ours: bytes
    theirs: bytes


def regenerated(core: Core, view: Backend, contents: Snapshot, onto: Snapshot, command: Command, path: str, most: int) -> bytes:
    """Run a command on a frozen copy of contents, and return what it made of a file there, up to `most` bytes. Raises `Unmade`."""
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else [*command]
    key = (contents.contents, "\0".join(words), path)
    if key not in _made:
        with _copied(core, view, contents, onto) as copy:
            _carry_out(core, copy, words, "regenerate")
            made = view.read(view.snapshot(copy.workspace), path, most)
        if made is None:
            raise Unmade("the command left no such file")
        if len(_made) >= _REMEMBERED:
            _made.clear()
        _made[key] = made
    return _made[key]


def driven(core: Core, view: Backend, contents: Snapshot, onto: Snapshot, driver: str, path: str, texts: Texts, most: int) -> bytes:
    """Let a merge program on PATH merge three texts, and return what it made, up to `most` bytes. Raises `Unmade`."""
    with _copied(core, view, contents, onto) as copy:
        # What is confined to the copy reads and writes there; no contents have a folder of this name.
        folder, suffix = Path(tempfile.mkdtemp(prefix=".merge-", dir=copy.workspace.location)), Path(path).suffix
        files = {side: folder / f"{side}{suffix}" for side in ("base", "ours", "theirs")}
        for file, text in zip(files.values(), (texts.base, texts.ours, texts.theirs), strict=True):
            file.write_bytes(text)
        given = {"path": path, **{side: str(file) for side, file in files.items()}}
        _carry_out(core, copy, [driver, *(word.format(**given) for word in _DRIVERS.get(driver, _USUAL))], "driver")
        with suppress(OSError), os.fdopen(os.open(files["ours"], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as made:
            return made.read(most)
    raise Unmade("the program left no result")


def refuse_untrusted(core: Core) -> None:
    """Raise `Unmade` unless a person trusts exactly what the settings name now."""
    if not programs.is_trusted(core, "checks", programs.checks(core)):
        raise Unmade("nobody said yet that what workspaces.toml names may run; a person can: workspaces trust")


@contextmanager
def _copied(core: Core, view: Backend, contents: Snapshot, onto: Snapshot) -> Generator[Copy]:
    """Open a frozen copy. What it keeps goes with it, but not while the merge is at work whose view may stand on it: so all is held until then."""
    whole = view.graft(contents, onto=onto.id).model_copy(update={"head": onto.head})
    with view.keep_all():
        copy = copies.hold(core, view, whole)
        try:
            copies.make(core, copy)
            yield copy
        finally:
            copies.drop(core, copy)


def _carry_out(core: Core, copy: Copy, words: Sequence[str], name: str) -> Outcome:
    asked = Question(name, Check(run=tuple(words)), copy.snapshot)
    folder = Path(copy.workspace.location)
    order = Order(words, folder, lambda: confined(core, asked, copy)[1], SECONDS, copy.folder / "log", _LOG, copy.lock)
    seen = run(order, Event(), lambda line: None)
    if seen.verdict != "pass":
        said = " ".join((seen.why or seen.tail or f"exit status {seen.exit_status}").split())[-_SAID:]
        raise Unmade(f"it failed: {said}")
    return seen
