"""The key that seals what a client carries from one call to the next, so that any server of the same person can open it."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from mcp.server.mcpserver import RequestStateSecurity

_SIZE = 32


def sealing(folder: Path | None) -> RequestStateSecurity:
    """Return what seals with the key in a folder, made when there is none; with a key of this process alone where none can be kept."""
    key = _kept(folder / "state.key") if folder else b""
    return RequestStateSecurity(keys=[key]) if len(key) == _SIZE else RequestStateSecurity.ephemeral()


def _kept(place: Path) -> bytes:
    """Return the key at a place. Of several who make one at the same time, the first one's is everybody's."""
    fresh = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    try:
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_SIZE))
            with suppress(FileExistsError):
                os.link(fresh, place)
            fresh.unlink()
        return place.read_bytes()
    except OSError:
        return b""
