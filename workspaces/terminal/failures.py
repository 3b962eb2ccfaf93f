"""How a command that failed ends: with a message for a person, or with JSON, and the exit status of the contract; never with a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from workspaces.starting import stop_at_once, stop_in_order
from workspaces.terminal import bare, screen

if TYPE_CHECKING:
    from workspaces.errors import ErrorBody


@contextmanager
def told(json: bool, but: tuple[type[Exception], ...] = ()) -> Generator[None]:
    """End the program with whatever is raised in here, `but` for what somebody else tells."""
    from workspaces.errors import ErrorBody, Interrupted, WorkspacesError, translated

    try:
        stop_in_order()
        yield
    except but:
        raise
    except WorkspacesError as error:
        _fail(error.body, error.exit_status, json)
    except KeyboardInterrupt:
        stopped = Interrupted(
            "Stopped. What was begun is taken back, or ended, by the next command.", "workspaces log shows what was done."
        )
        _fail(stopped.body, stopped.exit_status, json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        problem = translated(error)
        _fail(problem.body, problem.exit_status, json)
    except Exception as error:
        if os.environ.get("WORKSPACES_DEBUG"):
            raise
        hint = "Run it again with WORKSPACES_DEBUG=1 and report what it prints; workspaces doctor says whether all is whole."
        _fail(ErrorBody(code="internal", message=f"This is a bug ({type(error).__name__}).", hint=hint), 1, json)
    finally:
        stop_at_once()


@contextmanager
def ended_by_hand() -> Generator[None]:
    """Let Ctrl-C end what goes on until it comes: there is nothing to say of it."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(error: ErrorBody, status: int, json: bool) -> NoReturn:
    if json:
        with suppress(OSError):
            bare.write(sys.stdout, f'{{"error":{error.model_dump_json()}}}')
    else:
        screen.say(f"✗ {error.message}", "red")
        if error.hint:
            screen.say(f"  {screen.spoken(error.hint)}")
    sys.exit(status)
