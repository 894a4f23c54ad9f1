"""Canonical forms, keys and roots written the readable way, as oracles of the quick ways."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from lmflow.messages.requests import ChatRequest
from lmflow.traces.trace import CallAttempt, Failed
from lmflow.values.attributes import lean
from lmflow.values.record import Record, plain


def reference_form(value: Any) -> str:
    """The canonical form of a value, by the encoder of the standard library over a copy of it."""
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def reference_digest(kind: str, value: Any) -> str:
    """The digest of a value."""
    text = f"{kind}\0{reference_form(value)}".encode("ascii")
    return f"v1:b2:{blake2b(text, digest_size=32).hexdigest()}"


def reference_key(request: ChatRequest) -> str:
    """The key of a request: the digest of its fields that differ from their defaults."""
    messages = [lean(message) for message in request.messages]
    return reference_digest("chat", lean(request) | {"messages": messages})


def reference_root(
    calls: list[CallAttempt], choices: Record, outputs: Record | None, failure: Failed | None
) -> str:
    """The root of an execution of which no branch lost a race."""
    leaves = []
    for call in calls:
        assert call.outcome is not None
        leaf = reference_digest("leaf", [call.address, call.key, call.outcome.content])
        leaves.append([call.address, leaf])
    ended = None if failure is None else {"kind": failure.kind, "text": failure.text}
    whole = {"calls": sorted(leaves), "choices": choices, "outputs": outputs, "failure": ended}
    return reference_digest("trace", whole)
