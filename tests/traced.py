"""A program of which spans are told, as `opentelemetry-instrument` would have it: an SDK is set up, and what it is told comes out as JSON on stdout.

python traced.py server PROJECT      a client in memory that clones, compares, merges, and asks for what is not there
python traced.py command ARG…        the command line
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

import anyio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def told(span: ReadableSpan) -> dict[str, object]:
    context = span.get_span_context()
    assert context
    return {
        "name": span.name,
        "kind": span.kind.name,
        "trace": f"{context.trace_id:032x}",
        "id": f"{context.span_id:016x}",
        "parent": f"{span.parent.span_id:016x}" if span.parent else "",
        "attributes": json.loads(span.to_json())["attributes"],
        "events": [event.name for event in span.events],
        "status": span.status.status_code.name,
    }


async def serve(project: Path) -> None:
    from mcp import Client

    from workspaces.server.app import Settings, create

    with trace.get_tracer("client").start_as_current_span("agent"):
        async with Client(create(Settings(project, (project,)))) as client:
            for tool, arguments in (
                ("clone", {"count": 2, "name": "fix", "task": "a task of mine"}),
                ("compare", {"workspaces": ["fix-1", "fix-2"]}),
                ("merge", {"source": "fix-1", "message": "a message of mine"}),
                ("compare", {"workspaces": ["nope"]}),
            ):
                await client.call_tool(tool, arguments)
                (project / ".workspaces" / "fix-1" / "cart.py").write_text("theirs\n")


def command(arguments: list[str]) -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="workspaces")
    sys.argv = ["workspaces", *arguments]
    with suppress(SystemExit):
        script.load()()


if __name__ == "__main__":
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    if sys.argv[1] == "server":
        anyio.run(serve, Path(sys.argv[2]))
    else:
        command(sys.argv[2:])
    json.dump([told(span) for span in exporter.get_finished_spans()], sys.stdout)
