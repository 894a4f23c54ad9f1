"""Signatures: the typed inputs and outputs of a program."""

from __future__ import annotations

import functools
import keyword
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol, Union

import attrs

from lmflow.errors import BadSignature, BadValue, MissingInput, UnknownInput, WrongType, safe_repr
from lmflow.signatures.codec import Codec, codec_of
from lmflow.signatures.description import hint, object_sketch
from lmflow.signatures.field_kinds import NotSubclassed, check_fields
from lmflow.signatures.fields import (
    Field,
    holds_media,
    is_history,
    metadata_kind,
    normalize_field,
    origin_and_args,
    type_text,
    unwrap_annotated,
)
from lmflow.signatures.json_schema import schema_of
from lmflow.values.attributes import written_fields
from lmflow.values.record import Record, plain, pretty

_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")
_RESERVED = frozenset({"items", "keys", "values", "get", "only", "digest"})


def _normalized(fields: Iterable[Field]) -> tuple[Field, ...]:
    check_fields(fields)
    return tuple(normalize_field(field) for field in fields)


@attrs.frozen(cache_hash=True)
class Signature(NotSubclassed):
    """Typed inputs and outputs of a program; ``str(signature)`` is its string form.

    Args:
        inputs: The fields that a caller supplies.
        outputs: The fields that the program returns, at least one.

    Raises:
        BadSignature: A name is invalid or occurs twice on one side, a type can't be expressed in
            JSON, or there is no output.

    Example:
        >>> str(Signature((Field(name="question"),), (Field(name="n", type=int),)))
        'question -> n: int'
    """

    inputs: tuple[Field, ...] = attrs.field(converter=_normalized)
    outputs: tuple[Field, ...] = attrs.field(default=(), converter=_normalized)

    def __attrs_post_init__(self) -> None:
        _ = self.codecs
        for side in (self.inputs, self.outputs):
            names = [field.name for field in side]
            for name in names:
                _check_name(name, self)
            if repeated := [name for name in names if names.count(name) > 1]:
                raise BadSignature(
                    str(self),
                    f"{repeated[0]!r} appears twice on one side",
                    "Give each field its own name.",
                )
        if not self.outputs:
            raise BadSignature(str(self), "it has no outputs")

    def __str__(self) -> str:
        inputs, outputs = ", ".join(map(str, self.inputs)), ", ".join(map(str, self.outputs))
        return f"{inputs} -> {outputs}"

    @property
    def identity(self) -> list[list[Any]]:
        """Names, types and defaults, which are part of a program's key; descriptions aren't."""
        return [
            [_field_identity(field) for field in self.inputs],
            [_field_identity(field) for field in self.outputs],
        ]

    @functools.cached_property
    def codecs(self) -> Mapping[int, Codec]:
        """The codec of each field, by the field's ``id()``.

        ``BadSignature`` if a field's type can't be expressed in JSON.
        """
        return {id(field): self._codec(field) for field in (*self.inputs, *self.outputs)}

    @functools.cached_property
    def schema(self) -> Record:
        """The JSON schema of the outputs."""
        return schema_of(self.outputs)

    @functools.cached_property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in their order."""
        return tuple(field.name for field in self.inputs)

    @functools.cached_property
    def is_single_text(self) -> bool:
        """Tell whether the only output is a text, so that a reply may be that text and no more."""
        return len(self.outputs) == 1 and unwrap_annotated(self.outputs[0].type)[0] is str

    @functools.cached_property
    def is_free_text(self) -> bool:
        """Tell whether the only output is a text, or ``None``, so that any reply may be it."""
        if len(self.outputs) != 1:
            return False
        origin, args = origin_and_args(unwrap_annotated(self.outputs[0].type)[0])
        kinds = {unwrap_annotated(arg)[0] for arg in args if arg is not type(None)}
        return self.is_single_text or (origin is Union and kinds == {str})

    @functools.cached_property
    def histories(self) -> tuple[Field, ...]:
        """The inputs that hold earlier turns of a conversation."""
        return tuple(filter(is_history, self.inputs))

    @functools.cached_property
    def marked_inputs(self) -> tuple[Field, ...]:
        """The inputs shown under ``[[name]]`` markers: all but the histories."""
        return tuple(field for field in self.inputs if not is_history(field))

    @functools.cached_property
    def hints(self) -> tuple[str, ...]:
        """The description of each output for a reply in which its value stands by itself."""
        return tuple(hint(field) for field in self.outputs)

    @functools.cached_property
    def sketch(self) -> str:
        """The outputs sketched as a JSON object."""
        return object_sketch(self.outputs)

    @functools.cached_property
    def for_model(self) -> Signature:
        """The signature without the outputs that are filled from a reply's metadata."""
        outputs = tuple(field for field in self.outputs if not metadata_kind(field.type))
        if not outputs:
            raise BadSignature(
                str(self), "no output is left to ask for", "Add one that is the answer."
            )
        return self if len(outputs) == len(self.outputs) else Signature(self.inputs, outputs)

    @functools.cached_property
    def _keeping(self) -> frozenset[int]:
        """The ids of the fields whose values may hold media objects.

        In all other fields a JSON object that stands for a medium stays a plain object.
        """
        fields = (*self.inputs, *self.outputs)
        return frozenset(id(field) for field in fields if holds_media(field.type, untyped=True))

    @functools.cached_property
    def has_media_inputs(self) -> bool:
        """Tell whether an input may hold pictures, sounds or files."""
        return any(holds_media(field.type) for field in self.inputs)

    def prepending(self, field: Field) -> Signature:
        """Add an output before the others.

        Args:
            field: The new output.

        Returns:
            A new signature.

        Raises:
            BadSignature: An output of that name exists, or the field is invalid.
        """
        return attrs.evolve(self, outputs=(field, *self.outputs))

    def without(self, names: Collection[str]) -> Signature:
        """Move outputs whose values are known already to the inputs.

        Args:
            names: The names of the known outputs.

        Returns:
            A new signature whose outputs are the others.

        Raises:
            BadSignature: No output is left.
        """
        known = (field for field in self.outputs if field.name in names)
        outputs = tuple(field for field in self.outputs if field.name not in names)
        return Signature((*self.inputs, *known), outputs)

    def bind(self, program: str, values: Mapping[str, Any]) -> Record:
        """Convert the inputs of a program, with defaults filled in.

        Args:
            program: The name of the program, for errors.
            values: Field name -> value.

        Returns:
            A record with every input.

        Raises:
            MissingInput: An input without default has no value.
            UnknownInput: A value has the name of no input.
            WrongType: A value doesn't fit its field's type.
        """
        names = self.input_names
        for name in values:
            if name not in names:
                raise UnknownInput(program, name, names)
        return Record({field.name: self._bound(program, field, values) for field in self.inputs})

    def outcome(self, program: str, result: Any) -> Record:
        """Convert the result of a function to a record of the outputs.

        Args:
            program: The name of the program, for errors.
            result: A mapping or an object with the outputs, or the value of the only output.

        Returns:
            A record with every output.

        Raises:
            MissingInput: An output without default is missing.
            WrongType: The result, or the value of an output, doesn't fit its type.
        """
        result = _outputs_in(result, self.outputs)
        if not isinstance(result, Mapping):
            names = ", ".join(field.name for field in self.outputs)
            raise WrongType(
                f"the result of {program}", type(result).__qualname__, f"a mapping with {names}"
            )
        where = f"the result of {program}"
        return Record({field.name: self._bound(where, field, result) for field in self.outputs})

    def typed(self, stored: Mapping[str, Any]) -> Record:
        """Convert stored JSON values back to values of their fields' types.

        Args:
            stored: Inputs, outputs or both, as a store holds them.

        Returns:
            A record of the same fields; fields that the signature lacks stay as they are.

        Raises:
            WrongType: A value doesn't fit its field's type.
        """
        fields = (field for field in (*self.inputs, *self.outputs) if field.name in stored)
        converted = {field.name: self._bound("the record", field, stored) for field in fields}
        return Record({**stored, **converted})

    def _codec(self, field: Field) -> Codec:
        try:
            return codec_of(field.type)
        except TypeError as problem:
            place = field.name + getattr(problem, "path", "")
            raise BadSignature(place, str(problem), "Change the type of the field.") from None

    def _bound(self, program: str, field: Field, values: Mapping[str, Any]) -> Any:
        if field.name not in values:
            if field.required:
                raise MissingInput(program, field.name, tuple(values))
            return self.default(field)
        value = values[field.name]
        try:
            return self.convert(field, value)
        except BadValue as problem:
            expected = "a value that JSON can hold"
            raise WrongType(f"{program}.{problem.where}", problem.found, expected) from None
        except ValueError as problem:
            where = f"{program}.{field.name}"
            # The data of a data: URL is megabytes of base64, so only its head is shown.
            is_data_url = isinstance(value, str) and value[:5] == "data:"
            shown = f"{value.partition(',')[0]},..." if is_data_url else value
            found = f"{safe_repr(shown):.200} ({problem})"
            raise WrongType(where, found, type_text(field.type)) from None

    def default(self, field: Field) -> Any:
        """Convert a field's default to its type; ``None`` (a field left out) stays ``None``.

        Args:
            field: A field of this signature with a default.

        Returns:
            The converted default.
        """
        return None if field.default is None else self.convert(field, field.default)

    def convert(self, field: Field, value: Any) -> Any:
        """Convert a value to the type of a field.

        Args:
            field: A field of this signature.
            value: A JSON value or a value of the type.

        Returns:
            An immutable value of the type.

        Raises:
            ValueError: The value doesn't fit.
        """
        if type(value) is str:
            return self.codecs[id(field)](value)
        json = plain(value, field.name, kept=id(field) in self._keeping)
        return self.codecs[id(field)](json)


