"""What other people's machines read of this project: the registry's entry, the bundle, the plugin. They say the same, and what is true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from bundling import ROOT, bundle
from jsonschema import validate

PLUGIN = ROOT / "examples" / "claude-code"
GOLDEN_TOOLS = "initialize clone compare merge delete status check checkpoint restore"


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SERVER = read(ROOT / "docs" / "registry" / "server.json")


def test_the_entry_for_the_registry_keeps_its_rules() -> None:
    """modelcontextprotocol.io/registry: the schema of 2025-12-11, and what the registry checks before it publishes."""
    assert SERVER["$schema"].endswith("/2025-12-11/server.schema.json")
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", SERVER["name"])
    assert 0 < len(SERVER["description"]) <= 100
    (package,) = SERVER["packages"]
    assert set(package) <= {"registryType", "identifier", "version", "runtimeHint", "transport", "environmentVariables"}
    assert (package["registryType"], package["identifier"], package["transport"]) == ("pypi", PROJECT["name"], {"type": "stdio"})
    assert PROJECT["name"] in PROJECT["scripts"], "the registry's clients run the script that is named as the package"
    assert f"<!-- mcp-name: {SERVER['name']} -->" in (ROOT / "README.md").read_text()


def test_all_say_the_same_version() -> None:
    said = [SERVER["version"], SERVER["packages"][0]["version"], read(ROOT / "docs" / "registry" / "manifest.json")["version"]]
    assert {*said, read(PLUGIN / ".claude-plugin" / "plugin.json")["version"]} == {PROJECT["version"]}


def test_the_bundle_holds_a_valid_manifest_and_all_that_the_server_is_made_of(tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle(tmp_path / "one.mcpb")) as packed:
        manifest: dict[str, Any] = json.loads(packed.read("manifest.json"))
        names = set(packed.namelist())
    validate(manifest, read(ROOT / "tests" / "schemas" / "mcpb-manifest-v0.4.schema.json"))
    assert manifest["server"]["entry_point"] in names
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {"workspaces_cli": "cli.py", "workspaces.conformance": "tests/conformance/__init__.py"}
    places = {
        folders.get(
            each,
            f"{each.removeprefix('workspaces.') if each.startswith('workspaces.backends') else each}".replace(".", "/") + "/__init__.py",
        )
        for each in packages
    }
    assert {place for place in places if place not in folders.values() or (ROOT / place).exists()} <= names
    assert (tmp_path / "one.mcpb").read_bytes() == bundle(tmp_path / "two.mcpb").read_bytes()
    assert [tool["name"] for tool in manifest["tools"]] == GOLDEN_TOOLS.split()


def test_the_plugin_is_where_the_marketplace_says_and_names_what_exists() -> None:
    (entry,) = read(ROOT / ".claude-plugin" / "marketplace.json")["plugins"]
    assert (ROOT / entry["source"]).resolve() == PLUGIN
    assert read(PLUGIN / ".claude-plugin" / "plugin.json")["name"] == entry["name"]
    commands = [
        hook["command"] for hooks in read(PLUGIN / "hooks" / "hooks.json")["hooks"].values() for each in hooks for hook in each["hooks"]
    ]
    assert set(commands) == {"workspaces hook"}
    program = Path(sys.executable).with_name("workspaces")
    assert subprocess.run([program, "hook", "--help"], capture_output=True, check=False).returncode == 0
    skill = (PLUGIN / "skills" / "workspaces" / "SKILL.md").read_text()
    _, head, body = skill.split("---\n", 2)
    assert re.search(r"^name: workspaces$", head, re.MULTILINE)
    assert len(head) < 1024
    assert set(re.findall(r"`(\w+)\(", body)) <= set(GOLDEN_TOOLS.split())
