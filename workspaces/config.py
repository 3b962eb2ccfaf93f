"""What a project's `workspaces.toml` says, and a person's own `workspaces.local.toml` beside it, which has the last word.

Both may have come with the repository, so nothing in here lets anything run, and no value makes a promise smaller than a day.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from workspaces.errors import InvalidArgument, as_ours, likely

FILES = ("workspaces.toml", "workspaces.local.toml")
_LARGEST = 1 << 20


class Trash(BaseModel):
    """How long, and how much, deleted workspaces are kept until `gc` may remove them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int = Field(default=14, ge=1, le=3660)
    max_gb: float = Field(default=0, ge=0, le=10**6, allow_inf_nan=False, description="0: as much as there is")


class Config(BaseModel):
    """All settings of a project."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    durable: bool = Field(default=True, description="whether what is acknowledged survives a power cut")
    trash: Trash = Trash()


def load(root: Path) -> Config:
    """Read the settings of the project at `root`. Raises `InvalidArgument` for a file that does not say what it should; links are not followed."""
    settings: dict[str, JsonValue] = {}
    for name in FILES:
        for table, value in _parsed(root / name).items():
            old = settings.get(table)
            settings[table] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        known = [*Config.model_fields, *(f"trash.{name}" for name in Trash.model_fields)]
        raise InvalidArgument(
            f"{' or '.join(FILES)} in {root}: {where}: {first['msg']}.{likely(where, known)} Nothing was done.",
            f"Settings: {', '.join(known)}.",
        ) from None


def known(root: Path) -> Config:
    """Return the settings of a project, or the defaults where they cannot be read."""
    try:
        return load(root)
    except InvalidArgument:
        return Config()


def _parsed(file: Path) -> dict[str, JsonValue]:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be read: {error.strerror}. Nothing was done.", "It must be a file, and no link.") from None
    with as_ours(), os.fdopen(descriptor, "rb") as opened:
        text = opened.read(_LARGEST + 1)
    try:
        if len(text) > _LARGEST:
            raise ValueError("it is larger than a megabyte")
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{file} is no TOML: {str(error)[:200]}. Nothing was done.", "Mend it, or move it away.") from None
