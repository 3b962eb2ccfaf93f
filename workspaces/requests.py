"""Calls that act once, however often they are made: by the key that the caller gave, and what was answered to it.

The lock of a request is held from its first look to its answer, and by git children of it too: who comes second, in whatever process, waits and
gets the same answer, or is told in time that it is still being worked out. One whose process died is served by the next that asks, under the same
call, so that what it had done is not done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import takewhile
from typing import TypeVar

from workspaces.core import Core, Progress
from workspaces.errors import Busy, Interrupted, InvalidArgument, WorkspacesError
from workspaces.model import Noun, Operation
from workspaces.store import Request
from workspaces.wording import whole

Answer = TypeVar("Answer", bound=Noun)

MAX_KEY = 200
_LINES = 1024
"""Locks that all requests share; two that meet there by chance only take turns."""


def once(
    core: Core, key: str, verb: str, arguments: object, kind: type[Answer], act: Callable[[Core], Answer], progress: Progress
) -> Answer:
    """Return what `act` answers, or what it answered when it was asked with the same key before. Without a key it just acts.

    Raises `InvalidArgument` for a key that came with other arguments. A call that failed changed nothing, so its key is free again.
    """
    if not key:
        return _acted(core, act)
    if len(key) > MAX_KEY or whole(key) != key:
        raise InvalidArgument("request_key is too long, or no text. Nothing was done.", f"It has at most {MAX_KEY} characters of Unicode.")
    asked = hashlib.sha256(json.dumps([verb, arguments], default=list).encode()).hexdigest()
    kept = core.access.keyed(key)
    with _held(core, kept, key, progress):
        known = core.store.request(core.row.name, kept)
        if known is not None and known.asked != asked:
            raise InvalidArgument(
                f"request_key {key!r} was used for another call. Nothing was done.", "Use a new key for a new call.", request_key=key
            )
        if known is not None and known.answer:
            answer = _with_what_came_of_it(core, known, kind.model_validate_json(known.answer))
            return answer.model_copy(update={"next": ()}) if _is_merged_upon(core, known) else answer
        request = known or Request(kept, asked, core.call)
        return _with_what_came_of_it(core, request, _served(core, request, known is not None, act))


def _acted(core: Core, act: Callable[[Core], Answer]) -> Answer:
    try:
        return act(core)
    except Interrupted as error:
        raise core.stopped(error) from error


@contextmanager
def _held(core: Core, kept: str, key: str, progress: Progress) -> Generator[None]:
    """Hold the line of a key, by what is kept of it. Raises `Busy` when whoever was there first does not end in time: checks may take long."""
    with ExitStack() as held:
        try:
            held.enter_context(core.locks.change(_line(kept), look=lambda: progress(0, 0, "waiting for an earlier call with that key")))
        except Busy as busy:
            raise Busy(
                f"The call that came first with request_key {key!r} is still at work. Nothing was done by this one.",
                "Call again with the same key in a moment: it answers what came of it.",
                request_key=key,
            ) from busy
        yield


def _served(core: Core, request: Request, is_repeated: bool, act: Callable[[Core], Answer]) -> Answer:
    project = core.row.name
    if is_repeated:
        _recovered(core, request)
    else:
        core.store.remember(project, request)
    try:
        answer = _acted(replace(core, call=request.call, is_named=True, resumes=is_repeated), act)
    except WorkspacesError:
        if not any(operation.state in ("started", "done") for operation in core.store.operations_of(project, request.call)):
            core.store.drop_request(project, request.key)
        raise
    core.store.remember(project, replace(request, answer=answer.model_dump_json()))
    return answer


def _recovered(core: Core, request: Request) -> None:
    """End what the dead process had begun under this call, before it goes on; wait for another that is at it, or for a child that lives on."""
    core.recover(core.whole)
    for operation in _begun(core, request):
        with core.locks.change(*(name.replace("/", ".", 1) for name in operation.workspaces)):
            pass
        core.recover(core.whole)
    if _begun(core, request):
        raise Busy(
            "What an earlier call with that request_key had begun is not taken back yet. Nothing was done now.", "Call again in a moment."
        )


def _begun(core: Core, request: Request) -> list[Operation]:
    return [operation for operation in core.store.operations_of(core.row.name, request.call) if operation.state == "started"]


def _with_what_came_of_it(core: Core, request: Request, answer: Answer) -> Answer:
    """Return the first answer; when what it tells was undone since, with a warning: it is not done again."""
    undone = [str(each.id) for each in core.store.operations_of(core.row.name, request.call) if each.state == "undone"]
    if not undone:
        return answer
    said = f"This was done by an earlier call with that request_key, and undone since ({', '.join(undone[:5])} in the log). Nothing was done now."
    warnings = answer.model_dump().get("warnings", ())
    # What made sense next then would now take back what somebody else did, or look for what is gone.
    return answer.model_copy(update={"warnings": (*warnings, f"{said} To do it again, call with a new key."), "next": ()})


def _is_merged_upon(core: Core, request: Request) -> bool:
    """Return whether a call merged, and another one since into the same: then a restore there takes back that one."""
    last = next((each for each in core.store.operations_of(core.row.name, request.call) if each.verb == "merge"), None)
    if last is None:
        return False
    since = takewhile(lambda each: each.id > last.id, core.store.past(core.row.name, "merge"))
    return any(each.moves == last.moves and each.state == "done" for each in since)


def _line(key: str) -> str:
    """Return the name of the lock: without a dot, so that it is no workspace's."""
    return f"request-{int(hashlib.sha256(key.encode()).hexdigest(), 16) % _LINES}"
