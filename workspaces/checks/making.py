"""What trusted commands make of contents that are no workspace's yet: files generated anew, or merged by a program that knows their syntax.

What is to be made is asked for while workspaces are held, and made while nothing is: a slow command keeps nobody waiting but who asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from workspaces import programs
from workspaces.backend import Backend
from workspaces.checks import copies, jobs
from workspaces.checks.copies import Copy
from workspaces.checks.running import Order, run
from workspaces.checks.trying import confined
from workspaces.checks.verdicts import Question
from workspaces.config import Check, Command
from workspaces.core import Core, Progress
from workspaces.errors import Busy, WorkspacesError
from workspaces.model import Snapshot
from workspaces.wording import listed

SECONDS = 600.0
"""Longest that such a command may take, as a check may by default."""
LARGEST = (1 << 22) + 1
"""Bytes that are read of what was made: one more than can be looked through."""
_LOG = 1 << 20
_SAID = 200
_REMEMBERED = 32
_DRIVERS = {
    "mergiraf": ("merge", "--git", "{base}", "{ours}", "{theirs}", "-p", "{path}"),
    "git-json-merge": ("{ours}", "{base}", "{theirs}"),
}
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


@dataclass(frozen=True)
class Task:
    """A file to be made in a copy of some contents, which descend from `onto`: by a command, or by a merge program from three texts."""

    words: tuple[str, ...]
    path: str
    contents: Snapshot
    onto: Snapshot
    texts: Texts | None = None

    @property
    def key(self) -> str:
        texts = [hashlib.sha256(text).hexdigest() for text in vars(self.texts).values()] if self.texts else []
        return hashlib.sha256(json.dumps([self.words, self.path, self.contents.contents, texts]).encode()).hexdigest()


def regenerating(command: Command, path: str, contents: Snapshot, onto: Snapshot) -> Task:
    """Return the task to make a file anew by a command, from contents that are merged but for it."""
    return Task(("/bin/sh", "-c", command) if isinstance(command, str) else command, path, contents, onto)


def driving(program: str, path: str, ours: Snapshot, texts: Texts) -> Task:
    """Return the task to let a merge program on PATH merge three texts."""
    return Task((program, *_DRIVERS.get(program, _USUAL)), path, ours, ours, texts)


def refuse_untrusted(core: Core) -> None:
    """Raise `Unmade` unless a person trusts exactly what the settings name now."""
    if not programs.is_trusted(core, "checks", programs.checks(core)):
        raise Unmade("nobody said yet that what workspaces.toml names may run; a person can: workspaces trust")


# -- asking for it, and waiting -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Work:
    """A task on its way."""

    task: Task
    made: Future[bytes] = field(default_factory=Future[bytes])


_known: dict[tuple[Path, str], _Work] = {}
"""What is being made, and what was made last: who asks for the same shares it. A merge is worked out again and has to come to the same."""
_guard = Lock()


@dataclass(frozen=True)
class Making:
    """What one merge lets commands make:

    plan = …  # asks with `made`
    if making.begun(view):
        # out of the locks
        making.wait()
        # and plan again
    """

    core: Core
    wanted: dict[str, Task] = field(default_factory=dict[str, Task])
    """Asked for since it was begun last, and not there yet."""
    running: dict[str, _Work] = field(default_factory=dict[str, _Work])
    answers: dict[str, bytes | str] = field(default_factory=dict[str, bytes | str])
    """What was made, or why it could not be."""

    def made(self, task: Task) -> bytes:
        """Return what came of a task. Raises `Unmade` when nothing did, or not yet: then it is `wanted`."""
        answer = self.answers.get(task.key)
        if isinstance(answer, bytes):
            return answer
        if answer is None:
            self.wanted[task.key] = task
        raise Unmade(answer or "it is still to be made")

    def begun(self, view: Backend) -> bool:
        """Begin what is wanted, in the view in which it was asked for; return whether there was anything."""
        if not self.wanted:
            return False
        for key, task in self.wanted.items():
            self.running[key] = _known.get((self.core.backend.home, key)) or _begun(self.core, view, task)
        self.wanted.clear()
        return True

    def wait(self, progress: Progress, seconds: float | None = None) -> None:
        """Wait for what was begun. Raises `Busy` when that takes longer: it goes on, and who asks again finds it."""
        jobs.until([each.made for each in self.running.values()], seconds, progress, "file", "to be made")
        late = [each.task.path for each in self.running.values() if not each.made.done()]
        if late:
            raise Busy(
                f"{listed(late)}: still being made from the merged contents. Nothing was changed.", "Call again: it goes on meanwhile."
            )
        self.answers.update({key: _told(self.core, key, work) for key, work in self.running.items()})
        self.running.clear()


def _told(core: Core, key: str, work: _Work) -> bytes | str:
    """Return what came of a task. Why nothing did is said to those who waited, and tried again by the next."""
    error = work.made.exception()
    if error is None:
        return work.made.result()
    with _guard:
        _known.pop((core.backend.home, key), None)
    if isinstance(error, Unmade):
        return str(error)
    raise error


def _begun(core: Core, view: Backend, task: Task) -> _Work:
    whole = view.graft(task.contents, onto=task.onto.id).model_copy(update={"head": task.onto.head})
    with view.keep_all():
        copy = copies.hold(core, view, whole)
    work = _Work(task)
    with _guard:
        done = [name for name, each in _known.items() if each.made.done()]
        for name in done[: max(0, len(done) - _REMEMBERED)]:
            del _known[name]
        _known[core.backend.home, task.key] = work
    jobs.start(_work, core, copy, work)
    return work


# -- making it ----------------------------------------------------------------------------------------------------------------------------


def _work(core: Core, copy: Copy, work: _Work) -> None:
    try:
        made = _made(core, copy, work.task)
    except (WorkspacesError, OSError) as error:
        work.made.set_exception(Unmade(error.message if isinstance(error, WorkspacesError) else str(error)))
    except BaseException as error:
        work.made.set_exception(error)
    else:
        work.made.set_result(made)


def _made(core: Core, copy: Copy, task: Task) -> bytes:
    try:
        with jobs.slot(core):
            copies.make(core, copy)
            return _driven(core, copy, task, task.texts) if task.texts else _regenerated(core, copy, task)
    finally:
        copies.drop(core, copy)


def _regenerated(core: Core, copy: Copy, task: Task) -> bytes:
    _carry_out(core, copy, task.words, "regenerate")
    with core.backend.aside() as view:
        made = view.read(view.snapshot(copy.workspace), task.path, LARGEST)
    if made is None:
        raise Unmade("the command left no such file")
    return made


def _driven(core: Core, copy: Copy, task: Task, texts: Texts) -> bytes:
    # What is confined to the copy reads and writes there; no contents have a folder of this name.
    folder, suffix = Path(tempfile.mkdtemp(prefix=".merge-", dir=copy.workspace.location)), Path(task.path).suffix
    files = {side: folder / f"{side}{suffix}" for side in vars(texts)}
    for file, text in zip(files.values(), vars(texts).values(), strict=True):
        file.write_bytes(text)
    given: Mapping[str, str] = {"path": task.path, **{side: str(file) for side, file in files.items()}}
    program, *words = task.words
    _carry_out(core, copy, [program, *(word.format(**given) for word in words)], "driver")
    with suppress(OSError), os.fdopen(os.open(files["ours"], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as made:
        return made.read(LARGEST)
    raise Unmade("the program left no result")


def _carry_out(core: Core, copy: Copy, words: Sequence[str], name: str) -> None:
    asked = Question(name, Check(run=tuple(words)), copy.snapshot)
    folder = Path(copy.workspace.location)
    order = Order(words, folder, lambda: confined(core, asked, copy)[1], SECONDS, copy.folder / "log", _LOG, copy.lock)
    seen = run(order, jobs.stopping, lambda line: None)
    if seen.verdict != "pass":
        said = " ".join((seen.why or seen.tail or f"exit status {seen.exit_status}").split())[-_SAID:]
        raise Unmade(f"it failed: {said}")
