"""Walks through what other systems answer over HTTP: which pages to ask for, and what is in them.

Each walk is a pure generator: it yields an ``Ask``, is sent the JSON of the answer, and yields a
``Document`` for each trace or span that it comes upon.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any
from urllib.parse import quote

import attrs

from lmflow.telemetry.sources.otlp_json import attributes, objects, text, whole

PAGE = 100
"""The traces, or the spans, of a page."""


@attrs.frozen
class Ask:
    """A request for a page: its path below the URL of the server, its query, and its body."""

    path: str
    query: Mapping[str, str] = attrs.field(factory=dict)
    body: Mapping[str, Any] | None = None


@attrs.frozen
class Document:
    """A trace or span as its system writes it."""

    content: Any


Walk = Generator["Ask | Document", Any, None]


def phoenix(project: str) -> Walk:
    """Walk through the spans of a project of Phoenix."""
    query = {"limit": str(PAGE)}
    while True:
        path = f"/v1/projects/{quote(project or 'default', safe='')}/spans"
        answer = yield Ask(path, query)
        yield from map(Document, objects(_member(answer, "data")))
        cursor = text(_member(answer, "next_cursor"))
        if not cursor:
            return
        query = {"limit": str(PAGE), "cursor": cursor}


def langfuse(project: str) -> Walk:
    """Walk through the traces of Langfuse; its key names the project. The list has ids alone, so
    each trace is asked for.
    """
    del project
    page, pages = 1, 1
    while page <= pages:
        query = {"page": str(page), "limit": str(PAGE)}
        answer = yield Ask("/api/public/traces", query)
        for trace in objects(_member(answer, "data")):
            whole_trace = yield Ask(f"/api/public/traces/{quote(text(trace.get('id')), safe='')}")
            yield Document(whole_trace)
        pages = whole(_member(_member(answer, "meta"), "totalPages"))
        page += 1


def mlflow(project: str) -> Walk:
    """Walk through the traces of an experiment of MLflow, by its id."""
    experiment = {"experiment_id": project or "0"}
    places = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": experiment}]
    body: dict[str, Any] = {"locations": places, "max_results": PAGE}
    while True:
        answer = yield Ask("/api/3.0/mlflow/traces/search", body=body)
        for info in objects(_member(answer, "traces")):
            query = {"trace_id": text(info.get("trace_id"))}
            found = _member((yield Ask("/api/3.0/mlflow/traces/get", query)), "trace")
            spans = list(map(_span, objects(_member(found, "spans"))))
            yield Document({"info": info, "data": {"spans": spans}})
        token = text(_member(answer, "next_page_token"))
        if not token:
            return
        body = {**body, "page_token": token}


WALKS: Mapping[str, Callable[[str], Walk]] = {
    "openinference": phoenix,
    "langfuse": langfuse,
    "mlflow": mlflow,
}
"""The walks by the name of the system, as ``FORMS`` names it."""


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _span(span: Mapping[str, Any]) -> dict[str, Any]:
    """Return a span whose attributes are an object; MLflow sends them as OTLP's list of pairs."""
    found = span.get("attributes")
    return {**span, "attributes": attributes(found) if isinstance(found, list) else found}
