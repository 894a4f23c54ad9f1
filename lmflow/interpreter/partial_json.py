"""The members of a JSON object of which only a part has come."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Literal

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)

_WHOLE_ESCAPES = re.compile(r"(?:[^\\]|\\(?:[^u]|u[0-9a-fA-F]{4}))*", re.DOTALL)
"""Text up to an escape that has begun and not ended."""

_HALF_PAIR = re.compile(r"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})\Z")
"""The first half of a surrogate pair at the end of a text."""

_DEPTH_CHANGES = {"{": 1, "[": 1, "}": -1, "]": -1}
_EXPECTED_AFTER: dict[str, Literal["name", "value"]] = {":": "value", ",": "name"}

_CLOSED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def json_members(text: str) -> Iterator[tuple[str, str]]:
    """The members of the outermost object, each text as far as it goes.

    A number or word counts once another token follows, since it may go on before that.
    """
    depth, name = 0, ""
    expects: Literal["name", "value"] = "name"
    tokens = [match[0] for match in _TOKEN.finditer(text, max(text.find("{"), 0))]
    for position, token in enumerate(tokens):
        depth += _DEPTH_CHANGES.get(token, 0)
        if depth > 1:
            # What is nested belongs to the value of a member, until a comma at the outer level.
            expects = "value"
        elif token in _EXPECTED_AFTER:
            expects = _EXPECTED_AFTER[token]
        elif depth == 1 and token not in _DEPTH_CHANGES:
            is_text = token.startswith('"')
            if expects == "name" and is_text:
                name = _unescape(token)
            elif expects == "value" and (is_text or position + 1 < len(tokens)):
                yield name, _unescape(token) if is_text else token


def _unescape(token: str) -> str:
    """The text of a string that may not have ended; a part of an escape at its end is left out."""
    is_closed = len(token) > 1 and token.endswith('"') and _CLOSED.fullmatch(token) is not None
    body = token[1:-1] if is_closed else _whole_part(token[1:])
    with contextlib.suppress(ValueError):
        return str(json.loads(f'"{body}"', strict=False))
    return ""


def _whole_part(text: str) -> str:
    """The text without an escape, or a half of a pair, that may go on after its end."""
    whole = _WHOLE_ESCAPES.match(text)
    part = whole[0] if whole else ""
    half = _HALF_PAIR.search(part)
    return part[: half.start(1)] if half else part
