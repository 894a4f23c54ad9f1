"""JSON that servers send: parsed without loss, and scrubbed of keys and unpaired surrogates."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from lmflow.models.transport.masking import Mask

_TOO_DEEP = "it is nested too deep"
# Ends of a literal, a number or an escape that is cut in the middle.
_CUT_END = re.compile(
    r"t|tr|tru|f|fa|fal|fals|n|nu|nul|-|[.][0-9]*|[.]?[0-9]*[eE][+-]?|u[0-9a-fA-F]{0,4}"
)


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
        raise ValueError(_TOO_DEEP) from None


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
    """The JSON value with the secret masked (see ``Mask``), and unpaired surrogates replaced by
    ``?``, since no store could encode them. ``ValueError`` if the value is nested too deep to be
    stored.
    """
    try:
        return _scrub(value, Mask(secret))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def _scrub(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        return mask(value if value.isascii() else join_surrogates(value))
    if isinstance(value, list):
        return [_scrub(item, mask) for item in value]
    if isinstance(value, dict):
        return {_scrub(name, mask): _scrub(item, mask) for name, item in value.items()}
    return value


def join_surrogates(text: str) -> str:
    """The text with each surrogate pair as its character, and unpaired surrogates as ``?``.

    JSON escapes a character beyond U+FFFF as two surrogates, which may arrive in two pieces.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        pass
    else:
        return text
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return joined.encode("utf-8", "replace").decode("utf-8")


def is_cut_json(text: str) -> bool:
    """True if a text is the beginning of a JSON value whose end is missing.

    Some routers report such a reply as finished: only the text still shows that it was cut.
    """
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        pass  # only the standard library says where it stopped
    else:
        return False
    try:
        json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        rest = text[error.pos :]
        if error.msg.startswith("Unterminated string") or not rest.strip():
            return bool(text.strip())
        return _CUT_END.fullmatch(rest) is not None
    except (RecursionError, ValueError):
        return False
    return False


def token_count(value: Any) -> int | None:
    """A number of tokens, ``None`` if the value can't be one."""
    return value if type(value) is int and 0 <= value < 2**63 else None


def _refuse_constant(constant: str) -> float:
    msg = f"{constant} is not a number"
    raise ValueError(msg)


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _refuse_constant(number)
