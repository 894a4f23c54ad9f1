"""Signatures: the typed inputs and outputs of a program, from a string or an annotated function."""

from __future__ import annotations

import ast
import functools
import inspect
import keyword
import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadSignature, BadValue, MissingInput, UnknownInput, WrongType, near
from lmflow.signatures.codec import Codec, codec_of
from lmflow.signatures.description import hint, members
from lmflow.signatures.fields import (
    KNOWN,
    REQUIRED,
    Field,
    beside,
    holds_media,
    is_history,
    peeled,
    settled,
    type_of_node,
    type_text,
)
from lmflow.signatures.json_schema import schema_of
from lmflow.values.record import Record, plain, pretty

__all__ = [
    "REQUIRED",
    "Field",
    "Signature",
    "first_missing",
    "from_function",
    "parse",
    "signature_of",
]

_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")
_TAKEN = frozenset({"items", "keys", "values", "get", "only", "digest"})


def _settled(fields: Iterable[Field]) -> tuple[Field, ...]:
    return tuple(settled(field) for field in fields)


@attrs.frozen(cache_hash=True)
class Signature:
    """Typed inputs and outputs, ``str(signature)`` is its string form."""

    inputs: tuple[Field, ...] = attrs.field(converter=_settled)
    outputs: tuple[Field, ...] = attrs.field(converter=_settled)

    def __attrs_post_init__(self) -> None:
        _ = self.codecs
        for side in (self.inputs, self.outputs):
            names = [field.name for field in side]
            for name in names:
                _check_name(name, str(self))
            if twice := [name for name in names if names.count(name) > 1]:
                raise BadSignature(
                    str(self),
                    f"{twice[0]!r} appears twice on one side",
                    "Give each field its own name.",
                )
        if not self.outputs:
            raise BadSignature(str(self), "it has no outputs")

    def __str__(self) -> str:
        return " -> ".join(
            ", ".join(str(field) for field in side) for side in (self.inputs, self.outputs)
        )

    @property
    def identity(self) -> list[list[Any]]:
        """What the signature adds to a program's key: names, types and defaults, no descriptions."""
        return [
            [
                [f.name, type_text(f.type), None if f.required else pretty(plain(f.default))]
                for f in side
            ]
            for side in (self.inputs, self.outputs)
        ]

    @functools.cached_property
    def codecs(self) -> Mapping[int, Codec]:
        """What converts the values of each field, by the field's own ``id``. ``BadSignature`` where
        nothing can.
        """
        return {id(field): self._codec(field) for field in (*self.inputs, *self.outputs)}

    @functools.cached_property
    def schema(self) -> Record:
        """The JSON schema of the outputs."""
        return schema_of(self.outputs)

    @functools.cached_property
    def bare(self) -> bool:
        """Whether there is one output, which is a text: then a reply may be that text and nothing
        more.
        """
        return len(self.outputs) == 1 and peeled(self.outputs[0].type)[0] is str

    @functools.cached_property
    def histories(self) -> tuple[Field, ...]:
        """The inputs that hold the earlier turns of a conversation."""
        return tuple(filter(is_history, self.inputs))

    @functools.cached_property
    def sectioned(self) -> tuple[Field, ...]:
        """The inputs that stand under markers: all but the histories."""
        return tuple(field for field in self.inputs if not is_history(field))

    @functools.cached_property
    def hints(self) -> tuple[str, ...]:
        """What each output is told as where its value stands by itself."""
        return tuple(hint(field) for field in self.outputs)

    @functools.cached_property
    def sketch(self) -> str:
        """The outputs as a JSON object is sketched."""
        return members(self.outputs)

    @functools.cached_property
    def asked(self) -> Signature:
        """The signature as a model is told it: without the outputs that a reply carries beside its
        text.
        """
        outputs = tuple(field for field in self.outputs if not beside(field.type))
        if not outputs:
            raise BadSignature(
                str(self), "no output is left to ask for", "Add one that is the answer."
            )
        return self if len(outputs) == len(self.outputs) else Signature(self.inputs, outputs)

    @functools.cached_property
    def _keeping(self) -> frozenset[int]:
        """The fields whose values may hold media as they are, by ``id``: elsewhere what stands for
        one is an object.
        """
        fields = (*self.inputs, *self.outputs)
        return frozenset(id(field) for field in fields if holds_media(field.type, untyped=True))

    @functools.cached_property
    def attaches(self) -> bool:
        """Whether pictures, sounds or files are among the inputs."""
        return any(holds_media(field.type) for field in self.inputs)

    def prepending(self, field: Field) -> Signature:
        """The signature with one more output, before the others."""
        return attrs.evolve(self, outputs=(field, *self.outputs))

    def without(self, known: Collection[str]) -> Signature:
        """The signature whose outputs are those that aren't known yet; those that are stand among
        the inputs.
        """
        given = (field for field in self.outputs if field.name in known)
        outputs = tuple(field for field in self.outputs if field.name not in known)
        return Signature((*self.inputs, *given), outputs)

    def bind(self, program: str, given: Mapping[str, Any]) -> Record:
        """The inputs as a record of converted values, defaults filled in.

        Raises ``MissingInput``, ``UnknownInput`` or ``WrongType``.
        """
        known = tuple(field.name for field in self.inputs)
        for name in given:
            if name not in known:
                raise UnknownInput(program, name, known)
        return Record({field.name: self._bound(program, field, given) for field in self.inputs})

    def outcome(self, program: str, result: Any) -> Record:
        """What a function returned as a record of the outputs: a mapping, or the one output's bare
        value.
        """
        if len(self.outputs) == 1 and not _holds(result, self.outputs[0].name):
            result = {self.outputs[0].name: result}
        if not isinstance(result, Mapping):
            names = ", ".join(field.name for field in self.outputs)
            raise WrongType(
                f"the result of {program}", type(result).__qualname__, f"a mapping with {names}"
            )
        return Record(
            {
                field.name: self._bound(f"the result of {program}", field, result)
                for field in self.outputs
            }
        )

    def typed(self, stored: Mapping[str, Any]) -> Record:
        """Outputs that were stored as JSON values, or inputs and outputs, as values of their types
        again.

        Fields that the signature lacks stay as they are. ``WrongType`` where a value doesn't fit.
        """
        known = {field.name: field for field in (*self.inputs, *self.outputs)}
        held = {
            name: self._bound("the record", known[name], stored) for name in stored if name in known
        }
        return Record({**stored, **held})

    def _codec(self, field: Field) -> Codec:
        try:
            return codec_of(field.type)
        except TypeError as problem:
            raise BadSignature(field.name, str(problem), "Change the type of the field.") from None

    def _bound(self, program: str, field: Field, given: Mapping[str, Any]) -> Any:
        if field.name not in given:
            if field.required:
                raise MissingInput(program, field.name, tuple(given))
            return self.default(field)
        value = given[field.name]
        try:
            return self.taken(field, value)
        except (ValueError, BadValue) as problem:
            where = f"{program}.{field.name}"
            found = (
                f"{value.partition(',')[0]},..."
                if isinstance(value, str) and value[:5] == "data:"
                else value
            )
            raise WrongType(where, f"{found!r:.200} ({problem})", type_text(field.type)) from None

    def default(self, field: Field) -> Any:
        """A field's default as its type says, or as it is where it is ``None`` (a field that may be
        left out).
        """
        return None if field.default is None else self.taken(field, field.default)

    def taken(self, field: Field, value: Any) -> Any:
        """A value as the field's type says. ``ValueError`` says what doesn't fit."""
        if type(value) is str:
            return self.codecs[id(field)](value)
        return self.codecs[id(field)](plain(value, kept=id(field) in self._keeping))


