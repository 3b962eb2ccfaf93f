"""How fast is a tool that does nothing? A server with just that, run as the SDK runs one: on stdio, or on HTTP at a free port."""

from __future__ import annotations

import sys

import uvicorn
from mcp.server.mcpserver import MCPServer


async def noop() -> str:
    """Do nothing."""
    return "done"


def main() -> None:
    server = MCPServer[object](name="noop", log_level="WARNING")
    server.add_tool(noop)
    if "--http" in sys.argv:
        uvicorn.run(server.streamable_http_app(), port=0, access_log=False)
    else:
        server.run("stdio")


if __name__ == "__main__":
    main()
