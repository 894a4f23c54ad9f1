"""The root of the error tree, and the words of errors: templates and the phrases in them."""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

_EMOJI = "\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_JOINING_SCRIPTS = (
    "\u0620-\u06dc\u06de-\u070e\u0710-\u086f\u08a0-\u08e1\u08e3-\u0dff\u1000-\u109f\u1780-\u180a"
)
"""Letters of Arabic, Syriac, the scripts of India, Burmese, Khmer and Mongolian."""

HIDDEN = (
    "(?:[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e"
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0001-\U000e007f]"
    f"|(?!(?<=[{_EMOJI}\ufe0f\u20e3])\u200d(?=[{_EMOJI}])"
    f"|(?<=[{_JOINING_SCRIPTS}])[\u200c\u200d](?=[{_JOINING_SCRIPTS}]))[\u200c\u200d])"
)
"""The characters that no terminal, page or log may get of a text from outside: controls but line
ends and tabs, formats such as those of bidirectional text, and halves of surrogate pairs. Joiners
stay where writing needs them: within an emoji, and between letters of scripts that join.
"""
_HIDDEN = re.compile(HIDDEN)


def visible(text: str) -> str:
    """The text with each of the ``HIDDEN`` characters replaced by U+FFFD."""
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def near(name: str, known: Iterable[str]) -> str:
    """The words " Did you mean 'x'?" if ``name`` is nearly one of ``known``, else an empty text."""
    matches = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def listed(names: Iterable[str]) -> str:
    """Names as a person lists them, quoted as code."""
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def short(name: str) -> str:
    """The first 12 hex digits of a digest; any other text unchanged."""
    return name.removeprefix("v1:b2:")[:12] if name.startswith("v1:b2:") else name


def clipped(text: str, width: int = 80) -> str:
    """The text on one line of at most ``width`` characters."""
    line = flat(text)
    return line if len(line) <= width else f"{line[: width - 1]}…"


def flat(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())


def safe_repr(value: object) -> str:
    """The ``repr`` of a value; its type, if Python can't write the value: a number is too long, or
    the nesting too deep.
    """
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"


def check_kind(expected: str, value: object, kind: type, fix: str) -> None:
    """Raise ``TypeError`` unless the value is of the kind; ``expected`` names that kind for people,
    ``fix`` says how to mend the call.
    """
    if not isinstance(value, kind):
        found = f"{type(value).__name__} {clipped(safe_repr(value), 60)}"
        msg = f"expected {expected}, found {found}. {fix}"
        raise TypeError(msg)


def _then(items: Iterable[str]) -> str:
    """Tell what happened on each attempt, in order."""
    return "; then ".join(items)


def _spaced(text: str) -> str:
    """The text after a space; an empty text stays empty."""
    return f" {text}" if text else ""


_FORMS: Mapping[str, Callable[[Any], str]] = {
    "clipped": clipped,
    "flat": flat,
    "listed": listed,
    "short": short,
    "spaced": _spaced,
    "then": _then,
}


class _Words(string.Formatter):
    """Fills a template from an error's attributes: ``{known:listed}`` writes its ``known`` in the
    form that is called ``listed``.
    """

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002 - the signature of string.Formatter
        return getattr(args[0], str(key))

    def format_field(self, value: Any, format_spec: str) -> str:
        form = _FORMS.get(format_spec)
        return form(value) if form else format(value, format_spec)


_WORDS = _Words()


class LmflowError(Exception):
    """The root of the tree: catch it to catch everything that lmflow raises on purpose.

    An error class is its fields and a ``template``: what was found, what was expected, and the fix.
    """

    template: ClassVar[str] = ""

    def __str__(self) -> str:
        if not self.template:
            return visible(Exception.__str__(self))
        return visible(_WORDS.vformat(self.template, (self,), {}))
