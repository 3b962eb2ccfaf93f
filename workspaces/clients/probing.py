"""Starting a server as a client would, and listening whether it speaks MCP: initialize and tools/list over stdio, within a limit of time.

Spoken by hand and not by the SDK: what is looked for is what an SDK's client would hide or stumble over. The protocol is that of
modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio: one JSON object a line, and nothing else on stdout.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO

from pydantic import JsonValue

from workspaces.clients.known import Start

_PASSED_ON = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
"""What clients let a server hear of their own environment, besides what its entry says (as the reference SDKs do)."""
_TOOLS = ("clone", "compare", "merge", "delete")
_VERSION = "2025-11-25"
_LONGEST = 200
_FAREWELL = 2.0


class _Unfit(Exception):
    """What is wrong with a server."""


@dataclass(frozen=True)
class Probe:
    """One server, as a client starts it."""

    start: Start
    environment: Mapping[str, str] = field(compare=False)
    folder: Path
    patience: float = 30.0

    def problem(self) -> str:
        """Start the server, speak to it, and end it. Return what is wrong, or nothing."""
        environment = {name: value for name, value in self.environment.items() if name in _PASSED_ON} | dict(self.start.env)
        program = shutil.which(self.start.command, path=environment.get("PATH", os.defpath))
        if program is None:
            there = Path(self.start.command).exists()
            return f"the program {self.start.command} {'is not executable' if there else 'is gone'}"
        with tempfile.TemporaryFile() as errors:
            words = [program, *self.start.args]
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=self.folder,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                return f"the program {self.start.command} does not start: {error.strerror}"
            try:
                return self._heard(process, errors)
            finally:
                _end(process)

    def _heard(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> str:
        try:
            _speak(process, time.monotonic() + self.patience)
        except _Unfit as error:
            return str(error)
        except TimeoutError:
            return f"it did not answer within {self.patience:.0f} s"
        except (EOFError, BrokenPipeError):
            return f"it {_ending(process)}: {_last_line(errors) or 'nothing on stderr'}"
        return ""


def _ending(process: subprocess.Popen[bytes]) -> str:
    """Say how a server ended that says nothing any more."""
    try:
        return f"ended with status {process.wait(_FAREWELL)}"
    except subprocess.TimeoutExpired:
        return "closed its stdout, and goes on"


def _speak(process: subprocess.Popen[bytes], deadline: float) -> None:
    """Greet a server and ask for its tools. Raises `_Unfit`, `TimeoutError`, or `EOFError` when it ends."""
    if process.stdin is None or process.stdout is None:
        raise EOFError
    told = _told(process.stdout, deadline)
    who: dict[str, JsonValue] = {
        "protocolVersion": _VERSION,
        "capabilities": {},
        "clientInfo": {"name": "workspaces-doctor", "version": version("mcp-workspaces")},
    }
    greeted = _asked(process.stdin, told, 1, "initialize", who)
    _is_ours(greeted)
    _send(process.stdin, {"jsonrpc": "2.0", "method": "notifications/initialized"})
    tools = _asked(process.stdin, told, 2, "tools/list", {}).get("tools")
    names = [each.get("name") for each in tools if isinstance(each, dict)] if isinstance(tools, list) else []
    if lacking := [name for name in _TOOLS if name not in names]:
        raise _Unfit(f"it has no tool {', '.join(lacking)}")


def _is_ours(greeted: Mapping[str, JsonValue]) -> None:
    info = greeted.get("serverInfo")
    name, its = (info.get("name"), info.get("version")) if isinstance(info, dict) else (None, None)
    if name != "workspaces":
        raise _Unfit(f"it is another server: {str(name)[:_LONGEST]!r}")
    if its != version("mcp-workspaces"):
        raise _Unfit(f"it is version {str(its)[:_LONGEST]}, and this is {version('mcp-workspaces')}")


def _asked(to: IO[bytes], told: Iterator[bytes], number: int, method: str, params: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return the answer to a request; notifications and requests of the server's own are passed over."""
    _send(to, {"jsonrpc": "2.0", "id": number, "method": method, "params": dict(params)})
    for line in told:
        message = _message(line)
        if message.get("id") == number and "method" not in message:
            result = message.get("result")
            if not isinstance(result, dict):
                raise _Unfit(f"it answers {method} with an error: {json.dumps(message.get('error'))[:_LONGEST]}")
            return result
    raise EOFError


def _message(line: bytes) -> dict[str, JsonValue]:
    try:
        read: JsonValue = json.loads(line)
    except ValueError:
        read = None
    if not isinstance(read, dict) or read.get("jsonrpc") != "2.0":
        raise _Unfit(f"it writes to stdout what is not the protocol: {line[:_LONGEST].decode(errors='replace').strip()!r}")
    return read


def _send(to: IO[bytes], message: Mapping[str, JsonValue]) -> None:
    to.write(json.dumps(message).encode() + b"\n")
    to.flush()


def _told(stdout: IO[bytes], deadline: float) -> Iterator[bytes]:
    """Yield what a server says, line by line. Raises `TimeoutError` at the deadline."""
    kept = b""
    with selectors.DefaultSelector() as ready:
        ready.register(stdout, selectors.EVENT_READ)
        while True:
            if not ready.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            got = os.read(stdout.fileno(), 65536)
            if not got:
                return
            *lines, kept = (kept + got).split(b"\n")
            yield from (line for line in lines if line.strip())


def _last_line(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - 4096))
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:_LONGEST] if lines else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a server end as clients do: by closing its input; then by force, with all that it started."""
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):
            if stream is not None:
                stream.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_FAREWELL)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
