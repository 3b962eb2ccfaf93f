"""Small pictures for menus, each a line or two of SVG in the URI itself: nothing is fetched, nothing runs.

Tools have none: clients that hand `tools/list` to a model as it is would spend tokens on them, and every host shows the server's own.
"""

from __future__ import annotations

from urllib.parse import quote

from mcp.types import Icon

TREE = "M4 3v10M4 6h8M4 12h8"
DIFF = "M8 3v6M5 6h6M5 12h6"
LOG = "M3 4h10M3 8h10M3 12h6"
CHECK = "M3 9l3 3 7-8"
FILE = "M4 2h5l3 3v9H4z"
BOOK = "M3 3h4l1 1 1-1h4v10H9l-1 1-1-1H3z"
BRANCH = "M4 3v10M4 8c0-3 8 0 8-5"
WINNER = "M4 3h8v3a4 4 0 0 1-8 0zM8 10v3M5 13h6"
PARTS = "M3 3h4v4H3zM9 9h4v4H9zM9 3h4v4H9z"
KNOT = "M4 3c0 5 8 5 8 10M12 3c0 5-8 5-8 10"
BROOM = "M12 3L7 8M4 13l2-6 4 4z"


def icon(shape: str) -> Icon:
    """Return a picture of 16 by 16 made of one stroke, in a grey that can be seen on dark and on light."""
    # Everything is quoted: by RFC 3986, which some clients check, a URI has no spaces.
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="{shape}" fill="none" stroke="#888"/></svg>'
    return Icon(src="data:image/svg+xml," + quote(svg, safe="=/:"), mime_type="image/svg+xml", sizes=["any"])
