"""Whether an attempt changed what it is judged by: the paths that a check protects, and what looks like tests where nothing protects it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

from workspaces.checks.verdicts import spec_of
from workspaces.config import Check
from workspaces.model import Change, path_bytes

_TESTS = re.compile(
    r"(^|/)(tests?|specs?|__tests__)/"
    r"|(^|/)test_[^/]*$|[^/](_test|_spec|\.test|\.spec|Tests?)\.[^/]+$"
    r"|(^|/)(pytest\.ini|tox\.ini|(jest|vitest|karma)\.conf[^/]*)$"
)
_STEERING = re.compile(r"(^|/)(conftest|sitecustomize|usercustomize)\.py$")
"""What takes part in any run of the tests, new as well: other new files leave the tests that were there as they were."""
_INTERPRETERS = {"sh", "bash", "dash", "zsh", "python", "python3", "node", "ruby", "perl"}
_NEXT = {"&&", "||", ";", "|", "&", "("}


def protected(check: Check, changes: Sequence[Change]) -> set[str]:
    """Return the changed paths that the check takes from the base."""
    spec = spec_of(check.protect)
    paths = {path for change in changes for path in (change.path, change.old_path) if path}
    return {path for path in paths if spec.match_file(os.fsdecode(path_bytes(path)))} if check.protect else set()


def unprotected(check: Check, changes: Sequence[Change]) -> set[str]:
    """Return the changed paths by which, as far as their names tell, the check judges, and that it does not take from the base."""
    scripts = _scripts(check)
    there = {change.old_path or change.path for change in changes if change.status not in ("added", "copied")}
    found = {path for path in there if _TESTS.search(path) or path in scripts}
    found |= {path for change in changes for path in (change.path, change.old_path) if _STEERING.search(path)}
    return found - protected(check, changes) if found else found


def _scripts(check: Check) -> set[str]:
    """Return what a check's command runs, itself or by an interpreter: of these words, those that are paths in the project are scripts there."""
    found, is_run = set[str](), True
    for word in _words(check):
        if word in _NEXT:
            is_run = True
        elif is_run and not word.startswith("-") and "=" not in word:
            found.add(word.removeprefix("./"))
            is_run = word.rpartition("/")[2] in _INTERPRETERS
    return found


def _words(check: Check) -> Sequence[str]:
    if not isinstance(check.run, str):
        return check.run
    parser = shlex.shlex(check.run, posix=True, punctuation_chars=True)
    parser.whitespace_split = True
    try:
        return [*parser]
    except ValueError:
        return check.run.split()
