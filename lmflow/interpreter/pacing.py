"""The pace at which a streamed reply is read: seldom enough that a long one costs linear time."""

from __future__ import annotations

from lmflow.adapters.thinking import has_signs
from lmflow.interpreter.partial import MarkerReader, Partial, Reader

_OFTEN = {"text": 65_536, "anew": 2_048}
"""Characters up to which each piece is read at once: of a reader that reads text as it comes, and
of one that reads the whole text anew.
"""
_SHARE = {"text": 256, "anew": 64}
"""From then on pieces wait until they are one such part of the text before them."""
_LONGEST_SIGN = 40


class PacedReader:
    """A reader that takes the pieces of a long reply several at a time.

    A reader looks at all of the text so far. Read after each of its pieces, a reply of ``n`` pieces
    would take time in ``n**2``; so the longer it is, the more pieces are read at once. The partials
    put together are the same.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._waiting: list[str] = []
        self._waiting_length = 0
        self._read_length = 0
        self._is_text = isinstance(reader, MarkerReader)

    def feed(self, piece: str, *, last: bool = False) -> tuple[Partial, ...]:
        """Take one more piece; after the ``last`` nothing is held back."""
        self._waiting.append(piece)
        self._waiting_length += len(piece)
        if not last and self._waiting_length < self._least:
            return ()
        text = "".join(self._waiting)
        self._waiting, self._waiting_length = [], 0
        self._read_length += len(text)
        self.reader, partials = self.reader.feed(text, last=last)
        # A text with signs of thinking is read anew each time.
        if self._is_text and has_signs(self.reader.text[-len(text) - _LONGEST_SIGN :]):
            self._is_text = False
        return partials

    @property
    def _least(self) -> int:
        """The characters that are read at once by now."""
        kind = "text" if self._is_text else "anew"
        return 0 if self._read_length < _OFTEN[kind] else self._read_length // _SHARE[kind]
