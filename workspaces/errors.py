"""What can go wrong, as the reader of the error needs to hear it.

    WorkspacesError
    ├── NotFound                a workspace, restore point or path that is not there
    │   └── WorkspaceGone       one that is remembered, but was removed by other means
    ├── NoProject               nothing was initialized yet, and none was named
    ├── NotAProject             the path cannot be a project as it is
    ├── InvalidName             a name that no workspace may have
    ├── InvalidArgument         an argument that is unknown, misspelt or out of range
    ├── Exists                  the name or the place is taken
    ├── Protected               `main` cannot be deleted
    ├── UnmergedChanges         the call would set unmerged work aside
    ├── TargetDirty             the target has uncommitted work in the way
    ├── TargetMoved             the target changed since it was looked at
    ├── HasChildren             clones of this workspace exist
    ├── Busy                    somebody else is at work on it; try again
    ├── Limit                   more than this server hands out
    │   └── TooFast             more at once than it hands out: later there is some again
    ├── NoSpace                 the disk is full
    ├── NotAllowed              outside of what this server may touch
    ├── UntrustedConfig         the repository's own configuration asks for a program that is not run here
    ├── BackendMissing          no installed backend has that name
    ├── Unsupported             this backend cannot do that
    ├── BackendFailed           git (or another engine) said no
    │   ├── Vanished            it did not find what had just been there
    │   └── NotFetched          it needs what a partial clone has left where it came from
    └── Interrupted             somebody stopped the call; what it had begun is taken back, or ended, by the next

`message` says what happened and what state things are in, `hint` what to do next.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Annotated, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, WithJsonSchema

Details = Annotated[dict[str, JsonValue], WithJsonSchema({"type": "object", "additionalProperties": True})]


def readable(text: str) -> str:
    """Return text with control characters escaped, fit for a message: what a caller or a workspace named must not draw on a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class ErrorBody(BaseModel):
    """The one envelope in which every face reports a failed call."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    code: str
    message: str
    hint: str = ""
    retryable: bool = False
    details: Details = Field(default_factory=dict[str, JsonValue])


class WorkspacesError(Exception):
    """The root of the tree. `exit_status` is what the command line ends with."""

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, hint: str = "", **details: JsonValue) -> None:
        self.message, self.hint, self.details = readable(message), readable(hint), details
        super().__init__(self.message)
        self.settled = True
        """False when what was begun could not be taken back yet: the next call ends it."""

    @property
    def body(self) -> ErrorBody:
        return ErrorBody(code=self.code, message=self.message, hint=self.hint, retryable=self.retryable, details=self.details)


class NotFound(WorkspacesError):
    code = "not_found"
    exit_status = 3


class WorkspaceGone(NotFound):
    """The folder or the registration of a remembered workspace was removed by other means."""


class NoProject(WorkspacesError):
    code = "no_project"
    exit_status = 3


class NotAProject(WorkspacesError):
    code = "not_a_project"


class InvalidName(WorkspacesError):
    code = "invalid_name"
    exit_status = 2


class InvalidArgument(WorkspacesError):
    code = "invalid_argument"
    exit_status = 2


class Exists(WorkspacesError):
    code = "exists"


class Protected(WorkspacesError):
    code = "protected"
    exit_status = 5


class UnmergedChanges(WorkspacesError):
    code = "unmerged_changes"
    exit_status = 5


class TargetDirty(WorkspacesError):
    code = "target_dirty"
    exit_status = 5


class TargetMoved(WorkspacesError):
    code = "target_moved"
    retryable = True


class HasChildren(WorkspacesError):
    code = "has_children"
    exit_status = 5


class Busy(WorkspacesError):
    code = "busy"
    exit_status = 6
    retryable = True


class Limit(WorkspacesError):
    code = "limit"


class TooFast(Limit):
    """Its details say after how many seconds a call can be made again."""

    retryable = True


class NoSpace(WorkspacesError):
    code = "no_space"


class NotAllowed(WorkspacesError):
    code = "not_allowed"


class UntrustedConfig(WorkspacesError):
    code = "untrusted_config"


class BackendMissing(WorkspacesError):
    code = "backend_missing"


class Unsupported(WorkspacesError):
    code = "unsupported"


class BackendFailed(WorkspacesError):
    code = "backend_failed"


class Vanished(BackendFailed):
    """Something that was there a moment ago is not: it was collected meanwhile, or is damaged."""


class NotFetched(BackendFailed):
    """The repository is a partial clone, and lacks what is needed. It is fetched from nowhere here: that is for a person to do."""


class Interrupted(WorkspacesError):
    code = "interrupted"
    exit_status = 130
    retryable = True


Found = TypeVar("Found")


def once_more(look: Callable[[], Found]) -> Found:
    """Return what comes of a look that changes nothing when it fails. When what it found was collected under it (`git gc --prune=now`), it looks
    once more: what is there then stays, for a while. Raises `Busy` when that is taken away too."""
    try:
        return look()
    except Vanished as error:
        if not error.settled:
            raise
    try:
        return look()
    except Vanished as error:
        raise Busy(f"Objects are being taken away under this call, by a git gc or otherwise: {error.message}", error.hint) from error


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM}


def translated(error: OSError) -> WorkspacesError:
    """Return what a refusal of the operating system means to the reader."""
    where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
    if error.errno in _FULL:
        return NoSpace(f"The disk is full{where}.", "Free some space and call again.")
    if error.errno in _FORBIDDEN:
        return NotAllowed(
            f"The operating system does not permit it{where}.", "Run as the owner of the repository, or change the permissions."
        )
    if error.errno == errno.EROFS:
        return NotAllowed(f"The file system is read-only{where}.", "Mount it so that it can be written, or work on a copy.")
    return BackendFailed(f"The operating system answered: {error.strerror or error}{where}.", "workspaces doctor looks closer.")


@contextmanager
def as_ours() -> Generator[None]:
    """Let what the operating system refuses leave as an error of ours."""
    try:
        yield
    except OSError as error:
        raise translated(error) from error


def likely(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean '…'?` for the known word nearest to `word`, or nothing."""
    near = get_close_matches(word, list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""
