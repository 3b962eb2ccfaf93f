"""JSON as people write settings, with comments and trailing commas: read, and edited by cutting and inserting text, so that all else stays.

Comments are blanked to spaces first, so every character keeps its place and the standard parser does the rest. (No library on PyPI that edits
JSON with comments is widely used and kept up; `docs/clients.md` names what was looked at.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from workspaces.clients.spliced import Broken, Unfit

_TOKENS = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/|\ufeff', re.DOTALL)
_TRAILING = re.compile(r'"(?:\\.|[^"\\\n])*"|,(?=\s*[}\]])')
_VISIBLE = re.compile(r"[^\n\r]")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class _Member:
    key: JsonValue
    start: int
    value: int
    end: int


@dataclass(frozen=True)
class _Object:
    """An object in a text: from its opening brace to its closing one."""

    text: str
    opening: int
    closing: int
    members: tuple[_Member, ...]

    @property
    def spread(self) -> bool:
        """Return whether it takes several lines."""
        return "\n" in self.text[self.opening : self.closing]

    def member(self, key: str) -> _Member | None:
        """Return the member of that name; of several the last, which is the one that counts."""
        return next((each for each in reversed(self.members) if each.key == key), None)


def parse(text: str) -> Mapping[str, JsonValue]:
    """Return what a text says. An empty one says nothing. Raises `Broken`."""
    strict = _strict(text)
    if not strict.strip():
        return {}
    try:
        read: JsonValue = json.loads(strict)
    except json.JSONDecodeError as error:
        raise Broken(error.msg, error.lineno, error.colno) from error
    except RecursionError as error:
        raise Broken("nested too deep", 1, 1) from error
    if not isinstance(read, dict):
        raise Broken("not an object", 1, 1)
    return read


def put(text: str, section: str, name: str, entry: Mapping[str, JsonValue]) -> str:
    """Return the text with the entry in its section, in place of one of that name. Indented as the text is."""
    if not _strict(text).strip():
        return (text.rstrip() + "\n" if text.strip() else "") + json.dumps({section: {name: entry}}, indent=2, ensure_ascii=False) + "\n"
    root = _root(text)
    found = root.member(section)
    if found is None:
        return _added(root, section, {name: dict(entry)}, _unit(root), root.spread)
    inner = _object(text, found.value)
    old = inner.member(name)
    if old is None:
        return _added(inner, name, entry, _unit(root), root.spread)
    return text[: old.value] + _written(entry, _indent(text, old.start), _unit(root), root.spread) + text[old.end :]


def drop(text: str, section: str, name: str, whole: bool) -> str:
    """Return the text without the entry; `whole`: without its section too, if nothing is left in there."""
    found = _root(text).member(section)
    old = _object(text, found.value).member(name) if found else None
    if found is None or old is None:
        return text
    inner = _object(text, found.value)
    if whole and len(inner.members) == 1:
        return _removed(_root(text), found)
    return _removed(inner, old)


def _plain(text: str) -> str:
    """Return the text with its comments blanked."""
    return _TOKENS.sub(lambda found: found[0] if found[0][0] == '"' else _VISIBLE.sub(" ", found[0]), text)


def _strict(text: str) -> str:
    """Return the text as JSON proper: without comments and trailing commas, every other character in its place."""
    return _TRAILING.sub(lambda found: found[0] if found[0][0] == '"' else " ", _plain(text))


def _root(text: str) -> _Object:
    return _object(text, _strict(text).index("{"))


def _object(text: str, opening: int) -> _Object:
    strict = _strict(text)
    if strict[opening] != "{":
        raise Unfit
    members: list[_Member] = []
    at = _skipped(strict, opening + 1)
    while strict[at] == '"':
        key, after = _value(strict, at)
        value = _skipped(strict, _skipped(strict, after) + 1)
        end = _value(strict, value)[1]
        members.append(_Member(key, at, value, end))
        at = _skipped(strict, end)
        at = _skipped(strict, at + 1) if strict[at] == "," else at
    return _Object(text, opening, at, tuple(members))


def _value(strict: str, at: int) -> tuple[JsonValue, int]:
    read: tuple[JsonValue, int] = _DECODER.raw_decode(strict, at)
    return read


def _skipped(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _indent(text: str, at: int) -> str:
    """Return the white space with which the line begins that a place is in."""
    line = text[text.rfind("\n", 0, at) + 1 :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _begins(text: str, at: int) -> bool:
    """Return whether nothing but white space stands before a place on its line, and there is a line before."""
    before = text.rfind("\n", 0, at)
    return before >= 0 and not text[before + 1 : at].strip(" \t")


def _unit(root: _Object) -> str:
    """Return by what the text is indented."""
    first = root.members[0].start if root.members else 0
    return _indent(root.text, first) or "  " if _begins(root.text, first) else "  "


def _written(entry: Mapping[str, JsonValue], indent: str, unit: str, spread: bool) -> str:
    if not spread:
        return json.dumps(entry, ensure_ascii=False)
    return json.dumps(entry, indent=unit, ensure_ascii=False).replace("\n", "\n" + indent)


def _added(into: _Object, key: str, entry: Mapping[str, JsonValue], unit: str, spread: bool) -> str:
    """Return the text with one more member, as the last one; what stands before the closing brace stays before it."""
    text, own_line = into.text, _begins(into.text, into.closing)
    outer = _indent(text, into.closing if own_line else into.opening)
    indent = _indent(text, into.members[-1].start) if into.members and _begins(text, into.members[-1].start) else outer + unit
    added = f"{json.dumps(key)}: {_written(entry, indent, unit, spread)}"
    comma, trailing = _commas(into)
    text = text[:comma] + ("," if into.members and not trailing else "") + text[comma:]
    closing = into.closing + len(text) - len(into.text)
    if own_line:
        line = text.rfind("\n", 0, closing) + 1
        return f"{text[:line]}{indent}{added}{',' if trailing else ''}\n{text[line:]}"
    if spread and not into.members:
        return f"{text[:closing]}\n{indent}{added}\n{outer}{text[closing:]}"
    return f"{text[:closing].rstrip(' ')}{' ' if into.members else ''}{added}{text[closing:]}"


def _commas(found: _Object) -> tuple[int, bool]:
    """Return where the last member ends, and whether a comma follows it."""
    end = found.members[-1].end if found.members else found.closing
    return end, "," in _plain(found.text)[end : found.closing]


def _removed(within: _Object, member: _Member) -> str:
    """Return the text without a member, its line, and the comma that it needed."""
    text, plain = within.text, _plain(within.text)
    number = within.members.index(member)
    last = number == len(within.members) - 1
    limit = within.closing if last else within.members[number + 1].start
    comma = plain.find(",", member.end, limit)
    end = comma + 1 if comma >= 0 else member.end
    start = member.start
    newline = text.find("\n", end)
    if _begins(text, start) and newline >= 0 and not text[end:newline].strip():
        start, end = text.rfind("\n", 0, start) + 1, newline + 1
    elif not last:
        end = _skipped(plain, end)
    if last and number and comma < 0:
        before = plain.index(",", within.members[number - 1].end)
        kept = text[before + 1 : start]
        return text[:before] + (kept if kept.strip() or "\n" in kept else "") + text[end:]
    return text[:start] + text[end:]
