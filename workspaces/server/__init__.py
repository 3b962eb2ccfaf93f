"""The MCP face: the tools, and the two transports that carry them."""
