"""Spans as messages of OTLP in protobuf, and back; needs the extra ``otel``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lmflow.errors import TelemetryError
from lmflow.telemetry.raw import RawEvent, RawSpan
from lmflow.telemetry.spans import Span

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

_KINDS = {"internal": 1, "client": 3}
_ERROR = 2
_OK = 1
_LARGEST = 2**63
_MISSING = "the package opentelemetry-proto is missing"
_FIX = "Install it: pip install 'lmflow-dsl[otel]'."


def check_installed() -> None:
    """Raise ``TelemetryError`` if the extra ``otel`` is missing."""
    try:
        import opentelemetry.proto.trace.v1.trace_pb2  # noqa: F401, PLC0415 - an extra
    except ModuleNotFoundError:
        raise TelemetryError(_MISSING, _FIX) from None


def encode(spans: Iterable[Span], schema_url: str, resource: Mapping[str, Any]) -> bytes:
    """Return the body of a request that exports spans.

    Args:
        spans: The spans.
        schema_url: The URL that says which conventions the attributes follow.
        resource: The attributes of what sends the spans, such as ``service.name``.
    """
    check_installed()
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTraceServiceRequest,
    )

    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.schema_url = schema_url
    _fill(group.resource.attributes, resource)
    scope = group.scope_spans.add()
    scope.scope.name = "lmflow"
    scope.schema_url = schema_url
    for span in spans:
        _add(scope.spans.add(), span)
    return bytes(request.SerializeToString())


def rejected(body: bytes) -> tuple[int, str]:
    """Return how many spans a server rejected, and its words; 0 if it took all of them.

    Raises:
        TelemetryError: The body isn't the answer to an export.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - an extra
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTraceServiceResponse,
    )

    response = ExportTraceServiceResponse()
    try:
        response.ParseFromString(body)
    except DecodeError:
        problem = "the server's answer to an export isn't protobuf"
        raise TelemetryError(problem, "Is the URL that of an OTLP endpoint?") from None
    partial = response.partial_success
    return int(partial.rejected_spans), str(partial.error_message)


def decode(body: bytes) -> Iterator[RawSpan]:
    """Yield the spans of the body of an export, or of a file of trace data.

    Raises:
        TelemetryError: The body isn't such protobuf.
    """
    check_installed()
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - an extra
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData  # noqa: PLC0415 - an extra

    data = TracesData()
    try:
        data.ParseFromString(body)
    except DecodeError:
        problem = "the body isn't trace data in protobuf"
        raise TelemetryError(problem, "Send what an OTLP exporter sends.") from None
    for group in data.resource_spans:
        resource = _values(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _raw(span, resource)


def accepted(rejected_spans: int, words: str) -> bytes:
    """Return the body of the answer to an export."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTraceServiceResponse,
    )

    response = ExportTraceServiceResponse()
    if rejected_spans or words:
        response.partial_success.rejected_spans = rejected_spans
        response.partial_success.error_message = words
    return bytes(response.SerializeToString())


def _add(message: Any, span: Span) -> None:
    message.trace_id = bytes.fromhex(span.trace)
    message.span_id = bytes.fromhex(span.id)
    message.parent_span_id = bytes.fromhex(span.parent)
    message.name = _text(span.name)
    message.kind = _KINDS[span.kind]
    message.start_time_unix_nano = span.started
    message.end_time_unix_nano = span.ended
    _fill(message.attributes, span.attributes)
    for event in span.events:
        added = message.events.add()
        added.name, added.time_unix_nano = event.name, event.at
        _fill(added.attributes, event.attributes)
    for trace, other in span.links:
        link = message.links.add()
        link.trace_id, link.span_id = bytes.fromhex(trace), bytes.fromhex(other)
    message.status.code = _ERROR if span.error else _OK
    message.status.message = _text(span.error)


def _fill(pairs: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        pair = pairs.add()
        pair.key = _text(name)
        _set(pair.value, value)


def _set(target: AnyValue, value: Any) -> None:
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int) and -_LARGEST <= value < _LARGEST:
        target.int_value = value
    elif isinstance(value, (int, float)):
        target.double_value = float(value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _set(target.array_value.values.add(), item)
    else:
        target.string_value = _text(str(value))


def _text(text: str) -> str:
    """Return a text that protobuf takes: without halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _raw(span: Any, resource: Mapping[str, Any]) -> RawSpan:
    return RawSpan(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        started=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        events=tuple(
            RawEvent(event.name, event.time_unix_nano, _values(event.attributes))
            for event in span.events
        ),
        error=span.status.message or "error" if span.status.code == _ERROR else "",
        resource=resource,
        dropped=span.dropped_attributes_count,
    )


def _values(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _values(value.kvlist_value.values)
    if kind == "bytes_value":
        return value.bytes_value.hex()
    return None if kind is None else getattr(value, kind)
