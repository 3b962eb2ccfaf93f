"""A reader that knows of a server only what a model reads: the text of results, and the calls that this text says to make, made to the letter."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
from mcp import Client
from mcp.types import CallToolResult, TextContent

HOME = "/home/ann"
"""Where golden files say that everything is."""
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_SHIFTING = [
    (re.compile(r"\b[0-9a-f]{40}\b"), _COMMIT),
    (re.compile(r"(?<=commit )[0-9a-f]{9}\b"), _COMMIT[:9]),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "2026-07-28T12:00:00Z"),
    (re.compile(r"\b\d\d [A-Z][a-z]{2} \d{4}\b"), "11 Aug 2026"),
]


@dataclass(frozen=True)
class Call:
    """A call as a text says it. `why` stands before it: when it is to be made, or what for."""

    why: str
    tool: str
    arguments: dict[str, Any]

    @property
    def kind(self) -> str:
        """What it is, whatever it is about."""
        return f"{self.tool}({', '.join(self.arguments)})"


def calls_in(text: str, tools: Sequence[str]) -> Iterator[Call]:
    """Yield the calls that a text says."""
    for found in re.finditer(rf"\b({'|'.join(tools)})\(", text):
        ends = [at + 1 for at, char in enumerate(text) if char == ")" and at >= found.end()]
        call = next((call for end in ends if (call := _parsed(text[: found.start()], text[found.start() : end]))), None)
        assert call, f"cannot be made as it stands: {text[found.start() :]}"
        yield call


def _parsed(before: str, text: str) -> Call | None:
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
    assert isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.args, text
    return Call(before.removesuffix(": "), tree.func.id, {each.arg or "": _value(each.value) for each in tree.keywords})


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return {"true": True, "false": False}[node.id]
    return ast.literal_eval(node)


def written(tool: str, arguments: dict[str, Any]) -> str:
    """Return a call as a model writes it."""
    return f"{tool}({json.dumps(arguments, ensure_ascii=False)})"


@dataclass
class Reader:
    """Calls tools, and reads what comes back. What is said is kept for the golden file, with counts of what counts for a model."""

    client: Client
    home: Path
    heard: list[str] = field(default_factory=list[str])
    calls: int = 0
    characters: int = 0
    _tools: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    _text: str = ""
    _offered: set[str] = field(default_factory=set[str])
    _made: set[str] = field(default_factory=set[str])

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Make a call that succeeds, and return what its text says."""
        result = await self._called(tool, arguments)
        assert not result.is_error, self._text
        found: dict[str, Any] = json.loads(self._text)
        for said in found.get("next", []):
            (call,) = calls_in(said, [*self._tools])
            assert said.endswith(")") and len(found["next"]) <= 3, said
            self._check(call)
            self._offered.add(call.kind)
        return found

    async def refused(self, tool: str, **arguments: Any) -> str:
        """Make a call that fails, and return what is said. The calls in that can be made, too."""
        result = await self._called(tool, arguments)
        assert result.is_error, self._text
        for call in calls_in(self._text, [*self._tools]):
            self._check(call)
            self._offered.add(call.kind)
        return self._text

    async def follow(self, tool: str, why: str = "", told: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Make the call of a tool that an answer, the last one if none is given, says to the letter; `more` is what it leaves to the caller."""
        told = told or self.said()
        said = [call for text in told["next"] for call in calls_in(text, [*self._tools])]
        call = next(each for each in said if each.tool == tool and why in each.why)
        self._made.add(call.kind)
        return await self.call(call.tool, **call.arguments, **more)

    def said(self) -> dict[str, Any]:
        """Return the last answer; of an error, what it says to do."""
        return dict[str, Any](json.loads(self._text)) if self._text.startswith("{") else {"next": [self._text]}

    async def mistaken(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Make a call that fails for a word that is not known, then the same with the word that was likely meant."""
        said = await self.refused(tool, **arguments)
        unknown, likely = re.findall(r"'([^']+)'", said)[0], re.findall(r"Did you mean '([^']+)'", said)[0]
        return await self.call(tool, **json.loads(json.dumps(arguments).replace(f'"{unknown}"', f'"{likely}"')))

    def transcript(self, calls: int, characters: int) -> str:
        """Return what was said, with the counts, which may be no more than that. All kinds of calls that were proposed were made, and worked."""
        assert self._offered == self._made, self._offered ^ self._made
        assert (self.calls <= calls, self.characters <= characters) == (True, True), (self.calls, self.characters)
        return "\n".join([f"{self.calls} calls, {self.characters} characters", *self.heard]) + "\n"

    async def _called(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        if not self._tools:
            self._tools = {each.name: each.input_schema for each in (await self.client.list_tools()).tools}
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        (block,) = result.content
        assert isinstance(block, TextContent)
        self._text = block.text
        self._count(written(tool, arguments), block.text)
        return result

    def _count(self, *said: str) -> None:
        lines = [self._settled(each) for each in said]
        self.calls, self.characters = self.calls + 1, self.characters + sum(map(len, lines))
        self.heard += [f"> {lines[0]}", lines[1]]

    def _check(self, call: Call) -> None:
        jsonschema.validate(call.arguments, {**self._tools[call.tool], "additionalProperties": False})
        assert "…" not in str(call.arguments), call

    def _settled(self, text: str) -> str:
        """Return a text without what is another each time."""
        text = text.replace(str(self.home), HOME)
        for pattern, instead in _SHIFTING:
            text = pattern.sub(instead, text)
        return text
