"""Spans: what is told of a call to who keeps traces, by the real SDK of OpenTelemetry in a process of its own; and that nobody else pays for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support import Repo

from workspaces import Project

TRACED = Path(__file__).with_name("traced.py")
Span = dict[str, Any]


def spans(*args: str, cwd: Path, **environment: str) -> list[Span]:
    """Run a program of which spans are told, and return these."""
    command = [sys.executable, str(TRACED), *args]
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=120)
    found: list[Span] = json.loads(done.stdout.splitlines()[-1])
    return found


def above(span: Span, known: Sequence[Span]) -> list[str]:
    """Return the names of the spans that one lies in, the nearest first."""
    parents = {each["id"]: each for each in known}
    found: list[str] = []
    while span["parent"] in parents:
        span = parents[span["parent"]]
        found.append(span["name"])
    return found


def test_gits_and_locks_lie_in_verbs_and_these_in_calls_of_tools(repo: Repo) -> None:
    known = spans("server", str(repo.path), cwd=repo.path)
    gits = [each for each in known if each["name"].startswith("git ")]
    merged = [each for each in gits if "workspaces merge" in above(each, known)]
    assert {"git status", "git update-ref"} <= {each["name"] for each in merged}
    for each in merged:
        assert above(each, known)[-3:] == ["workspaces merge", "tools/call merge", "agent"]
        assert (each["kind"], each["attributes"]["process.executable.name"]) == ("CLIENT", "git")
        assert isinstance(each["attributes"]["process.exit.code"], int)
    locks = [each for each in known if each["name"] == "workspaces lock" and "workspaces merge" in above(each, known)]
    assert ["shop.fix-1", "shop.main"] in [each["attributes"]["workspaces.lock.names"] for each in locks]
    assert all(each["events"] == ["locked"] for each in locks)
    assert {above(each, known)[-1] for each in known if each["name"] != "agent"} == {"agent"}, "work in threads of a call is part of it"
    assert len({each["trace"] for each in known}) == 1


def test_what_failed_is_told_by_its_code_and_nothing_private_is(repo: Repo) -> None:
    known = spans("server", str(repo.path), cwd=repo.path)
    failed = [each for each in known if each["status"] == "ERROR" and each["name"] == "workspaces compare"]
    assert [each["attributes"] for each in failed] == [{"error.type": "not_found"}]
    told = json.dumps(known)
    assert "of mine" not in told and str(repo.path) not in told
    traces = {each.trace for each in Project.open(repo.path).calls().calls}
    assert traces == {known[0]["trace"]}


def test_a_command_is_part_of_the_trace_that_its_environment_names(repo: Repo) -> None:
    Project.initialize(repo.path)
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    known = spans("command", "clone", "--name", "fix", cwd=repo.path, TRACEPARENT=f"00-{trace}-{parent}-01")
    assert {each["trace"] for each in known} == {trace}
    assert [each["parent"] for each in known if each["name"] == "workspaces clone"] == [parent]
    assert (repo.path / ".workspaces" / "fix").is_dir()


def test_the_command_line_does_not_import_what_tells_spans(repo: Repo) -> None:
    code = "import sys; from workspaces import Project; from pathlib import Path; Project.initialize(Path('.')).clone(name='fix')\n"
    code += "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=repo.path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
