"""What the core tells a reader to call, as a person types it: its hints name calls of tools, and at a terminal there are commands."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator

Value = str | int | list[str]
_LITERAL = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\[[^][]*\]|\d+|true|false)"""
_ARGUMENT = rf"(\w+)=({_LITERAL})"
_VERBS = {
    "initialize": "init",
    **{verb: verb for verb in ("clone", "compare", "merge", "delete", "status", "check", "checkpoint", "restore")},
}
_CALL = re.compile(rf"\b({'|'.join(_VERBS)})\((\w+={_LITERAL}(?:, \w+={_LITERAL})*)\)")
_NAMED = ("workspaces", "workspace", "source", "target", "base")
"""Arguments that name workspaces, by their ids; here a bare name is enough."""
_PLACED = ("workspaces", "workspace", "source", "target", "to", "path")
"""Arguments that have their place, in this order, and no option."""
_OPTIONS = {
    "abandoned": "--abandoned",
    "again": "--again",
    "backend": "--backend",
    "base": "--base",
    "checks": "--check",
    "children": "--children",
    "count": "--count",
    "delete_source": "--delete",
    "discard_unmerged": "--discard-unmerged",
    "dry_run": "--dry-run",
    "history": "--history",
    "if_target": "--if-target",
    "include_deleted": "--deleted",
    "include_uncommitted": "--committed",
    "label": "--label",
    "labels": "--label",
    "lease_seconds": "--lease",
    "message": "--message",
    "name": "--name",
    "on_conflict": "--on-conflict",
    "paths": "--path",
    "request_key": "--request-key",
    "require": "--require",
    "task": "--task",
}
_UNTOLD = {"compare": ("paths", "cursor", "max_chars"), "status": ("wait_seconds",), "check": ("wait", "timeout_seconds")}
"""Arguments for which a command needs nothing: it waits, and shows all."""
# In quotes, in a path or in a longer word it is the name of something.
_ALONE = re.compile(
    rf"(?<![\w'\"/.-])(?:(children)(?==)|({'|'.join(name for name in _OPTIONS if '_' in name)}))(?:=({_LITERAL}|\w+))?(?![\w'\"/-])"
)


def typed(text: str) -> str:
    """Return a sentence in which each call of a tool, and each argument of one, is what does the same at a terminal."""
    text = _CALL.sub(lambda found: command(found[1], dict(_values(found[2]))), text)
    text = text.replace("compare with detail='files'", "workspaces compare --files")
    return _ALONE.sub(_option, text)


def command(verb: str, given: dict[str, Value]) -> str:
    """Return the command that does what a call does."""
    named = {name: _bare(value) if name in _NAMED else value for name, value in given.items()}
    name, options = _VERBS[verb], [*_details(verb, named)]
    placed = [word for place in _PLACED if place in named for word in _words(named[place])]
    if verb == "compare" and named.get("detail") == "diff" and len(placed) == 1:
        name = "diff"
        placed += _words(named.pop("base", []))
        options = [word for path in _words(named.get("paths", [])) for word in ("--path", path)]
    if verb == "merge" and isinstance(named.get("source"), list):
        first, *more = _words(named["source"])
        placed = [first, *_words(named.get("target", []))]
        options += [word for each in more for word in ("--also", each)]
    for argument, value in named.items():
        if argument in _OPTIONS and argument not in _UNTOLD.get(verb, ()):
            options += _said(_OPTIONS[argument], argument, value)
    return shlex.join(["workspaces", name, *placed, *options])


def _details(verb: str, given: dict[str, Value]) -> Iterator[str]:
    detail = str(given.get("detail", ""))
    if verb == "status" and detail:
        yield from ("--detail", detail)
    elif verb == "check" and detail == "diff":
        yield "--diff"
    elif verb == "compare" and detail in ("outline", "files", "ranking", "diff"):
        yield "--outline" if detail == "diff" else f"--{detail}"


def _said(option: str, argument: str, value: Value) -> Iterator[str]:
    if value is (argument != "include_uncommitted"):
        yield option
    elif not isinstance(value, bool):
        for word in _words(value):
            yield from (option, word)


def _option(found: re.Match[str]) -> str:
    name = found[1] or found[2]
    if not found[3]:
        return _OPTIONS[name]
    return shlex.join(_said(_OPTIONS[name], name, _value(found[3]))) or found[0]


def _values(text: str) -> Iterator[tuple[str, Value]]:
    for found in re.finditer(_ARGUMENT, text):
        yield found[1], _value(found[2])


def _value(text: str) -> Value:
    """Return what a literal says; a bare word says itself."""
    if text in ("true", "false"):
        return text == "true"
    if text.isdecimal():
        return int(text)
    read: Value = ast.literal_eval(text) if text[:1] in ("'", '"', "[") else text
    return read


def _words(value: Value) -> list[str]:
    return list(value) if isinstance(value, list) else [str(value)] if value != "" else []


def _bare(value: Value) -> Value:
    return [name.rpartition("/")[2] for name in value] if isinstance(value, list) else str(value).rpartition("/")[2]
