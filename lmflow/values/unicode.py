"""Text as valid Unicode, which each store, server and terminal can encode."""

from __future__ import annotations


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
