"""The view of a comparison that hosts with MCP Apps show (`io.modelcontextprotocol/ui`): one page that loads nothing, and runs nothing but itself."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from functools import cache
from importlib.resources import files

from mcp.server.apps import Apps, ResourceCsp
from pydantic import JsonValue

SCHEME = "ui://"
COMPARE = f"{SCHEME}workspaces/compare.html"
SHOWN: dict[str, JsonValue] = {"ui": {"resourceUri": COMPARE}}
"""What a tool says whose results it shows; to every client alike, since who cannot show it has the result."""
_NOWHERE = ResourceCsp(connect_domains=[], resource_domains=[], frame_domains=[], base_uri_domains=[])


def views() -> Apps:
    """Return the pages that the server offers."""
    apps = Apps()
    apps.add_html_resource(
        COMPARE,
        page(),
        name="compare",
        title="Compare workspaces",
        description="Attempts, their conflicts and their diffs",
        csp=_NOWHERE,
        prefers_border=True,
    )
    return apps


@cache
def page() -> str:
    """Return the page, with a policy (CSP) under which its own script and style count, by their hashes, and no other, whatever gets into it."""
    text = files("workspaces.server").joinpath("compare.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src {_hashed('script', text)}; style-src {_hashed('style', text)}; base-uri 'none'; form-action 'none'"
    )
    return text.replace("<head>", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)


def _hashed(tag: str, text: str) -> str:
    """Return the one element of a kind in the page, as CSP names it."""
    (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return f"'sha256-{b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"
