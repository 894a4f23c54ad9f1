"""Values of attrs classes that become JSON field by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import attrs

from lmflow.errors import BadValue
from lmflow.values.interchange import JsonValue
from lmflow.values.record import plain

_NONE = type(None)
_GREATEST = 2**63 - 1
"""The greatest time, cost or count that a store can hold."""

_SCALARS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "RunKind": (str,),
    "RunStatus": (str,),
    "int": (int,),
    "int | None": (int, _NONE),
    "float | None": (int, float, _NONE),
}
"""The classes of fields that are no values of their own, by the field's annotation."""


class JsonFields(JsonValue):
    """A value whose fields are read by name as JSON values: ``trace["outputs"]``, ``dict(trace)``.

    That is what FastAPI's ``jsonable_encoder`` tries with a class that it does not know.
    """

    __slots__ = ()
    __iter__: Any = None  # `for` over the names would be taken for one over the parts
    json_fields: ClassVar[tuple[str, ...]] = ()
    """The names of the attributes that are written, in order."""

    def keys(self) -> Iterable[str]:
        """Return the names of the fields that are written."""
        return self.json_fields

    def __getitem__(self, name: str) -> Any:
        if name not in self.json_fields:
            fields = ", ".join(self.json_fields)
            msg = f"{type(self).__name__} has no field {name!r}; it has {fields}"
            raise KeyError(msg)
        return written(getattr(self, name))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as new JSON values: lists, dicts, texts, numbers.

        Pictures, sounds and files are descriptions with their digest, without their content.
        """
        return {name: self[name] for name in self.json_fields}


def written(value: Any) -> Any:
    """Return a field as JSON values."""
    if isinstance(value, JsonValue):
        return value.to_dict()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [written(item) for item in value]
    return plain(value)


def jsonable(value: Any) -> Any:
    """Return a value as JSON values: what libraries call for classes that they do not know.

    Give it to them as ``json.dumps(value, default=lf.jsonable)`` and
    ``msgspec.json.encode(value, enc_hook=lf.jsonable)``.

    Args:
        value: Outputs, a trace, a run, a version, an evaluation, or anything that a record holds.

    Returns:
        Dicts, lists, texts, numbers. Pictures, sounds and files are descriptions with their digest.

    Raises:
        TypeError: The value has no JSON form.

    Example:
        >>> import json
        >>> import lmflow as lf
        >>> json.dumps({"outputs": lf.Record(tags=["a", "b"])}, default=lf.jsonable)
        '{"outputs": {"tags": ["a", "b"]}}'
    """
    try:
        return written(value)
    except BadValue as problem:
        raise TypeError(str(problem)) from None


def check_scalars(value: Any) -> None:
    """Raise ``TypeError`` if a text or number of an attrs value is something else."""
    for field in attrs.fields(type(value)):
        item, kinds = getattr(value, field.name), _SCALARS.get(str(field.type))
        if kinds is not None and (not isinstance(item, kinds) or item != item):  # noqa: PLR0124 - NaN
            raise TypeError(f"{field.name} is {item!r:.80}, expected {field.type}")
        if isinstance(item, int) and abs(item) > _GREATEST:
            raise TypeError(f"{field.name} is a number of more than 64 bits")
