"""What is in a source file: its named parts, and a digest of each and of the whole that comments and layout do not change.

This file is a program of its own, started by `workspaces.outline`: contents are hostile, and a parser that one of them brings down, or keeps busy,
takes nobody else with it. It imports nothing of ours. Requests come on standard input, a line of JSON (`path`, `size`) and so many bytes each;
each is answered by a line of JSON: the `parts` and their digests, and `whole`, empty where only the bytes can tell.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import resource
import sys
import tomllib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from pygments.lexer import Lexer

MEMORY, SECONDS = 512 << 20, 20
_REST = "(top level)"
_DECLARES = frozenset(
    """class struct enum trait interface type impl module mod namespace object record protocol extension union
    def fn func fun function sub proc macro""".split()  # noqa: SIM905 - words that are read
)
_BINDS = frozenset(("const", "let", "var"))
"""What names something worth telling only at the top of a file."""
_NAMED_BY_PLACE = frozenset(("c", "cpp", "csharp", "java", "objective-c", "dart", "cuda"))
"""Languages whose functions no word declares, and whose lexer tells them."""
_FREE = _NAMED_BY_PLACE | frozenset(["go", "javascript", "kotlin", "lua", "protobuf", "rust", "sql", "typescript", "zig"])
"""Languages to which indentation, blank lines and the space between two words mean nothing."""
_NO_COMMENTS = ("Comment.Preproc", "Comment.Hashbang")
_DEEPEST = 3

Parts = dict[str, str]


def read(path: str, data: bytes) -> tuple[Parts, str]:
    """Return the named parts of a file with a digest of each, and one of the whole. Raises whatever the parsers do."""
    text = data.decode()
    ending = path.rpartition(".")[2].lower()
    if ending in ("py", "pyi"):
        return _python(text)
    if ending in ("json", "toml"):
        return _values(json.loads(text) if ending == "json" else tomllib.loads(text))
    return (_sections(text), "") if ending in ("md", "markdown") else _lexed(path, text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


# -- Python: by its syntax tree -----------------------------------------------------------------------------------------------------------


def _python(text: str) -> tuple[Parts, str]:
    tree = ast.parse(text)
    found: dict[str, list[str]] = {}
    for name, node in _definitions(tree.body, ""):
        found.setdefault(name, []).append(ast.dump(node))
    return {name: _digest("\n".join(dumps)) for name, dumps in found.items()}, _digest(ast.dump(tree))


def _definitions(body: Iterable[ast.stmt], inside: str) -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, f"{inside}{node.name}.")
            own = [each for each in node.body if not isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
            yield f"{inside}{node.name}", ast.ClassDef(node.name, node.bases, node.keywords, own, node.decorator_list)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{inside}{node.name}", node
        elif not inside:
            yield _bound(node), node


def _bound(node: ast.stmt) -> str:
    """Return what a statement at the top of a module binds, or where it belongs."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return names[0] if names else "(imports)" if isinstance(node, ast.Import | ast.ImportFrom) else _REST


# -- data and documents -------------------------------------------------------------------------------------------------------------------


def _values(value: object) -> tuple[Parts, str]:
    parts: Parts = {}
    for key, inner in _items(value):
        below = _items(inner)
        parts |= {f"{key}.{name}": _dumped(each) for name, each in below} if below else {key: _dumped(inner)}
    return parts, _dumped(value)


def _is_table(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _items(value: object) -> list[tuple[str, object]]:
    return list(value.items()) if _is_table(value) else []


def _dumped(value: object) -> str:
    return _digest(json.dumps(value, sort_keys=True, default=str))


def _sections(text: str) -> Parts:
    found: dict[str, list[str]] = {}
    here, fenced = _REST, False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        heading = None if fenced else re.match(r"#{1,6} +(.*?)[ #]*$", line)
        here = heading[1] if heading else here
        found.setdefault(here, []).append(line.rstrip())
    return {name: _digest("\n".join(lines)) for name, lines in found.items() if any(lines)}


# -- everything else: by its tokens -------------------------------------------------------------------------------------------------------


def _lexed(path: str, text: str) -> tuple[Parts, str]:
    from pygments.lexers import find_lexer_class_for_filename

    kind = find_lexer_class_for_filename(path.rpartition("/")[2])
    if kind is None:
        return {}, ""
    lexer: Lexer = kind(stripnl=False)
    language = lexer.aliases[0] if lexer.aliases else ""
    tokens = list(_significant(lexer, text))
    reader = _Reader(language)
    for token, value in tokens:
        if value != "\n":
            reader.read(token, value)
    whole = _digest(json.dumps([value for _, value in tokens])) if language in _FREE else ""
    parts = reader.parts if reader.parts.keys() - {_REST} else {}
    return {name: _digest("\0".join(values)) for name, values in parts.items()}, whole


def _significant(lexer: Lexer, text: str) -> Iterator[tuple[str, str]]:
    """Yield the tokens with their kinds, but for comments; a line's end counts once, and other space not at all."""
    ended = True
    for token, value in lexer.get_tokens(text):
        kind = str(token).removeprefix("Token.")
        if (kind.startswith("Comment") and not kind.startswith(_NO_COMMENTS)) or not value.strip():
            if "\n" in value and not ended:
                ended = True
                yield "Text", "\n"
            continue
        ended = False
        yield kind, value.strip() if kind.startswith("Text") else value


class _Reader:
    """Reads tokens and tells whose they are: of the innermost named part that is open."""

    def __init__(self, language: str) -> None:
        self.parts: dict[str, list[str]] = {}
        self._by_place = language in _NAMED_BY_PLACE
        self._open: list[tuple[str, int]] = []
        self._depth = self._brackets = 0
        self._declares = False

    def read(self, kind: str, value: str) -> None:
        is_name = kind.startswith("Name")
        if is_name and (self._declares or (self._by_place and kind in ("Name.Function", "Name.Class"))) and not self._brackets:
            self._begin(value)
        elif is_name or kind.startswith("Keyword"):
            self._declares = value in _DECLARES or (value in _BINDS and not self._depth) or (self._declares and self._brackets > 0)
        elif kind.startswith("Punctuation"):
            self._brackets = max(0, self._brackets + value.count("(") - value.count(")"))
            self._declares = self._declares and "{" not in value and ";" not in value
        if value not in _DECLARES:  # it belongs to what comes
            self.parts.setdefault(".".join(name for name, _ in self._open) or _REST, []).append(value)
        if kind.startswith("Punctuation"):
            self._nest(value)

    def _begin(self, name: str) -> None:
        self._declares = False
        while self._open and self._open[-1][1] >= self._depth:
            self._open.pop()
        if len(self._open) < _DEEPEST:
            self._open.append((name, self._depth))

    def _nest(self, value: str) -> None:
        closes = value.count("}")
        self._depth = max(0, self._depth + value.count("{") - closes)
        while closes and self._open and self._open[-1][1] >= self._depth:
            self._open.pop()


def _answer(path: str, data: bytes) -> dict[str, object]:
    try:
        parts, whole = read(path, data)
    except Exception:  # whatever a parser says of contents that are nobody's: there is no outline of them
        return {}
    return {"parts": parts, "whole": whole}


def main() -> None:
    """Answer requests until there are no more."""
    for limit, value in ((resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (most, most))
    while line := sys.stdin.buffer.readline():
        asked = json.loads(line)
        answer = _answer(asked["path"], sys.stdin.buffer.read(asked["size"]))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
