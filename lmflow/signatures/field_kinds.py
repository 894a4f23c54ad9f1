"""What stands in the place of a signature's fields, named with the line that was meant."""

from __future__ import annotations

import inspect

from lmflow.errors import clipped, safe_repr
from lmflow.signatures.fields import Field


class NotSubclassed:
    """Base of ``Signature``: a signature is a value, and no class is made of it."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        # attrs makes the class itself anew, with slots.
        if cls.__module__ == "lmflow.signatures.signature":
            return
        names = list(inspect.get_annotations(cls)) or ["question", "answer"]
        text = f"{', '.join(names[:-1])} -> {names[-1]}"
        line = f'lf.predict("answer", "{text}", "...")'
        msg = f"a signature is no class here, found {cls.__name__}. Write it as a string: {line}."
        raise TypeError(msg)


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
