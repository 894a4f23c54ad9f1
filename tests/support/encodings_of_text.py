"""The ways in which servers, proxies and pages write a text, by name."""

from __future__ import annotations

import base64
import html
import json
import quopri
from collections.abc import Callable
from urllib.parse import quote, quote_plus


def _unicode_escapes(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": json.dumps,
    "JSON with slashes escaped": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "unicode escapes": _unicode_escapes,
    "unicode escapes in capitals": lambda text: "".join(
        f"\\u{ord(character):04X}" for character in text
    ),
    "unicode escapes in JSON": lambda text: json.dumps(_unicode_escapes(text)),
    "every other escaped": lambda text: "".join(
        _unicode_escapes(character) if position % 2 else json.dumps(character)[1:-1]
        for position, character in enumerate(text)
    ),
    "percent": lambda text: quote(text, safe=""),
    "percent of a form": quote_plus,
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent throughout": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "HTML": html.escape,
    "HTML decimal": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "HTML hexadecimal": lambda text: "".join(f"&#x{ord(character):X};" for character in text),
    "Python": repr,
    "Python bytes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "quoted-printable": lambda text: (
        quopri.encodestring(text.encode()).decode().replace("=\n", "").rstrip("\n")
    ),
    "base64": _base64,
    "base64 of a header": lambda text: _base64(f"Bearer {text}, more"),
    "base64 of basic authentication": lambda text: _base64(f"me:{text}"),
    "base64 of URLs": lambda text: base64.urlsafe_b64encode(f"k:{text}".encode()).decode(),
    "base64 in a URL": lambda text: quote(_base64(text), safe=""),
    "base64 in JSON": lambda text: _base64(text).replace("/", "\\/"),
    "base64 in lines": lambda text: base64.encodebytes(f"{'word ' * 9}{text}".encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal in capitals": lambda text: text.encode().hex().upper(),
}
