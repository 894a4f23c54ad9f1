"""JSON in texts of others: files, which are strict, and replies of models, where a value is bare,
fenced, amid prose, or slightly broken.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

_FENCE = re.compile(r"```[\w-]*[ \t]*\n?(.*?)```", re.DOTALL)
_OPEN = re.compile(
    r"""\{\s*(?:["'}/]|\w+\s*:)  # an object with a key, a comment, or nothing
    | \[(?!\[[ \t#]*[A-Za-z_]\w*[ \t#]*\]\])  # a list, no section marker
      \s*(?:["'{\[\]]|-?\d|true\b|false\b|null\b)""",
    re.VERBOSE,
)
_MOST_FENCES = 1000
_MOST_VALUES = 1000
"""Values amid prose that are looked at: no reply has its outputs after so many others."""

_MOST_READS = 100_000
"""The most characters and slices of a broken text that may be read to mend it, each as often as it
is read. Ordinary mending reads each character three times; texts that repeat an opening are read
quadratically often. A count gives the same answer in each replay, which a clock would not.
"""

_SHORT, _MOST_READS_OF_SHORT = 8_000, 30_000
"""A text of so few characters is mended in the event loop, where all other calls wait for it."""


def parse(text: str) -> Any:
    """The JSON value of a text. ``ValueError`` says why there is none, also if the JSON is nested
    too deeply or has a number that is too long for Python.
    """
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError:
        raise
    except RecursionError:
        msg = "it is nested too deeply"
        raise ValueError(msg) from None
    except ValueError:
        msg = "it has a number of more than 4,300 digits"
        raise ValueError(msg) from None


def load_strict(text: str) -> Any:
    """The JSON value that a text is. ``ValueError`` if it is anything else: nothing is mended."""
    return _strict(text.strip())


def load_unambiguous(text: str) -> Any:
    """The JSON value that a text is, as ``load_strict``. ``ValueError`` also if an object in the
    text has a member twice, with different values.
    """
    value = _strict(text.strip())
    if (name := repeated_member(text)) is not None:
        msg = f"it has the member {name[:80]!r} twice, with different values"
        raise ValueError(msg)
    return value


def repeated_member(text: str) -> str | None:
    """The name of a member that an object in a text of JSON and prose has twice, with different
    values; ``None`` if there is none. A reader of the JSON sees one of the values alone.
    """
    names: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for name, value in pairs:
            if name in members and members[name] != value:
                names.append(name)
            members[name] = value
        if isinstance(inner := members.get("arguments"), str):  # JSON within JSON
            names.extend(filter(None, [repeated_member(inner)]))
        return members

    decoder = json.JSONDecoder(strict=False, object_pairs_hook=note)
    position = 0
    for _ in range(_MOST_VALUES):
        if names or (match := _OPEN.search(text, position)) is None:
            break
        try:
            position = decoder.raw_decode(text, match.start())[1]
        except (ValueError, RecursionError):
            break
    return names[0] if names else None


def load(text: str, *, whole: bool = True) -> Any:
    """The first JSON value that ``candidates`` reads. ``ValueError`` if the text holds none."""
    return next(candidates(text, whole=whole))


def candidates(text: str, *, whole: bool = True) -> Iterator[Any]:
    """The JSON values that a text may hold: the whole text, the text in each code fence, and the
    objects and lists amid prose, in this order.

    A broken value is mended (quotes, commas, comments, a missing end) and ends the search, since
    any value after its beginning may be a part of it. A text that was cut (``whole`` is false) is
    not mended: more than punctuation is missing. The iterator ends with a ``ValueError`` that says
    why there is no other value.
    """
    for candidate in (text, *_fenced(text)):
        with contextlib.suppress(ValueError):
            yield _strict(candidate)
    position = 0
    for _ in range(_MOST_VALUES):
        if (match := _OPEN.search(text, position)) is None:
            break
        try:
            value, position = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            yield _mended(text[match.start() :], whole=whole)
            break
        yield value
    _strict(text.strip())
    msg = f"there is no other JSON in {text[:80]!r}"
    raise ValueError(msg)


def _fenced(text: str) -> Iterator[str]:
    """Yield the texts in the first code fences of a text."""
    for fence in itertools.islice(_FENCE.finditer(text), _MOST_FENCES):
        yield fence[1].strip()


def _strict(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        msg = f"{text[:80]!r} is no JSON ({error.msg.lower()})"
        raise ValueError(msg) from None
    except RecursionError:
        msg = "the JSON is nested too deeply"
        raise ValueError(msg) from None
    except ValueError as error:
        if "digits" not in str(error):
            raise
        msg = "the JSON has a number of more than 4,300 digits"
        raise ValueError(msg) from None


def _not_finite(name: str) -> Any:
    msg = f"{name} is no JSON number"
    raise ValueError(msg)


_DECODER = json.JSONDecoder(parse_constant=_not_finite, strict=False)


def _mended(text: str, *, whole: bool) -> Any:
    if not whole:
        msg = "its JSON is broken, or was cut off before its end"
        raise ValueError(msg)
    from json_repair import repair_json  # noqa: PLC0415 - only a broken reply needs it

    try:
        value = _strict(str(repair_json(_CountedText.of(text))))
    except Exception:  # noqa: BLE001 - of what it can't mend, json_repair raises many things
        value = None
    if not isinstance(value, dict | list):
        msg = f"{text[:80]!r} is no JSON"
        raise ValueError(msg)  # noqa: TRY004 - one kind of problem for who reads a reply
    return value


class _CountedText(str):
    """A text that may be read a bounded number of times; then each read raises ``ValueError``.

    Its slices and concatenations count together with it.
    """

    __slots__ = ("most", "reads")

    most: int
    reads: list[None]

    @classmethod
    def of(cls, text: str, whole: _CountedText | None = None) -> _CountedText:
        """Return a text whose reads count as those of the whole that it is a part of, if any."""
        counted = cls(text)
        counted.reads = [] if whole is None else whole.reads
        is_short = len(text) <= _SHORT
        most = _MOST_READS_OF_SHORT if is_short else _MOST_READS
        counted.most = most if whole is None else whole.most
        return counted

    def __getitem__(self, index: Any) -> str:
        self.reads.append(None)
        if len(self.reads) > self.most:
            msg = "the text takes too long to be mended"
            raise ValueError(msg)
        part = str.__getitem__(self, index)
        return _CountedText.of(part, self) if isinstance(index, slice) else part

    def __add__(self, other: str) -> str:
        return _CountedText.of(str.__add__(self, other), self)

    def __radd__(self, other: str) -> str:
        return _CountedText.of(str.__add__(other, self), self)
