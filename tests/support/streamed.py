"""Parts of a streamed reply put together."""

from __future__ import annotations

from collections.abc import Iterable

from lmflow.interpreter.partial import Partial


def folded(parts: Iterable[Partial]) -> dict[str, str]:
    """What stands in each field in the end."""
    fields: dict[str, str] = {}
    for part in parts:
        fields[part.field] = part.text if part.anew else fields.get(part.field, "") + part.text
    return fields
