"""Masks an API key in texts of servers, also if the server encoded it."""

from __future__ import annotations

import base64
import functools
import html.entities
import re
from collections.abc import Iterator

import attrs

MASK = "***"
SHORTEST_SECRET = 8
"""A shorter key is a placeholder: masking it by value would mangle ordinary words."""

_ESCAPES = "\\%&="
"""The characters that begin an escape in JSON, Python, URLs, HTML and quoted-printable text."""

_BACKSLASHES = tuple("\\" * count for count in (1, 2, 3, 4, 7, 8, 15, 16))
"""The backslashes before an escape in JSON, in JSON inside JSON, and in JSON inside that."""

_BREAK = re.compile(r"(?:\s|\\[rn])*")
"""Where a long hexadecimal or base64 text is wrapped into lines."""

_SAMPLE, _SAMPLES = 6, 4
"""How many digits of an encoded secret are looked for before its pattern is tried, and at how many
places, since a line break may split a sample.
"""

_OTHER_ALPHABET = {"+": "-", "/": "_"}
"""The digits of base64 that URLs write otherwise (RFC 4648, 5)."""

Units = tuple[tuple[str, ...], ...]
"""At each position of an encoded secret, the texts that may stand there."""


@attrs.frozen
class Mask:
    """Replaces a secret by ``***``, as it is or encoded.

    Encodings: JSON and Python escapes (also escaped again), percent-encoding (once or twice), HTML
    references, quoted-printable, hexadecimal digits and base64 (both alphabets, at any position
    within the encoded bytes, wrapped into lines or not).

    Attributes:
        secret: The secret; one of fewer than ``SHORTEST_SECRET`` characters is not masked.
    """

    secret: str = attrs.field(repr=False)

    @property
    def active(self) -> bool:
        """Whether the secret is long enough to be masked."""
        return len(self.secret) >= SHORTEST_SECRET

    def __call__(self, text: str) -> str:
        """Return the text with the secret masked."""
        if not self.active:
            return text
        text = text.replace(self.secret, MASK)
        for spelling in _spellings(self.secret):
            if any(sample in text for sample in spelling.samples):
                text = spelling.pattern.sub(MASK, text)
        return text

    def tail(self, text: str) -> int:
        """Return the length of the longest end of a text that may begin the secret.

        A stream holds this end back until the next piece shows whether the secret follows.
        """
        if not self.active:
            return 0
        return max(spelling.tail(text) for spelling in _spellings(self.secret))


@attrs.frozen
class _Spelling:
    """The ways to write a secret in one family of encodings.

    Attributes:
        units: The texts that may stand at each position.
        samples: Texts of which one stands in every text that holds the secret so written.
        pattern: Matches the whole secret.
        first: Matches a character that may begin the first unit.
        longest: The most characters that the secret takes, with as many line breaks.
    """

    units: Units
    samples: tuple[str, ...]
    pattern: re.Pattern[str]
    first: re.Pattern[str]
    longest: int

    def tail(self, text: str) -> int:
        """Return the length of the longest end of a text that may begin the secret."""
        start = max(0, len(text) - self.longest)
        for match in self.first.finditer(text, start):
            if self._may_begin(text, match.start()):
                return len(text) - match.start()
        return 0

    def _may_begin(self, text: str, start: int) -> bool:
        """Return whether the text from a position on is a proper beginning of the secret."""
        positions = {start}
        for unit in self.units:
            if len(text) in positions:
                return True
            following = set()
            for position in positions:
                for spelling in unit:
                    if text.startswith(spelling, position):
                        following.add(position + len(spelling))
                    elif spelling.startswith(text[position:]):
                        return True
            positions = following | {_after_break(text, position) for position in following}
        return False


def _after_break(text: str, position: int) -> int:
    line_break = _BREAK.match(text, position)
    return line_break.end() if line_break else position


@functools.lru_cache(maxsize=64)
def _spellings(secret: str) -> tuple[_Spelling, ...]:
    """Return the spellings of a secret. They are worked out once, for they see every reply."""
    content = secret.encode("utf-8", "replace")
    recoded = [content.hex(), content.hex().upper(), *_base64_cores(content)]
    return (
        _spelling(tuple(map(_escapes_of, secret)), tuple(_ESCAPES), ""),
        *(
            _spelling(tuple(map(_base64_digits_like, digits)), _samples(digits), _BREAK.pattern)
            for digits in recoded
        ),
    )


def _spelling(units: Units, samples: tuple[str, ...], between: str) -> _Spelling:
    alternatives = [f"(?:{'|'.join(map(re.escape, unit))})" for unit in units]
    return _Spelling(
        units,
        samples,
        re.compile(between.join(alternatives)),
        re.compile(f"[{re.escape(''.join({text[0] for text in units[0]}))}]"),
        2 * sum(max(map(len, unit)) for unit in units),
    )


def _samples(digits: str) -> tuple[str, ...]:
    """Return pieces of the digits that every encoding leaves as they are, spread over them."""
    pieces = re.findall(rf"[0-9A-Za-z]{{4,{_SAMPLE}}}", digits)
    return tuple(pieces[:: -(-len(pieces) // _SAMPLES)]) if pieces else ("",)


def _escapes_of(character: str) -> tuple[str, ...]:
    """Return the ways to write a character in texts that escape it, the character itself first."""
    code = ord(character)
    percent = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "replace"))
    names = [name for name, text in html.entities.html5.items() if text == character]
    escapes = [f"u{code:04x}", f"x{code:02x}", f"{code:03o}"]
    marked = [
        *(slashes + escape for slashes in _BACKSLASHES for escape in escapes),
        percent,
        percent.replace("%", "%25"),
        percent.replace("%", "="),
        *(f"&#{'0' * zeros}{code};" for zeros in range(3)),
        *(f"&#x{'0' * zeros}{code:x};" for zeros in range(3)),
        *(f"&{name}" for name in names if name.endswith(";")),
    ]
    quoted = [slashes + character for slashes in _BACKSLASHES]
    return tuple(dict.fromkeys([character, *quoted, *marked, *map(_with_upper_digits, marked)]))


def _with_upper_digits(escape: str) -> str:
    return re.sub(r"(?<=[%=xu])[0-9a-f]+", lambda digits: digits[0].upper(), escape)


def _base64_digits_like(digit: str) -> tuple[str, ...]:
    """Return the ways to write a digit: in both alphabets of base64, escaped or not."""
    if digit not in _OTHER_ALPHABET:
        return (digit,)
    return (_OTHER_ALPHABET[digit], *_escapes_of(digit))


def _base64_cores(content: bytes) -> Iterator[str]:
    """Yield the base64 digits that depend on the content alone, for each offset of its first byte.

    Three bytes are four digits (RFC 4648, 4), so the length of what precedes the content shifts
    its digits in one of three ways.
    """
    for offset in range(3):
        digits = base64.b64encode(bytes(offset) + content).decode("ascii")
        yield digits[-(-offset * 8 // 6) : (offset + len(content)) * 8 // 6]