class HasSignature(Protocol):
    """Anything with a signature, such as a program."""

    @property
    def signature(self) -> Signature:
        """The typed inputs and outputs."""
        ...


def first_missing(fields: Iterable[Field], names: Iterable[str]) -> str | None:
    """Find the first field without default whose name isn't among ``names``."""
    present = set(names)
    for field in fields:
        if field.required and field.name not in present:
            return field.name
    return None


def _field_identity(field: Field) -> list[Any]:
    default = None if field.required else pretty(plain(field.default))
    return [field.name, type_text(field.type), default]


def _outputs_in(result: Any, outputs: tuple[Field, ...]) -> Any:
    """The outputs among the members of a function's result, or the result as the only output."""
    fields = result if isinstance(result, Mapping) else written_fields(result)
    has_all = fields is not None and all(field.name in fields for field in outputs)
    if len(outputs) != 1:
        return fields if has_all and not isinstance(result, Mapping) else result
    only = outputs[0]
    is_itself = unwrap_annotated(only.type)[0] is type(result)
    return fields if has_all and not is_itself else {only.name: result}


def _check_name(name: str, signature: Signature) -> None:
    if not _NAME.match(name) or keyword.iskeyword(name) or name in _RESERVED:
        fix = (
            "Use lower case letters, digits and _; not a Python keyword, "
            "nor items, keys, values, get, only, digest."
        )
        raise BadSignature(str(signature), f"{name!r} can't be a field name", fix)
