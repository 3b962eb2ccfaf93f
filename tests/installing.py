"""Building distributions from the files of this checkout, and installing them where nothing else of it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build(folder: Path, to: Path) -> Path:
    """Build what is tracked, or new and not ignored, in a folder of the checkout; return where the wheel and the sdist are."""
    listing = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    tracked = subprocess.run(listing, cwd=folder, capture_output=True, text=True, check=True).stdout
    for name in tracked.split("\0")[:-1]:
        target = to / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((folder / name).read_bytes())
    command = [sys.executable, "-W", "ignore", "-m", "build", "--no-isolation", "--outdir", str(to / "dist"), str(to / "source")]
    subprocess.run(command, check=True, capture_output=True)
    return to / "dist"


def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


def install(fresh: Path, *wheels: Path) -> Path:
    """Install wheels in a new environment, with the dependencies of this one; return where its programs are."""
    subprocess.run([sys.executable, "-m", "venv", str(fresh)], check=True)
    site = next(path for path in sys.path if path.endswith("site-packages"))
    pip = [sys.executable, "-m", "pip", "--python", str(fresh / "bin" / "python"), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, *map(str, wheels)], check=True, capture_output=True)
    (target,) = (fresh / "lib").glob("python*/site-packages")
    # Only the dependencies: a .pth file would bring this checkout's editable install along.
    for entry in Path(site).iterdir():
        if (
            "mcp_workspaces" not in entry.name
            and not entry.name.startswith(("pip", "_distutils", "distutils"))
            and not (target / entry.name).exists()
        ):
            (target / entry.name).symlink_to(entry)
    return fresh / "bin"
