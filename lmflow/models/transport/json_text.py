"""JSON that servers send: parsed without loss, and scrubbed of keys and unpaired surrogates."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

SHORTEST_SECRET = 8
"""A shorter key is a placeholder: masking it by value would mangle ordinary words."""


def parse_json(text: str) -> Any:
    """The JSON value of a text, which may escape unpaired surrogates. ``ValueError`` if the text
    isn't JSON.
    """
    text = text.removeprefix("\ufeff")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        pass  # msgspec refuses unpaired surrogates, the standard library doesn't
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        msg = "it is nested too deep"
        raise ValueError(msg) from None


def decode_body(text: str) -> tuple[Any, bool]:
    """The JSON value of a body, ``None`` if the body isn't JSON, and whether the value surely has
    no unpaired surrogates.
    """
    try:
        return msgspec.json.decode(text), True
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return parse_json(text), False
    except ValueError:
        return None, False


def scrub(value: Any, secret: str) -> Any:
    """The JSON value with the secret masked and unpaired surrogates replaced, which no store could
    encode.

    A secret of fewer than ``SHORTEST_SECRET`` characters is not masked.
    """
    if isinstance(value, str):
        text = value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
        return text.replace(secret, "***") if len(secret) >= SHORTEST_SECRET else text
    if isinstance(value, list):
        return [scrub(item, secret) for item in value]
    if isinstance(value, dict):
        return {scrub(name, secret): scrub(item, secret) for name, item in value.items()}
    return value


def token_count(value: Any) -> int | None:
    """A number of tokens, ``None`` if the value can't be one."""
    return value if type(value) is int and 0 <= value < 2**63 else None


def _refuse_constant(constant: str) -> float:
    msg = f"{constant} is not a number"
    raise ValueError(msg)


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _refuse_constant(number)
