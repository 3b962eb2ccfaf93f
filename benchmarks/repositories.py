"""What is measured on: generated repositories, or a clone of a real one. Only ever below the temporary directory.

A generated repository is the same on every machine: the same number of files gives the same commit.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import programs

PER_FOLDER = 25
BLOCK = 4096
LINES = (30, 200)
_COMMIT = b"commit refs/heads/main\ncommitter Bench <bench@localhost> %d +0000\ndata %d\n%s\n"
LARGEST = 1 << 16
"""Bytes of the largest file that is edited."""
SPREAD = 400
"""How many editable files are looked for, evenly over the whole tree."""


def run(folder: Path, *args: str, codes: Sequence[int] = (0,), stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run git as its user has it set up, pinned to nothing but a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return programs.run("git", *args, folder=folder, environment=environment, codes=codes, stdin=stdin)


def generated(folder: Path, files: int, commits: int = 1) -> Path:
    """Make a bare repository of so many files, with so many commits that lead to them."""
    run(folder.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(folder))
    command = ["git", "-c", "core.compression=1", "fast-import", "--quiet"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE) as process:
        if process.stdin:
            _import(process.stdin, files, commits)
            process.stdin.close()
    if process.returncode != 0:
        raise RuntimeError(f"git fast-import ended with {process.returncode}")
    return folder


def _import(stream: IO[bytes], files: int, commits: int) -> None:
    stream.write(_COMMIT % (1_700_000_000, 6, b"start"))
    for path, text in contents(files):
        stream.write(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(text), text))
    for number in range(1, commits):
        text = b"%d\n" % number
        stream.write(_COMMIT % (1_700_000_000 + number, 5, b"more") + b"M 100644 inline number\ndata %d\n%s\n" % (len(text), text))


def refer(checkout: Path, refs: int) -> None:
    """Let so many branches of a checkout name its commit, packed as git packs them."""
    head = run(checkout, "rev-parse", "HEAD").stdout.decode().strip()
    lines = "".join(f"create refs/heads/other/{number} {head}\n" for number in range(refs - 1))
    run(checkout, "update-ref", "--stdin", stdin=lines.encode())
    run(checkout, "pack-refs", "--all")


def contents(files: int) -> Iterator[tuple[str, bytes]]:
    """Yield paths four folders deep, and texts of 2 to 12 KB."""
    dice = random.Random(files)
    words = ["value", "self", "return", "index", "workspace", "merge", "import", "if", "else", "count", "=", "+", "for", "in"]
    lines = [" ".join(dice.choices(words, k=12)).encode() + b"\n" for _ in range(997)]
    for number in range(files):
        unit = number // PER_FOLDER
        path = f"src/area-{unit // 40:02}/group-{unit // 8:03}/unit-{unit:04}/file-{number:05}.py"
        yield path, b"".join(dice.choices(lines, k=dice.randint(*LINES)))


def checkout(origin: Path, folder: Path) -> Path:
    """Clone a repository, sharing nothing with it."""
    run(folder.parent, "clone", "--quiet", "--no-hardlinks", str(origin), str(folder))
    run(folder, "config", "user.name", "Bench")
    run(folder, "config", "user.email", "bench@localhost")
    return folder


def size(folder: Path) -> int:
    """Return how many files are tracked."""
    return run(folder, "ls-files", "-z").stdout.count(b"\0")


def weights(origin: Path) -> tuple[int, int]:
    """Return about the bytes on disk of a repository, and those of the files of its head, which need not be checked out."""
    git_dir = Path(run(origin, "rev-parse", "--absolute-git-dir").stdout.decode().strip())
    rows = run(origin, "ls-tree", "-r", "-z", "--long", "HEAD").stdout.split(b"\0")[:-1]
    sizes = [row.split(b"\t", 1)[0].split()[3] for row in rows]
    files = sum(-(-int(size) // BLOCK) * BLOCK for size in sizes if size != b"-")
    return sum(file.lstat().st_size for file in git_dir.rglob("*")), files


def editable(folder: Path) -> list[str]:
    """Return plain, smaller files from all over the tree, in a fixed order."""
    rows = [row.split("\t", 1) for row in run(folder, "ls-files", "-z", "--stage").stdout.decode(errors="surrogateescape").split("\0")[:-1]]
    plain = [path for about, path in rows if about.startswith("100644") and (folder / path).lstat().st_size < LARGEST]
    return plain[:: max(1, len(plain) // SPREAD)]
