"""Which names a workspace may have, short readable ones for those who name none, and in which order they are listed."""

from __future__ import annotations

import random
import re
from datetime import datetime
from functools import lru_cache

from workspaces.errors import InvalidName
from workspaces.model import MAIN, Workspace

MAX_LENGTH = 63
_RULE = f"Use 1 to {MAX_LENGTH} letters, digits, '-', '_' and '.', beginning with a letter or digit."
_STRANGE = re.compile(r"[^A-Za-z0-9._-]")
# The folder and ref of a workspace carry its name: gitrevisions and git-check-ref-format(1) forbid these, and Windows the devices.
_FORBIDDEN = re.compile(r"\.\.|\.lock$|^(?:con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)

_FIRST = [
    "amber",
    "bold",
    "brisk",
    "calm",
    "clear",
    "crisp",
    "deep",
    "eager",
    "fair",
    "fine",
    "fresh",
    "gentle",
    "glad",
    "keen",
    "kind",
    "light",
    "lucid",
    "mild",
    "neat",
    "noble",
    "quick",
    "quiet",
    "rapid",
    "sharp",
]
_SECOND = [
    "ant",
    "bear",
    "crane",
    "deer",
    "dove",
    "eagle",
    "elk",
    "finch",
    "fox",
    "hare",
    "hawk",
    "heron",
    "ibis",
    "jay",
    "lark",
    "lynx",
    "mole",
    "newt",
    "otter",
    "owl",
    "puma",
    "robin",
    "seal",
    "swan",
]


def checked(name: str) -> str:
    """Return the name if a workspace may have it, else raise `InvalidName`."""
    if len(name) > MAX_LENGTH:
        raise InvalidName(f"The name is {len(name)} characters long. Nothing was made.", _RULE)
    if name.lower() == MAIN:
        raise InvalidName("'main' is the project itself. Nothing was made.", "Choose another name.")
    if why := _flaw(name):
        raise InvalidName(f"{name!r} cannot be the name of a workspace: it {why}. Nothing was made.", _RULE)
    return name


def _flaw(name: str) -> str:
    """Say what keeps a name from being one; nothing when it can be."""
    if not name:
        return "is empty"
    if strange := _STRANGE.search(name):
        return f"holds {strange[0]!r}"
    if name[0] in "._-":
        return f"begins with {name[0]!r}"
    if name[-1] == ".":
        return "ends with '.'"
    if found := _FORBIDDEN.search(name):
        return f"{'ends with' if found[0].lower() == '.lock' else 'holds'} {found[0]!r}" if found[0][0] == "." else "is a device on Windows"
    return ""


def invented(task: str) -> str:
    """Return a name made of the task's first words, or of two words drawn at random."""
    words = re.findall(r"[a-z0-9]+", task.lower())
    slug = ""
    for word in words:
        if len(slug) + 1 + len(word) > 24:
            break
        slug = f"{slug}-{word}" if slug else word
    return slug if slug and slug != MAIN and not _FORBIDDEN.search(slug) else f"{random.choice(_FIRST)}-{random.choice(_SECOND)}"  # noqa: S311 - names, no secrets


def project_name(folder: str) -> str:
    """Return a folder's name in the form that ids and refs can carry."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", folder).strip("-")[:MAX_LENGTH] or "project"


def age_then_name(workspace: Workspace) -> tuple[bool, datetime, tuple[tuple[int, str], ...]]:
    """Return what sorts main first, then the oldest, and those of one call by name, name-2 before name-10."""
    return not workspace.is_main, workspace.created, _parts(workspace.name)


@lru_cache(4096)
def _parts(name: str) -> tuple[tuple[int, str], ...]:
    """Return a name cut where digits begin and end, so that names are sorted by their numbers. A list of a thousand asks for all of them twice."""
    return tuple((int(part), "") if part.isdecimal() else (0, part) for part in re.findall(r"\d+|\D+", name))
