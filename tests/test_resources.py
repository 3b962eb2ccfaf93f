"""Resources, as real clients of both eras list, read and complete them, on stdio and over HTTP."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pytest
from mcp import Client, MCPError
from mcp.types import BlobResourceContents, CallToolResult, ResourceTemplateReference, TextResourceContents
from serving import served, stdio
from support import Repo, at, clone

from workspaces import Project
from workspaces.server.app import Settings, create

pytestmark = pytest.mark.anyio
Era = Literal["auto", "legacy"]
in_both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])
everywhere = pytest.mark.parametrize("where", ["stdio", "http"])
TEMPLATES = [
    "workspace://{project}/tree",
    "workspace://{project}/{name}",
    "workspace://{project}/{name}/diff",
    "workspace://{project}/{name}/log",
    "workspace://{project}/{name}/checks/{check}",
    "workspace://{project}/{name}/files/{+path}",
]


@asynccontextmanager
async def connected(repo: Repo, era: Era, where: str = "memory") -> AsyncGenerator[Client]:
    """Be a client of a server for a project: in memory, or of a real one."""
    if where == "http":
        with served(repo) as server:
            async with Client(server.url, mode=era) as client:
                yield client
        return
    command = stdio(repo.path)
    async with Client(command if where == "stdio" else create(Settings(repo.path, (repo.path,))), mode=era) as client:
        yield client


async def text(client: Client, uri: str) -> tuple[str, str]:
    """Read a text and return it with its kind."""
    (found,) = (await client.read_resource(uri)).contents
    assert isinstance(found, TextResourceContents)
    return found.text, found.mime_type or ""


async def data(client: Client, uri: str) -> dict[str, Any]:
    found, kind = await text(client, uri)
    assert kind == "application/json"
    return dict[str, Any](json.loads(found))


async def refusal(client: Client, uri: str) -> tuple[int, str]:
    with pytest.raises(MCPError) as raised:
        await client.read_resource(uri)
    return raised.value.error.code, raised.value.error.message.replace(uri, "URI")


def furnished(repo: Repo) -> Project:
    """Return a project with a check that was run, a workspace with work in it, and one without."""
    repo.write("workspaces.toml", '[checks.unit]\nrun = "grep -q better cart.py"\n')
    repo.commit("checks")
    trust = Path(os.environ["HOME"]) / ".config/mcp-workspaces/trust.json"
    project = Project.initialize(repo.path, trust=trust, environment=os.environ)
    asked = project.unasked()
    assert asked
    project.trust_checks(asked.fingerprint)
    made = clone(project, "fix")
    made.write("cart.py", "better\n")
    made.write("new dir/ä?.txt", "new\n")
    project.clone(name="idle", task="Wait\nfor it")
    project.checkpoint("fix", "half way")
    project.check(["fix"])
    return project


# -- what there is ------------------------------------------------------------------------------------------------------------------------


@everywhere
@in_both_eras
async def test_what_there_is_can_be_listed_and_read(repo: Repo, era: Era, where: str) -> None:
    furnished(repo)
    async with connected(repo, era, where) as client:
        listed = (await client.list_resources()).resources
        uris = [each.uri for each in listed]
        assert uris == ["workspace://guide", *(f"workspace://shop/{name}" for name in ("tree", "main", "fix", "idle"))]
        for each in listed:
            assert each.title and each.description and each.mime_type and each.annotations and each.annotations.audience
            assert (await text(client, each.uri))[1] == each.mime_type
        assert listed[4].description == "Made for: Wait for it (ready)"
        assert listed[2].annotations and (listed[2].annotations.last_modified or "").startswith("20")
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == TEMPLATES
        assert all(each.name and each.title and each.description and each.icons for each in templates)
        assert client.server_capabilities.resources and client.server_capabilities.resources.subscribe
        assert client.server_capabilities.resources.list_changed


@in_both_eras
async def test_each_kind_shows_what_it_says(repo: Repo, era: Era) -> None:
    project = furnished(repo)
    at(project.find("idle")).write("mine.txt", "mine\n")
    async with connected(repo, era) as client:
        guide, kind = await text(client, "workspace://guide")
        assert kind == "text/markdown"
        assert all(template in guide for template in TEMPLATES[:2])
        tree = await data(client, "workspace://shop/tree")
        assert [each["name"] for each in tree["workspaces"]] == ["main", "fix", "idle"]
        (fix,) = (await data(client, "workspace://shop/fix"))["workspaces"]
        assert (fix["id"], fix["files_changed"], fix["checks"]) == ("shop/fix", 2, {"unit": "pass"})
        diff, kind = await text(client, "workspace://shop/fix/diff")
        assert kind == "text/x-diff"
        assert "+better\n" in diff
        log = await data(client, "workspace://shop/fix/log")
        assert [each["verb"] for each in log["operations"]] == ["checkpoint", "clone"]
        (verdict,) = (await data(client, "workspace://shop/fix/checks/unit"))["results"]
        assert (verdict["workspace"], verdict["verdict"]) == ("shop/fix", "pass")
        unknown = await data(client, "workspace://shop/idle/checks/unit")
        assert "results" not in unknown or unknown["results"] == []
        assert unknown["next"] == ["check(workspaces=['shop/idle'], checks=['unit'])"]
        assert await text(client, "workspace://shop/fix/files/cart.py") == ("better\n", "text/x-python")
        assert (await text(client, f"workspace://shop/fix/files/{quote('new dir/ä?.txt')}"))[0] == "new\n"


@in_both_eras
async def test_what_is_not_there_is_the_protocols_own_error(repo: Repo, era: Era) -> None:
    project = furnished(repo)
    project.clone(name="gone")
    project.delete(["gone"], discard_unmerged=True)
    async with connected(repo, era) as client:
        code = -32602 if era == "auto" else -32002
        for uri in (
            "workspace://shop/nobody",
            "workspace://shop/gone",
            "workspace://shop/gone/diff",
            "workspace://else/tree",
            "workspace://shop/fix/checks/nope",
            "workspace://shop/fix/files/nope.py",
            "workspace://shop/fix/nope",
            "workspace://nothing",
            "file:///etc/passwd",
        ):
            assert await refusal(client, uri) == (code, "Unknown resource: URI")


async def test_many_workspaces_come_in_pages(repo: Repo) -> None:
    project = Project.initialize(repo.path)
    project.clone(count=205, name="many")
    async with connected(repo, "auto") as client:
        first = await client.list_resources()
        rest = await client.list_resources(cursor=first.next_cursor)
        assert (len(first.resources), rest.next_cursor) == (200, None)
        assert [each.name for each in (*first.resources, *rest.resources)][3:] == [f"shop/many-{number}" for number in range(1, 206)]
        with pytest.raises(MCPError) as raised:
            await client.list_resources(cursor="workspace://shop/nope")
        assert raised.value.error.code == -32602


@in_both_eras
async def test_without_a_project_there_is_the_guide(tmp_path: Path, era: Era) -> None:
    async with Client(create(Settings(None, ())), mode=era) as client:
        assert [each.uri for each in (await client.list_resources()).resources] == ["workspace://guide"]
        assert (await refusal(client, "workspace://shop/tree"))[0] in (-32602, -32002)
        completed = await client.complete(ResourceTemplateReference(uri=TEMPLATES[0]), {"name": "project", "value": ""})
        assert completed.completion.values == []


# -- hostile contents ---------------------------------------------------------------------------------------------------------------------


@in_both_eras
async def test_a_file_is_one_of_the_workspace_itself(repo: Repo, tmp_path: Path, era: Era) -> None:
    project = Project.initialize(repo.path)
    made = clone(project, "fix")
    secret = tmp_path / "secret.txt"
    secret.write_text("secret\n")
    (made.path / "link").symlink_to(secret)
    (made.path / "folder").symlink_to(tmp_path)
    made.write("ignored.log", "ignored\n")
    async with connected(repo, era) as client:
        for path in (
            "link",
            "folder/secret.txt",
            "../../../secret.txt",
            "..%2F..%2F..%2Fsecret.txt",
            quote(str(secret)),
            "/etc/passwd",
            "auth",
            "auth/",
            "./cart.py",
            "auth/../cart.py",
            "cart.py%00",
            ":(top)cart.py",
            ":(glob)*",
            "*",
            ".git",
            ".git/config",
            "ignored.log",
            "x" * 5000,
        ):
            code, said = await refusal(client, f"workspace://shop/fix/files/{path}")
            assert (path, code) == (path, -32602 if era == "auto" else -32002)
            assert "secret\n" not in said


@in_both_eras
async def test_hostile_names_are_read_by_the_uris_that_are_offered(repo: Repo, era: Era) -> None:
    project = Project.initialize(repo.path)
    made = clone(project, "fix")
    names = ["100%25.txt", "a b#c?d.txt", '"quoted".txt', "..dots", "-rf", ":(glob)*", "ä/ü.md", "{+path}", "line\nbreak"]
    for name in names:
        made.write(name, f"this is {name}")
    Path(os.fsdecode(bytes(made.path) + b"/caf\xe9")).write_text("latin")
    reference = ResourceTemplateReference(uri=TEMPLATES[5])
    async with connected(repo, era) as client:
        known = {"project": "shop", "name": "fix"}
        paths = (await client.complete(reference, {"name": "path", "value": ""}, known)).completion.values
        assert len(paths) == len(names) + 1
        assert all(path.isascii() and path.isprintable() for path in paths)
        read = {(await text(client, f"workspace://shop/fix/files/{path}"))[0] for path in paths}
        assert read == {"latin", *(f"this is {name}" for name in names)}


@everywhere
@in_both_eras
async def test_what_is_large_or_no_text_does_no_harm(repo: Repo, era: Era, where: str) -> None:
    project = Project.initialize(repo.path)
    made = clone(project, "fix")
    made.write("fits.bin", bytes(range(256)) * 1024)
    made.write("bells.txt", b"\x07" * (256 << 10))
    made.write("large.txt", b"x" * ((256 << 10) + 1))
    made.write("long.txt", b"\x07 line\n" * 40_000)
    async with connected(repo, era, where) as client:
        for name, size in (("fits.bin", 256 << 10), ("bells.txt", 256 << 10)):
            (blob,) = (await client.read_resource(f"workspace://shop/fix/files/{name}")).contents
            assert isinstance(blob, BlobResourceContents)
            assert len(base64.b64decode(blob.blob)) == size
        code, said = await refusal(client, "workspace://shop/fix/files/large.txt")
        assert (code, made.path.name in said) == (-32603, True)
        diff, _ = await text(client, "workspace://shop/fix/diff")
        assert len(diff) < 110_000
        said = r"# cut here; the next page: compare\(workspaces=\['(.*)'\], detail='(.*)', cursor='(.*)'\)"
        asked = re.fullmatch(said, diff.splitlines()[-1])
        assert asked
        arguments = {"workspaces": [asked[1]], "detail": asked[2], "cursor": asked[3]}
        page = await client.call_tool("compare", arguments)
        assert isinstance(page, CallToolResult) and page.structured_content
        assert page.structured_content["diff"] and len(json.dumps(page.structured_content)) <= 20_000
        assert (await data(client, "workspace://shop/fix"))["workspaces"][0]["files_changed"] == 4


async def test_reading_a_resource_renews_no_lease_and_changes_nothing(repo: Repo) -> None:
    project = Project.initialize(repo.path)
    (made,) = project.clone(name="fix", lease_seconds=3600).workspaces
    at(made).write("cart.py", "better\n")
    before = project.revision()
    async with connected(repo, "auto") as client:
        for part in ("", "/diff", "/log", "/files/cart.py"):
            await client.read_resource(f"workspace://shop/fix{part}")
        await client.list_resources()
    assert project.revision() == before


# -- completion ---------------------------------------------------------------------------------------------------------------------------


@everywhere
@in_both_eras
async def test_variables_are_completed(repo: Repo, era: Era, where: str) -> None:
    furnished(repo)
    async with connected(repo, era, where) as client:
        for template, variable, value, known, expected in (
            (0, "project", "s", {}, ["shop"]),
            (1, "name", "", {"project": "shop"}, ["fix", "idle", "main"]),
            (1, "name", "I", {}, ["idle"]),
            (1, "name", "", {"project": "other"}, []),
            (4, "check", "u", {"project": "shop", "name": "fix"}, ["unit"]),
            (5, "path", "", {"project": "shop", "name": "fix"}, ["cart.py", "new%20dir/%C3%A4%3F.txt"]),
            (5, "path", "new d", {"project": "shop", "name": "fix"}, ["new%20dir/%C3%A4%3F.txt"]),
            (5, "path", "", {"project": "shop", "name": "nobody"}, []),
            (5, "nonsense", "", {}, []),
        ):
            reference = ResourceTemplateReference(uri=TEMPLATES[template])
            completed = (await client.complete(reference, {"name": variable, "value": value}, known)).completion
            assert (variable, completed.values, completed.total) == (variable, expected, len(expected))
        other = await client.complete(ResourceTemplateReference(uri="file:///{path}"), {"name": "path", "value": ""})
        assert other.completion.values == []


async def test_no_more_than_a_hundred_completions_are_offered(repo: Repo) -> None:
    Project.initialize(repo.path).clone(count=120, name="many")
    async with connected(repo, "auto") as client:
        found = (await client.complete(ResourceTemplateReference(uri=TEMPLATES[1]), {"name": "name", "value": "m"})).completion
        assert (len(found.values), found.total, found.has_more) == (100, 121, True)
