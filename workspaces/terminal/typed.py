"""What the core tells a reader to call, as a person types it: its hints name calls of tools, and at a terminal there are commands."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator

Value = str | int | list[str]
_ESCAPE = r"\\(?:[\\'\"nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})"
_TEXT = rf"""(?:'(?:[^'\\\n]|{_ESCAPE})*'|"(?:[^"\\\n]|{_ESCAPE})*")"""
"""A text as a hint has it. Nothing else is read as one: hints have names of files in them, which may look like anything."""
_LITERAL = rf"(?:{_TEXT}|\[{_TEXT}(?:, {_TEXT})*\]|[0-9]{{1,19}}|true|false)"
_ARGUMENT = rf"(\w+)=({_LITERAL})"
_VERBS = {
    "initialize": "init",
    **{verb: verb for verb in ("clone", "compare", "merge", "delete", "status", "check", "checkpoint", "restore")},
}
_CALL = rf"(?P<verb>{'|'.join(_VERBS)})\((?P<given>\w+={_LITERAL}(?:, \w+={_LITERAL})*)\)"
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
_BARE = "|".join(name for name in _OPTIONS if "_" in name)
_ALONE = rf"(?<![\w'\"/.-])(?:(?P<children>children)(?==)|(?P<option>{_BARE}))(?:=(?P<value>{_LITERAL}|\w{{1,99}}))?(?![\w'\"/-])"
_DETAIL = r"(?:compare with )?\bdetail='(?P<detail>outline|files|conflicts|ranking)'"
_SAID = re.compile(rf"(?<!\w){_TEXT}|\b{_CALL}|{_DETAIL}|{_ALONE}")


def typed(text: str) -> str:
    """Return a sentence in which each call of a tool, and each argument of one, is what does the same at a terminal. What is in quotes is a name."""
    return _SAID.sub(_typed, text)


def _typed(found: re.Match[str]) -> str:
    if found["verb"]:
        return command(found["verb"], dict(_values(found["given"])))
    if found["detail"]:
        return f"workspaces compare --{found['detail']}"
    return _option(found) if found["children"] or found["option"] else found[0]


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
    is_odd = any(word.startswith("-") for word in placed)
    return shlex.join(["workspaces", name, *([*options, "--", *placed] if is_odd else [*placed, *options])])


def _details(verb: str, given: dict[str, Value]) -> Iterator[str]:
    detail = str(given.get("detail", ""))
    if verb == "status" and detail:
        yield from ("--detail", detail)
    elif verb == "check" and detail == "diff":
        yield "--diff"
    elif verb == "compare" and detail in ("outline", "files", "ranking", "conflicts", "diff"):
        yield "--outline" if detail == "diff" else f"--{detail}"


def _said(option: str, argument: str, value: Value) -> Iterator[str]:
    if value is (argument != "include_uncommitted"):
        yield option
    elif not isinstance(value, bool):
        for word in _words(value):
            yield from (option, word)


def _option(found: re.Match[str]) -> str:
    name = found["children"] or found["option"]
    if not found["value"]:
        return _OPTIONS[name]
    return shlex.join(_said(_OPTIONS[name], name, _value(found["value"]))) or found[0]


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
