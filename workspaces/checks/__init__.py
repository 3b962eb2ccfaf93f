"""Checks: commands that a person trusted, run on frozen copies of attempts, and their verdicts remembered by contents and command."""

from workspaces.checks.asking import named as named
from workspaces.checks.asking import refuse_untrusted as refuse_untrusted
from workspaces.checks.copies import clear as clear
from workspaces.checks.copies import known as in_use
from workspaces.checks.judging import Watch as Watch
from workspaces.checks.judging import beside as beside
from workspaces.checks.judging import check as check
from workspaces.checks.touched import protected as protected
from workspaces.checks.touched import unprotected as unprotected
from workspaces.checks.trials import Trial as Trial
from workspaces.checks.trials import judge as judge
from workspaces.checks.trying import forget as forget
from workspaces.checks.verdicts import remembered as remembered

__all__ = [
    "Trial",
    "Watch",
    "beside",
    "check",
    "clear",
    "forget",
    "in_use",
    "judge",
    "named",
    "protected",
    "refuse_untrusted",
    "remembered",
    "unprotected",
]