def signature_of(
    source: str | Signature | Callable[..., Any], types: Mapping[str, Any] | None = None
) -> Signature:
    """The signature that a string, an annotated function or a signature stands for.
    ``BadSignature`` otherwise.
    """
    if isinstance(source, Signature):
        return source
    return parse(source, types) if isinstance(source, str) else from_function(source)


def parse(text: str, types: Mapping[str, Any] | None = None) -> Signature:
    """Read ``"question, n: int = 3 -> label: Literal['a', 'b'], why"``.

    Types are builtins, ``Literal``, ``Optional``, ``Annotated`` with a description or ``Field(ge=0,
    ...)``, and what ``types`` names: they are looked up, never evaluated.
    """
    cuts = [match.start() for match in re.finditer("->", text)]
    if not cuts:
        raise BadSignature(text, "there is no '->' between inputs and outputs")
    problem: SyntaxError | None = None
    for cut in cuts:
        try:
            sides = [_arguments(side) for side in (text[:cut], text[cut + 2 :])]
        except SyntaxError as error:
            problem = error
            continue
        return Signature(
            *(
                tuple(_field(text, node, value, types or {}) for node, value in side)
                for side in sides
            )
        )
    raise BadSignature(text, f"it can't be read ({problem.msg if problem else ''})")


