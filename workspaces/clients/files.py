"""Other programs' configuration files: read as they are, replaced whole or not at all, and what was there before kept until it is put back."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from workspaces import private
from workspaces.clients.spliced import Broken
from workspaces.errors import BackendFailed, Limit, NotAllowed, TargetMoved

_MOST = 32 << 20


@dataclass(frozen=True)
class File:
    """A configuration file as it was read. `target` is where its links lead; without `data` there is none."""

    path: Path
    target: Path
    data: bytes | None

    @classmethod
    def read(cls, path: Path, within: Path | None = None) -> File:
        """Read a file, through links. One that must lie `within` a folder is refused when it leads out of that."""
        try:
            target = path.resolve()
        except RuntimeError as error:
            raise BackendFailed(f"{path} is a link that leads to itself. Nothing was changed.", "Remove it, and call again.") from error
        if within is not None and not target.is_relative_to(within.resolve()):
            raise NotAllowed(f"{path} leads out of the project, to {target}. Nothing was changed.", "Make it a file of the project's own.")
        return cls(path, target, _contents(target))

    @property
    def text(self) -> str:
        """Return what it says. Raises `Broken`."""
        data = self.data or b""
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            before = data[: error.start].decode(errors="replace")
            raise Broken("not UTF-8", before.count("\n") + 1, len(before) - before.rfind("\n")) from error

    def replace(self, data: bytes | None) -> None:
        """Let the file have these contents, or with none be gone: in one step, durably, with the mode that it had. Raises `TargetMoved`
        when somebody changed it since it was read."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            self._unchanged()
            return self.target.unlink(missing_ok=True)
        draft = self.target.with_name(f".{self.target.name}-{os.urandom(6).hex()}")
        try:
            self._draft(draft, data)
            self._unchanged()
            draft.replace(self.target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        with suppress(OSError):
            private.sync(self.target.parent)
        return None

    def _draft(self, draft: Path, data: bytes) -> None:
        with draft.open("xb") as file:
            with suppress(FileNotFoundError):
                had = self.target.stat()
                os.fchmod(file.fileno(), stat.S_IMODE(had.st_mode))
                with suppress(PermissionError):
                    os.fchown(file.fileno(), had.st_uid, had.st_gid)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _unchanged(self) -> None:
        if _contents(self.target) != self.data:
            raise TargetMoved(f"{self.path} was changed meanwhile. Nothing of it was touched.", "Call again.")


def _contents(target: Path) -> bytes | None:
    try:
        found = target.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BackendFailed(f"{target} is no file. Nothing was changed.", "Move it away, and call again.")
        if found.st_size > _MOST:
            raise Limit(f"{target} is larger than {_MOST >> 20} MB. Nothing was changed.")
        return target.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def digest(data: bytes | None) -> str:
    return "" if data is None else hashlib.sha256(data).hexdigest()


class Record(BaseModel):
    """What a file said before it was installed into, and what after: by this it is put back byte for byte."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    file: str
    before: str | None
    after: str
    made: tuple[str, ...] = ()
    """The folders that were made for it, outermost first."""


@dataclass(frozen=True)
class Records:
    """Where records are kept: a folder of the person's own, since what they hold may be secret."""

    folder: Path
    _suffix: str = field(default=".json", init=False)

    def of(self, file: File) -> Record | None:
        """Return the record of a file; nothing when there is none that can be read."""
        try:
            return Record.model_validate_json(self._place(file).read_bytes())
        except (OSError, ValidationError):
            return None

    def keep(self, record: Record, file: File) -> None:
        private.write(self._place(file), json.dumps(record.model_dump(), indent=1) + "\n")

    def forget(self, file: File) -> None:
        self._place(file).unlink(missing_ok=True)

    def _place(self, file: File) -> Path:
        return self.folder / f"{file.path.name.lstrip('.')}-{digest(os.fsencode(file.path))[:16]}{self._suffix}"


def missing(folder: Path) -> Iterable[Path]:
    """Return the folders that must be made for this one to be there, outermost first."""
    return [each for each in reversed([folder, *folder.parents]) if not each.exists()]
