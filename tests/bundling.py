"""Building the MCP bundle: a zip of the sources with a manifest, which a client runs by uv (github.com/modelcontextprotocol/mcpb, MANIFEST.md)."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MANIFEST = "docs/registry/manifest.json"
_PACKED = ["pyproject.toml", "README.md", "LICENSE", "cli.py", "workspaces", "backends", "tests/conformance"]


def bundle(to: Path) -> Path:
    """Pack what the server needs, of what is tracked in this checkout. The same sources give the same bytes."""
    listing = ["git", "ls-files", "-z", "--", *_PACKED]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    to.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, source in [("manifest.json", MANIFEST), *((each, each) for each in sorted(names))]:
            packed.writestr(zipfile.ZipInfo(name), (ROOT / source).read_bytes(), zipfile.ZIP_DEFLATED)
    return to


if __name__ == "__main__":
    sys.stdout.write(f"{bundle(Path(sys.argv[1]).absolute())}\n")
