"""The example of somebody else's backend passes the published conformance suite, each installed from its own wheel."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from installing import ROOT, build, install, wheel


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ours = wheel(build(ROOT, tmp_path_factory.mktemp("ours")))
    plain = wheel(build(ROOT / "examples" / "own_backend", tmp_path_factory.mktemp("plain")))
    return install(tmp_path_factory.mktemp("fresh"), ours, plain)


SHORT = ["-k", " or ".join(f"test_{name}.py" for name in ("clone", "delete", "initialize", "merge", "pairs", "states"))]
"""Without `make published`: what a backend itself decides; not what the rest makes of it, nor what happens when processes are killed."""


def test_it_passes_the_published_suite(programs: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    short = [] if pytestconfig.getoption("--whole") else SHORT
    command = [str(programs / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "workspaces.conformance", *short]
    surroundings = os.environ | {"CONFORMANCE_BACKEND": "plain"}
    done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 60
    assert "skipped" not in done.stdout


def test_it_takes_no_folder_from_the_built_in_ones(programs: Path) -> None:
    script = "from workspaces.backend import installed; print(*installed())"
    names = subprocess.run([str(programs / "python"), "-I", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert names[-1] == "plain"
    assert "worktree" in names
