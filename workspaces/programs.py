"""The programs that a project's own configuration names, git's and `workspaces.toml`, and a person's word that exactly these may run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from workspaces.config import DRIVER, Check, Regenerated
from workspaces.core import Core
from workspaces.errors import TargetMoved
from workspaces.model import Finding, Program, Trust, fingerprint
from workspaces.trust import Kind
from workspaces.wording import counted


def programs(core: Core) -> Trust:
    """Return the programs that the project's own configuration names, and whether a person trusts exactly these."""
    halves = _halves(core)
    found = tuple(program for half in halves.values() for program in half)
    trusted = bool(found) and all(is_trusted(core, kind, half) for kind, half in halves.items() if half)
    changed = any(_known(core, kind) and not is_trusted(core, kind, half) for kind, half in halves.items())
    return Trust(
        summary=f"The project's own configuration names {counted(_count(found), 'program')} for storing, merging or checking"
        + (", which may run." if trusted else ", which are not run." if found else "."),
        programs=found,
        fingerprint=fingerprint(found),
        trusted=trusted,
        changed=changed,
        warnings=("They run in the workspaces: what a command names by a relative path, an agent can replace.",) if found else (),
        next=("workspaces trust --revoke",) if trusted else ("workspaces trust --yes",) if found else (),
    )


def checks(core: Core) -> tuple[Program, ...]:
    """Return what `workspaces.toml` names to be run: as checks, and to decide paths that conflict."""
    named = (line for name, check in sorted(core.config.checks.items()) for line in _described(name, check))
    return (*named, *_deciding(core))


def _deciding(core: Core) -> Iterator[Program]:
    for pattern, rule in core.config.merge.paths.items():
        if isinstance(rule, Regenerated):
            words = rule.regenerate
            yield Program(
                kind="merge",
                name=pattern,
                setting="regenerate",
                command=words if isinstance(words, str) else f"{shlex.join(words)} (no shell)",
            )
        elif rule.startswith(DRIVER):
            yield Program(kind="merge", name=pattern, setting="driver", command=rule.removeprefix(DRIVER))


def is_trusted(core: Core, kind: Kind, found: Sequence[Program]) -> bool:
    """Return whether a person trusts exactly these."""
    return _known(core, kind) == fingerprint(found)


def trust(core: Core, wanted: str) -> Trust:
    """Remember that exactly the programs of this fingerprint may run; with an empty one, that none may."""
    halves = _halves(core)
    if wanted and wanted != fingerprint([program for half in halves.values() for program in half]):
        raise _moved()
    if core.trusted is not None:
        for kind, half in halves.items():
            core.trusted.remember(core.backend.home, fingerprint(half) if wanted else "", kind)
    return programs(core)


def unasked(core: Core) -> Trust | None:
    """Return the checks that no person lets run yet, if there are any."""
    found = checks(core)
    if not found or is_trusted(core, "checks", found):
        return None
    return Trust(
        summary=f"workspaces.toml names {counted(_count(found), 'command')} to be run on this machine.",
        programs=found,
        fingerprint=fingerprint(found),
        changed=bool(_known(core, "checks")),
    )


def trust_checks(core: Core, wanted: str) -> None:
    """Remember that exactly the checks of this fingerprint may run; the programs of git's configuration stay as trusted as they are."""
    if wanted != fingerprint(checks(core)):
        raise _moved()
    if core.trusted is not None:
        core.trusted.remember(core.backend.home, wanted, "checks")


def look(core: Core) -> Finding:
    """Return what `doctor` says of them: a change of what was trusted is a problem until a person has looked."""
    known = programs(core)
    return Finding(
        check="trust",
        ok=not known.changed,
        message="the programs that the project's configuration names changed since they were trusted, and are off"
        if known.changed
        else known.summary,
        repair="workspaces trust shows them." if known.programs and not known.trusted else "",
    )


def _halves(core: Core) -> dict[Kind, tuple[Program, ...]]:
    return {"programs": core.backend.programs(), "checks": checks(core)}


def _known(core: Core, kind: Kind) -> str:
    return core.trusted.fingerprint(core.backend.home, kind) if core.trusted else ""


def _count(found: Sequence[Program]) -> int:
    return sum(program.setting not in ("protect", "network", "shell") for program in found)


def _described(name: str, check: Check) -> Iterator[Program]:
    yield Program(kind="check", name=name, setting="run", command=check.run if isinstance(check.run, str) else shlex.join(check.run))
    if not isinstance(check.run, str):
        yield Program(kind="check", name=name, setting="shell", command="none")
    if check.protect:
        yield Program(kind="check", name=name, setting="protect", command=shlex.join(check.protect))
    if check.network:
        yield Program(kind="check", name=name, setting="network", command="allowed")


def _moved() -> TargetMoved:
    return TargetMoved("The configuration changed since it was shown. Nothing was changed.", "Look at it again: workspaces trust.")
