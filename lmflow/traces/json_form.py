"""Values of recordings from their JSON values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lmflow.errors import ForeignFile, LmflowError, short
from lmflow.messages.json_form import media_attached
from lmflow.values.json_fields import check_scalars
from lmflow.values.record import Record

T = TypeVar("T")
_FIX = "Give what to_dict() returned, unchanged."


def record_of_json(data: Mapping[str, Any]) -> Record:
    """Return the record of JSON values, with pictures, sounds and files as such."""
    return Record(media_attached(data))


def outputs_of_json(data: Mapping[str, Any] | None) -> Record | None:
    """Return the outputs of JSON values; ``None`` if there are none."""
    return None if data is None else record_of_json(data)


def read_json(kind: str, data: Mapping[str, Any], make: Callable[[dict[str, Any]], T]) -> T:
    """Make a value of its JSON values.

    Args:
        kind: The kind of the value, for the error.
        data: The JSON values; ``root`` is compared with that of the value.
        make: Makes the value of the other fields.

    Returns:
        The value.

    Raises:
        ForeignFile: The JSON values are not those of such a value, or were changed.
    """
    article = "an" if kind[0] in "aeiou" else "a"
    name = f"the JSON of {article} {kind}"
    if not isinstance(data, Mapping):
        raise ForeignFile(name, f"it is a {type(data).__qualname__}, expected a mapping", _FIX)
    try:
        value = make({field: item for field, item in data.items() if field != "root"})
        check_scalars(value)
        root: Any = getattr(value, "root", None)
    except LmflowError:
        raise
    except KeyError as problem:
        raise ForeignFile(name, f"it lacks {problem}", _FIX) from None
    except (TypeError, ValueError, AttributeError, RecursionError) as problem:
        raise ForeignFile(name, f"a part is missing or malformed ({problem})", _FIX) from None
    if "root" in data and data["root"] != root:
        changed = f"its root is {short(str(data['root']))}, its content gives {short(root)}"
        raise ForeignFile(name, changed, _FIX)
    return value
