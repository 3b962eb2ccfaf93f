"""What is installed, under which names, and who may import whom."""

from __future__ import annotations

import ast
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from installing import ROOT, build, install, wheel
from support import Repo

SOURCES = sorted([*ROOT.glob("workspaces/**/*.py"), *ROOT.glob("backends/**/*.py"), ROOT / "cli.py"])
HOMES = {
    "mcp": "workspaces/server/",
    "reflink_copy": "backends/tree.py",
    "typer": "cli.py",
    "rich": "workspaces/terminal/",
    "git": "backends/git.py",
    "sqlite3": "workspaces/store/",
    "jwt": "workspaces/server/issuers.py",
    "pygments": "workspaces/syntax.py",
    "yaml": "workspaces/clients/yaml.py",
    "opentelemetry": "workspaces/telemetry.py",
}
_BELOW = (
    "workspaces.model.",
    "workspaces.errors.",
    "workspaces.locks.",
    "workspaces.starts.",
    "workspaces.telemetry.",
    "workspaces.threads.",
)
"""What backends may import."""
FLOORS = [
    {"model", "errors", "starting", "starts", "telemetry"},
    {"threads"},
    {"access", "backend", "config", "locks", "naming", "parsing", "places", "wording"},
    {"private"},
    {"trust"},
    {"audit", "store", "tokens"},
    {"core", "syntax"},
    {"gone"},
    {"asked", "containment", "outline", "programs"},
    {"aside", "checks", "preparing"},
    {"resolving"},
    {"adoption", "cloning", "comparison"},
    {"removal"},
    {"replaying"},
    {"merging"},
    {"collection", "history", "landing", "overview", "requests"},
    {"doctor", "looking", "recovery", "undoing"},
    {"project"},
    {"beforehand", "clients"},
    {"server", "terminal"},
]


def imports(file: Path) -> Iterator[str]:
    """Yield the absolute names of what a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((f"{node.module}.{name.name}") for name in node.names)


def place(file: Path) -> str:
    return str(file.relative_to(ROOT))


def floor(module: str) -> int:
    return next(number for number, modules in enumerate(FLOORS) if module in modules)


@pytest.mark.parametrize("file", SOURCES, ids=place)
def test_each_foreign_thing_has_one_door(file: Path) -> None:
    for name in imports(file):
        home = HOMES.get(name.split(".")[0])
        assert home is None or place(file).startswith(home), f"{place(file)} imports {name}"


@pytest.mark.parametrize("file", SOURCES, ids=place)
def test_nobody_imports_backends(file: Path) -> None:
    for name in imports(file):
        assert not name.startswith(("backends", "workspaces.backends.", "workspaces_cli")), f"{place(file)} imports {name}"
        if place(file).startswith("backends/") and name.startswith("workspaces"):
            assert name.startswith(_BELOW), f"{place(file)} imports {name}"


@pytest.mark.parametrize("file", [file for file in SOURCES if place(file).startswith("workspaces/")], ids=place)
def test_imports_point_downwards(file: Path) -> None:
    parts = file.relative_to(ROOT / "workspaces").parts
    module = parts[0].removesuffix(".py")
    if module == "__init__":
        return
    for name in imports(file):
        words = name.split(".")
        if words[0] == "workspaces" and len(words) > 1 and words[1] != module:
            known = words[1] if any(words[1] in modules for modules in FLOORS) else words[2]
            assert floor(known) < floor(module), f"{place(file)} imports {name}"


def test_the_list_of_packages_matches_the_tree() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    inside = {
        str(file.parent.relative_to(ROOT)).replace("/", ".")
        for top in ("workspaces", "backends")
        for file in ROOT.glob(f"{top}/**/__init__.py")
    }
    folders = {f"workspaces.{name}" if name.startswith("backends") else name for name in inside}
    assert set(listed) == folders | {"workspaces.conformance", "workspaces_cli"}
    assert [file.name for file in ROOT.glob("*.py")] == ["cli.py"]


def test_the_wheel_works_in_a_fresh_environment(tmp_path: Path, repo: Repo) -> None:
    dist = build(ROOT, tmp_path)
    (sdist,) = dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel(dist)) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"workspaces", "workspaces_cli", "mcp_workspaces-0.1.0.dist-info"}
    assert {
        "workspaces/py.typed",
        "workspaces/server/compare.html",
        "workspaces/backends/worktree/backend.py",
        "workspaces/conformance/conftest.py",
        "workspaces_cli/cli.py",
    } <= set(names)
    with tarfile.open(sdist) as packed:
        assert any(name.endswith("/cli.py") for name in packed.getnames())
    _try_out(install(tmp_path / "fresh", wheel(dist)), repo)


def _try_out(programs: Path, repo: Repo) -> None:
    where = [
        str(programs / "python"),
        "-I",
        "-c",
        "import workspaces, workspaces.backends.worktree as w; print(workspaces.__file__, w.__file__)",
    ]
    assert str(ROOT) not in subprocess.run(where, capture_output=True, text=True, check=True).stdout
    subprocess.run([str(programs / "workspaces"), "clone", "--name", "fix"], cwd=repo.path, check=True, capture_output=True)
    assert (repo.path / ".workspaces" / "fix" / "cart.py").exists()
    assert (
        subprocess.run([str(programs / "mcp-workspaces"), "--version"], capture_output=True, text=True, check=True).stdout.strip()
        == "0.1.0"
    )
