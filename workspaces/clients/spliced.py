"""What a format of configuration files can do: read, and edit by cutting and inserting text; and how an edit proves that it changed nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pydantic import JsonValue


class Broken(Exception):
    """A text that is not in its format, and where that shows."""

    def __init__(self, what: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {what}")


class Unfit(Exception):
    """A text in a form in which the entry cannot be set or taken out with all else staying as it is."""


class Format(Protocol):
    """A format of configuration files: a module."""

    def parse(self, text: str) -> Mapping[str, JsonValue]: ...
    def put(self, text: str, section: str, name: str, entry: Mapping[str, JsonValue]) -> str: ...
    def drop(self, text: str, section: str, name: str, whole: bool) -> str: ...


def servers(read: Mapping[str, JsonValue], section: str) -> Mapping[str, JsonValue]:
    """Return the entries of a section; none when there is no section, or an empty one. Raises `Unfit` when it is something else."""
    found = read.get(section)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Unfit
    return found


def put(form: Format, text: str, section: str, name: str, entry: Mapping[str, JsonValue]) -> str:
    """Return the text with the entry. Read again it says what it said before, and the entry: else `Unfit`."""
    lined = _lined(text)
    before = form.parse(lined)
    after = form.put(lined, section, name, entry)
    whole: dict[str, JsonValue] = {**servers(before, section), name: dict(entry)}
    return _ended(_same(form, after, {**before, section: whole}), text)


def drop(form: Format, text: str, section: str, name: str, whole: bool) -> str:
    """Return the text without the entry, and `whole`: without its section, if that is then empty. Read again it says nothing less: else `Unfit`."""
    lined = _lined(text)
    before = form.parse(lined)
    left = {key: value for key, value in servers(before, section).items() if key != name}
    after = form.drop(lined, section, name, whole)
    rest = {key: value for key, value in before.items() if key != section}
    return _ended(_same(form, after, rest if whole and not left else {**before, section: left}), text)


def _same(form: Format, text: str, wanted: Mapping[str, JsonValue]) -> str:
    try:
        read = form.parse(text)
    except Broken as error:
        raise Unfit from error
    if {key: value or {} for key, value in read.items()} != {key: value or {} for key, value in wanted.items()}:
        raise Unfit
    return text


def _lined(text: str) -> str:
    """Return a text whose lines all end as Windows ends them with plain ends."""
    return text.replace("\r\n", "\n") if _windows(text) else text


def _ended(text: str, original: str) -> str:
    return text.replace("\n", "\r\n") if _windows(original) else text


def _windows(text: str) -> bool:
    return "\r\n" in text and text.count("\n") == text.count("\r\n")
