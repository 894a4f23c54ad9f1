"""Parts of canonical forms: texts, forms that are made already, objects with a form; and hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

KEYED = "v1:hm:"
"""The beginning of a hash that is made with a secret key."""

text_form = json.encoder.encode_basestring_ascii
"""The canonical form of a text."""


class Form(str):
    """A canonical form that is part of a larger value: it is written unchanged."""

    __slots__ = ()


class Leaf:
    """A value that programs use unchanged, and that canonical forms hold as JSON values."""

    __slots__ = ()

    def json(self) -> Any:
        """The value in canonical forms, as JSON values."""
        raise NotImplementedError

    def __copy__(self) -> Leaf:
        return self

    def __deepcopy__(self, _: Any) -> Leaf:
        return self


class Unusual(Exception):
    """A value isn't made of JSON values alone: ``_long_form`` writes it, or says what is wrong."""


def sorted_names(names: Iterable[Any]) -> list[str]:
    """The names of fields, sorted. ``Unusual`` if one isn't a plain text."""
    for name in names:
        if type(name) is not str:
            raise Unusual
    return sorted(names)


def hash_text(kind: str, text: str) -> str:
    """The digest of a value whose canonical form is ``text``."""
    return "v1:b2:" + hash_bytes(kind, text).hex()


def hash_bytes(kind: str, text: str) -> bytes:
    """The bytes of the hash in the digest of a value whose canonical form is ``text``."""
    # The NUL byte ends the kind, which has none itself: no kind and form can be read as another
    # kind and form. Canonical forms are ASCII, so encoding can't fail or depend on a locale.
    return hashlib.blake2b(f"{kind}\0{text}".encode("ascii"), digest_size=32).digest()
