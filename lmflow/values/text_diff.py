"""Two texts compared word by word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

LONGEST = 4000

_TOKEN = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")


@attrs.frozen
class Piece:
    """A stretch of text that both sides have, or only the later (insert) or the earlier one
    (delete).
    """

    kind: Literal["equal", "insert", "delete"]
    text: str


def word_diff(before: str, after: str) -> tuple[Piece, ...]:
    """The pieces that lead from one text to the other: without the inserts they are ``before``,
    without the deletes ``after``.

    A token is a word or a mark with the white space after it; texts of more than ``LONGEST`` tokens
    go by lines.
    """
    a, b = _tokens(before), _tokens(after)
    if max(len(a), len(b)) > LONGEST:
        a, b = before.splitlines(keepends=True), after.splitlines(keepends=True)
    pieces: list[Piece] = []
    for tag, a1, a2, b1, b2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(Piece("equal", "".join(a[a1:a2])))
            continue
        pieces += _changed(a[a1:a2], b[b1:b2])
    return tuple(pieces)


def side(pieces: Iterable[Piece], kind: Literal["insert", "delete"]) -> str:
    """The earlier text (``delete``) or the later one (``insert``) that the pieces were made from."""
    return "".join(piece.text for piece in pieces if piece.kind in {"equal", kind})


def marked(pieces: Iterable[Piece], keep: int = 60) -> str:
    """The pieces as text, ``[-gone-]{+new+}``; what both have is cut to ``keep`` characters beside
    each change.
    """
    found = list(pieces)
    last = len(found) - 1
    return "".join(_mark(piece, keep, at == 0, at == last) for at, piece in enumerate(found))


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _changed(gone: Sequence[str], new: Sequence[str]) -> list[Piece]:
    sides: tuple[tuple[Literal["delete", "insert"], Sequence[str]], ...] = (
        ("delete", gone),
        ("insert", new),
    )
    return [Piece(kind, "".join(tokens)) for kind, tokens in sides if tokens]


def _mark(piece: Piece, keep: int, first: bool, last: bool) -> str:  # noqa: FBT001 - where it stands
    if piece.kind == "delete":
        return f"[-{piece.text}-]"
    if piece.kind == "insert":
        return f"{{+{piece.text}+}}"
    return elided(piece.text, 0 if first else keep, 0 if last else keep)


def elided(text: str, head: int, tail: int) -> str:
    """The text without what lies between its first ``head`` and last ``tail`` characters, where
    that is shorter.
    """
    if len(text) <= head + tail + 5:
        return text
    return f"{text[:head]} … {text[len(text) - tail :]}"
