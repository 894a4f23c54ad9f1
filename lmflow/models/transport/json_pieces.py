"""JSON that arrives in pieces, and whether it is a whole object by now."""

from __future__ import annotations

import json
import re

_MARK = re.compile(r'["\\{}\[\]]')


class JsonPieces:
    """A text of JSON that arrives in pieces.

    Whether it is a whole object is asked after each piece, so each piece is looked at once: the
    text is parsed at most once, when its brackets are first closed.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._depth = 0
        self._in_string = self._escaped = False
        self._is_object: bool | None = None
        self._is_broken = False
        self.is_begun = False
        """Whether there is more than space."""

    def __bool__(self) -> bool:
        return self._length > 0

    @property
    def text(self) -> str:
        """The text so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def is_object(self) -> bool:
        """Whether the text so far is a JSON object."""
        is_open = self._depth != 0 or self._in_string or not self.is_begun
        if self._is_broken or is_open:
            return False
        if self._is_object is None:
            self._is_object = _is_object(self.text)
        return self._is_object

    def equals(self, text: str) -> bool:
        """Tell whether the text so far is another one."""
        return self._length == len(text) and self.text == text

    def add(self, piece: str) -> None:
        """Add a piece."""
        if self._is_object is not None and piece.strip():
            self._is_broken = True  # more text after brackets that were closed
        self._pieces.append(piece)
        self._length += len(piece)
        self.is_begun = self.is_begun or bool(piece.strip())
        if not self._is_broken:
            self._scan(piece)

    def _scan(self, piece: str) -> None:
        """Follow the brackets and strings of one more piece."""
        position = 0
        if self._escaped and piece:
            position, self._escaped = 1, False
        while mark := _MARK.search(piece, position):
            position = mark.end()
            if mark[0] == '"':
                self._in_string = not self._in_string
            elif mark[0] == "\\":
                self._escaped = self._in_string and position == len(piece)
                position += self._in_string
            elif not self._in_string:
                self._depth += 1 if mark[0] in "{[" else -1


def _is_object(text: str) -> bool:
    if not text.rstrip().endswith("}"):
        return False
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True
