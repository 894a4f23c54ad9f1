"""Two texts compared by lines, and by words within the lines that differ."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import attrs

LONGEST = 4000

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")


PieceKind = Literal["equal", "insert", "delete"]
Mark = Callable[[PieceKind, str], str]
"""Writes a stretch of text of a kind."""


@attrs.frozen
class Piece:
    """A stretch of text that both sides have, or only the later (insert) or the earlier one
    (delete).
    """

    kind: PieceKind
    text: str


def word_diff(before: str, after: str) -> tuple[Piece, ...]:
    """The pieces that lead from one text to the other: without the inserts they are ``before``,
    without the deletes ``after``.

    Lines are compared first, then the words of lines that differ. A word is a run of letters and
    digits, a run of white space, or a mark; white space alone never parts two changes. Lines of
    more than ``LONGEST`` words in a row are one delete and one insert.
    """
    pieces: list[Piece] = []
    for removed, added in _blocks(before, after):
        pieces += _block_pieces(removed, added)
    runs = itertools.groupby(pieces, _kind_of)
    return tuple(Piece(kind, "".join(piece.text for piece in run)) for kind, run in runs)


def _kind_of(piece: Piece) -> PieceKind:
    return piece.kind


def changed_lines(before: str, after: str) -> str:
    """Only the lines that differ, marked as by ``mark_changes``: ``[-gone-]{+new+}``."""
    parts = []
    for removed, added in _blocks(before, after):
        if removed != added:
            parts.append("".join(map(_mark, _without_end(_block_pieces(removed, added)))))
    return "\n".join(parts)


def side(pieces: Iterable[Piece], kind: Literal["insert", "delete"]) -> str:
    """The earlier text (``delete``) or the later one (``insert``) of the pieces."""
    return "".join(piece.text for piece in pieces if piece.kind in {"equal", kind})


def mark_changes(pieces: Iterable[Piece], keep: int = 60, mark: Mark | None = None) -> str:
    """The pieces as text, ``[-gone-]{+new+}`` unless ``mark`` writes them in another way; text that
    both sides have is cut to ``keep`` characters before and after each change.
    """
    pieces = list(pieces)
    last = len(pieces) - 1
    parts = []
    for place, piece in enumerate(pieces):
        shown = piece
        if piece.kind == "equal":
            head, tail = (0 if place == 0 else keep), (0 if place == last else keep)
            shown = Piece("equal", elide(piece.text, head, tail))
        parts.append(_mark(shown) if mark is None else mark(shown.kind, shown.text))
    return "".join(parts)


def elide(text: str, head: int, tail: int) -> str:
    """The text without the stretch between its first ``head`` and last ``tail`` characters, if that
    is shorter.
    """
    if len(text) <= head + tail + 5:
        return text
    return f"{text[:head]} … {text[len(text) - tail :]}"


def _blocks(before: str, after: str) -> Iterator[tuple[str, str]]:
    """The texts cut into stretches of lines that are equal and stretches that differ, in turn."""
    a, b = before.splitlines(keepends=True), after.splitlines(keepends=True)
    for _, a1, a2, b1, b2 in _opcodes(a, b):
        yield "".join(a[a1:a2]), "".join(b[b1:b2])


def _block_pieces(before: str, after: str) -> list[Piece]:
    if before == after:
        return [Piece("equal", before)]
    # The end of the last line stays outside the comparison: else it could be taken for the end of
    # an earlier line, and whole lines would be marked one line break off.
    end = "\n" if before.endswith("\n") and after.endswith("\n") else ""
    pieces = _word_pieces(before.removesuffix(end), after.removesuffix(end))
    return [*pieces, Piece("equal", end)] if end else pieces


def _without_end(pieces: list[Piece]) -> list[Piece]:
    """The pieces without the end of the last line, which both sides may have on their own."""
    replaced = [piece.kind for piece in pieces[-2:]] == ["delete", "insert"]
    tail = 2 if replaced else 1
    ends = [Piece(piece.kind, piece.text.removesuffix("\n")) for piece in pieces[-tail:]]
    return [*pieces[:-tail], *(piece for piece in ends if piece.text)]


def _word_pieces(before: str, after: str) -> list[Piece]:
    a, b = _TOKEN.findall(before), _TOKEN.findall(after)
    if max(len(a), len(b)) > LONGEST:
        return _changed(before, after)
    pieces: list[Piece] = []
    removed = added = gap = ""
    for tag, a1, a2, b1, b2 in _opcodes(a, b):
        text = "".join(a[a1:a2])
        if tag != "equal":
            removed, added, gap = removed + gap + text, added + gap + "".join(b[b1:b2]), ""
        elif (removed or added) and text.isspace() and "\n" not in text:
            gap = text
        else:
            pieces += [*_changed(removed, added), Piece("equal", text)]
            removed = added = ""
    pieces += _changed(removed, added)
    return [*pieces, Piece("equal", gap)] if gap else pieces


def _opcodes(a: Sequence[str], b: Sequence[str]) -> Sequence[tuple[str, int, int, int, int]]:
    return difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()


def _changed(removed: str, added: str) -> list[Piece]:
    pieces = [Piece("delete", removed), Piece("insert", added)]
    return [piece for piece in pieces if piece.text]


def _mark(piece: Piece) -> str:
    match piece.kind:
        case "delete":
            return f"[-{piece.text}-]"
        case "insert":
            return f"{{+{piece.text}+}}"
        case "equal":
            return piece.text
