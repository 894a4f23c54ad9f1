"""The place of a store in PostgreSQL: its URL, and the name in messages, which has no password."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import attrs

from lmflow.errors import StoreError

SCHEMES = ("postgresql", "postgres")
SCHEMA = "lmflow"
"""The schema of the tables, unless the URL names another: ``?schema=NAME``."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,40}")
_FORM = "Write postgresql://USER@HOST:PORT/DATABASE; the password may stand in PGPASSWORD."
_QUOTED = "In a user or a password write @ as %40, / as %2F, ? as %3F and # as %23."


@attrs.frozen(repr=False)
class Location:
    """The place of a store.

    Args:
        url: The URL for the driver; it may have a password.
        name: The URL without the password, for messages.
        schema: The schema of the tables.
        secrets: The texts that no message may show.
    """

    url: str
    name: str
    schema: str
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Location({self.name!r})"

    def clean(self, error: object) -> str:
        """Return the words of an error on one line, without passwords."""
        words = " ".join(str(error).split())
        for secret in self.secrets:
            words = words.replace(secret, "***")
        return words


def location(url: str) -> Location:
    """Read the URL of a store.

    Raises:
        StoreError: If it can't be read.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise StoreError("postgresql://...", "its URL can't be read", _FORM) from None
    if parts.scheme not in SCHEMES:
        fix = f"{_FORM} A file is named by its path."
        label = f"{parts.scheme}:..." if parts.scheme or "@" in url else url
        raise StoreError(label, "it isn't the URL of a PostgreSQL database", fix)
    # Where a password has one of these characters, the rest of it would be read as something else,
    # and shown.
    if parts.netloc.count("@") > 1 or "@" in parts.path + parts.query + parts.fragment:
        raise StoreError("postgresql://...", "it has an @ too many", _QUOTED)
    options = parse_qsl(parts.query, keep_blank_values=True)
    schema = dict(options).get("schema", SCHEMA)
    shown = [(key, value) for key, value in options if not _is_secret(key)]
    name = urlunsplit(
        (parts.scheme, _without_password(parts.netloc), parts.path, urlencode(shown), "")
    )
    if not _NAME.fullmatch(schema):
        problem = f"{schema!r} can't be the name of a schema"
        raise StoreError(
            name, problem, "Write it with small letters, digits and _: ?schema=lmflow."
        )
    given = [(key, value) for key, value in options if key != "schema"]
    driver = urlunsplit(
        (parts.scheme, parts.netloc, parts.path, urlencode(given, quote_via=quote), "")
    )
    secrets = [value for key, value in options if _is_secret(key)]
    if parts.password:
        secrets += [parts.password, unquote(parts.password)]
    return Location(driver, name, schema, tuple(filter(None, dict.fromkeys(secrets))))


def _is_secret(option: str) -> bool:
    return "password" in option.lower()


def _without_password(place: str) -> str:
    user, at, host = place.rpartition("@")
    return f"{user.partition(':')[0]}{at}{host}"
