"""Derives values as they are stored, each once in a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.messages.replies import Outcome, outcome_to
from lmflow.stores.sqlite.blobs.format import Body, body_of
from lmflow.values.canonical_text import hash_bytes

Forms = Mapping[int, str]
"""Canonical forms of values without media that are known already, by the ids of the values."""


class Bodies:
    """The values of one transaction as they are stored.

    The events keep their values alive, so that no ``id`` is used twice meanwhile.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self, forms: Forms | None = None) -> None:
        """Forget all values; ``forms`` are those that are known of the next ones."""
        self._forms: Forms = forms or {}
        self._bodies: dict[tuple[str, int], Body] = {}

    def of(self, kind: str, value: Any) -> Body:
        """Return a JSON value as it is stored."""
        if (body := self._bodies.get((kind, id(value)))) is None:
            form = self._forms.get(id(value))
            body = body_of(kind, value) if form is None else _body(kind, form)
            self._bodies[kind, id(value)] = body
        return body

    def reply(self, outcome: Outcome) -> Body:
        """Return a reply, a failure or a tool's result as it is stored."""
        if (body := self._bodies.get(("reply", id(outcome)))) is None:
            form = self._forms.get(id(outcome))
            body = body_of("reply", outcome_to(outcome)) if form is None else _body("reply", form)
            self._bodies["reply", id(outcome)] = body
        return body


def _body(kind: str, form: str) -> Body:
    return Body(hash_bytes(kind, form), kind, form)
