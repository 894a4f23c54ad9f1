"""Policies that shorten long inputs and say in their place how much was left out."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import attrs

from lmflow.adapters.base import text_for_model
from lmflow.signatures.history import History, Turn

Keep = Literal["head", "tail", "both"]
Unit = Literal["characters", "tokens"]

_BYTES = 3  # a token; tokenizers take more of prose and code, and many of them each digit by itself
_DIGITS = frozenset("0123456789")
_LEAST = {"characters": 64, "tokens": 32}  # what the note of any text fits in
_WORD = 40  # how far a cut moves to stand between words


@attrs.frozen
class Cut:
    """Shortens an input that is too long, with a note of how much was left out.

    Args:
        most: Greatest length of what is shown, with the note: at least 64 characters or 32 tokens.
        keep: ``head``, ``tail`` (of a history: the newest turns) or ``both``, half of each.
        unit: ``characters``, or ``tokens`` by estimate: one for each digit and one for every 3
            other bytes of UTF-8, without a tokenizer.

    Raises:
        ValueError: ``most`` is too small, or ``keep`` or ``unit`` has another value.

    Example:
        >>> len(Cut(64).text("a long text, " * 100)) <= 64
        True
    """

    most: int
    keep: Keep = "head"
    unit: Unit = "characters"

    def __attrs_post_init__(self) -> None:
        for name, value, choices in (("keep", self.keep, _SHARES), ("unit", self.unit, _LEAST)):
            if value not in choices:
                msg = f"{name} is one of {', '.join(choices)}, found {value!r}"
                raise ValueError(msg)
        if self.most < _LEAST[self.unit]:
            msg = f"most must be at least {_LEAST[self.unit]} {self.unit}, found {self.most}"
            raise ValueError(msg)

    def size(self, text: str) -> int:
        """Measure a text in the unit.

        Args:
            text: Any text.

        Returns:
            Its length in characters or estimated tokens.
        """
        return math.ceil(self._cost(text) / self._scale)

    def text(self, text: str) -> str:
        """Shorten a text; it is cut between words if a space is near.

        Args:
            text: Any text.

        Returns:
            The text itself if it isn't too long, else its ends and the note.
        """
        total = self.size(text)
        if total <= self.most:
            return text
        reach = list(itertools.accumulate(self._costs(text)))
        room = self.most * self._scale - self._cost(f"\n{self._note(total, total)}\n")
        front, back = _SHARES[self.keep]
        start = _end_of_word(text, bisect.bisect_right(reach, room * front // 2))
        least = reach[-1] - room * back // 2
        stop = bisect.bisect_left(reach, least) + 1 if back else len(text)
        stop = _start_of_word(text, stop)
        note = self._note(self.size(text[start:stop]), total)
        return "\n".join(part for part in (text[:start], note, text[stop:]) if part)

    def items(self, items: Sequence[str]) -> tuple[str, ...]:
        """Shorten a list; each item is shown whole or left out.

        Args:
            items: Texts.

        Returns:
            All items if they aren't too long together, else those that fit, and the note.
        """
        return tuple(self._shorten(items, [self.size(item) for item in items], "items"))

    def turns(self, history: History) -> tuple[Turn | str, ...]:
        """Shorten a history; each turn is shown whole or left out.

        Args:
            history: Any history.

        Returns:
            All turns if they aren't too long together, else those that fit, and the note as a text.
        """
        sizes = [self._turn_size(turn) for turn in history.turns]
        return tuple(self._shorten(history.turns, sizes, "turns"))

    def value(self, value: Any) -> Any:
        """Shorten a text or a tuple of texts; any other value stays as it is.

        Args:
            value: The value of an input.

        Returns:
            The value as a message shows it.
        """
        if isinstance(value, str):
            return self.text(value)
        return self.items(value) if isinstance(value, tuple) else value

    def _turn_size(self, turn: Turn) -> int:
        values = (*turn.inputs.values(), *turn.outputs.values())
        return sum(self.size(text_for_model(value)) for value in values)

    def _shorten(self, things: Sequence[Any], sizes: Sequence[int], noun: str) -> Iterable[Any]:
        if sum(sizes) <= self.most:
            return things
        total = len(things)
        room = self.most - self.size(_left_out(total, total, noun))
        front, back = _SHARES[self.keep]
        start = _count_fitting(sizes, room * front // 2)
        stop = total - _count_fitting(sizes[:start:-1], room * back // 2)
        return (*things[:start], _left_out(stop - start, total, noun), *things[stop:])

    @property
    def _scale(self) -> int:
        return _BYTES if self.unit == "tokens" else 1

    def _cost(self, text: str) -> int:
        if self.unit == "characters":
            return len(text)
        digits = sum(map(text.count, _DIGITS))
        return len(text.encode("utf-8", "surrogatepass")) + (_BYTES - 1) * digits

    def _costs(self, text: str) -> Iterable[int]:
        """The cost of each character."""
        if self.unit == "characters":
            return itertools.repeat(1, len(text))
        return map(_character_cost, text)

    def _note(self, omitted: int, total: int) -> str:
        noun = "characters" if self.unit == "characters" else "estimated tokens"
        return _left_out(omitted, total, noun)


_SHARES: dict[str, tuple[int, int]] = {
    "head": (2, 0),
    "tail": (0, 2),
    "both": (1, 1),
}  # halves of the room


def _character_cost(character: str) -> int:
    """The cost of a character in tokens, a third of a token each."""
    return _BYTES if character in _DIGITS else len(character.encode("utf-8", "surrogatepass"))


def _left_out(omitted: int, total: int, noun: str) -> str:
    return f"[… {omitted:,} of {total:,} {noun} left out …]"


def _count_fitting(sizes: Iterable[int], room: int) -> int:
    """Count the first items that fit together."""
    return sum(1 for reach in itertools.accumulate(sizes) if reach <= room)


def _end_of_word(text: str, at: int) -> int:
    """The end of the last whole word before a position if it is near, else the position."""
    nearby = range(max(at - _WORD, 0), at + 1)
    ends = [end for end in nearby if text[end : end + 1].isspace()]
    return ends[-1] if ends and at < len(text) else at


def _start_of_word(text: str, at: int) -> int:
    """The start of the next whole word after a position if it is near, else the position."""
    nearby = range(at, min(at + _WORD, len(text)))
    starts = [start for start in nearby if text[start - 1 : start].isspace()]
    return starts[0] if starts and at else at
