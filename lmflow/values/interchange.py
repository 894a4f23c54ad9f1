"""Values that become JSON and come back, and how pydantic finds that out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, Self

from lmflow.errors import LmflowError


class _Writable(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


class _Serializer:
    """``__pydantic_serializer__`` of a class: made when pydantic asks for it, so that nothing here
    imports pydantic. Without pydantic the class does not have the attribute.
    """

    def __get__(self, value: object, kind: type | None = None) -> Any:
        try:
            from pydantic_core import SchemaSerializer, core_schema  # noqa: PLC0415 - see above
        except ImportError:
            raise AttributeError("__pydantic_serializer__") from None
        return SchemaSerializer(core_schema.any_schema(serialization=_written(core_schema)))


class JsonValue:
    """A value that pydantic takes as a field's type and writes as ``to_dict`` does. Abstract: each
    class has its own ``to_dict`` and ``from_dict``.
    """

    __slots__ = ()
    __pydantic_serializer__: ClassVar[Any] = _Serializer()

    def to_dict(self) -> dict[str, Any]:
        """Return the value as new JSON values."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the value from the JSON values of ``to_dict``. ``TypeError`` if they do not hold
        all of it.
        """
        del data
        msg = f"a {cls.__qualname__} can't be made of JSON values: they do not hold all of it"
        raise TypeError(msg)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Take values of the class and mappings that ``from_dict`` reads."""
        from pydantic_core import core_schema  # noqa: PLC0415 - only pydantic calls this

        del source, handler

        def validated(value: Any, as_mapping: Callable[[Any], Any]) -> Any:
            if isinstance(value, cls):
                return value
            try:
                return cls.from_dict(as_mapping(value))
            except (LmflowError, LookupError, TypeError) as problem:
                raise ValueError(str(problem)) from None

        return core_schema.no_info_wrap_validator_function(
            validated,
            core_schema.dict_schema(core_schema.str_schema()),
            serialization=_written(core_schema),
        )


def _written(core_schema: Any) -> Any:
    return core_schema.plain_serializer_function_ser_schema(_to_dict)


def _to_dict(value: _Writable) -> dict[str, Any]:
    return value.to_dict()
