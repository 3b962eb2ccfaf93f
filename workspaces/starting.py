"""How a program of ours starts and ends: what is loaded stays, so garbage is not looked for in it again and again."""

from __future__ import annotations

import gc
import signal
import sys
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


def stop_at_once() -> None:
    """Let Ctrl-C end the process and say nothing, from now on: nothing is begun. Where it is passed over (`nohup`), it still is."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def stop_in_order() -> None:
    """Let Ctrl-C be raised as `KeyboardInterrupt`, from now on: something is begun."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def server() -> None:
    """Start the server: `mcp-workspaces` is `workspaces serve`. Ctrl-C is how a person ends it."""
    stop_at_once()
    hurry()
    main = import_module("workspaces.server.app").main
    try:
        stop_in_order()
        main()
    except KeyboardInterrupt:
        sys.exit(130)
