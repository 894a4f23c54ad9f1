"""Construction of objects by their own classes: attrs, dataclass, Struct, TypedDict, pydantic."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import attrs
import msgspec
import toolz

from lmflow.errors import BadSignature, clipped, near
from lmflow.signatures.fields import Field
from lmflow.signatures.members import is_pydantic, members_of, names_read
from lmflow.signatures.wire_types import Codec, kind_of
from lmflow.values.attributes import is_frozen_class, written_fields
from lmflow.values.record import Record, plain

_PYDANTIC_HOOKS = ("'type': 'function-", "'custom_init': True", "'post_init': '", "Mock")
"""Where code of a class stands in pydantic's schema of it; one that isn't built is a mock."""

_STABLE = (
    "Let its validators or __post_init__ leave such a value as it is, or compute it in a property."
)


class UncarriedType(TypeError):
    """A type whose values JSON can't hold; ``path`` leads to the part of it that is wrong."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(problem)
        self.path = path


def in_type(place: str, build: Callable[..., Codec], *arguments: Any) -> Codec:
    """Build the codec of a part of a type; ``UncarriedType`` has the part's place in its path."""
    try:
        return build(*arguments)
    except UncarriedType as problem:
        raise UncarriedType(place + problem.path, str(problem)) from None
    except TypeError as problem:
        raise UncarriedType(place, str(problem)) from None


def is_built_frozen(kind: Any) -> bool:
    """Tell whether objects of a class are built of frozen values: tuples for lists, records.

    So are those of frozen attrs classes and Structs, which are then shared instead of copied.
    """
    is_shared = attrs.has(kind) or issubclass(kind, msgspec.Struct)
    return is_shared and is_frozen_class(kind)


def construct(
    kind: Any, fields: tuple[Field, ...], codecs: Mapping[str, Codec], value: Any, *, live: bool
) -> Any:
    """Make an object of a class from JSON. ``ValueError`` says what doesn't fit, and where."""
    if isinstance(value, list) and issubclass(kind, tuple) and len(value) == len(fields):
        value = dict(zip(codecs, value, strict=True))
    if not isinstance(value, dict):
        msg = f"expected an object with {', '.join(codecs)}, found {kind_of(value)}"
        raise ValueError(msg)  # noqa: TRY004 - one kind of problem for who reads a reply
    value = under_own_names(kind, value)
    unknown = [name for name in value if name not in codecs]
    if unknown and not _takes_more(kind):
        msg = f"{kind.__name__} has no field {unknown[0][:80]!r}.{near(unknown[0][:80], codecs)}"
        raise ValueError(msg.removesuffix("."))
    required = (field.name for field in fields if field.required)
    if missing := next((name for name in required if name not in value), None):
        msg = f"{kind.__name__} needs {missing!r}"
        raise ValueError(msg)
    arguments = {
        name: convert_at(name, codecs[name], value[name]) for name in codecs & value.keys()
    }
    arguments |= {name: value[name] for name in unknown}
    try:
        instance = _new_instance(kind, arguments, live=live)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a user's class may raise anything
        msg = f"{kind.__name__}: {_error_message(error)}"
        raise ValueError(msg) from None
    if _computes_fields(kind):
        _check_stable(kind, instance, codecs.keys() | arguments.keys(), live=live)
    return instance


@functools.cache
def _computes_fields(kind: Any) -> bool:
    """Tell whether code of a class's own may give its fields other values than were given."""
    schema = getattr(kind, "__pydantic_core_schema__", None)
    if schema is not None and not hasattr(kind, "__post_init__"):
        return any(mark in repr(schema) for mark in _PYDANTIC_HOOKS)
    is_own = attrs.has(kind) and not is_frozen_class(kind)
    if is_own and any(field.converter for field in attrs.fields(kind)):
        return True
    return hasattr(kind, "__post_init__") or hasattr(kind, "__attrs_post_init__")


# A recorded object is built from its fields by each step that takes it, and again on a replay: one
# whose fields change each time would reach each step with another value.
def _check_stable(kind: Any, instance: Any, names: AbstractSet[str], *, live: bool) -> None:
    """Raise ``BadSignature`` unless an object that is built of an object's fields equals it."""
    fields = plain(written_fields(instance))
    members = toolz.keyfilter(names.__contains__, written_fields(instance) or {})
    try:
        again = plain(written_fields(_new_instance(kind, members, live=live)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a user's class may raise anything
        problem = f"it can't be built of its own fields again ({_error_message(error)})"
        raise BadSignature(kind.__name__, problem, _STABLE) from None
    changed = [name for name in fields if again[name] != fields[name]]
    if changed:
        name = changed[0]
        values = f"{clipped(repr(fields[name]), 40)}, then {clipped(repr(again[name]), 40)}"
        problem = f"{name} changes each time that an object is built of its own fields: {values}"
        raise BadSignature(kind.__name__, problem, _STABLE)


def convert_at(place: str, codec: Codec, value: Any) -> Any:
    """Convert a part of a value; a ``ValueError`` begins with its place."""
    try:
        return codec(value)
    except ValueError as problem:
        msg = f"{place[:80]}: {problem}"
        raise ValueError(msg) from None


def under_own_names(kind: Any, value: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an object with each alias replaced by the field's name in JSON.

    An alias beside that name stays, so that it is refused.
    """
    names = names_read(kind)
    renamed: dict[str, Any] = {}
    for name, item in value.items():
        own = names.get(name, name)
        renamed[name if own != name and own in value else own] = item
    return renamed


def _new_instance(kind: Any, arguments: dict[str, Any], *, live: bool) -> Any:
    if typing.is_typeddict(kind):
        return arguments if live else Record(arguments)
    if is_pydantic(kind):
        return _new_model(kind, arguments)
    if attrs.has(kind):
        aliases = {field.name: field.alias or field.name for field in attrs.fields(kind)}
        return kind(**toolz.keymap(aliases.__getitem__, arguments))
    return kind(**arguments)


def _new_model(kind: Any, arguments: dict[str, Any]) -> Any:
    """Make a pydantic model, by the names of its attributes if it has aliases."""
    attributes = {member.name: member.attribute for member in members_of(kind) or ()}
    if all(name == attribute for name, attribute in attributes.items()) and not names_read(kind):
        return kind.model_validate(arguments)
    by_attribute = {attributes.get(name, name): item for name, item in arguments.items()}
    return kind.model_validate(by_attribute, by_alias=False, by_name=True)


def _takes_more(kind: Any) -> bool:
    """Tell whether a pydantic model keeps members that it has no fields for."""
    return is_pydantic(kind) and kind.model_config.get("extra") == "allow"


def _error_message(error: BaseException) -> str:
    """The message of an error that a class raised: pydantic's first, or the first argument."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        first: Any = toolz.first(errors())
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    return str(error.args[0] if error.args else type(error).__name__)
