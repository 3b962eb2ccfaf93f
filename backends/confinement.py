"""What git's children, and commands that are run confined, are kept from, by the means of this system. Where it has none, nothing changes.

Rules hold for the thread that puts them on itself and for what it starts, never for the other threads of the process. So a program is confined
by starting it from a thread of its own: that needs no launcher, and runs none of our code between fork and exec.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Literal, TypeVar

from . import landlock, seccomp
from .landlock import Rules as Rules

Result = TypeVar("Result")
Kind = Literal["files", "network"]


def held() -> tuple[Kind, ...]:
    """Return what rules really hold on this machine."""
    files: tuple[Kind, ...] = ("files",) if landlock.version() >= landlock.SAFE else ()
    network: tuple[Kind, ...] = ("network",) if is_there() and seccomp.available() else ()
    return files + network


def isolated(kind: str) -> str:
    """Return what `Workspace.isolation` says of a kind on this machine."""
    return "+".join((kind, *held()))


def is_there() -> bool:
    """Return whether rules change anything."""
    return landlock.version() >= landlock.USEFUL


def confined(rules: Rules, work: Callable[[], Result]) -> Result:
    """Do some work under rules, in a thread of its own, and return its result. It is waited for whatever happens."""
    if not is_there():
        return work()
    answer: Future[Result] = Future()

    def done() -> None:
        try:
            restrict(rules)
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    thread = Thread(target=done)
    thread.start()
    try:
        return answer.result()
    finally:
        thread.join()


_CAPABILITIES = (2, 16, 17, 19, 21, 22, 27, 38, 39)
"""DAC_READ_SEARCH, SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT, MKNOD, PERFMON and BPF (capabilities(7)): with these, root reaches into
other processes, /proc/PID/environ for one, and around any rule."""
_DROP_CAPABILITY = 24  # PR_CAPBSET_DROP of prctl(2)


def give_up_capabilities() -> None:
    """Let no program that this thread starts have what root could reach around rules with. Who is not root has none of it."""
    for capability in _CAPABILITIES if os.geteuid() == 0 else ():
        landlock.prctl(_DROP_CAPABILITY, capability)


def restrict(rules: Rules) -> None:
    """Put rules on the calling thread, for good."""
    landlock.restrict(rules)
    if seccomp.available():
        seccomp.forbid_reach()
        if not rules.network:
            seccomp.forbid_network()
