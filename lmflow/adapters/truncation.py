"""Policies that shorten long inputs, visibly: where, by how much, and what was left out."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import attrs

from lmflow.adapters.base import shown
from lmflow.signatures.history import History, Turn

Keep = Literal["head", "tail", "both"]
Unit = Literal["characters", "tokens"]

_BYTES = 3  # a token; tokenizers take more of prose and code, and many of them each digit by itself
_DIGITS = frozenset("0123456789")
_LEAST = {"characters": 64, "tokens": 32}  # what the marker of any text fits in
_WORD = 40  # how far a cut moves to stand between words


@attrs.frozen
class Cut:
    """How an input that is longer than ``most`` is shortened: which end is kept, and the marker
    says what is gone.

    ``keep`` is ``head``, ``tail`` (of a history: the newest turns) or ``both``, half of each.
    ``unit`` is ``characters``, or ``tokens`` by estimate: one for each digit and for every 3 other
    bytes of UTF-8, no tokenizer asked. What is shown, with its marker, is never longer than
    ``most``: at least 64 characters or 32 tokens, else ``ValueError``.
    """

    most: int
    keep: Keep = "head"
    unit: Unit = "characters"

    def __attrs_post_init__(self) -> None:
        for name, found, known in (("keep", self.keep, _SHARES), ("unit", self.unit, _LEAST)):
            if found not in known:
                msg = f"{name} is one of {', '.join(known)}, found {found!r}"
                raise ValueError(msg)
        if self.most < _LEAST[self.unit]:
            msg = f"most must be at least {_LEAST[self.unit]} {self.unit}, found {self.most}"
            raise ValueError(msg)

    def size(self, text: str) -> int:
        """How long a text is, in the unit."""
        return -(-self._cost(text) // self._scale)

    def text(self, text: str) -> str:
        """The text, if it isn't too long; else its ends, between words where there are some, and
        the marker.
        """
        if (total := self.size(text)) <= self.most:
            return text
        reach = list(itertools.accumulate(self._costs(text)))
        room = self.most * self._scale - self._cost(f"\n{self._marker(total, total)}\n")
        front, back = _SHARES[self.keep]
        start = _before(text, bisect.bisect_right(reach, room * front // 2))
        least = reach[-1] - room * back // 2
        stop = _after(text, bisect.bisect_left(reach, least) + 1 if back else len(text))
        gone = self._marker(self.size(text[start:stop]), total)
        return "\n".join(part for part in (text[:start], gone, text[stop:]) if part)

    def items(self, items: Sequence[str]) -> tuple[str, ...]:
        """The items, if they aren't too long together; else those that fit, whole, and the marker
        in their place.
        """
        return tuple(self._kept(items, [self.size(item) for item in items], "items"))

    def turns(self, history: History) -> tuple[Turn | str, ...]:
        """The turns of a history, if they aren't too long together; else those that fit, and the
        marker in place of the others.
        """
        sizes = [
            sum(
                self.size(shown(value))
                for side in (turn.inputs, turn.outputs)
                for value in side.values()
            )
            for turn in history.turns
        ]
        return tuple(self._kept(history.turns, sizes, "turns"))

    def value(self, value: Any) -> Any:
        """A text or texts, shortened; anything else (a history, nothing) as it is."""
        if isinstance(value, str):
            return self.text(value)
        return self.items(value) if isinstance(value, tuple) else value

    def _kept(self, things: Sequence[Any], sizes: Sequence[int], noun: str) -> Iterable[Any]:
        if sum(sizes) <= self.most:
            return things
        total = len(things)
        room = self.most - self.size(_left_out(total, total, noun))
        front, back = _SHARES[self.keep]
        start = _fitting(sizes, room * front // 2)
        stop = total - _fitting(sizes[:start:-1], room * back // 2)
        return (*things[:start], _left_out(stop - start, total, noun), *things[stop:])

    @property
    def _scale(self) -> int:
        return _BYTES if self.unit == "tokens" else 1

    def _cost(self, text: str) -> int:
        if self.unit == "characters":
            return len(text)
        return len(text.encode("utf-8", "surrogatepass")) + (_BYTES - 1) * sum(
            map(text.count, _DIGITS)
        )

    def _costs(self, text: str) -> Iterable[int]:
        """The cost of each character."""
        if self.unit == "characters":
            return itertools.repeat(1, len(text))
        return (
            _BYTES if char in _DIGITS else len(char.encode("utf-8", "surrogatepass"))
            for char in text
        )

    def _marker(self, gone: int, total: int) -> str:
        return _left_out(
            gone, total, self.unit if self.unit == "characters" else "estimated tokens"
        )


_SHARES: dict[str, tuple[int, int]] = {
    "head": (2, 0),
    "tail": (0, 2),
    "both": (1, 1),
}  # halves of the room


def _left_out(gone: int, total: int, noun: str) -> str:
    return f"[… {gone:,} of {total:,} {noun} left out …]"


def _fitting(sizes: Iterable[int], room: int) -> int:
    """How many of the first fit together."""
    return sum(1 for reach in itertools.accumulate(sizes) if reach <= room)


def _before(text: str, at: int) -> int:
    """The place, or the end of the last whole word before it where that is near."""
    near = [
        place for place in range(max(at - _WORD, 0), at + 1) if text[place : place + 1].isspace()
    ]
    return near[-1] if near and at < len(text) else at


def _after(text: str, at: int) -> int:
    """The place, or the beginning of the next whole word where that is near."""
    near = [
        place
        for place in range(at, min(at + _WORD, len(text)))
        if text[place - 1 : place].isspace()
    ]
    return near[0] if near and at else at
