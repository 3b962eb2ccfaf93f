"""Which checks are meant, and whether a person lets them run."""

from __future__ import annotations

from collections.abc import Sequence

from workspaces import programs
from workspaces.checks.verdicts import spec_of
from workspaces.config import Check
from workspaces.core import Core
from workspaces.errors import InvalidArgument, NotFound, UntrustedConfig, likely
from workspaces.model import fingerprint
from workspaces.wording import listed


def named(core: Core, names: Sequence[str]) -> dict[str, Check]:
    """Return the checks of these names, all of them when none is named. Raises `InvalidArgument` for what is not configured."""
    known = core.config.checks
    if not known:
        raise NotFound("No checks are configured. Nothing was run.", "A person names them in workspaces.toml: [checks.test] run = '…'")
    for name in names:
        if name not in known:
            raise InvalidArgument(
                f"No check {name[:100]!r}. Configured: {', '.join(known)}.{likely(name, known)} Nothing was run.",
                "Checks are in workspaces.toml.",
            )
    chosen = {name: known[name] for name in names or known}
    for each in chosen.values():
        spec_of(each.protect)
    return chosen


def refuse_untrusted(core: Core) -> None:
    """Raise `UntrustedConfig` unless a person trusts exactly the checks that are configured now."""
    found = programs.checks(core)
    if programs.is_trusted(core, "checks", found):
        return
    commands = [f"{each.name}: {each.command}" for each in found if each.setting == "run"]
    raise UntrustedConfig(
        f"Nobody said yet that the checks in workspaces.toml may run ({listed(commands)}). Nothing was run.",
        "A person can look at them and let them run: workspaces trust.",
        checks=list(commands),
        fingerprint=fingerprint(found),
    )
