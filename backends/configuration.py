"""What git's configuration says of what matters here: asked of git once for each contents of the files that it comes from."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from . import tree

_ABOUT = (
    r"^((filter|merge|hook|include|includeif)\.|core\.(autocrlf|eol|symlinks|filemode|attributesfile|excludesfile|sparsecheckout|sparsecheckoutcone)$|extensions\.worktreeconfig$"
    r"|index\.sparse$|sparse\.expectfilesoutsideofpatterns$|(user|author|committer)\.(name|email)$)"
)
_ELSEWHERE = re.compile(rb"include(if)?\.")
"""What brings other files in, which may say something else to others, and at another time (git-config(1), "Includes")."""
_QUOTED = re.compile(rb"'(/[^'\n]+)'")
_OURS = b"command"
"""The scope of what we tell git to go by."""
_LONGEST = 1 << 20
_MOST = 64
"""Configurations that are remembered."""
_SOON = 2
"""Times that git is asked before anything is remembered: most processes are one command, which asks no more often."""

Ask = Callable[..., bytes]
"""Asks git, and returns its output, whatever it says; where it only complains, that."""


class Setting(NamedTuple):
    """A setting, and whether the system, the user (`global`), the repository (`local`) or the one checkout (`worktree`) says so."""

    scope: bytes
    key: bytes
    value: bytes


_known: dict[tuple[bytes, ...], list[Setting]] = {}
_asked: list[None] = []
_system: list[Path] = []


def told(ask: Ask, git_dir: Path, common_dir: Path) -> list[Setting]:
    """Return all settings that matter to what is checked out, and to who commits, in git's order: of equals the last one counts."""
    files = _files(ask, git_dir, common_dir)
    before = _contents(files)
    if before and before in _known:
        return _known[before]
    words = ask("config", "--null", "--show-scope", "--show-origin", "--get-regexp", _ABOUT).split(b"\0")[:-1]
    rows = [row for row in zip(words[::3], words[1::3], words[2::3], strict=True) if row[0] != _OURS]
    found = [Setting(scope, *word.partition(b"\n")[::2]) for scope, _, word in rows]
    known = {b"file:" + os.fsencode(file) for file in files}
    if before and known.issuperset(origin for _, origin, _ in rows) and not any(_ELSEWHERE.match(each.key) for each in found):
        _remember(before, _contents(files), found)
    return found


def _remember(before: tuple[bytes, ...], after: tuple[bytes, ...], found: list[Setting]) -> None:
    """Remember what git said of files that were the same before and after it looked."""
    if before == after:
        if len(_known) >= _MOST:
            _known.clear()
        _known[before] = found


def _files(ask: Ask, git_dir: Path, common_dir: Path) -> Sequence[Path]:
    """Return the files that git reads for a git directory (git-config(1), FILES); nothing as long as nobody asked often."""
    if len(_asked) < _SOON:
        _asked.append(None)
        return ()
    if not _system:
        said = ask("config", "--system", "--show-origin", "--null", "--list")
        named = said.partition(b"\0")[0].removeprefix(b"file:") if said.startswith(b"file:") else b"".join(_QUOTED.findall(said))
        _system.append(Path(os.fsdecode(named)))
    own = (common_dir / "config", git_dir / "config.worktree")
    return (_system[0], *_globals(), *own) if _system[0].is_absolute() else ()


def _globals() -> Sequence[Path]:
    """Return the files of the person's own configuration (git-config(1), FILES and GIT_CONFIG_GLOBAL)."""
    if named := os.environ.get("GIT_CONFIG_GLOBAL"):
        return (Path(named),)
    return (personal("config"), _home() / ".gitconfig")


def personal(name: str) -> Path:
    """Return where git looks for a file of the person's own (git-config(1), FILES)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or _home() / ".config") / "git" / name


def _home() -> Path:
    """Return where git looks for the person's home; a place where nothing is, where that is not told: git looks nowhere then."""
    return Path(os.environ.get("HOME") or "/nowhere")


def _contents(files: Sequence[Path]) -> tuple[bytes, ...]:
    """Return what is in files; nothing at all where that cannot be told."""
    try:
        return tuple(map(_content, files))
    except OSError:
        return ()


def _content(file: Path) -> bytes:
    """Return a mark and what is in a file, or nothing for one that is not there. Raises OSError for what is no file, or too long for one of these."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except tree.ABSENT:
        return b""
    with tree.opened(descriptor):
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LONGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(file))
        return b"=" + os.read(descriptor, _LONGEST + 1)


_PLAIN = re.compile(r"""[^\x00-\x20.,:;<>"\\'](?:[^\x00-\x1f<>\x7f]*[^\x00-\x20.,:;<>"\\'\x7f])?""")
"""A name, or an address, of which git takes nothing away at its ends or within (git-commit(1), COMMIT INFORMATION)."""


def person(found: Sequence[Setting]) -> str:
    """Return who commits, as `name <address>`, where that is told by `user.name` and `user.email` alone; nothing where git has to say."""
    people = {each.key: each.value for each in found if each.key.endswith((b".name", b".email")) and each.key.count(b".") == 1}
    try:
        name, mail = people.pop(b"user.name").decode(), people.pop(b"user.email").decode()
    except (KeyError, UnicodeDecodeError):
        return ""
    return f"{name} <{mail}>" if not people and _PLAIN.fullmatch(name) and _PLAIN.fullmatch(mail) else ""
