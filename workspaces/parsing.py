"""Whether a text is what its name says: JSON, TOML, Python, XML. What no parser is here for counts as right.

The texts are anybody's, so they are read by a process of their own that can end in no worse way than with a refusal: with a few seconds and a few
hundred megabytes, and for XML without entities.
"""

from __future__ import annotations

import ast
import json
import resource
import subprocess
import sys
import tomllib
import xml.parsers.expat
from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePosixPath

LARGEST = 1 << 22
_SECONDS, _MEMORY = 10, 1 << 30
_KINDS = {
    ".json": "JSON",
    ".ipynb": "JSON",
    ".toml": "TOML",
    ".py": "Python",
    ".pyi": "Python",
    ".xml": "XML",
    ".svg": "XML",
    ".xhtml": "XML",
    ".csproj": "XML",
}


def kind_of(path: str) -> str:
    """Return what a file of this name holds, nothing when it could be anything."""
    return _KINDS.get(PurePosixPath(path).suffix.lower(), "")


def flaw(path: str, text: bytes) -> str:
    """Return why a file of this name cannot have this text; nothing when it can, as far as anybody here can tell."""
    kind = kind_of(path)
    if not kind:
        return ""
    if len(text) > LARGEST:
        return f"it is too large to be read as {kind}"
    # -I: neither the environment nor the working directory decides what is imported.
    command = [sys.executable, "-I", "-S", __file__, kind]
    try:
        done = subprocess.run(command, input=text, capture_output=True, timeout=2 * _SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"it could not be read as {kind} in time"
    if done.returncode == 0:
        return ""
    said = " ".join(done.stdout.decode(errors="replace").split())[:200]
    return f"it is no {kind}{': ' if said else ''}{said}"


def _xml(text: bytes) -> None:
    parser = xml.parsers.expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.Parse(text, True)


def _refuse_doctype(*_: object) -> None:
    raise ValueError("it declares a document type, which is not read")


_PARSERS: dict[str, Callable[[bytes], object]] = {
    "JSON": lambda text: json.loads(text.decode("utf-8-sig")),
    "TOML": lambda text: tomllib.loads(text.decode()),
    "Python": ast.parse,
    "XML": _xml,
}


def _main(kind: str) -> int:
    """Read standard input as this kind, and say on standard output what is wrong with it."""
    with suppress(ValueError, OSError):  # macOS has no limit on memory
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        _PARSERS[kind](sys.stdin.buffer.read())
    except (ValueError, SyntaxError, xml.parsers.expat.ExpatError, RecursionError, MemoryError) as error:
        sys.stdout.write(f"{error or type(error).__name__}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
