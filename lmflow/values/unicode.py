"""Text as valid Unicode, which each store, server and terminal can encode."""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    """The text without lone surrogates: two halves that fit become their character, any other half
    becomes U+FFFD. Valid text is returned unchanged.

    Texts that leave lmflow (messages, texts to embed) and texts that a store keeps as such
    (replies, notes, labels) are made so. Values keep lone surrogates, which their canonical form
    escapes: so they are stored and replayed unchanged.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def escape_surrogates(json_text: str) -> str:
    """JSON text with lone surrogates as the escapes that JSON has for them, so that it can be
    encoded and is read back as the same value.
    """
    if json_text.isascii():
        return json_text
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", json_text)
