"""Spans of OpenTelemetry around verbs, locks and gits: how long each took, and inside of what. None is made, and nothing imported, until somebody
set up an SDK in this process, as `opentelemetry-instrument` does; the names are those of the semantic conventions, where these have one.

A span tells names of workspaces and commands, and codes of errors; never contents, paths, messages or secrets.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

P = ParamSpec("P")
T = TypeVar("T")
Value = str | int | float | bool | Sequence[str]
_SCOPE = "mcp-workspaces"


class Told:
    """What can be added to a span while it lasts; where there is none, nothing happens."""

    def __init__(self, span: Span | None = None) -> None:
        self._span = span

    def note(self, **attributes: Value) -> None:
        """Add attributes; `__` in a name stands for a dot."""
        if self._span:
            self._span.set_attributes(_dotted(attributes))

    def event(self, name: str) -> None:
        if self._span:
            self._span.add_event(name)

    def fail(self, kind: str) -> None:
        """Say that it failed, with a word that says how."""
        if self._span:
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", kind)
            self._span.set_status(StatusCode.ERROR)


_NOTHING = Told()


@contextmanager
def span(name: str, calls_out: bool = False, **attributes: Value) -> Generator[Told]:
    """Make a span of the block, which may call another program; `__` in the name of an attribute stands for a dot. What the block raises is
    told by its code alone."""
    if (tracer := _tracer()) is None:
        yield _NOTHING
        return
    from opentelemetry.trace import SpanKind

    kind = SpanKind.CLIENT if calls_out else SpanKind.INTERNAL
    with tracer.start_as_current_span(
        name, kind=kind, attributes=_dotted(attributes), record_exception=False, set_status_on_exception=False
    ) as current:
        told = Told(current)
        try:
            yield told
        except BaseException as error:
            told.fail(str(getattr(error, "code", "") or type(error).__name__))
            raise


def spanned(verb: Callable[P, T]) -> Callable[P, T]:
    """Make a span of each call."""
    name = f"workspaces {verb.__name__.removesuffix('_as')}"

    @wraps(verb)
    def within(*args: P.args, **kwargs: P.kwargs) -> T:
        with span(name):
            return verb(*args, **kwargs)

    return within


@contextmanager
def continued(environment: Mapping[str, str]) -> Generator[None]:
    """Let the spans of the block be part of the trace that the environment names (`TRACEPARENT`), if it names one."""
    if _tracer() is None or "TRACEPARENT" not in environment:
        yield
        return
    from opentelemetry.context import attach, detach
    from opentelemetry.propagate import extract

    token = attach(extract({key.lower(): environment[key] for key in ("TRACEPARENT", "TRACESTATE") if key in environment}))
    try:
        yield
    finally:
        detach(token)


def trace() -> str:
    """Return the id of the trace that this is part of, or nothing."""
    if _tracer() is None:
        return ""
    from opentelemetry.trace import format_trace_id, get_current_span

    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else ""


def _tracer() -> Tracer | None:
    """Return what makes spans, where anybody would get them."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace import ProxyTracerProvider, get_tracer, get_tracer_provider

    return None if isinstance(get_tracer_provider(), ProxyTracerProvider) else get_tracer(_SCOPE)


def _dotted(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {name.replace("__", "."): value for name, value in attributes.items()}
