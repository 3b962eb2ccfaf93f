"""Which programs of a repository's configuration a person said may run: asked once, remembered outside of every repository.

A fingerprint names exactly the programs that the person saw. Whatever changes about them, they are off again until the person looks anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from workspaces import private
from workspaces.errors import NotAllowed

_FOLDER, _FILE = "mcp-workspaces", "trust.json"
Kind = Literal["programs", "checks"]
"""What is trusted: what git's configuration names, and what `workspaces.toml` names. A change of the one leaves the other as it is."""


def place(environment: Mapping[str, str]) -> Path:
    """Return the file in the person's own configuration folder, by the environment of a face (XDG Base Directory Specification)."""
    named = environment.get("XDG_CONFIG_HOME", "")
    home = Path(named) if named.startswith("/") else Path(environment.get("HOME") or "/") / ".config"
    return home / _FOLDER / _FILE


def _key(home: Path, of: Kind) -> str:
    return str(home) if of == "programs" else f"{home}#{of}"


@dataclass(frozen=True)
class Trusted:
    """What is trusted, in a file of the person's; without a file, nothing is. `root` is the project that is asked for."""

    file: Path | None
    root: Path

    def fingerprint(self, home: Path, of: Kind = "programs") -> str:
        """Return what is trusted of the repository whose state is in `home`; nothing when the file could be anybody else's."""
        return self._entries().get(_key(home, of), "")

    def remember(self, home: Path, fingerprint: str, of: Kind = "programs") -> None:
        """Trust a fingerprint, or with an empty one nothing, durably. Raises `NotAllowed` where what is trusted could write it itself."""
        if self.file is None or self._lies_inside():
            raise NotAllowed(
                "There is no place outside of the project to remember trust in. Nothing was changed.",
                "Let XDG_CONFIG_HOME, or HOME, name a folder of your own.",
            )
        mine = _key(home, of)
        with private.changing(self.file):
            kept = {key: value for key, value in self._entries().items() if key != mine}
            entries = kept | ({mine: fingerprint} if fingerprint else {})
            private.write(self.file, json.dumps(entries, indent=1) + "\n")

    def _lies_inside(self) -> bool:
        return self.file is not None and self.root.resolve() in self.file.resolve().parents

    def _entries(self) -> dict[str, str]:
        if self.file is None or self._lies_inside():
            return {}
        try:
            read: JsonValue = json.loads(private.read(self.file) or b"{}")
        except ValueError:
            return {}
        return {key: value for key, value in read.items() if isinstance(value, str)} if isinstance(read, dict) else {}
