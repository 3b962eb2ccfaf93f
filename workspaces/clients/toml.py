"""TOML: read by the standard library, and edited by whole tables of text at the end, so that all else stays."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from itertools import pairwise

from pydantic import JsonValue

from workspaces.clients.spliced import Broken, Unfit, servers

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_HEADER = re.compile(r"\s*\[")


def parse(text: str) -> Mapping[str, JsonValue]:
    """Return what a text says. Raises `Broken`."""
    try:
        read: dict[str, JsonValue] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        at = _AT.search(said)
        lines = text.split("\n")
        line, column = (int(at[1]), int(at[2])) if at and at[1] else (len(lines), len(lines[-1]) + 1)
        raise Broken(_AT.sub("", said), line, column) from error
    except RecursionError as error:
        raise Broken("nested too deep", 1, 1) from error
    return read


def put(text: str, section: str, name: str, entry: Mapping[str, JsonValue]) -> str:
    """Return the text with a table for the entry at its end."""
    kept = drop(text, section, name, whole=False) if name in servers(parse(text), section) else text
    space = "" if not kept.strip() else "\n" if kept.endswith("\n") else "\n\n"
    table = "".join(f"{key} = {_written(value)}\n" for key, value in entry.items())
    return f"{kept}{space}[{section}.{name}]\n{table}"


def drop(text: str, section: str, name: str, whole: bool) -> str:
    """Return the text without the entry's tables; what stands above the next table, comments and all, belongs to that. A section written by
    such tables alone is gone with its last."""
    lines = text.splitlines(keepends=True)
    gone = set(_lines(lines, section, name))
    first = min(gone, default=0)
    if first and max(gone) == len(lines) - 1 and not lines[first - 1].strip():
        gone.add(first - 1)
    return "".join(line for number, line in enumerate(lines) if number not in gone)


def _lines(lines: list[str], section: str, name: str) -> Iterator[int]:
    """Yield the numbers of the lines that the entry's tables take."""
    part = r"""\s*["']?{}["']?\s*"""
    ours = re.compile(rf"\s*\[{part.format(re.escape(section))}\.{part.format(re.escape(name))}[\].]")
    headers = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    for begin, end in pairwise([*headers, len(lines)]):
        if ours.match(lines[begin]):
            said = [number for number in range(begin, end) if lines[number].strip() and not lines[number].lstrip().startswith("#")]
            yield from range(begin, said[-1] + 1)


def _written(value: JsonValue) -> str:
    """Return a value as TOML. Its basic strings take JSON's escapes."""
    match value:
        case bool() | int() | float() | str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{', '.join(map(_written, value))}]"
        case dict():
            return f"{{ {', '.join(f'{json.dumps(key)} = {_written(each)}' for key, each in value.items())} }}" if value else "{}"
        case _:
            raise Unfit
