"""The MCP Inspector over stdio and HTTP, in both eras."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from outside import INSPECTOR, NODE, need_node
from serving import served
from support import WORKSPACES, Repo

_REFUSED = 5
"""Its exit status for a result that is an error."""


@contextmanager
def target(repo: Repo, transport: str) -> Generator[list[str]]:
    if transport == "stdio":
        yield [WORKSPACES, "--project", str(repo.path), "serve"]
        return
    with served(repo) as server:
        yield [server.url]


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_inspector(repo: Repo, transport: str, era: str) -> None:
    need_node()
    with target(repo, transport) as where:
        listed = _asked(where, era, "--method", "tools/list", "--strict")
        assert len(_result(listed)["tools"]) == 9
        assert listed.stderr == ""
        made = _asked(where, era, "--method", "tools/call", "--tool-name", "clone", "--tool-arg", "name=fix")
        assert _result(made)["structuredContent"]["workspaces"][0]["id"] == "shop/fix"
        wrong = _asked(where, era, "--method", "tools/call", "--tool-name", "merge", "--tool-arg", "source=gone")
        assert (wrong.returncode, "not_found" in wrong.stdout) == (_REFUSED, True), wrong.stdout + wrong.stderr


def _asked(where: list[str], era: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [NODE, str(INSPECTOR), "--cli", *where, "--protocol-era", era, *options, "--format", "json", "-q"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def _result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["result"]
    return found
