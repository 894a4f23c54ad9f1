"""Reads the documents of other systems as raw spans, each by the form that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lmflow.errors import TelemetryError, listed
from lmflow.telemetry.raw import RawSpan
from lmflow.telemetry.sources import langfuse, mlflow, openinference, otlp_json

FORMS = ("otlp", "openinference", "langfuse", "mlflow", "llm")
"""The names of the systems that traces are read from."""

_LISTS = ("data", "traces", "items")

_READERS: Mapping[
    str, tuple[Callable[[Any], bool], Callable[[Mapping[str, Any]], Iterator[RawSpan]]]
] = {
    "otlp": (otlp_json.is_otlp, otlp_json.spans),
    "openinference": (openinference.is_phoenix, openinference.spans),
    "langfuse": (langfuse.is_langfuse, langfuse.spans),
    "mlflow": (mlflow.is_mlflow, mlflow.spans),
}


def document_spans(document: Any, where: str) -> Iterator[RawSpan]:
    """Yield the spans of a JSON document: trace data, a trace, a span, or a list of them.

    Args:
        document: The document.
        where: The name of its file, for the error.

    Raises:
        TelemetryError: It has no form that is known.
    """
    if isinstance(document, list):
        for item in document:
            yield from document_spans(item, where)
        return
    for is_such, read in _READERS.values():
        if is_such(document):
            yield from map(openinference.translated, read(document))
            return
    inner = _inner(document)
    if inner is None:
        found = (
            listed(list(document)[:6]) if isinstance(document, Mapping) else type(document).__name__
        )
        problem = f"{where} holds no traces of a known form, but {found}"
        raise TelemetryError(problem, f"Known are {listed(FORMS)}.")
    yield from document_spans(inner, where)


def form_of(document: Any) -> str:
    """Return the name of the system that wrote a document; ``otlp`` if none is known."""
    if isinstance(document, list) and document:
        return form_of(document[0])
    for name, (is_such, _) in _READERS.items():
        if is_such(document):
            return name
    inner = _inner(document)
    return "otlp" if inner is None else form_of(inner)


def _inner(document: Any) -> Any:
    """Return the list that a page of an API holds, ``None`` if it holds none."""
    if not isinstance(document, Mapping):
        return None
    return next((document[name] for name in _LISTS if isinstance(document.get(name), list)), None)
