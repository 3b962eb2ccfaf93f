"""YAML: read by PyYAML, which says where each node begins and ends, and edited by cutting and inserting text, so that all else stays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import JsonValue

from workspaces.clients.spliced import Broken, Unfit

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, Node


def parse(text: str) -> Mapping[str, JsonValue]:
    """Return what a text says. An empty one says nothing. Raises `Broken`."""
    import yaml

    try:
        read: JsonValue = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Broken(error.problem or "not YAML", mark.line + 1 if mark else 1, mark.column + 1 if mark else 1) from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise Broken("not YAML", 1, 1) from error
    if read is None:
        return {}
    if not isinstance(read, dict):
        raise Broken("not a mapping", 1, 1)
    return read


def put(text: str, section: str, name: str, entry: Mapping[str, JsonValue]) -> str:
    """Return the text with the entry, as the last of its section."""
    from yaml.nodes import MappingNode

    text = drop(text, section, name, whole=False) if name in _keys(text, section) else text
    pair = _pair(text, section)
    if pair is None:
        return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{section}:\n{_block(name, entry, '  ')}"
    key, value = pair
    if not isinstance(value, MappingNode) or not value.value:
        empty = text[key.end_mark.index : value.end_mark.index].lstrip(": \t\n")
        if empty not in ("", "{}", "null", "~"):
            raise Unfit
        return f"{text[: key.end_mark.index]}:\n{_block(name, entry, '  ')}{text[value.end_mark.index :].lstrip(' ').removeprefix(chr(10))}"
    if value.flow_style:
        end = value.end_mark.index - 1
        return f"{text[:end].rstrip()}, {json.dumps(name)}: {json.dumps(entry)}{text[end:]}"
    end = _end(text, value)
    line_break = "" if text[:end].endswith("\n") else "\n"
    return f"{text[:end]}{line_break}{_block(name, entry, ' ' * value.value[0][0].start_mark.column)}{text[end:]}"


def drop(text: str, section: str, name: str, whole: bool) -> str:
    """Return the text without the entry; `whole`: without its section too, if nothing is left in there."""
    from yaml.nodes import MappingNode

    pair = _pair(text, section)
    if pair is None or name not in _keys(text, section):
        return text
    key, value = pair
    if not isinstance(value, MappingNode):
        return text
    if whole and len(value.value) == 1:
        return text[: key.start_mark.index] + text[_end(text, value) :]
    if value.flow_style:
        raise Unfit
    (begin, end) = next((first.start_mark, _end(text, second)) for first, second in value.value if first.value == name)
    left = text[: begin.index - begin.column] + text[end:]
    colon = key.end_mark.index + 1
    return f"{left[:colon]} {{}}{left[colon:]}" if len(value.value) == 1 else left


def _root(text: str) -> MappingNode | None:
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return root if isinstance(root, yaml.MappingNode) else None


def _pair(text: str, section: str) -> tuple[Node, Node] | None:
    root = _root(text)
    if root is not None and root.flow_style:
        raise Unfit
    return next(((key, value) for key, value in root.value if key.value == section), None) if root else None


def _keys(text: str, section: str) -> list[str]:
    from yaml.nodes import MappingNode

    pair = _pair(text, section)
    return [key.value for key, _ in pair[1].value] if pair and isinstance(pair[1], MappingNode) else []


def _end(text: str, node: Node) -> int:
    """Return the end of the line on which a node's contents end: the mark of a block is where the next thing begins, past comments."""
    from yaml.nodes import CollectionNode, MappingNode

    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(node, MappingNode) else last)
    at = node.end_mark.index
    if at and text[at - 1] == "\n":
        return at
    newline = text.find("\n", at)
    return newline + 1 if newline >= 0 else len(text)


def _block(name: str, entry: Mapping[str, JsonValue], indent: str) -> str:
    import yaml

    written = yaml.safe_dump({name: dict(entry)}, sort_keys=False, allow_unicode=True, width=10_000)
    return "".join(f"{indent}{line}" for line in written.splitlines(keepends=True))
