"""Where the outputs of one check on two workspaces differ."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from workspaces.model import Verdict

_LINES = 2000
_LONGEST = 2000
_LARGEST = 20_000


def compared(results: Sequence[Verdict]) -> str:
    """Return a unified diff of the outputs of the two, of their last lines and its first characters; nothing when they are the same."""
    judged = [each for each in results if not each.control]
    one, other = judged[0], judged[-1]
    lines = list(difflib.unified_diff(_lines(one), _lines(other), one.workspace, other.workspace, n=2, lineterm=""))
    text = "\n".join(lines)
    return text if len(text) <= _LARGEST else f"{text[:_LARGEST]}\n… the rest is in {one.log} and {other.log}"


def _lines(verdict: Verdict) -> list[str]:
    """Return the last lines of what a check printed, each cut to what a reader takes in."""
    text = Path(verdict.log).read_text(errors="replace") if verdict.log and Path(verdict.log).is_file() else verdict.tail
    return [line[:_LONGEST] for line in text.splitlines()[-_LINES:]]
