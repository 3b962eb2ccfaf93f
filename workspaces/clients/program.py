"""Which command starts this very installation: what is written into clients, and against what the doctor holds what it finds there."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from workspaces.clients.known import NAME, Start

_EPHEMERAL = {"archive-v0", "environments-v2"}
"""Folders of uv's cache in which an environment of `uvx` lies, until the cache is cleaned (docs.astral.sh/uv/concepts/cache)."""


def command(environment: Mapping[str, str], project: str = "") -> Start:
    """Return how a client starts this program: by its absolute path, since clients have another PATH than a shell, and what `uvx` resolves
    anew can outlast their patience. Only where it was itself run by `uvx` is it that again."""
    args = ("--project", os.path.abspath(project), "serve") if project else ("serve",)  # noqa: PTH100 - a link stays as it was named
    if _EPHEMERAL & set(Path(sys.prefix).parts):
        uv = environment.get("UV")
        uvx = str(Path(uv).with_name("uvx")) if uv else shutil.which("uvx", path=environment.get("PATH")) or "uvx"
        return Start(uvx, ("--from", "mcp-workspaces", NAME, *args))
    return Start(str(_program()), args)


def _program() -> Path:
    """Return the program as it was called, or as it lies beside the interpreter: the name in it is never a link's that an update moves."""
    called = Path(sys.argv[0]).absolute()
    return called if called.name == NAME and called.is_file() else Path(sysconfig.get_path("scripts")) / NAME
