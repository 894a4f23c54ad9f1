"""Reads spans from OTLP's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmflow.telemetry.raw import RawEvent, RawSpan

_ERRORS = (2, "2", "STATUS_CODE_ERROR", "ERROR")
_VALUES = ("stringValue", "boolValue", "doubleValue", "bytesValue", "string_value", "bool_value")


def is_otlp(document: Any) -> bool:
    """Tell whether a JSON value is trace data."""
    return isinstance(document, Mapping) and bool(
        {"resourceSpans", "resource_spans"} & document.keys()
    )


def spans(document: Mapping[str, Any]) -> Iterator[RawSpan]:
    """Yield the spans of trace data; parts of another form are left out."""
    for group in objects(either(document, "resourceSpans", "resource_spans")):
        resource = group.get("resource")
        facts = attributes(resource.get("attributes")) if isinstance(resource, Mapping) else {}
        for scope in objects(either(group, "scopeSpans", "scope_spans")):
            for span in objects(scope.get("spans")):
                yield _span(span, facts)


def objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in a list."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, Mapping))


def either(value: Mapping[str, Any], *names: str) -> Any:
    """Return the first member that an object has of these names."""
    for name in names:
        found = value.get(name)
        if found is not None:
            return found
    return None


def text(value: Any) -> str:
    """Return a text; of any other value an empty one."""
    return value if isinstance(value, str) else ""


def whole(value: Any) -> int:
    """Return a whole number, also of its text; 0 of any other value."""
    if isinstance(value, bool):
        return 0
    try:
        return int(value) if isinstance(value, (int, float, str)) else 0
    except (ValueError, OverflowError):
        return 0


def attributes(pairs: Any) -> dict[str, Any]:
    """Return attributes by name, from OTLP's list of pairs."""
    return {text(pair.get("key")): value_of(pair.get("value")) for pair in objects(pairs)}


def value_of(value: Any) -> Any:
    """Return the JSON value that OTLP writes as an object with one member."""
    if not isinstance(value, Mapping):
        return None
    # Most values are texts; a file of spans has a million of them.
    found = value.get("stringValue")
    if found is not None and len(value) == 1:
        return found
    number = either(value, "intValue", "int_value")
    if number is not None:
        return whole(number)
    array = either(value, "arrayValue", "array_value")
    if isinstance(array, Mapping):
        return [value_of(item) for item in objects(array.get("values"))]
    pairs = either(value, "kvlistValue", "kvlist_value")
    if isinstance(pairs, Mapping):
        return attributes(pairs.get("values"))
    return either(value, *_VALUES, "double_value", "bytes_value")


def _span(span: Mapping[str, Any], resource: Mapping[str, Any]) -> RawSpan:
    status = span.get("status")
    status = status if isinstance(status, Mapping) else {}
    is_error = status.get("code") in _ERRORS
    return RawSpan(
        trace=text(either(span, "traceId", "trace_id")).lower(),
        id=text(either(span, "spanId", "span_id")).lower(),
        parent=text(either(span, "parentSpanId", "parent_span_id")).lower(),
        name=text(span.get("name")),
        started=whole(either(span, "startTimeUnixNano", "start_time_unix_nano")),
        ended=whole(either(span, "endTimeUnixNano", "end_time_unix_nano")),
        attributes=attributes(span.get("attributes")),
        events=tuple(_events(span.get("events"))),
        error=(text(status.get("message")) or "error") if is_error else "",
        resource=resource,
        dropped=whole(either(span, "droppedAttributesCount", "dropped_attributes_count")),
    )


def _events(values: Any) -> Iterable[RawEvent]:
    for event in objects(values):
        at = whole(either(event, "timeUnixNano", "time_unix_nano"))
        yield RawEvent(text(event.get("name")), at, attributes(event.get("attributes")))
