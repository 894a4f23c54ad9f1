"""Unions of classes: whether one object could be read as two of them."""

from __future__ import annotations

from typing import Any, Literal

from lmflow.signatures.fields import Field, fields_of, origin_and_args


def check_apart(classes: list[Any]) -> None:
    """Raise ``TypeError`` if one stored object could be read as two of the classes."""
    for position, kind in enumerate(classes):
        for other in classes[:position]:
            if not _are_apart(fields_of(kind) or (), fields_of(other) or ()):
                name = kind.__name__
                msg = (
                    f"an object could be a {other.__name__} or a {name}: "
                    "give each a field that tells, "
                    f'`kind: Literal["{name.lower()}"] = "{name.lower()}"`'
                )
                raise TypeError(msg)


def _are_apart(ours: tuple[Field, ...], theirs: tuple[Field, ...]) -> bool:
    our_required = {f.name for f in ours if f.required}
    their_required = {f.name for f in theirs if f.required}
    if our_required - {f.name for f in theirs} or their_required - {f.name for f in ours}:
        return True
    our_literals, their_literals = _literals(ours), _literals(theirs)
    shared = our_literals.keys() & their_literals.keys()
    return any(not our_literals[name] & their_literals[name] for name in shared)


def _literals(fields: tuple[Field, ...]) -> dict[str, set[Any]]:
    """The members of each field whose type is a ``Literal``, by the field's name."""
    types = {field.name: origin_and_args(field.type) for field in fields}
    return {name: set(args) for name, (origin, args) in types.items() if origin is Literal}
