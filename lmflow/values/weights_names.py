"""Names of models with trained weights: ``local/smollm2-135m+lora:SHA256``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_MARK = "+lora:"
_NAMED = re.compile(r"local/[^\s]+\+lora:([0-9a-f]{64})")


def adapted_name(base: str, sha256: str) -> str:
    """Return the name of a base model with an adapter: ``local/BASE+lora:SHA256``."""
    return f"{base}{_MARK}{sha256}"


def split_name(name: str) -> tuple[str, str]:
    """Split a model's name into its base and the sha256 of its adapter, empty without one."""
    base, mark, sha256 = name.rpartition(_MARK)
    return (base, sha256) if mark else (name, "")


def files_of(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sha256 of each file of weights that parameters name, in their order."""
    found = (sha256 for value in params.values() for sha256 in _named(value))
    return tuple(dict.fromkeys(found))


def _named(value: Any) -> Iterator[str]:
    match = _NAMED.fullmatch(value) if isinstance(value, str) else None
    if match:
        yield match[1]
