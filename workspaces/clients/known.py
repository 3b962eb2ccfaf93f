"""Which clients are known, where each keeps its servers and in what form, as their own documentation says.

| client | source |
|---|---|
| Claude Code | code.claude.com/docs/en/mcp (scopes; `CLAUDE_CONFIG_DIR` moves the user's file: docs/en/settings) |
| Claude Desktop | modelcontextprotocol.io/docs/develop/connect-local-servers |
| Codex | developers.openai.com/codex/mcp and /codex/config-reference |
| Cursor | cursor.com/docs/mcp |
| VS Code | code.visualstudio.com/docs/agents/reference/mcp-configuration |
| Gemini CLI | geminicli.com/docs/tools/mcp-server |
| Zed | zed.dev/docs/ai/mcp |
| Goose | block.github.io/goose/docs/guides/config-files |
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from workspaces.clients import jsonc, toml, yaml
from workspaces.clients.spliced import Format
from workspaces.errors import NotFound, likely

NAME = "workspaces"
"""What the server is called in every client."""
Entry = Mapping[str, JsonValue]


@dataclass(frozen=True)
class Here:
    """Whose machine this is: what a face read from the environment."""

    environment: Mapping[str, str]
    platform: str
    """As `sys.platform`."""
    folder: Path
    """Where the person stands: a project, or a folder in one."""

    @property
    def home(self) -> Path:
        return Path(self.environment.get("HOME") or "/")

    @property
    def config(self) -> Path:
        """Return the folder for settings by the XDG Base Directory Specification."""
        named = self.environment.get("XDG_CONFIG_HOME", "")
        return Path(named) if named.startswith("/") else self.home / ".config"

    @property
    def desktop(self) -> Path:
        """Return the folder in which desktop programs of this system keep their settings."""
        return self.home / "Library" / "Application Support" if self.platform == "darwin" else self.config

    def named(self, variable: str, default: str) -> Path:
        """Return the folder that a variable names, else one in the home."""
        return Path(self.environment.get(variable) or self.home / default)


@dataclass(frozen=True)
class Start:
    """How an entry starts a server."""

    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()

    @property
    def is_ours(self) -> bool:
        """Return whether it starts this program: itself, or by uvx."""
        return Path(self.command).name in (NAME, "mcp-workspaces") or "mcp-workspaces" in self.args


def _plain(command: str, args: Sequence[str]) -> Entry:
    return {"command": command, "args": list(args)}


def _typed(command: str, args: Sequence[str]) -> Entry:
    return {"type": "stdio", **_plain(command, args)}


def _codex(command: str, args: Sequence[str]) -> Entry:
    """Give it more than the 10 s to start and the 60 s a call that are the default: a large repository takes longer."""
    return {**_plain(command, args), "startup_timeout_sec": 30, "tool_timeout_sec": 300}


def _goose(command: str, args: Sequence[str]) -> Entry:
    described = "Private workspaces for parallel agents: clone, compare, merge, delete"
    return {"name": NAME, "type": "stdio", "enabled": True, "cmd": command, "args": list(args), "timeout": 300, "description": described}


@dataclass(frozen=True)
class Client:
    """A client. `place` is the file of the person's own servers, `project` that of a project's, if it has one."""

    key: str
    title: str
    form: Format
    section: str
    entry: Callable[[str, Sequence[str]], Entry]
    place: Callable[[Here], Path]
    program: str
    project: str = ""
    anywhere: bool = False
    """Whether it starts servers in no project: then one can only be named."""

    def found(self, here: Here) -> bool:
        """Return whether it seems to be installed here: its program is on PATH, or its settings are there."""
        file = self.place(here)
        folder = file.parent if file.parent != here.home else file
        return folder.exists() or shutil.which(self.program, path=here.environment.get("PATH", "")) is not None


def started(entry: JsonValue) -> Start | None:
    """Return how an entry of any client starts its server; nothing when it is no program on this machine."""
    if not isinstance(entry, dict):
        return None
    command, args, env = entry.get("command", entry.get("cmd")), entry.get("args") or [], entry.get("env", entry.get("envs")) or {}
    if not isinstance(command, str) or not isinstance(args, list) or not isinstance(env, dict):
        return None
    return Start(command, tuple(map(str, args)), tuple((key, str(value)) for key, value in env.items()))


def _claude(here: Here) -> Path:
    named = here.environment.get("CLAUDE_CONFIG_DIR")
    return Path(named or here.home) / ".claude.json"


CLIENTS = (
    Client("claude-code", "Claude Code", jsonc, "mcpServers", _typed, _claude, "claude", ".mcp.json"),
    Client(
        "claude-desktop",
        "Claude Desktop",
        jsonc,
        "mcpServers",
        _plain,
        lambda here: here.desktop / "Claude" / "claude_desktop_config.json",
        "claude-desktop",
        anywhere=True,
    ),
    Client(
        "codex",
        "Codex",
        toml,
        "mcp_servers",
        _codex,
        lambda here: here.named("CODEX_HOME", ".codex") / "config.toml",
        "codex",
        ".codex/config.toml",
    ),
    Client("cursor", "Cursor", jsonc, "mcpServers", _plain, lambda here: here.home / ".cursor" / "mcp.json", "cursor", ".cursor/mcp.json"),
    Client(
        "vscode", "VS Code", jsonc, "servers", _typed, lambda here: here.desktop / "Code" / "User" / "mcp.json", "code", ".vscode/mcp.json"
    ),
    Client(
        "gemini",
        "Gemini CLI",
        jsonc,
        "mcpServers",
        _plain,
        lambda here: here.home / ".gemini" / "settings.json",
        "gemini",
        ".gemini/settings.json",
    ),
    Client("zed", "Zed", jsonc, "context_servers", _plain, lambda here: here.config / "zed" / "settings.json", "zed", ".zed/settings.json"),
    Client("goose", "Goose", yaml, "extensions", _goose, lambda here: here.config / "goose" / "config.yaml", "goose"),
)


def client(name: str) -> Client:
    """Return the client of that name, however it is written. Raises `NotFound`."""
    asked = name.lower().replace(" ", "-").replace("_", "-")
    keys = [each.key for each in CLIENTS]
    for each in CLIENTS:
        if asked in (each.key, each.title.lower().replace(" ", "-"), each.program):
            return each
    raise NotFound(f"No client '{name}' is known.{likely(asked, keys)} Nothing was changed.", f"Known: {', '.join(keys)}.")
