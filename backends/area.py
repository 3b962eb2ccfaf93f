"""What a command that is run in a workspace may touch when it is confined: its own tree, tools, and nothing that belongs to anybody else.

Everything is refused but what is listed here, so what nobody thought of is refused too.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workspaces.errors import NotAllowed, Unsupported, as_ours
from workspaces.model import Workspace

from . import confinement

_SYSTEM = (
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc", "/opt", "/proc", "/sys"),
    *("/nix", "/gnu", "/snap", "/run/current-system", "/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf"),
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm")
_TOOLS = (
    *(".asdf", ".bun", ".bundle", ".cabal", ".cargo", ".deno", ".dotnet", ".gem", ".ghcup", ".gradle", ".m2", ".npm", ".nuget", ".nvm"),
    *(".opam", ".pyenv", ".rbenv", ".rustup", ".sdkman", ".stack", ".volta", "go", ".gitconfig", ".config/git", ".config/mise"),
    *(".cache/go-build", ".cache/ms-playwright", ".cache/pip", ".cache/pnpm", ".cache/pre-commit", ".cache/pypoetry", ".cache/uv"),
    *(".local/bin", ".local/lib", ".local/share/mise", ".local/share/pipx", ".local/share/pnpm", ".local/share/uv"),
)
"""Where toolchains keep themselves and what they fetched, below a person's home."""
_SECRETS = (
    *(".cargo/credentials", ".cargo/credentials.toml", ".config/git/credentials", ".gem/credentials", ".gradle/gradle.properties"),
    *(".m2/settings.xml", ".m2/settings-security.xml", ".nuget/NuGet", ".bundle/config"),
)
"""What lies among them that opens something elsewhere."""
_TOOL_VARIABLES = ("VIRTUAL_ENV", "CONDA_PREFIX", "JAVA_HOME", "GOROOT", "GOPATH", "CARGO_HOME", "RUSTUP_HOME", "NVM_DIR", "PYENV_ROOT")
_AGENTS = ("SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_AGENT_INFO", "DBUS_SESSION_BUS_ADDRESS")
"""Programs that would act for the command with a person's rights."""
_MISSING: dict[confinement.Kind, tuple[str, str]] = {
    "files": (
        "This system cannot keep a command to its files: that takes Landlock, of Linux 6.2 or later. Nothing was run.",
        "Run it without --confined, or in a container.",
    ),
    "network": (
        "This system cannot keep a command from the network: that takes seccomp, of Linux on x86-64, ARM64 or RISC-V. Nothing was run.",
        "Allow it the network (--network), or run it in a container.",
    ),
}


@dataclass(frozen=True)
class Area:
    """What a workspace consists of (`own`), and what it may read besides (`shared`) of the project at `root`, whose `workspaces` are the others'."""

    own: tuple[Path, ...]
    shared: tuple[Path, ...]
    root: Path
    workspaces: Path


def enter(workspace: Workspace, area: Area, network: bool, environment: Mapping[str, str]) -> dict[str, str]:
    """Confine the calling thread, and all that it starts, to an area, for good. See `Backend.confine`."""
    needed: tuple[confinement.Kind, ...] = ("files",) if network else ("files", "network")
    for kind in needed:
        if kind not in confinement.held():
            raise Unsupported(*_MISSING[kind])
    with as_ours():
        temporary = _temporary(workspace, Path(environment.get("TMPDIR") or tempfile.gettempdir()))
        devices = tuple(Path("/dev", name) for name in _DEVICES)
        read = (*area.shared, *_readable(area, environment))
        confinement.give_up_capabilities()
        confinement.restrict(confinement.Rules(list(map(str, (*area.own, temporary, *devices))), list(map(str, read)), network))
    return {**{name: value for name, value in environment.items() if name not in _AGENTS}, "TMPDIR": str(temporary)}


def _temporary(workspace: Workspace, beside: Path) -> Path:
    """Return a folder for temporary files, the same for each command in a workspace. Raises `NotAllowed` when it is somebody else's."""
    folder = beside / f"workspaces-{os.geteuid()}-{workspace.uid}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise NotAllowed(f"{folder} is not a folder of yours alone. Nothing was run.", "Remove it and call again.")
    return folder


def _readable(area: Area, environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the system's files, and the tools that a person installed."""
    home, root = Path(environment.get("HOME") or "/").resolve(), area.root.resolve()
    hidden = [area.workspaces.resolve(), *((home / name).resolve() for name in _SECRETS)]
    for place in (*map(Path, _SYSTEM), *(home / name for name in _TOOLS)):
        yield from _apart(place.resolve(), [root, *hidden])
    for place in _tools(environment):
        # A tool may well lie in the project, as a virtual environment does; the project itself is none.
        if not any(place == whole or place in whole.parents for whole in (home, root)):
            yield from _apart(place, hidden)


def _tools(environment: Mapping[str, str]) -> Iterable[Path]:
    """Return where the environment says that programs are: a folder `bin`, or `shims`, brings along what is beside it."""
    found = [Path(name).resolve() for name in environment.get("PATH", "").split(os.pathsep) if name.startswith("/")]
    named = [Path(environment[name]).resolve() for name in _TOOL_VARIABLES if environment.get(name, "").startswith("/")]
    return dict.fromkeys([*found, *(each.parent for each in found if each.name in ("bin", "shims")), *named])


def _apart(place: Path, hidden: Sequence[Path]) -> Iterator[Path]:
    """Yield the parts of a tree, as large as may be, that hold nothing hidden. Links inside are left out: they could lead there."""
    if any(each == place or each in place.parents for each in hidden):
        return
    if not any(place in each.parents for each in hidden):
        yield place
        return
    with suppress(OSError):
        for entry in sorted(place.iterdir()):
            if not entry.is_symlink():
                yield from _apart(entry, hidden)
