"""How a program of ours starts and ends: what is loaded stays, so garbage is not looked for in it again and again."""

from __future__ import annotations

import gc
from importlib import import_module

_USUAL = gc.get_threshold()
_SELDOM = (300_000, 50, 100)
"""More objects than a server has when it is loaded, which are 160,000: to look through those finds next to nothing."""


def hurry() -> None:
    """Look for garbage seldom from now on."""
    gc.set_threshold(*_SELDOM)


def settle() -> None:
    """Look for garbage as usual from now on, only not in what was loaded. For what goes on running."""
    gc.freeze()
    gc.set_threshold(*_USUAL)


def leave() -> None:
    """Look for garbage in nothing of what there is: it goes with the process, which Python would search twice at its end."""
    gc.freeze()


def server() -> None:
    """Start the server: `mcp-workspaces` is `workspaces serve`."""
    hurry()
    import_module("workspaces.server.app").main()
