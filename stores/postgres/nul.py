"""Texts with the character NUL, which PostgreSQL refuses: they are stored with signs in its place.

The signs are characters that Unicode sets aside for the use inside of programs.
"""

from __future__ import annotations

_MARK = "\ufdd0"
_ITSELF, _NUL = f"{_MARK}\ufdd1", f"{_MARK}\ufdd2"


def escaped(text: str) -> str:
    """Return a text as it is stored; almost every text is stored as it is."""
    if "\0" not in text and _MARK not in text:
        return text
    return text.replace(_MARK, _ITSELF).replace("\0", _NUL)


def unescaped(text: str) -> str:
    """Return the text that is stored so."""
    if _MARK not in text:
        return text
    return text.replace(_NUL, "\0").replace(_ITSELF, _MARK)
