"""What stands in the place of a signature's fields, named with the line that was meant."""

from __future__ import annotations

from lmflow.errors import clipped, safe_repr
from lmflow.signatures.fields import Field


def check_fields(fields: object) -> None:
    """Raise ``TypeError`` if a text, or anything but fields, stands in their place."""
    if isinstance(fields, str):
        line = f'lf.predict("answer", {fields!r}).signature'
        msg = f"lf.Signature takes fields, found the text {fields!r}. A step reads it: {line}."
        raise TypeError(msg)
    for field in fields if isinstance(fields, (tuple, list)) else ():
        if not isinstance(field, Field):
            found = f"{type(field).__name__} {clipped(safe_repr(field), 60)}"
            msg = f'a field is lf.Field(name="question"), found {found}. As a text: {_LINE}.'
            raise TypeError(msg)


_LINE = 'lf.predict("answer", "question -> answer")'
