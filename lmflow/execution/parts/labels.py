"""Labels of examples in a run, which must differ, without holding them."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from lmflow.values.unicode import well_formed

_RECENT = 8192
"""The hashes that wait until they are sorted in."""


class Labels:
    """Labels examples one after the other by their ids, else by their positions.

    Ids are held as hashes of 8 bytes: two of a million are taken for one with a chance of 3 in 10
    to the power of 8. Positions are held only as a number.
    """

    def __init__(self) -> None:
        self._position = 0
        self._first_named: int | None = None
        self._names = _Hashes()

    def label(self, row: Mapping[str, Any]) -> str:
        """Return the label of the next example, ``ex[id]``.

        Raises:
            ValueError: Two examples have one id.
        """
        position, name = self._position, row.get("id")
        self._position += 1
        if name is None and self._first_named is None:
            return f"ex[{position}]"
        if self._first_named is None:
            self._first_named = position
        text = well_formed(str(position if name is None else name))
        if self._is_earlier_position(text) or not self._names.add(text):
            msg = (
                f"the example id {text!r} appears twice:"
                " ids label examples in the run, so they must differ"
            )
            raise ValueError(msg)
        return f"ex[{text}]"

    def _is_earlier_position(self, text: str) -> bool:
        """Tell whether a text is the position of an example before all that have ids."""
        first = self._first_named or 0
        return text.isdecimal() and text == str(int(text)) and int(text) < first


class _Hashes:
    """A set of texts as sorted arrays of hashes; each new array is merged with shorter ones."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._sorted: list[array[int]] = []

    def add(self, text: str) -> bool:
        """Add a text; ``False`` if it is there already."""
        digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
        number = int.from_bytes(digest, "big")
        if number in self._recent or any(_has(numbers, number) for numbers in self._sorted):
            return False
        self._recent.add(number)
        if len(self._recent) == _RECENT:
            self._sort_in()
        return True

    def _sort_in(self) -> None:
        numbers = sorted(self._recent)
        self._recent.clear()
        while self._sorted and len(self._sorted[-1]) <= len(numbers):
            numbers = sorted([*self._sorted.pop(), *numbers])
        self._sorted.append(array("Q", numbers))


def _has(numbers: array[int], number: int) -> bool:
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number
