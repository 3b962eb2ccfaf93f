"""The prompts: what a person picks from a menu, and a model is then told to do with the tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

from mcp.server.mcpserver import MCPServer
from pydantic import Field

from workspaces.server import scripts
from workspaces.server.completion import split
from workspaces.server.icons import BRANCH, BROOM, KNOT, PARTS, WINNER, icon

Task = Annotated[str, Field(description="what is to be done")]


def register(server: MCPServer[object]) -> None:
    """Offer the prompts in the order in which they are used."""
    offered: list[tuple[Callable[..., str], str, str, str]] = [
        (fan_out, "Fan out", "Let several agents try one task, and merge the best attempt", BRANCH),
        (split_work, "Split the work", "Cut a task into parts, have them done at the same time, and merge them all", PARTS),
        (pick_winner, "Pick the winner", "Check the attempts, rank them, and merge the best one", WINNER),
        (resolve_conflicts, "Resolve conflicts", "Bring a workspace and its parent together, keeping what both sides meant", KNOT),
        (tidy_up, "Tidy up", "Delete what is merged or unchanged, and ask about the rest", BROOM),
    ]
    for prompt, title, description, shape in offered:
        server.prompt(prompt.__name__, title=title, description=description, icons=[icon(shape)])(prompt)


def fan_out(task: Task, count: Annotated[str, Field(description="how many agents; default: 3")] = "") -> str:
    number = count.strip() if count.strip().isdecimal() else "3"
    return scripts.FAN_OUT.format(count=number, task=task, literal=json.dumps(task, ensure_ascii=False))


def split_work(task: Task, count: Annotated[str, Field(description="how many agents there are, at most")] = "") -> str:
    number = count.strip() if count.strip().isdecimal() else ""
    return scripts.SPLIT_WORK.format(task=task, where=f" (at most {number} parts)" if number else "")


def pick_winner(
    workspaces: Annotated[str, Field(description="the attempts, separated by commas; default: all")] = "",
    checks: Annotated[str, Field(description="the checks that decide, separated by commas; default: all")] = "",
) -> str:
    names, deciding = split(workspaces), split(checks)
    return scripts.PICK_WINNER.format(
        whose=f"the attempts {', '.join(names)}" if names else "the attempts (status() names them: all but main)",
        names=json.dumps(names) if names else "[…]",
        checks=f", checks={json.dumps(deciding)}" if deciding else "",
        required=json.dumps(deciding) if deciding else "[all checks]",
    )


def resolve_conflicts(
    workspace: Annotated[str, Field(description="the workspace whose merge conflicts")],
    target: Annotated[str, Field(description="where it is to be merged; default: its parent")] = "",
) -> str:
    source, into = json.dumps(workspace.strip(), ensure_ascii=False), json.dumps(target.strip(), ensure_ascii=False)
    return scripts.RESOLVE_CONFLICTS.format(
        whose=f"the workspace {source}",
        source=source,
        target=into if target else "its parent",
        into=into if target else "parent",
        base=f", base={into}" if target else "",
        to=f", target={into}" if target else "",
    )


def tidy_up(workspaces: Annotated[str, Field(description="only these, separated by commas; default: all")] = "") -> str:
    names = split(workspaces)
    return scripts.TIDY_UP.format(which=f": only {json.dumps(names)}" if names else "")
