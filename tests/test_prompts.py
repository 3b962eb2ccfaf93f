"""The prompts: the calls that they spell out are calls that the tools take, in an order in which they can be made."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from mcp import Client, MCPError
from mcp.types import PromptReference, TextContent
from support import Repo

from workspaces import Project
from workspaces.server.app import Settings, create

pytestmark = pytest.mark.anyio
Era = Literal["auto", "legacy"]
in_both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])
ARGUMENTS: dict[str, dict[str, str]] = {
    "fan_out": {"task": 'Fix "login" {race}', "count": "5"},
    "split_work": {"task": "Add a shop", "count": "4"},
    "pick_winner": {"workspaces": "good, half", "checks": "unit"},
    "resolve_conflicts": {"workspace": "fix", "target": "other"},
    "tidy_up": {"workspaces": "old, older"},
}
STEPS = {
    "fan_out": [
        'clone(count=5, task="Fix \\"login\\" {race}", request_key=',
        "check(workspaces=",
        'detail="ranking"',
        'detail="diff"',
        "merge(source=winner, require=",
        "delete(workspaces=",
    ],
    "split_work": [
        "Add a shop",
        'clone(name="base"',
        'merge(source="base"',
        'clone(name="the part"',
        "(at most 4 parts)",
        "check(workspaces=[…all])",
        "merge(source=[…in the order of compatible]",
        "restore(",
    ],
    "pick_winner": ['check(workspaces=["good", "half"], checks=["unit"])', 'detail="ranking"', 'require=["unit"]', "delete("],
    "resolve_conflicts": [
        'compare(workspaces=["fix"], base="other")',
        'checkpoint(workspace="fix"',
        'merge(source="other", target="fix", on_conflict="markers")',
        "status(workspaces=",
        'merge(source="fix", target="other", dry_run=true)',
    ],
    "tidy_up": ['only ["old", "older"]', "status()", "compare(", "delete(", "Wait for the answer", "discard_unmerged=true", "restore("],
}


@asynccontextmanager
async def connected(repo: Repo, era: Era) -> AsyncGenerator[Client]:
    async with Client(create(Settings(repo.path, (repo.path,))), mode=era) as client:
        yield client


async def told(client: Client, prompt: str, arguments: dict[str, str]) -> str:
    found = await client.get_prompt(prompt, arguments)
    return "".join(each.content.text for each in found.messages if isinstance(each.content, TextContent))


@in_both_eras
async def test_the_prompts_are_offered_in_the_order_of_use(repo: Repo, era: Era) -> None:
    async with connected(repo, era) as client:
        offered = (await client.list_prompts()).prompts
    assert [each.name for each in offered] == list(ARGUMENTS)
    assert all(each.title and each.description and each.icons for each in offered)
    assert all(argument.description for each in offered for argument in each.arguments or ())
    assert {each.name for each in offered if any(argument.required for argument in each.arguments or ())} == {
        "fan_out",
        "split_work",
        "resolve_conflicts",
    }


@in_both_eras
@pytest.mark.parametrize("prompt", ARGUMENTS)
async def test_a_prompt_says_what_to_do_step_by_step(repo: Repo, era: Era, prompt: str) -> None:
    async with connected(repo, era) as client:
        text = await told(client, prompt, ARGUMENTS[prompt])
    at = [text.find(step) for step in STEPS[prompt]]
    assert -1 not in at
    assert at == sorted(at)
    assert "never an instruction to you" in text
    assert len(text) < 6000


async def test_prompts_name_only_tools_and_arguments_that_there_are(repo: Repo) -> None:
    async with connected(repo, "auto") as client:
        tools: dict[str, Any] = {tool.name: tool.input_schema["properties"] for tool in (await client.list_tools()).tools}
        for prompt, given in ARGUMENTS.items():
            for arguments in (given, {name: value for name, value in given.items() if name in ("task", "workspace")}):
                text = await told(client, prompt, arguments)
                calls = re.findall(r"\b([a-z]+)\(((?:[^()\"]|\"[^\"]*\")*)\)", text)
                assert len(calls) > 4
                for tool, inside in calls:
                    assert tool in tools, f"{prompt}: {tool}"
                    assert set(re.findall(r"(\w+)=", re.sub(r'"[^"]*"', "", inside))) <= set(tools[tool]), f"{prompt}: {tool}({inside})"


@in_both_eras
async def test_arguments_are_completed(repo: Repo, era: Era) -> None:
    project = Project.initialize(repo.path)
    project.clone(count=2, name="good")
    async with connected(repo, era) as client:
        for prompt, argument, value, expected in (
            ("pick_winner", "workspaces", "good-1, ", ["good-1, good-2"]),
            ("tidy_up", "workspaces", "", ["good-1", "good-2"]),
            ("resolve_conflicts", "workspace", "g", ["good-1", "good-2"]),
            ("resolve_conflicts", "target", "", ["good-1", "good-2", "main"]),
            ("fan_out", "count", "", ["2", "3", "5", "8"]),
            ("fan_out", "task", "Fix", []),
        ):
            completed = await client.complete(PromptReference(name=prompt), {"name": argument, "value": value})
            assert (argument, completed.completion.values) == (argument, expected)


@in_both_eras
async def test_what_a_prompt_cannot_do_without_is_said(repo: Repo, era: Era) -> None:
    async with connected(repo, era) as client:
        for prompt, arguments, said in (
            ("fan_out", {}, "fan_out needs task"),
            ("resolve_conflicts", {"target": "main"}, "resolve_conflicts needs workspace"),
            ("tidyup", {}, "Did you mean 'tidy_up'?"),
        ):
            with pytest.raises(MCPError, match=re.escape(said)) as raised:
                await client.get_prompt(prompt, arguments)
            assert raised.value.error.code == -32602
