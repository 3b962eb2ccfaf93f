"""Trying a check on one frozen copy: what the command may touch and hear there, and what its runs say together."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from threading import Event

from workspaces.checks import copies
from workspaces.checks.copies import LOGS, Copy
from workspaces.checks.running import LATE, Order, Outcome, run
from workspaces.checks.verdicts import Question, hung
from workspaces.core import Core
from workspaces.errors import Unsupported
from workspaces.model import Judgement, Verdict

_KEPT = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "LC_ALL", "LC_CTYPE"),
    *("VIRTUAL_ENV", "CONDA_PREFIX", "JAVA_HOME", "GOROOT", "GOPATH", "CARGO_HOME", "RUSTUP_HOME", "NVM_DIR", "PYENV_ROOT"),
)
"""What a check hears of the environment: where tools are, and nothing that opens anything."""


def tried(core: Core, asked: Question, copy: Copy, stop: Event, heard: Callable[[str], None]) -> Verdict:
    """Run a check as often as it asks for, each time on a fresh copy, and return what that says together with what is remembered."""
    known = core.store.verdict(core.row.name, *asked.key)
    times = max(1, asked.check.repeat - (known.runs if known and not hung(known) else 0))
    fresh: list[Verdict] = []
    for left in reversed(range(times)):
        with copies.another(core, copy) if left else nullcontext(copy) as here:
            copies.make(core, here)
            fresh.append(_run(core, asked, here, stop, heard))
        if fresh[-1].verdict == "error":
            return fresh[-1]
    return _together(known, fresh)


def _together(known: Verdict | None, fresh: Sequence[Verdict]) -> Verdict:
    """Return one verdict for all runs: who did not always end alike is flaky, and has not passed."""
    if known and hung(known):
        return _after_timeout(known, _together(None, fresh))
    verdicts = {each.verdict for each in (*([known] if known else []), *fresh)}
    telling = next((each for each in fresh if each.verdict != "pass"), fresh[-1])
    flaky = len(verdicts) > 1 or (known is not None and known.flaky)
    verdict: Judgement = "fail" if flaky and telling.verdict == "pass" else telling.verdict
    runs = len(fresh) + (known.runs if known else 0)
    seconds = round(sum(each.seconds for each in fresh), 3)
    made = telling.model_copy(update={"verdict": verdict, "flaky": flaky, "runs": runs, "seconds": seconds})
    return made.model_copy(update={"why": f"{made.why}; the next call tries it once more"}) if hung(made) else made


def _after_timeout(known: Verdict, fresh: Verdict) -> Verdict:
    """Return what came of trying again what only took too long before."""
    if not hung(fresh):
        return fresh
    return fresh.model_copy(
        update={"runs": known.runs + fresh.runs, "why": f"{LATE}, also when it was tried again; check --again tries it anew"}
    )


def _run(core: Core, asked: Question, copy: Copy, stop: Event, heard: Callable[[str], None]) -> Verdict:
    log = _log(core, asked.key)
    log.parent.mkdir(exist_ok=True)
    isolation: list[str] = []

    def confine() -> Mapping[str, str]:
        kept, environment = confined(core, asked, copy)
        isolation.append(kept)
        return environment

    command = ["/bin/sh", "-c", asked.check.run] if isinstance(asked.check.run, str) else asked.check.run
    most = int(core.config.check.max_output_mb * 1e6)
    seen = run(Order(command, Path(copy.workspace.location), confine, asked.check.timeout_seconds, log, most, copy.lock), stop, heard)
    return _verdict(asked, seen, isolation[0], log)


def forget(core: Core, before: datetime) -> None:
    """Forget the verdicts of before a moment, and their logs."""
    for key in core.store.drop_verdicts(core.row.name, before.isoformat()):
        _log(core, key).unlink(missing_ok=True)


def _log(core: Core, key: tuple[str, str]) -> Path:
    return core.copies / LOGS / f"{hashlib.sha256(''.join(key).encode()).hexdigest()[:24]}.log"


def confined(core: Core, asked: Question, copy: Copy) -> tuple[str, dict[str, str]]:
    """Confine the calling thread to the copy as far as the system can, and return from what, and the environment."""
    environment = _environment(core, asked, copy)
    # The interpreter that runs the guard must be readable too.
    reach = environment | {"PATH": f"{environment.get('PATH', '')}:{Path(sys.executable).resolve().parent}"}
    for network, kept in ((False, "files+network"), (True, "files")):
        if network or not asked.check.network:
            try:
                held = core.backend.confine(copy.workspace, network, reach)
            except Unsupported:
                continue
            return kept, held | {"PATH": environment.get("PATH", os.defpath)}
    return "", environment


def _environment(core: Core, asked: Question, copy: Copy) -> dict[str, str]:
    location = copy.workspace.location
    return {name: value for name, value in core.environment.items() if name in _KEPT} | {
        "WORKSPACES_CHECK": asked.name,
        "CI": "true",
        "TERM": "dumb",
        "PWD": location,
        "TMPDIR": str(copy.temporary),
        "XDG_CACHE_HOME": str(copy.temporary / "cache"),  # a confined command may not write to the person's
        # A missing .git in there must not let git walk up and work on the project itself.
        "GIT_CEILING_DIRECTORIES": str(Path(location).parent),
    }


def _verdict(asked: Question, seen: Outcome, isolation: str, log: Path) -> Verdict:
    return Verdict(
        workspace="",
        check=asked.name,
        verdict=seen.verdict,
        seconds=seen.seconds,
        runs=1,
        exit_status=seen.exit_status,
        why=seen.why,
        isolation=isolation,
        tail=seen.tail,
        log=str(log),
    )