def from_function(function: Callable[..., Any]) -> Signature:
    """The signature of an annotated function: parameters are inputs; the result is one output,
    named as the function, or, where it is a ``TypedDict``, one output a key.
    """
    name = getattr(function, "__name__", repr(function))
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    if "return" not in hints:
        raise BadSignature(
            f"def {name}", "it has no return annotation", "Write `def f(question: str) -> str`."
        )
    for parameter in parameters:
        if parameter.name not in hints or parameter.kind in {
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        }:
            raise BadSignature(
                f"def {name}",
                f"parameter {parameter.name!r} has no type",
                "Annotate each parameter.",
            )
    result = hints["return"]
    outputs = (
        typing.get_type_hints(result, include_extras=True)
        if typing.is_typeddict(result)
        else {name: result}
    )
    inputs = [Field(name=p.name, type=hints[p.name], default=_given(p)) for p in parameters]
    return Signature(
        tuple(inputs), tuple(Field(name=key, type=kind) for key, kind in outputs.items())
    )


def first_missing(needed: Iterable[Field], given: Iterable[str]) -> str | None:
    """The first field without default that isn't given."""
    have = set(given)
    return next((field.name for field in needed if field.required and field.name not in have), None)


def _given(parameter: inspect.Parameter) -> Any:
    return REQUIRED if parameter.default is parameter.empty else parameter.default


def _holds(result: Any, name: str) -> bool:
    return isinstance(result, Mapping) and name in result


def _check_name(name: str, text: str) -> None:
    if not _NAME.match(name) or keyword.iskeyword(name) or name in _TAKEN:
        fix = "Use lower case letters, digits and _; not a Python keyword, nor items, keys, values, get, only, digest."
        raise BadSignature(text, f"{name!r} can't be a field name", fix)


def _arguments(side: str) -> list[tuple[ast.arg, ast.expr | None]]:
    side = side.strip().strip(",")
    tree = ast.parse(f"def _(*, {side}): ..." if side else "def _(): ...").body[0]
    if (
        not isinstance(tree, ast.FunctionDef)
        or tree.args.args
        or tree.args.kwarg
        or tree.args.vararg
    ):
        msg = "only names, types and defaults are read"
        raise SyntaxError(msg)
    return list(zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True))


def _field(text: str, node: ast.arg, default: ast.expr | None, types: Mapping[str, Any]) -> Field:
    try:
        value = REQUIRED if default is None else ast.literal_eval(default)
    except ValueError:
        raise BadSignature(text, f"the default of {node.arg!r} is no literal") from None
    if node.annotation is None:
        return Field(name=node.arg, default=value)
    try:
        kind = type_of_node(node.annotation, types)
    except LookupError as error:
        raise BadSignature(
            text,
            f"{node.arg!r} has the type {error.args[0]!r}, which isn't known",
            _hint(error, types),
        ) from None
    return Field(name=node.arg, type=kind, default=value)


def _hint(error: LookupError, types: Mapping[str, Any]) -> str:
    name = str(error.args[0])
    guess = near(
        name, ["str", "int", "float", "bool", "list", "dict", "Literal", "Optional", *KNOWN, *types]
    ).strip()
    return guess or f"Give it by name: types={{{name!r}: ...}}."
