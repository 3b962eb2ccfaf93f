"""The programs that a repository's own configuration names, and a person's word that exactly these may run."""

from __future__ import annotations

from workspaces.core import Core
from workspaces.errors import TargetMoved
from workspaces.model import Finding, Trust, fingerprint
from workspaces.wording import counted


def programs(core: Core) -> Trust:
    """Return the programs that the project's own configuration names for storing and merging, and whether a person trusts exactly these."""
    found = core.backend.programs()
    seen, known = fingerprint(found), core.trusted.fingerprint(core.backend.home) if core.trusted else ""
    trusted = bool(found) and seen == known
    return Trust(
        summary=f"The repository's own configuration names {counted(len(found), 'program')} for storing or merging files"
        + (", which may run." if trusted else ", which are not run." if found else "."),
        programs=found,
        fingerprint=seen,
        trusted=trusted,
        changed=bool(known) and not trusted,
        warnings=("They run in the workspaces: what a command names by a relative path, an agent can replace.",) if found else (),
        next=("workspaces trust --revoke",) if trusted else ("workspaces trust --yes",) if found else (),
    )


def trust(core: Core, wanted: str) -> Trust:
    """Remember that exactly the programs of this fingerprint may run; with an empty one, that none may."""
    if wanted and wanted != fingerprint(core.backend.programs()):
        raise TargetMoved("The configuration changed since it was shown. Nothing was changed.", "Look at it again: workspaces trust.")
    if core.trusted is not None:
        core.trusted.remember(core.backend.home, wanted)
    return programs(core)


def look(core: Core) -> Finding:
    """Return what `doctor` says of them: a change of what was trusted is a problem until a person has looked."""
    known = programs(core)
    return Finding(
        check="trust",
        ok=not known.changed,
        message="the programs that the repository's configuration names changed since they were trusted, and are off"
        if known.changed
        else known.summary,
        repair="workspaces trust shows them." if known.programs and not known.trusted else "",
    )
